"""Parameters that are words: lists of numbers, yes or no."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainphase.errors import RequestError


def numbers(name: str, text: Any) -> np.ndarray:
    """A list of numbers written with commas, or a sequence of numbers, as an array of shape (n,)."""
    parts = text.split(",") if isinstance(text, str) else np.atleast_1d(text)
    try:
        out = np.asarray([float(p) for p in parts])
    except ValueError:
        raise RequestError(f"{name} = {text!r} is no list of numbers; give for example {name}=1.0,-4.32") from None
    if not np.all(np.isfinite(out)):
        raise RequestError(f"{name} = {text!r} holds a number that is not finite; give for example {name}=1.0,-4.32")
    return out


def truth(name: str, value: Any) -> bool:
    """A yes or no, from true, false or a bool."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise RequestError(f"{name} = {value!r} is neither true nor false; give {name}=true or {name}=false")
