"""Cells through which one smooth boundary runs: its two crossings of the cell's sides, and the chord between them.

A cell of a coarse level whose four sides are crossed twice, by one pair of labels, is not subdivided. The two sides are
bisected down to neighbouring lattice points, and the inside is labelled by the side of the chord on which a point lies. Points
on either side of the chord's middle are then asked for: where a boundary is bent by more than half a lattice step, or is
something else than it seemed, they tell, and the cell is subdivided after all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from trainphase.engine.dyadic import Dyadic

UNKNOWN = 255
DIVIDED = 251  # a point whose seeds disagree: on no side of a smooth boundary
BISECTING, CHECKING, DONE = range(3)
# Corners of the four sides of a cell, as positions in Dyadic.corners.
SIDES = np.array([(0, 1), (2, 3), (0, 2), (1, 3)])
# Fractions of the chord at which its sides are asked for. A boundary bent evenly is furthest from it in the middle.
CHECKS = (0.5,)


@dataclass
class Chords:
    """Cells with two crossings each; ``lo`` and ``hi`` (m, 2, 2) are the addresses between which a boundary crosses.

    ``first`` is the label of the cell's first corner, ``other`` that beyond the boundary.
    """

    level: np.ndarray
    cell: np.ndarray
    origin: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    first: np.ndarray
    other: np.ndarray
    stage: np.ndarray

    @classmethod
    def none(cls) -> Chords:
        """No cell."""
        ends = np.zeros((0, 2, 2), np.int64)
        one = np.zeros(0, np.int64)
        return cls(one, one, np.zeros((0, 2), np.int64), ends, ends, one, one, one)

    @classmethod
    def cut(cls, lattice: Dyadic, level: int, cells: np.ndarray, labels: np.ndarray) -> tuple[Chords, np.ndarray]:
        """The cells that one boundary runs through, and a mask of which of the given ones they are.

        Parameters
        ----------
        labels : labels (m, 4) of the corners of ``cells``, 251 where seeds disagree.
        """
        crossed = labels[:, SIDES[:, 0]] != labels[:, SIDES[:, 1]]
        pair = np.all((labels == labels.min(1, keepdims=True)) | (labels == labels.max(1, keepdims=True)), axis=1)
        clean = pair & (crossed.sum(1) == 2) & np.all(labels != DIVIDED, axis=1)
        cells, labels, crossed = cells[clean], labels[clean], crossed[clean]
        corners = lattice.where(lattice.corners(level, cells).ravel()).reshape(-1, 4, 2)
        two = np.argsort(~crossed, axis=1, kind="stable")[:, :2]
        rows = np.arange(cells.size)[:, None]
        lo, hi = corners[rows, SIDES[two, 0]], corners[rows, SIDES[two, 1]]
        first = labels[:, 0].astype(np.int64)
        other = np.where(labels.min(1) == first, labels.max(1), labels.min(1)).astype(np.int64)
        made = cls(np.full(cells.size, level), cells, corners[:, 0], lo, hi, first, other, np.zeros(cells.size, np.int64))
        return made, clean

    def __len__(self) -> int:
        return self.cell.size

    def take(self, which: np.ndarray) -> Chords:
        """Some of the cells: a mask or indices."""
        return Chords(*(getattr(self, f.name)[which] for f in fields(self)))

    def plus(self, other: Chords) -> Chords:
        """These cells and those."""
        return Chords(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def predict(self, points: np.ndarray) -> np.ndarray:
        """Labels (m, k) by the side of the chord of points (m, k, 2) of each cell; on the chord itself the first corner's."""
        return np.where(self._side(points) >= 0, self.first[:, None], self.other[:, None])

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distances (m, k), in lattice steps, of points (m, k, 2) from the chord's line."""
        along = self._along()
        return np.abs(self._side(points)) / (2 * np.hypot(along[:, 0], along[:, 1]))[:, None]

    def checks(self, lattice: Dyadic) -> np.ndarray:
        """Points (m, k) on both sides of the chord, half to one and a half lattice steps off; a known one where none is needed.

        A told label that differs from the predicted one proves the boundary to be that far from the chord. Where all agree, a
        lattice point there that is given the wrong label is less than a step from the boundary.
        """
        along, start = self._along(), self.lo[:, 0] + self.hi[:, 0]
        low, strides = self.origin, np.array([lattice.stride(int(k)) for k in self.level]).reshape(-1, 2)
        high = np.minimum(low + strides, np.array(lattice.shape) - 1)
        found = []
        for at in CHECKS:
            middle = start + at * along
            for axis in (0, 1):
                # Step along the axis that the chord crosses more steeply; both when it runs diagonally.
                steep = np.abs(along[:, axis]) >= np.abs(along[:, 1 - axis])
                x = np.rint(middle[:, axis] / 2)
                slope = along[:, 1 - axis] / np.where(along[:, axis] == 0, 1, along[:, axis])
                y = (start[:, 1 - axis] + (2 * x - start[:, axis]) * slope) / 2
                for beside in (np.floor(y - 0.5), np.ceil(y + 0.5)):
                    point = np.stack([x, beside] if axis == 0 else [beside, x], -1).astype(np.int64)
                    good = steep & np.all((point >= low) & (point <= high), axis=1)
                    found.append(np.where(good[:, None], point, self.lo[:, 0]))
        return lattice.flat(np.stack(found, 1))

    def advance(self, lattice: Dyadic, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Go on as far as the known labels allow, in place.

        Parameters
        ----------
        labels : labels of the lattice points, flat, 255 where they are not known and 251 where seeds disagree.

        Returns
        -------
        Flat points needed to go on; mask of the cells that no chord describes.
        """
        need, failed = [], np.zeros(len(self), bool)
        for side in (0, 1):
            at = np.flatnonzero(self.stage == BISECTING)
            while at.size:
                lo, hi = self.lo[at, side], self.hi[at, side]
                wide = np.sum(hi - lo, axis=1) > 1
                at, lo, hi = at[wide], lo[wide], hi[wide]
                middle = lattice.flat(_between(lo, hi))
                told = labels[middle]
                need.append(middle[told == UNKNOWN])
                low, high = told == labels[lattice.flat(lo)], told == labels[lattice.flat(hi)]
                self.lo[at[low], side] = lattice.where(middle[low])
                self.hi[at[high], side] = lattice.where(middle[high])
                failed[at[~low & ~high & (told != UNKNOWN)]] = True  # a third label
                at = at[low | high]
        narrow = np.all(np.sum(self.hi - self.lo, axis=2) == 1, axis=1)
        self.stage[narrow & (self.stage == BISECTING)] = CHECKING
        at = np.flatnonzero(self.stage == CHECKING)
        if at.size:
            some = self.take(at)
            points = some.checks(lattice)
            told = labels[points]
            wrong = (told != UNKNOWN) & (told != some.predict(lattice.where(points.ravel()).reshape(*points.shape, 2)))
            failed[at] |= wrong.any(1)
            open_ = np.any(told == UNKNOWN, axis=1) & ~wrong.any(1)
            need.append(points[open_][told[open_] == UNKNOWN])
            self.stage[at[~open_]] = DONE
        return np.unique(np.concatenate(need)) if need else np.zeros(0, np.int64), failed

    def paint(self, lattice: Dyadic, labels: np.ndarray) -> None:
        """Label the unknown points of the cells, in place, in ``labels`` (the shape of the lattice)."""
        for level in np.unique(self.level):
            some = self.take(self.level == level)
            span = [np.arange(s + 1) for s in lattice.stride(int(level))]
            grid = np.stack(np.meshgrid(*span, indexing="ij"), -1).reshape(1, -1, 2)
            for part in np.array_split(np.arange(len(some)), 1 + len(some) * grid.shape[1] // 2**20):
                piece = some.take(part)
                points = np.minimum(piece.origin[:, None, :] + grid, np.array(lattice.shape) - 1)
                labels[points[..., 0], points[..., 1]] = piece.predict(points)

    def _along(self) -> np.ndarray:
        """Twice the vector from the first crossing to the second."""
        return (self.lo + self.hi)[:, 1] - (self.lo + self.hi)[:, 0]

    def _side(self, points: np.ndarray) -> np.ndarray:
        """Cross product of chord and point, positive on the side of the first corner."""
        along, start = self._along(), self.lo[:, 0] + self.hi[:, 0]

        def cross(p: np.ndarray) -> np.ndarray:
            rel = 2 * p - start[:, None, :]
            return along[:, None, 0] * rel[..., 1] - along[:, None, 1] * rel[..., 0]

        return cross(points) * np.sign(cross(self.origin[:, None, :]))


def _between(lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """The lattice point strictly between two on a line that the coarsest level has: the middle, of a whole side."""
    a, b = lo.sum(1), hi.sum(1) - 1
    step = (b - a).astype(np.int64)
    axis = np.argmax(hi - lo, axis=1)
    rows = np.arange(len(lo))
    a, b = lo[rows, axis], hi[rows, axis] - 1
    bit = np.frexp((a ^ b).astype(float))[1] - 1
    out = lo.copy()
    out[rows, axis] = np.where(step > 0, (b >> bit) << bit, a)
    return out
