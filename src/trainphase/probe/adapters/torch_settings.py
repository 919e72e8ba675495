"""A PyTorch optimiser as a Setting. Reads attributes only, so that torch itself is not needed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainphase.errors import RequestError
from trainphase.probe.settings import Setting, checked, metric

# By name, the class or a class that it is derived from: AdamW is an Adam in recent releases.
KNOWN = {"SGD": "polyak", "RMSprop": "rmsprop", "AdamW": "adam", "Adam": "adam"}


def read(optimizer: Any, parameters: Sequence[Any], threshold: float | None = None) -> Setting | None:
    """The optimiser's setting for these parameters; None where an adaptive one has made no step yet,
    or the step size is 0.

    Every number is read off ``param_groups`` and ``state``. Groups with step sizes of their own are measured in the metric of
    their ratio to the largest; where momenta differ, those of the group with the largest step size count, and a note says so.
    Raises RequestError for an optimiser whose threshold is not known.
    """
    while hasattr(optimizer, "optimizer") and type(optimizer).__name__ not in KNOWN:
        optimizer = optimizer.optimizer
    kind = next((c.__name__ for c in type(optimizer).__mro__ if c.__name__ in KNOWN), None)
    # One optimiser may train several models, and hold what is frozen: groups without any of these parameters do not count.
    ours = {id(p) for p in parameters}
    groups = [g for g in optimizer.param_groups if any(id(p) in ours for p in g["params"])]
    lead = max(groups, key=lambda g: float(g["lr"]))
    lr = float(lead["lr"])
    if not lr > 0:
        return None  # a warm-up begins with 0, where nothing is unstable
    if threshold is not None:
        return Setting(type(optimizer).__name__, lr, given=float(threshold))
    if kind is None:
        name, known = type(optimizer).__name__, ", ".join(KNOWN)
        raise RequestError(f"optimiser {name} has no known threshold; give threshold=, or take {known}")
    if any(g.get("maximize") for g in groups):
        raise RequestError("an optimiser with maximize=True climbs, and has no threshold of stability; minimise the negative")
    owner = {id(p): g for g in groups for p in g["params"]}
    mine = [owner[id(p)] for p in parameters]
    decoupled = kind == "AdamW" or bool(lead.get("decoupled_weight_decay"))
    scale = _scale(KNOWN[kind], optimizer, parameters, mine, lr)
    if KNOWN[kind] != "polyak" and scale is None:
        return None
    decays = [0.0 if decoupled else float(g.get("weight_decay", 0.0)) for g in mine]
    shift = _each(parameters, decays) if any(decays) else None
    decay = float(lead.get("weight_decay", 0.0)) if decoupled else 0.0
    name, beta = KNOWN[kind], float(lead["betas"][0]) if "betas" in lead else float(lead.get("momentum", 0.0))
    if name == "polyak":
        name = "nesterov" if lead.get("nesterov") else "polyak" if beta else "gd"
    dampening = float(lead.get("dampening", 0.0)) if name == "polyak" else 0.0
    return checked(
        name, lr, beta, dampening=dampening, decay=decay, scale=scale,
        shift=shift, notes=_notes(optimizer, groups, lead, lr),
    )  # fmt: skip


def _each(parameters: Sequence[Any], numbers: Any) -> np.ndarray:
    return np.repeat(np.asarray(numbers, np.float64), [p.numel() for p in parameters])


def _scale(name: str, optimizer: Any, parameters: Sequence[Any], groups: Sequence[Any], lr: float) -> np.ndarray | None:
    """S, (P,): of the preconditioner and the groups' step sizes; None for 1, and for an optimiser without second moments yet.

    A parameter that has had no gradient so far does not move, so its S is 0.
    """
    ratios = np.array([float(g["lr"]) / lr for g in groups])
    if name == "polyak":
        return None if np.all(ratios == 1) else np.sqrt(_each(parameters, ratios))
    pieces, moved = [], False
    for p, g, ratio in zip(parameters, groups, ratios, strict=True):
        state = optimizer.state.get(p, {})
        if name == "adam":
            second = state.get("max_exp_avg_sq") if g.get("amsgrad") else state.get("exp_avg_sq")
            correction = 1.0 - float(g["betas"][1]) ** float(state.get("step", 0))
        else:
            second, correction = state.get("square_avg"), 1.0
        if second is None or correction <= 0:
            pieces.append(np.zeros(p.numel()))
            continue
        moved = True
        v = second.detach().reshape(-1).cpu().numpy().astype(np.float64)
        if g.get("centered"):
            v = v - state["grad_avg"].detach().reshape(-1).cpu().numpy().astype(np.float64) ** 2
        pieces.append(np.sqrt(ratio) * metric(np.maximum(v, 0.0), float(g["eps"]), correction))
    return np.concatenate(pieces) if moved else None


def _notes(optimizer: Any, groups: Sequence[Any], lead: Any, lr: float) -> tuple[str, ...]:
    notes = []
    rates = [float(g["lr"]) for g in groups]
    if len(set(rates)) > 1:
        listed = ", ".join(f"{r:g}" for r in rates)
        at = next(k for k, g in enumerate(optimizer.param_groups) if g is lead)
        which = f"lr is the largest, of group {at}, and the others count in proportion"
        notes.append(f"the groups have step sizes {listed}: {which}")
    for key in ("momentum", "betas", "nesterov", "dampening"):
        if len({str(g.get(key)) for g in groups}) > 1:
            notes.append(f"the groups differ in {key}; that of the group with the largest step size counts ({lead.get(key)})")
    return tuple(notes)
