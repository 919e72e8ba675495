"""The times that docs/scale.md states are those of the code, and its job array runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainphase.cli import executors
from trainphase.engine import _remote

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "scale.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.S)


def test_the_times_it_states_are_those_of_the_code() -> None:
    assert f"rewritten every {_remote.RENEWED:g} s | free after {_remote.STALE:g} s" in TEXT
    assert executors.NOBODY == 60 and "no worker for a minute" in TEXT


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_the_job_array_gives_each_task_its_part(tmp_path: Path) -> None:
    """The script as it stands, with a command that says how it was called in place of trainphase."""
    script = next(block for block in BLOCKS if "#SBATCH" in block)
    (tmp_path / "trainphase").write_text(f"#!{sys.executable}\nimport sys\nprint(*sys.argv[1:])\n")
    (tmp_path / "trainphase").chmod(0o755)
    task = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "64", "SCRATCH": "scratch"}
    place = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=os.environ | task | place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["--part", "7/64"] and "--store scratch/cubic" in done.stdout
