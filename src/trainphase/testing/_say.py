"""What the checks share: how a failure is said, and how arrays are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def need(fine: Any, what: str, remedy: str) -> None:
    """AssertionError of one sentence unless ``fine``; ``what`` names the offending value."""
    if not fine:
        raise AssertionError(f"{what}; {remedy}")


def call(what: str, remedy: str, function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``; an AssertionError of one sentence in place of whatever it raises."""
    try:
        return function(*args)
    except AssertionError:
        raise
    except Exception as why:
        told = " ".join(str(why).split())[:200]
        raise AssertionError(f"{what} raised {type(why).__name__}: {told}; {remedy}") from why


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    """True for equal bytes, array by array; NaN equals NaN."""
    return len(one) == len(two) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True)
    )


def apart(got: list[np.ndarray], want: list[np.ndarray], least: float = float(np.finfo(float).tiny)) -> float:
    """The largest difference of any entry, relative to the largest entry of its array, or to ``least`` where that is larger.

    Infinite where only one of the two is finite, or their shapes differ.
    """
    most = 0.0
    for a, b in zip(got, want, strict=True):
        a, b = np.asarray(a, float), np.asarray(b, float)
        if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return np.inf
        fine = np.isfinite(a)
        if fine.any():
            size = max(float(np.max(np.abs(b[fine]))), least)
            most = max(most, float(np.max(np.abs(a[fine] - b[fine]))) / size)
    return most
