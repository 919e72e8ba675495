"""Cells of the dyadic lattice: integer addresses only, no coordinates, no labels.

Level 0 has the lattice's own spacing, each level above it twice the stride of the one below. Along an axis of n points the
cells of stride s begin at the multiples of s; the last one ends at n - 1 and may be narrower. Points and cells are named by
flat indices (the last axis fastest), so that sets of them are sorted arrays.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

START_CELLS = 16  # cells of the start level along an axis: 16 to 31, so 17 to 32 points and the last


@dataclass(frozen=True)
class Dyadic:
    """Levels of cells over ``shape`` lattice points, one or two axes of at least two points each.

    An axis that starts with a smaller stride than another waits until the other has come down to it, so that cells
    become as square as the lattice allows.

    Parameters
    ----------
    shape : lattice points along each axis.
    start : largest stride along each axis, powers of two.
    """

    shape: tuple[int, ...]
    start: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], levels: int | None = None) -> Dyadic:
        """The lattice whose start level has 16 to 31 cells along an axis, or lies ``levels`` halvings above the finest."""
        most = [max(0, int(math.log2(max(1, (n - 1) // START_CELLS)))) for n in shape]
        if levels is not None:
            most = [min(levels, math.ceil(math.log2(n - 1)) if n > 1 else 0) for n in shape]
        return cls(shape, tuple(2**k for k in most))

    @property
    def top(self) -> int:
        """The start level."""
        return max(self.start).bit_length() - 1

    def stride(self, level: int) -> tuple[int, ...]:
        """Lattice steps of a cell of the level along each axis."""
        return tuple(min(s, 2**level) for s in self.start)

    def cells(self, level: int) -> tuple[int, ...]:
        """Cells of the level along each axis."""
        return tuple(-(-(n - 1) // s) for n, s in zip(self.shape, self.stride(level), strict=True))

    def where(self, points: np.ndarray) -> np.ndarray:
        """Addresses (m, d) of flat point indices (m,)."""
        return np.stack(np.unravel_index(points, self.shape), axis=-1)

    def flat(self, addresses: np.ndarray) -> np.ndarray:
        """Flat indices of addresses (..., d)."""
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(addresses, -1, 0)), self.shape))

    def coarse(self) -> np.ndarray:
        """Flat indices of the points of the start level, sorted."""
        sides = [np.unique(np.append(np.arange(0, n, s), n - 1)) for n, s in zip(self.shape, self.start, strict=True)]
        return np.ravel_multi_index(np.ix_(*sides), self.shape).ravel()

    def origin(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Addresses (m, d) of the first corners of cells."""
        index = np.stack(np.unravel_index(cells, self.cells(level)), axis=-1)
        return index * np.array(self.stride(level))

    def corners(self, level: int, cells: np.ndarray) -> np.ndarray:
        """Flat indices (m, 2^d) of the corners of cells; in 2-D in the order 00, 01, 10, 11."""
        low = self.origin(level, cells)
        high = np.minimum(low + np.array(self.stride(level)), np.array(self.shape) - 1)
        ends = (low, high)
        picks = itertools.product((0, 1), repeat=len(self.shape))
        return np.stack([np.ravel_multi_index(tuple(ends[e][:, k] for k, e in enumerate(p)), self.shape) for p in picks], -1)

    def children(self, level: int, cells: np.ndarray) -> np.ndarray:
        """The cells of the level below that make up the given ones, sorted."""
        return self._box(level - 1, self._index(level, cells), self._factor(level), (0, 1))

    def around(self, level: int, cells: np.ndarray) -> np.ndarray:
        """The cells and all that touch them, sorted."""
        ones = (1,) * len(self.shape)
        return self._box(level, self._index(level, cells), ones, (-1, 0, 1))

    def holding(self, points: np.ndarray) -> np.ndarray:
        """Indices (m, 2^d, d) of the cells of level 0 that touch points (m,); where the lattice ends, its last cell stands in."""
        index, last = self.where(points), np.array(self.cells(0)) - 1
        steps = np.array(list(itertools.product((0, 1), repeat=len(self.shape))))
        return np.minimum(np.maximum(index[:, None, :] - steps[None], 0), last)

    def above(self, level: int, finest: np.ndarray) -> np.ndarray:
        """The cells of ``level`` that contain the cells of level 0 with indices (m, d)."""
        stride, cells = self.stride(level), self.cells(level)
        flat = finest[:, 0] // stride[0]
        for axis in range(1, len(cells)):
            flat = flat * cells[axis] + finest[:, axis] // stride[axis]
        return flat

    def widen(self, level: int, values: np.ndarray) -> np.ndarray:
        """Values of the cells of ``level`` given to those of the level below, as an array of their shape."""
        for axis, (factor, n) in enumerate(zip(self._factor(level), self.cells(level - 1), strict=True)):
            if factor > 1:
                values = np.repeat(values, factor, axis=axis)
            values = values[(slice(None),) * axis + (slice(0, n),)]
        return values

    def _factor(self, level: int) -> tuple[int, ...]:
        return tuple(a // b for a, b in zip(self.stride(level), self.stride(level - 1), strict=True))

    def _index(self, level: int, cells: np.ndarray) -> np.ndarray:
        return np.stack(np.unravel_index(cells, self.cells(level)), axis=-1)

    def _box(self, level: int, index: np.ndarray, factor: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
        """Cells at ``index * factor + step`` for every step along every axis, without those beyond the lattice."""
        cells = self.cells(level)
        found = []
        for step in itertools.product(steps, repeat=len(cells)):
            # An axis that is not divided has one child along it.
            if any(f == 1 and e == 1 and steps == (0, 1) for f, e in zip(factor, step, strict=True)):
                continue
            moved = index * np.array(factor) + np.array(step)
            inside = np.all((moved >= 0) & (moved < np.array(cells)), axis=-1)
            found.append(np.ravel_multi_index(tuple(moved[inside].T), cells))
        return np.unique(np.concatenate(found))
