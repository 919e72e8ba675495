"""Wheel and sdist build, and the wheel works in an empty environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow  # installs every dependency: a minute on an idle machine, and it needs a package index
def test_the_wheel_works_in_an_empty_environment(repo_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(repo_root / "scripts" / "check_dist.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".gz", ".whl"]
