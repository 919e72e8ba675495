"""The labelled cases: which net, which step size, and what makes the label true. See ``labelled_runs`` for the training.

A case is kept only when the conditions of its label hold on the run itself, on its continuation to five times the length, or
on the gradient flow; a builder tries step sizes in a fixed order and takes the first that qualifies. The classifier under
test has no part in this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from labelled_runs import Recipe, Run, Task, deep_linear, digits, linear, product, train, wide_net

from trainphase.theory import thresholds

STEPS = 1200
# Steps between measurements in the nets' records.
APART = 5


@dataclass(frozen=True)
class Case:
    """A record as a user would have it, and the truth about it; None where the construction does not say."""

    family: str
    seed: int
    view: str
    edge: str | None
    training: str | None
    catapult: bool | None
    record: dict[str, Any]


def _case(seed: int, run: Run, edge: str | None, training: str | None, catapult: bool | None) -> Case:
    steps = np.arange(run.loss.size)
    record = {
        "loss": run.loss,
        "steps": steps,
        "sharpness": run.sharpness,
        "sharpness_steps": steps[:: run.every],
        "threshold": run.threshold,
        "lr": run.lr,
    }
    return Case("", seed, "every step", edge, training, catapult, record)


def sparse(case: Case, loss_every: int, sharpness_every: int) -> Case:
    """The same run recorded less often; where only spikes between records tell two labels apart, both are right."""
    r = case.record
    keep, kept = r["steps"] % loss_every == 0, r["sharpness_steps"] % sharpness_every == 0
    thin = {"loss": r["loss"][keep], "steps": r["steps"][keep]}
    thin |= {"sharpness": r["sharpness"][kept], "sharpness_steps": r["sharpness_steps"][kept]}
    return replace(
        case, view=f"loss every {'step' if loss_every == 1 else loss_every}, sharpness every {sharpness_every}", record=r | thin
    )


def printed(case: Case, digits: int = 4) -> Case:
    """The same record as a log prints it, with four digits."""
    rounded = {k: np.array([float(f"{v:.{digits}g}") for v in case.record[k]]) for k in ("loss", "sharpness")}
    return replace(case, view=f"printed, {digits} digits", record=case.record | rounded)


def told(case: Case) -> Case:
    """The same record, with the word whether each loss is that of a minibatch."""
    return replace(case, view=f"{case.view}, told", record=case.record | {"minibatch": case.family.startswith("SGD")})


def short(case: Case, steps: int) -> Case:
    """The first steps only: nothing is known yet, unless the loss is not finite already."""
    r = case.record
    keep, kept = r["steps"] < steps, r["sharpness_steps"] < steps
    thin = {"loss": r["loss"][keep], "steps": r["steps"][keep]}
    thin |= {"sharpness": r["sharpness"][kept], "sharpness_steps": r["sharpness_steps"][kept]}
    label = "undecided" if np.all(np.isfinite(thin["loss"])) else "divergent"
    return replace(case, view=f"first {steps} steps", edge=label, training=label, catapult=None, record=r | thin)


# --- what the truth is read from ------------------------------------------------------------------------------


def _goes_on(task: Task, run: Run, recipe: Recipe, factor: int = 4) -> Run:
    return train(task, run.lr, factor * run.loss.size, recipe, every=20, state=run.state, seed=7)


def _finite(*runs: Run) -> bool:
    return all(bool(np.all(np.isfinite(r.loss)) and np.all(np.isfinite(r.sharpness))) for r in runs)


def _rises(loss: np.ndarray, start: float) -> np.ndarray:
    return np.flatnonzero(np.diff(loss) > 1e-9 * loss[:-1] + 1e-12 * start)


def _trained(run: Run, later: Run) -> str:
    """The label of ``training`` of a full-batch run, from all its steps and those of its continuation."""
    before, after = _rises(run.full_loss, run.loss[0]), _rises(later.full_loss, run.loss[0])
    if after.size and after[-1] > later.loss.size // 2:
        return "undecided"
    return "catapult" if before.size or after.size else "monotonic"


def _flow(task: Task, time: float) -> Run:
    """Gradient descent with a step a twentieth of the stable one stands for the flow, over a time (steps times step size)."""
    peak = float(train(task, 0.01, 400, every=20).sharpness.max())
    lr = 0.1 / peak
    return train(task, lr, max(int(np.ceil(time / lr / 400)) * 400, 400), every=20)


def _height(loss: np.ndarray, upto: int) -> float:
    low = np.minimum.accumulate(loss[:upto])
    return float(np.max(loss[:upto] / low))


def _limit(recipe: Recipe) -> float:
    """The threshold at lr = 1."""
    return float(thresholds.threshold(recipe.optimiser, 1.0, recipe.beta))


# --- builders: each yields at most one case a seed ------------------------------------------------------------


def flow_like(seed: int, task: Task, end: float = 0.82, recipe: Recipe = Recipe()) -> Iterable[Case]:  # noqa: B008
    """The run follows the flow, and ends below its edge: sharpening. The step size is such that it ends at ``end``."""
    lr = end * _limit(recipe) / float(_flow(task, 60.0).sharpness[-1])
    for _ in range(3):
        run = train(task, lr, STEPS, recipe, every=20)
        if not _finite(run):
            return
        lr *= end / run.ratio[-1]
    run = train(task, lr, STEPS, recipe, every=APART)
    flow = _flow(task, lr * STEPS)
    later = _goes_on(task, run, recipe)
    near = abs(run.sharpness[-1] / flow.sharpness[-1] - 1) < 0.06 or recipe.beta > 0
    if _finite(run, later) and near and abs(run.ratio[-1] - end) < 0.04 and run.ratio[-1] > 1.1 * run.ratio[0]:
        yield _case(
            seed, run, "sharpening", _trained(run, later) if recipe.beta == 0 else None, None if run.ratio.max() >= 1 else False
        )


def at_the_edge(
    seed: int,
    task: Task,
    factors: tuple[float, ...] = (2.0, 1.6, 1.3),
    recipe: Recipe = Recipe(),  # noqa: B008
) -> Iterable[Case]:
    """The flow would go far beyond the edge, and the run stays there over its continuation too: edge-of-stability."""
    flow = _flow(task, 60.0)
    for factor in factors:
        run = train(task, factor * _limit(recipe) / float(flow.sharpness.max()), STEPS, recipe, every=APART)
        if not _finite(run):
            continue
        later = _goes_on(task, run, recipe)
        tail = np.array_split(np.concatenate([run.ratio[-run.ratio.size // 4 :: 4], later.ratio]), 4)
        means = [float(np.mean(t)) for t in tail]
        if _finite(later) and np.all(np.abs(np.array(means) - 1) < 0.05):
            yield _case(seed, run, "edge-of-stability", _trained(run, later) if recipe.beta == 0 else None, None)
            return


def adaptive(seed: int, task: Task, recipe: Recipe, rates: tuple[float, ...]) -> Iterable[Case]:
    """Adam or RMSProp whose preconditioned sharpness stays at the threshold over the continuation: edge-of-stability."""
    for lr in rates:
        run = train(task, lr, STEPS, recipe, every=APART)
        later = _goes_on(task, run, recipe, 2)
        means = [float(np.mean(t)) for t in (run.ratio[-run.ratio.size // 4 :], *np.array_split(later.ratio, 3))]
        if _finite(run, later) and np.all(np.abs(np.array(means) - 1) < 0.07):
            yield _case(seed, run, "edge-of-stability", None, None)
            return


def early_adaptive(seed: int, task: Task, recipe: Recipe, lr: float) -> Iterable[Case]:
    """The same with a step so small that the preconditioned curvature, once the second moments are there, is far below."""
    run = train(task, lr, STEPS, recipe, every=APART)
    if _finite(run) and np.all(run.ratio[run.ratio.size // 2 :] < 0.8) and not _rises(run.full_loss, run.loss[0]).size:
        yield _case(seed, run, None, None, False)


def catapult(seed: int, task: Task, beyond: tuple[float, ...], edge: str | None = "flat") -> Iterable[Case]:
    """The start is beyond the edge, the loss spikes at once, and what follows converges in the continuation as well."""
    first = float(train(task, 1e-3, 20).sharpness[0])
    for factor in beyond:
        run = train(task, factor * 2 / first, STEPS, every=APART)
        if not _finite(run) or _height(run.loss, 100) < 1.3:
            continue
        later = _goes_on(task, run, Recipe())
        if not _finite(later):
            continue
        ends = float(np.mean(run.ratio[-run.ratio.size // 4 :])), float(np.mean(later.ratio))
        edges = edge == "edge-of-stability" and max(abs(e - 1) for e in ends) < 0.05 and later.ratio.max() > 0.99
        if edges or (edge == "flat" and max(ends) < 0.9 and max(ends) < run.ratio[0]):
            yield _case(seed, run, edge, _trained(run, later), True)
            return


def divergent(seed: int, task: Task, factors: tuple[float, ...], lowest: int, highest: int) -> Iterable[Case]:
    """The loss overflows, for the first time between two steps."""
    first = float(train(task, 1e-3, 20).sharpness[0])
    for factor in factors:
        run = train(task, factor * 2 / first, STEPS, every=APART)
        bad = np.flatnonzero(~np.isfinite(run.loss))
        if bad.size and lowest <= bad[0] < highest:
            yield _case(seed, run, "divergent", "divergent", None)
            return


def sharpens_out(seed: int, factors: tuple[float, ...] = (1.3, 1.35, 1.4, 1.45, 1.5, 1.25), depth: int = 4) -> Iterable[Case]:
    """A deep linear net whose every minimum lies beyond the edge: it starts far below, sharpens, and overflows after step 160.

    The least sharpness of a minimum is depth s^(2 - 2/depth) for the largest singular value s = 3 of the target.
    """
    least = depth * 3 ** (2 - 2 / depth)
    for scale in (0.5, 0.35):
        for factor in factors:
            run = train(deep_linear(seed, depth=depth, scale=scale), factor * 2 / least, STEPS, every=APART)
            bad = np.flatnonzero(~np.isfinite(run.loss))
            if bad.size and bad[0] >= 160 and run.ratio[0] < 0.8:
                yield _case(seed, run, "divergent", "divergent", None)
                return


def calm(seed: int, task: Task, share: float) -> Iterable[Case]:
    """The curvature falls from its start, far below the edge, and the loss never rises: flat and monotonic."""
    first = float(train(task, 1e-3, 20).sharpness[0])
    run = train(task, share * 2 / first, STEPS, every=APART)
    later = _goes_on(task, run, Recipe())
    if _finite(run, later) and max(run.ratio.max(), later.ratio.max()) < 0.85 and later.ratio.max() < run.ratio[0]:
        yield _case(seed, run, "flat", _trained(run, later), False)


def flat(seed: int, factor: float) -> Iterable[Case]:
    """A convex quadratic: the curvature stands still, and below 2/lr the loss never rises."""
    task = linear(seed)
    first = float(train(task, 1e-3, 20).sharpness[0])
    run = train(task, factor * 2 / first, STEPS, every=APART)
    yield _case(seed, run, "flat", "monotonic", False)


def wandering(seed: int, lr: float, label: str) -> Iterable[Case]:
    """Beyond lr = 1 (x y - 1)^2 / 2 has no stable minimum: a cycle of two that repeats, or an orbit whose tangent grows."""
    task = product(seed)
    run = train(task, lr, STEPS)
    later = _goes_on(task, run, Recipe())
    if not _finite(run, later):
        return
    end = later.loss[-512:]
    repeats = any(np.allclose(end[p:], end[:-p], rtol=1e-9, atol=0) for p in (1, 2, 4, 8, 16, 32))
    grows = _lyapunov(np.asarray(run.state["theta"]), lr) > 0.01
    if (label == "periodic" and repeats and np.ptp(end) > 0) or (label == "chaotic" and grows and not repeats):
        yield _case(seed, run, "bounded", label, None)


def _lyapunov(theta: np.ndarray, lr: float, steps: int = 4000) -> float:
    """The largest Lyapunov exponent of gradient descent on (x y - 1)^2 / 2, from its exact tangent map."""
    x, y = (float(v) for v in theta)
    tangent, total = np.array([1.0, 0.3]), 0.0
    for _ in range(steps):
        e = x * y - 1
        hessian = np.array([[y * y, 2 * x * y - 1], [2 * x * y - 1, x * x]])
        tangent = tangent - lr * hessian @ tangent
        size = float(np.linalg.norm(tangent))
        tangent, total = tangent / size, total + np.log(size)
        x, y = x - lr * e * y, y - lr * e * x
    return total / steps


def minibatch(seed: int, task: Task, share: float, batch: int = 8) -> Iterable[Case]:
    """SGD far below the edge of every batch: whatever the loss does is noise, and no catapult."""
    first = float(train(task, 1e-3, 20).sharpness.max())
    run = train(task, share * 2 / first, STEPS, Recipe(batch=batch), every=APART, seed=seed)
    if not _finite(run) or run.ratio.max() > 0.9:
        return
    end = float(np.mean(run.ratio[-run.ratio.size // 4 :]))
    edge = "sharpening" if end > 1.1 * run.ratio[0] else "flat" if end < run.ratio[0] else None
    yield _case(seed, run, edge, None, False)


def broken(case: Case, at: int, whole: bool) -> Case:
    """A loss that is NaN at one step, or from there on."""
    loss = case.record["loss"].copy()
    loss[at : None if whole else at + 1] = np.nan
    return replace(
        case, view="NaN from one step on" if whole else "a single NaN", edge="divergent", training="divergent", catapult=None,
        record=case.record | {"loss": loss},
    )  # fmt: skip


Builder = Callable[[], Iterable[Case]]


def builders(seed: int) -> dict[str, Builder]:
    """All builders of one seed, by family."""
    deep, tanh, two = deep_linear(seed, scale=0.4), digits(seed, scale=0.4), digits(seed, scale=0.6, hidden=(8, 6))
    hard, big = digits(seed, scale=1.0, entropy=True), digits(seed, scale=0.5, hidden=(12,))
    heavy, nest, adam = Recipe("polyak", 0.6), Recipe("nesterov", 0.9), Recipe("adam", 0.9)
    below = (2.5, 2.2, 1.9, 1.7, 1.5, 1.4, 1.3, 1.2, 1.1)
    k, wide = seed % 6, (1.15, 1.3, 1.45, 1.6, 1.7, 1.2)
    return {
        "flow, deep linear": partial(flow_like, seed, deep),
        "flow, tanh": partial(flow_like, seed, tanh),
        "edge, tanh": partial(at_the_edge, seed, tanh, factors=(1.8, 1.6, 1.4)),
        "edge, two hidden layers": partial(at_the_edge, seed, two, factors=(1.9, 1.8, 1.6, 1.4, 1.3)),
        "edge, deep linear": partial(at_the_edge, seed, deep_linear(seed, scale=1.0), factors=(1.5, 1.1, 1.03, 1.2, 1.3)),
        "catapult, wide linear": partial(catapult, seed, wide_net(seed, "linear"), beyond=(wide[k],)),
        "catapult, wide tanh": partial(catapult, seed, wide_net(seed, "tanh"), beyond=(wide[k], *wide)),
        "catapult, then edge": partial(catapult, seed, two, beyond=below, edge="edge-of-stability"),
        "divergent at once": partial(divergent, seed, deep, factors=(1.5, 2.0, 3.0), lowest=1, highest=60),
        "divergent, tanh": partial(divergent, seed, tanh, factors=(4.0, 6.0, 9.0), lowest=1, highest=500),
        "divergent late": partial(sharpens_out, seed),
        "linear regression": partial(flat, seed, factor=(0.2, 0.4, 0.6, 0.8, 0.5, 0.3)[k]),
        "cross-entropy": partial(calm, seed, hard, share=(0.3, 0.5, 0.7)[seed % 3]),
        "momentum, edge": partial(at_the_edge, seed, big, factors=(1.3, 1.15, 1.05), recipe=heavy),
        "momentum, below": partial(flow_like, seed, tanh, end=0.5, recipe=heavy),
        "Nesterov, edge": partial(at_the_edge, seed, big, factors=(1.15, 1.05), recipe=nest),
        "Adam, edge": partial(adaptive, seed, two, recipe=adam, rates=(0.01, 0.03, 0.02)),
        "RMSProp, edge": partial(adaptive, seed, two, recipe=Recipe("rmsprop"), rates=(0.001, 0.002, 0.003)),
        "Adam, below": partial(early_adaptive, seed, two, recipe=adam, lr=2e-4),
        "SGD, tanh": partial(minibatch, seed, tanh, share=(0.1, 0.3, 0.5)[seed % 3]),
        "SGD, two hidden layers": partial(minibatch, seed, two, share=(0.15, 0.35, 0.6)[seed % 3]),
        "product, periodic": partial(wandering, seed, lr=(1.05, 1.1, 1.15, 1.2, 1.08, 1.18)[k], label="periodic"),
        "product, chaotic": partial(wandering, seed, lr=(1.34, 1.36, 1.38, 1.4, 1.42, 1.44)[k], label="chaotic"),
    }


def build(seed: int, families: Iterable[str] | None = None) -> list[Case]:
    """The cases of a seed, every step recorded; of all families or of some."""
    chosen = builders(seed)
    names = chosen if families is None else families
    return [replace(case, family=name) for name in names for case in chosen[name]()]


def views(case: Case) -> list[Case]:
    """The record as it is, and the same run recorded less often, cut short, or broken.

    Where a view is not told so, the reading has to judge whether the loss is that of a minibatch.
    """
    found = [case, told(case)]
    if "product" not in case.family:
        thin = [sparse(case, 1, 25), sparse(case, 10, 10), sparse(case, 50, 50)]
        found += [*thin, *map(told, thin[1:]), printed(case)]
        if case.edge not in (None, "divergent"):
            found.append(short(case, 12))
    if case.family == "flow, tanh":
        found += [broken(case, STEPS // 2, False), broken(case, STEPS // 2, True)]
    return found
