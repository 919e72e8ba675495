"""A diagram on disk: a Zarr (format 3) group whose chunks are the tiles, and a ledger of the tiles done.

    DIR/zarr.json              group; attributes ``recipe`` and ``provenance`` (JSON text)
    DIR/AXIS/..                one coordinate array per axis
    DIR/FIELD/c/3/1[/0]        one chunk per tile and field
    DIR/ledger/manifest.json   what this store is, the checksums of all metadata, and its own checksum
    DIR/ledger/3.1.json        tile (3, 1) is done: SHA-256 of each field's values
    DIR/ledger/3.1.failed.json tile (3, 1) was given up, and why: a hole, until the next run tries again

That is the layout of a dense grid. In the other one, "points", the fields are kept over one dimension ``point`` of a
fixed capacity and a tile is a batch of points; the axes are kept all the same, and say which grid the points are of.

A tile's data are written first, its ledger entry last, so an entry that holds means a whole tile. The
existence of a chunk says nothing: Zarr keeps no chunks equal to the fill value. Chunks are not flushed to the
disk either; a tile lost to a power cut is found by its checksum. There are no times, no absolute paths
and no random names in a store, so an interrupted and resumed sweep leaves the bytes of an undisturbed one.

Files are read and written by the place (``_place``): a folder, or whatever fsspec knows. Zarr (in ``_layout``) makes the
metadata and reads data sets; chunks are encoded by ``_chunk``. The manifest lies in ``ledger`` (itself a Zarr group)
because zarr and xarray warn about any foreign file beside the arrays.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.engine import _chunk, _names
from trainphase.engine._files import reason, temporary
from trainphase.engine._layout import MANIFEST, POINT, damaged_files, opened, read_manifest, settle, shape_of
from trainphase.engine._locks import Part
from trainphase.engine._manifest import Field, axis_json, canonical, digest, ledger_entry, plain, seal, values_digest
from trainphase.engine._place import Place, place_of
from trainphase.engine.lattice import Index, Tiling
from trainphase.errors import StoreError, WriteError

if TYPE_CHECKING:
    import xarray

    from trainphase.axes import Axis

__all__ = ["MANIFEST", "Field", "Store"]


class Store:
    """A handle on a diagram on disk; make it with ``create_or_resume`` (to write) or ``open`` (to read).

    Attributes: ``path``, a Path, or the URL of a place that is no folder; ``tiling``; ``fields`` (name -> Field);
    ``recipe``, ``provenance`` and ``axes`` as stored (JSON); ``points``, the capacity of a store of points, None for
    a dense grid; ``part``, the part of the tiles that this handle may write, None for all.

    Writing is safe from several threads as long as each tile has one writer. A copy made by pickling (for
    a worker process) writes tiles too but does not hold the lock: the process that made the store does, until
    ``close`` or the end of a ``with`` block.
    """

    def __init__(
        self, place: Place, manifest: Mapping[str, Any], writable: bool, release: Callable[[], None], part: Part | None = None
    ):
        """For the constructors below: ``manifest`` has been checked."""
        self.place, self.path, self.part = place, place.path, part
        self.recipe: dict[str, Any] = manifest["recipe"]
        self.provenance: dict[str, Any] = manifest["provenance"]
        self.axes: list[dict[str, Any]] = manifest["axes"]
        self.fields = {f["name"]: Field.from_json(f) for f in manifest["fields"]}
        self.points: int | None = manifest.get("points")
        self.tiling = Tiling(shape_of(manifest), tuple(manifest["tile"]))
        self._identity = digest(seal(manifest))
        self._writable = writable
        self._finalizer = weakref.finalize(self, release)

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
        part: Part | None = None,
    ) -> Store:
        """Open the store at ``path`` for writing, making it if there is none; hold its lock until ``close``.

        Parameters
        ----------
        path : a folder, or a URL such as s3://bucket/name or memory://name.
        axes : the grid, first axis first.
        fields : what is kept at each point.
        recipe : what decides the numbers (system, parameters, dtype, steps, ...), JSON-able; with axes,
            fields and tile it must equal what is stored.
        provenance : versions, device, command; written when the store is made and never compared.
        tile : points of a tile along each axis (see ``lattice.default_tile``); of a store of points, one number.
        points : for a store of points, how many it can hold; space is taken by what is written alone.
        part : (k, n), to write part k of n alone, 1 <= k <= n (see ``own``), beside the runs of other parts.

        Raises
        ------
        StoreError : the place cannot be written, is in use, is not a store, is damaged, or is the store
            of another diagram (the sentence says what differs).
        """
        root = place_of(path)
        root.make()
        try:
            release = root.lock(part)
        except BlockingIOError as held:
            raise StoreError(f"{held}: wait for it to end, or give another --store") from None
        try:
            wanted = {
                "axes": [axis_json(a) for a in axes],
                "fields": [f.to_json() for f in fields],
                "recipe": plain(recipe),
                "tile": [int(t) for t in tile],
                **({} if points is None else {"points": int(points)}),
            }
            try:
                with root.creating() if part else contextlib.nullcontext():
                    manifest = settle(root, wanted, axes, plain(provenance))
            except OSError as why:
                raise StoreError(
                    f"the store {root} cannot be written ({reason(why)}): give another "
                    f"--store, or free the space or the permission"
                ) from why
            return cls(root, manifest, True, release, part)
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
        root = place_of(path)
        manifest = read_manifest(root) if root.there() else None
        if manifest is None:
            raise StoreError(f"there is no store at {root}: give the directory that --store made")
        bad = damaged_files(root, manifest)
        if bad:
            raise StoreError(
                f"the store {root} is damaged ({bad[0]} is missing or altered): give the "
                f"command that made it again to repair it"
            )
        return cls(root, manifest, False, lambda: None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (self.place.reference(), self._writable, self._identity)

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
        data = self._checked(key, self.tiling.extent(index), arrays)
        chunks = {
            _names.chunk(self.fields[name], index): _chunk.encode(self.fields[name], self.tiling.tile, values)
            for name, values in data.items()
        }
        entry = ledger_entry(key, {name: values_digest(values) for name, values in data.items()})
        try:
            self.place.replace(chunks)
            self.place.write(self._ledger(index), entry)
        except OSError as why:
            raise WriteError(
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

    def fail(self, index: Index, why: str) -> None:
        """Note that the tile was given up, and why; ``holes`` tells it until the next run tries the tile again."""
        note = canonical({"tile": self.tiling.key(index), "why": why}) + b"\n"
        try:
            self.place.write(_names.hole(self.tiling.key(index)), note)
        except OSError as error:
            raise WriteError(
                f"the store {self.path} could not be written ({reason(error)}): put that right and give the same "
                f"command to continue"
            ) from error

    def has(self, index: Index) -> bool:
        """Whether the tile has a ledger entry (which ``verify`` checks and this does not)."""
        return self.place.exists(self._ledger(index))

    def own(self, tiles: Collection[Index] | None = None) -> list[Index]:
        """Those of the tiles (of all, by default) that this handle writes: of part k of n, the k-th, (n + k)-th, .. of all."""
        if self.part is None:
            return self.tiling.tiles() if tiles is None else list(tiles)
        k, n = self.part
        mine = self.tiling.tiles()[k - 1 :: n]
        if tiles is None:
            return mine
        allowed = set(mine)
        return [index for index in tiles if index in allowed]

    def read(self, index: Index, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """The tile's fields, or those in ``only``, as stored; fill values where nothing has been written.

        Raises ValueError, or RuntimeError of the decompressor, where a chunk is damaged.
        """
        extent = self.tiling.extent(index)
        return {
            name: _chunk.decode(field, self.tiling.tile, extent, self._bytes(_names.chunk(field, index)))
            for name, field in self.fields.items()
            if only is None or name in only
        }

    def _bytes(self, name: str) -> bytes | None:
        try:
            return self.place.read(name)
        except FileNotFoundError:
            return None

    def claimed(self) -> set[Index]:
        """The tiles with a ledger entry, checked or not."""
        return {index for name in self._listed("ledger") if (index := self._tile_of(name)) and name == self._ledger(index)}

    def holes(self) -> dict[Index, str]:
        """The tiles given up, each with the reason."""
        found = {}
        for name in self._listed("ledger"):
            index = self._tile_of(name)
            if index and name == _names.hole(self.tiling.key(index)):
                with contextlib.suppress(ValueError, KeyError, TypeError, FileNotFoundError):
                    found[index] = str(json.loads(self.place.read(name))["why"])
        return found

    def verify(self) -> tuple[set[Index], set[Index]]:
        """Read every tile of the ledger back: ``(done, damaged)``, two sets of tile indices.

        Open for writing, it also clears away what a kill or a fault has left: the temporary files, and
        ledger entry and chunks of every tile that is not done. So nothing may be writing meanwhile. Open for
        a part, it looks at the tiles of that part alone, and clears no other.

        Cost: reads the data of every tile in the ledger, about 0.1 ms per chunk.
        """
        own = None if self.part is None else set(self.own())
        names = self._listed()
        whose = [(name, self._tile_of(temporary(name) or name)) for name in names]
        tiles = [(name, index) for name, index in whose if index is not None and (own is None or index in own)]
        claimed = {index for name, index in tiles if name == self._ledger(index)}
        done = {index for index in claimed if self._holds(index)}
        if self._writable:
            stray = [name for name, index in tiles if index not in done or self._odd(name, index)]
            if self.part is None:
                stray += [name for name, index in whose if index is None and temporary(name) is not None]
            try:
                # The ledger first: a tile without data must not look done.
                self.place.remove(sorted(stray, key=lambda name: not name.startswith("ledger/")))
            except OSError as why:
                raise StoreError(
                    f"the store {self.path} cannot be cleared of unfinished tiles "
                    f"({reason(why)}): put that right and give the same command again"
                ) from why
        return done, claimed - done

    def tidy(self) -> None:
        """Remove the temporary files of killed writers; of a part, those of its tiles."""
        own = None if self.part is None else set(self.own())
        stray = [(name, temporary(name)) for name in self._listed()]
        with contextlib.suppress(OSError):  # the next ``verify`` has another go
            self.place.remove([name for name, real in stray if real and (own is None or self._tile_of(real) in own)])

    def _holds(self, index: Index) -> bool:
        try:
            sums = {name: values_digest(values) for name, values in self.read(index).items()}
            return self.place.read(self._ledger(index)) == ledger_entry(self.tiling.key(index), sums)
        except Exception:  # whatever a codec says about a damaged chunk, the tile is to be computed again
            return False

    def _listed(self, folder: str = "") -> list[str]:
        try:
            return self.place.walk(folder)
        except OSError as why:
            raise StoreError(f"the store {self.path} cannot be read ({reason(why)}): put that right and try again") from why

    def _odd(self, name: str, index: Index) -> bool:
        """A file of a tile that is done, and not one that its writing leaves: a temporary, or the note of a hole."""
        return temporary(name) is not None or name == _names.hole(self.tiling.key(index))

    def _tile_of(self, name: str) -> Index | None:
        return _names.tile(name, self.fields, self.tiling)

    def _ledger(self, index: Index) -> str:
        return _names.entry(self.tiling.key(index))

    # -- products --------------------------------------------------------------------------------

    def dataset(self) -> xarray.Dataset:
        """The store as an ``xarray.Dataset``, read lazily, with units, flags and provenance as attributes.

        Of a store of points, the points up to the last tile that is done; those of a tile that is not, before
        it, have fill values.
        """
        return self._cut(opened(self.place), self.claimed())

    def load(self, only: Collection[str] | None = None) -> xarray.Dataset:
        """The same in memory, or of the fields ``only``: what ``dataset().load()`` gives, several times as fast.

        Raises StoreError for a tile that is damaged, which ``verify`` and the next run mend.
        """
        claimed = self.claimed()
        kept = self._cut(opened(self.place), claimed)
        asked = {name: f for name, f in self.fields.items() if only is None or name in only}
        arrays = {name: np.full(kept[name].shape, f.fill, f.dtype) for name, f in asked.items()}
        for index in claimed:
            where = self.tiling.slices(index)
            try:
                for name, values in self.read(index, arrays).items():
                    arrays[name][where] = values
            except Exception as why:
                key = self.tiling.key(index)
                raise StoreError(f"tile {key} of the store {self.path} is damaged ({why}): give the command again") from why
        whole = kept if only is None else kept[list(arrays)]
        return whole.assign({name: kept[name].variable.copy(data=values) for name, values in arrays.items()}).load()

    def _cut(self, dataset: xarray.Dataset, claimed: Collection[Index]) -> xarray.Dataset:
        if self.points is None:
            return dataset[list(self.fields)]
        last = max((self.tiling.slices(index)[0].stop for index in claimed), default=0)
        kept = dataset[list(self.fields)].isel({POINT: slice(0, last)})
        return kept.assign_coords({a["name"]: dataset[a["name"]] for a in self.axes})


@functools.lru_cache(maxsize=8)
def _attached(path: str, writable: bool, identity: str) -> Store:
    """The store as a worker sees it, read once per process; StoreError where it is not the store that was meant."""
    root = place_of(path)
    manifest = read_manifest(root) if root.there() else None
    if manifest is None or digest(seal(manifest)) != identity:
        raise StoreError(
            f"a worker on {socket.gethostname()} does not see the store {path}: give a --store on a disk that all workers share"
        )
    return Store(root, manifest, writable, lambda: None)
