"""Luo, Xu, Ma and Zhang 2021: the phase diagram of two-layer ReLU networks, its figures and claims."""

from __future__ import annotations

from trainphase.reproduce.luo import table
from trainphase.reproduce.runner import Figure

FIGURES: tuple[Figure, ...] = (*table.FIGURES,)
