"""The page as one file, which opens by a double click and needs no server and no network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainphase import _whole
from trainphase.errors import RequestError
from trainphase.explorer import bundle

ENDINGS = (".html", ".htm")


def write(path: str | os.PathLike[str], document: Mapping[str, Any]) -> Path:
    """Write the page with the document in it, whole or not at all; equal documents give equal bytes.

    Raises RequestError for another ending and for a path that cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in ENDINGS:
        raise RequestError(f"the page {target} has no known ending; end its name in .html")
    _whole.write(target, bundle.page({**document, "server": None}).html.encode(), "the page")
    return target
