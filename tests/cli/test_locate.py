"""The command ``locate``: documents, tables, figures, models in a user's file, refusals."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainphase.cli.main import main


def asked(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, Any]:
    """The document of a command that must succeed."""
    code = main([*shlex.split(line), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def refused(capsys: pytest.CaptureFixture[str], line: str, code: int = 2) -> str:
    """The one sentence of a command that must fail."""
    assert main(shlex.split(line)) == code
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1, err
    return err


def test_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    doc = asked(capsys, "locate --init xavier --width 100000 --inputs 784")
    assert list(doc)[:6] == ["gamma", "gamma_prime", "regime", "predicted_slope", "kappa", "kappa_prime"]
    # A few roundings.
    assert doc["kappa"] == pytest.approx(math.sqrt(4 / (100001 * 100784)), rel=1e-14)
    assert doc["regime"] == "critical" and doc["limit"]["gamma"] == 1.0


def test_scales_and_layers(capsys: pytest.CaptureFixture[str]) -> None:
    doc = asked(capsys, "locate --beta1 1 --beta2 1 --alpha 1000 --width 1000")
    assert (doc["gamma"], doc["gamma_prime"], doc["inputs"]) == (1.0, 0.0, None)
    doc = asked(capsys, "locate --init e --beta 0.001 --width 1000 --inputs 5")
    assert doc["gamma"] == pytest.approx(1.0, rel=1e-15)
    doc = asked(capsys, "locate --beta1 1 --beta2 0.1 --beta3 0.1 --layers 3 --width 1e2")
    assert doc["gamma2"] == pytest.approx(0.5, rel=1e-15) and set(doc["regime"]) == {"w1", "w2"}


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("locate --init lecun --width 100000 --inputs 784")) == 0
    out, err = capsys.readouterr()
    rows = {line.split("  ")[0]: line.split()[-2:] for line in out.splitlines()}
    assert rows["gamma"] == ["0.78943", "0.5"] and rows["regime"] == ["linear", "linear"]
    assert rows["slope of the map"] == ["-0.63171", "-1.5"]
    assert "moves gamma by 1/ln(m) = 0.087." in out and not err
    assert main(shlex.split("locate --init he --width 1000 --inputs 784 --layers 3")) == 0
    assert "slope of the map, W2 (operator norm)" in capsys.readouterr().out


@pytest.mark.parametrize("layers", [2, 3])
def test_the_figure(layers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "there.png"
    doc = asked(capsys, f"locate --init he --width 1000 --inputs 20 --layers {layers} --plot {place}")
    assert doc["layers"] == layers and place.read_bytes().startswith(b"\x89PNG")


NET = """
from dataclasses import dataclass
import numpy as np
import beside
@dataclass
class Sizes:
    first: float = 0.5
def model():
    return [np.full((3, 20), Sizes().first), np.full((20, 1), beside.SIZE)]
given = model()
def broken():
    raise ValueError("no such net")
"""


def test_a_model_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "beside.py").write_text("SIZE = 0.1")
    for name in ("model", "given"):
        doc = asked(capsys, f"locate --model {tmp_path}/net.py:{name}")
        assert (doc["width"], doc["inputs"], doc["init"]) == (20, 3, "measured")
        assert doc["kappa"] == pytest.approx(0.05, rel=1e-14)
    assert "trainphase_user_model" in sys.modules and str(tmp_path) not in sys.path
    assert "ValueError: no such net" in refused(capsys, f"locate --model {tmp_path}/net.py:broken", 1)
    assert "has no nothing" in refused(capsys, f"locate --model {tmp_path}/net.py:nothing")
    (tmp_path / "wrong.py").write_text("import no_such_module_at_all")
    assert "ModuleNotFoundError" in refused(capsys, f"locate --model {tmp_path}/wrong.py:model", 1)


@pytest.mark.parametrize(
    "line, words",
    [
        ("locate", "nothing was given"),
        ("locate --init hee --width 10 --inputs 1", "the nearest is he"),
        ("locate --init he --width 1 --inputs 1", "--width 1 is not possible"),
        ("locate --init he --width 10", "inputs is missing"),
        ("locate --init he --width 10 --inputs 1 --layers 4", "--layers 4 is not possible"),
        ("locate --beta1 -1 --beta2 1 --width 10", "--beta1 -1 is not possible"),
        ("locate --init he --width 10 --inputs 1 --plot a.doc", "--plot a.doc has no known ending"),
        ("locate --model net.txt:model", "names no object"),
        ("locate --model net.py", "names no object"),
        ("locate --model /nowhere/net.py:model", "there is no file /nowhere/net.py"),
        ("locate --model a.py:b --width 3 --init he", "there is no file"),
    ],
)
def test_refusals(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(capsys, line)


def test_it_needs_neither_jax_nor_matplotlib() -> None:
    heavy = "{'jax', 'matplotlib', 'scipy', 'torch'}"
    code = f"import sys; from trainphase.cli.main import main; main(sys.argv[1:]); print(sorted({heavy} & {{*sys.modules}}))"
    command = [sys.executable, "-c", code, "locate", "--init", "he", "--width", "10", "--inputs", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
