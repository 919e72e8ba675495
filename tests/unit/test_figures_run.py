"""The page of one run: what is shown of it, and what its title says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainphase.errors import RequestError
from trainphase.figures import run


def run_of(a: float, steps: int = 2000, samples: int = 1) -> xr.Dataset:
    """One run of the cubic map."""
    z = np.linspace(0.3, 0.4, samples)
    series = []
    with np.errstate(all="ignore"):
        for _ in range(steps + 1):
            series.append(z)
            z = ((z + (a - 2)) * z + (1 - 2 * a)) * z
        states = np.array(series)
        loss = 0.5 * np.square(states).mean(1)
    residual = (("time", "sample"), states) if samples > 1 else (("time",), states[:, 0])
    return xr.Dataset(
        {
            "loss": ("time", loss, {"units": "target units squared"}),
            "test_loss": ("time", 2 * loss, {"units": "target units squared"}),
            "averaged_test_loss": ("time", np.where(np.arange(steps + 1) > steps // 2, 0.01, np.nan)),
            "curvature": ("time", 2 * (states + a).max(1), {"units": "1"}),
            "residual": (*residual, {"units": "1"}),
            "period": ((), 2.0),
            "lyapunov": ((), -0.19283),
            "lyapunov_se": ((), 0.0012),
        },
        {"time": ("time", np.arange(steps + 1), {"units": "steps"})},
        {"system": "cubic", "phase": "periodic", "params": json.dumps({"a": a, "z0": None})},
    )


def legend_words(fig: Figure) -> list[str]:
    return [text.get_text() for legend in fig.legends for text in legend.get_texts()]


def panels(fig: Figure) -> list[Axes]:
    return fig.axes


def test_run_page_shows_the_beginning_and_the_end_of_a_long_run() -> None:
    fig = run.page(run_of(1.2))
    assert len(panels(fig)) == 6
    assert [ax.get_xlabel() for ax in panels(fig)[-2:]] == ["time (steps), the first 100", "time (steps), the last 50"]
    assert panels(fig)[0].get_ylabel() == "loss\n(target units squared)" and panels(fig)[0].get_yscale() == "log"
    assert legend_words(fig) == ["training loss", "test loss", "averaged predictions, test loss"]
    title = fig.get_suptitle()
    assert title == "cubic, $a$ = 1.2: periodic, period 2, Lyapunov exponent \u22120.1928 ± 0.0012 per step"


def test_run_page_stops_where_a_run_has_settled_or_escaped() -> None:
    settled = run.page(run_of(0.5))
    assert len(panels(settled)) == 3 and "shown to" in panels(settled)[-1].get_xlabel()
    escaped = run.page(run_of(2.5, steps=400))
    assert len(panels(escaped)) == 3 and "of 400" in panels(escaped)[-1].get_xlabel()
    escaped.draw_without_rendering()
    assert panels(run.page(run_of(1.2, steps=60)))[-1].get_xlabel() == "time (steps)"


def test_run_page_shows_a_few_of_many_samples() -> None:
    dataset = run_of(1.2, steps=60, samples=40)
    dataset["theory_a"] = ("sample", np.linspace(2.0, 1.0, 40))
    residuals = panels(run.page(dataset))[-1]
    assert residuals.get_ylabel() == f"residual $z$\n{run.MOST_SAMPLES} of 40 samples"
    assert len(residuals.get_lines()) == run.MOST_SAMPLES + 1  # and the zero line
    assert run.chosen(dataset)[[0, -1]].tolist() == [39, 0], "from the smallest a to the greatest"


def test_a_dataset_that_is_no_run_is_refused() -> None:
    with pytest.raises(RequestError, match="'time'"):
        run.page(xr.Dataset({"phase": ("a", [0])}))
    with pytest.raises(RequestError, match="loss, curvature"):
        run.page(xr.Dataset({"period": ("time", [2.0])}))
