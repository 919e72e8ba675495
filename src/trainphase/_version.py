"""The version of the package: the only place that states it (the build and the command line read it here)."""

__version__ = "0.1.0"
