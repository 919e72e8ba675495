"""``trainphase boundary`` over two ranges: the document, the text and the picture."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from trainphase.cli.main import main


def asked(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, Any]:
    """The document of a command that must succeed."""
    return json.loads(printed(capsys, f"{line} --json"))


def printed(capsys: pytest.CaptureFixture[str], line: str) -> str:
    """What a command that must succeed prints."""
    code = main(shlex.split(line))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_boundary_in_the_plane(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "border.png"
    line = f"linear-net z=-0.9:0.8 T=3:6 y=0.2 --vocabulary edge --tol 1e-10 --plot {shlex.quote(str(picture))}"
    doc = asked(capsys, f"boundary {line}")
    assert (doc["system"], doc["params"], doc["triple_points"]) == ("linear-net", ["z", "T"], [])
    curve = doc["curve"]
    assert (curve["between"], curve["closed"], curve["ends"]) == (["flat", "divergent"], False, ["edge", "edge"])
    # The tolerance asked for, times half the square root of two.
    assert max(curve["width"]) <= 1.5e-10
    assert len(curve["width"]) == len(curve["points"]) > 30
    # Flat, the first phase, lies below the line and to the left: the curve runs towards smaller z.
    assert (curve["points"][0][0], curve["points"][-1][0]) == (0.8, -0.9)
    # The line is exact: what is left are the brackets and rounding of the runs.
    assert max(abs(T - 4 - 0.2 * z) for z, T in curve["points"]) < 1e-9
    assert curve["theory"]["name"] == "T = 4 + E z / 2"
    assert curve["theory"]["compared"] == len(curve["points"])
    assert curve["theory"]["mean"] <= curve["theory"]["rms"] <= curve["theory"]["largest"] < 1e-9
    assert curve["bias"] == 0  # a run that leaves does so long before half the horizon
    assert doc["evaluations"] < 8192  # 1024 of them for the scan; a plane of 1024 x 1024 has 128 times as many
    assert picture.stat().st_size > 10_000


def test_boundary_in_the_plane_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    start = "boundary linear-net z=-0.9:0.9 T=2:6 y=0.2 --vocabulary edge --tol 1e-6"
    text = printed(capsys, f"{start} --near 0.3,4 --between divergent,flat")
    assert "flat / divergent" in text and "ends at" in text and "T = 4 + E z / 2: off by" in text
    text = printed(capsys, f"{start} --between sharpening,flat --points 8")
    assert "no boundary between these phases over z and T" in text
