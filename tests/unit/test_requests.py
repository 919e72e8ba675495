"""What is asked from Python and cannot be: one sentence each, with the value and the remedy. No tolerances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import trainphase as tp
from trainphase import request
from trainphase.errors import RequestError, StoreError


class Logistic(tp.Map):
    r: float = 3.2

    def init(self) -> Any:
        return jnp.asarray(0.3)

    def step(self, state: Any) -> Any:
        return self.r * state * (1 - state)


class Positive(Logistic):
    def check(self) -> None:
        if not self.r > 0:  # as one writes it for a single number
            raise RequestError(f"r = {self.r:g} is not above 0; give a larger one")


class Branches(Logistic):
    def step(self, state: Any) -> Any:
        return state if state > 0 else -state


class Shrinks(Logistic):
    def init(self) -> Any:
        return jnp.ones(2)

    def step(self, state: Any) -> Any:
        return jnp.sum(state)


class Counts(Logistic):
    def init(self) -> Any:
        return jnp.asarray(3)


class Nowhere(tp.Map):
    r: float = 1.0

    def step(self, state: Any) -> Any:
        return state


class Named(Logistic):
    kind: str = "a"


class Wide(Logistic):
    def loss(self, state: Any) -> Any:
        return jnp.stack([state, state])


class Empty(Logistic):
    def residual(self, state: Any) -> Any:
        return None


class Flowing(tp.Flow):
    k: float = 1.0

    def init(self) -> Any:
        return jnp.ones(2)

    def velocity(self, t: Any, state: Any) -> Any:
        return -self.k * state


class Sized(Positive):
    m: int = eqx.field(static=True, default=2)

    def init(self) -> Any:
        return jnp.full(self.m, 0.3)


class Cubic(Logistic):
    """Not the one of the catalogue."""


def net(params: Any, x: Any) -> Any:
    return jnp.tanh(x @ params)


def line(params: Any, x: Any) -> Any:
    return x @ params


def problem(fn: Any) -> tp.Problem:
    return tp.Problem(fn, np.full(2, 0.3), (np.eye(2), np.array([0.5, -0.5])))


ask: Any = tp  # what is asked is of the wrong type, on purpose

WRONG: list[tuple[Any, str]] = [
    (lambda: ask.run(Logistic, q=1.0), "Logistic has no parameter 'q', it has r; give one of those"),
    (lambda: ask.run(Logistic(), q=1.0), "Logistic has no parameter 'q', it has r; give one of those"),
    (lambda: ask.run("mlp", widht=2), "give width, the nearest"),
    (lambda: ask.run(Logistic(), step=1.0), "Logistic has no parameter 'step'"),
    (lambda: ask.run(lambda r: Logistic(r)), "needs a value of r; give for example r=1.0"),
    (lambda: ask.run(Logistic, r=float("nan")), "r = nan is no number"),
    (lambda: ask.run("cubic", a=1e308), "a = 1e+308 is too large to compute with"),
    (lambda: ask.run("phase-retrieval", a=1.1, gamma=0.0), "gamma = 0.0 is out of range"),
    (lambda: ask.run("quadratic", seed=0.5), "seed = 0.5 is not whole"),
    (lambda: ask.run(3, r=1.0), "3 is no system"),
    (lambda: ask.run(None), "None is no system"),
    (lambda: ask.run(Logistic, steps="10"), "steps = '10' is no horizon"),
    (lambda: ask.run(Logistic, steps=10.5), "steps = 10.5 is no horizon"),
    (lambda: ask.run(Logistic, steps=10**18), "steps = 1000000000000000000 is no horizon"),
    (lambda: ask.run(Logistic, starts=1.5), "starts = 1.5 is no ensemble"),
    (lambda: ask.run(Branches), "Branches.step needs the value of a number while it is compiled; write it with jax.numpy"),
    (lambda: ask.run(Shrinks), "the state is float64 (2,) in init() and float64 () after step"),
    (lambda: ask.diagram(Shrinks, r=ask.linspace(0, 1, 3)), "the state is float64 (2,) in init() and float64 () after step"),
    (lambda: ask.boundary(Shrinks, r=(0.0, 1.0)), "the state is float64 (2,) in init() and float64 () after step"),
    (lambda: ask.run(Counts), "the state is int64 () in init()"),
    (lambda: ask.run(Nowhere), "Nowhere has no init(); return the state"),
    (lambda: ask.run(Named), "Named.kind = 'a' is no number; mark the field"),
    (lambda: ask.run(Wide), "Wide.loss(state) has shape (2,); return a single number"),
    (lambda: ask.run(Logistic, steps=1e4), "steps = 10000.0 is no horizon"),
    (lambda: ask.run(Flowing), "Flowing has no curvature, which the edge vocabulary reads; write curvature(state)"),
    (lambda: ask.diagram(Flowing, k=ask.linspace(1, 2, 3)), "Flowing has no curvature"),
    (lambda: ask.run(Empty), "Empty.residual(state) is None; return an array"),
    (lambda: ask.run(Logistic, observables="los"), "there is no observable 'los'"),
    (lambda: ask.run(Logistic, observables=("loss",)), "'loss' is built in and recorded wherever"),
    (lambda: ask.run(Logistic, observables=(ask.Observable("loss", "1", "x", lambda s, x: x),)),
     "'loss' has the name of a built-in one; give yours another"),
    (lambda: ask.diagram(Logistic, r=ask.linspace(2, 3, 3), observables=(ask.Observable("h", "1", "x", lambda s, x: x),)),
     "and h is none; give it to run"),
    (lambda: ask.diagram(Logistic, r=(2.0, 4.0)), "two ends, and a diagram needs the points between; give r=linspace(2, 4, 256)"),
    (lambda: ask.diagram(Logistic, r=ask.linspace(0, 1, 10**12)), "1000000000000 points are too many"),
    (lambda: ask.diagram(Positive, r=ask.linspace(-1, 1, 4)), "r = -1 is not above 0"),
    (lambda: ask.boundary(Logistic, r=(2.0, 4.0), points=10**13), "points = 10000000000000 make no scan"),
    (lambda: ask.boundary(Logistic, r=(2.0, 4.0), points=9.5), "points = 9.5 make no scan"),
    (lambda: ask.linspace("a", 1, 3), "make no range"),
    (lambda: ask.linspace(0, 1, 5.7), "make no range"),
    (lambda: ask.linspace(0, 1, float("nan")), "make no range"),
    (lambda: ask.values([1.0, float("nan")]), "not finite"),
    (lambda: ask.values([1.0, 2.0, 1.0]), "1 is listed twice"),
    (lambda: ask.values(3), "3 is no list of numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
def test_a_sentence_and_no_trace_of_jax(wrong: Any, text: str) -> None:
    with pytest.raises(RequestError) as why:
        wrong()
    assert text in str(why.value) and "\n" not in str(why.value)


def test_what_is_right_passes() -> None:
    for system in (Logistic(), Positive(), Sized(), tp.systems.Cubic(), tp.descent(problem(net), lr=0.1)):
        request.contract(system, "float64", "training")
    assert tp.diagram(Sized, m=tp.values([2, 3]), r=tp.linspace(1, 3, 3), steps=64).codes.shape == (2, 3)
    assert tp.diagram("cubic", a=tp.linspace(0, 1e10, 3), steps=64).phases["divergent"] > 0  # beyond integers of 32 bits


def test_starts_near_the_end_of_the_numbers_end_without_a_warning() -> None:
    assert tp.run("quadratic-1d", eps=0.1, z=1e300, T=1e308, steps=400).phase == "divergent"


def test_a_class_with_a_name_of_the_catalogue_is_the_users_own() -> None:
    assert tp.run(Cubic, r=2.0, steps=64).system == "Cubic" and tp.run(tp.systems.Cubic, a=0.5, steps=64).system == "cubic"


def test_a_store_is_of_one_model_whatever_its_name(tmp_path: Path) -> None:
    """The name and the numbers of two models agree; what they compute does not. An equal one finds everything there."""
    asked: Any = {"lr": tp.linspace(0.1, 0.6, 3), "store": tmp_path / "s", "steps": 64}
    first = tp.diagram(tp.descent(problem(net)), **asked)
    assert tp.diagram(tp.descent(problem(lambda p, x: net(p, x))), **asked).evaluations == 0 < first.evaluations
    with pytest.raises(StoreError, match="code_sha256"):
        tp.diagram(tp.descent(problem(line)), **asked)


def test_the_code_of_a_system_is_what_it_computes() -> None:
    class Edited(Logistic):
        def step(self, state: Any) -> Any:
            return self.r * state * (1 - state**2)

    table = np.ones(3)

    class Constant(Logistic):
        def step(self, state: Any) -> Any:
            return self.r * state * (1 - state) * jnp.asarray(table)[0]

    one, other = request.code(Constant()), request.code(Edited())
    table = np.array([1.0, 2.0, 1.0])  # what the operations hold, and no one prints
    codes = [request.code(Logistic()), other, one, request.code(Constant())]
    assert len(set(codes)) == 4 and request.code(Logistic()) == codes[0]
    assert request.code(tp.systems.Cubic()) is None
