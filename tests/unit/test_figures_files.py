"""Files of figures: whole or not there, the same bytes for the same figure, and an error that says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from trainphase import figures
from trainphase.errors import RequestError
from trainphase.figures import line, plane, style

DATASET = xr.Dataset(
    {"phase": (("lr", "scale"), (np.arange(81).reshape(9, 9) % 5).astype(np.uint8))},
    {"lr": ("lr", np.geomspace(0.01, 1, 9), {"units": "step size"}), "scale": np.linspace(0, 2, 9)},
)
LINES = [{"name": "edge", "between": ["catapult", "periodic"], "points": [[0.02, 0.0], [0.5, 2.0]]}]


@pytest.mark.parametrize("ending", style.ENDINGS)
def test_equal_figures_give_equal_bytes(tmp_path: Path, ending: str) -> None:
    files = []
    for name in ("first", "second"):
        ax = plane.draw(DATASET, theory=LINES, boundaries=LINES, title="phases")
        files.append(figures.save(ax, tmp_path / f"{name}{ending}", "made by a test"))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files), "no temporary is left"
    if ending != ".pdf":  # whose text is compressed
        assert b"made by a test" in files[0].read_bytes()
    assert b"Matplotlib" not in files[0].read_bytes().split(b"stream")[0], "no version of a library"


def test_pixels_of_a_png_are_300_to_an_inch(tmp_path: Path) -> None:
    path = figures.save(line.page(DATASET.isel(scale=0, drop=True)), tmp_path / "x.PNG")
    width = int.from_bytes(path.read_bytes()[16:20], "big")  # the IHDR chunk
    assert width == round(style.SINGLE * 300)


@pytest.mark.parametrize("name", ["x.jpg", "x", "", ".png", "missing/x.png", "file/x.png", "folder.png", "nul\0.png"])
def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    fig = Figure(figsize=(1, 1))
    with pytest.raises(RequestError) as caught:
        figures.save(fig, tmp_path / name if name else "")
    assert "\n" not in str(caught.value) and "; " in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_an_existing_figure_stays_when_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    path.write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RequestError, match="No space left"):
        figures.save(Figure(figsize=(1, 1)), path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_figures_leave_pyplot_alone() -> None:
    code = "import sys, trainphase.figures; print({'matplotlib.pyplot', 'jax', 'tkinter'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "set()"
