"""Every command's --help has an example, and every example on a help page runs as it stands there."""

from __future__ import annotations

import functools
import os
import re
import shlex
import signal
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from trainphase.cli.main import cli, main

EXAMPLE = re.compile(r"^ +(?:For example: )?trainphase (.+?)(?:  .*)?$", re.M)  # what follows two spaces is a remark
SLOW = ("demo", "demo --out my-demo")  # half a minute each

# What the examples call theirs.
TRAIN = """
import numpy as np

steps = np.arange(300)
probe = {"loss": np.exp(-steps / 80), "sharpness": np.linspace(4, 16, 60), "sharpness_steps": steps[::5], "lr": 0.1}
"""
NET = """
import jax.numpy as jnp
import numpy as np
import trainphase as tp

rng = np.random.default_rng(0)
model = (rng.normal(size=(9, 64)) / 3, rng.normal(size=(64, 1)) / 8)
problem = tp.Problem(lambda w, x: jnp.tanh(x @ w), rng.normal(size=3), (rng.normal(size=(9, 3)), rng.normal(size=9)))
"""


def commands(group: click.Group = cli, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups and what is in them."""
    yield words
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


@functools.cache
def examples(words: tuple[str, ...]) -> tuple[str, ...]:
    """The examples on the help page of a command, each without the word trainphase."""
    command: click.Command = cli
    ctx = click.Context(cli, info_name="trainphase")
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
        ctx = click.Context(command, info_name=word, parent=ctx)
    return tuple(found.strip() for found in EXAMPLE.findall(command.get_help(ctx)))


ALL = sorted({line for words in commands() for line in examples(words)})


@pytest.mark.parametrize("words", list(commands()), ids=lambda words: " ".join(words) or "trainphase")
def test_the_help_has_an_example(words: tuple[str, ...]) -> None:
    found = examples(words)
    assert any(line.split()[: len(words)] == list(words) for line in found), "no example of this command"


def test_the_examples_are_all_found() -> None:
    assert len(ALL) >= len(list(commands()))
    for words in commands():  # what stands behind "For example:" is seen
        for line in examples(words):
            assert not line.startswith(("[", "Usage")), line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "net.py").write_text(NET)
    steps, sharpness = np.arange(300), np.linspace(4, 16, 300)
    np.savez("run.npz", loss=np.exp(-steps / 80), sharpness=sharpness, sharpness_steps=steps, lr=0.1)
    rows = [f"{k},{np.exp(-k / 80)},{s}" for k, s in zip(steps, sharpness, strict=True)]
    (tmp_path / "run.csv").write_text("\n".join(["step,loss,sharpness", *rows]) + "\n")
    return tmp_path


@pytest.mark.parametrize("line", [pytest.param(x, marks=pytest.mark.slow) if x in SLOW else x for x in ALL])
def test_the_example_runs(line: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line)
    opened: list[bytes] = []
    if "my-sweep" in words:  # the folder of an earlier sweep
        assert main(["diagram", "cubic", "a=0:2.2:512", "--store", "my-sweep"]) == 0
        capsys.readouterr()
    if words[0] == "explore" and "--export" not in words:
        pytest.importorskip("starlette", reason="the extra explore is not installed")
        pytest.importorskip("uvicorn", reason="the extra explore is not installed")

        def browser(address: str) -> bool:  # one look at the page, then Ctrl-C
            with urllib.request.urlopen(address, timeout=20) as answer:
                opened.append(answer.read())
            os.kill(os.getpid(), signal.SIGINT)
            return True

        monkeypatch.setattr(webbrowser, "open", browser)
    code = main(words)
    out, err = capsys.readouterr()
    assert code == 0, err
    assert out.strip() or "--export" in words or opened
    assert not opened or b"trainphase-document" in opened[0]
    for option in {"--plot", "--export"} & set(words):
        assert (here / words[words.index(option) + 1]).stat().st_size > 10_000
