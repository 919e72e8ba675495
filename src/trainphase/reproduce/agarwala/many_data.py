"""The items of the (D, P) model: figures 3, 4, 12, 13, 14, Theorem 4.1 and the equations around them."""

from __future__ import annotations

from trainphase.reproduce.agarwala import (
    many_data_kernels,
    many_data_planes,
    many_data_proof,
    many_data_runs,
    many_data_start,
)

FIGURES = (
    *many_data_runs.FIGURES, *many_data_planes.FIGURES, *many_data_start.FIGURES, *many_data_proof.FIGURES,
    *many_data_kernels.FIGURES,
)  # fmt: skip
