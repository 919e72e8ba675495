"""March: what a run returns is its own affair, and what a plain loop over the stored trajectory says it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainphase import march
from trainphase._arrays import as_leaves, precision
from trainphase.phase import EDGE, NOT_COMPUTED
from trainphase.records import Recipe, answer, with_values
from trainphase.system import Map
from trainphase.systems import LinearNet, Quadratic1D, _parts
from trainphase.systems.quadratic import Quadratic, quadratic

Arrays = dict[str, np.ndarray]
STEPS = 800


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with precision("float64"):
        yield


def go(system: Any, values: Arrays, steps: int = STEPS, dtype: str = "float64") -> Arrays:
    with precision(dtype):
        ready, batched = with_values(system, values, dtype)
        return march.march(ready, batched, len(next(iter(values.values()))), steps)


def rows(got: Arrays, index: Any) -> Arrays:
    return {k: v if v.ndim == 0 else v[index] for k, v in got.items()}


def same(one: Arrays, two: Arrays) -> None:
    """Bit for bit."""
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def alike(one: Arrays, two: Arrays) -> None:
    """To rounding: the batch may be continued at another width, which may round its sums in another order.

    None of the starts used here is chaotic, so that errors stay near rounding; runs on their way out are left aside.
    """
    assert one.keys() == two.keys()
    for name in ("status", "run_steps", "horizon"):
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    calm = one["status"] != march.ESCAPED
    for name in ("curvature", "curvature_mean", "curvature_start", "motion_max", "motion"):
        np.testing.assert_allclose(one[name][calm], two[name][calm], rtol=1e-9, atol=1e-30, err_msg=name)


def starts(n: int, rng: np.random.Generator) -> Arrays:
    """Starts of the D = 1 model of every kind: settling at once and slowly, escaping, outside the cone."""
    return {"z": rng.uniform(-1.5, 1.5, n), "T": rng.uniform(0, 4, n)}


@pytest.fixture
def batch(rng: np.random.Generator) -> tuple[Quadratic1D, Arrays]:
    return Quadratic1D(eps=0.05), starts(150, rng)


# --- a run is its own affair --------------------------------------------------------------------------------


def test_the_sample_has_every_kind_of_end(batch: tuple[Quadratic1D, Arrays]) -> None:
    status = go(*batch)["status"]
    assert {int(k) for k in status} == {-1, march.SETTLED, march.ESCAPED, march.HORIZON}
    assert np.bincount(status + 1).min() == 0, "no run is left under way"


def test_order_does_not_matter(batch: tuple[Quadratic1D, Arrays], rng: np.random.Generator) -> None:
    system, values = batch
    order = rng.permutation(150)
    alike(rows(go(system, values), order), go(system, {k: v[order] for k, v in values.items()}))


def test_the_same_batch_gives_the_same_bits(batch: tuple[Quadratic1D, Arrays]) -> None:
    same(go(*batch), go(*batch))


@pytest.mark.parametrize("width", [1, 7, 64])
def test_the_number_of_lanes_does_not_matter(
    width: int, batch: tuple[Quadratic1D, Arrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    system, values = batch
    values = {k: v[:40] for k, v in values.items()}
    whole = go(system, values)
    monkeypatch.setattr(Quadratic1D, "lanes", width)
    alike(go(system, values), whole)


def test_how_often_the_host_looks_does_not_matter(batch: tuple[Quadratic1D, Arrays], monkeypatch: pytest.MonkeyPatch) -> None:
    system, values = batch
    monkeypatch.setattr(Quadratic1D, "lanes", 32)
    whole = go(system, values)
    # An eighth of the lanes; every end; all of them.
    for idle in (1e-9, 0.9):
        monkeypatch.setattr(march, "IDLE", idle)
        alike(go(system, values), whole)


def test_neighbours_do_not_matter(batch: tuple[Quadratic1D, Arrays], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run among runs that overflow, hold NaN, or do not exist is the run among its like."""
    system, values = batch
    good = np.flatnonzero(go(system, values)["status"] == march.SETTLED)[:8]
    # As many lanes, so that the program is the same.
    quiet = rows(go(system, {k: np.repeat(v[good], 2) for k, v in values.items()}), slice(None, None, 2))
    for z, T in ((3.0, 1e8), (1e150, 1e300), (5.0, 0.0), (np.nan, 1.0)):
        among = {"z": np.full(16, z), "T": np.full(16, T)}
        among["z"][::2], among["T"][::2] = values["z"][good], values["T"][good]
        system_, batched = Quadratic1D(eps=np.float64(0.05), E=np.float64(0.0)), ("T", "z")
        ready = march.with_rows(as_leaves(system_, "float64"), batched, [among["T"], among["z"]], np.arange(16))
        got = march.march(ready, batched, 16, STEPS)
        alike(rows(got, slice(None, None, 2)), quiet)
        assert not np.any(np.isin(got["status"][1::2], (march.SETTLED, march.HORIZON)))


def test_on_matrix_products_batches_agree_to_rounding(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The order of summation of a product depends on its shape; away from chaos the difference stays rounding."""
    system = quadratic(5, 10, seed=1)
    n = 24
    values = {"sigma_z": rng.uniform(0.02, 0.3, n), "sigma_J": rng.uniform(0.2, 0.5, n)}
    whole = go(system, values)
    order = rng.permutation(n)
    mixed = rows(go(system, {k: v[order] for k, v in values.items()}), np.argsort(order))
    monkeypatch.setattr(Quadratic, "lanes", 5)
    narrow = go(system, values)
    # Tiles: when nothing waits, runs stand by until a lane of a full tile is free.
    monkeypatch.setattr(Quadratic, "lanes", 16)
    monkeypatch.setattr(Quadratic, "tile", 4)
    tiles = go(system, values)
    for other in (mixed, narrow, tiles):
        np.testing.assert_array_equal(other["status"], whole["status"])
        np.testing.assert_array_equal(other["run_steps"], whole["run_steps"])
        # Converging runs forget rounding; those at the edge multiply it by t, here 800.
        np.testing.assert_allclose(other["curvature"], whole["curvature"], rtol=1e-10)
        np.testing.assert_allclose(other["curvature_mean"], whole["curvature_mean"], rtol=1e-10)


def test_many_runs_take_wider_tiles_and_q_in_parts(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """In single precision, two tiles at once: steps contract Q part by part, looks go through the halves of a tile."""
    system, n = quadratic(8, 6, seed=1), 20
    values = {"sigma_z": rng.uniform(0.02, 0.2, n), "sigma_J": rng.uniform(0.2, 0.4, n)}
    monkeypatch.setattr(Quadratic, "lanes", 16)
    monkeypatch.setattr(Quadratic, "tile", 4)
    want = go(system, values, 400, "float32")
    taken = []
    monkeypatch.setattr(_parts, "PART", 4 * 8 * 6 * 6 // 2)
    monkeypatch.setattr(Quadratic, "many", n)
    of_parts, module = _parts.contracted, sys.modules[Quadratic.__module__]
    monkeypatch.setattr(module, "contracted", lambda parts, *rest: taken.append(len(parts)) or of_parts(parts, *rest))
    got = go(system, values, 400, "float32")
    assert taken and set(taken) == {2}
    np.testing.assert_array_equal(got["status"], want["status"])
    # A step rounds by some ten eps; the runs are regular and do not magnify that: 400 steps, 3e-4 at most. Found: 3e-7.
    for name in ("curvature", "curvature_mean", "loss_max", "motion_max"):
        np.testing.assert_allclose(got[name], want[name], rtol=3e-4, err_msg=name)
    # In double precision, and of few runs, tiles are as they were.
    for dtype, points, wide in (("float64", n, False), ("float32", n - 1, False), ("float32", n, True)):
        with precision(dtype):
            ready = jax.tree.map(jnp.asarray, as_leaves(system, dtype)).ready()
            assert (ready.tile_of(points) == 8) == wide, (dtype, points)


# --- against a loop that stores everything ------------------------------------------------------------------


@jax.jit
def _trajectory(system: Any) -> Any:
    def one(state: Any, _: Any) -> Any:
        new = system.step(state)
        move = jnp.stack([jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(state), strict=True)]).sum()
        return new, (move, system.loss(state), system.curvature(state), system.escaped(state))

    return jax.lax.scan(one, system.init(), None, length=STEPS + 1)[1]


def plain(system: Any, settled: float) -> dict[str, Any]:
    """What march should return, by the definitions in its docstring."""
    move, loss, curvature, gone = (np.asarray(v) for v in _trajectory(as_leaves(system, "float64")))
    block, window = march.BLOCK, STEPS // march.WINDOWS
    status, end = march.HORIZON, STEPS
    for t in range(block, STEPS + 1, block):
        if gone[t]:
            status, end = march.ESCAPED, t
            break
        quiet = np.max(move[t - block : t]) <= settled * np.max(move[:t])
        # A step that grows is no rest, however small.
        growing = t > block and np.max(move[t - block : t]) > np.max(move[t - 2 * block : t - block])
        if quiet and not growing and t < STEPS:
            status, end = march.SETTLED, t
            break
    pieces = [slice(k * window, min((k + 1) * window, end)) for k in range(march.WINDOWS)]
    looks = [curvature[p][:: march.STEPS_PER_LOOK] for p in pieces]
    seen = loss[:end]
    above = seen[1:] > march.FLOOR * np.maximum.accumulate(seen)[:-1]
    ratios = np.where(above, seen[1:], 0.0) / np.where(seen[:-1] > 0, seen[:-1], 1.0)
    return {
        "status": np.asarray(status), "run_steps": np.asarray(end),
        "motion": np.array([np.max(move[p], initial=0.0) for p in pieces]),
        "curvature_mean": np.array([v.mean() if v.size else np.nan for v in looks]),
        "curvature_top": np.array([np.max(v, initial=0.0) for v in looks]),
        "motion_max": np.max(move[:end]), "loss_max": np.max(seen),
        "rises": np.sum(above & (seen[1:] > seen[:-1] * (1 + march.RISE))),
        "max_ratio": np.max(ratios, initial=0.0),
        "curvature_start": curvature[0], "curvature": curvature[end], "loss": loss[end],
    }  # fmt: skip


KINDS: dict[str, tuple[Any, dict[str, float]]] = {
    "settles at once": (Quadratic1D(eps=0.17), {"z": 0.3, "T": 0.8}),
    "settles": (Quadratic1D(eps=0.17), {"z": -0.4, "T": 1.0}),
    "catapult": (Quadratic1D(eps=0.17), {"z": 0.2, "T": 2.9}),
    "edge": (Quadratic1D(eps=0.005), {"z": 0.05, "T": 2.2}),
    "escapes": (Quadratic1D(eps=0.17), {"z": -0.9, "T": 3.8}),
    "cycles": (LinearNet(y=1.3), {"z": 0.1, "T": 3.0}),
    "does not move": (Quadratic1D(eps=0.17), {"z": 0.0, "T": 1.0}),
}


def alone(kind: str) -> dict[str, Any]:
    """One of KINDS by the plain loop."""
    base, start = KINDS[kind]
    kept = {f: getattr(base, f) for f in ("eps", "y") if hasattr(base, f)}
    return plain(type(base)(**kept, **start), type(base).settled)


ON_THE_WAY_OUT = ("motion", "motion_max", "max_ratio", "loss_max", "curvature_mean", "curvature_top", "curvature", "loss",
                  "rises")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_against_a_plain_loop(kind: str) -> None:
    base, start = KINDS[kind]
    want = alone(kind)
    got = rows(go(base, {k: np.array([v]) for k, v in start.items()}), 0)
    assert int(got["status"]) == int(want["status"])
    assert int(got["run_steps"]) == int(want["run_steps"])
    assert int(got["horizon"]) == STEPS
    for name in want:
        if kind == "escapes" and name in ON_THE_WAY_OUT:
            continue  # numbers on the way to infinity
        # Regular orbits: the same arithmetic, compiled in another program; errors grow at most like t at the edge.
        np.testing.assert_allclose(got[name], want[name], rtol=1e-9, atol=1e-30, err_msg=name)


def test_kinds_are_what_they_are_called() -> None:
    status = {kind: int(alone(kind)["status"]) for kind in KINDS}
    assert status["escapes"] == march.ESCAPED
    assert status["edge"] == status["cycles"] == march.HORIZON
    assert status["settles at once"] == status["settles"] == status["catapult"] == march.SETTLED


def test_many_data_against_a_plain_loop() -> None:
    """The curvature is tracked by power iteration: from below, and closely once the top mode has been found."""
    system = quadratic(20, 40, 0.35, 0.3, seed=2)
    want = plain(system, 0.0)
    got = rows(go(system, {"sigma_z": np.array([0.35]), "sigma_J": np.array([0.3])}), 0)
    for name in ("curvature_start", "motion_max", "loss_max"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-9)
    np.testing.assert_allclose(got["motion"], want["motion"], rtol=1e-8)
    assert got["status"] == march.HORIZON, "the run uses all windows"
    short = 1 - got["curvature_mean"] / want["curvature_mean"]
    # A Rayleigh quotient is at most the eigenvalue (rounding: 1e-12). This run goes back and forth over the edge and its
    # top mode turns; once it is found, in the first eighth, what is missed is small beside the edge's width of 0.2. (Of
    # runs that wander far beyond the edge, sigma_z = 0.45, some per cent are missed: measured 1 to 7.)
    assert np.all(short > -1e-12)
    assert np.all(short[2:] < 0.01), short
    assert np.all(got["curvature_top"] <= want["curvature_top"] * (1 + 1e-12))
    assert got["curvature"] == pytest.approx(want["curvature"], rel=1e-9), "at the end it is exact"


# --- ends ---------------------------------------------------------------------------------------------------


def test_steps_are_multiples_of_25_up_to_the_horizon(batch: tuple[Quadratic1D, Arrays]) -> None:
    unit = march.BLOCK * march.WINDOWS
    for steps in (1, unit, unit + 1):
        got = go(*batch, steps=steps)
        assert got["horizon"] == march.rounded_steps(steps) == unit * -(-steps // unit)
        ran = got["status"] >= 0
        taken = got["run_steps"][ran]
        assert np.all(taken % 25 == 0) and np.all(taken >= 25) and np.all(taken <= got["horizon"])
        assert np.all((taken == got["horizon"]) | (got["status"][ran] != march.HORIZON))
        assert np.all(np.isnan(got["run_steps"][~ran]))


def test_a_longer_horizon_changes_no_run_that_has_ended(batch: tuple[Quadratic1D, Arrays]) -> None:
    short, long = go(*batch, steps=400), go(*batch, steps=1600)
    ended = np.isin(short["status"], (march.SETTLED, march.ESCAPED))
    assert 50 < ended.sum() < 150
    for name in ("status", "run_steps", "curvature", "loss", "motion_max", "rises", "max_ratio", "curvature_start"):
        np.testing.assert_array_equal(short[name][ended], long[name][ended], err_msg=name)


def test_points_without_a_run_are_left_out() -> None:
    system = Quadratic1D(eps=0.1)
    values = {"z": np.array([1.0, 0.1, 1.4]), "T": np.array([0.5, 1.0, 0.0])}
    got = go(system, values)
    np.testing.assert_array_equal(got["status"], [-1, march.SETTLED, -1])
    for name, value in got.items():
        if name not in ("status", "horizon"):
            assert np.all(np.isnan(value[[0, 2]])), name
            assert np.isfinite(np.ravel(value[1])[0]), name
    none = go(system, {k: v[[0, 2]] for k, v in values.items()})
    assert np.all(none["status"] == -1) and none["horizon"] == STEPS and none.keys() == got.keys()
    record = answer(Recipe(Quadratic1D, {}, STEPS, vocabulary="edge"), system, values)
    np.testing.assert_array_equal(record["phase"] == NOT_COMPUTED, [True, False, True])
    np.testing.assert_array_equal(record["phase_half"], record["phase"])
    assert np.all(np.isnan(record["curvature"][[0, 2]]))


def test_a_run_that_does_not_move_has_no_phase() -> None:
    values = {"z": np.zeros(3), "T": np.array([0.0, 1.0, 3.0])}
    record = answer(Recipe(Quadratic1D, {}, STEPS, vocabulary="edge"), Quadratic1D(), values)
    assert np.all(record["phase"] == EDGE.undecided) and np.all(record["rule"] == 5)


class Counter(Map):
    """A user's map with a state of two leaves and no field to batch: z is halved, and steps are counted down to 0.6."""

    vocabularies = ("edge",)

    def init(self) -> Any:
        return {"z": jnp.ones(3), "pace": jnp.ones(())}

    def step(self, state: Any) -> Any:
        return {"z": 0.5 * state["z"], "pace": 0.6 + 0.9 * (state["pace"] - 0.6)}

    def residual(self, state: Any) -> jax.Array:
        return state["z"]

    def curvature(self, state: Any) -> jax.Array:
        return state["pace"]


def test_a_users_map() -> None:
    record = {k: v[0] for k, v in answer(Recipe(Counter, {}, 1000, vocabulary="edge"), Counter(), {}).items()}
    assert EDGE.label(record["phase"]) == "flat" and record["settled"] == 1
    # The pace's steps are 0.04 0.9^t against the first move's sqrt(3) / 2: a ratio of 1e-8
    # after ln(2.2e-7) / ln 0.9 = 146 steps, and one whole block of 25 later.
    assert record["run_steps"] == 175
    assert record["curvature"] == pytest.approx(0.6 + 0.4 * 0.9**175, abs=1e-12)
    assert record["loss"] == pytest.approx(1.5 * 0.25**175, rel=1e-9)


# --- single precision ---------------------------------------------------------------------------------------


def test_in_single_precision_the_labels_are_those_of_double(rng: np.random.Generator) -> None:
    values = starts(120, rng)
    system = Quadratic1D(eps=0.1)
    one, two = (
        answer(Recipe(Quadratic1D, {}, STEPS, dtype=dtype, vocabulary="edge"), system, values) for dtype in ("float32", "float64")
    )
    # Regular orbits; a label could differ within 1e-4 of a threshold only, and no start of these is.
    assert np.min(two["margin"][(two["rule"] == 1) | (two["rule"] == 2)]) > 1e-4
    np.testing.assert_array_equal(one["phase"], two["phase"])
    settled = two["rule"] == 1
    np.testing.assert_allclose(one["curvature"][settled], two["curvature"][settled], rtol=1e-4)


@pytest.mark.parametrize("coordinates", ["modes", "plane", "parameters"])
def test_in_single_precision_the_edge_is_the_edge_in_all_coordinates(coordinates: str) -> None:
    """In parameters the residual is a difference of large numbers: steps stop shrinking at 1e-7 of the parameters."""
    from trainphase.systems.quadratic_1d import quadratic_1d

    if coordinates == "plane":
        system = quadratic_1d(eps=0.1, z=-0.4, T=1.2, coordinates="plane")
    else:
        system = quadratic_1d(theta="1.0,-4.32", eigenvalues="1,-0.1", lr=1.2, coordinates=coordinates)
    record = answer(Recipe(type(system), {}, 4000, dtype="float32", vocabulary="edge"), system, {})
    assert EDGE.label(record["phase"][0]) == "edge-of-stability"
