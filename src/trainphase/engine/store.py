"""A diagram on disk: a Zarr (format 3) group whose chunks are the tiles, and a ledger of the tiles done.

    DIR/zarr.json              group; attributes ``recipe`` and ``provenance`` (JSON text)
    DIR/AXIS/..                one coordinate array per axis
    DIR/FIELD/c/3/1[/0]        one chunk per tile and field
    DIR/ledger/manifest.json   what this store is, the checksums of all metadata, and its own checksum
    DIR/ledger/3.1.json        tile (3, 1) is done: SHA-256 of each field's values

A tile's data are written first, its ledger entry last, so an entry that holds means a whole tile. The
existence of a chunk says nothing: Zarr drops chunks equal to the fill value. Zarr does not flush to the
disk either; a tile lost to a power cut is found by its checksum. There are no times, no absolute paths
and no random names in a store, so an interrupted and resumed sweep leaves the bytes of an undisturbed one.

This is the only module that imports zarr. The manifest lies in ``ledger`` (itself a Zarr group) because
zarr and xarray warn about any foreign file beside the arrays.
"""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore, MemoryStore

from trainphase.engine._files import is_blank, lock, make_directory, reason, remove_temporaries, write_file
from trainphase.engine._manifest import (
    Field,
    axis_json,
    canonical,
    check_names,
    difference,
    digest,
    ledger_entry,
    plain,
    seal,
    unseal,
    values_digest,
)
from trainphase.engine.lattice import Index, Tiling
from trainphase.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from trainphase.axes import Axis

__all__ = ["Field", "Store"]

MANIFEST = "ledger/manifest.json"
_ARRAY: Any = {"write_empty_chunks": False, "order": "C"}  # explicit: zarr also reads the environment


class Store:
    """A handle on a diagram on disk; make it with ``create_or_resume`` (to write) or ``open`` (to read).

    Attributes: ``path``; ``tiling``; ``fields`` (name -> Field); ``recipe``, ``provenance`` and ``axes`` as
    stored (JSON). Writing is safe from several threads as long as each tile has one writer. A copy
    made by pickling (for a worker process) writes tiles too but does not hold the lock: the process that
    made the store does, until ``close`` or the end of a ``with`` block.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], writable: bool, release: Callable[[], None]):
        """For the constructors below: ``manifest`` has been checked."""
        self.path = path
        self.recipe: dict[str, Any] = manifest["recipe"]
        self.provenance: dict[str, Any] = manifest["provenance"]
        self.axes: list[dict[str, Any]] = manifest["axes"]
        self.fields = {f["name"]: Field.from_json(f) for f in manifest["fields"]}
        self.tiling = Tiling(tuple(a["n"] for a in self.axes), tuple(manifest["tile"]))
        self._writable = writable
        self._finalizer = weakref.finalize(self, release)
        mode, files = ("r+" if writable else "r"), LocalStore(path, read_only=not writable)
        self._arrays = {n: zarr.open_array(files, path=n, mode=mode, config=_ARRAY) for n in self.fields}

    # -- making one ------------------------------------------------------------------------------

    @classmethod
    def create_or_resume(
        cls,
        path: str | os.PathLike[str],
        axes: Sequence[Axis],
        fields: Sequence[Field],
        recipe: Mapping[str, Any],
        provenance: Mapping[str, Any],
        tile: tuple[int, ...],
    ) -> Store:
        """Open the store at ``path`` for writing, making it if there is none; hold its lock until ``close``.

        Parameters
        ----------
        axes : the grid, first axis first.
        fields : what is kept at each point.
        recipe : what decides the numbers (system, parameters, dtype, steps, ...), JSON-able; with axes,
            fields and tile it must equal what is stored.
        provenance : versions, device, command; written when the store is made and never compared.
        tile : points of a tile along each axis (see ``lattice.default_tile``).

        Raises
        ------
        StoreError : the place cannot be written, is in use, is not a store, is damaged, or is the store
            of another diagram (the sentence says what differs).
        """
        root = Path(path)
        make_directory(root)
        try:
            release = lock(root)
        except BlockingIOError:
            raise StoreError(
                f"another run is writing the store {root}: wait for it to end, or give another --store"
            ) from None
        try:
            wanted = {
                "axes": [axis_json(a) for a in axes],
                "fields": [f.to_json() for f in fields],
                "recipe": plain(recipe),
                "tile": [int(t) for t in tile],
            }
            try:
                manifest = _settle(root, wanted, axes, plain(provenance))
            except OSError as why:
                raise StoreError(
                    f"the store {root} cannot be written ({reason(why)}): give another "
                    f"--store, or free the space or the permission"
                ) from why
            return cls(root, manifest, True, release)
        except BaseException:
            release()
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Open an existing store for reading; takes no lock.

        Raises
        ------
        StoreError : there is no store at ``path``, or its manifest or metadata are damaged.
        """
        return cls._attach(path, writable=False)

    @classmethod
    def _attach(cls, path: str | os.PathLike[str], writable: bool) -> Store:
        root = Path(path)
        manifest = _read_manifest(root) if root.is_dir() else None
        if manifest is None:
            raise StoreError(f"there is no store at {root}: give the directory that --store made")
        bad = _damaged_files(root, manifest)
        if bad:
            raise StoreError(
                f"the store {root} is damaged ({bad[0]} is missing or altered): give the "
                f"command that made it again to repair it"
            )
        return cls(root, manifest, writable, lambda: None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store._attach, (str(self.path), self._writable)

    def close(self) -> None:
        """Give the writer's lock back. Reading goes on working."""
        self._writable = False
        self._finalizer()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- tiles -----------------------------------------------------------------------------------

    def write(self, index: Index, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a tile whole: every field's data, then the ledger entry.

        Parameters
        ----------
        arrays : field name -> values, of shape ``tiling.extent(index) + field.sizes`` and the field's
            dtype. Every NaN is stored as the one quiet NaN, so that equal results have equal bytes.

        Raises
        ------
        StoreError : fields, shapes or dtypes are not those of the store, or the write failed.
        """
        key = self.tiling.key(index)
        if not self._writable:
            raise StoreError(f"tile {key} cannot be written: the store {self.path} is open for reading only")
        where = self.tiling.slices(index)
        data = self._checked(key, self.tiling.extent(index), arrays)
        try:
            for name, values in data.items():
                self._arrays[name][where + (slice(None),) * len(self.fields[name].sizes)] = values
            entry = ledger_entry(key, {name: values_digest(values) for name, values in data.items()})
            write_file(self._ledger(index), entry)
        except OSError as why:
            raise StoreError(
                f"tile {key} of the store {self.path} could not be written ({reason(why)}): "
                f"put that right and give the same command to continue"
            ) from why

    def _checked(self, key: str, extent: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        odd = sorted(set(arrays) ^ set(self.fields))
        if odd:
            raise StoreError(
                f"tile {key} has not the fields of the store {self.path}: {odd[0]!r} is "
                f"{'unknown' if odd[0] in arrays else 'missing'}; return exactly "
                f"{', '.join(self.fields)}"
            )
        data = {}
        for name, field in self.fields.items():
            values, shape = np.asarray(arrays[name]), extent + field.sizes
            if values.shape != shape or values.dtype != field.dtype:
                raise StoreError(
                    f"field {name!r} of tile {key} is {values.dtype} {values.shape}, but the "
                    f"store {self.path} keeps {field.dtype} {shape}: return that"
                )
            if values.dtype.kind == "f":
                values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)
            data[name] = values
        return data

    def has(self, index: Index) -> bool:
        """Whether the tile has a ledger entry (which ``verify`` checks and this does not)."""
        return self._ledger(index).is_file()

    def read(self, index: Index) -> dict[str, np.ndarray]:
        """The tile's fields as stored; fill values where nothing has been written."""
        where = self.tiling.slices(index)
        return {name: np.asarray(array[where]) for name, array in self._arrays.items()}

    def verify(self) -> tuple[set[Index], set[Index]]:
        """Read every tile of the ledger back: ``(done, damaged)``, two sets of tile indices.

        Open for writing, it also clears away what a kill or a fault has left: the temporary files, and
        ledger entry and chunks of every tile that is not done. So nothing may be writing meanwhile.

        Cost: reads the data of every tile in the ledger, about 0.7 ms per chunk.
        """
        claimed = {index for index in self.tiling.tiles() if self.has(index)}
        done = {index for index in claimed if self._holds(index)}
        if self._writable:
            try:
                remove_temporaries(self.path)
                for index in self.tiling.tiles():
                    if index not in done:
                        self._erase(index)
            except OSError as why:
                raise StoreError(
                    f"the store {self.path} cannot be cleared of unfinished tiles "
                    f"({reason(why)}): put that right and give the same command again"
                ) from why
        return done, claimed - done

    def _holds(self, index: Index) -> bool:
        try:
            sums = {name: values_digest(values) for name, values in self.read(index).items()}
            return self._ledger(index).read_bytes() == ledger_entry(self.tiling.key(index), sums)
        except Exception:  # whatever a codec says about a damaged chunk, the tile is to be computed again
            return False

    def _erase(self, index: Index) -> None:
        self._ledger(index).unlink(missing_ok=True)  # first: a tile without data must not look done
        for name, field in self.fields.items():
            chunk = Path(name, "c", *map(str, index), *("0" for _ in field.sizes))
            (self.path / chunk).unlink(missing_ok=True)

    def _ledger(self, index: Index) -> Path:
        return self.path / "ledger" / f"{self.tiling.key(index)}.json"

    # -- products --------------------------------------------------------------------------------

    def dataset(self) -> xarray.Dataset:
        """The store as an ``xarray.Dataset``, read lazily, with units, flags and provenance as attributes."""
        import xarray

        # Plain numbers stay numbers: an axis in "seconds" is not a calendar.
        as_is: Any = {"chunks": None, "decode_times": False, "decode_timedelta": False}
        dataset = xarray.open_dataset(self.path, engine="zarr", consolidated=False, **as_is)
        return dataset[list(self.fields)]


# -- layout on disk ------------------------------------------------------------------------------


def _settle(root: Path, wanted: dict[str, Any], axes: Sequence[Axis], provenance: Any) -> dict[str, Any]:
    """The manifest of the store at ``root``, made there if the place is empty; metadata made whole."""
    manifest = _read_manifest(root)
    if manifest is None:
        remove_temporaries(root)
        layout = _layout(axes, wanted, provenance)
        sums = {name: digest(data) for name, data in layout.items()}
        manifest = {**wanted, "provenance": provenance, "files": sums}
        # First, so that a kill while the rest is written leaves a store that the next run completes.
        write_file(root / MANIFEST, seal(manifest))
    else:
        change = difference(manifest, wanted)
        if change:
            command = manifest["provenance"].get("command")
            raise StoreError(
                f"the store {root} holds another diagram ({change}): give another --store, or "
                f"the command it was made with" + (f" ({command})" if command else "")
            )
        layout = None
    for name in _damaged_files(root, manifest):
        layout = layout or _layout(axes, wanted, manifest["provenance"])
        if digest(layout.get(name, b"")) != manifest["files"][name]:
            raise StoreError(
                f"the store {root} is damaged ({name} is missing or altered) and was made with "
                f"another version of zarr, so it cannot be repaired: give another --store"
            )
        write_file(root / name, layout[name])
    return manifest


def _layout(axes: Sequence[Axis], wanted: Mapping[str, Any], provenance: Any) -> dict[str, bytes]:
    """All metadata and coordinates of a new store, as file name -> bytes; made in memory, no data yet."""
    fields = [Field.from_json(f) for f in wanted["fields"]]
    names, shape, tile = [a.name for a in axes], tuple(a.n for a in axes), tuple(wanted["tile"])
    check_names(names, fields)
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

    def create(name: str, dtype: str, fill: Any, size: tuple, chunks: tuple, dims: Iterable[str], attrs: Any):
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
            config=_ARRAY,
        )

    for axis in axes:
        create(axis.name, "float64", np.nan, (axis.n,), (axis.n,), [axis.name], {"units": axis.units})[:] = (
            np.asarray(axis.values, np.float64)
        )
    for f in fields:
        attrs = {"units": f.units, "long_name": f.long_name, **f.attrs}
        create(f.name, f.dtype, f.fill, shape + f.sizes, tile + f.sizes, (*names, *f.dims), attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "not yet part of the specification"; xarray asks for it by default
        zarr.consolidate_metadata(memory)
    return {name: files[name].to_bytes() for name in sorted(files)}


def _read_manifest(root: Path) -> dict[str, Any] | None:
    """The checked manifest; None for a place without content; StoreError for anything else."""
    try:
        raw = (root / MANIFEST).read_bytes()
    except FileNotFoundError:
        if is_blank(root):
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


def _damaged_files(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    def holds(name: str, sha256: str) -> bool:
        try:
            return digest((root / name).read_bytes()) == sha256
        except OSError:
            return False

    return [name for name, sha256 in manifest["files"].items() if not holds(name, sha256)]
