"""Several seeds at every point: label frequencies, and when a difference of theirs is more than noise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Counts:
    """How many seeds gave each label, at every told point; only for ensembles."""

    points: np.ndarray
    counts: np.ndarray

    @classmethod
    def joined(
        cls, old: Counts | None, points: np.ndarray, counts: np.ndarray, told: list[np.ndarray], labels: np.ndarray
    ) -> Counts:
        """The old counts and new ones; points told before any had several seeds count one."""
        if old is None:
            before = np.concatenate([np.zeros(0, np.int64), *told])
            old = cls(before, np.eye(256, dtype=np.int64)[labels[before]])
        wide = max(old.counts.shape[1], counts.shape[1])
        tables = [np.pad(c, [(0, 0), (0, wide - c.shape[1])]) for c in (old.counts, counts)]
        every, table = np.concatenate([old.points, points]), np.concatenate(tables)
        order = np.argsort(every)
        return cls(every[order], table[order])

    def of(self, points: np.ndarray) -> np.ndarray:
        """Counts (..., labels) of known points (...)."""
        return self.counts[np.searchsorted(self.points, points)]


def contrast(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the points of each group have different label frequencies beyond the noise of their seeds, and how clearly.

    The rule: of all ways to part a group in two and of all labels in it, take the largest difference of frequencies in units of
    its pooled standard error. It counts from two standard errors of one comparison (4.6 %) on, shared among the comparisons
    (Bonferroni): from 2.7 for four corners and two labels. Points whose seeds agree among themselves show no noise: there it
    counts as soon as two of them differ, as with one seed.

    Parameters
    ----------
    counts : seeds with each label, (groups, points, labels).

    Returns
    -------
    True where they differ; the largest difference in standard errors.
    """
    points = counts.shape[1]
    parts = [np.array([False, *p]) for p in itertools.product((False, True), repeat=points - 1) if any(p)]
    clearest = np.zeros(len(counts))
    for part in parts:
        a, b = counts[:, part].sum(1), counts[:, ~part].sum(1)
        n, m = a.sum(1, keepdims=True), b.sum(1, keepdims=True)
        pooled = (a + b) / (n + m)
        error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        difference = np.abs(a / n - b / m) / np.where(error > 0, error, np.inf)
        np.maximum(clearest, difference.max(1), out=clearest)
    present = np.count_nonzero(counts.sum(1), axis=1)
    limits = np.array([_limit(len(parts) * max(1, k if k > 2 else 1)) for k in range(counts.shape[2] + 1)])
    agreed = np.all(counts.max(2) == counts.sum(2), axis=1)
    return (present > 1) & (agreed | (clearest >= limits[present])), clearest


def _limit(comparisons: int) -> float:
    """Standard errors that one of so many comparisons exceeds as seldom as a single one exceeds two."""
    return NormalDist().inv_cdf(1 - NormalDist().cdf(-2) / comparisons)
