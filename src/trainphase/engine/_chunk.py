"""One chunk: a tile's values of one field as the bytes of a Zarr chunk, and back.

The format is that of the arrays that ``_layout`` makes (little-endian values, Zstandard, CRC32C at the end), and a test
holds the bytes against Zarr's own. Called directly, the codecs take 0.1 ms a chunk; through Zarr's event loop and its
threads it was ten times that, which was most of what a tile cost.
"""

from __future__ import annotations

import math

import google_crc32c
import numpy as np
from numcodecs import Zstd

from trainphase.engine._manifest import Field

LEVEL = 1
_TAIL = 4  # bytes of the checksum


def encode(field: Field, tile: tuple[int, ...], values: np.ndarray) -> bytes | None:
    """The chunk of a tile of ``tile`` points, or None where Zarr keeps none: all values are the fill value.

    ``values`` may cover less than the tile, on a far edge of the grid; the rest of the chunk is fill value.
    """
    full = tile + field.sizes
    if _is_fill(field, values):
        return None
    if values.shape != full:
        padded = np.full(full, field.fill, field.dtype)
        padded[tuple(slice(n) for n in values.shape)] = values
        values = padded
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    packed = bytes(Zstd(LEVEL).encode(raw))
    return packed + google_crc32c.value(packed).to_bytes(_TAIL, "little")


def decode(field: Field, tile: tuple[int, ...], extent: tuple[int, ...], chunk: bytes | None) -> np.ndarray:
    """The values of a tile of which ``extent`` points lie in the grid; ValueError when a byte of the chunk is not as written."""
    if chunk is None:
        return np.full(extent + field.sizes, field.fill, field.dtype)
    packed, tail = chunk[:-_TAIL], chunk[-_TAIL:]
    if google_crc32c.value(packed).to_bytes(_TAIL, "little") != tail:
        raise ValueError("the chunk fails its own checksum")
    full, dtype = tile + field.sizes, np.dtype(field.dtype)
    raw = bytes(Zstd(LEVEL).decode(packed))
    if len(raw) != math.prod(full) * dtype.itemsize:
        raise ValueError("the chunk has another size than the tile")
    values = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(full)
    return values[tuple(slice(n) for n in extent)]


def _is_fill(field: Field, values: np.ndarray) -> bool:
    if field.fill != field.fill:
        return bool(np.isnan(values).all())
    fill = np.asarray(field.fill, field.dtype)
    if fill == 0 and fill.dtype.kind == "f":  # minus zero is another value
        return bool((values == 0).all() and (np.signbit(values) == np.signbit(fill)).all())
    return bool((values == fill).all())
