"""Figures: what is drawn is what the data say; colours, words, lines and legends."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from trainphase import figures
from trainphase.errors import RequestError
from trainphase.figures import _labels, line, orbit, plane, style
from trainphase.phase import NOT_COMPUTED, TRAINING

EDGES = (2 * np.sqrt(2) - 2, 1.0, 1.3022834627007122, 2.0)
NAMES = ("monotonic/catapult", "catapult/periodic", "periodic/chaotic", "chaotic/divergent")
THEORY = [{"name": n, "between": n.split("/"), "at": a} for n, a in zip(NAMES, EDGES, strict=True)]


def cubic_orbit(
    lo: float = 0.0, hi: float = 2.2, n: int = 300, samples: int = 16, geometric: bool = False
) -> xr.Dataset:
    """A diagram of the cubic map, iterated here: the figures are given data and never make them."""
    a = np.geomspace(lo, hi, n) if geometric else np.linspace(lo, hi, n)
    z, growth, kept = np.full(n, 0.137), np.zeros(n), []
    with np.errstate(all="ignore"):
        for t in range(256 + samples):
            if t >= 256:
                kept.append(z)
            growth += np.log(np.abs((z - 1) * (3 * z + 2 * a - 1))) * (t >= 100)
            z = ((z + (a - 2)) * z + (1 - 2 * a)) * z
    data = np.stack(kept, 1)
    gone = ~np.isfinite(z) | (np.abs(z) > 10)
    exponent = np.where(gone, np.nan, growth / (156 + samples))
    phase = np.digitize(a, EDGES).astype(np.uint8)
    phase[gone] = TRAINING.index("divergent")
    loss = np.where(gone, np.nan, np.square(np.where(gone, 0.0, data[:, -1])) / 2)
    one = {"units": "1"}
    return xr.Dataset(
        {
            "phase": ("a", phase),
            "orbit": (("a", "sample"), np.where(gone[:, None], np.nan, data).astype(np.float32), one),
            "lyapunov": ("a", exponent, {"units": "1/step"}),
            "lyapunov_se": ("a", np.full(n, 0.01), {"units": "1/step"}),
            "loss": ("a", loss, {"units": "target units squared"}),
            "curvature": ("a", np.where(gone, np.nan, 2 * a), one),
        },
        {"a": ("a", a, one)},
        {"system": "cubic", "vocabulary": "training"},
    )


def map_over(x: np.ndarray, y: np.ndarray, phase: np.ndarray | None = None) -> xr.Dataset:
    """A diagram over step size and scale whose phase depends on their product."""
    codes = np.digitize(np.outer(x, y), EDGES).astype(np.uint8) if phase is None else phase
    return xr.Dataset(
        {"phase": (("lr", "scale"), codes), "phase_half": (("lr", "scale"), codes)},
        {"lr": ("lr", x, {"units": "step size"}), "scale": ("scale", y, {"units": "1"})},
        {"vocabulary": "training"},
    )


def hyperbolas(scales: np.ndarray) -> list[dict[str, Any]]:
    """The lines lr * scale = a of the theory for :func:`map_over`."""
    return [
        {"name": n, "between": n.split("/"), "points": [[a / s, s] for s in scales]}
        for n, a in zip(NAMES, EDGES, strict=True)
    ]


def legend_words(fig: Figure) -> list[str]:
    return [text.get_text() for legend in fig.legends for text in legend.get_texts()]


def panels(fig: Figure) -> list[Axes]:
    return fig.axes


# --- labels ---------------------------------------------------------------------------------------------------


def test_spread_keeps_labels_apart_and_near() -> None:
    widths = [10.0, 20.0, 10.0, 30.0]
    places = _labels.spread([50.0, 51.0, 52.0, 200.0], widths, 0.0, 220.0, 2.0)
    assert places is not None
    left, right = places - np.array(widths) / 2, places + np.array(widths) / 2
    # Touching is allowed to within rounding of sums of order 100.
    assert (left[1:] - right[:-1] >= 2.0 - 1e-9).all() and left[0] >= 0 and right[-1] <= 220
    assert places[3] == 200.0, "a label with room around it stays"
    assert abs(places[:3].mean() - 51.0) < 1e-9, "labels that crowd move apart about their middle"
    assert _labels.spread([1.0, 2.0], [60.0, 60.0], 0.0, 100.0, 0.0) is None


def boxes(fig: Figure, ax: Axes) -> list[Any]:
    fig.draw_without_rendering()
    # Of the words alone: an annotation counts its line to the frame too.
    return [Text.get_window_extent(t) for t in ax.texts if t.get_text()]


@pytest.mark.parametrize("width", [style.SINGLE, style.DOUBLE])
def test_names_of_the_theory_do_not_collide(width: float) -> None:
    crowd = [*THEORY, {"name": "period 4", "between": ["2", "4"], "at": 1.236}, {"name": "crisis", "at": 1.598}]
    fig = line.page(cubic_orbit(), crowd, width=width)
    drawn = boxes(fig, panels(fig)[0])
    assert len(drawn) == len(crowd)
    if width == style.DOUBLE:
        assert not any(a.overlaps(b) for i, a in enumerate(drawn) for b in drawn[:i])
        whole = fig.bbox
        assert all(whole.x0 <= b.x0 and b.x1 <= whole.x1 and b.y1 <= whole.y1 for b in drawn)


def test_lines_of_a_plane_are_named_where_they_leave_it() -> None:
    x = np.geomspace(1e-2, 10, 60)
    ax = plane.draw(map_over(x, np.geomspace(0.1, 10, 50)), theory=hyperbolas(np.geomspace(0.01, 20, 65)))
    words = [t.get_text() for t in ax.texts]
    assert {"M/C", "C/P", "P/X", "X/D"} <= set(words)
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    short = [t for t in ax.texts if "/" in t.get_text()]
    fig.draw_without_rendering()
    drawn = [Text.get_window_extent(t) for t in short]
    assert not any(a.overlaps(b) for i, a in enumerate(drawn) for b in drawn[:i])
    inside = ax.get_window_extent()
    assert not any(b.overlaps(inside) for b in drawn), "names of lines stand outside the map"


def test_lines_that_end_elsewhere_are_named_beside_the_frame_or_on_themselves() -> None:
    paths = {"top": [[0.2, 0.0], [0.4, 1.0]], "right": [[0.0, 0.3], [0.99, 0.6]], "inside": [[0.0, 0.8], [0.6, 0.0]]}
    ax = plane.draw(map_over(np.linspace(0, 3, 6), np.linspace(0, 2, 5)), names=False)
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    for side, path in paths.items():
        points = low + np.array(path) * (high - low)
        assert _labels.exit_of(_labels.dense_path(ax, points))[0] == side
    lines = [{"name": k, "points": (low + np.array(p) * (high - low)).tolist()} for k, p in paths.items()]
    again = plane.draw(map_over(np.linspace(0, 3, 6), np.linspace(0, 2, 5)), theory=lines)
    drawn = {t.get_text(): t for t in again.texts}
    x, y = drawn["inside"].get_position()
    assert y / 0.8 + x / 0.6 == pytest.approx(1.0, abs=2e-3), "on its line, to the spacing of the points along it"


def test_names_of_phases_stand_in_their_own_region() -> None:
    x, y = np.linspace(0.01, 3, 80), np.linspace(0.01, 2, 70)
    dataset = map_over(x, y)
    ax = plane.draw(dataset, theory=hyperbolas(np.linspace(0.2, 2, 200)))
    found = [t for t in ax.texts if t.get_text() in (*TRAINING.labels, *(p.symbol for p in TRAINING.phases))]
    assert {t.get_text() for t in found} >= {"monotonic", "divergent"}
    for text in found:
        where = (ax.transAxes + ax.transData.inverted()).transform(text.get_position())
        at = np.digitize(where[0] * where[1], EDGES)
        assert text.get_text() in (TRAINING.phases[at].label, TRAINING.phases[at].symbol)


# --- planes ---------------------------------------------------------------------------------------------------


def colours_of(art: Any, codes: np.ndarray) -> list[str]:
    return [to_hex(art.cmap(art.norm(c))).upper() for c in codes]


def test_colours_are_those_of_the_vocabulary() -> None:
    codes = np.array([[0, 1, 2], [3, 4, 5], [NOT_COMPUTED] * 3], np.uint8)
    ax = plane.draw(map_over(np.arange(3.0), np.arange(3.0), codes))
    art = ax.get_images()[0]
    drawn = np.asarray(art.get_array())
    assert drawn.T.tolist() == [[0, 1, 2], [3, 4, 5], [6, 6, 6]], "the first axis is horizontal"
    assert colours_of(art, np.arange(6)) == [p.colour.upper() for p in TRAINING.phases]
    assert colours_of(art, np.array([6])) == [style.BLANK]


def test_rendered_pixels_have_the_colours_of_their_phase() -> None:
    # Pixels and not artists: an image on a logarithmic axis was once stretched as if the axis were linear.
    x, y = np.geomspace(1e-2, 10, 40), np.geomspace(0.1, 10, 40)
    ax = plane.draw(map_over(x, y), names=False, legend=False)
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    fig.set_dpi(200)
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())[::-1, :, :3]  # pyright: ignore[reportAttributeAccessIssue]
    for i, j in np.ndindex(40, 40):
        u, v = ax.transData.transform((x[i], y[j]))
        code = int(np.digitize(x[i] * y[j], EDGES))
        colour = "#" + "".join(f"{c:02X}" for c in pixels[int(v), int(u)])
        assert colour == TRAINING.phases[code].colour.upper(), (x[i], y[j])


def test_limits_are_the_outer_edges_of_the_cells() -> None:
    ax = plane.draw(map_over(np.geomspace(1e-2, 1, 3), np.linspace(0, 2, 3)))
    assert ax.get_xscale() == "log" and ax.get_yscale() == "linear"
    # Rounding of exp(log(x)).
    np.testing.assert_allclose(ax.get_xlim(), (10**-2.5, 10**0.5), rtol=1e-12)
    assert ax.get_ylim() == (-0.5, 2.5)


def test_few_round_values_have_the_ticks() -> None:
    ax = plane.draw(map_over(np.geomspace(1e-2, 1, 6), np.array([8.0, 16.0, 32.0])))
    assert ax.get_yscale() == "log" and ax.get_yticks().tolist() == [8, 16, 32] and ax.get_yticks(minor=True).size == 0
    assert [ax.yaxis.get_major_formatter()(v) for v in ax.get_yticks()] == ["8", "16", "32"]
    # 0.0251 is no round number, and ticks at 1 and 1.1 beside 100 would overlap.
    assert 0.1 in np.round(ax.get_xticks(), 12) and ax.get_xticks(minor=True).size > 9
    ax = plane.draw(map_over(np.array([1.0, 1.1, 100.0]), np.linspace(0, 2, 3)))
    assert ax.get_xticks().tolist() != [1, 1.1, 100] and ax.get_yticks().tolist() == [0, 1, 2]


def test_labels_have_units_and_pure_numbers_have_none() -> None:
    ax = plane.draw(map_over(np.linspace(0, 1, 4), np.linspace(0, 1, 4)))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lr (step size)", "scale")
    assert style.symbol("z0") == "$z_{0}$" and style.symbol("a") == "$a$" and style.symbol("beta") == "beta"
    assert style.symbol("gamma_prime") == r"$\gamma'$"


def test_the_legend_lists_the_phases_that_occur() -> None:
    codes = np.array([[1, 1], [4, NOT_COMPUTED]], np.uint8)
    ax = plane.draw(map_over(np.arange(2.0), np.arange(2.0), codes), theory=[{"name": "t", "points": [[0, 0], [1, 1]]}])
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    assert legend_words(fig) == ["catapult", "divergent", "not computed", "theory"]
    fig.draw_without_rendering()
    frame = fig.legends[0].get_window_extent()
    assert frame.x0 >= 0 and frame.x1 <= fig.bbox.x1, "the legend fits the figure"


def test_inexact_theory_is_told_apart() -> None:
    lines = hyperbolas(np.linspace(0.2, 2, 9))
    lines[0]["exact"] = False
    ax = plane.draw(map_over(np.linspace(0, 3, 9), np.linspace(0, 2, 9)), theory=lines)
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    assert legend_words(fig)[-2:] == ["theory", "theory (approximate)"]
    styles = {str(drawn._unscaled_dash_pattern) for drawn in ax.get_lines() if drawn.is_dashed()}  # type: ignore
    assert len(styles) == 2


def test_unstable_points_are_marked_where_asked() -> None:
    dataset = map_over(np.linspace(0, 3, 6), np.linspace(0, 2, 5))
    half = dataset["phase"].values.copy()
    half[2, 3] = TRAINING.undecided
    dataset["phase_half"] = (("lr", "scale"), half)
    ax = plane.draw(dataset, unstable=True)
    marks = np.ma.masked_invalid(np.ma.asarray(ax.get_images()[1].get_array()))
    assert np.argwhere(~np.ma.getmaskarray(marks)).tolist() == [[3, 2]]
    with pytest.raises(RequestError, match="phase_half"):
        plane.draw(dataset.drop_vars("phase_half"), unstable=True)


def test_over_seeds_the_most_frequent_phase_is_drawn() -> None:
    codes = np.array([[[1, 1, 2], [0, 2, 2]]], np.uint8)
    dataset = xr.Dataset({"phase": (("a", "lr", "seed"), codes)}, {"a": [1.0], "lr": [1.0, 2.0], "seed": [0, 1, 2]})
    assert np.asarray(plane.draw(dataset).get_images()[0].get_array()).T.tolist() == [[1, 2]]


def test_measured_boundaries_and_irregular_axes() -> None:
    dataset = map_over(np.array([3.0, 1.0, 1.5]), np.linspace(0, 2, 5))
    found = [{"between": ["monotonic", "catapult"], "points": [[1.2, 0.8], [2.0, 0.4]]}]
    ax = plane.draw(dataset, boundaries=found)
    mesh = ax.collections[0]
    expected = np.digitize(np.outer(np.linspace(0, 2, 5), [1.0, 1.5, 3.0]), EDGES)
    assert np.asarray(mesh.get_array()).tolist() == expected.tolist()
    fig = ax.get_figure(root=True)
    assert isinstance(fig, Figure)
    assert "measured boundary" in legend_words(fig)


def test_a_user_s_axes_are_drawn_into_under_the_user_s_settings() -> None:
    fig = Figure()
    ax = fig.add_subplot()
    before = dict(mpl.rcParams)
    assert plane.draw(map_over(np.linspace(0, 3, 6), np.linspace(0, 2, 5)), ax) is ax
    assert ax.xaxis.label.get_fontname() == "DejaVu Sans"
    ours = plane.draw(map_over(np.linspace(0, 3, 6), np.linspace(0, 2, 5)))
    assert {t.get_fontname() for t in (ours.xaxis.label, *ours.get_xticklabels())} == {style.FONT}, "and ours is ours"
    assert line.draw(cubic_orbit(), fig.add_subplot(), THEORY, "title").get_title() == "title"
    assert dict(mpl.rcParams) == before


# --- one parameter --------------------------------------------------------------------------------------------


def test_line_page_has_the_panels_that_the_dataset_has() -> None:
    dataset = cubic_orbit()
    fig = line.page(dataset, THEORY)
    assert [ax.get_ylabel().split("\n")[0].split(" ")[0] for ax in panels(fig)] == ["", "loss", "curvature", "Lyapunov"]
    assert "(target units squared)" in panels(fig)[1].get_ylabel() and "(1/step)" in panels(fig)[3].get_ylabel()
    assert panels(fig)[1].get_yscale() == "log" and panels(fig)[-1].get_xlabel() == "$a$"
    assert 2.0 in [float(np.asarray(drawn.get_ydata())[0]) for drawn in panels(fig)[2].get_lines()]
    assert legend_words(fig) == ["monotonic", "catapult", "periodic", "chaotic", "divergent", "theory"]
    for ax in panels(fig):
        at = sorted(float(np.asarray(drawn.get_xdata())[0]) for drawn in ax.get_lines() if drawn.is_dashed())
        assert [a for a in EDGES if a in at] == list(EDGES)
    assert len(panels(line.page(dataset.drop_vars(["curvature", "loss"])))) == 2


def test_line_page_over_seeds_draws_median_and_range() -> None:
    dataset = xr.concat([cubic_orbit(), cubic_orbit()], xr.DataArray([0, 1], dims="seed", name="seed"))
    fig = line.page(dataset)
    assert len(panels(fig)[-1].collections) == 1
    assert len(fig.axes) == 4


def test_every_panel_can_be_drawn_alone() -> None:
    for name in ("phase", "loss", "curvature", "lyapunov"):
        assert line.draw(cubic_orbit(0.1, 2.2, 40, geometric=True), name=name, theory=THEORY).get_xscale() == "log"
    with pytest.raises(RequestError, match="it has phase, curvature, lyapunov"):
        line.draw(cubic_orbit().drop_vars("loss"), name="loss")


def test_orbit_counts_are_exact_and_empty_where_the_map_diverges() -> None:
    dataset = cubic_orbit(n=5000)
    number, cols, (low, high) = orbit.counts(dataset)
    assert number.sum() == np.isfinite(dataset["orbit"].values).sum()
    assert low < -1.9 and high > 1.9
    assert number[:, cols.edges[:-1] > 2.0].sum() == 0
    at = np.searchsorted(cols.edges, 1.1) - 1
    # The stable 2-cycle ((1 - a) +- sqrt((a - 1)(a + 3))) / 2 fills two rows, or their neighbours within a column.
    rows = np.flatnonzero(number[:, at])
    middle = low + (rows + 0.5) * (high - low) / number.shape[0]
    cycle = np.array([-0.1 - np.sqrt(0.41), -0.1 + np.sqrt(0.41)]) / 2
    assert np.abs(middle[:, None] - cycle).min(1).max() < 3 * (high - low) / number.shape[0]


def test_orbit_page_of_many_points() -> None:
    fig = orbit.page(cubic_orbit(n=40_000, samples=2), THEORY, "cubic map")
    strip, density, exponent = panels(fig)
    assert density.get_ylabel() == "residual $z$" and exponent.get_xlabel() == "$a$"
    assert np.asarray(strip.get_images()[0].get_array()).shape[1] < 2000, "columns of the page, not points"
    assert len(exponent.collections) == 1, "the range of the exponent in each column"
    assert 0.0 in [float(np.asarray(drawn.get_ydata())[0]) for drawn in exponent.get_lines()]
    assert strip.get_xlim() == density.get_xlim() == exponent.get_xlim()
    assert legend_words(fig)[:5] == list(TRAINING.labels[:5])


def test_a_periodic_window_is_seen_in_the_band() -> None:
    dataset = cubic_orbit(n=30_000, samples=1)
    a = dataset["a"].values
    inside = (a > 1.4504) & (a < 1.4608)
    dataset["phase"].values[inside] = TRAINING.index("periodic")
    band = np.asarray(panels(orbit.page(dataset))[0].get_images()[0].get_array())[0]
    edges = np.linspace(-0.5 * 2.2 / 29_999, 2.2 * (1 + 0.5 / 29_999), band.size + 1)
    yellow = np.flatnonzero((band == TRAINING.index("periodic")) & (edges[:-1] > 1.31))
    assert yellow.size > 5 and edges[yellow[0]] == pytest.approx(1.4504, abs=2.2 / band.size)


def test_the_figure_of_a_diagram_is_picked_by_its_axes() -> None:
    assert len(panels(figures.page(cubic_orbit(), THEORY))) == 3
    assert len(panels(figures.page(cubic_orbit().drop_vars("orbit"), THEORY))) == 4
    assert len(panels(figures.page(map_over(np.linspace(0, 3, 6), np.linspace(0, 2, 5)), title="t"))) == 1


# --- wrong requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: plane.draw(cubic_orbit()), "two axes"),
        (lambda: line.page(map_over(np.arange(3.0), np.arange(3.0))), "lr, scale"),
        (lambda: orbit.page(cubic_orbit().drop_vars("orbit")), "'orbit'"),
        (lambda: orbit.page(cubic_orbit().drop_vars("phase")), "'phase'"),
        (lambda: plane.draw(map_over(np.arange(3.0), np.arange(3.0)), theory=[{"points": [[1]]}]), "pairs"),
    ],
)
def test_a_dataset_of_another_kind_is_refused(draw: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        draw()
    assert "\n" not in str(caught.value)
