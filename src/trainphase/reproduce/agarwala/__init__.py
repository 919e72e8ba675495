"""Agarwala, Pedregosa and Pennington 2022: quadratic regression models, their figures and claims."""

from __future__ import annotations

from trainphase.reproduce.runner import Figure

FIGURES: tuple[Figure, ...] = ()
