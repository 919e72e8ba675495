"""The figures of real networks: what they draw is what the data say, and what is missing is named."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

from trainphase.errors import RequestError
from trainphase.figures import images


def run(steps=40):
    time = np.concatenate([np.arange(0, 20, 5.0), 20 + np.arange(steps)])
    sign = np.where(time % 2 == 0, 1.0, -1.0)
    size = 0.01 * np.exp(0.1 * np.maximum(time - 20, 0))
    values = {
        "z1": sign * size, "curvature": 1.9 + 0.004 * time + 0.05 * sign * size, "curvature_2": 1.5 + 0.001 * time,
        "sharpness": 1.92 + 0.004 * time, "sharpness_2": 1.52 + 0.001 * time, "ratio": -0.001 * sign * size,
        "fine": (time >= 20).astype(float),
    }  # fmt: skip
    return xarray.Dataset({k: ("time", v) for k, v in values.items()}, {"time": time})


def spectra():
    rng = np.random.default_rng(0)
    value = np.sort(rng.standard_normal((3, 2, 9)) * np.array([3.0, 3.0, 0.5])[:, None, None], -1)
    return xarray.Dataset(
        {"value": (("direction", "probe", "node"), value), "weight": (("direction", "probe", "node"), np.full((3, 2, 9), 1 / 9))},
        {"name": ("direction", ["top", "top", "random"]), "step": ("direction", [3, 9, 3])}, {"size": 200},
    )  # fmt: skip


def drawn(ax):
    return [np.asarray(line.get_xydata(), float) for line in ax.lines]


def has(ax, x, y):
    wanted = np.column_stack([x, y])
    return any(line.shape == wanted.shape and np.allclose(line, wanted) for line in drawn(ax))


def test_edge_draws_each_step_and_each_second():
    data = run()
    part = data.isel(time=slice(4, None))
    left, middle, right = images.edge(data).axes
    assert has(left, part["time"], part["z1"])
    for k in (0, 1):
        assert has(middle, part["time"][k::2], part["z1"][k::2])
    even = (data["fine"].values == 0) | (data["time"].values % 2 == 0)
    for name in ("curvature", "curvature_2", "sharpness", "sharpness_2"):
        assert has(right, data["time"][even], data[name][even]), name


def test_mechanism_draws_two_step_changes():
    data = run()
    part = data.isel(time=slice(4, None))
    z, y = part["z1"].values, part["curvature"].values - 2
    _, middle, right = images.mechanism(data, spectra()).axes[:3]
    np.testing.assert_allclose(
        np.asarray(middle.collections[0].get_offsets()), np.column_stack([2 * y[:-2] * z[:-2], z[2:] - z[:-2]])
    )
    assert has(right, part["time"][::2], np.abs(part["ratio"][::2]))


def test_two_step_takes_off_the_drift():
    z, y, dy = np.linspace(-1, 1, 30), np.linspace(-0.1, 0.1, 30), np.linspace(0.0, 0.3, 30)
    data = xarray.Dataset({k: ("time", v) for k, v in {"z": z, "y": y, "dy": dy}.items()}, {"time": np.arange(30.0)}, {"b": 0.02})
    left, right = images.two_step(data).axes[:2]
    np.testing.assert_allclose(np.asarray(left.collections[0].get_offsets()), np.column_stack([z, dy - 0.02]))
    moved = np.abs(z) > 0.1
    np.testing.assert_allclose(
        np.asarray(right.collections[0].get_offsets()), np.column_stack([y[moved], (dy[moved] - 0.02) / z[moved] ** 2])
    )


def test_taylor_draws_each_run_and_names_what_is_missing():
    one = run().assign(loss=("time", np.linspace(2, 1, 44)))
    near = one.isel(time=slice(4, None))
    runs = {
        "model": one,
        "start2": one.assign(loss=0.5 * one["loss"]),
        "near": near,
        "near2": near.assign(z1=2 * near["z1"]),
        "near3": near,
    }
    left, middle = images.taylor(runs).axes[:2]
    assert has(left, one["time"], 0.5 * one["loss"])
    assert has(middle, near["time"][::2], 2 * near["z1"][::2])
    with pytest.raises(RequestError, match="no run 'near3'"):
        images.taylor({k: v for k, v in runs.items() if k != "near3"})
    with pytest.raises(RequestError, match="no variable 'z1'"):
        images.edge(run().drop_vars("z1"))
