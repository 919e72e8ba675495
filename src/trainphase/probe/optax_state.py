"""What an optax state tells of the optimiser: second moments, step sizes, counters; wherever they lie in it.

A state is a nest of tuples, lists and dicts (chains, ``multi_transform``, ``masked``, ``MultiSteps``, ``inject_hyperparams``).
Optax itself is not imported: nodes are known by their fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from trainphase.errors import RequestError
from trainphase.probe.settings import ADAPTIVE, Setting, checked, checked_threshold, metric

ALIASES = {"sgd": "gd", "momentum": "polyak", "adamw": "adam"}
AS_A_TREE = "give lr as a tree like the parameters, of numbers or schedules"


@dataclass(frozen=True)
class Method:
    """The optimiser as the user names it; lr : a number, a schedule (step -> lr), a tree of them like the parameters, or None."""

    name: str
    lr: Any
    momentum: float
    b2: float
    eps: float
    eps_inside: bool
    dampening: float
    weight_decay: float
    threshold: float | None


def method_of(given: Method, momentum: float | None, eps_inside: bool | None) -> Method:
    """A method with other names for it looked up and defaults filled in. Raises RequestError for numbers out of range."""
    name = ALIASES.get(given.name, given.name)
    beta = (0.9 if name == "adam" else 0.0) if momentum is None else momentum
    # A momentum counts, whatever the method is called: its threshold is nearly twice that of plain descent.
    name = "polyak" if name == "gd" and beta else name
    how = replace(given, name=name, momentum=beta, eps_inside=name == "rmsprop" if eps_inside is None else eps_inside)
    checked_threshold(how.threshold)
    if how.threshold is None:
        _ = checked(name, (float(how.lr) or 1.0) if _is_number(how.lr) else 1.0, beta)
    return how


def setting_of(how: Method, step: int, opt_state: Any, params: Any) -> Setting | None:
    """The optimiser at this step, from what the user said and from optax's state.

    None for an adaptive method at rest, a step size of 0 and, before the first step, one that only a state tells.
    Raises RequestError where the state lacks what the method needs, or shows that it is another one.
    """
    state = _Found()
    state.visit(opt_state)
    arrays = [(path, leaf) for path, leaf in tree_flatten_with_path(params)[0] if eqx.is_inexact_array(leaf)]
    rates = _rates(how, step, state, opt_state is None, params)
    if rates is None or not max(rates) > 0:
        return None
    lr, told = max(rates), state.told
    beta = float(told.get("b1", told.get("momentum", how.momentum)) or 0.0)
    decay = float(told.get("weight_decay", how.weight_decay))
    if how.threshold is not None:
        return Setting(how.name, lr, beta, given=how.threshold)
    name = "polyak" if how.name == "gd" and beta else how.name
    sizes = [leaf.size for _, leaf in arrays]
    ratio = None if len(set(rates)) == 1 else np.repeat(np.array(rates) / lr, sizes)
    scale = None if ratio is None else np.sqrt(ratio)
    shift = None
    if name in ADAPTIVE:
        own = _metric(how, step, state, opt_state is None, arrays, rates)
        if own is None:
            return None
        scale = own if scale is None else scale * own
    else:
        _fits(name, beta, state)
        shift, decay = (np.full(sum(sizes), decay), 0.0) if decay else (None, 0.0)
    notes = ()
    if state.parted and _is_one(how.lr):
        notes = (f"opt_state has parts (multi_transform), and one step size is taken for all; if they differ, {AS_A_TREE}",)
    return checked(name, lr, beta, dampening=how.dampening, decay=decay, scale=scale, shift=shift, notes=notes)


@dataclass
class _Found:
    """Nodes of a state that tell something."""

    moments: list[Any] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    trace: bool = False
    parted: bool = False

    def visit(self, node: Any) -> None:
        """Look into a node and below it."""
        numbers = getattr(node, "hyperparams", None)
        if isinstance(numbers, dict):
            numbers = {k: v for k, v in numbers.items() if np.ndim(v) == 0}
            self.told |= numbers
            self.rates += [float(numbers["learning_rate"])] if "learning_rate" in numbers else []
        if type(node).__name__ == "ScaleByScheduleState":
            self.counts.append(_count(node))
        self.trace = self.trace or (hasattr(node, "trace") and isinstance(node, tuple))
        self.parted = self.parted or hasattr(node, "inner_states")
        if hasattr(node, "nu"):
            self.moments.append(node)
        elif isinstance(node, Mapping):
            for child in node.values():
                self.visit(child)
        elif isinstance(node, tuple | list):
            for child in node:
                self.visit(child)


def _count(node: Any) -> int:
    if np.ndim(node.count):
        shape = np.shape(node.count)
        raise RequestError(
            f"opt_state has counts of the shape {shape}, of runs side by side; give one run's parameters and state"
        )
    return int(node.count)


def _is_number(lr: Any) -> bool:
    return lr is not None and not callable(lr) and (isinstance(lr, int | float) or (np.shape(lr) == () and hasattr(lr, "dtype")))


def _is_one(lr: Any) -> bool:
    """Whether it stands for all parameters."""
    return lr is None or _is_number(lr) or callable(lr)


def _rates(how: Method, step: int, state: _Found, bare: bool, params: Any) -> list[float] | None:
    """The step size of each array of floats; None where it is not known before the first step."""
    # A schedule goes by the state's own count: steps of several batches, and runs that go on from a checkpoint, have others.
    at = max(state.counts, default=step)
    count = sum(map(eqx.is_inexact_array, jax.tree.leaves(params)))

    def number(lr: Any) -> float:
        value: Any = lr(at) if callable(lr) else lr
        try:
            return float(value)
        except (TypeError, ValueError):
            raise RequestError(f"lr holds a {type(lr).__name__} and no number; {AS_A_TREE}") from None

    if _is_one(how.lr):
        if len(set(state.rates)) > 1:
            listed = ", ".join(f"{r:g}" for r in state.rates)
            raise RequestError(f"opt_state has the step sizes {listed}; {AS_A_TREE}")
        if not state.rates and how.lr is None:
            if bare and step == 0:
                return None
            remedy = "give watch(lr=...), a number or a schedule, or opt_state of optax.inject_hyperparams"
            raise RequestError(f"lr is missing: {remedy}")
        return [state.rates[0] if state.rates else number(how.lr)] * count
    try:
        tree = jax.tree.broadcast(how.lr, params)
    except ValueError:
        raise RequestError(f"lr, a {type(how.lr).__name__}, does not fit the parameters; {AS_A_TREE}") from None
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True)
    return [number(lr) for lr, leaf in pairs if eqx.is_inexact_array(leaf)]


def _fits(name: str, beta: float, state: _Found) -> None:
    """RequestError where the state is that of another method."""
    if state.moments:
        raise RequestError(f"opt_state has second moments, which {name} has not; give method='adam' or 'rmsprop', or threshold=")
    if state.trace and not beta:
        raise RequestError("opt_state has a momentum, which watch was not told; give momentum=, and method='nesterov' if so")


def _metric(
    how: Method, step: int, state: _Found, bare: bool, arrays: Sequence[tuple[Any, Any]], rates: Sequence[float]
) -> np.ndarray | None:
    """P^-1/2 over all parameters, (P,); None where the optimiser has made no step."""
    if not state.moments:
        if bare and step == 0:
            return None
        why = (
            "give update(..., opt_state=opt_state)" if bare else "it has no second moments; give the method's name, or threshold="
        )
        raise RequestError(f"{how.name} is measured in the metric of its state, opt_state: {why}")
    eps, used, out, moved = float(state.told.get("eps", how.eps)), set(), [], False
    squares = [_squares(node, arrays) for node in state.moments]
    for (path, leaf), rate in zip(arrays, rates, strict=True):
        at, v = next(((k, s[keystr(path)]) for k, s in enumerate(squares) if keystr(path) in s), (-1, None))
        if v is None and rate > 0:
            still = "with 0 where they stand still"
            raise RequestError(f"the parameters {keystr(path)} have no second moments in opt_state; {AS_A_TREE}, {still}")
        if v is None:
            out.append(np.zeros(leaf.size))
            continue
        used.add(at)
        node = state.moments[at]
        counted = "count" in getattr(node, "_fields", ())
        count = _count(node) if counted else 1
        plain = hasattr(node, "nu_max") or not counted
        moved = moved or bool(count and v.any())
        correction = 1.0 if plain else 1.0 - float(state.told.get("b2", how.b2)) ** count
        out.append(metric(np.maximum(v, 0.0), eps, correction or 1.0, how.eps_inside) if count else np.zeros(leaf.size))
    if len(used) > 1 and _is_one(how.lr) and not state.rates:
        raise RequestError(f"opt_state has {len(used)} parts with step sizes of their own; {AS_A_TREE}")
    return np.concatenate(out) if moved else None


def _squares(node: Any, arrays: Sequence[tuple[Any, Any]]) -> dict[str, np.ndarray]:
    """The mean squares by the path of their parameters; of AMSGrad their largest, of centred RMSProp less the squared means."""
    found = _by_path(getattr(node, "nu_max", node.nu))
    if "StdDev" in type(node).__name__:
        means = _by_path(node.mu)
        found = {path: v - means[path] ** 2 for path, v in found.items()}
    sizes = [leaf.size for _, leaf in arrays]
    if len(found) == 1 and len(arrays) > 1 and next(iter(found.values())).size == sum(sizes):  # optax.flatten
        pieces = np.split(next(iter(found.values())), np.cumsum(sizes)[:-1])
        return {keystr(path): piece for (path, _), piece in zip(arrays, pieces, strict=True)}
    return found


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    # A masked leaf is an empty tuple, which has no path.
    leaves = tree_flatten_with_path(tree)[0]
    return {keystr(path): np.asarray(v, np.float64).ravel() for path, v in leaves if eqx.is_inexact_array(v)}
