"""Ground-level array helpers: checksums, precision contexts, conversion of parameter leaves, the integers of NetCDF 3."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator
from typing import Any

import numpy as np

DTYPES = ("float64", "float32")

_REMEMBERED = "dtype_in_memory"
_SIGNED = {"uint8": "int16", "uint16": "int32"}


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
def precision(dtype: str) -> Generator[None, None, None]:
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


def for_netcdf3(dataset: Any, remember: bool = False) -> Any:
    """The xarray data set with unsigned integers as wider signed ones: NetCDF 3 has no others, and 255 means not computed.

    With ``remember`` every variable of integers names its type in an attribute, for :func:`from_netcdf3`: what NetCDF 3
    has no type for (64 bits, too) then comes back as it was.
    """
    changed = {}
    for name in dataset.variables:
        array = dataset[name]
        dtype = str(array.dtype)
        if dtype in _SIGNED:
            flags = {k: np.asarray(v, _SIGNED[dtype]) for k, v in array.attrs.items() if k == "flag_values"}
            changed[name] = array.astype(_SIGNED[dtype]).assign_attrs(flags)
        if remember and array.dtype.kind in "iu":
            changed[name] = changed.get(name, array).assign_attrs({_REMEMBERED: dtype})
    return _with_variables(dataset, changed)


def from_netcdf3(dataset: Any) -> Any:
    """The xarray data set with the types that :func:`for_netcdf3` has remembered."""
    changed = {}
    for name in dataset.variables:
        array = dataset[name]
        if _REMEMBERED in array.attrs:
            changed[name] = array.astype(array.attrs[_REMEMBERED])
            del changed[name].attrs[_REMEMBERED]
    return _with_variables(dataset, changed)


def _with_variables(dataset: Any, changed: dict[Any, Any]) -> Any:
    coords = {name: array for name, array in changed.items() if name in dataset.coords}
    return dataset.assign({k: v for k, v in changed.items() if k not in coords}).assign_coords(coords)
