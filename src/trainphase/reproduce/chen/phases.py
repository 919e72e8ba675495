"""The phases of the two models over the step size: on orthogonal data, where the map is exact, and on Gaussian data.

The parameter is a = lr lambda / 2, with lambda the largest eigenvalue of the kernel at the teacher's weights: the largest a of a
sample where rows are orthogonal. The phase is that over all starts along the leading mode of the kernel; on Gaussian data over
half of that interval, since beyond it lies a landscape with another kernel.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.chen.cubic_map import ABSTRACT, ORDER, claim, figure, labels, lines, order_of
from trainphase.reproduce.claims import Measured, absolute, exact, untestable
from trainphase.theory import cubic

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

SPAN = (0.55, 2.25)
RETRIEVAL, NET = "phase-retrieval", "quadratic-net"
SIZES: dict[str, dict[str, Any]] = {
    RETRIEVAL: {"n": 8, "d": 12, "c": 2.0, "start": "leading"},
    NET: {"n": 8, "d": 12, "m": 50, "start": "leading"},
}  # fmt: skip
REACH = 0.5


def compute(context: Context, data: str, reach: float) -> dict[str, xarray.Dataset]:
    """A diagram over a of each of the two models."""
    import trainphase as tp

    a = tp.linspace(*SPAN, context.pick(18, 120))
    more: dict[str, Any] = {
        "data": data, "reach": reach, "steps": context.pick(2048, 16384), "starts": context.pick(2, 4),
        "seed": context.seeds(2)[1],
    }  # fmt: skip
    return {name.replace("-", "_"): tp.diagram(name, a=a, **more, **SIZES[name]).dataset for name in (RETRIEVAL, NET)}


def draw(data: dict[str, xarray.Dataset]) -> Any:
    """A band of phases for each model, with the boundaries of the map."""
    from trainphase.figures import phase_bands

    return phase_bands.page({name.replace("_", " "): each for name, each in data.items()}, lines())


def _of(context: Context, name: str) -> xarray.Dataset:
    return context.data()[name.replace("-", "_")]


def ranges(data: xarray.Dataset) -> str:
    """Runs of equal labels with the values of a that they span."""
    found, a = labels(data), data["a"].values
    ends = [0, *(np.flatnonzero(found[1:] != found[:-1]) + 1).tolist(), len(found)]
    return ", ".join(f"{found[i]} {a[i]:.2f}" + (f" to {a[j - 1]:.2f}" if j - i > 1 else "") for i, j in pairwise(ends))


def _order(context: Context, name: str) -> Measured:
    data = _of(context, name)
    return Measured(order_of(data), note=ranges(data))


def _elsewhere(context: Context, name: str) -> Measured:
    """Points that have another phase than the map, outside the chaotic range with its windows."""
    data = _of(context, name)
    a = data["a"].values
    simple = (a < cubic.A_ACCUMULATION) | (a > cubic.A_DIVERGENT)
    wrong = simple & (labels(data) != cubic.phases(a))
    return Measured(int(wrong.sum()), note=f"of {simple.sum()} values of a; {ranges(data)}")


def _manifest(context: Context, name: str) -> Measured:
    """How many of the five phases appear; the note tells where, and what the rest is."""
    data = _of(context, name)
    found = labels(data)
    seen = [phase for phase in cubic.PHASES if phase in found]
    missing = [phase for phase in cubic.PHASES if phase not in found]
    words = [ranges(data)]
    if missing:
        loose = found == "undecided"
        exponents = data["lyapunov"].values[loose]
        thrown = (found == "catapult") & (data["a"].values > 1)
        if thrown.any():
            k = int(np.flatnonzero(thrown)[-1])
            words.append(
                f"without {' and '.join(missing)}: a run that leaves a solution finds others with a smaller kernel; at a = "
                f"{data['a'].values[k]:.2f} the curvature is {2 * data['a'].values[k]:.2f} at the teacher's weights and "
                f"{data['curvature'].values[k]:.2f} at the end"
            )
        if loose.any():
            words.append(
                f"undecided points have exponents from {np.nanmin(exponents):+.1e} to {np.nanmax(exponents):+.1e} a step"
            )
    return Measured(len(seen), note="; ".join(words))


def _edge(context: Context, name: str) -> Measured:
    """The middle between the last monotonic value of a and the first that is not, in units of that of the map."""
    data = _of(context, name)
    found, a = labels(data), data["a"].values
    other = np.flatnonzero(found != "monotonic")
    if other.size == 0 or other[0] == 0:
        return untestable("no monotonic point lies before another one on the grid")
    return Measured(float(a[other[0] - 1 : other[0] + 1].mean()), note=f"grid of {a[1] - a[0]:.3f}")


ORTHOGONAL = figure(
    "orthogonal", "phases of phase retrieval and of the quadratic net, orthogonal data",
    partial(compute, data="orthogonal", reach=1.0), draw,
    tuple(
        made
        for name in (RETRIEVAL, NET)
        for made in (
            claim(ABSTRACT, f"Phases of {name} on orthogonal data, in the order of the step size.", ORDER, exact("names"),
                  partial(_order, name=name)),
            claim(ABSTRACT, f"Step sizes on the grid at which {name} is in another phase than the map.", 0.0,
                  absolute(0.0, "a count; no point of the grid is a boundary"), partial(_elsewhere, name=name)),
        )
    ), seconds_quick=18, seconds_full=400,
)  # fmt: skip

GENERAL = figure(
    "general", "phases of phase retrieval and of the quadratic net, Gaussian data",
    partial(compute, data="gaussian", reach=REACH), draw,
    (
        *(
            claim(ABSTRACT, f"Phases, of the five, that appear with {name} on data that are not orthogonal.", 5.0,
                  absolute(0.0, "a count"), partial(_manifest, name=name))
            for name in (RETRIEVAL, NET)
        ),
        *(
            claim(ABSTRACT, f"a, by the kernel at the solution, at which {name} on Gaussian data ceases to be monotonic.", None,
                  absolute(0.15, "samples couple, so that the map holds near the solution only; the grid adds 0.05"),
                  partial(_edge, name=name), expected=cubic.A_CATAPULT)
            for name in (RETRIEVAL, NET)
        ),
    ), seconds_quick=18, seconds_full=400,
)  # fmt: skip

FIGURES = (ORTHOGONAL, GENERAL)
