"""The document in the page: vocabularies, the systems that the page runs by itself, and stored diagrams.

JSON throughout. Parameters are those of the catalogue, with the ranges of sliders from the table below; colours and
definitions of phases are those of ``trainphase.phase``. Nothing here loads JAX.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainphase import _draws, catalog
from trainphase._version import __version__
from trainphase.catalog import Param
from trainphase.classifiers import RULES_OF
from trainphase.errors import RequestError
from trainphase.phase import VOCABULARIES, foreign

TITLE = "Phase diagrams of training"
# Points along either axis of a live plane before the page fits it to its canvas.
POINTS = 320


@dataclass(frozen=True)
class Slider:
    """The range in which a parameter of a live system is offered; ``value`` replaces the catalogue's default."""

    lo: float
    hi: float
    scale: str = "linear"
    value: float | None = None


@dataclass(frozen=True)
class Live:
    """A system that the page runs by itself: what is offered, the first plane, and the horizon of each vocabulary."""

    sliders: Mapping[str, Slider]
    x: str
    y: str
    steps: Mapping[str, int]


# (D, P) of the model, and its seeds, whose draws the page is given.
SHAPES, SEEDS = ((2, 4), (4, 8), (8, 16)), (0, 1, 2)

# Ranges are a little off round numbers: on a line such as z = 0 runs stand still, and a column of points there would draw a
# boundary that is none.
LIVE: Mapping[str, Live] = {
    "quadratic-1d": Live(
        {
            "z": Slider(-1.5012, 1.4987), "T": Slider(0.0013, 4.0), "E": Slider(-2.0, 2.0),
            "eps": Slider(1e-3, 1.0, "log", 0.17),
        },
        "z", "T", {"edge": 400},
    ),
    "linear-net": Live(
        {"z": Slider(-2.6013, 2.5987), "T": Slider(0.0013, 5.6), "y": Slider(-1.5, 1.5)},
        "z", "T", {"edge": 400, "training": 2048},
    ),
    "cubic": Live({"a": Slider(0.0013, 2.2), "z0": Slider(-2.2012, 1.9985)}, "a", "z0", {"training": 2048}),
    "quadratic": Live(
        {"sigma_z": Slider(0.0, 1.0), "sigma_J": Slider(0.0, 1.0), "lr": Slider(0.1, 10.0, "log")},
        "sigma_z", "sigma_J", {"edge": 400},
    ),
}  # fmt: skip


def document(
    systems: Sequence[str] = tuple(LIVE), diagrams: Sequence[Mapping[str, Any]] = (), title: str = TITLE,
    opened: Mapping[str, str] | None = None, server: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The document with the live systems of these names and these diagrams (as ``stored`` makes them).

    ``opened`` is what is shown first, {"system": name} or {"diagram": id}; by default the first diagram, or else the
    first system. ``server`` tells the page that it may ask for runs where it came from.
    """
    unknown = [name for name in systems if name not in LIVE]
    if unknown:
        raise RequestError(f"{unknown[0]!r} does not run in the page; give {', '.join(LIVE)}, or a store of its diagram")
    if opened is None:
        opened = {"diagram": str(diagrams[0]["id"])} if diagrams else {"system": systems[0]}
    return {
        "version": __version__, "title": title, "vocabularies": vocabularies([d["vocabulary"] for d in diagrams]),
        "systems": {name: live_system(name) for name in systems},
        "diagrams": list(diagrams), "open": dict(opened), "server": {"run": True} if server else None,
    }  # fmt: skip


def title(diagrams: Sequence[Any]) -> str:
    """A title out of the systems and axes of diagrams (``stored.Stored``); the usual one without any."""
    each = dict.fromkeys(f"{d.system} over {' and '.join(a.name for a in d.axes)}" for d in diagrams)
    return "; ".join(each) if 0 < len(each) <= 3 else TITLE


def vocabularies(used: Sequence[str] = ()) -> dict[str, Any]:
    """Every vocabulary of our own, and those ``used`` that are of other packages, with phases in the order of their codes."""
    theirs = {name: foreign(name) for name in used if name not in VOCABULARIES}
    return {
        name: {
            "question": words.question,
            "rules": list(RULES_OF[name] if name in RULES_OF else theirs[name].rules),
            "phases": [
                {"label": p.label, "definition": p.definition, "colour": p.colour, "symbol": p.symbol} for p in words.phases
            ],
        }
        for name, words in (VOCABULARIES | {name: found.vocabulary for name, found in theirs.items()}).items()
    }


def live_system(name: str) -> dict[str, Any]:
    """What the page is told about a system that it runs."""
    info, live = catalog.system(name), LIVE[name]
    words = [w for w in live.steps if w in info.vocabularies]
    out: dict[str, Any] = {
        "summary": info.summary, "paper": info.paper, "vocabularies": words, "vocabulary": words[0],
        "parameters": [_parameter(info.param(key), slider) for key, slider in live.sliders.items()],
        "x": _axis(live, live.x), "y": _axis(live, live.y), "steps": live.steps[words[0]], "horizons": dict(live.steps),
    }  # fmt: skip
    if name == "quadratic":
        first = SHAPES[1]
        for key, value, choices in (("D", first[0], [D for D, _ in SHAPES]), ("P", first[1], [P for _, P in SHAPES]),
                                    ("seed", SEEDS[0], list(SEEDS))):  # fmt: skip
            known = _parameter(info.param(key), Slider(min(choices), max(choices), value=value))
            out["parameters"].append(known | {"choices": choices, "axis": False})
        out["draws"] = [draw(D, P, seed) for D, P in SHAPES for seed in SEEDS]
    return out


def draw(D: int, P: int, seed: int, symmetry: str = "sym1") -> dict[str, Any]:
    """The draws of one (D, P) model as :func:`trainphase._draws.quadratic` makes them, float64, little-endian, base64."""
    Q, z, J = _draws.quadratic(D, P, seed, symmetry)
    arrays = {"Q": Q, "z": z, "J": J}
    packed = {key: base64.b64encode(np.ascontiguousarray(v, "<f8").tobytes()).decode() for key, v in arrays.items()}
    return {"D": D, "P": P, "seed": seed, "symmetry": symmetry, **packed}


def _parameter(param: Param, slider: Slider) -> dict[str, Any]:
    return {
        "name": param.name, "help": param.help, "units": param.units, "kind": param.kind,
        "value": param.default if slider.value is None else slider.value, "lo": slider.lo, "hi": slider.hi,
        "scale": slider.scale, "axis": param.axis, "choices": list(param.choices),
    }  # fmt: skip


def _axis(live: Live, name: str) -> dict[str, Any]:
    slider = live.sliders[name]
    return {"name": name, "lo": slider.lo, "hi": slider.hi, "n": POINTS, "scale": slider.scale}
