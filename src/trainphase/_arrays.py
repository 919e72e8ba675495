"""Ground-level array helpers: checksums, precision contexts, conversion of parameter leaves."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

DTYPES = ("float64", "float32")


def checksum(*arrays: Any) -> str:
    """SHA-256 over dtype, shape and C-ordered little-endian bytes of the arrays, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        a = np.ascontiguousarray(array)
        if a.dtype.byteorder == ">":
            a = a.astype(a.dtype.newbyteorder("<"))
        digest.update(f"{a.dtype.str}{a.shape}".encode())
        digest.update(a.tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Run the body with JAX in the given precision, in this thread only; no global flag is touched."""
    import jax

    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield


def as_leaves(tree: Any, dtype: str) -> Any:
    """Turn Python and NumPy floats in a pytree into arrays of ``dtype``, so that a new value never retraces."""
    import jax

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, bool | np.bool_):
            return leaf
        if isinstance(leaf, int | float | np.floating):
            return np.asarray(leaf, dtype)
        if isinstance(leaf, np.ndarray | jax.Array) and np.issubdtype(leaf.dtype, np.floating):
            return np.asarray(leaf, dtype)
        return leaf

    return jax.tree.map(convert, tree)
