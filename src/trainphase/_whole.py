"""Files that a user asked for by name: written whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from trainphase.errors import RequestError


def write(target: Path, data: bytes, what: str) -> None:
    """Write the bytes beside ``target`` and give them its name; the folder must be there.

    ``what`` names the file in the sentence of the RequestError that is raised where it cannot be written, such as "the page".
    """
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        try:
            partial.write_bytes(data)
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as why:
        words = (why.strerror if isinstance(why, OSError) else None) or str(why)
        raise RequestError(f"{what} {target} cannot be written ({words}); give another path") from why
