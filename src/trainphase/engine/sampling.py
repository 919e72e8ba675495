"""Which points of a lattice to ask for, so that the boundaries between labels are known at its full resolution.

A round of questions (``ask``) and answers (``tell``) follows another. The start level is asked for whole; a cell whose corners
differ is subdivided, and so is the ring of cells around it, level by level. Below a coarse level a cell that one smooth
boundary runs through has its two crossed sides bisected instead (``engine.chords``). Where a told label contradicts a cell
that was taken for uniform, that cell is subdivided too. A random audit of the points that were never asked for ends it.
"""

from __future__ import annotations

import math

import numpy as np

from trainphase.engine.audit import Audited, draw, judge, overall
from trainphase.engine.chords import DIVIDED, SIDES, UNKNOWN, Chords
from trainphase.engine.dyadic import Dyadic
from trainphase.engine.noise import Counts, contrast
from trainphase.engine.refined import Refined, boxes, crossings, dimension

# What a cell is, beside the label of a uniform one. 255 is a cell that was never looked at.
CHORD, SPLIT, WAITING = 252, 253, 254
MOST_LABELS = 250
SMALLEST_CHORD = 4
AUDIT_SHARE = 50  # one audited point for so many asked ones, where that is more than were wanted
AUDIT_ROOM = 20  # lattice points for each that an audit may take at most
CLEAR = 4.0  # standard errors of a difference between ensembles from which the ring is subdivided too


class Refine:
    """Ask/tell refinement of a lattice of one or two axes; the same answers always give the same questions.

    Labels are small integers, of which none is special: a point that is undecided or could not be computed has a label, too. Of
    several seeds the label is the most frequent one, and two corners of a cell differ where ``noise.contrast`` says so.

    Parameters
    ----------
    shape : lattice points along each axis; axes of one point are allowed and not counted as axes.
    levels : halvings from the start level to the lattice; None begins with 16 to 31 cells along each axis.
    ring : subdivide also the cells that touch a mixed one; below the stride of ``smooth`` only around those whose four sides are
        all crossed, and around cells near them that a told label contradicts.
    smooth : below cells of this stride bisect crossed sides where one smooth boundary runs through a cell. True takes 32,
        or 16 on lattices of fewer than 512 points a side; False subdivides down to the lattice.
    audit : points of one audit, half of them shared equally by the labels; a fiftieth of the points asked for where that is
        more, at most a twentieth of the lattice. 0 is no audit.
    audits : most audits; each but the last is followed by further refinement where it found misses.
    seed : of the audit's draws.

    Raises
    ------
    ValueError : the shape has no point or more than two axes of several points, or ``tell`` is given what was not asked.

    Cost, for a smooth boundary of length l lattice steps and bisected cells of stride 32: the start level, about l / 2 points,
    and the audit. Memory: 4 bytes per lattice point, and about 13 for ``result``.
    """

    def __init__(
        self, shape: tuple[int, ...], levels: int | None = None, ring: bool = True, smooth: bool | int = True,
        audit: int = 600, audits: int = 3, seed: int = 0,
    ) -> None:  # fmt: skip
        self.shape = tuple(int(n) for n in shape)
        if not self.shape or min(self.shape) < 1 or sum(n > 1 for n in self.shape) > 2:
            raise ValueError(f"a refined lattice has one or two axes of several points, not the shape {self.shape}")
        self.ring, self.seed, self.audits = ring, seed, audits if audit > 0 else 0
        self.lattice = Dyadic.of(tuple(n for n in self.shape if n > 1) or (1,), levels)
        stride = (32 if max(self.shape) >= 512 else 16) if smooth is True else int(smooth)
        self.chord_level = int(math.log2(stride)) if stride > 1 else -1
        self.audit = audit
        self._labels = np.full(math.prod(self.shape), UNKNOWN, np.uint8)
        self._cells = [np.full(math.prod(self.lattice.cells(k)), UNKNOWN, np.uint8) for k in range(self.lattice.top + 1)]
        self._waiting = [[np.zeros(0, np.int64)] for _ in self._cells]
        self._waiting[-1] = [np.arange(self._cells[-1].size)]
        self._cells[-1][:] = WAITING
        self._chords = Chords.none()
        self._knotted = np.zeros(self._cells[-1].size, bool)
        self._told: list[np.ndarray] = []
        self._watched, self._seen = np.zeros(0, np.int64), 0
        self._counts: Counts | None = None
        self._sure = self._labels
        self._open = self.lattice.coarse()
        self._drawn: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._rows: tuple[Audited, ...] = ()
        # Any of the audits may be the one that ends it, so each has its share of the 5 %.
        self._confidence = 1 - 0.05 / max(1, self.audits)
        self._audited = 0
        self.rounds = 1

    @property
    def evaluations(self) -> int:
        """Points told so far."""
        return sum(t.size for t in self._told)

    def ask(self) -> np.ndarray:
        """Addresses (m, d) of the points of this round that were not told yet, sorted; (0, d) when all is done."""
        return np.stack(np.unravel_index(self._open, self.shape), axis=-1).astype(np.int64)

    def tell(self, points: np.ndarray, counts: np.ndarray) -> None:
        """Give answers of this round, all or some of them, in any order.

        Parameters
        ----------
        points : addresses (m, d), as asked.
        counts : how many seeds gave each label, (m, labels).
        """
        points, counts = np.asarray(points, dtype=np.int64).reshape(-1, len(self.shape)), np.asarray(counts)
        m = len(points)
        if counts.ndim != 2 or len(counts) != m or not 0 < counts.shape[1] <= MOST_LABELS:
            raise ValueError(f"counts of {m} points have the shape ({m}, labels), 1 to {MOST_LABELS} labels; got {counts.shape}")
        if counts.size and (counts.min() < 0 or counts.sum(1).min() < 1):
            raise ValueError("every point needs at least one seed with a label, and no count is negative")
        if np.any((points < 0) | (points >= np.array(self.shape))):
            raise ValueError(f"points were told outside the lattice of {self.shape} points")
        flat = self._flat(points)
        if np.unique(flat).size != flat.size or not np.isin(flat, self._open).all():
            raise ValueError("points were told that this round did not ask for, or that were told before")
        self._labels[flat] = np.argmax(counts, axis=1)
        if self._counts is not None or counts.sum(1).max(initial=0) > 1:
            if self._counts is None:
                self._sure = self._labels.copy()
            self._counts = Counts.joined(self._counts, flat, counts, self._told, self._labels)
            self._sure[flat] = np.where(counts.max(1) == counts.sum(1), self._labels[flat], DIVIDED)
        self._told.append(flat)
        self._open = self._open[self._labels[self._open] == UNKNOWN]
        if self._open.size == 0:
            self._open = self._next()
            self.rounds += self._open.size > 0

    def _flat(self, addresses: np.ndarray) -> np.ndarray:
        return np.asarray(np.ravel_multi_index(tuple(addresses.T), self.shape))

    # ---- a round

    def _next(self) -> np.ndarray:
        """Flat points of the next round; none when all is done."""
        if self._drawn is not None:
            again = self._judge()
            if not again:
                return np.zeros(0, np.int64)
        need = self._descend()
        while self._contradictions():
            need = self._descend()
        if need.size:
            return need
        if self._audited < self.audits:
            labels = self._inferred()
            known = (self._labels != UNKNOWN).reshape(labels.shape)
            size = min(max(self.audit, self.evaluations // AUDIT_SHARE), labels.size // AUDIT_ROOM)
            points = draw(labels, known, size, np.random.default_rng([self.seed, self._audited]))
            if points.size:
                sizes = np.bincount(labels.ravel(), minlength=256) - np.bincount(labels[known], minlength=256)
                self._drawn = points, labels.ravel()[points], sizes
            return points
        return np.zeros(0, np.int64)

    def _descend(self) -> np.ndarray:
        """Look at every waiting cell whose corners are known, subdivide or bisect; the points needed to go on."""
        while True:
            need = [self._look(level) for level in range(self.lattice.top, -1, -1)]
            more, failed = self._bisect()
            if not failed:
                return np.unique(np.concatenate([*need, more]))

    def _look(self, level: int) -> np.ndarray:
        """Classify the waiting cells of a level; the corners that are still missing."""
        if not any(c.size for c in self._waiting[level]):
            return np.zeros(0, np.int64)
        cells = np.unique(np.concatenate(self._waiting[level]))
        cells = cells[self._cells[level][cells] == WAITING]
        corners = self.lattice.corners(level, cells)
        labels = self._labels[corners]
        missing = np.any(labels == UNKNOWN, axis=1)
        self._waiting[level] = [cells[missing]]
        need = corners[missing][labels[missing] == UNKNOWN]
        cells, corners, labels = cells[~missing], corners[~missing], labels[~missing]
        mixed = np.any(labels != labels[:, :1], axis=1)
        clear = np.ones(cells.size, bool)
        value = labels[:, 0].copy()
        if self._counts is not None and mixed.any():
            at = np.flatnonzero(mixed)
            counts = self._counts.of(corners[at])
            value[at] = np.argmax(counts.sum(1), axis=1)
            mixed[at], errors = contrast(counts)
            clear[at] = (errors >= CLEAR) | np.all(counts.sum(2) == 1, axis=1)
        self._cells[level][cells] = value
        if level > 0:
            self._divide(level, cells[mixed & clear])
            self._split(level, cells[mixed & ~clear], False)
        return np.unique(need)

    def _divide(self, level: int, cells: np.ndarray) -> None:
        """Bisect the sides of the mixed cells that allow it, subdivide the others."""
        if level > self.chord_level:
            self._split(level, cells, self.ring)
            return
        if len(self.lattice.shape) == 1:  # subdivision without a ring is bisection
            self._split(level, cells, False)
            return
        sure = self._sure[self.lattice.corners(level, cells)]
        clean = np.zeros(cells.size, bool)
        if max(self.lattice.stride(level)) >= SMALLEST_CHORD:
            made, clean = Chords.cut(self.lattice, level, cells, sure)
            self._cells[level][made.cell] = CHORD
            self._chords = self._chords.plus(made)
        # Three labels, a narrow band between two lines and a bend need smaller cells there and no more; where all four sides are
        # crossed the boundary is no line, and the ring is worth its points.
        knot = np.all(sure[:, SIDES[:, 0]] != sure[:, SIDES[:, 1]], axis=1)
        self._knotted[self._start_cells(level, cells[knot])] = True
        self._split(level, cells[knot], self.ring)
        self._split(level, cells[~clean & ~knot], False)

    def _split(self, level: int, cells: np.ndarray, ring: bool) -> None:
        """Let the children of cells wait for their corners."""
        if cells.size == 0:
            return
        cells = self.lattice.around(level, cells) if ring else cells
        cells = cells[self._cells[level][cells] != SPLIT]
        self._cells[level][cells] = SPLIT
        below = self.lattice.children(level, cells)
        below = below[self._cells[level - 1][below] == UNKNOWN]
        self._cells[level - 1][below] = WAITING
        self._waiting[level - 1].append(below)

    def _start_cells(self, level: int, cells: np.ndarray) -> np.ndarray:
        """The cells of the start level that hold the given ones."""
        where = self.lattice.origin(level, cells) // np.array(self.lattice.start)
        return np.asarray(np.ravel_multi_index(tuple(where.T), self.lattice.cells(self.lattice.top)))

    def _split_around(self, level: int, cells: np.ndarray, ring: bool) -> None:
        """Subdivide cells, with a ring where it is worth its points: coarse cells, all after an audit, those near a knot.

        A smooth boundary that grazes a side is told of by the cell itself; a fractal one goes on beside it.
        """
        rough = np.full(cells.size, level > self.chord_level or self._audited > 0)
        if ring and not rough.all():
            top = self.lattice.top
            near = np.zeros(self._knotted.size, bool)
            near[self.lattice.around(top, np.flatnonzero(self._knotted))] = True
            rough |= near[self._start_cells(level, cells)]
        self._split(level, cells[rough], ring)
        self._split(level, cells[~rough], False)

    def _bisect(self) -> tuple[np.ndarray, bool]:
        """Go on with the chords; the points they need, and whether some cell has to be subdivided after all."""
        if len(self._chords):
            still = np.zeros(len(self._chords), bool)
            for level in np.unique(self._chords.level):
                mine = self._chords.level == level
                still[mine] = self._cells[level][self._chords.cell[mine]] == CHORD
            self._chords = self._chords.take(still)
        need, failed = self._chords.advance(self.lattice, self._sure)
        for level in np.unique(self._chords.level[failed]):
            self._split(int(level), self._chords.cell[failed & (self._chords.level == level)], False)
        return need, bool(failed.any())

    # ---- what the told labels contradict

    def _contradictions(self) -> bool:
        """Subdivide the cells that a told point on or in them proves to be otherwise than taken; whether there were any.

        Beside a point that a smaller neighbour asked for, such a cell is subdivided down to that neighbour's size at once.
        """
        if self._cells[0].size == 0:  # a lattice of one point has no cell
            return False
        points = np.concatenate([self._watched, *self._told[self._seen :]])
        self._seen = len(self._told)
        touching = self.lattice.holding(points)
        owner, finest = np.repeat(np.arange(points.size), touching.shape[1]), touching.reshape(-1, touching.shape[2])
        reach, settled = np.full(points.size, self.lattice.top), np.zeros(points.size, np.int64)
        bad: list[tuple[int, np.ndarray, np.ndarray]] = []
        for level in range(self.lattice.top + 1):
            cells = self.lattice.above(level, finest)
            state = self._cells[level][cells]
            leaf = state <= CHORD
            np.minimum.at(reach, owner[leaf], level)
            if level == 0:
                settled = np.bincount(owner[leaf], minlength=points.size)
            else:
                wrong = state < MOST_LABELS
                wrong[wrong] = self._differs(level, cells[wrong], points[owner[wrong]])
                chord = np.flatnonzero(state == CHORD)
                wrong[chord] = self._off_chord(level, cells[chord], points[owner[chord]])
                bad.append((level, finest[wrong], owner[wrong]))
            finest, owner = finest[~leaf], owner[~leaf]
        # Nothing can change any more where all cells around a point are the smallest ones.
        self._watched = points[settled < touching.shape[1]]
        for level, cells, who in bad:
            for k in range(level, 0, -1):
                deep = (k == level) | (k > reach[who])
                if deep.any():
                    self._split_around(k, np.unique(self.lattice.above(k, cells[deep])), self.ring and self._counts is None)
        return any(who.size for _, _, who in bad)

    def _differs(self, level: int, cells: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Whether the label of a point is another than the one its uniform cell was given."""
        other = self._labels[points] != self._cells[level][cells]
        if self._counts is not None and other.any():
            at = np.flatnonzero(other)
            around = self._counts.of(self.lattice.corners(level, cells[at])).sum(1)
            other[at] = contrast(np.stack([self._counts.of(points[at]), around], 1))[0]
        return other

    def _off_chord(self, level: int, cells: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Whether a point of a bisected cell has another label than predicted, more than a step away from the chord."""
        mine = np.flatnonzero(self._chords.level == level)
        order = mine[np.argsort(self._chords.cell[mine])]
        some = self._chords.take(order[np.searchsorted(self._chords.cell[order], cells)])
        address = self.lattice.where(points)[:, None, :]
        wrong = some.predict(address)[:, 0] != self._labels[points]
        return wrong & (some.distance(address)[:, 0] > 1)

    # ---- the audit and the result

    def _judge(self) -> bool:
        """Take in the answers of an audit; whether refinement goes on."""
        assert self._drawn is not None
        points, inferred, sizes = self._drawn
        self._drawn = None
        self._audited += 1
        missed = self._labels[points] != inferred
        self._rows = judge(inferred, missed, sizes, self._confidence)
        return self._audited < self.audits and self._contradictions()

    def _inferred(self) -> np.ndarray:
        """The labels of all points: told ones, and inferred ones from the smallest cell that a point lies in."""
        values = np.full(self.lattice.cells(self.lattice.top), UNKNOWN, np.uint8)
        for level in range(self.lattice.top, -1, -1):
            state = self._cells[level].reshape(values.shape)
            np.copyto(values, state, where=state < MOST_LABELS)
            if level:
                values = self.lattice.widen(level, values)
        labels = np.pad(
            values,
            [(0, n - m) for n, m in zip(self.lattice.shape, values.shape, strict=True)],
            mode="edge" if values.size else "empty",
        )
        self._chords.paint(self.lattice, labels)
        flat = labels.reshape(-1)
        for points in self._told:
            flat[points] = self._labels[points]
        return labels

    def result(self) -> Refined:
        """What is known after the last round."""
        if self._open.size or self._drawn is not None:
            raise ValueError(f"{self._open.size} points of this round were not told yet; ask and tell until there are none")
        labels = self._inferred()
        known = (self._labels != UNKNOWN).reshape(labels.shape)
        levels = boxes(self.lattice, labels)
        ends = np.stack(np.unravel_index(crossings(labels, known), self.shape), -1)
        wrong = (0.0, 0.0) if known.all() else overall(self._rows, labels.size, self._confidence) if self._rows else None
        return Refined(
            labels.reshape(self.shape), known.reshape(self.shape), ends, self._rows, self._audited, wrong, levels,
            dimension(levels), self.evaluations, self.rounds,
        )  # fmt: skip
