"""A diagram on disk: a Zarr (format 3) group whose chunks are the tiles, and a ledger of the tiles done.

    DIR/zarr.json              group; attributes ``recipe`` and ``provenance`` (JSON text)
    DIR/AXIS/..                one coordinate array per axis
    DIR/FIELD/c/3/1[/0]        one chunk per tile and field
    DIR/ledger/manifest.json   what this store is, the checksums of all metadata, and its own checksum
    DIR/ledger/3.1.json        tile (3, 1) is done: SHA-256 of each field's values

That is the layout of a dense grid. In the other one, "points", the fields are kept over one dimension ``point`` of a
fixed capacity and a tile is a batch of points; the axes are kept all the same, and say which grid the points are of.

A tile's data are written first, its ledger entry last, so an entry that holds means a whole tile. The
existence of a chunk says nothing: Zarr drops chunks equal to the fill value. Zarr does not flush to the
disk either; a tile lost to a power cut is found by its checksum. There are no times, no absolute paths
and no random names in a store, so an interrupted and resumed sweep leaves the bytes of an undisturbed one.

This and ``_layout`` are the only modules that import zarr. The manifest lies in ``ledger`` (itself a Zarr group) because
zarr and xarray warn about any foreign file beside the arrays.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from trainphase.engine._files import lock, make_directory, reason, remove_temporaries, write_file
from trainphase.engine._layout import CONFIG, MANIFEST, POINT, damaged_files, read_manifest, settle, shape_of
from trainphase.engine._manifest import Field, axis_json, ledger_entry, plain, values_digest
from trainphase.engine.lattice import Index, Tiling
from trainphase.errors import StoreError

if TYPE_CHECKING:
    import xarray

    from trainphase.axes import Axis

__all__ = ["MANIFEST", "Field", "Store"]


class Store:
    """A handle on a diagram on disk; make it with ``create_or_resume`` (to write) or ``open`` (to read).

    Attributes: ``path``; ``tiling``; ``fields`` (name -> Field); ``recipe``, ``provenance`` and ``axes`` as
    stored (JSON); ``points``, the capacity of a store of points, None for a dense grid.

    Writing is safe from several threads as long as each tile has one writer. A copy made by pickling (for
    a worker process) writes tiles too but does not hold the lock: the process that made the store does, until
    ``close`` or the end of a ``with`` block.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], writable: bool, release: Callable[[], None]):
        """For the constructors below: ``manifest`` has been checked."""
        self.path = path
        self.recipe: dict[str, Any] = manifest["recipe"]
        self.provenance: dict[str, Any] = manifest["provenance"]
        self.axes: list[dict[str, Any]] = manifest["axes"]
        self.fields = {f["name"]: Field.from_json(f) for f in manifest["fields"]}
        self.points: int | None = manifest.get("points")
        self.tiling = Tiling(shape_of(manifest), tuple(manifest["tile"]))
        self._writable = writable
        self._finalizer = weakref.finalize(self, release)
        mode, files = ("r+" if writable else "r"), LocalStore(path, read_only=not writable)
        self._arrays = {n: zarr.open_array(files, path=n, mode=mode, config=CONFIG) for n in self.fields}

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
        points: int | None = None,
    ) -> Store:
        """Open the store at ``path`` for writing, making it if there is none; hold its lock until ``close``.

        Parameters
        ----------
        axes : the grid, first axis first.
        fields : what is kept at each point.
        recipe : what decides the numbers (system, parameters, dtype, steps, ...), JSON-able; with axes,
            fields and tile it must equal what is stored.
        provenance : versions, device, command; written when the store is made and never compared.
        tile : points of a tile along each axis (see ``lattice.default_tile``); of a store of points, one number.
        points : for a store of points, how many it can hold; space is taken by what is written alone.

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
                **({} if points is None else {"points": int(points)}),
            }
            try:
                manifest = settle(root, wanted, axes, plain(provenance))
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
        manifest = read_manifest(root) if root.is_dir() else None
        if manifest is None:
            raise StoreError(f"there is no store at {root}: give the directory that --store made")
        bad = damaged_files(root, manifest)
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
        claimed = self._claimed()
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

    def _claimed(self) -> set[Index]:
        """The tiles with a ledger entry, checked or not."""
        claimed = set()
        for name in os.listdir(self.path / "ledger"):
            with contextlib.suppress(ValueError):  # the manifest, temporary files
                claimed.add(self.tiling.index(name.removesuffix(".json")))
        return claimed

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
        """The store as an ``xarray.Dataset``, read lazily, with units, flags and provenance as attributes.

        Of a store of points, the points up to the last tile that is done; those of a tile that is not, before
        it, have fill values.
        """
        import xarray

        # Plain numbers stay numbers: an axis in "seconds" is not a calendar.
        as_is: Any = {"chunks": None, "decode_times": False, "decode_timedelta": False}
        dataset = xarray.open_dataset(self.path, engine="zarr", consolidated=False, **as_is)
        if self.points is None:
            return dataset[list(self.fields)]
        last = max((self.tiling.slices(index)[0].stop for index in self._claimed()), default=0)
        kept = dataset[list(self.fields)].isel({POINT: slice(0, last)})
        return kept.assign_coords({a["name"]: dataset[a["name"]] for a in self.axes})
