"""A stored diagram in the document: labels and numbers packed into the page as far as they fit, or left with the server."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainphase import catalog
from trainphase.axes import Axis
from trainphase.explorer.document import LIVE, SEEDS, SHAPES, document, title
from trainphase.explorer.stored import Stored
from trainphase.trajectory import plain

# Labels are packed whole up to so many points; a plane of 1025 x 1025 is the largest square of them.
MOST_LABELS = 1025 * 1025
# Bytes of packed numbers in one file.
MOST_BYTES = 8_000_000
# Digits of coordinates of lines: more than a screen can show at any zoom that a stored diagram has points for.
DIGITS = 12


@dataclass
class Budget:
    """Bytes that may still be packed into the page."""

    left: int = MOST_BYTES


def entries(diagrams: Sequence[Stored], remote: bool = False) -> list[dict[str, Any]]:
    """The diagrams for the document, with the ids "0", "1", ..; with ``remote``, what does not fit stays with the server.

    Without a server what does not fit is thinned, and a sentence under ``notes`` says so.
    """
    budget = Budget()
    out = []
    for k, stored in enumerate(diagrams):
        share = Budget(budget.left // (len(diagrams) - k))
        before = share.left
        out.append(entry(str(k), stored, remote, share))
        budget.left -= before - share.left
    return out


def alone(diagrams: Sequence[Stored], heading: str | None = None) -> dict[str, Any]:
    """The document of a page without a server: these diagrams, and those of their systems that run in the page."""
    packed = entries(diagrams)
    systems = tuple(dict.fromkeys(e["system"] for e in packed if e["live"]))
    return document(systems, packed, heading or title(diagrams))


def entry(key: str, stored: Stored, remote: bool = False, budget: Budget | None = None) -> dict[str, Any]:
    """One diagram for the document, under the id ``key``."""
    budget = budget or Budget()
    stride = 1
    while not remote and np.prod([-(-n // stride) for n in stored.codes.shape]) > MOST_LABELS:
        stride += 1
    notes = [f"Only every {_nth(stride)} point along each axis is in this file."] if stride > 1 else []
    if stored.codes.size > MOST_LABELS and remote:
        labels: dict[str, Any] = {"remote": True}
    else:
        labels = pack(stored.codes[(slice(None, None, stride),) * stored.codes.ndim])
    budget.left -= len(labels.get("data", ""))
    fields, words = _fields(stored, stride, remote, budget)
    lines, dropped = _lines(stored)
    return plain({
        "id": key, "title": title([stored]), "system": stored.system, "params": stored.params, "vocabulary": stored.words.name,
        "axes": [_axis(a, stride, stored.system) for a in stored.axes], "labels": labels, "fields": fields,
        "boundaries": lines, "theory": [_rounded(t) for t in stored.theory], "steps": stored.steps, "starts": stored.starts,
        "seeds": stored.seeds, "seed": stored.params.get("seed"), "dtype": stored.dtype, "live": live(stored),
        "run": stored.system in catalog.systems(), "refined": stored.refined, "store": stored.name,
        "notes": notes + words + dropped,
    })  # fmt: skip


def pack(values: np.ndarray) -> dict[str, Any]:
    """An array for the page: little-endian, the last axis fastest, deflated without a header, base64."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = squeeze.compress(little.tobytes()) + squeeze.flush()
    return {
        "encoding": "deflate-raw+base64", "dtype": values.dtype.name, "shape": list(values.shape),
        "data": base64.b64encode(data).decode(),
    }  # fmt: skip


def _fields(stored: Stored, stride: int, remote: bool, budget: Budget) -> tuple[dict[str, Any], list[str]]:
    """The numbers within the budget: all points, or every few of them with NaN between, or left with the server."""
    there = {n: {"units": q.units, "about": q.about, "remote": True} for n, q in stored.quantities.items()}
    if remote and stored.codes.size > MOST_LABELS:
        return there, []
    planes = {name: stored.numbers.plane(name, stride) for name in stored.quantities}
    every = 1
    packed = {name: pack(values) for name, values in planes.items()}
    while (size := sum(len(p["data"]) for p in packed.values())) > budget.left:
        if remote:
            return there, []
        # Numbers of every second point are a quarter of the bytes; half the estimate is on the safe side.
        every = max(every + 1, int(every * np.sqrt(size / max(budget.left, 1)) * 0.9))
        if every > max(stored.codes.shape):
            return {}, ["The numbers at the points did not fit into this file."]
        packed = {name: pack(_thinned(values, every)) for name, values in planes.items()}
    budget.left -= size
    fields = {n: {"units": q.units, "about": q.about, **packed[n]} for n, q in stored.quantities.items()}
    note = f"Numbers are in this file for every {_nth(every)} point along each axis only; phases are complete."
    return fields, [note] if every > 1 else []


def _thinned(values: np.ndarray, every: int) -> np.ndarray:
    """NaN but at every few points: the page then needs no second grid, and repeated bytes deflate to nothing."""
    out = np.full_like(values, np.nan)
    where = (slice(None, None, every),) * values.ndim
    out[where] = values[where]
    return out


def _lines(stored: Stored) -> tuple[list[dict[str, Any]], list[str]]:
    if stored.lines is None:
        return [], ["The phases change in so many places that lines between them would hide them; none are drawn."]
    return [_rounded({"between": line["between"], "points": line["points"]}) for line in stored.lines], []


def _rounded(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with its coordinates to ``DIGITS`` digits, which takes a third of the text."""
    return {**line, "points": [[float(f"{x:.{DIGITS}g}") for x in p] for p in line["points"]]}


def _axis(axis: Axis, stride: int, system: str) -> dict[str, Any]:
    """The axis as every ``stride``-th of its points; the last of them may lie before its end."""
    values = axis.values[::stride]
    known = catalog.systems().get(system)
    help_ = next((p.help for p in known.params if p.name == axis.name), "") if known else ""
    out: dict[str, Any] = {
        "name": axis.name, "lo": float(values[0]), "hi": float(values[-1]), "n": len(values), "scale": axis.scale,
        "units": axis.units, "help": help_,
    }  # fmt: skip
    if axis.scale == "list":
        out |= {"lo": axis.lo, "hi": axis.hi, "values": values.tolist()}
    return out


def live(stored: Stored) -> bool:
    """Whether the page can run the points of the diagram by itself: its kernels know the system, and all its parameters."""
    known = LIVE.get(stored.system)
    if known is None or stored.words.name not in known.steps or stored.dtype != "float64" or stored.seeds > 1:
        return False
    offered = set(known.sliders)
    free = {"D", "P", "seed"} if stored.system == "quadratic" else set()
    if not {a.name for a in stored.axes} <= offered:
        return False
    info, params = catalog.system(stored.system), stored.params
    for name, value in params.items():
        if name in offered | free:
            continue
        if all(p.name != name for p in info.params) or value != info.param(name).default:
            return False
    shape = (params.get("D", 20), params.get("P", 40))
    return stored.system != "quadratic" or (shape in SHAPES and params.get("seed", 0) in SEEDS)


def _nth(k: int) -> str:
    return {2: "second", 3: "third"}.get(k, f"{k}th")
