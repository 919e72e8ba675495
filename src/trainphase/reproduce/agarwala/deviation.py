"""The deviation 2 - curvature at the edge of stability in the (D, P) model, over widths, D/P and size.

The paper leaves it open (section 6.2). There is no paper value to compare with: the item measures, and its claims are
checks on the measurement. How runs are chosen decides the mean, so every choice is shown beside the others.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.agarwala import deviation_statistics as stats
from trainphase.reproduce.claims import Claim, Measured, exact, standard_errors, untestable
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure
from trainphase.theory import quadratic as theory

if TYPE_CHECKING:
    import xarray

PAPER = "agarwala"
# Three sizes at D/P = 1/2, then D/P = 1/4, 1 and 2 at the D P of the middle one; seeds by cost.
REFERENCE = (30, 60)
SIZES = ((15, 30), REFERENCE, (60, 120))
RATIOS = ((21, 84), REFERENCE, (42, 42), (60, 30))
SEEDS = {(15, 30): 400, (60, 120): 150}
USUAL_SEEDS = 300
DOUBLE_SEEDS = 40
SMALL_REFERENCE = (10, 20)
SMALL_SIZES = ((6, 12), SMALL_REFERENCE)
SMALL_RATIOS = ((7, 28), SMALL_REFERENCE, (20, 10))
SIGMA_Z = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
SIGMA_J = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
# The part of the grid that is averaged: narrower residuals seldom reach the edge, and wider Jacobians begin near it.
LOWEST_Z, HIGHEST_J = 0.25, 0.5
STEPS = 5000
KEPT = ("phase", "settled", "curvature", "curvature_mean", "curvature_start", "curvature_peak", "run_steps", "loss")


def sizes(context: Context) -> tuple[tuple[int, int], ...]:
    """The shapes of one D/P, by size."""
    return context.pick(SMALL_SIZES, SIZES)


def ratios(context: Context) -> tuple[tuple[int, int], ...]:
    """The shapes of one size, by D/P."""
    return context.pick(SMALL_RATIOS, RATIOS)


def _grid(context: Context, shape: tuple[int, int], seeds: int, dtype: str) -> xarray.Dataset:
    """All runs of a shape, dimensions (sigma_z, sigma_J, seed), kept on the disk seed by seed."""
    import trainphase as tp

    axes = context.pick(SIGMA_Z[1::2], SIGMA_Z), context.pick(SIGMA_J[::2], SIGMA_J)
    found = tp.diagram(
        "quadratic", D=shape[0], P=shape[1], sigma_z=tp.values(axes[0]), sigma_J=tp.values(axes[1]),
        seed=context.ensemble(seeds), dtype=dtype, steps=context.pick(2000, STEPS), executor=context.executor,
        store=context.folder / f"runs_{shape[0]}_{shape[1]}_{dtype}", progress=context.progress,
    ).dataset  # fmt: skip
    return found[list(KEPT)].assign_attrs(D=shape[0], P=shape[1])


def compute(context: Context) -> dict[str, Any]:
    """Run every shape, then reduce: cells, means over the box and along either width, fits, and checks."""
    import xarray

    shapes = tuple(dict.fromkeys(sizes(context) + ratios(context)))
    runs = [_grid(context, shape, context.pick(20, SEEDS.get(shape, USUAL_SEEDS)), "float32") for shape in shapes]
    coords = {"D": ("shape", [s[0] for s in shapes]), "P": ("shape", [s[1] for s in shapes])}
    for name, group in (("by_size", sizes(context)), ("by_ratio", ratios(context))):
        coords[name] = ("shape", [int(s in group) for s in shapes])
    seeds = {"seeds": ("shape", [data.sizes["seed"] for data in runs])}
    parts = {
        name: xarray.concat([reduce(data) for data in runs], "shape").assign_coords(coords).assign(seeds)
        for name, reduce in (("cells", _cells), ("along_z", _along_z), ("along_J", _along_J), ("box", _box))
    }
    attrs = {
        "steps": context.pick(2000, STEPS), "dtype": "float32", "crossed": stats.CROSSED, "band": stats.BAND,
        "lowest_sigma_z": LOWEST_Z, "highest_sigma_J": HIGHEST_J, **_machine(),
    }  # fmt: skip
    parts["fits"] = _fits(context, dict(zip(shapes, runs, strict=True)))
    parts["checks"] = _checks(context, runs[shapes.index(ratios(context)[1])])
    return {name: data.assign_attrs(attrs) for name, data in parts.items()}


def _machine() -> dict[str, Any]:
    """What computed the numbers."""
    import jax

    device = jax.devices()[0]
    return {"device": f"{device.platform} {platform.machine()}", "cores": os.cpu_count() or 0, "jax": jax.__version__}


# --- reduction ----------------------------------------------------------------------------------------------


def _inside(data: xarray.Dataset) -> xarray.Dataset:
    """The runs of the box."""
    return data.sel(sigma_z=data["sigma_z"] >= LOWEST_Z - 1e-9, sigma_J=data["sigma_J"] <= HIGHEST_J + 1e-9)


def _cells(data: xarray.Dataset) -> xarray.Dataset:
    import xarray

    found = {name: (("sigma_z", "sigma_J"), value) for name, value in stats.cells(data).items()}
    return xarray.Dataset(found, {k: data[k].values for k in ("sigma_z", "sigma_J")})


def _samples(data: xarray.Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values and choices, name -> arrays like the runs: what is averaged, over which runs."""
    end, late = 2 - data["curvature"].values, 2 - data["curvature_mean"].values
    kinds, settled = stats.fates(data), data["settled"].values == 1
    half = data["run_steps"].values <= 0.5 * data["run_steps"].values.max()
    return {
        "met": (end, kinds["met"]), "edge": (end, settled & (np.abs(end) <= stats.BAND)),
        "met_early": (end, kinds["met"] & half),
        "met_and_fading": (np.where(kinds["fading"], late, end), kinds["met"] | kinds["fading"]),
        "bounded": (late, kinds["bounded"]), "fading": (late, kinds["fading"]),
    }  # fmt: skip


def _line(data: xarray.Dataset) -> dict[str, Any]:
    """Everything about a set of runs that is averaged into one number each."""
    out: dict[str, Any] = {}
    samples = _samples(data)
    for name, (values, chosen) in samples.items():
        found = stats.mean(values, chosen)
        out |= {f"{name}_mean": found.value, f"{name}_se": found.error, f"{name}_runs": found.runs, f"{name}_seeds": found.seeds}
    end, settled = samples["met"][0], data["settled"].values == 1
    by = {
        "band": [(b, settled & (np.abs(end) <= b)) for b in stats.BANDS],
        "peak": [(c, settled & (data["curvature_peak"].values > c)) for c in stats.THRESHOLDS],
    }
    for dim, choices in by.items():
        means = [stats.mean(end, chosen) for _, chosen in choices]
        out |= {f"{dim}_mean": (dim, [m.value for m in means]), f"{dim}_se": (dim, [m.error for m in means])}
        out[f"{dim}_runs"] = (dim, [m.runs for m in means])
    for name in ("met", "edge"):
        out[f"{name}_quantiles"] = ("quantile", stats.quantiles(*samples[name]))
    out |= {f"fate_{name}": float(chosen.mean()) for name, chosen in stats.fates(data).items()}
    return out


def _dataset(rows: Sequence[dict[str, Any]], dim: str, at: np.ndarray | None = None) -> xarray.Dataset:
    """Rows as a data set along ``dim``; without ``at`` there is one row, and no dimension."""
    import xarray

    coords = {"band": list(stats.BANDS), "peak": list(stats.THRESHOLDS), "quantile": list(stats.QUANTILES)}
    each = [xarray.Dataset(row, coords) for row in rows]
    return each[0] if at is None else xarray.concat(each, dim).assign_coords({dim: at})


def _along_z(data: xarray.Dataset) -> xarray.Dataset:
    """Over sigma_J in the box, at each sigma_z."""
    part = data.sel(sigma_J=data["sigma_J"] <= HIGHEST_J + 1e-9)
    return _dataset([_line(part.isel(sigma_z=[k])) for k in range(part.sizes["sigma_z"])], "sigma_z", part["sigma_z"].values)


def _along_J(data: xarray.Dataset) -> xarray.Dataset:
    """Over sigma_z in the box, at each sigma_J, with the mean curvature of the start."""
    part = data.sel(sigma_z=data["sigma_z"] >= LOWEST_Z - 1e-9)
    rows = [_line(part.isel(sigma_J=[k])) for k in range(part.sizes["sigma_J"])]
    starts = part["curvature_start"].mean(("sigma_z", "seed")).values
    return _dataset([row | {"start": float(c)} for row, c in zip(rows, starts, strict=True)], "sigma_J", part["sigma_J"].values)


def _box(data: xarray.Dataset) -> xarray.Dataset:
    """Over the whole box; ``loss_left`` is the median loss of the runs that met the edge, over that of the start."""
    part = _inside(data)
    met = stats.fates(part)["met"]
    start = 0.5 * (part["sigma_z"] ** 2 / data.attrs["D"])
    left = (part["loss"] / start).transpose("sigma_z", "sigma_J", "seed").values[met]
    return _dataset([_line(part) | {"loss_left": float(np.median(left)) if left.size else np.nan}], "shape")


# --- fits ---------------------------------------------------------------------------------------------------


def _profile(data: xarray.Dataset, along: str) -> tuple[np.ndarray, list[stats.Mean]]:
    """Means of the runs that met the edge at each value of one width, over the box in the other."""
    part = _inside(data)
    each = [_samples(part.isel({along: [k]}))["met"] for k in range(part.sizes[along])]
    return part[along].values, [stats.mean(*one) for one in each]


def _fits(context: Context, runs: dict[tuple[int, int], xarray.Dataset]) -> xarray.Dataset:
    """Laws for the mean over runs that met the edge: along each width, over all D/P together, and against the size."""
    import xarray

    rows: list[tuple[str, str, int, int, stats.Fit]] = []
    for shape, data in runs.items():
        at, means = _profile(data, "sigma_z")
        rows += [("sigma_z", law, *shape, stats.fit(at, means, law)) for law in stats.LAWS]
        _, means = _profile(data, "sigma_J")
        apart = 2 - _inside(data)["curvature_start"].mean(("sigma_z", "seed")).values
        rows += [("2 - start", law, *shape, stats.fit(apart, means, law)) for law in stats.LAWS]
    profiles = {shape: _profile(runs[shape], "sigma_z") for shape in ratios(context)}
    means = [m for _, found in profiles.values() for m in found]
    widths = np.concatenate([at for at, _ in profiles.values()])
    ratio = np.concatenate([theory.r_NL_rescaled(at, *shape) for shape, (at, _) in profiles.items()])
    for name, x in (("sigma_z, all D/P", widths), ("r_NL, all D/P", ratio)):
        rows += [(name, law, 0, 0, stats.fit(x, means, law)) for law in stats.LAWS[1:]]
    box = {shape: stats.mean(*_samples(_inside(data))["met"]) for shape, data in runs.items()}
    by_size = ("D P, at D/P = 1/2", sizes(context), lambda s: s[0] * s[1])
    by_ratio = ("D/P, at one D P", ratios(context), lambda s: s[0] / s[1])
    for name, group, x in (by_size, by_ratio):
        found = [box[s] for s in group]
        rows += [(name, law, 0, 0, stats.fit([x(s) for s in group], found, law)) for law in ("constant", "power")]
    columns: dict[str, Any] = {name: [row[k] for row in rows] for k, name in enumerate(("against", "law", "D", "P"))}
    columns |= {name: [getattr(r[4], name) for r in rows] for name in stats.Fit._fields}
    return xarray.Dataset({name: ("fit", values) for name, values in columns.items()})


# --- checks -------------------------------------------------------------------------------------------------


def _checks(context: Context, single: xarray.Dataset) -> xarray.Dataset:
    """Single against double precision: means of the box over the same seeds, and the share of labels that differ."""
    import xarray

    seeds = context.pick(4, DOUBLE_SEEDS)
    shape = single.attrs["D"], single.attrs["P"]
    double = _inside(_grid(context, shape, seeds, "float64"))
    few = _inside(single.isel(seed=slice(seeds)))
    differ = float((few["phase"].values != double["phase"].values).mean())
    out: dict[str, Any] = {"precision_seeds": seeds, "precision_differ": differ}
    for name in ("met", "edge"):
        one, other = (stats.mean(*_samples(data)[name]) for data in (few, double))
        apart, error = stats.difference(one, other)
        out |= {f"{name}_single": one.value, f"{name}_single_se": one.error, f"{name}_double": other.value}
        out |= {f"{name}_apart": apart, f"{name}_apart_se": error}
    return xarray.Dataset(out)


# --- the item -----------------------------------------------------------------------------------------------


def _draw(data: Any) -> Any:
    from trainphase.figures import deviation

    return deviation.page(data)


def _below(context: Context) -> Measured:
    """Whether the mean deviation of each shape with P > D is above 0 by more than three standard errors."""
    box = context.data()["box"]
    enough = (box["met_seeds"].values >= stats.FEWEST) & (box["P"].values > box["D"].values)
    seen = box.isel(shape=np.flatnonzero(enough))
    words = [
        f"({D}, {P}): {mean:.4f} +- {error:.4f}"
        for D, P, mean, error in zip(*(seen[k].values for k in ("D", "P", "met_mean", "met_se")), strict=True)
    ]
    if not words:
        return untestable(f"no shape has {stats.FEWEST} seeds with a run that settles after meeting the edge")
    sure = bool((seen["met_mean"] > 3 * seen["met_se"]).all())
    return Measured(sure, note=f"runs that settle after meeting the edge, {', '.join(words)}")


def _precision(context: Context) -> Measured:
    checks = context.data()["checks"]
    note = f"{int(checks['precision_seeds'])} seeds; {100 * float(checks['precision_differ']):.1f} % of labels differ"
    return Measured(checks["met_apart"].values, checks["met_single_se"].values, note)


CLAIMS = (
    Claim(
        PAPER, "Section 6.2", "the final curvature of runs that met the edge and settled is below 2 in the mean, where P > D",
        True,
        exact("each by more than 3 standard errors over seeds, where 12 seeds or more have such runs"), _below,
    ),
    Claim(
        PAPER, "Section 6.2", "mean deviation at the edge, single less double precision", None,
        standard_errors(1.0, "rounding must not matter beside the scatter over seeds; the error is that of the mean"), _precision,
        expected=0.0,
    ),
)  # fmt: skip

FIGURES = (
    Figure(PAPER, "deviation", "Deviation from the edge", compute, _draw, CLAIMS, seconds_quick=15, seconds_full=1200),
)  # fmt: skip
