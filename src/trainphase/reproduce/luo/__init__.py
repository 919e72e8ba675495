"""Luo, Xu, Ma and Zhang 2021: the phase diagram of two-layer ReLU networks, its figures and claims."""

from __future__ import annotations

from trainphase.reproduce.luo import checks, condensed, distance, exponents, fits, plane, table
from trainphase.reproduce.runner import Figure

FIGURES: tuple[Figure, ...] = (
    *fits.FIGURES, *distance.FIGURES, *plane.FIGURES, *condensed.FIGURES, *exponents.FIGURES, *checks.FIGURES, *table.FIGURES
)  # fmt: skip
