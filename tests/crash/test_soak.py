"""Random kills of sweeps across executors; all 200 with ``make soak``. See ``tests/support/soak.py`` for what is checked."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import soak

pytestmark = [pytest.mark.crash, pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")]


def test_kills_of_drivers_and_full_disks(tmp_path: Path) -> None:
    run = soak.Soak(tmp_path / "soak", 20240229)
    run.run(["driver", "driver asked", "full disk", "driver of a pool", "worker of a pool"])
    assert sum(run.counts.values()) >= 5


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs trainphase[dask]")
def test_kills_on_dask(tmp_path: Path) -> None:
    run = soak.Soak(tmp_path / "soak", 20240301)
    run.run(["worker of dask", "full disk of a worker", "driver of dask", "scheduler"])
    assert sum(run.counts.values()) >= 4
