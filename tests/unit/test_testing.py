"""The conformance kit on systems and observables: what is built in passes, each planted fault is found.

The tolerances are those of the kit, which says where they come from.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

import trainphase as tp
from trainphase import catalog, observables
from trainphase.systems.relu3 import relu3
from trainphase.testing import check_observable, check_system

# --- what is built in ---------------------------------------------------------------------------------------

NET = {"n": 6, "width": 3, "depth": 1}
SYSTEMS: list[tuple[str, dict[str, Any]]] = [
    ("cubic", {}),
    ("cubic", {"z0": 0.3}),
    ("phase-retrieval", {"n": 3, "d": 5}),
    ("phase-retrieval", {"n": 4, "d": 3, "data": "gaussian"}),
    ("quadratic-net", {"n": 3, "d": 5, "m": 4}),
    ("quadratic-1d", {}),
    ("quadratic-1d", {"coordinates": "plane"}),
    ("quadratic-1d", {"coordinates": "parameters", "theta": "1.0,-0.4", "eigenvalues": "1,-0.1"}),
    ("quadratic-1d", {"flow": "true"}),
    ("linear-net", {}),
    ("quadratic", {"D": 2, "P": 3}),
    ("quadratic", {"D": 2, "P": 3, "space": "function"}),
    ("quadratic", {"D": 2, "P": 3, "flow": "true"}),
    ("mlp", NET | {"momentum": 0.9, "loss": "cross-entropy"}),
    ("mlp", NET | {"taylor": 2}),
    ("relu2", {"width": "20,30", "seed": "0,1"}),
]


def made(name: str, params: dict[str, Any]) -> Any:
    return catalog.system(name).load()(**params)


@pytest.mark.parametrize(("name", "params"), SYSTEMS, ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())))
def test_built_in_systems(name: str, params: dict[str, Any]) -> None:
    system = made(name, params)
    assert check_system(system, squared=params.get("loss") != "cross-entropy") is system


def test_the_net_of_a_ladder_of_three_layer_nets() -> None:
    # relu3 on the command line builds these one by one, of concrete parameters, and never compiles the ladder itself.
    x = np.array([[-1.0], [0.2], [1.0]])
    check_system(relu3(4, x, x[:, 0] ** 2, gamma3=1.5, gamma2=0.0, seed=0))


def test_every_built_in_system_is_checked() -> None:
    assert {name for name, _ in SYSTEMS} | {"relu3"} == set(catalog.systems())


ON: dict[str, tuple[str, dict[str, Any]]] = {
    "loss": ("cubic", {}), "residual": ("quadratic", {"D": 2, "P": 3}), "curvature": ("quadratic", {"D": 2, "P": 3}),
    "test_loss": ("phase-retrieval", {"n": 3, "d": 5}), "conserved": ("quadratic-1d", {}),
}  # fmt: skip


@pytest.mark.parametrize("observable", observables.STANDARD, ids=lambda o: o.name)
def test_built_in_observables(observable: tp.Observable) -> None:
    check_observable(observable, made(*ON.get(observable.name, ("quadratic", {"D": 2, "P": 3}))))


# --- faults of systems --------------------------------------------------------------------------------------


class Good(tp.Map):
    """Gradient descent on (1 - w)^2 / 2 with some of its own rules."""

    lr: float = 0.3
    w0: float = 0.1
    units: ClassVar[Any] = {"residual": "1"}

    def init(self) -> Any:
        return jnp.stack([jnp.asarray(self.w0), 2.0 * jnp.asarray(self.w0)])

    def step(self, state: Any) -> Any:
        return state - self.lr * self.residual(state)

    def residual(self, state: Any) -> Any:
        return state**3 - 1.0


def test_a_good_system_passes() -> None:
    check_system(Good())


CALLS: list[int] = []


class Settable(Good):
    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Closure(Good):
    rule: Any = np.sin


class Unhashable(Good):
    table: Any = eqx.field(static=True, default_factory=list)


class Unpicklable(Good):
    rule: Any = eqx.field(static=True, default=lambda x: x)


class Impure(Good):
    def step(self, state: Any) -> Any:
        CALLS.append(1)
        return super().step(state) * (1 + 1e-6 * len(CALLS))


class Branching(Good):
    def step(self, state: Any) -> Any:
        return super().step(state) if isinstance(state, Tracer) else 2 * super().step(state)


class Concrete(Good):
    def step(self, state: Any) -> Any:
        return state - float(self.lr) * self.residual(state)


class Fixed(Good):
    def step(self, state: Any) -> Any:
        return jnp.asarray(np.asarray(0.5, "float32")) * state.astype("float32")


class Shrinking(Good):
    def step(self, state: Any) -> Any:
        return state[:1]


class Global(Good):
    """Its values are decided by the first field of a batch."""

    def init(self) -> Any:
        return jnp.full(2, 0.1 * np.random.default_rng(len(CALLS)).random())


class Derivative(Good):
    def tangent(self, state: Any, v: Any) -> Any:
        return self.step(state), v * (1 - self.lr * 2 * state**2)


class Elsewhere(Good):
    def tangent(self, state: Any, v: Any) -> Any:
        return state, jax.jvp(self.step, (state,), (v,))[1]


class Observed(Good):
    def observed_step(self, state: Any, memory: Any, look: bool) -> Any:
        return self.step(state), 2 * self.loss(state), self.loss(state), memory


class Inconsistent(Good):
    def loss(self, state: Any) -> Any:
        return jnp.sum(jnp.abs(self.residual(state)))


class Negative(Good):
    def loss(self, state: Any) -> Any:
        return -super().loss(state)


class Vector(Good):
    def loss(self, state: Any) -> Any:
        return jnp.square(self.residual(state))


class Unstoppable(Good):
    def escaped(self, state: Any) -> Any:
        return jnp.any(jnp.abs(state) > 1e6)


class Gone(Good):
    def escaped(self, state: Any) -> Any:
        return jnp.logical_not(jnp.all(jnp.abs(state) < 1e-3))


class Inadmissible(Good):
    def admissible(self) -> Any:
        return np.zeros(2, bool)


class Unit(Good):
    units: ClassVar[Any] = {"residual": 1}


class Wordless(Good):
    vocabularies: ClassVar[Any] = "training"


class Mixing(Good):
    """vmap over its parameter gives what no single value gives."""

    def step(self, state: Any) -> Any:
        rate = jnp.asarray(self.lr)
        return state - (rate + jax.pure_callback(_batches, jax.ShapeDtypeStruct((), rate.dtype), rate, vmap_method="expand_dims")
                        ) * self.residual(state)  # fmt: skip

    def tangent(self, state: Any, v: Any) -> Any:
        return self.step(state), v * (1 - self.lr * 3 * state**2)


def _batches(x: Any) -> Any:
    return np.full(np.shape(x), 0.01 if np.ndim(x) else 0.0, np.asarray(x).dtype)


FAULTY: list[tuple[Any, str]] = [
    (lambda: 3.0, "neither Map nor Flow"),
    (Settable, r"Settable\.lr can be set"),
    (Closure, r"Closure\.rule is <ufunc 'sin'>"),
    (Unhashable, r"Unhashable\.table = \[\], hashed, raised TypeError"),
    (Unpicklable, "could not be sent to a worker process"),
    (Impure, "for the same state; draw at random when the system is made"),
    (Branching, "when it is compiled"),
    (Concrete, "write it with jax.numpy"),
    (Fixed, r"has type float32 for a state of float64"),
    (Shrinking, r"turned the shape \(2,\) into \(1,\)"),
    (Derivative, "central difference"),
    (Elsewhere, "steps elsewhere"),
    (Observed, r"observed_step differs"),
    (Inconsistent, r"over half the squared residual goes from"),
    (Negative, r"loss\(state\) is -"),
    (Vector, r"loss\(state\) has shape \(2,\)"),
    (Unstoppable, "escaped is False at NaN"),
    (Gone, "escaped is True at the start"),
    (Inadmissible, r"admissible\(\) has type bool and shape \(2,\)"),
    (Unit, r"units is"),
    (Wordless, r"vocabularies is 'training'"),
    (Mixing, r"under vmap over lr, w0 differs"),
]


@pytest.mark.parametrize(("make", "words"), FAULTY, ids=lambda x: getattr(x, "__name__", "-"))
def test_a_faulty_system_is_found(make: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words) as caught:
        check_system(make())
    assert ";" in str(caught.value) and "\n" not in str(caught.value)


# --- faults of observables ----------------------------------------------------------------------------------


def observed(function: Any, **kwargs: Any) -> tp.Observable:
    return tp.Observable(**{"name": "mine", "units": "1", "long_name": "mine", "function": function} | kwargs)


@pytest.mark.parametrize(
    ("observable", "words"),
    [
        (observed(lambda s, x: s.lr), r"reads lr of the system; add 'lr' to its needs"),
        (observed(lambda s, x: x[0], needs=("hessian",)), "needs hessian, which Good lacks"),
        (observed(lambda s, x: x), r"has shape \(2,\) and dims \(\); name each axis"),
        (observed(lambda s, x: x[0] + len(CALLS) + bool(CALLS.append(1))), "another value the second time"),
        (observed(lambda s, x: x[0] * (1 if isinstance(x, Tracer) else 2)), "when it is compiled"),
        (observed(lambda s, x: float(x[0])), "write it with jax.numpy"),
        (observed(lambda s, x: 1j * x[0]), "has type complex128"),
        (observed(lambda s, x: x[0], name="my observable"), "name is 'my observable'"),
        (observed(lambda s, x: x[0], units=""), "has units ''"),
        (observed(lambda s, x: x[0], dims="sample"), "has dims 'sample'"),
        (3, "3 is no Observable"),
    ],
)  # fmt: skip
def test_a_faulty_observable_is_found(observable: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_observable(observable, Good())


def test_a_good_observable_passes() -> None:
    check_observable(observed(lambda s, x: s.lr * x, dims=("parameter",), needs=("lr",)), Good())
