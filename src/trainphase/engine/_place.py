"""Where a store is kept: a folder, or any URL that fsspec knows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainphase.engine._files import Directory
from trainphase.engine._remote import Remote

Place = Directory | Remote


def place_of(path: str | os.PathLike[str]) -> Place:
    """The place that a user's path names: file:// and plain paths are folders, other URLs go to fsspec."""
    text = os.fspath(path)
    if not is_remote(text):
        return Directory(Path(unquote(urlsplit(text).path)) if text.startswith("file://") else text)
    return Remote(text)


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a URL of a place that is no folder of this machine."""
    text = os.fspath(path)
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text)) and not text.startswith("file://")
