"""Sweeps from the command line: parts, executors, own systems from a file, holes, and what ``status`` says."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from trainphase.cli.main import main
from trainphase.engine.store import Store

WELL = '''
import jax.numpy as jnp
import trainphase as tp
from pathlib import Path


class Well(tp.Map):
    """Gradient descent in a double well."""

    lr: float
    start: float = 0.7

    def init(self):
        return jnp.asarray(self.start)

    def step(self, state):
        return state - self.lr * (state**3 - state)

    def check(self):
        if Path(__file__).with_name("broken").exists() and (self.lr > 1.5).any():
            raise ZeroDivisionError("no such step")


def halved(rate=0.2):
    return Well(rate / 2)


one = Well(0.3, 0.1)
nothing = 7
'''
LINE = "diagram cubic a=0:2.2:64 z0=-1:2:64 --steps 512"  # 4 tiles


def asked(capsys: pytest.CaptureFixture[str], line: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """Document and standard error of a command that ends with a code."""
    got = main([*shlex.split(line), "--json"])
    out, err = capsys.readouterr()
    assert got == code, err
    return json.loads(out) if out else {}, err


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def well(tmp_path: Path) -> Path:
    path = tmp_path / "well.py"
    path.write_text(WELL)
    return path


def test_parts_make_the_store_of_one_run_and_the_last_command_computes_nothing(tmp_path, capsys):
    asked(capsys, f"{LINE} --store {tmp_path}/whole")
    first, _ = asked(capsys, f"{LINE} --store {tmp_path}/s --part 1/3")
    assert first["part"] == [1, 3] and first["tiles"] == {"all": 4, "stored": 2, "own": 2, "computed": 2}
    for k in (2, 3):
        doc, _ = asked(capsys, f"{LINE} --store {tmp_path}/s --part {k}/3")
    assert doc["tiles"] == {"all": 4, "stored": 4, "own": 1, "computed": 1}
    doc, _ = asked(capsys, f"{LINE} --store {tmp_path}/s")
    assert doc["evaluations"] == 0 and doc["grid_points"] == 64 * 64
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_status_tells_how_far_a_store_is_and_how_to_go_on(tmp_path, capsys):
    store = tmp_path / "s"
    asked(capsys, f"{LINE} --store {store} --part 1/2")
    doc, _ = asked(capsys, f"status {store}")
    assert doc["tiles"] == {"all": 4, "done": 2, "damaged": 0, "missing": 2, "holes": 0} and doc["complete"] is False
    assert doc["points"]["all"] == 64 * 64 and 0 < doc["points"]["done"] < 64 * 64
    assert doc["writers"] == [] and doc["command"] == f"trainphase {LINE} --store {store}"
    chunk = store / "phase/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert asked(capsys, f"status {store}")[0]["damaged"] == ["0.0"]
    assert asked(capsys, f"status {store} --quick")[0]["tiles"]["done"] == 2
    with Store.open(store) as reading:
        release = reading.place.lock(None)
    assert "process" in asked(capsys, f"status {store}")[0]["writers"][0]
    release()
    assert asked(capsys, doc["command"].removeprefix("trainphase "))[0]["evaluations"] == 3 * 32 * 32
    doc, _ = asked(capsys, f"status {store}")
    assert doc["complete"] is True and doc["tiles"]["missing"] == doc["tiles"]["damaged"] == 0
    main(["status", str(store)])
    text = capsys.readouterr().out
    assert "4 of 4" in text and "complete: " in text


def test_a_diagram_with_a_hole_is_shown_and_ends_with_1(tmp_path, capsys, well):
    line = f"diagram {well}:Well lr=0.1:2:4096 --steps 512 --store {tmp_path}/s"
    (tmp_path / "broken").touch()
    doc, err = asked(capsys, line, code=1)
    assert list(doc["failed"]) == ["1"] and "ZeroDivisionError" in doc["failed"]["1"]
    assert doc["evaluations"] == 2048 and sum(doc["phases"].values()) == pytest.approx(1)
    assert "1 tile could not be computed, 1 among them" in err and "tries again" in err
    state, _ = asked(capsys, f"status {tmp_path}/s")
    assert state["tiles"]["holes"] == 1 and list(state["holes"]) == ["1"]
    (tmp_path / "broken").unlink()
    doc, _ = asked(capsys, line)
    assert doc["evaluations"] == 2048 and not doc["failed"]
    assert asked(capsys, f"status {tmp_path}/s")[0]["complete"] is True


def test_a_refinement_ends_at_a_batch_that_fails_and_goes_on_when_that_is_put_right(tmp_path, capsys, well):
    line = f"diagram {well}:Well lr=0.1:2:257 --steps 512 --refine --audit 0 --store {tmp_path}/s"
    (tmp_path / "broken").touch()
    assert main(shlex.split(line)) == 1
    out, err = capsys.readouterr()
    said = [text for text in err.splitlines() if text.startswith("trainphase: ")]
    assert out == "" and len(said) == 1
    assert "1 of 1 batches of points could not be computed (ZeroDivisionError: no such step)" in said[0]
    assert "put that right and give the same command again to continue" in said[0]
    (tmp_path / "broken").unlink()
    assert asked(capsys, line)[0]["refinement"]["points"] > 0


def test_own_systems_from_a_file(tmp_path, capsys, well):
    doc, _ = asked(capsys, f"run {well}:Well lr=0.4")
    assert doc["system"] == "well.py:Well" and doc["phase"] == "catapult"  # no path of this machine
    assert asked(capsys, f"run {well}:halved rate=0.8")[0]["observables"] == doc["observables"]
    assert asked(capsys, f"run {well}:one")[0]["params"] == {}
    doc, _ = asked(capsys, f"diagram {well}:Well lr=0.1:2:32 start=0.1 --steps 512 --store {tmp_path}/s")
    well.write_text(WELL.replace("state**3", "state**5"))
    _, err = asked(capsys, f"diagram {well}:Well lr=0.1:2:32 start=0.1 --steps 512 --store {tmp_path}/s", code=2)
    assert "file_sha256" in err and "another diagram" in err


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs trainphase[dask]")
def test_an_own_system_on_dask_has_the_bytes_of_one_process(tmp_path, capsys, well):
    line = f"diagram {well}:Well lr=0.1:2:8 start=0.1:1:4 --steps 512"
    asked(capsys, f"{line} --store {tmp_path}/here")
    asked(capsys, f"{line} --store {tmp_path}/there --executor dask --workers 1")
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{LINE} --store s --part 0/3", "--part 0/3 is not possible; give k/n with k from 1 to n"),
        (f"{LINE} --store s --part 3", "--part 3 is not possible"),
        (f"{LINE} --part 1/3", "needs a --store that all parts share"),
        (f"{LINE} --part 1/3 --refine", "--part 1/3 and --refine exclude each other"),
        (f"{LINE} --executor cluster", "--executor cluster is unknown; give local, dask, or a scheduler such as tcp://"),
        (f"{LINE} --executor tcp://h:1 --workers 2", "--workers 2 is not possible: tcp://h:1 has those that were started"),
        (f"{LINE} --executor dask --store memory://x", "is in the memory of one process"),
        ("status nowhere", "there is no store at nowhere"),
        ("run none.py:Well lr=1", "there is no file none.py"),
        ("run {well}:nothing lr=1", "7 is no system; name a subclass of trainphase.Map"),
        ("run {well}:Nope lr=1", "has no Nope"),
    ],
)
def test_wrong_requests(tmp_path, capsys, monkeypatch, well, line, says):
    monkeypatch.chdir(tmp_path)
    _, err = asked(capsys, line.replace("{well}", str(well)), code=2)
    assert says in err and err.count("\n") == 1
