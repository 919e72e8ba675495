"""What tests of reproductions share."""

from __future__ import annotations

from typing import Any

from trainphase.reproduce.context import Context


def context(figure: Any, out: Any, data: Any = None) -> Context:
    """A quick context, with its data given when there are some."""
    made = Context(figure, out, quick=True)
    if data is not None:
        made.memory[made.folder.name, "data"] = data
    return made
