"""Fixtures of the unit tests: no caches of this machine, the real data sets where they are, a whole store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from datasets import ROOT
from stores import fill, make

from trainphase.data import files


@pytest.fixture(autouse=True)
def no_caches(monkeypatch):
    """Tests see only the folders they name, whatever lies in the caches of the machine."""
    monkeypatch.setattr(files, "CACHES", ())


@pytest.fixture
def real():
    """The folder with the real files; skips where there is none."""
    folder = Path(os.environ.get("TRAINPHASE_DATA", ROOT / ".." / "shared" / "data"))
    if not (folder / "mnist_first10k.npz").is_file():
        pytest.skip("no folder with the real data files")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished store; tests copy it."""
    path = tmp_path_factory.mktemp("whole") / "s"
    with make(path) as store:
        fill(store)
    return path


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "s"))
