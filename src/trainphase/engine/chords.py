"""Cells through which smooth boundaries run: where they cross the cell's sides, and the chords between these crossings.

A cell of a coarse level whose four sides are crossed twice, by one pair of labels, is not subdivided. The two sides are
bisected down to neighbouring lattice points, and the inside is labelled by the side of the chord on which a point lies. Where a
third label lies between the two on both sides, as in the strip of runs that the horizon does not decide, there are two chords,
one for each of its borders. Points on either side of the chords are then asked for: where a boundary is bent by more than half
a lattice step, or is something else than it seemed, they tell, and the cell is subdivided after all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields

import numpy as np

from trainphase.engine.dyadic import Dyadic

UNKNOWN = 255
DIVIDED = 251  # a point whose seeds disagree: on no side of a smooth boundary
BISECTING, CHECKING, DONE = range(3)
# Corners of the four sides of a cell, as positions in Dyadic.corners.
SIDES = np.array([(0, 1), (2, 3), (0, 2), (1, 3)])
# Fractions of the chord at which its sides are asked for, and the stride of a cell from which on; of strips all. A boundary
# bent evenly is furthest from it in the middle; the others tell a fractal, in small cells.
CHECKS = ((0.5, 1), (0.25, 8), (0.75, 8))
# Cells of 16 steps and more may hold a strip. In smaller ones a third label is a fractal's more often than a strip's.
STRIP_LEVEL = 4


@dataclass
class Chords:
    """Cells with two crossed sides each.

    A boundary crosses between the addresses ``near`` and ``far`` (m, lines, sides, 2). The first line is the border of the
    label ``first`` of the cell's first corner, the second that of ``other``, the label beyond; ``middle`` is what lies between
    them, 255 where nothing does: then both lines are one.
    """

    level: np.ndarray
    cell: np.ndarray
    origin: np.ndarray
    near: np.ndarray
    far: np.ndarray
    first: np.ndarray
    middle: np.ndarray
    other: np.ndarray
    stage: np.ndarray

    @classmethod
    def none(cls) -> Chords:
        """No cell."""
        ends = np.zeros((0, 2, 2, 2), np.int64)
        one = np.zeros(0, np.int64)
        return cls(one, one, np.zeros((0, 2), np.int64), ends, ends, one, one, one, one)

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
        two = SIDES[np.argsort(~crossed, axis=1, kind="stable")[:, :2]]
        rows = np.arange(cells.size)[:, None]
        first = labels[:, 0].astype(np.int64)
        other = np.where(labels.min(1) == first, labels.max(1), labels.min(1)).astype(np.int64)
        starts = labels[rows, two[..., 0]] == first[:, None]
        near = corners[rows, np.where(starts, two[..., 0], two[..., 1])]
        far = corners[rows, np.where(starts, two[..., 1], two[..., 0])]
        near, far = (np.repeat(ends[:, None], 2, axis=1) for ends in (near, far))
        middle, stage = np.full(cells.size, UNKNOWN, np.int64), np.zeros(cells.size, np.int64)
        made = cls(np.full(cells.size, level), cells, corners[:, 0], near, far, first, middle, other, stage)
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
        """Labels (m, k) by the sides of the chords of points (m, k, 2) of each cell; on a chord itself the nearer corner's."""
        beyond = np.where(self._side(points, 1) >= 0, self.middle[:, None], self.other[:, None])
        return np.where(self._side(points, 0) >= 0, self.first[:, None], beyond)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distances (m, k), in lattice steps, of points (m, k, 2) from the line of the nearest chord."""
        return np.minimum(self._away(points, 0), self._away(points, 1))

    def checks(self, lattice: Dyadic) -> np.ndarray:
        """Points (m, k) on both sides of the chords, half to one and a half lattice steps off; a known one where none is needed.

        A told label that differs from the predicted one proves the boundary to be that far from the chord. Where all agree, a
        lattice point there that is given the wrong label is less than a step from the boundary.
        """
        strides = np.array([lattice.stride(int(k)) for k in self.level]).reshape(-1, 2)
        low, high = self.origin, np.minimum(self.origin + strides, np.array(lattice.shape) - 1)
        found, strip = [], self.middle != UNKNOWN
        for line in (0, 1):
            along, start = self._along(line), (self.near + self.far)[:, line, 0]
            for (at, least), axis in itertools.product(CHECKS, (0, 1)):
                # Step along the axis that the chord crosses more steeply; both when it runs diagonally.
                steep = np.abs(along[:, axis]) >= np.abs(along[:, 1 - axis])
                x = np.rint((start + at * along)[:, axis] / 2)
                slope = along[:, 1 - axis] / np.where(along[:, axis] == 0, 1, along[:, axis])
                y = (start[:, 1 - axis] + (2 * x - start[:, axis]) * slope) / 2
                for beside in (np.floor(y - 0.5), np.ceil(y + 0.5)):
                    point = np.stack([x, beside] if axis == 0 else [beside, x], -1).astype(np.int64)
                    good = steep & np.all((point >= low) & (point <= high), axis=1) & (strip | (strides.max(1) >= least))
                    # Of a strip, the other border may be nearer than can be told.
                    good &= ~strip | (self._away(point[:, None], 1 - line)[:, 0] >= 0.5)
                    found.append(np.where(good[:, None], point, self.near[:, 0, 0]))
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
        need, failed = [np.zeros(0, np.int64)], np.zeros(len(self), bool)
        for side, line in itertools.product((0, 1), (0, 1)):
            at = np.flatnonzero(self.stage == BISECTING)
            while at.size:
                more, at = self._halve(lattice, labels, at, line, side, failed)
                need.append(more)
        narrow = np.all(np.sum(np.abs(self.far - self.near), axis=3) == 1, axis=(1, 2))
        # A strip that leaves through one of the sides only has its tip in the cell, and one of a single step comes and goes.
        width = np.sum(np.abs(self.near[:, 0] - self.near[:, 1]), axis=2)
        failed |= narrow & (width.max(1) > 0) & (width.min(1) < 2)
        self.stage[narrow & (self.stage == BISECTING)] = CHECKING
        at = np.flatnonzero((self.stage == CHECKING) & ~failed)
        if at.size:
            some = self.take(at)
            points = some.checks(lattice)
            told = labels[points]
            wrong = (told != UNKNOWN) & (told != some.predict(lattice.where(points.ravel()).reshape(*points.shape, 2)))
            failed[at] |= wrong.any(1)
            open_ = np.any(told == UNKNOWN, axis=1) & ~wrong.any(1)
            need.append(points[open_][told[open_] == UNKNOWN])
            self.stage[at[~open_]] = DONE
        return np.unique(np.concatenate(need)), failed

    def _halve(
        self, lattice: Dyadic, labels: np.ndarray, at: np.ndarray, line: int, side: int, failed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Halve what is left of a side once, for a line of the cells ``at``: points not known, and cells that may go on."""
        near, far = self.near[at, line, side], self.far[at, line, side]
        wide = (np.sum(np.abs(far - near), axis=1) > 1) & ~failed[at]
        at, near, far = at[wide], near[wide], far[wide]
        between = lattice.flat(_between(np.minimum(near, far), np.maximum(near, far)))
        told = labels[between]
        unknown, first, other = told == UNKNOWN, told == self.first[at], told == self.other[at]
        third = ~unknown & ~first & ~other
        new = third & (self.middle[at] == UNKNOWN)
        self.middle[at[new]] = told[new]
        # Labels that come again on the same side are no strip.
        back = (other & (labels[lattice.flat(far)] != told)) if line == 0 else (first & (labels[lattice.flat(near)] != told))
        failed[at[(third & ((told != self.middle[at]) | (told == DIVIDED) | (self.level[at] < STRIP_LEVEL))) | back]] = True
        ahead = first | (third & (line == 1))
        self.near[at[ahead], line, side] = lattice.where(between[ahead])
        behind = ~ahead & ~unknown
        self.far[at[behind], line, side] = lattice.where(between[behind])
        return between[unknown], at[~unknown]

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

    def _along(self, line: int) -> np.ndarray:
        """Twice the vector from the first crossing of a line to the second."""
        return (self.near + self.far)[:, line, 1] - (self.near + self.far)[:, line, 0]

    def _away(self, points: np.ndarray, line: int) -> np.ndarray:
        along = self._along(line)
        return np.abs(self._side(points, line)) / (2 * np.hypot(along[:, 0], along[:, 1]))[:, None]

    def _side(self, points: np.ndarray, line: int) -> np.ndarray:
        """Cross product of chord and point, positive on the side of the first corner."""
        along, start = self._along(line), (self.near + self.far)[:, line, 0]

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
