"""Axes of a diagram: a parameter name and the values it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np

from trainphase.errors import RequestError

MOST_POINTS = 2**26
SCALES = ("linear", "log", "list")
# The parameter over which a diagram repeats: its values are an ensemble, and no axis of a figure.
SEED = "seed"


@dataclass(frozen=True)
class Axis:
    """``n`` values of the parameter ``name`` from ``lo`` to ``hi``, both ends included.

    Raises RequestError when the ends are not finite or not in order, when ``n`` is below 1 (below 2 for a range), or
    when a logarithmic axis reaches zero.
    """

    name: str
    lo: float
    hi: float
    n: int
    scale: str = "linear"
    units: str = "1"
    listed: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        label = self.name or "axis"
        if self.scale not in SCALES:
            raise RequestError(f"{label}: scale {self.scale!r} is unknown; use linear or log")
        if not (np.isfinite(self.lo) and np.isfinite(self.hi)):
            raise RequestError(f"{label}: the range {self.lo:g}:{self.hi:g} is not finite; give two finite ends")
        if self.scale == "list":
            if not self.listed:
                raise RequestError(f"{label}: the list of values is empty; give at least one value")
            if not np.all(np.isfinite(self.listed)):
                raise RequestError(f"{label}: a value of the list is not finite; give finite numbers")
            if len(set(self.listed)) < len(self.listed):
                twice = next(v for k, v in enumerate(self.listed) if v in self.listed[:k])
                raise RequestError(f"{label}: {twice:g} is listed twice; list each value once")
            return
        if self.n > MOST_POINTS:
            raise RequestError(f"{label}: {self.n} points are too many; give at most {MOST_POINTS}")
        if self.n < 2:
            raise RequestError(f"{label}: {self.n} points make no range; give at least 2, for example 256")
        if not self.lo < self.hi:
            raise RequestError(f"{label}: the range {self.lo:g}:{self.hi:g} is empty; the first end must be the smaller")
        if self.scale == "log" and self.lo <= 0:
            raise RequestError(f"{label}: a logarithmic range cannot start at {self.lo:g}; start above 0")

    @property
    def values(self) -> np.ndarray:
        """The values, float64, shape (n,)."""
        if self.scale == "list":
            return np.asarray(self.listed, float)
        if self.scale == "log":
            return np.geomspace(self.lo, self.hi, self.n)
        return np.linspace(self.lo, self.hi, self.n)

    def at(self, position: np.ndarray) -> np.ndarray:
        """The parameter at positions along the axis, 0 at the first value and n - 1 at the last; between values too.

        A list of values is followed by straight lines.
        """
        if self.scale == "list":
            return np.interp(position, np.arange(self.n), self.values)
        share = np.asarray(position, float) / (self.n - 1)
        if self.scale == "log":
            return self.lo * (self.hi / self.lo) ** share
        return self.lo + (self.hi - self.lo) * share

    def position(self, value: np.ndarray) -> np.ndarray:
        """Where values lie along the axis: the inverse of :meth:`at`; for a list, whose order need not be that, NaN."""
        value = np.asarray(value, float)
        if self.scale == "list":
            return np.full(value.shape, np.nan)
        if self.scale == "log":
            return (self.n - 1) * np.log(value / self.lo) / np.log(self.hi / self.lo)
        return (self.n - 1) * (value - self.lo) / (self.hi - self.lo)

    def named(self, name: str, units: str = "1") -> Axis:
        """The same axis for the parameter ``name``."""
        return replace(self, name=name, units=units)

    def to_json(self) -> dict[str, Any]:
        """Name, ends, count and scale; the values too when they are a list."""
        out: dict[str, Any] = {"name": self.name, "lo": self.lo, "hi": self.hi, "n": self.n, "scale": self.scale}
        if self.scale == "list":
            out["values"] = list(self.listed)
        return out


def linspace(lo: float, hi: float, n: int) -> Axis:
    """A linear axis of n values from lo to hi, for :func:`trainphase.diagram`."""
    return _range(lo, hi, n, "linear")


def logspace(lo: float, hi: float, n: int) -> Axis:
    """A logarithmic axis of n values from lo to hi (both are the ends themselves, not exponents), for a diagram."""
    return _range(lo, hi, n, "log")


def _range(lo: Any, hi: Any, n: Any, scale: str) -> Axis:
    if not all(isinstance(x, Real) for x in (lo, hi, n)) or n % 1 != 0:
        raise RequestError(f"axis: {lo!r}, {hi!r}, {n!r} make no range; give two ends and a whole number of points")
    return Axis("", float(lo), float(hi), int(n), scale)


def check_tolerance(asked: str, tol: float, lo: float, hi: float) -> None:
    """RequestError unless results of width ``tol`` fit in the range from lo to hi; ``asked``: how the user wrote it."""
    if not tol < hi - lo:
        raise RequestError(f"{asked} is not below the width of the range {lo:g}:{hi:g}; give a smaller one")


def values(items: Sequence[float]) -> Axis:
    """An axis through the listed values: ``items`` are numbers, kept in their order."""
    try:
        listed = tuple(float(v) for v in items)
    except (TypeError, ValueError):
        raise RequestError(f"axis: {items!r:.80} is no list of numbers; give for example [0.1, 0.5, 1.0]") from None
    if not listed:
        raise RequestError("axis: the list of values is empty; give at least one value")
    return Axis("", min(listed), max(listed), len(listed), "list", listed=listed)


def ensemble(count: int, first: int = 0) -> Axis:
    """The axis of so many seeds, from ``first`` on."""
    seeds = linspace(first, first + count - 1, count) if count > 2 else values(range(first, first + count))
    return seeds.named(SEED)
