"""Figures of two-layer nets: what their panels show is what the data say."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from trainphase.figures import neurons, regime
from trainphase.phase import REGIME
from trainphase.theory import relu2

WIDTHS = np.array([1000, 10000])


def lines(ax: Any) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata(), float) for line in ax.lines]


def test_a_ladder_shows_every_net_and_its_fit() -> None:
    powers = np.array([-0.5, 0.0, 0.375])
    values = WIDTHS[None, :, None] ** powers[:, None, None] * np.array([1.1, 1 / 1.1])
    data = xr.Dataset(
        {"distance": (("point", "width", "seed"), values), "slope": ("point", powers), "slope_se": ("point", [0.01, 0.02, 0.03])},
        {"width": WIDTHS, "seed": [0, 1], "gamma": ("point", [0.5, 1.0, 1.75])},
    )
    for k, ax in enumerate(regime.distances(data).axes):
        drawn = lines(ax)
        np.testing.assert_allclose([line[:, 1] for line in drawn[:2]], values[k].T)
        np.testing.assert_allclose(drawn[2][:, 1], WIDTHS ** powers[k], rtol=1e-12)  # rounding
        low, high = ax.get_ylim()
        assert low < values[k].min() and high > values[k].max() and high > 2 * low
        legend = ax.get_legend()
        assert legend is not None and f"{powers[k]:+.3f}".replace("-", "\N{MINUS SIGN}") in legend.get_texts()[0].get_text()


def plane() -> xr.Dataset:
    gamma, prime = np.array([0.9, 1.0, 1.1]), np.array([-0.1, 0.1])
    slope = np.array([[-0.4, -0.1, np.nan], [-0.3, 0.2, 0.5]])
    zeros = {"zero": ("gamma_prime", [np.nan, 0.96]), "rule": ("gamma_prime", [1.0, 1.1])}
    coords = {"gamma": gamma, "gamma_prime": prime}
    return xr.Dataset({"slope": (("gamma_prime", "gamma"), slope), **zeros}, coords, {"widths": WIDTHS, "seeds": 2})


def test_the_map_is_red_where_linear_and_blue_where_condensed() -> None:
    data = plane()
    ax = regime.slope_map(data).axes[0]
    image = ax.images[0]
    shown_values = np.ma.masked_invalid(np.ma.asarray(image.get_array()))
    np.testing.assert_array_equal(shown_values.filled(np.nan), data["slope"].values)
    colours = {p.label: p.colour.lower() for p in REGIME.phases}
    shown = [to_hex(colour) for colour in image.to_rgba(np.array([-regime.TOP, 0.0, regime.TOP]))]
    assert shown == [colours["linear"], "#ffffff", colours["condensed"]]
    drawn = lines(ax)
    assert np.array_equal(drawn[0], relu2.critical_line(-0.2, 0.2))
    assert np.array_equal(drawn[1], [[1.0, -0.1], [1.1, 0.1]])
    assert np.array_equal(drawn[2], [[np.nan, -0.1], [0.96, 0.1]], equal_nan=True)


def test_pairs_of_scales_lie_on_their_values() -> None:
    slope = np.array([[-0.5, 0.0], [-0.4, 0.1], [-0.3, 0.2]])
    data = xr.Dataset(
        {"slope": (("power", "gamma"), slope), "normalised": ("gamma", [-0.45, 0.05])},
        {"power": [0.0, 0.5, 1.0], "gamma": [0.5, 1.0]},
    )
    drawn = lines(regime.scales(data).axes[0])
    for row in [*slope, data["normalised"].values]:
        assert any(line.shape == (2, 2) and np.array_equal(line[:, 1], row) for line in drawn)


def test_exponents_are_sorted_by_sector_and_named() -> None:
    def part(points: list[tuple[float, float]], extra: float) -> xr.Dataset:
        gamma, prime = np.array(points).T
        theory = np.array([relu2.slope(*p) for p in points])
        return xr.Dataset(
            {"slope": ("point", theory + extra), "slope_se": ("point", np.full(len(points), 0.01)), "theory": ("point", theory)},
            {"gamma": ("point", gamma), "gamma_prime": ("point", prime)},
        )

    left, right = regime.exponents(
        {
            "points": part([(2.0, -0.5), (0.5, -0.6)], 0.02),
            "lazy": part([(1.5, -1.0)], 0.02),
            "gaussian": part([(1.5, -1.0)], -0.01),
        }
    ).axes
    minus = "\N{MINUS SIGN}"
    names = [label.get_text() for label in right.get_yticklabels()]
    assert names == [f"(0.5, {minus}0.6)", f"(2, {minus}0.5)", f"(1.5, {minus}1)", f"(1.5, {minus}1) 1-D"]
    marks = [np.asarray(c.lines[0].get_xydata(), float)[0] for c in right.containers]  # pyright: ignore
    # Differences of numbers of size 1, rounded.
    np.testing.assert_allclose(marks, [[0.02, 0], [0.02, 1], [-0.01, 2], [0.02, 3]], atol=1e-12)
    assert len(left.containers) == 4


def test_fits_show_the_function_and_scale_amplitudes_to_one() -> None:
    x = np.linspace(-0.6, 0.6, 7)
    f = np.arange(2 * 2 * 7.0).reshape(2, 2, 7)
    curves = xr.Dataset(
        {"f": (("gamma", "seed", "x"), f), "linearised": (("gamma", "seed", "x"), f + 100), "y": ("datum", [0.25, 0.1])},
        {"gamma": [0.5, 1.0], "x": x, "x_data": ("datum", [-0.5, 0.5])},
    )
    rows = np.array([[1.0, 4.0, 2.0], [3.0, 6.0, 12.0]])
    points = xr.Dataset(
        {f"{name}_{when}": (("gamma", "neuron"), rows / (3 if name == "orientation" else 1))
         for name in ("orientation", "amplitude") for when in ("start", "end")},
        {"gamma": [0.5, 1.0]},
    )  # fmt: skip
    fig = neurons.fits({"curves": curves, "neurons": points})
    for k in range(2):
        drawn = lines(fig.axes[k])
        assert any(np.array_equal(f[k, 0], line[:, 1]) for line in drawn)
        assert any(np.array_equal(f[k, 0] + 100, line[:, 1]) for line in drawn)
        dots = fig.axes[2 + k].collections[-1].get_offsets()
        np.testing.assert_allclose(np.asarray(dots), np.stack([rows[k] / 3, rows[k] / rows[k].max()], 1), rtol=1e-12)


def test_positions_lie_as_in_the_plane() -> None:
    gamma, prime = np.array([0.5, 1.75, 0.5, 1.75]), np.array([-0.4, -0.4, 0.4, 0.4])
    angle = np.broadcast_to(np.arange(4.0)[:, None, None] / 10, (4, 2, 3))
    dims, nets = ("point", "when", "neuron"), {}
    for width, shift in ((100, 0.0), (1000, 0.5)):
        values = {"orientation": (dims, angle + shift), "amplitude": (dims, np.ones((4, 2, 3)))}
        values["score"] = (dims[:2], np.full((4, 2), shift + 0.25))
        coords = {"gamma": ("point", gamma), "gamma_prime": ("point", prime)}
        nets[f"m{width}"] = xr.Dataset(values, coords, {"width": width, "data": "points"})
    axes = neurons.positions(nets).axes
    # Rows from the top: the largest gamma' first.
    for ax, point in zip(axes, (2, 3, 0, 1), strict=True):
        offsets = [np.asarray(c.get_offsets())[:, 0] for c in ax.collections]
        np.testing.assert_allclose(offsets, [np.full(3, point / 10), np.full(3, point / 10 + 0.5)], rtol=1e-12)
        colours = {p.label: p.colour.lower() for p in REGIME.phases}
        face = to_hex(np.asarray(ax.collections[1].get_facecolor())[0][:3])
        assert face == colours[relu2.regime(gamma[point], prime[point])]
        assert "0.25" in ax.texts[0].get_text() and "0.75" in ax.texts[0].get_text()
