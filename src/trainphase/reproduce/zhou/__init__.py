"""Zhou, Zhou, Jin, Luo, Zhang and Xu 2022: the phase diagram of three-layer ReLU networks."""

from __future__ import annotations

from trainphase.reproduce.runner import Figure
from trainphase.reproduce.zhou import diagram, distance, fits, norms, slopes

FIGURES: tuple[Figure, ...] = (distance.FIGURE, diagram.FIGURE, slopes.FIGURE, norms.FIGURE, fits.FIGURE)
