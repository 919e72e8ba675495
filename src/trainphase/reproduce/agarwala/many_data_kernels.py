"""The (D, P) model beside its relatives: Hessian against kernel (A.1), the tangent hierarchy (A.4), exact equalities."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import as_leaves, precision
from trainphase.reproduce.agarwala.many_data_runs import SIGMA_J, at_width, follow
from trainphase.reproduce.agarwala.many_data_start import PAPER, PLAIN
from trainphase.reproduce.claims import Claim, Measured, absolute, largest
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure

if TYPE_CHECKING:
    import xarray

# --- A.1 ----------------------------------------------------------------------------------------------------

SHARP_WIDTHS = (0.1, 0.3, 0.4)
ORDER = absolute(0.1, "a fitted exponent: terms of the next order over the range of the fit")


def compute_a1(context: Context) -> xarray.Dataset:
    """Curvature and sharpness along gradient descent."""
    size = context.pick((20, 40), (60, 120))
    return follow(context, size, SHARP_WIDTHS, context.pick(3, 5), ("loss", "curvature", "sharpness"), context.pick(1000, 2000))


def _difference(context: Context) -> xarray.Dataset:
    """The smallest width: |sharpness - curvature|, and the size of the residual over that of the start."""
    data = context.data().isel(sigma_z=0)
    size = np.sqrt(data["loss"] / data["loss"].isel(time=0))
    return data.assign(difference=abs(data["sharpness"] - data["curvature"]), size=size)


def _agree_at_the_end(context: Context) -> Measured:
    data = _difference(context).isel(time=-1)
    relative = (data["difference"] / data["curvature"]).max()
    left = float(data["size"].max())
    return Measured(relative, note=f"largest of {data.sizes['seed']} seeds, at {left:.1e} of the first residual")


def _difference_order(context: Context) -> Measured:
    """Exponent of |sharpness - curvature| in the size of the residual, mean over seeds."""
    data = _difference(context)
    found = []
    for k in range(data.sizes["seed"]):
        one = data.isel(seed=k)
        # Small enough for the first order, and far above the rounding of the eigenvalues.
        inside = ((one["size"] < 1e-2) & (one["difference"] > 1e-10)).values
        found.append(np.polyfit(np.log(one["size"].values[inside]), np.log(one["difference"].values[inside]), 1)[0])
    return Measured(np.mean(found), np.std(found, ddof=1) / np.sqrt(len(found)))


def _draw_a1(data: Any) -> Any:
    from trainphase.figures import many_data

    return many_data.sharpness(data)


A1 = Figure(
    PAPER, "A.1", "sharpness (Hessian) beside curvature (kernel)", compute_a1, _draw_a1,
    (
        Claim(
            PAPER, "App. A.1", f"Relative difference of sharpness and curvature once converged, sigma_z = {SHARP_WIDTHS[0]}.",
            0.0, absolute(1e-3, "first order in the residual that is left"), _agree_at_the_end,
        ),
        Claim(
            PAPER, "App. A.1", "Exponent of |sharpness - curvature| in the size of the residual.", None, ORDER, _difference_order,
            expected=1.0,
        ),
    ),
    seconds_quick=6, seconds_full=60,
)  # fmt: skip


# --- A.4 ----------------------------------------------------------------------------------------------------

CUT_WIDTH = 0.3
FITTED = (0.01, 0.1)  # times, in steps, over which orders are fitted
# The kernel of the cut hierarchy becomes indefinite, and then its residual grows without bound: soon after this time.
UNTIL = 6.0


@lru_cache(maxsize=4)
def _pair() -> Any:
    """Compiled: (system, width, times) -> the flow of the model and of the cut hierarchy, and how far apart they are."""
    import jax
    import jax.numpy as jnp

    from trainphase.evolve import solve
    from trainphase.systems.quadratic import TangentHierarchy

    def both(system: Any, value: Any, times: Any) -> Any:
        model = at_width(system, value)
        cut = TangentHierarchy(model)
        whole, part = solve(model, times, None)[0], solve(cut, times, None)[0]
        kernels = jnp.einsum("tai,tbi->tab", whole.J, whole.J)
        gap = jnp.sqrt(jnp.sum(jnp.square(kernels - part[1]), (1, 2)) / jnp.sum(jnp.square(kernels[0])))
        apart = jnp.sqrt(jnp.sum(jnp.square(whole.z - part[0]), 1) / jnp.sum(jnp.square(whole.z[0])))
        lowest = model.lr * jax.lax.map(lambda kernel: jnp.linalg.eigvalsh(kernel)[0], part[1])
        out = {"kernel_gap": gap, "residual_gap": apart, "lowest_cut": lowest}
        for name in ("loss", "curvature"):
            out[name] = jax.lax.map(getattr(model, name), whole)
            out[name + "_cut"] = jax.lax.map(getattr(cut, name), part)
        return out

    return jax.jit(both)


def compute_a4(context: Context) -> xarray.Dataset:
    """Gradient flow of the model and of the hierarchy cut at the third order, from one start."""
    import xarray

    from trainphase.systems.quadratic import quadratic

    D, P = context.pick((20, 40), (60, 120))
    seeds = context.pick(3, 10)
    times = np.concatenate([[0.0], np.geomspace(1e-2, UNTIL, 100)])
    found: dict[str, list[np.ndarray]] = {}
    context.progress.start(seeds, 0)
    with precision("float64"):
        for seed in context.seeds(seeds):
            system = as_leaves(quadratic(D=D, P=P, sigma_J=SIGMA_J, flow="true", seed=seed), "float64")
            for name, value in _pair()(system, np.asarray(CUT_WIDTH), times).items():
                found.setdefault(name, []).append(np.where(np.isfinite(value), value, np.nan))
            context.progress.advance(1)
    context.progress.close()
    variables = {name: (("seed", "time"), np.stack(values)) for name, values in found.items()}
    coords = {"time": ("time", times, {"units": "steps", "long_name": "time"})}
    return xarray.Dataset(variables, coords, {"D": D, "P": P, "sigma_z": CUT_WIDTH, "sigma_J": SIGMA_J})


def _gap_order(context: Context, name: str) -> Measured:
    """The exponent of a difference in time, near the start; mean over seeds."""
    data = context.data()
    early = ((data["time"] >= FITTED[0]) & (data["time"] <= FITTED[1])).values
    x = np.log(data["time"].values[early])
    found = [np.polyfit(x, np.log(row[early]), 1)[0] for row in data[name].values]
    return Measured(np.mean(found), np.std(found, ddof=1) / np.sqrt(len(found)))


def _largest_gap(context: Context) -> Measured:
    gap = context.data()["kernel_gap"].isel(time=-1).values
    return Measured(bool(np.all(gap > 0.01)), note=f"{gap.min():.2g} to {gap.max():.2g} after {UNTIL:g} steps")


def _indefinite(context: Context) -> Measured:
    lowest = context.data()["lowest_cut"].isel(time=-1).values
    return Measured(bool(np.all(lowest < -1e-3)), note=f"{lowest.min():.3g} to {lowest.max():.3g} after {UNTIL:g} steps")


def _draw_a4(data: Any) -> Any:
    from trainphase.figures import many_data

    return many_data.hierarchy(data)


A4 = Figure(
    PAPER, "A.4", "the model beside the tangent hierarchy cut at the third order", compute_a4, _draw_a4,
    (
        Claim(
            PAPER, "App. A.4", "The kernels of the model and of the cut hierarchy come to differ, by more than 1 %.",
            True, PLAIN, _largest_gap,
        ),
        Claim(
            PAPER, "App. A.4", "The kernel of the cut hierarchy gets a negative eigenvalue, which no kernel J J^T has.",
            None, PLAIN, _indefinite, expected=True,
        ),
        Claim(
            PAPER, "(46), (47)", "Order in time of the difference of the kernels.", None, ORDER,
            partial(_gap_order, name="kernel_gap"), expected=2.0,
        ),
        Claim(
            PAPER, "(46), (47)", "Order in time of the difference of the residuals.", None, ORDER,
            partial(_gap_order, name="residual_gap"), expected=3.0,
        ),
    ),
    seconds_quick=6, seconds_full=60,
)  # fmt: skip


# --- equalities ---------------------------------------------------------------------------------------------

SIZES = ((1, 2), (5, 7), (20, 40), (60, 120))
STEPS = 50
ROUNDING = absolute(1e-12, "50 steps of double precision, relative to the largest value of the run")


def _states(steps: int, **params: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals, Jacobians and curvatures of a run, each with a leading axis of ``steps`` + 1."""
    import jax
    from jax import lax

    from trainphase.systems.quadratic import quadratic

    with precision("float64"):
        system: Any = as_leaves(quadratic(sigma_J=SIGMA_J, sigma_z=CUT_WIDTH, **params), "float64")

        @jax.jit
        def run(mine: Any) -> Any:
            def step(state: Any, _: Any) -> Any:
                return mine.step(state), (*mine.pair(state), mine.curvature(state))

            return lax.scan(step, mine.init(), None, length=steps + 1)[1]

        z, J, curvature = run(system)
        return np.asarray(z), np.asarray(J), np.asarray(curvature)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one - other)) / np.max(np.abs(one)))


def _spaces(context: Context, D: int, P: int) -> Measured:
    one, other = (_states(STEPS, D=D, P=P, seed=context.seed, space=space) for space in ("parameters", "function"))
    return Measured(largest(*(_apart(a, b) for a, b in zip(one, other, strict=True))), note="residual, Jacobian and curvature")


def _rescaled(context: Context) -> Measured:
    one, other = (_states(STEPS, D=20, P=40, seed=context.seed, lr=lr)[2] for lr in (1.0, 0.1))
    return Measured(_apart(one, other), note="(20, 40)")


UNTIL_FLOW, STEPS_FLOW = 4.0, 400


def _flows(context: Context, D: int, P: int) -> Measured:
    """The flow (22) beside theta' = -dL/dtheta (21), the latter by Runge-Kutta's method on the gradient of the parameters."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    from trainphase.evolve import solve
    from trainphase.systems.quadratic import quadratic

    with precision("float64"):
        params: dict[str, Any] = {"D": D, "P": P, "sigma_J": SIGMA_J, "sigma_z": CUT_WIDTH, "seed": context.seed}
        model: Any = as_leaves(quadratic(**params), "float64")
        flow: Any = as_leaves(quadratic(**params, flow="true"), "float64")
        h = UNTIL_FLOW / STEPS_FLOW

        @jax.jit
        def run(mine: Any) -> Any:
            def force(x: Any) -> Any:
                return mine.step(x) - x  # step size 1: the gradient itself, with a minus sign

            def step(x: Any, _: Any) -> Any:
                a = force(x)
                b = force(x + h / 2 * a)
                c = force(x + h / 2 * b)
                return x + h / 6 * (a + 2 * b + 2 * c + force(x + h * c)), None

            return mine.pair(lax.scan(step, mine.init(), None, length=STEPS_FLOW)[0])

        states = solve(flow, jnp.array([0.0, UNTIL_FLOW]), None)[0]
        apart = largest(*(_apart(np.asarray(a[-1]), np.asarray(b)) for a, b in zip(states, run(model), strict=True)))
    return Measured(apart, note=f"residual and Jacobian at time {UNTIL_FLOW:g}, of a Jacobian and a residual that have moved")


LINES = 60  # draws of the linear model


def _linear_runs(context: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of draws with Q = 0: eta lambda_max, |z(200)|/|z(0)|, and v.z at the steps 0, 1, 2 with v the top mode, (draws, 3)."""
    import equinox as eqx
    import jax
    from jax import lax

    from trainphase.systems.quadratic import quadratic

    tops, grown, modes = [], [], []
    with precision("float64"):

        @jax.jit
        def run(mine: Any) -> Any:
            return lax.scan(lambda x, _: (mine.step(x), mine.pair(x).z), mine.init(), None, length=201)[1]

        for k, seed in enumerate(context.seeds(LINES)):
            system: Any = as_leaves(quadratic(D=4, P=7, sigma_J=0.3 + 0.9 * k / LINES, sigma_z=0.5, seed=seed), "float64")
            z = np.asarray(run(eqx.tree_at(lambda s: s.Q, system, np.zeros_like(system.Q))))
            levels, vectors = np.linalg.eigh(np.asarray(system.J0()) @ np.asarray(system.J0()).T)
            tops.append(levels[-1])
            grown.append(np.linalg.norm(z[-1]) / np.linalg.norm(z[0]))
            modes.append(z[:3] @ vectors[:, -1])
    return np.array(tops), np.array(grown), np.array(modes)


def _linear_threshold(context: Context) -> Measured:
    tops, grown, _ = _linear_runs(context)
    wrong = np.count_nonzero((grown < 1) != (tops < 2))
    return Measured(wrong, note=f"{LINES} draws at (4, 7), eta lambda_max from {tops.min():.2f} to {tops.max():.2f}, 200 steps")


def _linear_two_step(context: Context) -> Measured:
    """Largest error of v.z(2)/v.z(0) = (1 - eta lambda)^2, over 1 + that; v.z(1)/v.z(0) below 0 exactly for eta lambda > 1."""
    tops, _, modes = _linear_runs(context)
    once, twice = modes[:, 1] / modes[:, 0], modes[:, 2] / modes[:, 0]
    signs = np.count_nonzero((once < 0) != (tops > 1))
    note = f"{LINES} draws; a step changes the sign of v.z exactly for eta lambda > 1, with {signs} exceptions"
    return Measured(np.max(np.abs(twice - (1 - tops) ** 2) / (1 + twice)), note=note)


EQUALITIES = Figure(
    PAPER, "equalities", "function space against parameter space; rescaling",
    claims=(
        *(
            Claim(
                PAPER, "(25), (26)", f"Relative difference of 50 steps in function space and in parameters, ({D}, {P}).", 0.0,
                ROUNDING, partial(_spaces, D=D, P=P),
            )
            for D, P in SIZES
        ),
        Claim(
            PAPER, "(28), (29)", "Relative difference of the curvatures at step sizes 1 and 0.1, same rescaled widths.", 0.0,
            ROUNDING, _rescaled,
        ),
        Claim(
            PAPER, "(21), (22)", "Relative difference of gradient flow in function space and on the parameters, (5, 7).", 0.0,
            absolute(1e-8, "the solver of the former keeps 1e-9 a step; the latter has fourth order and steps of 0.01"),
            partial(_flows, D=5, P=7),
        ),
        Claim(
            PAPER, "section 4.2", "With Q = 0 the residual shrinks exactly where eta lambda_max < 2: draws where it does not.",
            0.0, absolute(0.0, "a count; in 200 steps 0.01 from 2 makes a factor 7"), _linear_threshold,
        ),
        Claim(
            PAPER, "(16)", "With Q = 0 two steps multiply v.z by (1 - eta lambda)^2, v the top mode: largest error.", 0.0,
            ROUNDING, _linear_two_step,
        ),
    ),
    seconds_quick=5, seconds_full=5,
)  # fmt: skip

FIGURES = (A1, A4, EQUALITIES)
