"""What results show of themselves in a notebook: small tables without scripts, and the page in a frame of its own."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from explorer_page import folder

from trainphase import _html
from trainphase.axes import Axis
from trainphase.diagrams import Diagram
from trainphase.errors import RequestError
from trainphase.explorer import bundle
from trainphase.location import locate
from trainphase.phase import EDGE, REGIME, TRAINING, Reading
from trainphase.tracing import CurveResult
from trainphase.trajectory import Trajectory
from trainphase.verbs import BoundaryResult, Crossing

BAD = "<script>alert(1)</script>"


def diagram(name: str = "linear-net") -> Diagram:
    """A diagram made by hand."""
    codes = np.arange(12, dtype=np.uint8).reshape(3, 4) % 6
    fields = {n: (("z", "T"), codes) for n in ("phase", "phase_half")} | {"loss": (("z", "T"), codes * 0.5)}
    attrs = {"vocabulary": "edge", "params": json.dumps({"y": 0.1}), "steps": 400, "starts": 1, "dtype": "float64"}
    data = xarray.Dataset(fields, {"z": np.arange(3.0), "T": np.arange(4.0)}, attrs | {"provenance": "{}"})
    return Diagram(name, (Axis("z", 0, 2, 3), Axis("T", 0, 3, 4)), data, [], 12, 0.1, None)


def results(name: str) -> dict[str, Any]:
    """One result of every kind, with ``name`` wherever a name may stand."""
    reading = Reading(EDGE, "flat", 0.1, name)
    params = {f"p{k}": 1.0 for k in range(300)} | {"text": name * 200}
    summary = {f"{name}{k}": float(k) for k in range(300)}
    run = Trajectory(name, params, np.arange(3.0), {}, summary, "converged", reading, 3, "float64", None)
    crossings = tuple(Crossing(("monotonic", "catapult"), k, 1e-10, 1.0, name) for k in range(300))
    axes = (Axis("z", 0, 2, 3), Axis("T", 0, 3, 4))
    curve = CurveResult(
        name, axes, ("flat", "divergent"), np.zeros((9, 2)), np.zeros(9), False, ("edge", "edge"), (), 0.1,
        {"name": name, "largest": 0.1}, (), {}, "edge", 100,
    )  # fmt: skip
    return {
        "diagram": diagram(name), "run": run, "boundary": BoundaryResult(name, "a", crossings, (), 3, 1e-9), "curve": curve,
        "no curve": replace(curve, between=None), "two layers": locate("he", width=1000, inputs=784),
        "three layers": locate("he", width=1000, inputs=784, layers=3),
    }  # fmt: skip


@pytest.mark.parametrize("kind", results("x"))
def test_a_result_is_a_small_table_without_scripts(kind: str) -> None:
    text = results(BAD)[kind]._repr_html_()
    assert 100 < len(text) < 10_000
    assert "<script" not in text and ("<table" in text or kind == "no curve")
    # Nothing but a few elements, and no attribute that could hold a script or fetch anything.
    assert set(re.findall(r"<(\w+)", text)) <= {"div", "p", "b", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r" (\w+)=\"", text)) <= {"style", "colspan"} and "url(" not in text


def test_phases_wear_their_colours_with_ink_that_can_be_read() -> None:
    for words in (EDGE, REGIME, TRAINING):
        for phase in words.phases:
            text = _html.Label(words, phase.label).html()
            assert f"background:{phase.colour}" in text and phase.label in text
            paper, ink = _html._luminance(phase.colour), 0.0 if "color:#000" in text else 1.0
            # The contrast that WCAG 2 asks of text, level AA.
            assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) >= 4.5


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = folder(tmp_path / "page")
    monkeypatch.setattr(bundle, "files", lambda: at)


@pytest.mark.usefixtures("page")
def test_the_explorer_is_a_frame_that_holds_the_whole_page(tmp_path: Path) -> None:
    shown = diagram().explore(height=500)
    text = shown._repr_html_()
    found = re.fullmatch(
        r'<iframe title="linear-net over z and T" srcdoc="([^"]*)" sandbox="([^"]*)" style="([^"]*)"[^>]*></iframe>', text
    )
    assert found is not None
    assert html.unescape(found[1]) == bundle.page(shown.document).html == shown.save(tmp_path / "p.html").read_text()
    # With allow-same-origin the page could take the frame's walls down.
    assert set(found[2].split()) == {"allow-scripts", "allow-downloads"}
    assert "height:500px" in found[3]
    assert shown._mime_() == ("text/html", text)
    assert list(shown.document["systems"]) == ["linear-net"] and shown.document["open"] == {"diagram": "0"}


@pytest.mark.usefixtures("page")
def test_a_system_that_does_not_run_in_the_page_is_shown_alone() -> None:
    assert diagram("mine").explore().document["systems"] == {}


@pytest.mark.parametrize("height", [0, "100%", True, 1e3])
def test_a_height_that_is_none_is_refused(height: Any) -> None:
    with pytest.raises(RequestError, match="is no height of a page"):
        diagram().explore(height=height)
