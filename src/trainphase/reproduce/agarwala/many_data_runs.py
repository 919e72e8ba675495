"""Runs of the (D, P) model: gradient descent (Fig. 3, A.1), gradient flow (Fig. 13), the tangent hierarchy (A.4).

Runs of one seed share Q, so that all widths of a seed are advanced together; spreads are over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import as_leaves, precision
from trainphase.reproduce.agarwala.many_data_start import PAPER, PLAIN, most_frequent
from trainphase.reproduce.claims import Claim, Measured, absolute, standard_errors
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure

if TYPE_CHECKING:
    import xarray

SIGMA_J = 0.35
WIDTHS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
LABELS = {
    "loss": ("target units squared", "training loss"),
    "curvature": ("1", "step size times top kernel eigenvalue"),
    "sharpness": ("1", "step size times top Hessian eigenvalue"),
}


# --- many runs at once --------------------------------------------------------------------------------------


def at_width(system: Any, value: Any) -> Any:
    import equinox as eqx

    return eqx.tree_at(lambda s: s.sigma_z, system, value)


def _seen(system: Any, state: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(system, name)(state) for name in names}


@lru_cache(maxsize=8)
def _descent(names: tuple[str, ...], steps: int) -> Any:
    """Compiled: (system, widths) -> observables after 0 .. ``steps`` steps, shape (widths, steps + 1)."""
    import jax
    from jax import lax

    def one(system: Any, value: Any) -> Any:
        mine = at_width(system, value)
        return lax.scan(lambda x, _: (mine.step(x), _seen(mine, x, names)), mine.init(), None, length=steps + 1)[1]

    return jax.jit(jax.vmap(one, in_axes=(None, 0)))


@lru_cache(maxsize=8)
def _flow(names: tuple[str, ...]) -> Any:
    """Compiled: (system, widths, times) -> observables of gradient flow at the times, shape (widths, times)."""
    import jax
    from jax import lax

    from trainphase.evolve import solve

    def one(system: Any, value: Any, times: Any) -> Any:
        mine = at_width(system, value)
        states = solve(mine, times, None)[0]
        return lax.map(lambda x: _seen(mine, x, names), states)

    return jax.jit(jax.vmap(one, in_axes=(None, 0, None)))


def follow(
    context: Context, size: tuple[int, int], widths: Sequence[float], seeds: int, names: tuple[str, ...], steps: int = 0,
    times: np.ndarray | None = None,
) -> xarray.Dataset:  # fmt: skip
    """Observables along runs of gradient descent for ``steps`` steps, or of gradient flow at ``times``.

    Variables have dims (sigma_z, seed, time); what is not finite any more is NaN. float64.
    """
    from trainphase.systems.quadratic import quadratic

    D, P = size
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    context.progress.start(seeds, 0)
    with precision("float64"):
        for seed in context.seeds(seeds):
            flow = "false" if times is None else "true"
            system = as_leaves(quadratic(D=D, P=P, sigma_J=SIGMA_J, flow=flow, seed=seed), "float64")
            values = np.asarray(widths, float)
            got = _descent(names, steps)(system, values) if times is None else _flow(names)(system, values, times)
            for name in names:
                found[name].append(np.asarray(got[name]))
            context.progress.advance(1)
    context.progress.close()
    when = np.arange(steps + 1.0) if times is None else times
    return dataset({name: np.stack(v, 1) for name, v in found.items()}, widths, when, size)


def dataset(found: Mapping[str, np.ndarray], widths: Sequence[float], times: np.ndarray, size: tuple[int, int]) -> xarray.Dataset:
    import xarray

    data = {}
    for name, values in found.items():
        units, words = LABELS[name]
        shown = np.where(np.isfinite(values), values, np.nan)
        data[name] = (("sigma_z", "seed", "time"), shown, {"units": units, "long_name": words})
    coords = {
        "sigma_z": ("sigma_z", np.asarray(widths, float), {"long_name": "rescaled width of the residuals"}),
        "time": ("time", np.asarray(times, float), {"units": "steps", "long_name": "time"}),
    }
    return xarray.Dataset(data, coords, {"D": size[0], "P": size[1], "sigma_J": SIGMA_J})


# --- Fig. 3 -------------------------------------------------------------------------------------------------

SIZE = (60, 120)
# Final curvatures of three seeds each, from a computation of ours outside this package: mean, and the widths they are of.
THREE_SEEDS = {0.03: (0.51, 0.55, 0.50), 0.1: (0.76, 0.95, 0.84), 0.2: (1.34, 1.64, 1.41), 0.3: (1.93, 1.99, 1.97)}


def compute_3(context: Context) -> dict[str, Any]:
    """Series of gradient descent at (60, 120), and how the same runs end."""
    import trainphase as tp

    seeds = context.pick(3, 10)
    runs = follow(context, SIZE, WIDTHS, min(seeds, 5), ("loss", "curvature"), context.pick(300, 2000))
    ends = tp.diagram(
        "quadratic", D=SIZE[0], P=SIZE[1], sigma_z=tp.values(WIDTHS), sigma_J=SIGMA_J, steps=context.pick(1000, 16000),
        seed=context.ensemble(seeds), dtype=context.pick("float32", "float64"), progress=context.progress,
    )  # fmt: skip
    return {"runs": runs, "ends": ends.dataset}


def _final(context: Context, width: float) -> Measured:
    ends = context.data()["ends"]["curvature"].sel(sigma_z=width).values
    spread = ends.std(ddof=1)
    # The reference is a mean of three seeds itself, and has an error of its own.
    error = np.sqrt(spread**2 / ends.size + np.var(THREE_SEEDS[width], ddof=1) / 3)
    note = f"{ends.size} seeds from {ends.min():.3f} to {ends.max():.3f}, standard deviation {spread:.3f}"
    return Measured(ends.mean(), error, note)


def _phase(context: Context, width: float) -> Measured:
    """The most frequent phase."""
    return most_frequent(context.data()["ends"]["phase"].sel(sigma_z=width).values)


def _monotone(context: Context) -> Measured:
    """Whether the loss never rises in any run of the smallest width."""
    loss = context.data()["runs"]["loss"].isel(sigma_z=0).values
    return Measured(bool(np.all(np.diff(loss, axis=1) <= 1e-12 * loss[:, :1])), note=f"sigma_z = {WIDTHS[0]}")


def _ordered(context: Context) -> Measured:
    """Whether the mean final curvature grows with the width, up to the one where the edge is met."""
    ends = context.data()["ends"]["curvature"].sel(sigma_z=list(THREE_SEEDS)).mean("seed").values
    return Measured(bool(np.all(np.diff(ends) > 0)), note=", ".join(f"{v:.3f}" for v in ends))


def _draw_3(data: Any) -> Any:
    from trainphase.figures import many_data

    return many_data.runs(data["runs"], data["ends"])


def _claims_3() -> tuple[Claim, ...]:
    scatter = standard_errors(3.0, "scatter of seeds: standard error of our mean and of a mean of three seeds, 3 of them")
    claims = [
        Claim(PAPER, "Fig. 3", "The loss falls monotonically for small sigma_z.", True, PLAIN, _monotone),
        Claim(PAPER, "Fig. 3", "The final curvature grows with sigma_z until it meets the edge.", True, PLAIN, _ordered),
    ]
    claims += [
        Claim(
            PAPER, "Fig. 3", f"Final curvature at sigma_z = {width:g}, sigma_J = {SIGMA_J}, (60, 120).", None, scatter,
            partial(_final, width=width), expected=round(float(np.mean(values)), 3),
        )
        for width, values in THREE_SEEDS.items()
    ]  # fmt: skip
    said = {0.3: "edge-of-stability", 0.7: "divergent"}
    phases = {
        width: Claim(
            PAPER, "Fig. 3", f"Most frequent phase at sigma_z = {width:g}.", said[width] if width == 0.3 else None, PLAIN,
            partial(_phase, width=width), expected=None if width == 0.3 else said[width],
        )
        for width in said
    }  # fmt: skip
    return (*claims, *phases.values())


FIGURE_3 = Figure(
    PAPER, "3", "gradient descent: loss and curvature", compute_3, _draw_3, _claims_3(), seconds_quick=9, seconds_full=120,
)  # fmt: skip


# --- Fig. 13 ------------------------------------------------------------------------------------------------

FLOW_WIDTHS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7)
# Loss, as a share of its start, by which the speed of the flows is compared.
LEVEL = 0.05


def compute_13(context: Context) -> xarray.Dataset:
    """Series of gradient flow."""
    times = np.concatenate([np.linspace(0, 10, 81), np.linspace(10.5, context.pick(60, 100), context.pick(100, 180))])
    return follow(context, context.pick((20, 40), SIZE), FLOW_WIDTHS, context.pick(4, 10), ("loss", "curvature"), times=times)


def _rises_more(context: Context) -> Measured:
    data = context.data()["curvature"]
    growth = (data.isel(time=-1) / data.isel(time=0)).mean("seed").values
    return Measured(bool(np.all(np.diff(growth) > 0)), note="final over first: " + ", ".join(f"{v:.3f}" for v in growth))


def _falls_faster(context: Context) -> Measured:
    data = context.data()["loss"]
    share = data / data.isel(time=0)
    times = share["time"].where(share <= LEVEL).min("time").mean("seed").values
    note = f"steps to {100 * LEVEL:g} % of the loss: " + ", ".join(f"{v:.1f}" for v in times)
    return Measured(bool(np.all(np.diff(times) < 0)), note=note)


def _stays(context: Context) -> Measured:
    data = context.data()["curvature"].isel(sigma_z=0)
    change = abs(data.isel(time=-1) / data.isel(time=0) - 1).mean("seed")
    return Measured(change, note=f"sigma_z = {FLOW_WIDTHS[0]}")


def _draw_13(data: Any) -> Any:
    from trainphase.figures import many_data

    return many_data.runs(data)


FIGURE_13 = Figure(
    PAPER, "13", "gradient flow: loss and curvature", compute_13, _draw_13,
    (
        Claim(PAPER, "Fig. 13", "The curvature rises more, the larger sigma_z is.", True, PLAIN, _rises_more),
        Claim(PAPER, "Fig. 13", "The loss falls faster, the larger sigma_z is.", True, PLAIN, _falls_faster),
        Claim(
            PAPER, "Fig. 13", "Relative change of the curvature as sigma_z goes to 0.", 0.0,
            absolute(0.1, "first order in sigma_z: 0.01 times the time over which the slow modes fall"), _stays,
        ),
    ),
    seconds_quick=9, seconds_full=120,
)  # fmt: skip

FIGURES = (FIGURE_3, FIGURE_13)
