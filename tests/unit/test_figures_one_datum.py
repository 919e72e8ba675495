"""Figures of the D = 1 model: they show the data that they are given, and every part has its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from trainphase import figures
from trainphase.figures import one_datum, one_datum_planes, style
from trainphase.phase import EDGE


def words(fig: Figure) -> list[str]:
    """The labels of all legends."""
    found = [*fig.legends, *(ax.get_legend() for ax in fig.axes)]
    return [text.get_text() for legend in found if legend is not None for text in legend.get_texts()]


def panels(fig: Figure) -> list[Any]:
    """The axes, whose artists have types that no stub knows."""
    return list(fig.axes)


def field(E: float = 0.5, eps: float = 0.25, steps: int = 1) -> xr.Dataset:
    """A plane with made-up runs: the upper half diverges."""
    z, T, line = np.linspace(-1, 1, 8), np.linspace(0, 4, 9), np.linspace(-1, 1, 41)
    za, Ta = np.linspace(-0.9, 0.9, 4), np.linspace(0.5, 3.5, 5)
    phase = np.full((8, 9), EDGE.index("flat"), np.uint8)
    phase[:, 5:] = EDGE.index("divergent")
    b = 2 * line + E
    dz = np.full((4, 5), -1.0)
    dz[0, 0] = np.nan
    return xr.Dataset(
        {
            "phase": (("z", "T"), phase), "curvature": (("z", "T"), np.where(phase == 0, 1.0, np.nan)),
            "low": ("line", np.maximum(b, -eps * b)), "high": ("line", np.full(41, np.inf)),
            "f_z": ("line", np.full(41, 1.5)), "f_T": ("line", np.full(41, 2.5)),
            "delta_z": (("z_arrow", "T_arrow"), dz), "delta_T": (("z_arrow", "T_arrow"), np.full((4, 5), 2.0)),
            "final": (("z", "T"), np.linspace(0.5, 1.5, 72).reshape(8, 9)),
        },
        {"z": z, "T": T, "line": line, "z_arrow": za, "T_arrow": Ta},
        {"eps": eps, "E": E, "steps": steps, "vocabulary": "edge"},
    )  # fmt: skip


def test_arrows_show_signs_or_directions_and_skip_what_is_not_known():
    with style.context():
        fig = style.figure(3, 3)
        ax = fig.subplots()
        ax.set(xlim=(0, 1), ylim=(0, 1))
        x, y = np.array([0.2, 0.8]), np.array([0.5])
        for signs in (True, False):
            one_datum_planes.arrows(ax, x, y, np.array([[3.0], [np.nan]]), np.array([[0.1], [1.0]]), signs=signs)
        arrows: list[Any] = [art for art in ax.collections if isinstance(art, Quiver)]
        diagonal, along = arrows
    assert diagonal.N == along.N == 1
    assert diagonal.U[0] == pytest.approx(diagonal.V[0]) == pytest.approx(np.sqrt(0.5))
    assert along.U[0] > 0.99  # 30 times as far to the right as up, in a square frame


def test_planes_name_every_line_and_area():
    fig = one_datum_planes.histogram_page(field(), {"Theorem 3.1": 1.9, "to second order": 1.8}, 0.1)
    shown = words(fig)
    assert [w for w in shown if "diverges" in w or "no such" in w] == ["no such parameters", "diverges"]
    assert any("Theorem 3.1: 1.9000" in w for w in shown)
    assert sum(r"_{t+1}" in w for w in shown) == 2


def test_histogram_is_of_runs_that_settle_and_sums_to_one():
    fig = one_datum_planes.histogram_page(field(), {}, 0.1)
    heights = [bar.get_height() for bar in panels(fig)[1].patches]
    assert sum(heights) == pytest.approx(1.0)
    assert panels(fig)[1].get_legend().get_title().get_text() == "40 runs"


def test_the_tint_covers_what_diverges():
    fig = one_datum_planes.cones_page(field(), field(eps=-0.3).drop_vars("phase"))
    (image,) = panels(fig)[0].images
    assert np.asarray(image.get_array()).shape == (9, 8)
    np.testing.assert_array_equal(np.ma.getmaskarray(image.get_array())[:, 0], [True] * 5 + [False] * 4)
    assert not fig.axes[1].images


def test_symmetric_page_has_both_values_of_E():
    zero, shifted = field(E=0.0), field(E=1.0)
    zero["divergence"] = shifted["divergence"] = ("line", np.full(41, 3.9))
    fig = one_datum_planes.symmetric_page(zero, shifted)
    assert [ax.get_title() for ax in fig.axes[:2]] == [r"$\tilde{E} = 0$", r"$\tilde{E} = 1$"]
    assert any("4 +" in w for w in words(fig))


def landscape(starts: int = 2, steps: int = 6) -> xr.Dataset:
    """A bowl with straight paths into it."""
    one, two = np.linspace(0.7, 1.95, 11), np.linspace(-4.75, -3.5, 12)
    first = np.array([[1.5, -4.32], [1.0, -4.32]])[:starts]
    path = np.stack([first + k * (np.array([1.27, -4.0]) - first) / (steps - 1) for k in range(steps)], 1)
    path[0, -1] = np.nan
    return xr.Dataset(
        {
            "loss": (("theta_1", "theta_2"), 0.1 * (one[:, None] ** 2 - 0.1 * two**2) ** 2),
            "kernel": (("theta_1", "theta_2"), one[:, None] ** 2 + 0.01 * two**2),
            "theta": (("start", "step", "parameter"), path), "theta_even": (("start", "even", "parameter"), path[:, ::2]),
            "curvature": (("start", "step"), np.linspace(2.4, 1.7, starts * steps).reshape(starts, steps)),
        },
        {"theta_1": one, "theta_2": two}, {"lr": 1.1, "eps": 0.1},
    )  # fmt: skip


def test_landscape_draws_the_iterates_and_says_the_curvatures():
    data = landscape()
    fig = one_datum.landscape(data)
    every = max((line for line in panels(fig)[0].lines if line.get_marker() == "o"), key=lambda line: len(line.get_xdata()))
    np.testing.assert_array_equal(every.get_xydata(), data["theta"].values[0, :5])  # the last one is not there
    text = fig.axes[0].texts[0].get_text()
    assert "2.400" in text and "{-}4.32" in text
    assert "minima (zero loss)" in words(fig)


def edge_data() -> tuple[xr.Dataset, xr.Dataset]:
    """Two starts that creep to the edge, and a field that points to it."""
    steps = np.arange(60)
    T = 2 + np.exp(-steps / 10) * np.array([[0.3], [-0.5]])
    every = np.stack([T, T])
    every[:, 1, 40:] = np.nan
    z = np.exp(-steps[::2] / 20) * np.array([[0.1], [-0.3]])
    runs = xr.Dataset(
        {
            "curvature": (("lr", "start", "step"), every), "z": (("start", "even"), z), "T": (("start", "even"), T[:, ::2]),
            "y": (("start", "even"), 0.1 * (T[:, ::2] - 2)),
        },
        {"lr": [1.0, 0.1]}, {"eps": 0.005},
    )  # fmt: skip
    ends = {"z": (-0.6, 0.4, 4), "T": (1, 3, 5), "near": (-0.3, 0.3, 4), "y": (-0.03, 0.06, 5)}
    axes = {name: np.linspace(*span) for name, span in ends.items()}
    ones = np.ones((4, 5))
    around = {k: (("z", "T"), ones) for k in ("delta_z", "delta_T")}
    around |= {k: (("near", "y"), ones) for k in ("delta_z_y", "delta_y")}
    line = np.linspace(-0.6, 0.4, 21)
    return runs, xr.Dataset(around | {k: ("line", 2 / (1 - line)) for k in ("f_z", "f_T")}, axes | {"line": line})


def test_edge_page_shows_even_steps_and_all_step_sizes():
    fig = one_datum.edge_page(*edge_data())
    first = max((line for line in panels(fig)[0].lines), key=lambda line: len(line.get_xdata()))
    np.testing.assert_array_equal(first.get_xdata(), np.arange(0, 60, 2) + 1)
    assert [w for w in words(fig) if "eta" in w] == [r"$\eta = 1$", r"$\eta = 0.1$"]
    assert sum(isinstance(art, Quiver) for ax in fig.axes for art in ax.collections) == 2


@pytest.mark.parametrize(("values", "end"), [([1, 2, np.nan, np.nan], 2.0), ([1, 9e9, np.inf, np.nan], 1e3), ([1, 2, 3, 4], 4.0)])
def test_what_has_settled_is_held_and_what_escaped_leaves_the_frame(values, end):
    held = one_datum._held(np.asarray(values, float))
    assert held.size == 4
    assert held[-1] == end


def test_step_sizes_mark_those_that_diverge():
    runs = xr.Dataset({"curvature": (("start", "lr", "step"), np.ones((2, 2, 70)))}, {"lr": [0.5, 2.2]}, {"eps": 0.1})
    phase = np.array([[0, 0, 4], [0, 4, 4]], np.uint8)
    scan = xr.Dataset(
        {"phase": (("start", "lr"), phase), "curvature": (("start", "lr"), np.where(phase == 4, np.nan, 1.5))},
        {"lr": [0.5, 1.0, 2.5]}, {"vocabulary": "edge", "eps": 0.1},
    )  # fmt: skip
    ax = panels(one_datum.step_sizes(runs, scan, [(1.5, -4.32), (1.0, -4.32)]))[2]
    marked = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "|"]
    assert marked == [[2.5], [1.0, 2.5]]


def test_deviation_draws_what_is_left_beyond_half_of_eps():
    eps = np.array([0.01, 0.1])
    data = xr.Dataset({"deviation": ("eps", eps / 2 + eps**2), "ode_deviation": ("eps", eps / 2 + eps**2 / 3)}, {"eps": eps})
    fig = one_datum.deviation(data)
    left = {to_hex(line.get_color()): line.get_ydata() for line in panels(fig)[1].lines if line.get_ls() == "None"}
    np.testing.assert_allclose(left[to_hex(one_datum.BLUE)], eps**2)
    np.testing.assert_allclose(left[to_hex(one_datum.ORANGE)], eps**2 / 3)


@pytest.mark.parametrize("page", [lambda: one_datum.landscape(landscape()), lambda: one_datum.edge_page(*edge_data())])
def test_pages_can_be_saved(page: Any, tmp_path):
    assert figures.save(page(), tmp_path / "a.png").stat().st_size > 10_000
