"""The quadratic net with d = 100 and n = 80 at step sizes 36, 48 and 60: test error, of single and of averaged predictions.

Targets are those of a teacher of the same shape, y = (1/(sqrt(m) d)) sum_j (x.u_j)^2 + noise, all weights standard normal; rows
of X are orthogonal, of length sqrt(d). With it a sample has a = (2 lr / n) (y / sqrt(m)), which is about 0.9, 1.2 and 1.5 at
the three step sizes: catapult, periodic and chaotic, the phases that are neither monotonic nor divergent. The number of hidden
units and the size of the noise are our choice: a varies between samples by sqrt(2/m), so that a narrow net has samples of
several phases.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.chen.cubic_map import ABSTRACT, TRUTH, claim, figure
from trainphase.reproduce.claims import Measured, absolute, exact, relative, standard_errors, untestable
from trainphase.theory import cubic

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

RATES = (36.0, 48.0, 60.0)
MIDDLE = (0.9, 1.2, 1.5)
SIZES: dict[str, Any] = {"d": 100, "n": 80, "n_test": 256, "data": "orthogonal"}
NOISE = 0.5
FIRST = 1.05  # size of the start beside the teacher's weights


def compute(context: Context) -> xarray.Dataset:
    """Training and test losses of runs, dims (lr, seed, time), and the parameter a of every sample (lr, seed, sample).

    ``averaged`` is the test loss of predictions that are averaged from half of the run on.
    """
    import xarray

    m, steps, seeds = context.pick(400, 1600), context.pick(600, 4000), context.pick(3, 10)
    names = ("loss", "test", "averaged")
    series: dict[str, list[list[np.ndarray]]] = {name: [] for name in names}
    levels = []
    context.progress.start(len(RATES) * seeds, 0)
    for lr in RATES:
        rows = []
        for seed in context.seeds(seeds):
            rows.append(one(lr, m, steps, seed))
            context.progress.advance(1)
        for name in names:
            series[name].append([row[name] for row in rows])
        levels.append([row["a"] for row in rows])
    dims = ("lr", "seed", "time")
    variables: dict[str, Any] = {name: (dims, np.array(series[name]), {"units": "target units squared"}) for name in names}
    variables["a"] = (("lr", "seed", "sample"), np.array(levels))
    return xarray.Dataset(variables, {"lr": list(RATES)}, {"m": m, "steps": steps, "noise": NOISE, **SIZES})


def one(lr: float, m: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """A run: losses at every step, NaN once it has escaped, and a of its samples."""
    from trainphase import overlay
    from trainphase._arrays import as_leaves, precision
    from trainphase.evolve import series
    from trainphase.observables import LOSS, TEST_LOSS
    from trainphase.systems.quadratic_net import quadratic_net

    system = quadratic_net(lr=lr, m=m, noise=NOISE, init_scale=FIRST, seed=seed, **SIZES)
    with precision("float64"):
        ready = as_leaves(system, "float64")
        _, values, _, _ = series(ready, ready.init(), steps, (LOSS, TEST_LOSS))
    a = np.asarray(overlay.report(system)["a"])
    return {"loss": values["loss"], "test": values["test_loss"], "averaged": values["averaged_test_loss"], "a": a}


def draw(data: xarray.Dataset) -> Any:
    """Test losses of single and averaged predictions against the step, one panel for each step size."""
    from trainphase.figures import averaging

    return averaging.page(data)


def _middle(context: Context, k: int) -> Measured:
    """The median a of the samples, over all seeds, and its standard error over seeds."""
    a = context.data()["a"].values[k]
    each = np.median(a, axis=1)
    note = f"samples from {a.min():.3f} to {a.max():.3f}; m = {context.data().attrs['m']}, {each.size} seeds"
    return Measured(float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size)), note)


def _spread(context: Context) -> Measured:
    """The standard deviation of a over the samples of a seed, over its mean and what m units and the noise leave; over seeds.

    y is a mean of m squares plus noise, so that its variance over the square of its mean is (2 + noise^2) / m.
    """
    data = context.data()
    a = data["a"].values[0]
    left = np.sqrt((2 + data.attrs["noise"] ** 2) / data.attrs["m"])
    each = a.std(1, ddof=1) / a.mean(1) / left
    # Of n Gaussian numbers the standard deviation is known to 1/sqrt(2 n).
    return Measured(each.mean(), 1 / np.sqrt(2 * a.size), f"{each.size} seeds of {a.shape[1]} samples; the spread is {left:.3f}")


ESCAPE = 60  # steps


def _gaussian(context: Context) -> Measured:
    """How many step sizes are on another side of divergence than a = 2, a by the kernel at the teacher's weights."""
    from trainphase._arrays import as_leaves, precision
    from trainphase.evolve import series
    from trainphase.observables import LOSS
    from trainphase.systems.quadratic_net import quadratic_net

    words, wrong = [], 0
    for lr in RATES:
        more: dict[str, Any] = {**SIZES, "data": "gaussian", "seed": context.seed}
        system = quadratic_net(lr=lr, m=400, noise=NOISE, init_scale=FIRST, **more)
        with precision("float64"):
            ready = as_leaves(system, "float64")
            loss = series(ready, ready.init(), ESCAPE, (LOSS,))[1]["loss"]
            a = 0.5 * lr * float(np.linalg.eigvalsh(np.asarray(ready.kernel(ready.solution())))[-1])
        gone = not np.isfinite(loss[-1])
        wrong += gone != (a > cubic.A_DIVERGENT)
        words.append(f"{a:.2f} at {lr:g}{' diverges' if gone else ''}")
    return Measured(wrong, note=f"a is {', '.join(words)}; rows of length sqrt(d), {ESCAPE} steps")


def _phase(context: Context, k: int) -> Measured:
    """The phase that the map has at the median a, and the share of samples that share it."""
    a = context.data()["a"].values[k]
    phase = cubic.phase(float(np.median(a)))
    return Measured(phase, note=f"{100 * np.mean(cubic.phases(a) == phase):.0f} % of the samples are in it by their own a")


def _bounded(context: Context, k: int) -> Measured:
    """Whether no run diverges and the training loss rises in every one."""
    loss = context.data()["loss"].values[k]
    fine = bool(np.isfinite(loss).all())
    rises = (np.diff(loss, axis=1) > 1e-9 * loss[:, :1]).sum(1)
    return Measured(fine and bool((rises > 0).all()), note=f"steps at which the loss rises: {', '.join(map(str, rises))}")


def spreads(data: xarray.Dataset, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations over the last quarter of the run of the test losses, single and averaged, shape (seed,)."""
    last = data.sizes["time"] // 4
    test, averaged = (data[name].values[k][:, -last:] for name in ("test", "averaged"))
    return test.std(1), averaged.std(1)


def _stabler(context: Context, k: int) -> Measured:
    """The ratio of the fluctuations of the averaged to those of the single test loss is below 1/2 with every seed."""
    single, mean = spreads(context.data(), k)
    if not np.isfinite(single).all():
        return untestable("a run diverges")
    words = ", ".join(f"{b:.2g} for {a:.2g}" for a, b in zip(single, mean, strict=True))
    return Measured(bool((mean < 0.5 * single).all()), note=f"standard deviations, averaged for single, by seed: {words}")


def _gain(context: Context, k: int) -> Measured:
    """The test loss of the averaged predictions over the mean of the single ones, median over seeds."""
    data = context.data()
    half = data.sizes["time"] // 2
    single, mean = data["test"].values[k][:, half:-1].mean(1), data["averaged"].values[k][:, -1]
    ratio = mean / single
    note = f"single {np.median(single):.4g}, averaged {np.median(mean):.4g}, over seeds {ratio.min():.3f} to {ratio.max():.3f}"
    return Measured(bool((ratio <= 1 + 1e-12).all()), note=note)


def _converging(context: Context) -> Measured:
    """Whether averaging at 48 and 60 gets below the test loss at 36, where the run goes nearest to a solution."""
    data = context.data()
    ends = [float(np.median(data["averaged"].values[k][:, -1])) for k in range(len(RATES))]
    single = float(np.median(data["test"].values[0][:, data.sizes["time"] // 2 :]))
    words = ", ".join(f"{v:.3g} at {lr:g}" for v, lr in zip(ends, RATES, strict=True))
    return Measured(bool(min(ends[1:]) < single), note=f"averaged {words}; single predictions at 36 {single:.3g}")


CLAIMS = (
    *(
        claim("step sizes 36, 48, 60", f"Median a of the samples at step size {lr:g}.", None,
              relative(0.05, "a seed's median varies by 1 %; other readings of the scaling give 0.72, 0.96 and 1.2"),
              partial(_middle, k=k), expected=MIDDLE[k])
        for k, lr in enumerate(RATES)
    ),
    claim("step sizes 36, 48, 60", "Spread of a over the samples, over its mean and sqrt((2 + noise^2)/m).", None,
          standard_errors(3, "chance, 1 in 370; the error is that of a standard deviation of so many samples"), _spread,
          expected=1.0),
    claim("step sizes 36, 48, 60", "On Gaussian data the three diverge exactly where a of the kernel is above 2: exceptions.",
          None, absolute(0.0, "a count; the three have a = 1.6, 2.1 and 2.7"), _gaussian, expected=0.0),
    *(
        claim("step sizes 36, 48, 60", f"Phase of the map at that a, step size {lr:g}.", None, exact("a name"),
              partial(_phase, k=k), expected=cubic.phase(MIDDLE[k]))
        for k, lr in enumerate(RATES)
    ),
    *(
        claim(ABSTRACT, f"At step size {lr:g} training is neither monotonic nor divergent, with every seed.", True, TRUTH,
              partial(_bounded, k=k))
        for k, lr in enumerate(RATES)
    ),
    *(
        claim(ABSTRACT, f"At {lr:g} the test loss of averaged predictions fluctuates less than half as much.", True, TRUTH,
              partial(_stabler, k=k))
        for k, lr in enumerate(RATES)
    ),
    *(
        claim(ABSTRACT, f"At step size {lr:g} averaged predictions have no larger a test loss than single ones on average.", None,
              exact("the square is convex"), partial(_gain, k=k), expected=True)
        for k, lr in enumerate(RATES)
    ),
    claim("step sizes 36, 48, 60", f"With noise {NOISE:g}, averaging at 48 or 60 beats single predictions at 36.", None,
          TRUTH, _converging, expected=False),
)  # fmt: skip

FIGURES = (
    figure(
        "averaging", "test loss of the quadratic net at step sizes 36, 48 and 60, single and averaged predictions", compute, draw,
        CLAIMS, seconds_quick=15, seconds_full=700,
    ),
)  # fmt: skip
