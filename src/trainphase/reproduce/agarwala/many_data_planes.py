"""The (D, P) model over the plane of the rescaled widths: Fig. 4, and Fig. 14 from several shapes (D, P).

All cells of a seed share Q and the draws of the start. So neighbouring cells are no independent evidence: every spread
and error bar here is over seeds.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.phase import EDGE
from trainphase.reproduce.agarwala.many_data_start import CHANCE, PAPER, PLAIN, most_frequent
from trainphase.reproduce.claims import Claim, Measured, absolute, standard_errors, untestable
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure
from trainphase.theory import quadratic as theory

if TYPE_CHECKING:
    import xarray

# Half the width of the band of the edge-of-stability label.
AT_EDGE = 0.2
KEPT = ("phase", "phase_half", "curvature", "curvature_start", "run_steps")
STEPS = 5000
DIVERGENT = EDGE.index("divergent")
# Mean of the Tracy-Widom law of real symmetric matrices.
TRACY_WIDOM = -1.2065335746
# The bootstrap of claims and error bars: draws of seeds with replacement.
RESAMPLES = 400


def ends(data: xarray.Dataset) -> np.ndarray:
    """Final curvatures; infinite where the run diverged, so that a median counts it as beyond every other."""
    return np.where(data["phase"].values == DIVERGENT, np.inf, data["curvature"].values)


# --- Fig. 4 -------------------------------------------------------------------------------------------------

# Medians of six seeds at (20, 40), from a computation of ours outside this package. At sigma_z = 0.6, of runs that stay bounded.
TABLE = {
    0.1: {0.03: 0.18, 0.1: 0.57, 0.3: 1.70, 0.6: 2.07},
    0.5: {0.03: 0.99, 0.1: 1.10, 0.3: 1.93, 0.6: 2.11},
    0.6: {0.03: 1.42, 0.1: 1.47, 0.3: 1.99, 0.6: 2.41},
    0.7: {0.03: 1.90, 0.1: 1.94, 0.3: 2.11},
}
TABLE_SEEDS = 6
# Runs in a row of the plane: final curvatures there scatter by 0.3, so that the median of 30 has an error of 0.07.
ROW = 30
TABLE_WIDTHS = (0.03, 0.1, 0.3, 0.6, 1.0)


def compute_4(context: Context) -> dict[str, Any]:
    """The plane in single precision, some of its seeds again in double precision, and the cells of the table."""
    import trainphase as tp

    D, P = context.pick((20, 40), (60, 120))
    n, seeds = context.pick(12, 32), context.pick(3, 100)
    common: dict[str, Any] = {
        "D": D, "P": P, "steps": context.pick(3000, STEPS), "progress": context.progress, "executor": context.executor,
    }  # fmt: skip
    grid: dict[str, Any] = {"sigma_z": tp.linspace(1 / n, 1.0, n), "sigma_J": tp.linspace(1 / n, 1.0, n)}
    plane, again = (
        tp.diagram("quadratic", **common, **grid, seed=context.ensemble(k), dtype=dtype, store=context.folder / name).dataset
        for k, dtype, name in ((seeds, "float32", "plane"), (2, "float64", "double"))
    )
    table = tp.diagram(
        "quadratic", D=20, P=40, steps=STEPS, sigma_z=tp.values(TABLE_WIDTHS), sigma_J=tp.values(list(TABLE)),
        seed=context.ensemble(context.pick(16, 100)), dtype="float32", progress=context.progress,
    ).dataset  # fmt: skip
    attrs = {"D": D, "P": P}
    return {
        "plane": plane[list(KEPT)].assign_attrs(attrs), "double": again[list(KEPT)].assign_attrs(attrs),
        "table": table[list(KEPT)],
    }  # fmt: skip


def _median_error(values: np.ndarray, count: int) -> float:
    """Standard error of the median of ``count`` seeds, by drawing so many of ``values`` with replacement."""
    rng = np.random.default_rng(0)
    return float(np.median(rng.choice(values, (RESAMPLES, count)), axis=1).std(ddof=1))


def _cell(context: Context, sigma_z: float, sigma_J: float) -> Measured:
    """The median over the seeds whose run does not diverge."""
    cell = context.data()["table"].sel(sigma_z=sigma_z, sigma_J=sigma_J)
    values = ends(cell)
    inside = values[np.isfinite(values)]
    share = 100 * (1 - inside.size / values.size)
    if inside.size < TABLE_SEEDS:
        return untestable(f"{share:.0f} % of {values.size} seeds diverge, and {inside.size} runs make no median")
    # Both medians scatter; the reference is of six seeds, of which the share that diverges is left out.
    other = max(1, round(TABLE_SEEDS * inside.size / values.size))
    error = np.hypot(_median_error(inside, inside.size), _median_error(inside, other))
    return Measured(np.median(inside), error, f"{share:.0f} % of {values.size} seeds diverge")


def _diverges(context: Context, sigma_J: float) -> Measured:
    codes = context.data()["table"]["phase"].sel(sigma_z=1.0, sigma_J=sigma_J).values
    return most_frequent(codes)


def _start(context: Context) -> Measured:
    """Initial curvature over sigma_J^2, mean over seeds; it is the same multiple at every width."""
    table = context.data()["table"]
    each = (table["curvature_start"] / table["sigma_J"] ** 2).mean(("sigma_z", "sigma_J")).values
    return Measured(each.mean(), each.std(ddof=1) / np.sqrt(each.size), f"{each.size} seeds; the limit is 4.121")


def mean_initial_curvature(D: int, P: int) -> float:
    """E of the curvature over sigma_J^2, with the edge's Tracy-Widom shift (Johnstone 2001), which the limit leaves out."""
    a, b = np.sqrt(max(D, P) - 1.0), np.sqrt(min(D, P))
    mean = (a + b) ** 2 + TRACY_WIDOM * (a + b) * (1 / a + 1 / b) ** (1 / 3)
    return float(mean / np.sqrt(D * P))


def _column(context: Context) -> Measured:
    """Of the runs at 0.3 <= sigma_z <= 0.5, sigma_J < 0.6 that do not diverge: the median curvature, error over seeds."""
    plane = context.data()["plane"]
    part = plane.where((plane["sigma_z"] >= 0.3) & (plane["sigma_z"] <= 0.51) & (plane["sigma_J"] < 0.6), drop=True)
    values = ends(part)
    values = np.where(np.isfinite(values), values, np.nan)
    return Measured(np.nanmedian(values), _over_seeds(values, np.nanmedian))


def _over_seeds(values: np.ndarray, statistic: Any) -> float:
    """Standard error of a statistic of values (..., seed), seeds drawn with replacement."""
    rng = np.random.default_rng(0)
    flat = values.reshape(-1, values.shape[-1])
    drawn = [statistic(flat[:, rng.integers(flat.shape[1], size=flat.shape[1])]) for _ in range(RESAMPLES)]
    return float(np.std(drawn, ddof=1))


def _independent(context: Context) -> Measured:
    """The largest distance from 2 of a row's median, over the rows of sigma_J, where few runs wander."""
    plane = context.data()["plane"]
    part = plane.where((plane["sigma_z"] >= 0.3) & (plane["sigma_z"] <= 0.45) & (plane["sigma_J"] < 0.6), drop=True)
    values = np.moveaxis(ends(part), 1, 0)
    fewest = int(np.isfinite(values).sum((1, 2)).min())
    if fewest < ROW:
        return untestable(f"a row has {fewest} runs, and fewer than {ROW} make no median; run the full size")
    rows = np.asarray([np.median(row[np.isfinite(row)]) for row in values])
    apart, lost = np.abs(rows - 2.0), 1 - np.isfinite(values).mean((1, 2))
    k = int(apart.argmax())
    note = (
        f"{rows.size} rows, medians from {rows.min():.3f} to {rows.max():.3f}; farthest at sigma_J = "
        f"{float(part['sigma_J'].values[k]):.2f}, where {100 * lost[k]:.0f} % of the runs diverge"
    )
    if (lost < 0.01).any():
        note += f"; {apart[lost < 0.01].max():.3f} where less than 1 % do: the plateau ends where starts come near to divergence"
    return Measured(apart.max(), note=note)


def _beyond(context: Context) -> Measured:
    """The share of runs that diverge at sigma_z >= 0.95."""
    plane = context.data()["plane"]
    codes = plane["phase"].sel(sigma_z=plane["sigma_z"] >= 0.95).values
    per_seed = (codes == DIVERGENT).mean((0, 1))
    return Measured(per_seed.mean(), per_seed.std(ddof=1) / np.sqrt(per_seed.size))


def _small(context: Context) -> Measured:
    """Median of final over first curvature at the smallest width, of sigma_J from 0.4 to 0.6, over its value at 2 sigma_z."""
    table = context.data()["table"].sel(sigma_z=0.03, sigma_J=[0.5, 0.6])
    growth = (table["curvature"] / table["curvature_start"]).values
    return Measured(np.median(growth), _over_seeds(growth, np.median), "sigma_z = 0.03, sigma_J = 0.5 and 0.6, (20, 40)")


def _labels(context: Context) -> Measured:
    """Share of cells whose label differs in double precision."""
    data = context.data()
    single = data["plane"]["phase"].sel(seed=data["double"]["seed"]).values
    double = data["double"]["phase"].values
    differ = single != double
    kinds = Counter(f"{EDGE.label(a)} -> {EDGE.label(b)}" for a, b in zip(single[differ], double[differ], strict=True))
    note = f"{int(differ.sum())} of {differ.size} cells of {double.shape[-1]} seeds"
    return Measured(differ.mean(), note=": ".join([note, ", ".join(f"{n} {pair}" for pair, n in kinds.most_common())]))


def _elsewhere(context: Context) -> Measured:
    """Share of the cells that diverge in neither precision whose final curvatures differ by more than 1 %."""
    data = context.data()
    single, double = ends(data["plane"].sel(seed=data["double"]["seed"])), ends(data["double"])
    both = np.isfinite(single) & np.isfinite(double)
    return Measured((np.abs(single[both] - double[both]) > 0.01 * double[both]).sum() / both.size)


def _mean_shift(context: Context) -> Measured:
    """Mean of the final curvature, single less double precision, over cells that diverge in neither."""
    data = context.data()
    single, double = ends(data["plane"].sel(seed=data["double"]["seed"])), ends(data["double"])
    both = np.isfinite(single) & np.isfinite(double)
    return Measured((single[both] - double[both]).mean())


def _draw_4(data: Any) -> Any:
    from trainphase.figures import many_data_plane

    plane = data["plane"]
    edge = float(theory.sigma_J_at_edge(plane.attrs["D"], plane.attrs["P"]))
    line = {"name": "initial curvature 2", "points": [[float(x), edge] for x in (0.0, 2.0)], "exact": False}
    return many_data_plane.page(plane, data["double"], [line])


def _claims_4() -> tuple[Claim, ...]:
    scatter = standard_errors(3.0, "scatter of medians over seeds: ours and one of six seeds, bootstrap; 3 standard errors")
    table = [
        Claim(
            PAPER, "Fig. 4", f"Median final curvature at sigma_z = {x:g}, sigma_J = {y:g}, (20, 40), of runs that stay bounded.",
            None, scatter, partial(_cell, sigma_z=x, sigma_J=y), expected=value,
        )
        for y, row in TABLE.items()
        for x, value in row.items()
    ]  # fmt: skip
    far = [
        Claim(PAPER, "Fig. 4", f"Most frequent phase at sigma_z = 1, sigma_J = {y:g}, (20, 40).", None, PLAIN,
              partial(_diverges, sigma_J=y), expected="divergent")
        for y in TABLE
    ]  # fmt: skip
    return (
        Claim(
            PAPER, "Fig. 4", "Median final curvature at 0.3 <= sigma_z <= 0.5, sigma_J < 0.6, of runs that do not diverge.",
            2.0, absolute(0.1, "the paper's map shows 2 in colour; half of the width of our edge-of-stability band"), _column,
        ),
        Claim(
            PAPER, "Fig. 4", "Largest distance from 2 of the median at one sigma_J < 0.6, over 0.3 <= sigma_z <= 0.45.", 0.0,
            absolute(AT_EDGE, "the width of our edge-of-stability band; small sigma_J end a little short of 2"), _independent,
        ),
        Claim(
            PAPER, "Fig. 4", "Final over first curvature for small sigma_z (and sigma_J about 0.5).", 1.0,
            absolute(0.1, "grows as sigma_z; 0.03 is not 0"), _small,
        ),
        Claim(
            PAPER, "Fig. 4", "Share of runs that diverge at sigma_z about 1.", None,
            absolute(0.1, "small sigma_J leaves some runs bounded"), _beyond, expected=1.0,
        ),
        Claim(
            PAPER, "Fig. 4", "Initial curvature over sigma_J^2 at (20, 40).", None, CHANCE, _start,
            expected=round(mean_initial_curvature(20, 40), 3),
        ),
        *table, *far,
        Claim(
            PAPER, "Fig. 4", "Share of labels that differ between single and double precision.", None,
            absolute(0.06, "runs that wander are chaotic, and those near a threshold fall to either side"), _labels, expected=0.0,
        ),
        Claim(
            PAPER, "Fig. 4", "Share of cells that end elsewhere (by more than 1 %) in double precision.", None,
            absolute(0.06, "the share of chaotic runs, and it depends on how far the plane reaches beyond the edge"), _elsewhere,
            expected=0.06,
        ),
        Claim(
            PAPER, "Fig. 4", "Mean final curvature, single less double precision.", None,
            absolute(0.05, "chaotic runs end anywhere in their range; means agree"), _mean_shift, expected=0.0,
        ),
    )  # fmt: skip


FIGURE_4 = Figure(
    PAPER, "4", "final curvature over the rescaled widths", compute_4, _draw_4, _claims_4(), seconds_quick=12, seconds_full=1200,
)  # fmt: skip


# --- Fig. 14 ------------------------------------------------------------------------------------------------

SHAPES = ((15, 45), (20, 40), (30, 30), (40, 20), (45, 15))
# The part of the plane whose final curvatures are compared.
BOX = ((0.3, 0.6), (0.1, 0.55))


def compute_14(context: Context) -> dict[str, Any]:
    """The plane for each shape, and statistics of the box."""
    import trainphase as tp

    # Two spreads lie 0.25 apart; of eight seeds each has an error of 0.06, and 3 standard errors are met by chance only.
    n, seeds = context.pick(8, 16), context.pick(24, 100)
    planes, rows = {}, []
    for D, P in SHAPES:
        found = tp.diagram(
            "quadratic", D=D, P=P, sigma_z=tp.linspace(0.05, 0.75, n), sigma_J=tp.linspace(0.05, 0.9, n),
            seed=context.ensemble(seeds), dtype="float32", steps=context.pick(1200, STEPS), progress=context.progress,
            executor=context.executor, store=context.folder / f"shape_{D}_{P}",
        ).dataset  # fmt: skip
        planes[f"shape_{D}_{P}"] = found[list(KEPT)].assign_attrs(D=D, P=P)
        rows.append(_box(found))
    return planes | {"spread": _statistics(rows)}


def _box(data: xarray.Dataset) -> np.ndarray:
    """Final curvatures in the box, shape (cells, seeds)."""
    (z0, z1), (j0, j1) = BOX
    z, jac = data["sigma_z"], data["sigma_J"]
    values = ends(data.sel(sigma_z=(z >= z0) & (z <= z1), sigma_J=(jac >= j0) & (jac <= j1)))
    return values.reshape(-1, values.shape[-1])


def iqr(values: np.ndarray) -> float:
    """Interquartile range of the final curvatures of runs that do not diverge."""
    low, high = np.quantile(values[np.isfinite(values)], [0.25, 0.75])
    return float(high - low)


def _statistics(rows: list[np.ndarray]) -> xarray.Dataset:
    """Median, interquartile range and divergent share of the box per shape, with standard errors over seeds."""
    import xarray

    def median(values: np.ndarray) -> float:
        return float(np.median(values[np.isfinite(values)]))

    def lost(values: np.ndarray) -> float:
        return float(np.isinf(values).mean())

    data = {}
    for name, statistic in (("median", median), ("iqr", iqr), ("divergent", lost)):
        data[name] = ("shape", [statistic(v) for v in rows])
        data[name + "_se"] = ("shape", [_over_seeds(v, statistic) for v in rows])
    sizes = np.asarray(SHAPES)
    return xarray.Dataset(data, {"D": ("shape", sizes[:, 0]), "P": ("shape", sizes[:, 1])}, {"seeds": rows[0].shape[1]})


def _group(context: Context, name: str, shapes: list[int]) -> tuple[float, float]:
    data = context.data()["spread"].isel(shape=shapes)
    return float(data[name].mean()), float(np.sqrt((data[name + "_se"] ** 2).sum())) / len(shapes)


def _tighter(context: Context) -> Measured:
    """Spread of the shapes with P < D over that of the shapes with P > D, beyond error bars."""
    over, over_se = _group(context, "iqr", [0, 1])
    under, under_se = _group(context, "iqr", [3, 4])
    sigmas = (under - over) / np.hypot(over_se, under_se)
    note = f"P > D: {over:.3f} +- {over_se:.3f}; P < D: {under:.3f} +- {under_se:.3f}; {sigmas:.1f} standard errors apart"
    return Measured(bool(sigmas > 3), note=note)


def _tightest(context: Context) -> Measured:
    data = context.data()["spread"]
    D, P = SHAPES[int(np.argmin(data["iqr"].values))]
    listed = zip(data["iqr"].values, data["iqr_se"].values, strict=True)
    return Measured(f"({D}, {P})", note="interquartile ranges " + ", ".join(f"{v:.3f} +- {e:.3f}" for v, e in listed))


def _reversed(context: Context) -> Measured:
    """The sentence of C.3: more concentrated for D > P."""
    tight = _tighter(context)
    return Measured("P > D" if tight.value else "not told apart", note=tight.note)


def _near_edge(context: Context) -> Measured:
    data = context.data()["spread"].isel(shape=[0, 1])
    error = float(np.sqrt((data["median_se"] ** 2).sum()) / 2)
    return Measured(data["median"].mean(), error, "(15, 45) and (20, 40)")


def _draw_14(data: Any) -> Any:
    from trainphase.figures import many_data_plane

    shapes = [data[f"shape_{D}_{P}"] for D, P in SHAPES]
    return many_data_plane.scatter(shapes, data["spread"])


FIGURE_14 = Figure(
    PAPER, "14", "initial against final curvature, by shape", compute_14, _draw_14,
    (
        Claim(PAPER, "Fig. 14", "Shape with the tightest final curvatures of five.", "(15, 45)", PLAIN, _tightest),
        Claim(
            PAPER, "App. C.3", "Over-parameterised models (P > D) concentrate tighter, by 3 standard errors.", True, PLAIN,
            _tighter,
        ),
        Claim(
            PAPER, "App. C.3", "Regime that concentrates tighter at the edge.", "D > P", PLAIN, _reversed, expected="P > D",
            correction="one sentence of the text calls D > P over-parameterised, the next one P > D; the inequality is reversed",
        ),
        Claim(
            PAPER, "Fig. 14", "Median final curvature in the box, P > D.", 2.0,
            absolute(0.1, "half of the width of our edge-of-stability band"), _near_edge,
        ),
    ),
    seconds_quick=16, seconds_full=600,
)  # fmt: skip

FIGURES = (FIGURE_4, FIGURE_14)
