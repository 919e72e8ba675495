"""The page on extending: its blocks are run as written, as the package that the page makes of them."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from trainphase.cli.main import main
from trainphase.errors import RequestError
from trainphase.phase import vocabulary

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
# A module of another package that says so when it is imported.
LOUD = 'import sys\nprint("imported", file=sys.stderr)\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def install(folder: Path, project: dict[str, Any], modules: dict[str, str]) -> None:
    """What an installer leaves of a package: its modules, and the metadata beside them."""
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    lines = [
        line for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]  # fmt: skip
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's package installed in it."""
    folder = tmp_path_factory.mktemp("site")
    *module, _ = blocks("python")
    install(folder, tomllib.loads(blocks("toml")[0])["project"], {"my_maps": LOUD + "\n".join(module)})
    return folder


def asked(site: Path, line: str, at: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own that sees the package."""
    path = os.pathsep.join([str(site), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "HOME": str(at)}
    done = subprocess.run(
        [sys.executable, "-m", "trainphase", *line.split()], capture_output=True, text=True, check=False, timeout=300,
        stdin=subprocess.DEVNULL, env=environment, cwd=at,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_each_part_is_short() -> None:
    # The promise of the page: a system, an observable and a classifier in under 30 lines each.
    assert all(len([line for line in block.splitlines() if line]) < 30 for block in blocks("python")[:3])


def test_the_blocks_run(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    module = importlib.import_module("my_maps")
    exec(compile(blocks("python")[-1], "extending.md", "exec"), vars(module))


def test_lists_name_what_a_package_brings_and_import_nothing(site: Path, tmp_path: Path) -> None:
    done = asked(site, "list --json", tmp_path)
    doc = json.loads(done.stdout)
    assert "imported" not in done.stderr
    assert {"name": "logistic", "summary": "of the package my-maps", "parameters": []} in doc["systems"]
    assert {"name": "height", "units": "", "meaning": "of the package my-maps"} in doc["observables"]
    assert ("side", "of the package my-maps") in [(row["vocabulary"], row["definition"]) for row in doc["phases"]]
    assert "imported" not in asked(site, "diagram --help", tmp_path).stderr


def test_the_commands_of_the_page(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line.removeprefix("$ trainphase ") for line in blocks("console")[0].splitlines()]
    assert [line.split()[0] for line in lines] == ["list", "run", "diagram"]
    run = json.loads(asked(site, f"{lines[1]} --json --quiet", tmp_path).stdout)
    # The fixed point of the map at r = 2.5 is 1 - 1/r = 0.6, where the height r x is 1.5. The run is at it to rounding.
    assert (run["phase"], run["outcome"], run["rule"]) == ("high", "converged", "the height against one half")
    assert run["observables"]["height"] == pytest.approx(1.5, abs=1e-12)
    drawn = asked(site, f"{lines[2]} --json --quiet --plot side.png", tmp_path)
    diagram = json.loads(drawn.stdout)
    # The height at the fixed point is r - 1: below one half up to r = 1.5, and there is none that is stable from r = 3 on.
    assert diagram["boundaries"][0]["between"] == ["low", "high"] or diagram["boundaries"][1]["between"] == ["low", "high"]
    change = next(line["points"] for line in diagram["boundaries"] if line["between"] == ["low", "high"])
    cell = 2.5 / 63
    assert abs(change[0][0] - 1.5) <= cell and (tmp_path / "side.png").stat().st_size > 0
    # The store opens again, in the vocabulary of the package, and computes nothing anew.
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    assert main([*lines[2].split(), "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["evaluations"] == 0 and again["phases"] == diagram["phases"]
    # The explorer shows it in the package's own words.
    words = lines[2].split()
    assert main(["explore", words[words.index("--store") + 1], "--export", "side.html"]) == 0
    page = (tmp_path / "side.html").read_text(encoding="utf-8")
    assert '"vocabulary":"side"' in page and '"label":"high"' in page
    # It is another package's: without it, one sentence.
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(site)])
    with pytest.raises(RequestError, match="no vocabulary 'side'; give one of training, edge, regime, or install the package"):
        vocabulary("side")


def test_an_observable_of_a_package_on_a_system_of_ours(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    assert main(["run", "cubic", "--observe", "height"]) == 2
    assert "height needs r, which Cubic lacks" in capsys.readouterr().err


def test_a_page_of_help_loads_the_system(site: Path, tmp_path: Path) -> None:
    text = asked(site, "run logistic --help", tmp_path).stdout
    assert "the logistic map" in text and "low, high, undecided" in text


@pytest.mark.parametrize(
    ("group", "name", "value", "line", "words"),
    [
        ("systems", "cubic", "odd:NUMBER", "run cubic", "the system 'cubic' is brought by trainphase and odd; rename it in odd"),
        ("systems", "mine", "odd:NUMBER", "run mine", "is odd:NUMBER, of type int; make it a trainphase.catalog.SystemInfo"),
        ("systems", "mine", "odd:NOTHING", "run mine", "the system 'mine' of the package odd cannot be loaded (AttributeError"),
        ("observables", "loss", "odd:NUMBER", "run cubic --observe loss", "'loss' is brought by trainphase and odd"),
        ("observables", "mine", "odd:NUMBER", "run cubic --observe mine", "make it a trainphase.observable.Observable"),
        ("classifiers", "mine", "odd:NUMBER", "run cubic --vocabulary mine", "make it a trainphase.phase.Classifier"),
        ("classifiers", "mine", "missing:X", "run cubic --vocabulary mine", "cannot be loaded (ModuleNotFoundError"),
        ("systems", "quux", "odd:NUMBER", "run quxx", "the nearest is quux, of cubic"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str,
    line: str, words: str,
) -> None:  # fmt: skip
    points = {f"trainphase.{group}": {name: value}}
    install(tmp_path / "odd", {"name": "odd", "version": "1", "entry-points": points}, {"odd": "NUMBER = 3\n"})
    monkeypatch.syspath_prepend(str(tmp_path / "odd"))
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    assert main(line.split()) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told and len(told.strip().splitlines()) == 1


FAULTY = """
import numpy as np
import trainphase as tp
from trainphase.phase import Classifier

WORDS = tp.Vocabulary("mine", "?", tuple(tp.Phase(x, x, "#000000", x[0]) for x in ("good", "undecided")))
RAISES = Classifier(WORDS, lambda evidence: evidence["height"], ("never",))
WILD = Classifier(WORDS, lambda evidence: (np.full(evidence["loss"].shape, 7), 0.0, 0), ("never",))
"""


@pytest.mark.parametrize(
    ("what", "words"),
    [("RAISES", "the classifier of 'mine' failed (KeyError: 'height')"), ("WILD", "of 'mine' gave codes that are none")],
)
def test_a_classifier_that_fails_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    points = {"trainphase.classifiers": {"mine": f"faulty:{what}"}}
    install(tmp_path / "faulty", {"name": "faulty", "version": "1", "entry-points": points}, {"faulty": FAULTY})
    monkeypatch.syspath_prepend(str(tmp_path / "faulty"))
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    assert main(["run", "cubic", "a=0.5", "--steps", "512", "--starts", "2", "--vocabulary", "mine"]) == 1
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told


def test_two_packages_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("one", "two"):
        points = {"trainphase.systems": {"mine": f"{who}:X"}}
        install(tmp_path / who, {"name": who, "version": "1", "entry-points": points}, {who: "X = 3\n"})
        monkeypatch.syspath_prepend(str(tmp_path / who))
    assert main(["run", "mine"]) == 2
    assert "the system 'mine' is brought by one and two; rename it in two" in capsys.readouterr().err
    assert main(["list", "systems"]) == 0
    assert "is brought by one and two" in capsys.readouterr().out
