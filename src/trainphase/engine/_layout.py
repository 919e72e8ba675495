"""How a store is laid out: its manifest, the metadata of its arrays, and how both are made whole.

The only module that imports zarr.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import FsspecStore, MemoryStore

from trainphase.engine._files import Directory, reason, temporary
from trainphase.engine._manifest import Field, canonical, check_names, difference, digest, seal, unseal
from trainphase.engine._place import Place
from trainphase.engine.lattice import Tiling
from trainphase.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from trainphase.axes import Axis

MANIFEST = "ledger/manifest.json"
POINT = "point"  # the dimension of a store of points
CONFIG: Any = {"write_empty_chunks": False, "order": "C"}  # explicit: zarr also reads the environment


def settle(root: Place, wanted: dict[str, Any], axes: Sequence[Axis], provenance: Any) -> dict[str, Any]:
    """The manifest of the store at ``root``, made there if the place is empty; metadata made whole."""
    manifest = read_manifest(root)
    if manifest is None:
        root.remove([name for name in root.walk() if temporary(name) is not None])
        layout = _layout(axes, wanted, provenance)
        sums = {name: digest(data) for name, data in layout.items()}
        manifest = {**wanted, "provenance": provenance, "files": sums}
        # First, so that a kill while the rest is written leaves a store that the next run completes.
        root.write(MANIFEST, seal(manifest))
    else:
        change = difference(manifest, wanted)
        if change:
            command = manifest["provenance"].get("command")
            raise StoreError(
                f"the store {root} holds another diagram ({change}): give another --store, or "
                f"the command it was made with" + (f" ({command})" if command else "")
            )
        layout = None
    for name in damaged_files(root, manifest):
        layout = layout or _layout(axes, wanted, manifest["provenance"])
        if digest(layout.get(name, b"")) != manifest["files"][name]:
            raise StoreError(
                f"the store {root} is damaged ({name} is missing or altered) and was made with "
                f"another version of zarr, so it cannot be repaired: give another --store"
            )
        root.write(name, layout[name])
    return manifest


def opened(root: Place) -> xarray.Dataset:
    """All arrays of the store, read lazily."""
    import xarray

    source: Any = root.path if isinstance(root, Directory) else FsspecStore.from_url(root.path, root.options, read_only=True)
    # Plain numbers stay numbers: an axis in "seconds" is not a calendar.
    as_is: Any = {"chunks": None, "decode_times": False, "decode_timedelta": False}
    return xarray.open_dataset(source, engine="zarr", consolidated=False, **as_is)


def shape_of(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """Points along each dimension that is cut into tiles."""
    points = manifest.get("points")
    return tuple(a["n"] for a in manifest["axes"]) if points is None else (points,)


def _layout(axes: Sequence[Axis], wanted: Mapping[str, Any], provenance: Any) -> dict[str, bytes]:
    """All metadata and coordinates of a new store, as file name -> bytes; made in memory, no data yet."""
    fields = [Field.from_json(f) for f in wanted["fields"]]
    names, tile, shape = [a.name for a in axes], tuple(wanted["tile"]), shape_of(wanted)
    dims = names if wanted.get("points") is None else [POINT]
    check_names([*names, *(d for d in dims if d not in names)], fields)
    Tiling(shape, tile)
    files: dict[str, Any] = {}
    memory = MemoryStore(files)
    attributes = {
        "Conventions": "CF-1.11",
        "recipe": canonical(wanted["recipe"]).decode(),
        "provenance": canonical(provenance).decode(),
    }
    group = zarr.create_group(memory, zarr_format=3, attributes=attributes)
    group.create_group("ledger")

    def create(name: str, dtype: str, fill: Any, size: tuple[int, ...], chunks: tuple[int, ...], dims: Iterable[str], attrs: Any):
        # The checksum of the stored bytes makes every altered byte of a chunk an error, padding included.
        return group.create_array(
            name,
            shape=size,
            chunks=chunks,
            dtype=dtype,
            fill_value=fill,
            dimension_names=list(dims),
            attributes=attrs,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            config=CONFIG,
        )

    for axis in axes:
        create(axis.name, "float64", np.nan, (axis.n,), (axis.n,), [axis.name], {"units": axis.units})[:] = (
            np.asarray(axis.values, np.float64)
        )
    for f in fields:
        attrs = {"units": f.units, "long_name": f.long_name, **f.attrs}
        create(f.name, f.dtype, f.fill, shape + f.sizes, tile + f.sizes, (*dims, *f.dims), attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "not yet part of the specification"; xarray asks for it by default
        zarr.consolidate_metadata(memory)
    return {name: files[name].to_bytes() for name in sorted(files)}


def read_manifest(root: Place) -> dict[str, Any] | None:
    """The checked manifest; None for a place without content; StoreError for anything else."""
    try:
        raw = root.read(MANIFEST)
    except FileNotFoundError:
        if root.blank():
            return None
        raise StoreError(
            f"the directory {root} is not empty and has no {MANIFEST}, so it is not a store or "
            f"has been damaged: give an empty or new directory as --store"
        ) from None
    except OSError as why:
        raise StoreError(
            f"the manifest of the store {root} cannot be read ({reason(why)}): give another --store"
        ) from why
    try:
        return unseal(raw)
    except ValueError as why:
        raise StoreError(
            f"the manifest of the store {root} is damaged ({why}): restore {MANIFEST} from a "
            f"copy, or give another --store"
        ) from None


def damaged_files(root: Place, manifest: Mapping[str, Any]) -> list[str]:
    def holds(name: str, sha256: str) -> bool:
        try:
            return digest(root.read(name)) == sha256
        except OSError:
            return False

    return [name for name, sha256 in manifest["files"].items() if not holds(name, sha256)]
