"""``trainphase diagnose``: records in files, objects in a user's own file, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trainphase.cli.main import main

SOURCE = """
import numpy as np
import trainphase as tp

steps = np.arange(300)
record = {"loss": np.exp(-steps / 80), "sharpness": np.linspace(4, 16, 60), "sharpness_steps": steps[::5], "lr": 0.1}


def problem():
    rng = np.random.default_rng(0)
    return tp.Problem(lambda w, x: x @ w, rng.normal(size=3), (rng.normal(size=(9, 3)), rng.normal(size=9)), reduction="mean")


def broken():
    raise ValueError("no luck")


probe = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SOURCE)
    (tmp_path / "ends.py").write_text("import sys\nrecord = 3\nsys.exit(3)\n")
    (tmp_path / "main.py").write_text("if __name__ == '__main__':\n    record = 3\n")
    steps = np.arange(300)
    np.savez("run.npz", loss=np.exp(-steps / 80), sharpness=np.linspace(4, 16, 60), sharpness_steps=steps[::5], lr=0.1)
    np.savez("bare.npz", loss=np.exp(-steps / 80), sharpness=np.linspace(4, 16, 60), sharpness_steps=steps[::5])
    return tmp_path


@pytest.mark.parametrize("what", [["run.npz"], ["train.py:record"], ["bare.npz", "--lr", "0.1"]])
def test_a_record_is_diagnosed(here: Path, what: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", *what, "--json", "--plot", "p.png"]) == 0
    doc = json.loads(capsys.readouterr().out)
    assert doc["phase"] == "sharpening" and doc["ratio"] == pytest.approx(0.8)
    assert doc["largest_lr"] == pytest.approx(0.125) and doc["threshold"] == pytest.approx(20.0)
    assert (here / "p.png").stat().st_size > 10_000


def test_a_script_may_read_arguments_and_end_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "script.py").write_text(f"import argparse, sys\nargparse.ArgumentParser().parse_args()\n{SOURCE}\nsys.exit(0)\n")
    assert main(["diagnose", "script.py:record"]) == 0
    assert capsys.readouterr().out.startswith("sharpening")


def test_what_a_file_prints_leaves_the_document_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "loud.py").write_text(SOURCE + "\nprint('imported')\ndef told():\n    print('called')\n    return record\n")
    assert main(["diagnose", "loud.py:told", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["phase"] == "sharpening"
    assert "imported" in said.err and "called" in said.err


def test_another_optimiser_has_another_threshold(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "run.npz", "--method", "adam", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == pytest.approx(380.0)


def test_a_problem_is_trained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "train.py:problem", "--lr", "0.05", "--steps", "100"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("flat: sharpness at") and "largest stable lr" in out and "initialisation" in out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "missing argument"),
        (["train.py"], 2, "names no object"),
        (["train.py:nothing"], 2, "has no nothing"),
        (["train.py:probe"], 2, "a int cannot be diagnosed"),
        (["train.py:problem"], 2, "lr is missing"),
        (["train.py:broken"], 1, "no luck"),
        (["ends.py:record"], 1, "could not be run (SystemExit: 3)"),
        (["main.py:record"], 2, "name what it defines, outside of if __name__ == '__main__'"),
        (["gone.npz"], 2, "there is no file"),
        (["run.pkl"], 2, "is no record"),
        (["run.npz", "--lr", "-1"], 2, "lr"),
        (["run.npz", "--steps", "10"], 2, "--steps 10 is for a Problem"),
        (["run.npz", "--method", "lion"], 2, "no known threshold"),
        (["run.npz", "--plot", "a.txt"], 2, "--plot"),
    ],
)
def test_what_is_wrong_gets_one_sentence(
    here: Path, words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", *words]) == code
    streams = capsys.readouterr()
    assert streams.out == "" and told in streams.err
    assert streams.err.count("\n") == 1 and "Traceback" not in streams.err


def test_without_pytorch_one_sentence_says_what_to_install(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    for name in [n for n in sys.modules if n.startswith(("trainphase.probe.torch", "trainphase.probe.adapters.torch_adapter"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    (here / "loop.py").write_text("from trainphase.probe.torch import watch\n")
    assert main(["diagnose", "loop.py:probe"]) == 2
    err = capsys.readouterr().err
    assert "pip install 'trainphase[torch]'" in err and err.count("\n") == 1
