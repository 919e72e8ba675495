"""The page on refinement says what its data say, and the code in it that needs no simulation runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

SCRIPT = "write_refinement"
ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "refinement.md").read_text()


def test_the_tables_are_those_of_the_data(script) -> None:
    assert script.pages.filled(TEXT, script.blocks(json.loads(script.DATA.read_text()))) == TEXT


def test_the_audit_covers_the_truth(script) -> None:
    """What the page says of a million points, on few: the intervals of one audit hold, misses and all."""
    truth = script.dense("periods", 129)
    rows = script.rows(truth, script.refined(truth))
    # 95 % shared by three audits: each of some ten intervals fails one time in sixty. The seed is fixed.
    assert all(row["low"] <= row["true"] <= row["high"] for row in rows)
    assert max(row["true"] for row in rows) > 0


def test_the_code_for_labels_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    block = next(b for b in re.findall(r"```python\n(.*?)```", TEXT, re.S) if "def label" in b)
    space = {}
    exec(compile(block, "docs/refinement.md", "exec", dont_inherit=True), space)
    x, y = np.meshgrid(np.arange(513) / 512, np.arange(513) / 512, indexing="ij")
    # A straight line through a cell of 16 steps is off a circle of radius 362 steps by 16^2 / (8 * 362) < 0.1: where the line
    # passes as near to a point, its label may be wrong.
    assert np.mean(space["found"].labels != space["label"](x, y)) < 1e-3
    assert int(capsys.readouterr().out.split()[0]) < 0.01 * 513**2
