"""Every code block of the README runs, and every command in it is accepted by the command line as it stands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from trainphase.cli.main import main
from trainphase.data.tables import ENDINGS
from trainphase.data.targets import SAMPLES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
COMMANDS = re.findall(r"^\$ trainphase (.*)$", TEXT, re.M)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_python_block(index: int, capsys: pytest.CaptureFixture[str]) -> None:
    if "import torch" in BLOCKS[index]:
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'trainphase[torch]'")
    space: dict[str, Any] = {"__name__": "readme"}
    exec(compile(BLOCKS[index], f"README block {index}", "exec", dont_inherit=True), space)
    out = capsys.readouterr().out
    if index == 0:
        assert out.splitlines()[0] == "periodic"
        assert abs(float(out.splitlines()[-1]) - 1.0) < 1e-9
    elif index == 2:
        phase, curvature = out.split()
        assert phase == "edge-of-stability"
        # That the label says so: within 0.2 of 2.
        assert abs(float(curvature) - 2.0) < 0.2
    elif index == 3:
        assert out.startswith("edge-of-stability: sharpness at ")
        # That the label says so: within a tenth of the threshold.
        assert abs(space["found"].ratio - 1.0) < 0.1
    elif index == 4:
        assert "below 38 / lr = 38000" in out
    else:
        # The first three period doublings of the logistic map: 3, 1 + sqrt(6), 3.544090359...
        assert out.strip() == "[3.0, 3.44949, 3.54409]"


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    # The same commands at a size that a test can afford.
    words = [re.sub(r":2048$", ":256", re.sub(r":7$", ":3", re.sub(r":32:log$", ":8:log", w))) for w in words]
    words = [re.sub(r":1025$", ":65", w) for w in words]
    # Each width is a program of its own, which takes seconds to compile; a slope needs two.
    words = [re.sub(r"^width=1000,5000,10000$", "width=1000,5000", w) for w in words]
    if words[:2] == ["boundary", "cubic"]:
        words += ["--points", "64", "--steps", "16384"]
    assert main(words) == 0
    out = capsys.readouterr().out
    if "--json" in words:
        json.loads(out)
    if "--plot" in words:
        assert (tmp_path / words[words.index("--plot") + 1]).stat().st_size > 10_000
    for option in {"--html", "--export"} & set(words):
        assert 'id="trainphase-document"' in (tmp_path / words[words.index(option) + 1]).read_text()


def test_the_data_sets_of_the_nets_are_all_named() -> None:
    listed = re.search(r"`data` is ([^.]*?), or\s+your (`\.csv` or `\.npz`)\.", TEXT)
    assert listed is not None
    assert set(re.findall(r"`([^`]+)`", listed[1])) == set(SAMPLES)
    assert set(re.findall(r"`([^`]+)`", listed[2])) == set(ENDINGS)


def test_the_readme_has_what_is_tested() -> None:
    assert len(BLOCKS) == 5
    assert len(COMMANDS) >= 6
