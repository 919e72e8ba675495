"""``python -m trainphase`` is the command ``trainphase``."""

import sys

from trainphase.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
