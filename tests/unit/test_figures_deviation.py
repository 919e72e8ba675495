"""The page of the deviation at the edge: what its panels show, and that the page of documentation says what its data say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.container import ErrorbarContainer

from trainphase.figures import deviation

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ((15, 30), (30, 60), (21, 84), (60, 30))
BANDS = (0.05, 0.2, 2.0)


def along(name: str, at: list[float]) -> xr.Dataset:
    """Means that fall along ``name``; the last shape has too few seeds to be drawn."""
    n, m = len(SHAPES), len(at)
    value = 0.03 / (1 + np.arange(m)) * (1 + np.arange(n))[:, None]
    seeds = np.where(np.arange(n)[:, None] == n - 1, 2, 40) * np.ones((1, m), int)
    shares = {f"fate_{k}": (("shape", name), np.full((n, m), 1 / len(deviation.FATES))) for k in deviation.FATES}
    spread = value[..., None] * np.asarray([0.2, 0.5, 0.9, 1.2, 3.0])
    banded = value[..., None] * np.asarray([0.5, 1.0, 4.0])
    return xr.Dataset(
        {
            "met_mean": (("shape", name), value), "met_se": (("shape", name), 0.1 * value), "met_seeds": (("shape", name), seeds),
            "met_quantiles": (("shape", name, "quantile"), spread), "band_mean": (("shape", name, "band"), banded),
            "band_se": (("shape", name, "band"), 0.1 * banded),
            "band_runs": (("shape", name, "band"), np.full((n, m, 3), 50)), **shares,
        },
        {
            name: at, "band": list(BANDS), "quantile": [0.05, 0.25, 0.5, 0.75, 0.95],
            "D": ("shape", [s[0] for s in SHAPES]), "P": ("shape", [s[1] for s in SHAPES]),
            "by_size": ("shape", [1, 1, 0, 0]), "by_ratio": ("shape", [0, 1, 1, 1]),
        },
    )  # fmt: skip


@pytest.fixture
def data() -> dict[str, xr.Dataset]:
    return {"along_z": along("sigma_z", [0.2, 0.3, 0.4]), "along_J": along("sigma_J", [0.1, 0.4])}


def test_the_reference_stands_in_both_series(data: dict[str, xr.Dataset]) -> None:
    assert deviation.reference(data["along_z"]) == 1


def test_error_bars_are_the_standard_errors(data: dict[str, xr.Dataset]) -> None:
    ax = deviation.page(data).axes[0]
    bars = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    assert len(bars) == 2
    segments = np.asarray(bars[1][2][0].get_segments())
    row = data["along_z"].isel(shape=1)
    lower, upper = row["met_mean"] - row["met_se"], row["met_mean"] + row["met_se"]
    np.testing.assert_allclose(segments[:, :, 1], np.stack([lower, upper], 1), rtol=1e-12)


def test_shapes_stand_by_ratio_and_few_seeds_are_not_drawn(data: dict[str, xr.Dataset]) -> None:
    ax = deviation.page(data).axes[1]
    legend = ax.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["1/4: (21, 84)", "1/2: (30, 60)", "2: (60, 30), too few"]
    drawn = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    assert [len(c[2][0].get_segments()) for c in drawn] == [3, 3, 0]


def test_fates_fill_the_panel(data: dict[str, xr.Dataset]) -> None:
    fig = deviation.page(data)
    tops = [max(np.asarray(path.vertices)[:, 1].max() for path in c.get_paths()) for c in fig.axes[5].collections]
    assert len(tops) == len(deviation.FATES) and tops[-1] == pytest.approx(1.0)
    assert [t.get_text() for t in fig.legends[0].get_texts()] == [words for words, _ in deviation.FATES.values()]


def test_the_page_says_what_its_data_say() -> None:
    script = ROOT / "scripts" / "write_edge_deviation.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
