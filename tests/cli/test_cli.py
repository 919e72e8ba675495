"""The commands themselves, on small sizes: documents, files, failures."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import xarray

from trainphase import catalog
from trainphase._version import __version__
from trainphase.cli.main import main
from trainphase.errors import DataError, SweepInterrupted, TrainphaseError
from trainphase.phase import TRAINING, VOCABULARIES


def refuse_constant(text: str) -> None:
    """NaN and Infinity are no JSON, although Python reads and writes them."""
    raise AssertionError(f"{text} in the document")


def document(text: str) -> dict[str, Any]:
    """The one JSON document that is the whole of a text."""
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse_constant)


def asked(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, Any]:
    """The document of a command that must succeed."""
    code = main([*shlex.split(line), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return document(out)


def printed(capsys: pytest.CaptureFixture[str], line: str) -> str:
    """What a command that must succeed prints."""
    code = main(shlex.split(line))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


# -- help and lists ----------------------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--version") == f"trainphase {__version__}\n"


def test_without_arguments_the_commands_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "")
    assert text == printed(capsys, "--help")
    for name in ("demo", "list", "run", "diagram", "boundary", "doctor"):
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", list(catalog.systems()))
@pytest.mark.parametrize("line", ["{} --help", "{}", "run {} --help", "diagram --help {}", "boundary {} x=1 --help"])
def test_help_tells_all_about_a_system(line: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, line.format(name))
    info = catalog.system(name)
    for param in info.params:
        row = next(row for row in text.splitlines() if row.startswith(f"{param.name} "))
        assert param.units in row
        assert param.domain() in row
        assert param.help in row
    for observable in info.observables:
        assert any(row.startswith(f"{observable} ") for row in text.splitlines())
    for words in info.vocabularies:
        assert ", ".join(VOCABULARIES[words].labels) in text


@pytest.mark.parametrize("kind", ["systems", "observables", "phases", "datasets", "papers"])
def test_lists(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = asked(capsys, f"list {kind}")[kind]
    assert rows
    text = printed(capsys, f"list {kind}")
    for row in rows:
        assert str(row["label" if kind == "phases" else next(iter(row))]) in text


def test_a_list_of_all_holds_every_list(capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys, "list")
    assert list(found) == ["systems", "observables", "phases", "datasets", "papers"]
    assert {row["name"] for row in found["systems"]} >= set(catalog.systems())
    assert [row["definition"] for row in found["phases"]] == [p.definition for v in VOCABULARIES.values() for p in v.phases]


def test_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINPHASE_DATA", os.pathsep.join([str(tmp_path), "no-such-folder"]))
    monkeypatch.chdir(tmp_path)
    found = asked(capsys, "doctor")
    assert found["problems"] == []
    assert found["versions"]["trainphase"] == __version__
    assert found["versions"]["jaxlib"]
    assert found["devices"] and found["cores"] >= 1
    assert {row["name"]: row["found"] for row in found["datasets"]}["digits"] is True
    assert [row["exists"] for row in found["data_folders"]] == [True, False]
    assert found["folder_writable"] is True
    assert list(tmp_path.iterdir()) == []


def test_doctor_tells_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainphase.cli.doctor.PACKAGES", ("numpy", "no-such-package"))
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "no-such-package  missing" in out
    assert "no-such-package is not installed" in err


# -- run ---------------------------------------------------------------------------------------------

RUN_KEYS = {"system", "params", "phase", "margin", "outcome", "steps", "observables", "version", "seed", "dtype"}


def test_run(capsys: pytest.CaptureFixture[str]) -> None:
    doc = asked(capsys, "run cubic a=1.1 --steps 64")
    assert doc.keys() >= RUN_KEYS
    assert (doc["system"], doc["params"], doc["phase"]) == ("cubic", {"a": 1.1}, "periodic")
    assert doc["version"] == __version__
    assert doc["observables"]["period"] == 2
    assert "series" not in doc


def test_run_series(capsys: pytest.CaptureFixture[str]) -> None:
    doc = asked(capsys, "run cubic a=0.5 z0=0.3 --steps 16 --series")
    assert doc["times"] == list(range(17))
    assert len(doc["series"]["loss"]) == 17
    assert doc["series"]["residual"][0] == pytest.approx(0.3, abs=1e-15)  # one rounding of z0 + a - a
    assert doc["phase"] == "monotonic"


def test_what_is_not_finite_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    doc = asked(capsys, "run cubic a=2.5 --steps 512 --series")
    assert doc["phase"] == "divergent"
    assert doc["outcome"] == "escaped"
    assert None in doc["observables"].values()


def test_run_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "run cubic a=1.1 --steps 64")
    assert text.startswith("cubic a=1.1\nphase    periodic")
    assert any(line.split() == ["period", "2", "steps"] for line in text.splitlines())


def test_run_in_single_precision(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, "run cubic a=1.1 --steps 64 --dtype float32")["dtype"] == "float32"


def test_run_on_real_images_from_a_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def run(system: str, **options: Any) -> None:
        seen.update(options, system=system)
        raise DataError("enough")

    monkeypatch.setattr("trainphase.api.run", run)
    monkeypatch.setenv("TRAINPHASE_DATA", "one")
    assert main(["run", "phase-retrieval", "data=mnist", "--data-dir", "."]) == 2
    assert (seen["data_dir"], seen["search"], seen["data"]) == (".", ("one",), "mnist")
    assert seen["command"] == "trainphase run phase-retrieval data=mnist --data-dir ."
    assert capsys.readouterr().err == "trainphase: enough\n"


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_run_writes_data_that_xarray_opens(ending: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = tmp_path / f"run.{ending}"
    line = f"run cubic a=1.1 --steps 64 --out {shlex.quote(str(place))}"
    for _ in range(2):  # a second time replaces it
        doc = asked(capsys, line)
        with xarray.open_dataset(place, engine="zarr" if ending == "zarr" else "scipy", **_quiet(ending)) as data:
            assert data.attrs["phase"] == "periodic"
            assert data["loss"].attrs["units"]
            assert float(data["loss"][-1]) == doc["observables"]["loss"]
            assert json.loads(data.attrs["provenance"])["command"] == "trainphase run cubic a=1.1 --steps 64"
    assert [p.name for p in tmp_path.iterdir()] == [place.name]


def _quiet(ending: str) -> dict[str, Any]:
    return {"consolidated": False} if ending == "zarr" else {}


def test_run_plots(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked(capsys, f"run cubic a=1.1 --steps 64 --plot {shlex.quote(str(tmp_path / 'run.png'))}")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


# -- diagram -----------------------------------------------------------------------------------------

DIAGRAM_KEYS = {
    "system", "axes", "phases", "evaluations", "grid_points", "seconds", "store", "boundaries", "theory", "version",
    "seed", "dtype",
}  # fmt: skip


def test_diagram(capsys: pytest.CaptureFixture[str]) -> None:
    doc = asked(capsys, "diagram cubic a=0:2.2:64 --steps 1024")
    assert doc.keys() >= DIAGRAM_KEYS
    assert doc["axes"] == [{"name": "a", "lo": 0.0, "hi": 2.2, "n": 64, "scale": "linear"}]
    assert doc["grid_points"] == doc["evaluations"] == 64
    assert set(doc["phases"]) <= set(TRAINING.labels)
    assert math.isclose(sum(doc["phases"].values()), 1.0, rel_tol=1e-12)  # shares of 64, summed in float64
    found = {tuple(b["between"]): b["points"] for b in doc["boundaries"]}
    # Within one cell of the grid of the exact values.
    assert found[("monotonic", "catapult")][0][0] == pytest.approx(2 * 2**0.5 - 2, abs=2.2 / 63)
    assert found[("catapult", "periodic")][0][0] == pytest.approx(1, abs=2.2 / 63)


def test_diagram_over_two_parameters_and_seeds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = tmp_path / "plane.nc"
    line = "diagram phase-retrieval lr=0.1:0.3:2 scale=0.5,1,2 n=4 d=8 --seeds 2 --steps 512"
    doc = asked(capsys, f"{line} --out {shlex.quote(str(place))}")
    assert [(a["name"], a["n"]) for a in doc["axes"]] == [("lr", 2), ("scale", 3), ("seed", 2)]
    assert doc["axes"][1]["values"] == [0.5, 1.0, 2.0]
    with xarray.open_dataset(place, engine="scipy") as data:
        assert dict(data.sizes) == {"lr": 2, "scale": 3, "seed": 2}
        assert data["phase"].attrs["flag_meanings"].split() == list(TRAINING.labels)
        assert data["lr"].attrs["units"] == "step size"
        provenance = json.loads(data.attrs["provenance"])
    assert provenance.keys() >= {"command", "xla_flags", "jax", "dtype", "device", "data_sha256"}


def test_diagram_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "diagram cubic a=0.5:1.5:8 --steps 512")
    assert text.startswith("cubic over a 8\n")
    assert "catapult / periodic" in text
    assert "8 of 8 points computed" in text


def test_diagram_plots(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = shlex.quote(str(tmp_path / "plot.png"))
    asked(capsys, f"diagram cubic a=0.5:1.5:16 --steps 512 --plot {place}")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_store_is_used_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = f"diagram cubic a=0:2:8 --steps 512 --store {shlex.quote(str(tmp_path / 'deep' / 'store'))}"
    first, second = asked(capsys, line), asked(capsys, line)
    assert (first["evaluations"], second["evaluations"]) == (8, 0)
    assert first["phases"] == second["phases"]


def test_tiles_that_fail_are_told_and_the_rest_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainphase import api

    real = api.diagram

    def failing(*args: Any, **options: Any) -> Any:
        result = real(*args, **options)
        result.failed["0"] = "ValueError: planted"
        return result

    monkeypatch.setattr(api, "diagram", failing)
    assert main(["diagram", "cubic", "a=0:2:4", "--steps", "512", "--json"]) == 1
    out, err = capsys.readouterr()
    assert document(out)["failed"] == {"0": "ValueError: planted"}
    assert "ValueError: planted" in err


# -- boundary ----------------------------------------------------------------------------------------


def test_boundary(capsys: pytest.CaptureFixture[str]) -> None:
    doc = asked(capsys, "boundary cubic a=0.9:1.1 --points 4 --tol 1e-9 --steps 8192")
    assert (doc["system"], doc["param"]) == ("cubic", "a")
    (crossing,) = doc["crossings"]
    assert crossing["between"] == ["catapult", "periodic"]
    assert crossing["width"] <= 1e-9
    assert abs(crossing["at"] - 1) <= 1e-9  # the tolerance that was asked for
    assert crossing["theory"] == 1
    assert crossing["theory_name"]
    assert doc["evaluations"] > 4


def test_boundary_of_the_period_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "boundary cubic a=1.2:1.26 --points 4 --tol 1e-6 --of period --steps 8192")
    row = next(line for line in text.splitlines() if line.startswith("2 / 4"))
    assert float(row.split()[3]) == pytest.approx(5**0.5 - 1, abs=1e-6)  # the tolerance that was asked for


# -- demo --------------------------------------------------------------------------------------------


def test_demo_is_handed_its_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def run_demo(out: Path, progress: Any) -> Any:
        seen.append((out, hasattr(progress, "advance")))
        return types.SimpleNamespace(to_json=lambda: {"x": math.nan}, table=lambda: "a table")

    fake = types.ModuleType("trainphase.demo")
    fake.run_demo = run_demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trainphase.demo", fake)
    place = shlex.quote(str(tmp_path / "demo"))
    assert asked(capsys, f"demo --out {place}") == {"x": None}
    assert printed(capsys, f"demo --out {place}") == "a table\n"
    assert seen == [(tmp_path / "demo", True)] * 2


# -- failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (TrainphaseError("the work\nfailed"), 1, "trainphase: the work failed\n"),
        (SweepInterrupted("3 of 9 tiles are kept"), 130, "trainphase: 3 of 9 tiles are kept\n"),
        (KeyboardInterrupt(), 130, "trainphase: interrupted; give the same command again\n"),
        (ValueError("odd"), 1, "trainphase: unexpected error (ValueError: odd); please report it with the output of --debug\n"),
        (BrokenPipeError(), 1, ""),
    ],
    ids=lambda v: type(v).__name__,
)
def test_how_failures_end(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("trainphase.api.run", run)
    assert main(["run", "cubic"]) == code
    assert capsys.readouterr() == ("", sentence)


def test_no_memory_is_told_in_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any, **options: Any) -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory allocating 8 bytes")

    monkeypatch.setattr("trainphase.api.run", run)
    assert main(["run", "cubic"]) == 1
    assert "not enough memory" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any, **options: Any) -> None:
        raise ValueError("odd")

    monkeypatch.setattr("trainphase.api.run", run)
    for argv in (["--debug", "run", "cubic"], ["run", "cubic", "--debug"]):
        assert main(argv) == 1
        err = capsys.readouterr().err
        assert err.startswith("Traceback")
        assert err.endswith("--debug\n")


def test_a_file_that_fails_does_not_cost_the_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainphase.api.save", save)
    place = str(tmp_path / "x.nc")
    assert main(["run", "cubic", "a=1.1", "--steps", "64", "--json", "--out", place]) == 1
    out, err = capsys.readouterr()
    assert document(out)["phase"] == "periodic"
    assert "No space left on device" in err and place in err


def test_an_interrupt_outside_the_sweep_tells_of_the_store(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diagram(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainphase.api.diagram", diagram)
    assert main(["diagram", "cubic", "a=0:1:4", "--store", str(tmp_path / "store")]) == 130
    assert f"what the store {tmp_path / 'store'} holds is kept" in capsys.readouterr().err
