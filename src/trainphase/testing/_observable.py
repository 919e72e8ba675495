"""The conformance check of an observable."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainphase._arrays import as_leaves, precision
from trainphase.observable import Observable
from trainphase.system import Flow, Map, System
from trainphase.testing._say import apart, call, need, same
from trainphase.testing._system import ROUNDING, STEPS, advance, numbers


def check_observable(observable: Observable, system: System) -> Observable:
    """Hold an Observable of yours to what runs rely on, along a few steps of a system that has what it needs; returns it.

    The contract
    ------------
    - ``name`` is an ASCII identifier, ``units`` and ``long_name`` are not empty ("1" for a pure number).
    - ``function(system, state)`` returns one real array, of the same shape and type at every state of a run, with at most one
      axis for each of ``dims`` (a single sample may be a number).
    - It is pure: called twice it gives the same bytes, and it leaves the state alone. Compiled, and under ``jax.vmap`` over
      states, it gives the same to rounding.
    - ``needs`` names everything that it reads of a system beyond what every Map (or Flow) has; where a system lacks one of
      them, ``available`` is False and the observable is not asked for.

    Raises AssertionError. Cost: a few steps of the system; the function is compiled twice.
    """
    _described(observable)
    what = f"the observable {observable.name!r}"
    lacking = [name for name in observable.needs if not hasattr(system, name)]
    told = f"{what} needs {', '.join(lacking)}, which {type(system).__name__} lacks"
    need(not lacking and observable.available(system), told, "check it with a system that has everything it needs")
    with precision("float64"):
        ready: Any = as_leaves(system, "float64")
        states = [ready.init()]
        for _ in range(STEPS):
            states.append(advance(ready, states[-1]))
        remedy = "write it with jax.numpy, for any state of the system"
        one = jax.jit(lambda s, x: observable.function(s, x))
        last = call(what, remedy, _pure, observable, ready, states[-1])
        values = [np.asarray(call(f"{what}, compiled,", remedy, one, ready, x)) for x in states]
        _shapes(what, observable, [last, *values])
        both = jax.tree.map(lambda *x: jnp.stack(x), *states)
        many = call(f"{what} under vmap", remedy, jax.jit(jax.vmap(observable.function, (None, 0))), ready, both)
        # A difference of numbers as large as the state may be rounding alone.
        size = max(float(np.max(np.abs(leaf), initial=0.0)) for leaf in numbers(both))
        compiled, batched = apart([values[-1]], [last], size), apart(list(np.asarray(many)), values, size)
        for how, off in (("when it is compiled", compiled), ("under vmap", batched)):
            need(off <= ROUNDING, f"{what} differs by {off:.1e} {how}", "use jax.numpy and no branch on values")
    return observable


def _described(observable: Any) -> None:
    need(isinstance(observable, Observable), f"{observable!r:.80} is no Observable", "make a trainphase.Observable")
    name = observable.name
    plain = isinstance(name, str) and name.isidentifier() and name.isascii()
    need(plain, f"the observable's name is {name!r}", "give letters, digits and underscores, such as top_mode")
    for field in ("units", "long_name"):
        text = getattr(observable, field)
        need(
            isinstance(text, str) and text.strip(), f"the observable {name!r} has {field} {text!r}", 'give text; "1" for no unit'
        )
    for field in ("dims", "needs"):
        words = getattr(observable, field)
        fine = isinstance(words, tuple) and all(isinstance(w, str) for w in words)
        need(fine, f"the observable {name!r} has {field} {words!r}", 'give a tuple of names, such as ("sample",)')


class _Only:
    """A system that shows what the observable declared, and nothing else of its own."""

    def __init__(self, observable: Observable, system: Any) -> None:
        self._observable, self._system = observable, system

    def __getattr__(self, name: str) -> Any:
        base = Map if isinstance(self._system, Map) else Flow
        fine = hasattr(base, name) or name in self._observable.needs
        need(fine, f"the observable {self._observable.name!r} reads {name} of the system", f"add {name!r} to its needs")
        return getattr(self._system, name)


def _pure(observable: Observable, ready: Any, state: Any) -> np.ndarray:
    before = numbers(state)
    once, twice = (np.asarray(observable.function(_Only(observable, ready), state)) for _ in range(2))
    what = f"the observable {observable.name!r}"
    need(same([once], [twice]), f"{what} gave another value the second time", "keep nothing between calls and draw nothing")
    need(same(before, numbers(state)), f"{what} changed the state", "return a new array")
    return once


def _shapes(what: str, observable: Observable, values: list[np.ndarray]) -> None:
    first = values[0]
    need(first.dtype.kind in "fiub", f"{what} has type {first.dtype}", "return real numbers")
    dims = f"dims {observable.dims}"
    need(first.ndim <= len(observable.dims), f"{what} has shape {first.shape} and {dims}", "name each axis in dims")
    shapes = sorted({(v.shape, str(v.dtype)) for v in values})
    need(len(shapes) == 1, f"{what} has shapes and types {shapes} along one run", "return the same shape at every state")
