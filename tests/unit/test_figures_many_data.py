"""The figures of the model with many data: what they draw is what the data say, and what is missing is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray
from matplotlib.image import AxesImage
from matplotlib.text import Text

from trainphase import figures
from trainphase.errors import RequestError
from trainphase.figures import many_data, many_data_plane
from trainphase.phase import EDGE

WIDTHS = np.array([0.1, 0.3, 0.7])
DIVERGENT, SHARP, AT_EDGE = (EDGE.index(name) for name in ("divergent", "sharpening", "edge-of-stability"))


def series(names=("loss", "curvature"), steps=30):
    """Runs of three widths and two seeds: the loss falls, the curvature rises; the last width diverges at step 10."""
    time = np.arange(steps + 1.0)
    rate = WIDTHS[:, None, None] * np.array([1.0, 1.2])[None, :, None]
    loss = 1e-3 * np.exp(-rate * time)
    curvature = 0.5 + rate * (1 - np.exp(-time / 5))
    loss[2, :, 8:10], loss[2, :, 10:], curvature[2, :, 10:] = 1e5, np.nan, np.nan
    values = {"loss": loss, "curvature": curvature, "sharpness": curvature + 3 * np.sqrt(2 * loss)}
    dims = ("sigma_z", "seed", "time")
    return xarray.Dataset(
        {name: (dims, values[name]) for name in names}, {"sigma_z": WIDTHS, "time": time}, {"D": 4, "P": 8, "sigma_J": 0.35}
    )


def plane(D=4, P=8):
    """A plane of 5 x 4 cells: the curvature ends at 4 sigma_z sigma_J and a bit per seed; above 2.55 the run diverges.

    The last curvature of a run that diverges is any number, or none.
    """
    z, J = np.linspace(0.2, 1.0, 5), np.linspace(0.25, 1.0, 4)
    end = 4 * z[:, None, None] * J[None, :, None] + 0.1 * np.arange(3)
    codes = np.where(end > 2.55, DIVERGENT, np.where(np.abs(end - 2) <= 0.2, AT_EDGE, SHARP)).astype(np.uint8)
    dims = ("sigma_z", "sigma_J", "seed")
    variables = {
        "phase": (dims, codes), "curvature": (dims, np.where(codes == DIVERGENT, np.array([0.7, 0.8, np.nan]), end)),
        "curvature_start": (dims, np.broadcast_to(4 * J[None, :, None] ** 2, end.shape)),
    }  # fmt: skip
    coords = {"sigma_z": z, "sigma_J": J, "seed": np.arange(3)}
    return xarray.Dataset(variables, coords, {"D": D, "P": P, "vocabulary": "edge"})


def ys(line) -> np.ndarray:
    return np.asarray(line.get_ydata(), float)


def texts(fig):
    return " | ".join(t.get_text() for t in fig.findobj(Text))


def test_runs_draw_every_seed():
    fig = many_data.runs(series())
    loss, curvature = fig.axes
    assert len(loss.lines) == 6 and len(curvature.lines) == 7  # and the edge
    drawn = sorted(float(ys(line)[5]) for line in curvature.lines if ys(line).size == 31)
    np.testing.assert_allclose(drawn, np.sort(series()["curvature"].values[..., 5].ravel()))
    assert all(ys(line)[0] == 1.0 for line in loss.lines)  # the loss over its start
    assert "sigma_z$ = 0.7" in texts(fig)


def test_runs_with_ends_mark_phases_and_divergence():
    ends = plane().isel(sigma_J=3, drop=True)[["phase", "curvature"]]
    fig = many_data.runs(series(), ends)
    last = fig.axes[2]
    top = last.get_ylim()[1]
    gone = [line for line in last.lines if line.get_marker() == "^"]
    count = int((ends["phase"] == DIVERGENT).sum())
    assert sum(ys(line).size for line in gone) == count > 0
    assert all((ys(line) > 0.9 * top).all() for line in gone)
    heights = np.concatenate([ys(line) for line in last.lines if line.get_marker() == "o"])
    inside = ends["curvature"].values[ends["phase"].values != DIVERGENT]
    np.testing.assert_allclose(np.sort(heights), np.sort(np.minimum(inside, 0.96 * top)))  # beyond the frame: at its top
    assert "diverged" in texts(fig) and "edge-of-stability" in texts(fig)


def start():
    """Second derivatives that lie on the corrected prediction, half an error above in the second case."""
    std = WIDTHS[None, :] / np.array([[10.0], [20.0]])
    corrected = 400 * std**2
    seeds = np.array([-1.0, 0.0, 1.0, 0.0])
    second = corrected[..., None] * (1 + 0.1 * seeds)
    second[1] *= 1.02
    dims = ("case", "sigma_z", "seed")
    return xarray.Dataset(
        {"second": (dims, second), "predicted": (dims, second), "std_z": (dims[:2], std), "corrected": (dims[:2], corrected),
         "printed": (dims[:2], std**2)},
        {"sigma_z": WIDTHS, "D": ("case", [10, 20]), "P": ("case", [20, 20])}, {"sigma_J": 0.35, "starts": 4},
    )  # fmt: skip


def test_sharpening_shows_both_predictions_and_errors_over_seeds():
    data = start()
    fig = many_data.sharpening(data)
    left, right = fig.axes
    curves = [ys(line) for line in left.lines if ys(line).size == 3]
    for name in ("corrected", "printed"):
        for row in data[name].values:
            assert any(np.allclose(row, y) for y in curves), name
    bars: Any = right.containers[0]
    low, high = bars.lines[2][0].get_segments()[0][:, 1]
    error = data["second"].values[0, 0].std(ddof=1) / 2 / data["corrected"].values[0, 0]  # of 4 seeds
    np.testing.assert_allclose([low, high], [1 - error, 1 + error])


def test_relatives():
    page = many_data.sharpness(series(("loss", "curvature", "sharpness")).isel(sigma_z=slice(0, 2)))
    assert "sharpness: Hessian" in texts(page)
    time = np.concatenate([[0.0], np.geomspace(0.01, 6, 20)])
    rows = {
        "curvature": 0.5 + time, "curvature_cut": 0.5 + 0.5 * time, "loss": np.exp(-time), "loss_cut": np.exp(-0.5 * time),
        "lowest_cut": 0.02 - 0.1 * time, "kernel_gap": time**2, "residual_gap": time**3,
    }  # fmt: skip
    data = xarray.Dataset({k: (("seed", "time"), np.stack([v, 1.1 * v])) for k, v in rows.items()}, {"time": time})
    fig = many_data.hierarchy(data)
    assert any(np.allclose(ys(line), rows["lowest_cut"]) for line in fig.axes[0].lines)
    assert len(fig.axes[2].lines) == 6  # two seeds each, and two powers


def test_plane_shows_medians_and_shares():
    data = plane()
    fig = many_data_plane.page(data, theory=[{"name": "a line", "points": [[0, 0.5], [2, 0.5]], "exact": False}])
    images: list[Any] = [next(iter(ax.findobj(AxesImage))) for ax in fig.axes[:3]]
    images = [image.get_array() for image in images]
    end = np.where(data["phase"].values == DIVERGENT, np.inf, data["curvature"].values)
    median = np.sort(end, -1)[..., 1]  # of three seeds
    np.testing.assert_allclose(np.ma.filled(images[0], np.inf), median.T)
    share = 100 * (data["phase"].values == AT_EDGE).mean(-1)
    np.testing.assert_allclose(images[2], share.T)
    assert share.max() > 0 and np.isinf(median).any()
    assert "a line" in texts(fig) and "spreads are over seeds only" in texts(fig)


def test_plane_marks_cells_that_differ_in_another_precision():
    data = plane()
    again = data.isel(seed=slice(0, 2)).copy(deep=True)
    again["phase"].values[1, 2, 1] = AT_EDGE
    dots = [line for line in many_data_plane.page(data, again).axes[1].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.asarray(dots[0].get_xydata(), float), [[float(data["sigma_z"][1]), float(data["sigma_J"][2])]])


def test_scatter():
    shapes = [plane(D, 12 - D) for D in (3, 4, 6, 8, 9)]
    names = {"iqr": 0.1, "iqr_se": 0.01, "median": 2.0, "median_se": 0.01}
    spread = xarray.Dataset(
        {k: ("shape", np.full(5, v)) for k, v in names.items()},
        {"D": ("shape", [3, 4, 6, 8, 9]), "P": ("shape", [9, 8, 6, 4, 3])}, {"seeds": 3},
    )  # fmt: skip
    fig = many_data_plane.scatter(shapes, spread)
    points = np.asarray(fig.axes[0].collections[0].get_offsets())
    inside = shapes[0]["phase"].values != DIVERGENT
    assert len(points) == inside.sum()
    np.testing.assert_allclose(np.sort(points[:, 1]), np.sort(shapes[0]["curvature"].values[inside]))
    assert f"{100 * (1 - inside.mean()):.0f} % diverge" in texts(fig)


def test_what_is_missing_is_named():
    with pytest.raises(RequestError, match="no variable 'curvature'"):
        many_data.runs(series(("loss",)))
    with pytest.raises(RequestError, match="no variable 'sharpness'"):
        many_data.sharpness(series())
    with pytest.raises(RequestError, match="no axis 'seed'"):
        many_data_plane.page(plane().isel(seed=0, drop=True))


def test_equal_data_give_equal_files(tmp_path):
    one, two = (figures.save(many_data_plane.page(plane()), tmp_path / f"{k}.png").read_bytes() for k in "ab")
    assert one == two
