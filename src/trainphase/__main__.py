"""The entry of the command ``trainphase`` and of ``python -m trainphase``: ready for Ctrl-C before anything is loaded."""

import os
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        try:
            from trainphase.cli.main import main as command
        except ModuleNotFoundError as why:
            # Too little is here for trainphase doctor, which tells of everything else.
            package = (why.name or "").partition(".")[0]
            if package in ("", "trainphase") or sys.stderr is None:
                raise
            sys.stderr.write(f"trainphase: {package} is not installed; pip install {package}, then trainphase doctor\n")
            return 1
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
