"""A system in a user's own file, on the command line: its help, its whole numbers, and what is said when it fails."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from trainphase.cli.main import main

FILE = """
import equinox as eqx
import jax.numpy as jnp
import trainphase as tp


class Sized(tp.Map):
    r: float = 0.5
    m: int = eqx.field(static=True, default=2)

    def init(self):
        return jnp.ones(self.m)

    def step(self, state):
        return self.r * state


class Wrong(Sized):
    def step(self, state):
        return state.nothing


class Shrinks(Sized):
    def step(self, state):
        return state[0]


problem = tp.Problem(lambda p, x: x @ p, jnp.ones(2), data=(jnp.eye(2), jnp.zeros(2)))


def made(r=1.0):
    raise ValueError("no luck")
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["run", "own.py:Wrong"], 1, "own.py, line 20, failed (AttributeError:"),
        (["boundary", "own.py:Wrong", "r=0:1"], 1, "own.py, line 20, failed (AttributeError:"),
        (["run", "own.py:made"], 1, "own.py, line 32, failed (ValueError: no luck); mend it"),
        (["run", "own.py:Shrinks"], 2, "the state is float64 (2,) in init() and float64 () after step"),
        (["run", "own.py:problem", "lr=0.1"], 2, "a Problem is no system; name a Map or Flow; of a Problem p,"),
        (["run", "own.py:Size"], 2, "own.py has no Size; the nearest is Sized"),
        (["run", "own.py:Sized", "m=2.5"], 2, "m must be a whole number"),
        (["run", "own.py"], 2, "own.py names no system; give one of trainphase list systems, or of your own FILE.py:NAME"),
        (["own.py:Sized", "m=3"], 2, "give for example trainphase run own.py:Sized m=3"),
        (["run", "cubik"], 2, "there is no system 'cubik'; the nearest is cubic, of "),
    ],
)
def test_what_fails_is_the_users_and_said_so(argv: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == code
    told = capsys.readouterr().err
    assert text in told and told.count("\n") == 1 and "report" not in told


@pytest.mark.parametrize("argv", [["own.py:Sized", "--help"], ["run", "own.py:Sized", "--help"]])
def test_help_tells_of_a_users_system(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert "a whole number" in capsys.readouterr().out


def test_the_command_that_continues_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "cubic", "a=0.5:1.5:4", "--steps", "64", "--quiet", "--store", "a store"]) == 0
    capsys.readouterr()
    assert main(["status", "a store", "--json"]) == 0
    assert shlex.split(json.loads(capsys.readouterr().out)["command"])[-1] == "a store"


def test_a_width_is_an_axis(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "own.py:Sized", "m=2,3", "--steps", "64", "--quiet"]) == 0
    assert "m 2" in capsys.readouterr().out
