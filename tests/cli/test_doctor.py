"""``trainphase doctor`` on environments that are broken on purpose: what it says, and that it names the remedy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from trainphase.cli import checks, doctor
from trainphase.cli.main import main

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def asked(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    """The document of the command, which must end with that exit code."""
    assert main(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def faked(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Have packages be of other releases, or, with an empty one, missing."""
    real = checks.version
    monkeypatch.setattr(checks, "version", lambda name: versions.get(name, real(name)))


def test_the_tables_are_those_of_the_project() -> None:
    oldest, beyond = {}, {}
    for line in PROJECT["dependencies"]:
        oldest |= dict(re.findall(r"^([\w-]+)\W*>=([\d.]+)", line))
        beyond |= dict(re.findall(r"^([\w-]+).*<([\d.]+)", line))
    assert (oldest, beyond) == (checks.OLDEST, checks.BEYOND)
    extras = PROJECT["optional-dependencies"]
    assert set(checks.EXTRAS) == set(extras) - {"dev", "docs"}  # what users install
    for name, (packages, _) in checks.EXTRAS.items():
        named = tuple(re.split(r"[<>=!~\[; ]", line)[0] for line in extras[name])
        assert packages == (("fsspec", "s3fs") if extras[name] == ["fsspec[s3]>=2025.1"] else named)


@pytest.mark.parametrize(
    ("name", "found", "sentence"),
    [
        ("jax", "0.4.30", "jax 0.4.30 is too old: pip install 'jax>=0.10'"),
        ("jax", "0.9.2", "jax 0.9.2 is too old: pip install 'jax>=0.10'"),
        ("zarr", "4.0.0", "zarr 4.0.0 is too new: pip install 'zarr>=3.1.3,<4'"),
        ("equinox", "", "equinox is not installed: pip install 'equinox>=0.13'"),
    ],
)
def test_a_wrong_release_is_a_problem(
    name: str, found: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faked(monkeypatch, **{name: found})
    assert sentence in asked(capsys, 1)["problems"]


@pytest.mark.parametrize("found", ["0.10", "0.10.0", "0.11.1", "0.12.0.1"])
def test_a_right_release_is_none(found: str) -> None:
    assert checks.fault("jax", found) == ""
    assert checks.untested({"jax": found, "jaxlib": found, "python": "3.13.9"}) == []


def test_a_newer_jax_is_a_note(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    faked(monkeypatch, jax="0.13.0", jaxlib="0.12.0")
    notes = asked(capsys)["notes"]
    assert any("jax 0.13.0 is newer than 0.12" in n and "pip install 'jax<=0.12.99'" in n for n in notes)
    assert any("jax 0.13.0 and jaxlib 0.12.0 are of different releases" in n for n in notes)


def test_missing_extras_are_told_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faked(monkeypatch, distributed="", starlette="", torch="", optax="", s3fs="")
    rows = {row["name"]: row for row in asked(capsys)["extras"]}
    assert not any(row["found"] for row in rows.values())
    assert rows["dask"]["missing"][-1] == "distributed" and "starlette" in rows["explore"]["missing"]
    main(["doctor"])
    out = capsys.readouterr().out
    for name in rows:
        assert f"pip install 'trainphase[{name}]'" in out


def test_folders_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Below a file, where nobody can make a folder, not even the superuser, whom permissions do not hold.
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("HOME", str(file))
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)

    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(checks, "writable", lambda folder: folder.is_dir())  # which would want a temporary folder
    doc = asked(capsys, 1)
    assert [sentence.partition(",")[0] for sentence in doc["problems"]] == [
        f"{file / '.cache' / 'trainphase'} cannot be written", "no folder can be written",
    ]  # fmt: skip
    assert all("--store" in s or "TMPDIR" in s for s in doc["problems"])
    assert any("MPLCONFIGDIR" in note for note in doc["notes"])


def test_a_folder_to_come_is_writable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert checks.can_be_used(tmp_path / "a" / "b" / "c")
    assert not checks.can_be_used(tmp_path / "file" / "b")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_neither_data_sets_nor_a_browser(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def none(*_: Any) -> Any:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    monkeypatch.setattr("trainphase.data.status", lambda search: [("digits", True, ""), ("mnist", False, "")])
    monkeypatch.setenv("TRAINPHASE_DATA", "no-such-folder")
    doc = asked(capsys)
    assert doc["browser"] == ""
    for words in ("trainphase list datasets", "explore --export", "no-such-folder, which is no folder"):
        assert any(words in note for note in doc["notes"]), words


def test_packages_that_are_too_damaged_to_look_for_data_sets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(search: Any) -> Any:
        raise ImportError("libscipy.so: no such file")

    monkeypatch.setattr("trainphase.data.status", broken)
    doc = asked(capsys, 1)
    assert doc["problems"] == ["data sets cannot be looked for (libscipy.so: no such file): install trainphase again"]


def test_without_what_the_command_itself_needs() -> None:
    code = "import sys; sys.modules['numpy'] = None; from trainphase.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "trainphase: numpy is not installed; pip install numpy, then trainphase doctor\n"


def test_the_packages_are_listed_once() -> None:
    assert len(set(doctor.PACKAGES)) == len(doctor.PACKAGES)
