"""The script that makes the gallery: every system has a page, and the index fetches nothing and runs no script."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray

from trainphase import catalog
from trainphase.axes import Axis
from trainphase.diagrams import Diagram
from trainphase.explorer import document


@pytest.fixture(scope="module")
def gallery(repo_root: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location("write_gallery", repo_root / "scripts" / "write_gallery.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_system_has_a_page(gallery: ModuleType) -> None:
    assert sorted([*document.LIVE, *gallery.COMPUTED]) == sorted(catalog.systems())


def test_the_index_and_its_pictures(gallery: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.array([[0, 0, 255], [4, 0, 1]], np.uint8)
    data = xarray.Dataset({"phase": (("z", "T"), codes)}, attrs={"vocabulary": "edge"})
    diagram = Diagram("linear-net", (Axis("z", 0, 1, 2), Axis("T", 0, 2, 3)), data, [], 6, 0.0, None)
    monkeypatch.setattr(gallery, "live_picture", lambda name: diagram)
    written: list[Any] = []

    def write(path: Path, made: Any) -> Path:
        written.append(made)
        path.write_text("a page")
        return path

    monkeypatch.setattr(gallery.export, "write", write)
    gallery.write(tmp_path / "new", ["cubic"])
    text = (tmp_path / "new" / "index.html").read_text()
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["cubic.html", "index.html"]
    assert list(written[0]["systems"]) == ["cubic"] and 'href="cubic.html"' in text
    # The first row of the picture is the top of the diagram: one point without a run, one sharpening.
    found = [(a, b, c) for a, b, c in re.findall(r'<rect x="(\d)" y="(\d)" width="(\d)"', text)]
    assert found == [("0", "2", "1"), ("1", "2", "1"), ("0", "1", "2"), ("1", "0", "1")]
    assert "<script" not in text and not re.search(r'(?:src|href)="(?!data:,|cubic\.html)', text)
