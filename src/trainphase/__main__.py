"""The entry of the command ``trainphase`` and of ``python -m trainphase``: ready for Ctrl-C before anything is loaded."""

import os
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from trainphase.cli.main import main as command

        return command()
    except KeyboardInterrupt:
        # The command tells of an interrupt by itself, but not while it is being imported.
        if sys.stderr is not None:
            sys.stderr.write("trainphase: interrupted; give the same command again\n")
            sys.stderr.flush()
        # Where the interrupt fell into an exec of text, as in dataclasses, an orderly end would lose this code.
        os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
