"""What a store says about itself: fields, canonical JSON, the sealed manifest, and how two of them differ."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.errors import StoreError

if TYPE_CHECKING:
    from trainphase.axes import Axis

FORMAT, VERSION = "trainphase store", 1


@dataclass(frozen=True)
class Field:
    """One quantity of the record kept at each grid point.

    Parameters
    ----------
    name : letters, digits, underscores.
    dtype : "uint8", "float64", ...; booleans, integers and floats.
    fill : the value that means "not computed": 255 for labels, NaN for floats.
    units, long_name : attributes of the array; units "1" for a pure number.
    dims, sizes : names and sizes of dimensions beyond the grid's (the 64 values of an orbit sample).
    attrs : more attributes (CF flag_values and flag_meanings of labels), JSON-able.
    """

    name: str
    dtype: str
    fill: float
    units: str = "1"
    long_name: str = ""
    dims: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    attrs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        object.__setattr__(self, "dims", tuple(self.dims))
        object.__setattr__(self, "sizes", tuple(int(n) for n in self.sizes))
        object.__setattr__(self, "attrs", plain(self.attrs))
        if np.dtype(self.dtype).kind not in "biuf":
            raise ValueError(f"field {self.name!r} is {self.dtype}: use booleans, integers or floats")
        if len(self.dims) != len(self.sizes) or any(n < 1 for n in self.sizes):
            raise ValueError(f"field {self.name!r} needs a size, at least 1, for each of {self.dims}")
        object.__setattr__(self, "fill", np.dtype(self.dtype).type(self.fill).item())

    def to_json(self) -> dict[str, Any]:
        """The field as JSON-able values (NaN as text)."""
        return plain({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Field:
        """The field that ``to_json`` described."""
        fill = data["fill"]
        given: dict[str, Any] = {**data, "fill": float(fill) if isinstance(fill, str) else fill}
        return cls(**given)


def axis_json(axis: Axis) -> dict[str, Any]:
    """The axis as JSON-able values, units included."""
    return plain({**axis.to_json(), "units": axis.units})


def check_names(axes: list[str], fields: list[Field]) -> None:
    """StoreError when two things of a store would share a name, or a name is not fit for a file."""
    further = {dim: size for f in fields for dim, size in zip(f.dims, f.sizes, strict=True)}
    for f in fields:
        if f.sizes != tuple(further[dim] for dim in f.dims):
            raise StoreError(
                f"field {f.name!r} has another size of {f.dims} than its siblings: name it apart"
            )
    names = [*axes, *(f.name for f in fields), *further, "ledger"]
    for name in names:
        if names.count(name) > 1 or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            raise StoreError(
                f"a store cannot keep an axis, field or dimension called {name!r}: use letters, digits "
                f"and underscores, each name once, and not 'ledger'"
            )


def plain(value: Any) -> Any:
    """``value`` in the types of JSON, as a round trip through a file gives it; NaN and infinities as text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} {value!r} cannot be kept as JSON")


def canonical(value: Any) -> bytes:
    """``value`` as JSON, the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def values_digest(values: np.ndarray) -> str:
    """SHA-256 of the values, little-endian, last axis fastest."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return digest(little.tobytes())


def ledger_entry(key: str, sums: Mapping[str, str]) -> bytes:
    """The file that says a tile is done, with the checksum of each field."""
    return canonical({"tile": key, "sha256": sums}) + b"\n"


def seal(manifest: Mapping[str, Any]) -> bytes:
    """The manifest's file: format, version, content, and the checksum of all that."""
    body = {"format": FORMAT, "version": VERSION, **manifest}
    return canonical({**body, "sha256": digest(canonical(body))}) + b"\n"


def unseal(raw: bytes) -> dict[str, Any]:
    """The manifest in ``raw``; ValueError saying why if a single byte is not as ``seal`` wrote it."""
    try:
        body = json.loads(raw)
    except ValueError:
        raise ValueError("it is not valid JSON") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ValueError(f"it does not say {FORMAT!r}")
    if body.get("version") != VERSION:
        raise ValueError(f"it is of version {body.get('version')!r} and this program reads {VERSION}")
    content = {k: v for k, v in body.items() if k not in ("format", "version", "sha256")}
    try:
        whole = raw == seal(content)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("it fails its own checksum")
    return content


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Where two descriptions of a diagram differ: "steps is 1000 there and 2000 here", or None."""
    old, new = _leaves(there), _leaves(here)
    keys = [k for k in {**old, **new} if old.get(k, _ABSENT) != new.get(k, _ABSENT)]
    if not keys:
        return None
    before, after = (_show(side.get(keys[0], _ABSENT)) for side in (old, new))
    more = f", and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0]} is {before} there and {after} here{more}"


_ABSENT = object()
# Entries of a recipe that follow from others, and so tell a user least.
DERIVED = ("data_sha256", "samples")


def _leaves(description: Mapping[str, Any]) -> dict[str, Any]:
    """Description as dotted key -> value, the most telling keys first."""
    leaves: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for k in sorted(value, key=lambda k: (k in DERIVED, k != "system", k)):
                walk(f"{prefix}.{k}" if prefix else k, value[k])
        else:
            leaves[prefix] = value

    walk("", description["recipe"])
    for kind, plural in (("axis", "axes"), ("field", "fields")):
        leaves[f"the list of {plural}"] = ", ".join(entry["name"] for entry in description[plural])
        for entry in description[plural]:
            walk(f"{kind} {entry['name']}", {k: v for k, v in entry.items() if k != "name"})
    if "points" in description:
        leaves["the capacity in points"] = description["points"]
    leaves["the tile"] = " x ".join(str(side) for side in description["tile"])
    return leaves


def _show(value: Any, limit: int = 60) -> str:
    if value is _ABSENT:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split()) or "empty"
    return text if len(text) <= limit else f"{text[:limit]}.."
