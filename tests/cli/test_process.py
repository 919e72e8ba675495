"""The command as a process: what its streams hold, how it is interrupted and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "trainphase"]


def test_standard_output_holds_the_document_alone() -> None:
    line = [*COMMAND, "diagram", "cubic", "a=0:2.2:16", "--steps", "512", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["grid_points"] == 16
    assert done.stderr == ""  # quick work is done in silence


def test_a_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([*COMMAND, "list"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("argv", [["list"], ["--help"]])
def test_a_full_disk_is_told(argv: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        line = [*COMMAND, *argv]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.crash
def test_interrupted_and_continued(tmp_path: Path) -> None:
    store = tmp_path / "store"
    # d changes the shapes, so each of its 3 values is compiled anew. Seconds are left when the first has been written,
    # for an interrupt that is sent some hundredths of a second later.
    line = [*COMMAND, "diagram", "phase-retrieval", "lr=0.1,0.2", "d=16:18:3", "n=4", "--steps", "512", "--json"]
    line += ["--store", str(store)]
    child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + 240  # on a busy machine
        while not any((store / "ledger").glob("[0-9]*.json")) and child.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=240)
    finally:
        child.kill()
    assert child.returncode == 130, err
    assert out == ""
    assert "tiles are kept in" in err.splitlines()[-1]
    assert "give the same command again" in err.splitlines()[-1]
    assert "Traceback" not in err
    again = subprocess.run(line, capture_output=True, text=True, check=False, timeout=400)
    assert again.returncode == 0, again.stderr
    assert "are stored already" in again.stderr
    doc = json.loads(again.stdout)
    assert 0 < doc["evaluations"] < doc["grid_points"] == 6


# A run that is interrupted where Python drops exceptions, as in JAX's callback in the garbage collector.
DROPPED = """
import gc, signal, sys, time
from trainphase import api
from trainphase.cli.main import main

def collected(phase, info):
    gc.callbacks.remove(collected)
    signal.raise_signal(signal.SIGINT)

def diagram(*args, **options):
    gc.callbacks.append(collected)
    gc.collect()
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        time.sleep(0.05)
    print("not interrupted")

api.diagram = diagram
sys.argv[1:] = ["diagram", "cubic", "a=0:2:8"]
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_an_interrupt_that_python_drops_is_repeated() -> None:
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "trainphase: interrupted; give the same command again\n"


# An interrupt while the command is being imported, at the module that is named.
EARLY = """
import runpy, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
runpy.run_module("trainphase", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("at", ["trainphase.cli", "click", "numpy"])
def test_an_interrupt_during_the_imports_is_told(at: str) -> None:
    done = subprocess.run([sys.executable, "-c", EARLY, at], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "trainphase: interrupted; give the same command again\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_bar_on_a_terminal() -> None:
    import pty

    ours, theirs = pty.openpty()
    line = [*COMMAND, "diagram", "quadratic-1d", "z=-1:1:256", "T=0:2:128", "--steps", "400", "--json"]
    child = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=theirs, text=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    shown = b""
    try:
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux tells the end of a terminal so
                break
            if not piece:
                break
            shown += piece
        out, _ = child.communicate(timeout=60)
    finally:
        child.kill()
        os.close(ours)
    assert child.returncode == 0
    assert json.loads(out)["grid_points"] == 256 * 128
    assert b"tiles" in shown
    assert b"/2" in shown  # tiles of 128 x 128


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize(("line", "code"), [("list >&-", 0), ("--help >&-", 0), ("run cubic a=foo 2>&-", 2)])
def test_closed_streams_do_no_harm(line: str, code: int) -> None:
    shell = f'"{sys.executable}" -m trainphase {line}'
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
