"""Errors that end a request: one sentence each, saying what, which value, and the remedy."""

from __future__ import annotations


class TrainphaseError(Exception):
    """The work failed. The command line prints the sentence and ends with exit code 1."""

    exit_code = 1


class RequestError(TrainphaseError):
    """The request cannot be met as given (an unknown name, a value out of range, an unwritable path)."""

    exit_code = 2


class StoreError(RequestError):
    """A store on disk does not fit the request, is damaged, or cannot be written."""


class WriteError(StoreError):
    """A store could not be written on the way: a full disk, a permission revoked. What is stored stays, and resumes."""

    exit_code = 1


class DataError(RequestError):
    """A data set is not on this machine, or is not the one its name promises."""


class SweepInterrupted(TrainphaseError):
    """The user stopped the sweep; what is computed is kept. The command line ends with exit code 130.

    ``aborted`` says that a second interrupt came before the tiles in flight had ended: their threads still
    run, and Python would wait for them at its exit.
    """

    exit_code = 130

    def __init__(self, sentence: str, aborted: bool = False) -> None:
        super().__init__(sentence)
        self.aborted = aborted
