"""Maps that a user writes go through run, diagram and boundary and get the labels that are known for them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import searched
from hypothesis import given, settings
from hypothesis import strategies as st

import trainphase as tp
from trainphase.cycles import stable_cycle
from trainphase.phase import TRAINING
from trainphase.survey import MAX_PERIOD, TAIL

# --- maps of a user -------------------------------------------------------------------------------------------


class Affine(tp.Map):
    mult: float
    shift: float = 0.0

    def init(self) -> jax.Array:
        return jnp.asarray(0.7)

    def step(self, state: jax.Array) -> jax.Array:
        return self.mult * (state - self.shift) + self.shift


@pytest.mark.parametrize("mult", [0.5, 0.9, 0.98, 0.99, 0.995, -0.5, -0.99])
def test_a_contraction_is_monotonic(mult: float) -> None:
    """x -> mult x falls to zero at any rate, through numbers far below the rounding of 1."""
    run = tp.run(Affine, mult=mult)
    assert run.phase == "monotonic"
    assert run.summary["period"] == 1 and run.summary["multiplier"] == pytest.approx(mult)


@pytest.mark.parametrize("mult", [1.01, -1.01, 3.0])
def test_an_expansion_is_divergent(mult: float) -> None:
    assert tp.run(Affine, mult=mult).phase == "divergent"


class OneNumber(Affine):
    def init(self) -> jax.Array:
        return jnp.array([0.7])


@pytest.mark.parametrize(("mult", "phase"), [(0.5, "monotonic"), (3.0, "divergent")])
def test_an_array_of_one_number_is_a_state_too(mult: float, phase: str) -> None:
    assert tp.run(OneNumber, mult=mult, steps=512).phase == phase


@settings(max_examples=20)
@given(st.floats(0.1, 0.9), st.floats(-3, 3).filter(lambda s: abs(s) > 1e-3))
def test_an_affine_contraction_finds_its_fixed_point(mult: float, shift: float) -> None:
    """Any place: the run settles on the fixed point, with the multiplier as its margin."""
    run = tp.run(Affine, mult=mult, shift=shift)
    assert run.summary["period"] == 1
    assert run.summary["multiplier"] == pytest.approx(mult, rel=1e-12)
    assert run.reading.margin == pytest.approx(1 - mult, rel=1e-12)


class Logistic(tp.Map):
    r: float

    def init(self) -> jax.Array:
        return jnp.asarray(0.3)

    def step(self, state: jax.Array) -> jax.Array:
        return self.r * state * (1 - state)


class LogisticOverStarts(Logistic):
    def interval(self) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(0.0), jnp.asarray(1.0)


ONSET = 3.5699456718709449  # Feigenbaum's accumulation point of the logistic map (OEIS A098587)
KINDS = [Logistic, LogisticOverStarts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("r", "phase", "period"),
    [(0.5, "monotonic", 1), (2.8, "catapult", 1), (3.2, "periodic", 2), (3.5, "periodic", 4), (3.83, "periodic", 3),
     (3.9, "chaotic", np.nan), (4.01, "divergent", np.nan)],
)  # fmt: skip
def test_phases_of_the_logistic_map(kind: type[tp.Map], r: float, phase: str, period: float) -> None:
    run = tp.run(kind, r=r)
    assert run.phase == phase
    np.testing.assert_equal(run.summary["period"], period)


def test_the_lyapunov_exponent_of_the_logistic_map_at_4_is_ln_2() -> None:
    run = tp.run(LogisticOverStarts, r=4.0, steps=32768)
    assert run.phase == "chaotic"
    assert abs(run.summary["lyapunov"] - np.log(2)) < 4 * run.summary["lyapunov_se"]


@pytest.mark.parametrize("kind", KINDS)
def test_boundaries_of_the_logistic_map(kind: type[tp.Map]) -> None:
    result = searched.along(kind, r=(2.9, 3.6), points=50, steps=32768)
    assert [c.between for c in result.crossings] == [("catapult", "periodic"), ("periodic", "chaotic")]
    assert abs(result.crossings[0].at - 3) < 1e-9
    assert abs(result.crossings[1].at - ONSET) < 2e-5
    assert all(c.theory is None for c in result.crossings)


@pytest.mark.parametrize("kind", KINDS)
def test_doublings_of_the_logistic_map(kind: type[tp.Map]) -> None:
    result = searched.along(kind, r=(2.9, 3.55), of="period", points=32, steps=8192)
    at = {c.between: c.at for c in result.crossings}
    assert list(at) == [("1", "2"), ("2", "4"), ("4", "8")]
    assert abs(at["1", "2"] - 3) < 1e-9
    assert abs(at["2", "4"] - (1 + np.sqrt(6))) < 1e-9
    assert abs(at["4", "8"] - 3.5440903595519229) < 1e-9  # OEIS A086181


@pytest.mark.parametrize("system", [LogisticOverStarts, Logistic(2.0)])
def test_a_diagram_of_the_logistic_map(system: Any, tmp_path: Any) -> None:
    diagram = tp.diagram(system, r=tp.linspace(2.81, 4.01, 61), steps=2048, store=tmp_path / "d")
    r = diagram.axes[0].values
    labels = np.array(TRAINING.labels)[diagram.codes]
    assert set(labels[r < 2.99]) == {"catapult"} and set(labels[(r > 3.01) & (r < 3.569)]) == {"periodic"}
    assert set(labels[(r > 3.571) & (r <= 4)]) <= {"chaotic", "periodic", "undecided"}
    assert labels[-1] == "divergent"
    assert diagram.theory == [], "theory of the cubic map is not drawn over another map"


class Henon(tp.Map):
    a: float
    b: float = 0.3

    def init(self) -> jax.Array:
        return jnp.array([0.1, 0.1])

    def step(self, state: jax.Array) -> jax.Array:
        return jnp.stack([1 - self.a * state[0] ** 2 + state[1], self.b * state[0]])


def test_the_henon_map_at_1_4() -> None:
    run = tp.run(Henon, a=1.4, steps=65536)
    assert run.phase == "chaotic" and np.isnan(run.summary["period"])
    # 0.41922 at the classical parameters, e.g. Sprott, Chaos and Time-Series Analysis (2003), appendix A.
    assert abs(run.summary["lyapunov"] - 0.41922) < 4 * run.summary["lyapunov_se"]
    assert run.summary["lyapunov_se"] < 0.01


@pytest.mark.parametrize(("a", "period"), [(0.3, 1), (0.5, 2), (0.9, 2), (1.0, 4), (1.04, 8)])
def test_cycles_of_the_henon_map(a: float, period: int) -> None:
    """Fixed point up to a = 3 (1 - b)^2 / 4 = 0.3675, then doublings at 0.9125, 1.026, 1.051."""
    run = tp.run(Henon, a=a, steps=8192)
    assert run.summary["period"] == period
    assert run.phase == ("periodic" if period > 1 else "catapult")
    assert run.summary["lyapunov"] < 0


def test_the_henon_map_escapes_at_1_5() -> None:
    assert tp.run(Henon, a=1.5).phase == "divergent"


FLIP = 0.3675  # 3 (1 - b)^2 / 4


@pytest.fixture(scope="module")
def henon(tmp_path_factory: pytest.TempPathFactory) -> tp.Diagram:
    a = FLIP - np.geomspace(1e-6, 1e-3, 16)
    store = tmp_path_factory.mktemp("henon") / "d"
    return tp.diagram(Henon, a=tp.values(a.tolist()), steps=16384, store=store)


def test_next_to_its_flip_the_henon_map_is_not_given_a_cycle_it_does_not_have(henon: tp.Diagram) -> None:
    """Below the flip the only attractor is the fixed point, however slowly it is approached."""
    assert set(henon.phases) <= {"catapult", "undecided"}


def test_a_users_parameter_named_a_meets_no_theory_of_the_cubic_map(henon: tp.Diagram) -> None:
    wide = tp.diagram(Henon, a=tp.linspace(0.2, 1.4, 16), steps=512, store=f"{henon.store}-wide")
    assert wide.theory == []


def test_the_cycle_of_a_run_is_the_same_whatever_runs_are_beside_it() -> None:
    """Many lanes are judged one candidate period at a time, few lanes several: the bytes are the same."""
    r = np.linspace(2.8, 4.0, 300)
    x = np.full(r.size, 0.3)
    tails = np.empty((r.size, TAIL))
    for k in range(-2000, TAIL):
        tails[:, max(k, 0)] = x
        x = r * x * (1 - x)
    repeats = [np.abs(tails[:, -16:] - tails[:, -16 - p : TAIL - p]).max(1) for p in range(1, MAX_PERIOD + 1)]

    def found(some: slice) -> dict[str, np.ndarray]:
        values: Any = r[some]
        lanes, recurrence = Logistic(values), np.stack(repeats, 1)[some]
        return stable_cycle(lanes, np.full(len(recurrence), 0.3), tails[some], recurrence, np.ones(len(recurrence), bool), ("r",))

    whole = found(slice(None))
    assert {1, 2, 3, 4, 5} < set(whole["period"].tolist())
    for size in (50, 3):
        parts = [found(slice(k, k + size)) for k in range(0, 300, size * 5)]
        for name, values in whole.items():
            want = np.concatenate([values[k : k + size] for k in range(0, 300, size * 5)])
            assert np.array_equal(np.concatenate([part[name] for part in parts]), want, equal_nan=True)
