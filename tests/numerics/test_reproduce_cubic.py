"""Chen et al.: what the claims measure, on cases with a known answer, and the cheap items as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray
from reproduced import context

from trainphase.phase import TRAINING
from trainphase.reproduce.chen import averaging, cubic_map, phases
from trainphase.reproduce.claims import Verdict, check
from trainphase.reproduce.context import Context
from trainphase.theory import cubic


def verdicts(figure: Any, made: Context) -> list[Verdict]:
    """Verdicts on our own value where there is one."""
    return [(r.expected or r.paper).verdict for r in (check(claim, made) for claim in figure.claims)]  # pyright: ignore


def test_training_is_the_map(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cubic_map, "LEVELS", (1.2,))
    made = context(cubic_map.MAP, tmp_path)
    assert verdicts(cubic_map.MAP, made) == [Verdict.AGREE] * 2
    wrong = {name: data.assign(map=data["map"] + 1e-6) for name, data in made.data().items()}
    assert verdicts(cubic_map.MAP, context(cubic_map.MAP, tmp_path, wrong)) == [Verdict.DIFFER] * 2


def diagram(a: np.ndarray, labels: list[str], **more: Any) -> xarray.Dataset:
    """A diagram with given phases."""
    codes = np.array([TRAINING.index(label) for label in labels], np.uint8)
    return xarray.Dataset({"phase": ("a", codes), **more}, {"a": a}, {"vocabulary": "training"})


GRID = np.array([0.6, 0.7, 0.9, 1.1, 1.25, 1.4, 1.9, 2.1])


def test_phases_that_the_map_has_and_others(tmp_path) -> None:
    right = [str(p) for p in cubic.phases(GRID)]
    assert cubic_map.order_of(diagram(GRID, right)) == cubic_map.ORDER
    zero = ("a", np.zeros(GRID.size))
    for wrong, expected in ((None, 0), (2, 1), (5, 0)):  # a label within the chaotic range may be a window's
        labels = list(right) if wrong is None else [*right[:wrong], "periodic", *right[wrong + 1 :]]
        data = {name: diagram(GRID, labels, lyapunov=zero, curvature=zero) for name in ("phase_retrieval", "quadratic_net")}
        made = context(phases.ORTHOGONAL, tmp_path, data)
        assert phases._elsewhere(made, phases.NET).value == expected
        assert phases._manifest(made, phases.NET).value == 5 - (wrong == 2)


def test_where_monotonic_ends(tmp_path) -> None:
    labels = ["monotonic", "monotonic", "catapult", "catapult", "periodic", "chaotic", "chaotic", "divergent"]
    made = context(phases.GENERAL, tmp_path, {"quadratic_net": diagram(GRID, labels)})
    assert phases._edge(made, phases.NET).value == pytest.approx(0.8)  # between 0.7 and 0.9
    assert phases.ranges(diagram(GRID, labels)).startswith("monotonic 0.60 to 0.70, catapult 0.90 to 1.10, periodic 1.25,")
    never = context(phases.GENERAL, tmp_path, {"quadratic_net": diagram(GRID, ["divergent"] * 8)})
    assert phases._edge(never, phases.NET).value is None


def test_boundaries_need_one_crossing(tmp_path) -> None:
    b = cubic.PHASE_BOUNDARIES[0]
    name = "monotonic/catapult"
    for at, verdict in ((b.a, Verdict.AGREE), (b.a + 1e-7, Verdict.DIFFER)):
        data = {"phase": xarray.Dataset({"at": ("between", [at]), "width": ("between", [1e-10])}, {"between": [name]})}
        assert check(cubic_map.BOUNDARIES.claims[0], context(cubic_map.BOUNDARIES, tmp_path, data)).comparison.verdict == verdict
    twice = {"phase": data["phase"].isel(between=[0, 0])}
    assert (
        check(cubic_map.BOUNDARIES.claims[0], context(cubic_map.BOUNDARIES, tmp_path, twice)).comparison.verdict == "not-testable"
    )


def test_exponents(tmp_path) -> None:
    values = np.array([np.log(0.9), 0.5 * np.log(2 * 2.2**2 - 9), 0.4914, -0.435, np.log(3)])

    def found(exponents: np.ndarray) -> list[Verdict]:
        parts = {"lyapunov": ("a", exponents), "lyapunov_se": ("a", np.full(5, 1e-4)), "period": ("a", [1, 2, np.nan, 6, np.nan])}
        data = xarray.Dataset(parts, {"a": list(cubic_map.POINTS)})
        return verdicts(cubic_map.LYAPUNOV, context(cubic_map.LYAPUNOV, tmp_path, data))

    assert found(values) == [Verdict.AGREE] * 6
    assert found(-values) == [Verdict.DIFFER] * 6


def losses(test: np.ndarray, averaged: np.ndarray) -> xarray.Dataset:
    """A data set of three equal step sizes and one seed."""
    dims = ("lr", "seed", "time")
    shown = {"test": test, "averaged": averaged, "loss": test}
    variables: dict[str, Any] = {name: (dims, np.broadcast_to(v, (3, 1, v.size))) for name, v in shown.items()}
    return xarray.Dataset(variables, {"lr": list(averaging.RATES)})


def test_averaging_is_stable_or_not(tmp_path) -> None:
    t = np.arange(401)
    swing = 2.0 + (-1.0) ** t
    # The last one ends above the mean of the single losses, 2.
    cases = ((np.full(t.size, 1.5), True, True), (swing, False, False), (1.9 + 0.4 * (-1.0) ** t, True, False))
    for averaged, stable, smaller in cases:
        made = context(averaging.FIGURES[0], tmp_path, losses(swing, averaged))
        assert averaging._stabler(made, 1).value is stable
        assert averaging._gain(made, 1).value is smaller
    gone = context(averaging.FIGURES[0], tmp_path, losses(np.where(t > 50, np.nan, swing), swing))
    assert averaging._stabler(gone, 0).value is None
    assert averaging._bounded(gone, 0).value is False


def test_the_spread_of_a_is_that_of_the_teacher(tmp_path, rng) -> None:
    m, noise = 400, averaging.NOISE
    teacher = rng.chisquare(m, (3, 80)) / np.sqrt(m) + noise * rng.standard_normal((3, 80))
    for scale, agrees in ((1.0, True), (2.0, False)):
        # Only samples differ: their mean is kept and the spread around it scaled.
        a = np.mean(teacher) + scale * (teacher - np.mean(teacher))
        data = xarray.Dataset({"a": (("lr", "seed", "sample"), a[None])}, attrs={"m": m, "noise": noise})
        found = averaging._spread(context(averaging.FIGURES[0], tmp_path, data))
        assert (abs(found.value - 1) < 4 * found.error) is agrees  # chance 1 in 16 000


def test_a_short_run_of_the_net() -> None:
    found = averaging.one(48.0, 25, 8, 0)
    assert found["loss"].shape == (9,) and found["a"].shape == (80,)
    # Before half of the run nothing is averaged; the first average is of one prediction, that of the step before.
    assert np.isnan(found["averaged"][:5]).all()
    np.testing.assert_allclose(found["averaged"][5], found["test"][4], rtol=1e-12)  # rounding of a sum of one term


def test_the_figures_are_drawn() -> None:
    t = np.arange(41)
    page = averaging.draw(losses(1 + (t % 2.0), np.where(t > 20, 1.5, np.nan)))
    assert [ax.get_title() for ax in page.axes] == ["step size 36", "step size 48", "step size 60"]
    assert len(page.axes[0].lines) == 3
    labels = [str(p) for p in cubic.phases(GRID)]
    page = phases.draw({"phase_retrieval": diagram(GRID, labels), "quadratic_net": diagram(GRID, labels)})
    assert [ax.get_title(loc="left") for ax in page.axes] == ["phase retrieval", "quadratic net"]
    assert len(page.axes[0].lines) == 4  # the boundaries
