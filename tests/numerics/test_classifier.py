"""The classifier of the ``training`` vocabulary: laws of the function itself, and what it says of maps of a user.

The user's maps below are written the way the README tells: fields, ``init``, ``step``, nothing else.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import trainphase as tp
from trainphase._arrays import precision
from trainphase.classifiers import RULES, read, training
from trainphase.evidence import gather
from trainphase.phase import TRAINING, VOCABULARIES
from trainphase.records import Recipe, answer, with_values
from trainphase.systems import Cubic, LinearNet, phase_retrieval
from trainphase.testing import check_classifier
from trainphase.theory import cubic

LABELS = np.array(TRAINING.labels)

# --- laws of the function -----------------------------------------------------------------------------------

ANY = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")]),
)
KEYS = (
    "escaped", "max_ratio", "lyapunov", "lyapunov_se", "growth_steps", "loss", "loss_half", "loss_max", "cycle",
    "multiplier", "repeat", "repeat_distance", "curvature", "curvature_half", "late_rises", "scalar",
    "repeats", "approach",
)  # fmt: skip
EVIDENCE = st.fixed_dictionaries({}, optional={k: ANY for k in KEYS})

# Numbers that a survey can produce.
PLAUSIBLE = st.fixed_dictionaries({
    "escaped": st.booleans(), "max_ratio": st.floats(0, 1e6), "lyapunov": st.floats(-50, 5),
    "lyapunov_se": st.floats(1e-17, 1), "growth_steps": st.sampled_from([256.0, 4096.0]), "loss": st.floats(0, 10),
    "loss_half": st.floats(0, 10), "loss_max": st.floats(1e-3, 10), "cycle": st.sampled_from([0, 1, 2, 3, 64]),
    "multiplier": st.floats(-1.5, 1.5), "repeat": st.sampled_from([0, 1, 2, 64]), "repeat_distance": st.floats(0, 10),
    "curvature": st.floats(0, 10), "curvature_half": st.floats(0, 10), "late_rises": st.sampled_from([0, 1, 100]),
    "scalar": st.booleans(), "repeats": st.booleans(), "approach": st.sampled_from([0, 2, 64]),
})  # fmt: skip


@given(EVIDENCE)
def test_total_every_evidence_has_a_label(evidence: dict[str, float]) -> None:
    codes, _, rule = training(evidence)
    assert codes.dtype == np.uint8 and codes.shape == ()
    assert 0 <= int(codes) < len(LABELS)
    assert 0 <= int(rule) < len(RULES)
    assert read(TRAINING, evidence).phase == LABELS[int(codes)]
    # The last rule is the one that decides nothing, and no other leaves a run undecided.
    assert (int(codes) == TRAINING.undecided) == (int(rule) == len(RULES) - 1)


@given(PLAUSIBLE)
def test_a_decision_has_a_margin_that_is_not_negative(evidence: dict[str, float]) -> None:
    evidence = dict(evidence)
    # The survey gives a repeat together with a distance below the threshold.
    distance = evidence["repeat_distance"]
    evidence["repeat_distance"] = 1e-8 * distance if evidence["repeat"] else 1e-7 + distance
    codes, margin, _ = training(evidence)
    if int(codes) != TRAINING.undecided:
        assert float(margin) >= 0
    assert not np.isnan(margin)


@cache
def surveyed() -> dict[str, dict[str, np.ndarray]]:
    """The evidence of runs of the cubic map at half of the horizon and at the whole of it, arrays of shape (runs,)."""
    a = np.r_[np.linspace(0.05, 1.2, 40), 2.1]
    with precision("float64"):
        ready, batched = with_values(Cubic(1.0), {"a": a}, "float64")
        got = gather(ready, batched, a.size, 2048, 1)
    return {when: {k: v[:, 0] for k, v in reading.items() if v.ndim == 2} for when, reading in got.items()}


def test_the_contract_on_real_runs() -> None:
    """Total, pure, each run by itself; and no label is taken back below the onset of chaos."""
    half, full = surveyed()["half"], surveyed()["full"]
    assert check_classifier(TRAINING, training, examples=[half, full], longer=[(half, full)], rules=RULES) is TRAINING
    seen = set(LABELS[training(full)[0]])
    assert {"monotonic", "catapult", "periodic", "divergent"} <= seen
    # It would be noticed: the same runs in another order.
    with pytest.raises(AssertionError, match="after a longer run"):
        check_classifier(TRAINING, training, longer=[(half, {k: v[::-1] for k, v in full.items()})])


def test_columns_broadcast() -> None:
    evidence = {"escaped": np.zeros((3, 1)), "lyapunov": np.ones(4), "growth_steps": 100.0, "lyapunov_se": 0.1}
    codes, margin, rule = training(evidence)
    assert codes.shape == margin.shape == rule.shape == (3, 4)


FALLING = {"loss": 0.1, "loss_half": 0.2, "loss_max": 1.0}


@pytest.mark.parametrize(
    ("evidence", "label"),
    [
        ({}, "undecided"),
        ({"escaped": True, "cycle": 1, "multiplier": 0.0, "scalar": 1}, "divergent"),
        ({"cycle": 1, "multiplier": 0.5, "scalar": 1, "max_ratio": 0.9}, "monotonic"),
        ({"cycle": 1, "multiplier": -0.5, "scalar": 1, "max_ratio": 1.1}, "catapult"),
        ({"cycle": 2, "multiplier": 0.5, "scalar": 1}, "periodic"),
        ({"cycle": 2, "multiplier": 1.5, "scalar": 1}, "undecided"),
        ({"repeat": 4, "repeat_distance": 1e-9}, "periodic"),
        ({"repeat": 1, "repeat_distance": 1e-9}, "monotonic"),
        ({"loss": 1e-20, "loss_max": 1.0}, "monotonic"),
        ({"loss": 1e-20, "loss_max": 1.0, "max_ratio": 3.0}, "catapult"),
        ({"lyapunov": 0.5, "lyapunov_se": 0.01, "growth_steps": 1000}, "chaotic"),
        ({"lyapunov": 0.5, "lyapunov_se": 0.2, "growth_steps": 1000}, "undecided"),
        ({"lyapunov": 1e-4, "lyapunov_se": 1e-6, "growth_steps": 1000}, "undecided"),
        ({"lyapunov": float("nan"), "lyapunov_se": 0.0, "growth_steps": 1000}, "undecided"),
        (FALLING | {"late_rises": 0, "curvature": 1.0, "curvature_half": 1.1}, "monotonic"),
        (FALLING | {"late_rises": 0, "curvature": 1.9, "curvature_half": 1.8}, "undecided"),
        (FALLING | {"late_rises": 1, "curvature": 1.0, "curvature_half": 1.0}, "undecided"),
        ({"loss": 0.3, "loss_half": 0.2, "late_rises": 0, "curvature": 1.0, "curvature_half": 1.0}, "undecided"),
    ],
)  # fmt: skip
def test_the_rules_in_words(evidence: dict[str, Any], label: str) -> None:
    assert read(TRAINING, evidence).phase == label


codes_ = arrays(np.uint8, st.integers(1, 9), elements=st.integers(0, TRAINING.undecided))


@given(codes_, st.randoms(use_true_random=False))
def test_worst_is_a_lattice_join(codes: np.ndarray, random: Any) -> None:
    worst = int(TRAINING.worst(codes))
    assert worst in codes
    assert int(TRAINING.worst(np.array([worst, worst]))) == worst
    assert int(TRAINING.worst(np.append(codes, worst))) == worst
    shuffled = list(codes)
    random.shuffle(shuffled)
    assert int(TRAINING.worst(np.array(shuffled))) == worst
    k = random.randrange(1, len(codes) + 1)
    parts = [TRAINING.worst(codes[:k])] + ([TRAINING.worst(codes[k:])] if k < len(codes) else [])
    assert int(TRAINING.worst(np.array(parts))) == worst


def test_worst_in_words() -> None:
    i = TRAINING.index
    assert TRAINING.worst(np.array([i("monotonic"), i("catapult")])) == i("catapult")
    assert TRAINING.worst(np.array([i("chaotic"), i("undecided")])) == i("undecided")
    assert TRAINING.worst(np.array([i("divergent"), i("undecided")])) == i("divergent")
    assert TRAINING.worst(np.array([[0, 1], [2, 0]]), axis=0).tolist() == [2, 1]


def test_vocabularies_end_in_undecided_and_name_each_label_once() -> None:
    for v in VOCABULARIES.values():
        assert v.labels[-1] == "undecided" and len(set(v.labels)) == len(v.labels)
        assert [v.index(name) for name in v.labels] == list(range(len(v.labels)))
    with pytest.raises(tp.RequestError):
        TRAINING.index("lukewarm")


# --- the cubic map ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def survey() -> dict[str, np.ndarray]:
    """2 000 random a in order and the records there."""
    return {k: v[:-7] for k, v in everything().items()}


BESIDE = [cubic.A_CATAPULT - 1e-8, cubic.A_CATAPULT + 1e-8, 1 - 1e-8, 1 + 1e-8, 2 - 1e-8, 2 + 1e-8]


@cache
def everything() -> dict[str, np.ndarray]:
    """One survey for all tests of the map: random a, points beside boundaries, and a = 1."""
    a = np.concatenate([np.sort(np.random.default_rng(11).uniform(0.02, 2.2, 2000)), BESIDE, [1.0]])
    return {"a": a} | answer(Recipe(Cubic, {}, 4096, 4, samples=0), Cubic(1.0), {"a": a})


def test_labels_are_those_of_the_theory(survey: dict[str, np.ndarray]) -> None:
    want, got = cubic.phases(survey["a"]), LABELS[survey["phase"]]
    window = (want == "chaotic") & (got == "periodic")
    right = (got == want) | window | (got == "undecided")
    assert np.all(right), list(zip(survey["a"][~right], got[~right], want[~right], strict=True))[:5]
    # Horizons decide nearly everywhere, and windows are a small part of the chaotic range.
    assert np.mean(got == "undecided") < 0.005
    assert 0.03 < np.sum(window) / np.sum(want == "chaotic") < 0.2


def test_periods_are_those_of_the_theory(survey: dict[str, np.ndarray]) -> None:
    regular = survey["a"] < cubic.A_ACCUMULATION
    want = cubic.period(survey["a"][regular])
    assert np.all((survey["period"][regular] == want) | (survey["phase"][regular] == TRAINING.undecided))


def test_labels_do_not_change_when_the_horizon_doubles(survey: dict[str, np.ndarray]) -> None:
    """A label decided at half the horizon is the label at the full one, at a distance of 1e-3 from a boundary.

    In the chaotic range windows are dense, so no distance keeps from all of them: a run may leave a chaotic transient
    for the stable cycle of a narrow window late. That is allowed at 5 in 1000 points there (2 in 1000 seen in a sample
    ten times as large), and only from chaotic to periodic.
    """
    a, half, full = survey["a"], survey["phase_half"], survey["phase"]
    far = np.min(np.abs(a[:, None] - [b.a for b in cubic.PHASE_BOUNDARIES]), axis=1) > 1e-3
    flips = far & (half != TRAINING.undecided) & (half != full)
    chaos = (a > cubic.A_ACCUMULATION) & (a < cubic.A_DIVERGENT)
    assert not np.any(flips & ~chaos)
    assert np.sum(flips & chaos) <= 0.005 * np.sum(chaos)
    assert np.all(half[flips] == TRAINING.index("chaotic"))


def test_near_boundaries_the_multiplier_decides_and_not_the_horizon() -> None:
    """1e-8 beside a = 1 convergence takes 1e8 steps; the label is there after 4096."""
    labels = LABELS[everything()["phase"][-7:-1]]
    assert labels.tolist() == ["monotonic", "catapult", "catapult", "periodic", "chaotic", "divergent"]


def test_at_the_edge_exactly_nothing_is_decided() -> None:
    """At a = 1 the multiplier is -1: no horizon and no double tell the catapult from the 2-cycle."""
    assert LABELS[everything()["phase"][-1]] == "undecided"
    assert tp.run("cubic", a=1.0, z0=0.3, steps=65536).phase == "undecided"


@pytest.mark.parametrize("steps", [8192, 131072])
def test_a_run_that_closes_in_on_zero_is_on_no_cycle(steps: int) -> None:
    """From z0 the state is z itself, and its fixed point 0: how near the run is shows only beside where it began."""
    beside = np.array([1e-4, 1e-5, 1e-6, 1e-7])
    a = np.concatenate([[1e-4, 1e-3], 1 - beside, 1 + beside])
    got = answer(Recipe(Cubic, {"z0": 0.5}, steps, 1, samples=0), Cubic(1.0, 0.5), {"a": a})
    assert LABELS[got["phase"]].tolist() == ["monotonic"] * 2 + ["catapult"] * 4 + ["periodic"] * 4
    assert got["period"].tolist() == [1] * 6 + [2] * 4
    # The multiplier of z = 0 is 1 - 2 a, exactly but for the rounding of the product.
    np.testing.assert_allclose(got["multiplier"][:6], 1 - 2 * a[:6], rtol=1e-12)


def test_on_an_unstable_fixed_point_a_run_is_not_chaotic() -> None:
    """z0 = -a stays there for ever: one point, no chaos, whatever the growth of a tangent vector."""
    run = tp.run("cubic", a=1.1, z0=-1.1)
    assert np.ptp(run.observables["residual"]) == 0
    assert run.phase != "chaotic"


@pytest.mark.parametrize("z0", [1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("a", [0.3, 0.45, 0.6])
def test_rounding_is_no_catapult(a: float, z0: float) -> None:
    """From a small start the loss falls by (1 - 2a)^2 a step until rounding; below that, rises mean nothing."""
    assert tp.run("cubic", a=a, z0=z0, steps=2048).phase == "monotonic"


# --- the linear net -------------------------------------------------------------------------------------------


def test_two_numbers_must_repeat_for_as_long_as_any_vector() -> None:
    """No Newton's method confirms the cycle of a pair, so 64 points of the tail must repeat, not the 16 of a scalar map."""
    with precision("float64"):
        ready, _ = with_values(LinearNet(T=3.5, z=0.07, y=1.47), {}, "float64")
        full = gather(ready, (), 1, 512, 1)["full"]
    tail = full["tail"][0, 0, :, 0]
    apart = [np.max(np.abs(tail[64 + p : 128 + p] - tail[64:128])) for p in range(1, 65)]
    np.testing.assert_array_equal(full["recurrence"][0, 0], apart)


# --- regression -----------------------------------------------------------------------------------------------


def leading(a: np.ndarray, **more: Any) -> np.ndarray:
    """Labels over all starts on the leading mode; always 16 values, so that one program serves."""
    kw: dict[str, Any] = {"n": 3, "d": 5, "start": "leading"} | more
    return LABELS[answer(Recipe(phase_retrieval, kw, 8192, 2), phase_retrieval(**kw), {"a": a})["phase"]]


def test_a_cycle_is_recognised_while_slow_samples_still_converge() -> None:
    """At 512 steps the samples of smallest a (1e-3) have hardly moved; the leading one has settled on its cycle."""
    a = np.array([0.6, 0.95, 1.1, 1.2, 1.25, 1.29])
    got = answer(Recipe(phase_retrieval, {}, 512, 1), phase_retrieval(a=1.0), {"a": a})
    # From one random start nothing need be thrown up, so below the edge monotonic is right too.
    assert set(LABELS[got["phase"][:2]]) <= {"monotonic", "catapult"}
    assert list(LABELS[got["phase"][2:]]) == ["periodic"] * 4
    assert list(got["period"][2:]) == [2, 2, 4, 8]
    assert (got["phase"] == got["phase_half"]).all()


def test_slow_convergence_is_not_taken_for_a_cycle() -> None:
    """Next to a = 1 a run of gradient descent alternates while it converges; it is a catapult or not decided yet."""
    a = 1 - np.geomspace(1e-5, 3e-3, 16)
    labels = leading(a)
    assert set(labels) <= {"catapult", "undecided"}, dict(zip(a, labels, strict=True))


@pytest.mark.parametrize("teacher", ["normal", "equal"])
def test_the_phase_over_leading_starts_is_that_of_a(teacher: str) -> None:
    """With equal targets every mode is leading; the phase over all starts on it is still that of the common a."""
    a = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5, 1.9, 2.05, 2.1])
    assert leading(a, teacher=teacher).tolist() == cubic.phases(a).tolist()


FIXED_LR: dict[str, Any] = {"lr": 0.2}
FIXED_A: dict[str, Any] = {"a": 0.7}
TWO = [
    pytest.param(FIXED_LR, "gamma", [0.5, 1.0], id="gamma shapes the teacher"),
    pytest.param(FIXED_LR, "c", [0.5, 1.0], id="c shapes the teacher"),
    pytest.param(FIXED_A, "scale", [0.25, 1.0], id="a is kept along scale"),
    pytest.param(FIXED_A, "noise", [0.0, 0.02], id="a is kept along noise"),
]


@pytest.mark.parametrize(("fixed", "name", "at"), TWO)
def test_a_point_of_a_diagram_is_the_run_with_those_parameters(
    fixed: dict[str, Any], name: str, at: list[float], tmp_path: Any
) -> None:
    """Whichever parameter is the axis. The curvature stands for the whole record: it needs data, targets and weights."""
    common: dict[str, Any] = {"n": 3, "d": 5, "seed": 3, "init_scale": 0.1, "steps": 512}
    ((key, value),) = [(k, v) for k, v in fixed.items() if k in ("a", "lr")]
    data = tp.diagram("phase-retrieval", **fixed, **{name: tp.values(at)}, **common, store=tmp_path / "d").dataset
    for i, x in enumerate(at):
        # The same point on an axis of step sizes, which are no part of the data.
        line = fixed | {key: tp.values([value, 1.01 * value]), name: x}
        other = tp.diagram("phase-retrieval", **line, **common, store=tmp_path / f"l{i}").dataset
        assert np.isfinite(other["curvature"][0])
        assert float(data["curvature"][i]) == pytest.approx(float(other["curvature"][0]), rel=1e-6)
