"""Figures of three-layer nets and of the table of initialisations: what their panels show is what the data say."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from trainphase.figures import initialisation, three_layer
from trainphase.phase import REGIME
from trainphase.theory import relu2, relu3

WIDTHS = np.array([100, 1000])


def ladders() -> xr.Dataset:
    """Distances m^-0.6, 1 and m^0.2 of W1, and these over sqrt(m) of W2, of two seeds a factor of 1.21 apart."""
    powers = np.array([-0.6, 0.0, 0.2])[:, None] + np.array([0.0, -0.5])
    values = WIDTHS[None, :, None, None] ** powers[:, None, None, :] * np.array([1.1, 1 / 1.1])[None, None, :, None]
    return xr.Dataset(
        {"distance": (("point", "width", "seed", "layer"), values), "slope": (("point", "layer"), powers),
         "theory": (("point", "layer"), powers)},
        {"width": WIDTHS, "seed": [0, 1], "layer": ["w1", "w2"], "gamma3": ("point", [0.9, 1.5, 2.1])},
    )  # fmt: skip


def test_fitted_lines_go_through_the_middle_of_the_seeds() -> None:
    for j, ax in enumerate(three_layer.distances(ladders()).axes):
        fits = [line for line in ax.lines if line.get_linestyle() == "-"]
        assert len(fits) == 3
        for line, power in zip(fits, (-0.6, 0.0, 0.2), strict=True):
            np.testing.assert_allclose(np.asarray(line.get_ydata(), float), WIDTHS ** (power - 0.5 * j), rtol=1e-12)  # rounding
        legend = ax.get_legend()
        assert legend is not None and ("+0.20" if j == 0 else "0.30") in legend.get_texts()[2].get_text()


def test_the_diagram_shows_slopes_lines_and_zeros() -> None:
    g3, g2 = np.array([1.0, 2.0, 3.0]), np.array([-0.5, 0.5])
    slope = np.arange(12.0).reshape(3, 2, 2) / 10 - 0.5
    data = xr.Dataset(
        {"slope": (("gamma3", "gamma2", "layer"), slope), "crossing": (("gamma2", "layer"), [[1.5, np.nan], [2.5, 2.6]])},
        {"gamma3": g3, "gamma2": g2, "layer": ["w1", "w2"]},
    )
    fig = three_layer.diagram(data)
    for j, layer in enumerate(("w1", "w2")):
        ax = fig.axes[j]
        np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), slope[:, :, j].T)
        drawn = [np.asarray(line.get_xydata()) for line in ax.lines]
        assert any(np.array_equal(line, relu3.critical_line(layer, -1.0, 1.0)) for line in drawn)
        assert any(np.array_equal(line[:, 0], data["crossing"].values[:, j], equal_nan=True) for line in drawn)
    words = {text.get_text().replace("\n", " ") for text in fig.axes[2].texts}
    assert words == {name for name, _ in initialisation.REGIONS3}
    for text in fig.axes[2].texts:
        first, second = relu3.REGIONS[int(relu3.region_index(*text.get_position()))]
        name = {"linear": "$W_2$ condensed" if second == "condensed" else "both linear",
                "condensed": "both condensed" if second == "condensed" else "$W_1$ condensed"}[first]  # fmt: skip
        assert text.get_text().replace("\n", " ") == name


def test_slopes_stand_at_their_values() -> None:
    value = np.array([[-0.5, -1.0], [0.4, 0.1]])
    dims = ("point", "layer")
    data = xr.Dataset(
        {"slope": (dims, value), "slope_se": (dims, [[0.1, np.nan], [0.1, 0.1]]), "theory": (dims, value - 0.05)},
        {"layer": ["w1", "w2"], "gamma3": ("point", [1.0, 3.0]), "gamma2": ("point", [0.0, -0.2])},
    )
    left, right = three_layer.slopes(data).axes
    marks = [np.asarray(c.lines[0].get_xydata()) for c in left.containers]  # pyright: ignore
    np.testing.assert_allclose(marks[1], np.stack([value[:, 1] - 0.05, value[:, 1]], 1))
    low, high = left.get_ylim()
    assert low < -1.0 and high > 0.5
    assert [label.get_text() for label in right.get_yticklabels()] == ["(1, 0)", "(3, \N{MINUS SIGN}0.2)"]


def test_fits_show_every_net() -> None:
    x = np.linspace(-0.6, 0.6, 13)
    f = np.arange(3 * 2 * 13.0).reshape(3, 2, 13)
    data = xr.Dataset(
        {"f": (("gamma3", "seed", "x"), f), "y": ("datum", [0.25, 0.25])},
        {"gamma3": [1.0, 1.5, 2.0], "x": x, "x_data": ("datum", [-0.5, 0.5])},
    )
    for k, ax in enumerate(three_layer.fits(data).axes):
        drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
        assert all(any(np.array_equal(f[k, s], line) for line in drawn) for s in range(2))


def test_regions_have_the_colours_of_the_regimes() -> None:
    colours = {p.label: p.colour for p in REGIME.phases}
    assert [c for name, c in initialisation.REGIONS3 if name.startswith("both")] == [colours["linear"], colours["condensed"]]
    line = initialisation.draw().lines[0]
    assert to_hex(line.get_color()).upper() == colours["critical"]  # pyright: ignore


def test_the_pages_of_two_layers() -> None:
    g, p = np.linspace(0, 2, 21), np.linspace(-1, 1, 21)
    data = xr.Dataset({"slope": (("gamma", "gamma_prime"), relu2.slope(g[:, None], p))}, {"gamma": g, "gamma_prime": p})
    right = initialisation.theory(data).axes[1]
    np.testing.assert_array_equal(np.asarray(right.images[0].get_array()), data["slope"].values.T)
    # Each formula stands in the sector that it belongs to.
    assert sorted(relu2.sector(x, y) for x, y, _ in initialisation.SECTOR_WORDS) == sorted(relu2.SECTORS)
    words = {r"$\gamma - 1$": (1, 0), r"$\gamma - 1 - 2\gamma'$": (1, -2), r"$2(\gamma - 1 - \gamma')$": (2, -2),
             r"$(\gamma - 1 - \gamma')/2$": (0.5, -0.5)}  # fmt: skip
    for x, y, text in initialisation.SECTOR_WORDS:
        assert float(relu2.slope(x, y)) == pytest.approx(words[text][0] * (x - 1) + words[text][1] * y)


def test_the_table_shows_draws_on_exact_curves() -> None:
    names = list(initialisation.TABLE_LOOKS)
    n = len(names)
    data = xr.Dataset(
        {f"{name}{part}": (dims, np.full(shape, 0.5)) for name in ("gamma", "gamma_prime") for part, dims, shape in (
            ("", ("init", "width", "seed"), (n, 2, 3)), ("_exact", ("init", "long_width"), (n, 4)), ("_limit", ("init",), (n,)))},
        {"init": names, "width": [10, 100], "long_width": [1e1, 1e2, 1e3, 1e4]},
    )  # fmt: skip
    fig = initialisation.table(data)
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert names[:-1] == [look[0] for look in initialisation.TABLE_LOOKS.values()]
    for ax in fig.axes:
        assert len(ax.lines) == n * (3 + 1 + 1)  # three seeds, a curve, a limit
