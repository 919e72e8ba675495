"""Agarwala, Pedregosa and Pennington 2022: quadratic regression models, their figures and claims."""

from __future__ import annotations

from trainphase.reproduce.agarwala import deviation, images, many_data, one_datum
from trainphase.reproduce.runner import Figure

_ITEMS: tuple[Figure, ...] = (*one_datum.FIGURES, *many_data.FIGURES, *images.FIGURES, *deviation.FIGURES)

# Figures by number, then the items that are no figures.
FIGURES: tuple[Figure, ...] = (
    *sorted((item for item in _ITEMS if item.name.isdigit()), key=lambda item: int(item.name)),
    *(item for item in _ITEMS if not item.name.isdigit()),
)
