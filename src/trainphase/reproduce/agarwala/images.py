"""The items of real networks on real images: figures 5, 6, 15 and 16."""

from __future__ import annotations

from trainphase.reproduce.agarwala import images_edge, images_taylor

FIGURES = (*images_edge.FIGURES, *images_taylor.FIGURES)
