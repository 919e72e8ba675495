"""Tiles of a grid: integer addresses only, no coordinates, no numerics.

A tile is at once the unit of compilation, of work, of storage (one chunk) and of resumption, so
everything that has to agree about it (recipe, store, sweep) asks the one ``Tiling``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass

POINTS_PER_TILE = 4096

Index = tuple[int, ...]


@dataclass(frozen=True)
class Tiling:
    """A grid of ``shape`` points cut into boxes of ``tile`` points; boxes on the far edges may be smaller.

    Parameters
    ----------
    shape : points along each axis, each at least 1.
    tile : points of one tile along each axis, each at least 1; it may exceed the axis.

    Raises
    ------
    ValueError : the two differ in length, are empty, or hold a number below 1.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "tile", tuple(int(n) for n in self.tile))
        if not self.shape or len(self.shape) != len(self.tile):
            raise ValueError(f"a tiling needs one tile side per axis: shape {self.shape}, tile {self.tile}")
        if min(self.shape) < 1 or min(self.tile) < 1:
            raise ValueError(f"sides of a tiling are at least 1: shape {self.shape}, tile {self.tile}")

    def __len__(self) -> int:
        """Number of tiles."""
        return math.prod(self.counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of tiles along each axis."""
        return tuple(-(-n // t) for n, t in zip(self.shape, self.tile, strict=True))

    def tiles(self) -> list[Index]:
        """All tile indices, the last axis varying fastest."""
        return list(itertools.product(*(range(c) for c in self.counts)))

    def slices(self, index: Index) -> tuple[slice, ...]:
        """Where the tile lies in the grid: one slice per axis, clipped to the grid."""
        self._check(index)
        bounds = zip(index, self.tile, self.shape, strict=True)
        return tuple(slice(i * t, min((i + 1) * t, n)) for i, t, n in bounds)

    def extent(self, index: Index) -> tuple[int, ...]:
        """Points of the tile along each axis (fewer than ``tile`` on a far edge)."""
        return tuple(s.stop - s.start for s in self.slices(index))

    def key(self, index: Index) -> str:
        """The tile's name, ``"3.1"`` for the index (3, 1)."""
        self._check(index)
        return ".".join(str(i) for i in index)

    def index(self, key: str) -> Index:
        """The index that ``key`` names; ValueError when it names no tile of this grid."""
        parts = key.split(".")
        if not all(p.isascii() and p.isdecimal() for p in parts):
            raise ValueError(f"{key!r} names no tile")
        index = tuple(int(p) for p in parts)
        if self.key(index) != key:  # "03.1" is not how this tile is written
            raise ValueError(f"{key!r} names no tile")
        return index

    def _check(self, index: Index) -> None:
        counts = self.counts
        if len(index) != len(counts) or not all(0 <= i < c for i, c in zip(index, counts, strict=True)):
            raise ValueError(f"tile {tuple(index)} is outside the {counts} tiles of this grid")


def default_tile(
    shape: Collection[int], static: Collection[int] = (), points: int = POINTS_PER_TILE
) -> tuple[int, ...]:
    """Tile sides for a grid: powers of two with at most ``points`` points together, clipped to the grid.

    With 4096 points, one free axis gives 4096, two give 64 x 64, three 16 x 16 x 16.

    Parameters
    ----------
    shape : points along each axis.
    static : positions of the axes along which every point needs its own compilation (a width), so
        that a tile may hold one point only; they do not count as free.
    """
    unknown = set(static) - set(range(len(shape)))
    if unknown:
        raise ValueError(f"static axes {sorted(unknown)} are not among the {len(shape)} axes")
    free = max(1, len(shape) - len(set(static)))
    side = 2 ** (int(math.log2(points)) // free)
    return tuple(1 if k in static else min(side, n) for k, n in enumerate(shape))
