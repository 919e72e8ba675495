"""Names of the files of a tile, and back; all else in a store is metadata or foreign."""

from __future__ import annotations

from collections.abc import Mapping

from trainphase.engine._manifest import Field
from trainphase.engine.lattice import Index, Tiling


def chunk(field: Field, index: Index) -> str:
    """The chunk of one field, where Zarr looks for it."""
    return "/".join([field.name, "c", *map(str, index), *("0" for _ in field.sizes)])


def entry(key: str) -> str:
    """The ledger entry, which says that the tile is done."""
    return f"ledger/{key}.json"


def hole(key: str) -> str:
    """The note that the tile was given up."""
    return f"ledger/{key}.failed.json"


def tile(name: str, fields: Mapping[str, Field], tiling: Tiling) -> Index | None:
    """The tile that a file belongs to; None for metadata and foreign files."""
    first, *rest = name.split("/")
    sizes = fields[first].sizes if first in fields else ()
    axes = len(tiling.tile)
    try:
        if first == "ledger" and len(rest) == 1 and rest[0].endswith(".json"):
            return tiling.index(rest[0].removesuffix(".json").removesuffix(".failed"))
        if first in fields and rest and rest[0] == "c" and len(rest) == 1 + axes + len(sizes):
            return tiling.index(".".join(rest[1 : 1 + axes]))
    except ValueError:
        pass
    return None
