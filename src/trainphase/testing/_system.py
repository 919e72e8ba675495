"""The conformance check of a system."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase._arrays import DTYPES, as_leaves, precision
from trainphase.records import batchable, with_values
from trainphase.survey import batch_axes, over_lanes
from trainphase.system import Flow, Map, System
from trainphase.testing._say import apart, call, need, same

Checked = TypeVar("Checked", bound=System)

# Sums of a few hundred products in another order differ by some hundred units in the last place, and a step of a chaotic
# map, of which a few are taken, enlarges that by ten or so.
ROUNDING = 1e5 * float(np.finfo(np.float64).eps)
# A central difference over eps^(1/3) has errors of about eps^(2/3) = 4e-11 times the map's third derivative, and the
# rounding of the step over eps^(1/3).
DIFFERENCE = 1e-6
# Steps that are taken from the start, and values of each parameter that are run side by side.
STEPS, VALUES = 3, 3
# How far a flow is followed along its velocity at a time, in its units of time.
SHORT = 0.01


def check_system(system: Checked, *, squared: bool = True) -> Checked:
    """Hold an instance of a Map or Flow of yours to what every verb relies on; returns the instance.

    The contract
    ------------
    - The instance is frozen, its fields are numbers, arrays or marked ``eqx.field(static=True)``, static ones can be hashed;
      it can be sent to a worker process and computes the same bytes there. ``check()`` and ``admissible()`` accept it,
      ``vocabularies`` are names, ``units`` maps observables to units.
    - ``init`` and ``step`` (of a Flow ``velocity``) are pure: called twice they give the same bytes and leave system and
      state as they were. Compiled they give the same as uncompiled, to rounding.
    - Precision is that of the parameters: with float32 fields, state, residual and loss are float32, with float64 fields
      float64; ``step`` keeps the state's structure, shapes and types.
    - Fields that are single floats can be batched: ``jax.vmap`` over values of them gives what each value alone gives.
    - ``tangent(state, v)`` of a Map is the step and its directional derivative: it agrees with a central difference.
      ``observed_step`` takes the same step and tells the same loss.
    - ``loss`` is a single number, never negative, and zero with the residual; ``escaped`` is False at the start and True
      for a state of NaN; ``curvature``, where there is one, is a single number.

    Parameters
    ----------
    system : small, at parameters that describe a run which does not start at rest.
    squared : the loss is a constant times the sum of squared residuals; give False for another, such as cross-entropy.

    Raises AssertionError. Cost: some steps, compiled three times; a second for a small system.
    """
    _value(system)
    for dtype in DTYPES:
        with precision(dtype):
            _types(as_leaves(system, dtype), dtype)
    with precision("float64"):
        ready = as_leaves(system, "float64")
        states = _pure(ready)
        if isinstance(ready, Map):
            _tangent(ready, states[-1])
        _loss(ready, states, squared)
        _escapes(ready, states[0])
        _batched(system)
        _travels(system, ready, states[0])
    return system


def _name(system: Any) -> str:
    return type(system).__name__


def _value(system: Any) -> None:
    """Frozen, of numbers and hashable static fields, and accepted by its own checks."""
    what = _name(system)
    need(isinstance(system, Map | Flow), f"{what} is neither Map nor Flow", "subclass trainphase.Map or trainphase.Flow")
    for field in dataclasses.fields(system):
        try:
            setattr(system, field.name, getattr(system, field.name))
        except (AttributeError, TypeError):
            continue
        raise AssertionError(f"{what}.{field.name} can be set after it was made; leave out your own __setattr__")
    for path, leaf in jax.tree_util.tree_leaves_with_path(system):
        number = isinstance(leaf, bool | int | float | np.generic | np.ndarray | jax.Array)
        where = jax.tree_util.keystr(path)
        need(number, f"{what}{where} is {leaf!r:.80}, no number", "mark the field eqx.field(static=True), or make it an array")
    for field in dataclasses.fields(system):
        if field.metadata.get("static", False):
            value = getattr(system, field.name)
            call(f"{what}.{field.name} = {value!r:.80}, hashed,", "make static fields numbers, text or tuples", hash, value)
    words: Any = getattr(system, "vocabularies", None)
    listed = isinstance(words, tuple) and all(isinstance(w, str) for w in words)
    need(listed, f"{what}.vocabularies is {words!r}", 'make it a tuple of names, such as ("training",)')
    units: Any = getattr(system, "units", {})
    fine = isinstance(units, Mapping) and all(isinstance(k, str) and isinstance(v, str) and v for k, v in units.items())
    need(fine, f"{what}.units is {units!r}", 'make it a mapping from observables to units, such as {"residual": "1"}')
    call(f"{what}.check()", "give the kit an instance that check() accepts", system.check)
    allowed = np.asarray(call(f"{what}.admissible()", "return a truth value", system.admissible))
    need(allowed.dtype == bool and allowed.shape == (), f"{what}.admissible() has type {allowed.dtype} and shape {allowed.shape}",
         "return one truth value")  # fmt: skip
    need(bool(allowed), f"{what}.admissible() is False", "give the kit an instance whose parameters describe a run")


def advance(system: Any, state: Any) -> Any:
    """The next state; of a flow a short way along its velocity."""
    if isinstance(system, Map):
        return system.step(state)
    velocity = system.velocity(jnp.zeros((), jax.tree.leaves(state)[0].dtype), state)
    return jax.tree.map(lambda x, v: x + SHORT * v, state, velocity)


def _verb(system: Any) -> str:
    return f"{_name(system)}.{'step(state)' if isinstance(system, Map) else 'velocity(t, state)'}"


def _move(system: Any, state: Any) -> Any:
    """What the author wrote: the step, or the velocity."""
    return system.step(state) if isinstance(system, Map) else system.velocity(jnp.zeros(()), state)


def _types(ready: Any, dtype: str) -> None:
    """Types and shapes, without computing anything."""
    what, verb = _name(ready), _verb(ready)
    state = call(f"{what}.init()", "return an array or a pytree of arrays", jax.eval_shape, ready.init)
    need(jax.tree.leaves(state), f"{what}.init() returned {state!r}", "return an array or a pytree of arrays")
    moved = call(verb, "write it with jax.numpy", lambda: jax.eval_shape(lambda s, x: _move(s, x), ready, state))
    same_tree = jax.tree.structure(moved) == jax.tree.structure(state)
    need(same_tree, f"{verb} returned {jax.tree.structure(moved)}, init() {jax.tree.structure(state)}", "return the same pytree")
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(moved), strict=True):
        need(str(before.dtype) == dtype, f"{what}.init() has type {before.dtype} where the fields have {dtype}",
             "make it from the fields, or with their dtype")  # fmt: skip
        need(
            str(after.dtype) == dtype,
            f"{verb} has type {after.dtype} for a state of {dtype}",
            "convert no array to a fixed dtype",
        )
        need(before.shape == after.shape, f"{verb} turned the shape {before.shape} into {after.shape}", "keep the state's shapes")
    for name in ("residual", "loss", "curvature"):
        if name != "curvature" or hasattr(ready, name):
            got: Any = call(f"{what}.{name}(state)", "write it with jax.numpy", _shape_of, ready, name, state)
            need(str(got.dtype) == dtype, f"{what}.{name}(state) has type {got.dtype} for {dtype}", "keep the state's dtype")
            need(name == "residual" or got.shape == (), f"{what}.{name}(state) has shape {got.shape}", "return a single number")


def _shape_of(ready: Any, name: str, state: Any) -> Any:
    return jax.eval_shape(lambda s, x: getattr(s, name)(x), ready, state)


def numbers(tree: Any) -> list[np.ndarray]:
    """The leaves of a tree as arrays of their own."""
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


@jax.jit
def _look(system: Any, state: Any) -> Any:
    return advance(system, state), system.loss(state), system.residual(state), system.escaped(state)


def _pure(ready: Any) -> list[Any]:
    """States along the first steps, compiled; the last of them twice without: the same, and nothing else is changed."""
    what, verb, fields = _name(ready), _verb(ready), numbers(ready)
    states = [ready.init()]
    remedy = "draw at random when the system is made, and keep nothing between calls"
    need(same(numbers(ready.init()), numbers(states[0])), f"{what}.init() gave another state the second time", remedy)
    for _ in range(STEPS):
        states.append(call(f"{verb}, compiled,", "branch with jnp.where or lax.cond", _look, ready, states[-1])[0])
    before = numbers(states[-2])
    once, twice = (numbers(call(verb, "write it with jax.numpy", _move, ready, states[-2])) for _ in range(2))
    need(same(once, twice), f"{verb} gave {once[0].ravel()[:3]} and then {twice[0].ravel()[:3]} for the same state", remedy)
    need(same(before, numbers(states[-2])), f"{verb} changed the state it was given", "return a new one")
    need(same(fields, numbers(ready)), f"{verb} changed a field of the system", "keep what changes in the state")
    if isinstance(ready, Flow):
        once = [x + SHORT * v for x, v in zip(before, once, strict=True)]
    off = apart(numbers(states[-1]), once)
    need(off <= ROUNDING, f"{verb} differs by {off:.1e} when it is compiled", "use jax.numpy and no branch on values")
    return states


def _direction(state: Any) -> Any:
    """A fixed direction along no axis, as large as the state."""

    def one(leaf: Any) -> Any:
        wave = np.cos(np.sqrt(3.0) * np.arange(1, leaf.size + 1) ** 1.5).reshape(leaf.shape)
        return jnp.asarray(wave, leaf.dtype) * jnp.maximum(jnp.max(jnp.abs(leaf)), 1e-3)

    return jax.tree.map(one, state)


@jax.jit
def _derivatives(ready: Any, state: Any, v: Any) -> Any:
    h = float(np.finfo(np.float64).eps) ** (1 / 3)
    left, right = (ready.step(jax.tree.map(lambda x, d, s=s: x + s * h * d, state, v)) for s in (-1, 1))
    difference = jax.tree.map(lambda a, b: (b - a) / (2 * h), left, right)
    observed = ready.observed_step(state, ready.memory(), False)
    return ready.step(state), *ready.tangent(state, v), difference, observed[0], observed[1], ready.loss(state)


def _tangent(ready: Any, state: Any) -> None:
    what = _name(ready)
    given = call(f"{what}.tangent or observed_step", "write it with jax.numpy", _derivatives, ready, state, _direction(state))
    step, along, tangent, difference, observed, told, loss = (numbers(x) for x in given)
    off = apart(along, step)
    need(
        off <= ROUNDING, f"{what}.tangent(state, v) steps elsewhere than step(state), by {off:.1e}", "return the same step first"
    )
    off = apart(tangent, difference)
    need(off <= DIFFERENCE, f"{what}.tangent(state, v) differs from a central difference of step by {off:.1e}",
         "leave tangent out, or mend the derivative")  # fmt: skip
    off = max(apart(observed, step), apart(told, loss))
    need(off <= ROUNDING, f"{what}.observed_step differs from step and loss by {off:.1e}", "leave it out, or return the same")


def _loss(ready: Any, states: list[Any], squared: bool) -> None:
    what, ratios = _name(ready), []
    for state in states:
        _, loss, residual, _ = (numbers(x) for x in _look(ready, state))
        loss, residual = float(loss[0]), residual[0]
        need(np.isfinite(loss) and loss >= 0, f"{what}.loss(state) is {loss:g} near the start", "return a number of at least 0")
        need(np.all(np.isfinite(residual)), f"{what}.residual(state) is not finite near the start", "start where it is")
        half = 0.5 * float(np.sum(np.square(residual)))
        if half > 0:
            ratios.append(loss / half)
        else:
            need(loss == 0 or not squared, f"{what}.loss is {loss:g} where the residual is 0", "let them vanish together")
    need(ratios, f"{what}'s residual is 0 at the start", "give the kit an instance with something to learn")
    if squared:
        off = (max(ratios) - min(ratios)) / max(max(ratios), float(np.finfo(float).tiny))
        need(off <= 1e3 * ROUNDING, f"{what}.loss over half the squared residual goes from {min(ratios):g} to {max(ratios):g} "
             "along a run", "make them agree, or give squared=False for another loss")  # fmt: skip


def _escapes(ready: Any, state: Any) -> None:
    what = _name(ready)
    for told, at, wanted in (
        ("the start", state, False),
        ("NaN", jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), state), True),
    ):
        got = np.asarray(call(f"{what}.escaped(state)", "write it with jax.numpy", lambda x: _look(ready, x)[3], at))
        need(got.shape == () and got.dtype == bool, f"{what}.escaped(state) has type {got.dtype} and shape {got.shape}",
             "return one truth value")  # fmt: skip
        remedy = "write it as not (size <= bound), which NaN satisfies" if wanted else "start inside the bound"
        need(bool(got) == wanted, f"{what}.escaped is {bool(got)} at {told}", remedy)


def _batched(system: Any) -> None:
    """Several values of every float field side by side, and each by itself."""
    what, steps = _name(system), STEPS - 1
    named = [f.name for f in dataclasses.fields(system) if batchable(system, f.name)]
    named = [n for n in named if np.asarray(getattr(system, n)).dtype.kind == "f"]
    if not named:
        return
    shift = 1e-3 * np.arange(VALUES)
    values = {n: np.where(float(getattr(system, n)) == 0, shift, float(getattr(system, n)) * (1 + shift)) for n in named}
    remedy = "write init and step with jax.numpy, with no float() of a field and no shape that depends on one"
    wide, batched = call(f"{what} with {VALUES} values of {', '.join(named)}", remedy, with_values, system, values, "float64")

    def run(s: Any) -> Any:
        state = jax.lax.fori_loop(0, steps, lambda _, x: advance(s, x), s.init())
        return state, s.loss(state)

    def lanes(s: Any) -> Any:
        return over_lanes(run, s, batched) if isinstance(s, Map) else jax.vmap(run, (batch_axes(s, batched),))(s)

    together = call(f"{what} under vmap over {', '.join(batched)}", remedy, jax.jit(lanes), wide)
    allowed = np.shape(wide.admissible())
    need(
        allowed in ((), (VALUES,)),
        f"{what}.admissible() has shape {allowed} for {VALUES} values",
        "give one truth value for each",
    )
    for k in range(VALUES):
        here = eqx.tree_at(lambda s: [getattr(s, n) for n in batched], wide, [getattr(wide, n)[k] for n in batched])
        state = here.init()
        for _ in range(steps):
            state = _look(here, state)[0]
        alone = numbers((state, _look(here, state)[1]))
        off = apart([x[k] for x in numbers(together)], alone)
        need(off <= ROUNDING, f"{what} under vmap over {', '.join(batched)} differs by {off:.1e} from value {k} alone", remedy)


def _travels(system: Any, ready: Any, state: Any) -> None:
    """What a worker process is sent, it computes as it is computed here."""
    remedy = "define the class in a module, with no lambda or open file among its fields"
    pickler: Any = ForkingPickler  # what processes are sent things with
    sent = call(f"{_name(system)} could not be sent to a worker process: it", remedy, pickler.dumps, system)
    there = as_leaves(call(f"{_name(system)}, sent,", remedy, pickler.loads, sent), "float64")
    want, got = numbers(_move(ready, state)), numbers(_move(there, state))
    need(same(got, want), f"{_verb(system)} differs after the system was sent to a worker process", "keep everything in fields")
