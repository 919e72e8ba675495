"""The cubic map f_a(z) = z^3 + (a-2) z^2 + (1-2a) z: training reduces to it, its orbits, where its phases change, exponents."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, exact, relative, standard_errors, untestable
from trainphase.reproduce.runner import Figure
from trainphase.theory import cubic

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.context import Context

claim = partial(Claim, "chen")
figure = partial(Figure, "chen")
ABSTRACT = "abstract"
ORDER = ", ".join(cubic.PHASES)
TRUTH = exact("a truth value")

# --- training is the map -------------------------------------------------------------------------------------

# Largest a of the samples: a run in each of the phases that are bounded.
LEVELS = (0.6, 0.95, 1.2, 1.4)
STEPS = 30
START = 0.5  # size of the weights beside the teacher's: from 0.9 one run of phase retrieval in ten leaves the interval (-a, 2)
SMALL: dict[str, dict[str, Any]] = {
    "phase-retrieval": {"n": 12, "d": 16, "c": 2.0}, "quadratic-net": {"n": 12, "d": 16, "m": 100},
}  # fmt: skip


def compute_map(context: Context) -> dict[str, xarray.Dataset]:
    """Residuals z of gradient descent on the weights, ``z`` (level, step, sample), and ``map``, the cubic map from z(0)."""
    import xarray

    from trainphase import api, overlay

    out = {}
    for name, sizes in SMALL.items():
        factory = api.catalog.system(name).load()
        z = np.empty((len(LEVELS), STEPS + 1, int(sizes["n"])))
        followed = np.empty_like(z)
        for k, level in enumerate(LEVELS):
            system = factory(a=level, seed=context.seed, init_scale=START, **sizes)
            z[k] = residuals(system, STEPS)
            a = overlay.report(system)["a"]
            followed[k, 0] = z[k, 0]
            for t in range(STEPS):
                followed[k, t + 1] = cubic.f(followed[k, t], a)
        dims = ("level", "step", "sample")
        out[name.replace("-", "_")] = xarray.Dataset({"z": (dims, z), "map": (dims, followed)}, {"level": list(LEVELS)})
    return out


def residuals(system: Any, steps: int) -> np.ndarray:
    """Scaled residuals z at the steps 0 .. ``steps`` of a run from the system's own start, shape (steps + 1, samples)."""
    from trainphase._arrays import as_leaves, precision
    from trainphase.evolve import series
    from trainphase.observables import RESIDUAL

    with precision("float64"):
        ready = as_leaves(system, "float64")
        return series(ready, ready.init(), steps, (RESIDUAL,))[1]["residual"]


def _reduction(context: Context, name: str) -> Measured:
    data = context.data()[name.replace("-", "_")]
    apart = np.abs(data["z"].values - data["map"].values).max((1, 2))
    words = ", ".join(f"{v:.1e} at {a:g}" for a, v in zip(LEVELS, apart, strict=True))
    return Measured(float(apart.max()), note=f"{STEPS} steps, by the largest a of a sample: {words}")


MAP = figure(
    "map", "gradient descent on orthogonal data is the cubic map, sample by sample", compute_map,
    claims=tuple(
        claim(
            ABSTRACT, f"Largest distance of the residuals z of {name} from the cubic map, {STEPS} steps.", 0.0,
            absolute(1e-7, "rounding, 1e-15 at first, grows where the map is chaotic: to 1e-9 in 30 steps, with any of 24 seeds"),
            partial(_reduction, name=name),
        )
        for name in SMALL
    ),
    seconds_quick=5, seconds_full=5,
)  # fmt: skip

# --- orbit diagram -------------------------------------------------------------------------------------------

SPAN = (0.5, 2.2)


def compute_orbit(context: Context) -> xarray.Dataset:
    """The diagram over a, over all starts in (-a, 2), with samples of the attractor."""
    import trainphase as tp

    return tp.diagram("cubic", a=tp.linspace(*SPAN, context.pick(512, 4096)), starts=context.pick(2, 4)).dataset


def draw_orbit(data: xarray.Dataset) -> Any:
    """Band of phases, orbit diagram and Lyapunov exponent, with the boundaries of the theory."""
    from trainphase.figures import orbit

    return orbit.page(data, lines())


def lines() -> list[dict[str, Any]]:
    """The boundaries of the phases as lines that figures draw."""
    return [{"name": b.name, "between": b.between, "points": [[b.a]]} for b in cubic.PHASE_BOUNDARIES]


def labels(data: xarray.Dataset) -> np.ndarray:
    """The phase at each value of a, as text; "undecided" where there is none."""
    from trainphase.phase import TRAINING

    return np.array([TRAINING.label(int(code)) for code in TRAINING.consensus(data["phase"])])


def order_of(data: xarray.Dataset) -> str:
    """The phases in the order in which growing a meets each of them first."""
    return ", ".join(dict.fromkeys(label for label in labels(data) if label in cubic.PHASES))


def _order(context: Context) -> Measured:
    data = context.data()
    return Measured(order_of(data), note=f"{data.sizes['a']} values of a from {SPAN[0]:g} to {SPAN[1]:g}")


def _elsewhere(context: Context) -> Measured:
    """Points that have another phase than the theory, outside the range in which there are periodic windows."""
    a, found = context.data()["a"].values, labels(context.data())
    simple = (a < cubic.A_ACCUMULATION) | (a > cubic.A_DIVERGENT)
    wrong = simple & (found != cubic.phases(a))
    at = ", ".join(f"{found[k]} at {a[k]:.5f}" for k in np.flatnonzero(wrong)[:6])
    return Measured(int(wrong.sum()), note=f"of {simple.sum()} points{'; ' + at if at else ''}")


def _bounded(context: Context) -> Measured:
    """Whether the attractor lies in the interval of the theory, to the rounding of samples in single precision."""
    data = context.data()
    a = data["a"].values
    slack = 1e-6
    outside = []
    for k in np.flatnonzero((a > cubic.A_EDGE) & (a <= cubic.A_DIVERGENT)):
        low, high = cubic.attractor_bounds(float(a[k]))
        outside.append(data["lower"].values[k] < low - slack or data["upper"].values[k] > high + slack)
    return Measured(not any(outside), note=f"{len(outside)} values of a between 1 and 2, {sum(outside)} outside")


ORBIT = figure(
    "orbit", "orbit diagram of the cubic map, phases and Lyapunov exponent", compute_orbit, draw_orbit,
    (
        claim(ABSTRACT, "The phases in the order in which growing a meets them.", ORDER, exact("names"), _order),
        claim(ABSTRACT, "Values of a on the grid, periodic windows apart, with another phase than by the theory.",
              0.0, absolute(0.0, "a count; no point of the grid is a boundary"), _elsewhere),
        claim(ABSTRACT, "Orbits between 1 and 2 stay in the interval that the critical orbit bounds.", None, TRUTH, _bounded,
              expected=True),
    ), seconds_quick=5, seconds_full=40,
)  # fmt: skip

# --- boundaries ----------------------------------------------------------------------------------------------

PERIODS = ("1", "2", "4", "8", "16")


def compute_boundaries(context: Context) -> dict[str, xarray.Dataset]:
    """Where ``boundary`` finds the changes of phase over a = 0.5 .. 2.2, and of the period over 0.9 .. 1.3."""
    import trainphase as tp

    steps = context.pick(32768, None)
    phase = tp.boundary("cubic", a=SPAN, points=context.pick(64, 256), steps=steps)
    period = tp.boundary("cubic", a=(0.9, 1.3), points=context.pick(64, 256), steps=steps, of="period")
    return {"phase": _crossings(phase), "period": _crossings(period)}


def _crossings(result: Any) -> xarray.Dataset:
    import xarray

    return xarray.Dataset(
        {"at": ("between", [c.at for c in result.crossings]), "width": ("between", [c.width for c in result.crossings])},
        {"between": ["/".join(c.between) for c in result.crossings]}, {"evaluations": result.evaluations},
    )  # fmt: skip


def _crossing(context: Context, of: str, between: str) -> Measured:
    data = context.data()[of]
    found = np.flatnonzero(data["between"].values == between)
    if found.size != 1:
        return untestable(f"the search found {found.size} changes {between}")
    k = int(found[0])
    return Measured(data["at"].values[k], data["width"].values[k], note="the error is the width of the bracket")


def _boundary_claims() -> list[Claim]:
    out = []
    for b in cubic.PHASE_BOUNDARIES:
        assert b.between is not None
        measure = partial(_crossing, of="phase", between="/".join(b.between))
        if b.exact:
            bound = absolute(1e-8, "bisection to 1e-10; beside a boundary, runs of a finite horizon settle late")
            out.append(claim(ABSTRACT, f"a at which {b.name} changes: {b.exact}.", b.a, bound, measure))
        else:
            words = "a at which a cycle of a period that is no power of 2 comes, so that Li and Yorke's chaos begins."
            bound = standard_errors(3, "between two periods of a cascade no finite horizon decides: the error is that bracket")
            out.append(claim(ABSTRACT, words, None, bound, measure, expected=b.a))
    for b, (low, high) in zip(cubic.PERIOD_BOUNDARIES, pairwise(PERIODS), strict=False):
        bound = absolute(1e-8, "bisection to 1e-10, as of the phases")
        words = f"a at which the period doubles from {low} to {high}."
        out.append(claim(ABSTRACT, words, None, bound, partial(_crossing, of="period", between=f"{low}/{high}"), expected=b.a))
    return out


def _feigenbaum(context: Context) -> Measured:
    """The ratio of the last two ranges of a cascade's periods that are measured."""
    data = context.data()["period"]
    at = data["at"].values
    if at.size < 4:
        return untestable(f"the search found {at.size} doublings")
    return Measured((at[-2] - at[-3]) / (at[-1] - at[-2]), note="ranges of the periods 4 and 8; by theory 4.6404")


BOUNDARIES = figure(
    "boundaries", "values of a at which the phases and the periods change", compute_boundaries,
    claims=(
        *_boundary_claims(),
        claim(ABSTRACT, "Ratio of the ranges of a of two periods that follow each other, against Feigenbaum's 4.6692.", None,
              relative(0.01, "the second ratio of a cascade is within 1 % of its limit"), _feigenbaum,
              expected=4.669201609),
    ), seconds_quick=10, seconds_full=40,
)  # fmt: skip

# --- Lyapunov exponents --------------------------------------------------------------------------------------

POINTS = (0.95, 1.2, 1.5, 1.7, 2.0)
CLOSED = {0.95: "ln|1 - 2a|", 1.2: "(1/2) ln|9 - 2 (1+a)^2|", 2.0: "ln 3"}


def compute_lyapunov(context: Context) -> xarray.Dataset:
    """Exponents at a few values of a."""
    import trainphase as tp

    return tp.diagram("cubic", a=tp.values(list(POINTS)), steps=context.pick(16384, 131072)).dataset


def _exponent(context: Context, a: float) -> Measured:
    here = context.data().isel(a=POINTS.index(a))
    return Measured(here["lyapunov"].values, here["lyapunov_se"].values)


def _sign(context: Context, a: float, sign: int) -> Measured:
    found = _exponent(context, a)
    period = float(context.data()["period"].values[POINTS.index(a)])
    cycle = f", period {period:g}" if math.isfinite(period) else ""
    return Measured(bool(sign * found.value > 4 * (found.error or 0.0)), note=f"{found.value:+.4f}{cycle}")


LYAPUNOV = figure(
    "lyapunov", "Lyapunov exponents of the cubic map", compute_lyapunov,
    claims=(
        *(
            claim(
                ABSTRACT, f"Lyapunov exponent at a = {a:g}: {words}, per step.", None,
                absolute(2e-3, "a mean over some 10^4 steps; of chaos it has a standard error of 1e-3 or less"),
                partial(_exponent, a=a), expected=float(cubic.lyapunov(a)),
            )
            for a, words in CLOSED.items()
        ),
        claim(ABSTRACT, "In the chaotic phase, at a = 1.5, the exponent is above 0.", True, exact("by 4 standard errors"),
              partial(_sign, a=1.5, sign=1)),
        claim(ABSTRACT, "In the periodic phase, at a = 1.2, the exponent is below 0.", True, exact("by 4 standard errors"),
              partial(_sign, a=1.2, sign=-1)),
        claim(ABSTRACT, "At a = 1.7, inside the chaotic range, the exponent is above 0.", None, exact("by 4 standard errors"),
              partial(_sign, a=1.7, sign=1), expected=False),
    ), seconds_quick=3, seconds_full=10,
)  # fmt: skip

FIGURES = (MAP, ORBIT, BOUNDARIES, LYAPUNOV)
