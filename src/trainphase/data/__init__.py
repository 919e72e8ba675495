"""Image data sets found on this machine and checked by SHA-256, and the data matrices made from them.

Nothing here downloads and nothing is unpickled. `docs/data.md` says which sets there are
and where they come from.
"""

from __future__ import annotations

from .design import DESIGNS, DesignMatrix, design_matrix
from .sets import SETS, ImageSet, images, load, status

__all__ = ["DESIGNS", "SETS", "DesignMatrix", "ImageSet", "design_matrix", "images", "load", "status"]
