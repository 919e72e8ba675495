"""The diagram of three-layer nets: slopes of both layers over (gamma3, gamma2), critical lines, four regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, exact, untestable
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure
from trainphase.reproduce.zhou import runs
from trainphase.theory import relu3 as theory

if TYPE_CHECKING:
    import xarray

GAMMA3, GAMMA2 = np.round(np.linspace(0.8, 3.6, 15), 6), np.round(np.linspace(-0.6, 1.2, 10), 6)
QUICK_GAMMA3, QUICK_GAMMA2 = np.array([0.8, 1.4, 2.0, 2.6, 3.2]), np.array([-0.4, 0.0, 0.4, 0.8, 1.2])
WIDTHS, QUICK = (250, 500, 1000, 2000), (125, 500)
WHERE = "theoretical diagram of three layers"
REGIMES = {"linear": "LR", "condensed": "CR"}


def compute(context: Context) -> xarray.Dataset:
    """Slopes on a grid, two seeds each (one when quick), and where they cross 0 along gamma3; dims (gamma3, gamma2, layer)."""
    import xarray

    g3, g2 = context.pick(QUICK_GAMMA3, GAMMA3), context.pick(QUICK_GAMMA2, GAMMA2)
    points = [(float(a), float(b)) for a in g3 for b in g2]
    widths = context.pick(QUICK, WIDTHS)
    found = runs.with_slopes(runs.distances(context, points, widths, context.pick(1, 2)))
    shape = len(g3), len(g2), len(runs.LAYERS)
    variables: dict[str, Any] = {
        name: (("gamma3", "gamma2", "layer"), found[name].values.reshape(shape)) for name in ("slope", "slope_se", "theory")
    }
    cut = np.array([[runs.crossing(g3, variables["slope"][1][:, k, j]) for j in range(shape[2])] for k in range(shape[1])])
    variables["crossing"] = (("gamma2", "layer"), cut)
    coords = {"gamma3": g3, "gamma2": g2, "layer": list(runs.LAYERS)}
    attrs = {**found.attrs, "widths": list(widths), "seeds": found.sizes["seed"]}
    return xarray.Dataset(variables, coords, attrs)


def _draw(data: Any) -> Any:
    from trainphase.figures import three_layer

    return three_layer.diagram(data)


def regions(data: xarray.Dataset) -> list[tuple[str, str]]:
    """Regimes of (W1, W2) that are measured somewhere, by slopes beyond +-0.1, in the order of the theory."""
    values = data["slope"].values
    signs = np.where(values > 0.1, 1, np.where(values < -0.1, -1, 0))
    seen = {(int(a), int(b)) for a, b in signs.reshape(-1, 2)}
    code = {"linear": -1, "condensed": 1}
    return [pair for pair in theory.REGIONS if (code[pair[0]], code[pair[1]]) in seen]


def _words(pairs: list[tuple[str, str]]) -> str:
    return "; ".join(f"{REGIMES[b]} for W2, {REGIMES[a]} for W1" for a, b in pairs)


def _count(context: Context) -> Measured:
    found = regions(context.data())
    return Measured(len(found), note=f"slopes beyond +-0.1 on the grid: {_words(found)}")


def _missing(context: Context) -> Measured:
    """The measured region that the legend of the slides does not have."""
    legend = {("linear", "linear"), ("linear", "condensed"), ("condensed", "condensed")}
    extra = [pair for pair in regions(context.data()) if pair not in legend]
    return Measured(_words(extra) or "none", note="the legend names CR/LR, CR/CR and LR/LR for W2/W1")


def _crossings(context: Context, layer: str) -> Measured:
    """Mean distance of the measured zero crossings from the critical line."""
    data = context.data().sel(layer=layer)
    apart = data["crossing"].values - theory.critical_gamma3(layer, data["gamma2"].values)
    known = np.isfinite(apart)
    if known.sum() < 2:
        return untestable("fewer than two rows have a crossing on the grid")
    rows = ", ".join(f"{a:+.2f} at {g:g}" for a, g in zip(apart[known], data["gamma2"].values[known], strict=True))
    return Measured(float(np.abs(apart[known]).mean()), note=f"measured less theory by gamma2: {rows}")


def _shares(context: Context, layer: str) -> Measured:
    """Points whose slope has the other sign than theory, among those where theory is away from 0 by more than 0.2."""
    data = context.data().sel(layer=layer)
    clear = (np.abs(data["theory"].values) > 0.2) & np.isfinite(data["slope"].values)
    if not clear.any():
        return untestable("no point away from the critical line has a slope")
    wrong = clear & (np.sign(data["slope"].values) != np.sign(data["theory"].values))
    at = [f"({a:g}, {b:g})" for a, b in zip(*_where(data, wrong), strict=True)]
    note = f"of {clear.sum()} points with |theory| > 0.2" + (f"; wrong at {', '.join(at)}" if at else "")
    return Measured(int(wrong.sum()), note=note)


def _where(data: xarray.Dataset, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(chosen)
    return data["gamma3"].values[rows], data["gamma2"].values[columns]


ONE_STEP = "slopes of ladders of small widths are off by 0.1 or so, and change by as little as 0.4 per unit of gamma3"
CLAIMS = (
    Claim(
        runs.PAPER, WHERE, "number of regions by the regimes of W1 and W2 (the caption says four, the legend keeps three)", 4,
        exact("a count"), _count,
    ),
    Claim(
        runs.PAPER, WHERE, "the region that the legend leaves out", None, exact("a name"), _missing,
        expected="LR for W2, CR for W1",
    ),
    *(
        Claim(
            runs.PAPER, WHERE, f"mean distance of the zero crossings of {layer.upper()} from its critical line, in gamma3", None,
            absolute(0.15, ONE_STEP), lambda c, layer=layer: _crossings(c, layer), expected=0.0,
        )
        for layer in runs.LAYERS
    ),
    *(
        Claim(
            runs.PAPER, WHERE, f"points where the slope of {layer.upper()} has the other sign than theory, |theory| > 0.2", None,
            absolute(0.0, "twice the error that finite width and chance leave in a slope"),
            lambda c, layer=layer: _shares(c, layer), expected=0.0,
        )
        for layer in runs.LAYERS
    ),
)  # fmt: skip

FIGURE = Figure(
    runs.PAPER, "diagram", "Diagram of three-layer nets with the regions of W1 and W2", compute, _draw, CLAIMS,
    seconds_quick=25, seconds_full=4000,
)  # fmt: skip
