"""A recorded run: the series that a diagnosis is made from, in memory and in files (.npz, .csv, .json; never pickled)."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainphase.errors import RequestError
from trainphase.probe.recorder import Cost, Recorder
from trainphase.probe.settings import ADAPTIVE, checked

Floats = NDArray[np.float64]
ENDINGS = (".npz", ".csv", ".json")
NUMBERS = ("momentum", "beta", "beta1", "dampening", "weight_decay")
WORDS = ("optimiser", "optimizer", "method", "regime")
SERIES = ("loss", "steps", "sharpness", "sharpness_steps", "batch_sharpness", "gradient_norm", "threshold", "lr", "error")
KNOWN = (*SERIES, *NUMBERS, *WORDS, "minibatch")
NOT_LOCATED = "not a 2- or 3-layer ReLU network"


@dataclass(frozen=True, eq=False)
class Recorded:
    """The record of a training run: losses, and the sharpness where it was measured.

    Attributes
    ----------
    loss, steps : (n,), and the steps that the losses belong to.
    sharpness, sharpness_steps : (m,), in the optimiser's metric, and the steps of the measurements.
    error : (m,), bounds on the errors of the sharpness. threshold : (m,), in its units. lr : (m,), NaN where unknown.
    what : the optimiser and its threshold, in words.
    kind : "sharpness", "preconditioned sharpness" or "batch sharpness".
    minibatch : whether losses are those of minibatches.
    more : further series at ``sharpness_steps``, by name.
    notes : sentences for the user.
    regime, place : of the initialisation, in words, and its Location.
    cost : of measuring.
    """

    loss: Floats
    steps: NDArray[np.int64]
    sharpness: Floats
    sharpness_steps: NDArray[np.int64]
    threshold: Floats
    lr: Floats
    what: str
    kind: str = "sharpness"
    error: Floats | None = None
    gradient_norm: Floats | None = None
    minibatch: bool | None = None
    more: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    regime: str = ""
    place: Any = None
    cost: Cost | None = None

    def save(self, path: str | Path) -> Path:
        """Write the series as .npz, for :func:`load`. Raises RequestError for another ending."""
        path = Path(path)
        if path.suffix != ".npz":
            raise RequestError(f"{path.name} has no ending of a record; give a name in .npz")
        kind = "batch_sharpness" if self.kind.endswith("batch sharpness") else "sharpness"
        arrays: dict[str, Any] = {
            "loss": self.loss, "steps": self.steps, kind: self.sharpness, "sharpness_steps": self.sharpness_steps,
            "threshold": self.threshold, "lr": self.lr, "optimiser": np.array(self.what), "regime": np.array(self.regime),
        }  # fmt: skip
        arrays |= {} if self.error is None else {"error": self.error}
        arrays |= {} if self.minibatch is None else {"minibatch": np.array(self.minibatch)}
        np.savez_compressed(path, allow_pickle=False, **arrays)
        return path


def located(model: Any) -> tuple[str, Any]:
    """Where a model's initialisation lies, in words, and its Location; NOT_LOCATED and None where there is no place for it."""
    from trainphase.location import locate

    try:
        place = locate(model=model)
    except RequestError:
        return NOT_LOCATED, None
    regime = place.regime
    return (regime if isinstance(regime, str) else ", ".join(f"{k.upper()} {v}" for k, v in regime.items())), place


def of_recorder(recorder: Recorder) -> Recorded:
    """What a probe has recorded so far."""
    recorder.finish()
    _ = recorder.diverged  # turns losses into numbers
    rows = {name: np.asarray(values, np.float64) for name, values in recorder.rows.items()}
    count = len(rows.get("step", ()))
    empty = np.full(count, np.nan)
    kind = "batch_sharpness" if "batch_sharpness" in rows else "sharpness"
    setting = recorder.setting
    words = ("preconditioned " if setting is not None and setting.name in ADAPTIVE else "") + kind.replace("_", " ")
    losses = recorder.losses or [(int(s), v) for s, v in zip(rows.get("step", ()), rows.get("probe_loss", ()), strict=True)]
    return Recorded(
        loss=np.array([v for _, v in losses], np.float64),
        steps=np.array([s for s, _ in losses], np.int64),
        sharpness=rows.get(kind, empty),
        sharpness_steps=rows.get("step", empty).astype(np.int64),
        threshold=rows.get("threshold", empty),
        lr=rows.get("lr", empty),
        what="" if setting is None else setting.sentence,
        kind=words,
        error=rows.get("error") if kind == "sharpness" else None,
        minibatch=True if kind == "batch_sharpness" else recorder.minibatch,
        more={name: rows[name] for name in ("sharpness", "second", "gradient_norm") if name in rows and name != kind},
        notes=tuple(recorder.notes),
        regime=recorder.regime,
        place=recorder.place,
        cost=recorder.cost,
    )


def of_mapping(given: Mapping[str, Any]) -> Recorded:
    """A record from a mapping of arrays.

    ``loss`` is needed. ``sharpness`` (or ``batch_sharpness``) at ``sharpness_steps``; its threshold is ``threshold``, or
    that of ``optimiser`` (gd, polyak, nesterov, rmsprop, adam; gd by default) at ``lr`` with ``momentum`` or ``beta1``,
    ``dampening`` and ``weight_decay`` (of Adam and RMSProp: decoupled); a number, or one for each measurement. ``steps``,
    ``gradient_norm``, ``minibatch`` and ``regime`` as in Recorded. Raises RequestError for what is missing or unknown.
    """
    if "loss" not in given:
        names = ", ".join(map(str, given)) or "nothing"
        raise RequestError(f"the record has no loss (it has {names}); give the loss at each step")
    odd = [str(name) for name in given if name not in KNOWN]
    loss = _series("loss", given["loss"])
    kind = "batch_sharpness" if "batch_sharpness" in given else "sharpness"
    sharp = _series(kind, given[kind]) if kind in given else np.empty(0)
    steps = np.arange(loss.size) if given.get("steps") is None else _steps("steps", given["steps"])
    when = given.get("sharpness_steps")
    when = steps[: sharp.size] if when is None else _steps("sharpness_steps", when)
    if when.shape != sharp.shape or steps.shape != loss.shape:
        raise RequestError(
            f"{loss.size} losses at {steps.size} steps and {sharp.size} values of {kind} at {when.size} do not fit; "
            "give steps and sharpness_steps of the same lengths"
        )
    rates = np.full(sharp.shape, np.nan) if given.get("lr") is None else _spread("lr", given["lr"], sharp)
    limit, what, name = _threshold(given, sharp, rates)
    norms = None if given.get("gradient_norm") is None else _series("gradient_norm", given["gradient_norm"])
    minibatch = given.get("minibatch")
    return Recorded(
        loss, steps, sharp, when, limit, rates, what,
        kind=("preconditioned " if name in ADAPTIVE else "") + kind.replace("_", " "),
        error=_series("error", given["error"]) if given.get("error") is not None else None,
        gradient_norm=norms if norms is None or norms.shape == loss.shape else None,
        minibatch=None if minibatch is None else bool(np.asarray(minibatch)[()]),
        notes=(f"the record also has {', '.join(odd)}, which nothing here reads",) if odd else (),
        regime=str(given.get("regime", "")),
    )  # fmt: skip


def _threshold(given: Mapping[str, Any], sharp: Floats, rates: Floats) -> tuple[Floats, str, str]:
    """Thresholds (m,), the optimiser in words, and its name or ''."""
    told = next((str(given[k]) for k in ("optimiser", "optimizer", "method") if given.get(k) is not None), "")
    if given.get("threshold") is not None:
        limits = _spread("threshold", given["threshold"], sharp)
        return limits, told or "the threshold is the record's own", told
    if sharp.size == 0:
        return np.empty(0), told, told
    if given.get("lr") is None:
        return np.ones(sharp.shape), "sharpness is taken to be in units of its threshold, as neither that nor lr is given", ""
    numbers = {k: float(np.asarray(given[k])[()]) for k in NUMBERS if given.get(k) is not None}
    beta = next((numbers[k] for k in ("momentum", "beta1", "beta") if k in numbers), None)
    name = told or ("polyak" if beta else "gd")
    name = {"sgd": "polyak" if beta else "gd", "adamw": "adam", "momentum": "polyak"}.get(name.lower(), name.lower())
    beta = (0.9 if name == "adam" else 0.0) if beta is None else beta
    extra = {"dampening": numbers.get("dampening", 0.0), "decay": numbers.get("weight_decay", 0.0)}
    each = {rate: checked(name, rate, beta, **extra) for rate in dict.fromkeys(rates.tolist())}
    return np.array([each[r].threshold for r in rates.tolist()]), each[rates[-1]].sentence, name


def load(path: str | Path, more: Mapping[str, Any] | None = None) -> Recorded:
    """A record from a file, and ``more`` that it lacks.

    Files are .npz (no pickles), .csv (a column for each name, empty cells where nothing was measured) and .json.
    Raises RequestError when it cannot be read as one.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise RequestError(f"{path.name} is no record; give a file in {', '.join(ENDINGS)}, or FILE.py:OBJECT")
    try:
        return of_mapping(_READERS[path.suffix](path) | dict(more or {}))
    except FileNotFoundError:
        raise RequestError(f"there is no file {path}; give the one with the record") from None
    except (OSError, ValueError, UnicodeDecodeError, csv.Error) as why:
        reason = " ".join(str(why).split())[:120]
        remedy = "write it with numpy.savez, or as CSV or JSON"
        raise RequestError(f"{path.name} cannot be read as a record ({reason}); {remedy}") from None


def _npz(path: Path) -> dict[str, Any]:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, AttributeError, EOFError) as why:
        raise ValueError(str(why) or "it is no archive of arrays") from None


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it holds no object with names")
    return {k: ([np.nan if v is None else v for v in value] if isinstance(value, list) else value) for k, value in found.items()}


def _csv(path: Path) -> dict[str, Any]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    if len(rows) < 2:
        raise ValueError("it has no rows below its header")
    out: dict[str, Any] = {}
    for k, name in enumerate(cell.strip() for cell in rows[0]):
        cells = [row[k].strip() if k < len(row) else "" for row in rows[1:]]
        if name in WORDS:
            out[name] = next((c for c in cells if c), "")
        elif name in NUMBERS:
            out[name] = next((float(c) for c in cells if c), None)
        elif name:
            out[name] = np.array([float(c) if c else np.nan for c in cells])
    return _at_measured(out)


def _at_measured(columns: dict[str, Any]) -> dict[str, Any]:
    """Rows of a table: sharpness, threshold and lr only where the sharpness was measured; step is another name of steps."""
    if "step" in columns:
        columns.setdefault("steps", columns.pop("step"))
    kind = "batch_sharpness" if "batch_sharpness" in columns else "sharpness"
    if kind not in columns or "sharpness_steps" in columns:
        return columns
    here = np.isfinite(columns[kind])
    steps = columns.get("steps", np.arange(here.size, dtype=float))
    columns["sharpness_steps"] = steps[here]
    for name in (kind, "threshold", "lr", "error"):
        if name in columns:
            column = columns[name]
            known = column[np.isfinite(column)]
            # One number at the top of a column stands for all of it.
            columns[name] = np.full(int(here.sum()), known[0]) if known.size == 1 else column[here]
    return columns


_READERS = {".npz": _npz, ".json": _json, ".csv": _csv}


def _series(name: str, values: Any) -> Floats:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise RequestError(f"{name} holds something else than numbers; give one number for each record") from None
    if array.ndim != 1:
        raise RequestError(f"{name} has shape {array.shape}; give one number for each record")
    return array


def _steps(name: str, values: Any) -> NDArray[np.int64]:
    array = _series(name, values)
    if not np.all(np.isfinite(array)) or np.any(array != np.rint(array)):
        raise RequestError(f"{name} holds something else than whole steps; give the step number of each record")
    return array.astype(np.int64)


def _spread(name: str, values: Any, like: Floats) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim and array.shape != like.shape:
        raise RequestError(f"{name} has shape {array.shape} for {like.size} measurements; give one number, or one for each")
    return np.broadcast_to(array, like.shape).astype(np.float64)
