"""The page as one file, which opens by a double click and needs no server and no network."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    text = bundle.page({**document, "server": None}).html
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        try:
            partial.write_bytes(text.encode())
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as why:
        words = (why.strerror if isinstance(why, OSError) else None) or str(why)
        raise RequestError(f"the page {target} cannot be written ({words}); give another path") from why
    return target
