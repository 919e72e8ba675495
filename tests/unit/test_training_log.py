"""The reading of recorded runs: on real training of small nets, and on records made to hold one difficulty each."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import labelled_samples as samples
import numpy as np
import pytest
from labelled_cases import Case, sparse
from labelled_runs import Run

from trainphase import training_log
from trainphase.errors import RequestError
from trainphase.theory import thresholds
from trainphase.training_log import series

# --- real training: each number says which run of docs/diagnose-scores.md it is ------------------------------------


SAMPLES = Path(__file__).resolve().parents[1] / "data" / "labelled_runs.npz"


@cache
def trained(name: str) -> Run:
    """A stored run: single-precision loss at every step and sharpness at every fifth; ``samples`` trained it."""
    with np.load(SAMPLES) as stored:
        loss, sharpness, lr = (np.asarray(stored[f"{name}.{k}"], np.float64) for k in ("loss", "sharpness", "lr"))
    return Run(loss, loss, sharpness, 5, 2 / float(lr), float(lr))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(samples.RUNS))
def test_the_stored_runs_are_what_training_gives(name):
    run, stored = samples.RUNS[name](), trained(name)
    # Another compiler rounds otherwise, and a run that diverges or sits at the edge magnifies that: the first steps agree to
    # single precision, 6e-8, grown a hundredfold.
    assert stored.loss[:40] == pytest.approx(run.loss[:40], rel=1e-5, abs=1e-12)
    assert stored.sharpness[:8] == pytest.approx(run.sharpness[:8], rel=1e-5)


def record(run: Run, **more) -> dict:
    steps = np.arange(run.loss.size)
    return {"loss": run.loss, "steps": steps, "sharpness": run.sharpness, "sharpness_steps": steps[:: run.every],
            "threshold": run.threshold, "lr": run.lr} | more  # fmt: skip


def distance(reading: training_log.LogReading) -> training_log.Distance:
    assert reading.distance is not None
    return reading.distance


@pytest.mark.parametrize(("name", "lasts"), [("catapult, 20 steps", 19), ("catapult, 10 steps", 11)])
def test_a_catapult_of_a_few_steps_is_seen(name, lasts):
    run = trained(name)
    reading = training_log.read(**record(run))
    assert (reading.training.phase, reading.phase) == ("catapult", "flat")
    (spike,) = reading.catapults
    above = np.flatnonzero(run.loss > run.loss[spike.start])
    assert (spike.peak, spike.end) == (int(np.argmax(run.loss)), above[-1] + 1)
    assert spike.height == run.loss.max() / run.loss[spike.start]
    assert spike.end == spike.start + lasts
    assert spike.before > 1 > spike.after


def test_an_edge_run_within_one_per_cent():
    reading = training_log.read(**record(trained("edge")))
    where = distance(reading)
    assert reading.phase == "edge-of-stability"
    # What the run shows: it hovers 0.6 % above the edge, with less than 1 % of scatter.
    assert where.mean == pytest.approx(1.004, abs=0.006) and where.scatter < 0.01
    assert reading.largest_lr == pytest.approx(2 / trained("edge").sharpness[-1], rel=1e-12)
    assert where.met is not None and 0 < where.met < 600


def test_a_flow_that_ends_below_the_edge_is_sharpening():
    reading = training_log.read(**record(trained("flow")))
    assert (reading.phase, reading.training.phase) == ("sharpening", "monotonic")
    assert distance(reading).last == pytest.approx(0.82, abs=0.005)  # the step size was chosen so, to three digits
    assert distance(reading).met is None and not reading.spikes


def test_a_run_that_diverges_late():
    run = trained("late")
    bad = int(np.flatnonzero(~np.isfinite(run.loss))[0])
    assert bad > 160
    reading = training_log.read(**record(run))
    assert (reading.phase, reading.training.phase, reading.diverged_at) == ("divergent", "divergent", bad)
    # A log that stops right before the overflow shows a growth that speeds up.
    assert training_log.read(run.loss[:bad]).phase == "divergent"
    assert training_log.read(**record(run, loss=run.loss[:100], steps=np.arange(100))).phase != "divergent"


@pytest.mark.parametrize("minibatch", [None, True])
def test_minibatch_noise_is_no_catapult(minibatch):
    run = trained("sgd")
    reading = training_log.read(**record(run, minibatch=minibatch))
    assert np.max(run.loss / np.minimum.accumulate(run.loss)) > 1.5  # it would be, without regard to noise
    assert reading.catapults == () and reading.phase == "sharpening"
    assert reading.training.phase in ("monotonic", "undecided")
    assert reading.record.noise > 0.05


@pytest.mark.parametrize("every", [10, 50])
def test_sparse_records(every):
    base = Case("", 0, "", None, None, None, record(trained("edge"), minibatch=False))
    assert training_log.read(**sparse(base, every, every).record).phase == "edge-of-stability"
    base = Case("", 0, "", None, None, None, record(trained("catapult, 20 steps"), minibatch=False))
    reading = training_log.read(**sparse(base, every, every).record)
    # Where the spike fell between two records the reading says that it may have, and claims neither.
    assert reading.training.phase in ("catapult", "undecided")
    assert [s.seen for s in reading.spikes] == [reading.training.phase == "catapult"]


def test_too_short_a_record_is_undecided():
    for name in ("catapult, 10 steps", "edge", "flow"):
        full = record(trained(name))
        cut = {k: v[:12] if np.ndim(v) else v for k, v in full.items()}
        cut |= {"sharpness": full["sharpness"][:3], "sharpness_steps": full["sharpness_steps"][:3]}
        reading = training_log.read(**cut)
        assert (reading.phase, reading.training.phase) == ("undecided", "undecided")


# --- maps whose phases are known exactly ---------------------------------------------------------------------------


def product(lr: float, steps: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent on (x y - 1)^2 / 2: loss and lr lambda / 2 at every step."""
    x, y, found = 1.1, 0.8, []
    for _ in range(steps):
        e = x * y - 1
        hessian = np.array([[y * y, 2 * x * y - 1], [2 * x * y - 1, x * x]])
        found.append((e * e / 2, np.linalg.eigvalsh(hessian)[-1] * lr / 2))
        x, y = x - lr * e * y, y - lr * e * x
    loss, ratio = np.array(found).T
    return loss, ratio


@pytest.mark.parametrize(("lr", "label"), [(1.05, "periodic"), (1.2, "periodic"), (1.36, "chaotic"), (1.42, "chaotic")])
def test_cycles_and_chaos(lr, label):
    loss, ratio = product(lr)
    reading = training_log.read(loss, sharpness=ratio, minibatch=False)
    assert (reading.training.phase, reading.phase) == (label, "bounded")


def test_the_zero_one_test_tells_a_circle_from_chaos():
    t = np.arange(500)
    x = [0.3]
    for _ in t[1:]:
        x.append(4 * x[-1] * (1 - x[-1]))
    assert series.zero_one(np.array(x)) > 0.95 and abs(series.zero_one(np.cos(t * np.sqrt(2)))) < 0.3


# --- records made by hand: one difficulty each -----------------------------------------------------------------------

SMOOTH = np.exp(-np.arange(400) / 100.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("tail", [1, 300])
def test_a_loss_that_is_not_finite_is_a_divergence_with_its_step(bad, tail):
    loss = SMOOTH.copy()
    loss[100 : 100 + tail] = bad
    reading = training_log.read(loss, steps=10 * np.arange(400), sharpness=np.full(400, 0.5))
    assert (reading.phase, reading.training.phase, reading.diverged_at) == ("divergent", "divergent", 1000)
    assert ("299 finite values follow" in reading.edge.rule) == (tail == 1)


def test_momentum_that_overshoots_is_no_catapult():
    # Heavy ball on a quadratic far below its threshold: the loss goes up and down, smoothly.
    lr, beta = 0.01, 0.95
    theta, m, loss = np.array([1.0, 1.0]), np.zeros(2), []
    for _ in range(600):
        loss.append(float(np.array([1.0, 8.0]) @ theta**2 / 2))
        m = beta * m + np.array([1.0, 8.0]) * theta
        theta = theta - lr * m
    reading = training_log.read(loss, sharpness=np.full(600, 8.0), threshold=thresholds.polyak(lr, beta), lr=lr)
    assert reading.catapults == () and reading.spikes and {s.cause for s in reading.spikes} == {"other"}
    assert (reading.phase, reading.training.phase) == ("flat", "undecided")
    assert reading.largest_lr == pytest.approx((2 + 2 * beta) / 8.0, rel=1e-12)  # rounding


def test_steps_to_the_edge():
    ratio = np.linspace(0.5, 0.8, 400)
    reading = training_log.read(SMOOTH, sharpness=ratio)
    assert reading.phase == "sharpening"
    # The ratio rises by 0.3 in 399 steps, and 0.2 are missing.
    assert distance(reading).steps_to_edge == pytest.approx(0.2 / 0.3 * 399, rel=0.02)  # windows end at whole steps
    assert reading.edge.margin == pytest.approx(0.9 - np.mean(ratio[-50:]), abs=1e-3)


def test_a_run_that_only_passes_through_the_band_is_undecided():
    assert training_log.read(SMOOTH, sharpness=np.linspace(0.5, 0.96, 400)).phase == "undecided"


def test_a_run_that_leaves_the_edge_is_not_at_it():
    ratio = np.concatenate([np.linspace(0.5, 1, 100), np.full(200, 1.0), np.linspace(1.0, 0.5, 100)])
    assert training_log.read(SMOOTH, sharpness=ratio).phase != "edge-of-stability"


def test_a_run_that_has_only_just_met_the_edge_is_at_it():
    # Its last window is half a rise: what counts is what came after the edge was met.
    ratio = np.concatenate([np.linspace(0.5, 1, 370), 1 + 0.01 * (-1.0) ** np.arange(30)])
    reading = training_log.read(SMOOTH, sharpness=ratio)
    assert reading.phase == "edge-of-stability" and np.isnan(distance(reading).steps_to_edge)


def test_a_run_that_is_about_to_leave_the_edge_is_undecided():
    ratio = np.concatenate([np.linspace(0.5, 1, 100), np.full(220, 1.0), np.linspace(1.0, 0.9, 80)])
    assert training_log.read(SMOOTH, sharpness=ratio).phase == "undecided"


def test_scatter_is_no_trend():
    draws = np.random.default_rng(5).standard_normal((20, 400))
    for noise in draws:
        # Four times a trend of one standard error, 0.008, would pass for a rise by 5 % in one run of four.
        ratio = 0.5 + 0.04 * noise
        ratio[0] = 0.5
        assert training_log.read(SMOOTH, sharpness=ratio).phase == "flat"


def test_three_measurements_in_the_last_quarter_are_too_few():
    at = np.array([0, 50, 100, 150, 200, 250, 310, 350, 390])
    assert training_log.read(SMOOTH, sharpness=np.full(9, 0.5), sharpness_steps=at).phase == "undecided"
    at = np.array([0, 50, 100, 150, 200, 250, 310, 340, 365, 390])
    assert training_log.read(SMOOTH, sharpness=np.full(10, 0.5), sharpness_steps=at).phase == "flat"


@pytest.mark.parametrize(("growth", "label"), [([2.0, 4.0, 8.0], "divergent"), ([4.0, 4.0, 4.0], "undecided")])
def test_a_finite_explosion(growth, label):
    # e^14 above the start and ever faster; at one rate it may still be a catapult, e^12 high.
    loss = np.concatenate([np.ones(40) + 0.01 * np.arange(40), np.exp(np.cumsum(growth))])
    reading = training_log.read(loss, minibatch=False)
    assert (reading.phase, reading.training.phase) == (label, label)


def test_a_run_that_heads_for_the_edge_does_not_converge_yet():
    reading = training_log.read(SMOOTH, sharpness=np.linspace(0.5, 0.89, 400))
    assert (reading.phase, reading.training.phase) == ("sharpening", "undecided")


def test_at_the_edge_only_a_loss_that_is_gone_has_converged():
    ratio = np.minimum(np.linspace(0.5, 1.5, 400), 0.97)
    assert training_log.read(SMOOTH, sharpness=ratio).training.phase == "undecided"
    assert training_log.read(SMOOTH**8, sharpness=ratio).training.phase == "monotonic"  # e^-32 of its start


def test_three_digits_hide_rises():
    loss = np.array([float(f"{v:.3g}") for v in SMOOTH])
    ratio = np.concatenate([np.linspace(0.5, 1.01, 200), np.linspace(1.01, 0.5, 50), np.full(150, 0.5)])
    assert training_log.read(loss, sharpness=ratio).training.phase == "undecided"
    assert training_log.read(loss, sharpness=0.5 * ratio).training.phase == "monotonic"


def test_a_threshold_of_its_own_for_every_measurement():
    lr = np.linspace(0.1, 0.2, 400)
    reading = training_log.read(SMOOTH, sharpness=np.full(400, 5.0), threshold=2 / lr, lr=lr)
    assert distance(reading).last == pytest.approx(0.5) and reading.largest_lr == pytest.approx(0.4)
    assert reading.phase == "sharpening"


def test_failed_and_stale_measurements():
    sharp = np.full(400, 0.5)
    sharp[200:250] = np.nan
    reading = training_log.read(SMOOTH, sharpness=sharp)
    assert reading.record.dropped == 50 and reading.phase == "flat"
    assert training_log.read(SMOOTH, sharpness=np.full(200, 0.5), sharpness_steps=np.arange(200)).phase == "undecided"
    assert training_log.read(SMOOTH).phase == "undecided" and training_log.read(SMOOTH).training.phase == "monotonic"


def test_single_precision_is_not_a_rise():
    noisy = (0.01 + SMOOTH * 1e-9).astype(np.float32) * np.float32(1 + 1e-6)
    noisy[::2] = np.nextafter(noisy[::2], np.float32(1))
    loss = np.concatenate([SMOOTH.astype(np.float32), noisy]).astype(np.float64)
    assert training_log.read(loss, sharpness=np.full(800, 0.5)).training.phase == "monotonic"


def test_nothing_that_moves_is_undecided():
    reading = training_log.read(np.ones(100), sharpness=np.full(100, 0.5))
    assert (reading.phase, reading.training.phase) == ("undecided", "undecided")


def test_a_long_log_is_read_in_seconds():
    draws = np.random.default_rng(0)
    loss = np.exp(-np.arange(200_000) / 1e5) * np.exp(0.3 * draws.standard_normal(200_000))
    start = time.process_time()
    training_log.read(loss, sharpness=np.full(1000, 0.5), sharpness_steps=200 * np.arange(1000))
    training_log.read(loss, minibatch=False)
    # 0.5 s here; a search that starts anew at each of the 10 000 excursions takes minutes.
    assert time.process_time() - start < 20


def test_what_was_decided_is_said():
    reading = training_log.read(SMOOTH, sharpness=np.full(400, 0.5), lr=0.1, gradient_norm=SMOOTH)
    assert {e.name for e in reading.evidence} >= {"ratio", "ratio_mean", "largest_lr", "loss", "gradient"}
    assert all(e.sentence and "\n" not in e.sentence for e in reading.evidence)
    assert reading.edge.rule and reading.training.rule and reading.edge.vocabulary.name == "edge"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"loss": []}, "empty"),
        ({"loss": [1.0, -1.0]}, "negative"),
        ({"loss": [1.0, 0.5], "steps": [3, 2]}, "steps"),
        ({"loss": [1.0, 0.5], "steps": [0, 0.5]}, "steps"),
        ({"loss": [1.0, 0.5], "steps": [0]}, "steps"),
        ({"loss": [1.0, 0.5], "sharpness": [1.0]}, "sharpness_steps"),
        ({"loss": [1.0, 0.5], "sharpness": [1.0, 1.0], "threshold": 0.0}, "threshold"),
        ({"loss": [1.0, 0.5], "sharpness": [1.0, 1.0], "threshold": [1.0, 2.0, 3.0]}, "threshold"),
        ({"loss": [[1.0, 0.5]]}, "loss"),
    ],
)
def test_records_that_do_not_fit_are_refused(arguments, says):
    with pytest.raises(RequestError, match=says):
        training_log.read(**arguments)


def test_a_spike_that_has_not_come_back_is_not_called_a_catapult() -> None:
    loss = np.concatenate([np.exp(-np.arange(20) / 9), np.exp(-19 / 9) * 9.0 ** np.arange(1, 12), [np.nan]])
    found = training_log.read(loss, sharpness=np.full(8, 3.0), sharpness_steps=np.arange(0, 32, 4))
    said = [e.sentence for e in found.evidence if e.name == "spike"]
    assert said and all("for the step size; it has not come back" in sentence for sentence in said)
