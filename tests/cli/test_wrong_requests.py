"""Wrong requests, made from the catalogue: one sentence with the wrong text in it, exit code 2, nothing computed."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainphase import catalog
from trainphase.catalog import Param, SystemInfo
from trainphase.cli import parse
from trainphase.cli.main import main

Wrong = tuple[tuple[str, ...], str]  # the arguments, and the text that the sentence must hold


def of_numbers(info: SystemInfo, p: Param) -> Iterator[Wrong]:
    """What is wrong for every parameter that is a number."""
    good = parse._value_example(p).partition("=")[2]
    for text in ("foo", "nan", "inf", "-inf", "1e999", "", "1;2", "1_0", "0x1f", "1 "):
        yield ("run", info.name, f"{p.name}={text}"), f"{p.name}={text}".strip()
    yield ("run", info.name, f"{p.name}={good}", f"{p.name}={good}"), f"{p.name} is given twice"
    for text in (f"{good}:9e5:16", "1:2", "1,2"):
        yield ("run", info.name, f"{p.name}={text}"), f"{p.name}={text}"
    for text in ("1:2", "1:2:0", "1:2:1", "1:2:-3", "1:2:x", "1:2:2.5", "2:1:8", "1:1:8", "1:2:8:exp", "1:2:8:log:9",
                 "1:nan:8", "foo:2:8", ":2:8", "1::8", "1:2:", "1:2:9e9", "1,1", "1,x", "1,", "1:1e999:8"):  # fmt: skip
        yield ("diagram", info.name, f"{p.name}={text}"), f"{p.name}={text}"
    for text in ("2:1", "1:1", "1:2:8", "1,2", "nan:1", "1:foo", "1:"):
        yield ("boundary", info.name, f"{p.name}={text}"), f"{p.name}={text}"
    if p.kind == "int":
        for text in ("2.5", "1e-1", "1e300"):
            yield ("run", info.name, f"{p.name}={text}"), f"{p.name}={text}"
        for text in ("1:2:3", "1:9:3:log", "1:2.5:2", "1.5,2"):
            yield ("diagram", info.name, f"{p.name}={text}"), f"{p.name}={text}"
    else:
        for text in ("0:1:8:log", "-1:1:8:log", "1:1.000000000000001:4096"):
            yield ("diagram", info.name, f"{p.name}={text}"), f"{p.name}={text}"


def of_domains(info: SystemInfo, p: Param) -> Iterator[Wrong]:
    """Values outside the domain, alone and at either end of a range."""
    outside = []
    if math.isfinite(p.lo):
        outside.append(p.lo if p.open_lo else p.lo - 1)
    if math.isfinite(p.hi):
        outside.append(p.hi + 1)
    for value in outside:
        text = f"{value:.17g}"
        yield ("run", info.name, f"{p.name}={text}"), text
        ends = f"{text}:1e15:8" if value <= p.lo else f"1:{text}:8"
        yield ("diagram", info.name, f"{p.name}={ends}"), f"{p.name}={ends}"
        yield ("diagram", info.name, f"{p.name}=1,{text}"), f"{p.name}=1,{text}"
        pair = f"{text}:1e15" if value <= p.lo else f"1:{text}"
        yield ("boundary", info.name, f"{p.name}={pair}"), f"{p.name}={pair}"


def of_words(info: SystemInfo, p: Param) -> Iterator[Wrong]:
    """What is wrong for a parameter that is one of some words."""
    for text in (p.choices[0][:-1], p.choices[0].upper(), "1.5", "1:2:8", ",".join(p.choices[:2]), ""):
        for verb in ("run", "diagram", "boundary"):
            yield (verb, info.name, f"{p.name}={text}"), f"{p.name}={text}"


def of_systems(info: SystemInfo) -> Iterator[Wrong]:
    """What is wrong whatever the parameter."""
    ranges = [f"{p.name}={'0.5:1:3' if p.kind == 'float' else '1:3:3'}" for p in info.params if p.axis]
    for verb in ("run", "diagram", "boundary"):
        yield (verb, info.name[:-1]), info.name[:-1]
        yield (verb, info.name.upper()), info.name.upper()
        yield (verb, info.name, "nonsense=1"), "nonsense=1"
        yield (verb, info.name, "foo"), "foo"
        yield (verb, info.name, "=1"), "=1"
        yield (verb, info.name, "steps=9"), "--steps"
        yield (verb, info.name, "--steps", "0"), "--steps 0"
        yield (verb, info.name, "--nonsense"), "--nonsense"
        for p in info.params:
            near = f"{p.name}x=1"
            yield (verb, info.name, near), near
    yield ("diagram", info.name), parse.example(info)
    yield ("boundary", info.name), parse.example(info, boundary=True)
    yield ("diagram", info.name, *ranges, "z0=0:1:3", "a=0.5:1:3")[: 2 + 3], "" if len(ranges) < 3 else "3"
    yield (info.name, "a=1"), info.name
    first = next(p.name for p in info.params if p.kind == "float")
    yield ("diagram", info.name, f"{first}=1:2:70000000"), "70000000"
    spans = [r.partition("=")[0] + "=0.5:1" for r in ranges if info.param(r.partition("=")[0]).kind == "float"]
    if len(spans) > 2:
        yield ("boundary", info.name, *spans[:3]), "two"
    for wrong in (("--near", "1"), ("--near", "1,x"), ("--near", "9,1"), ("--between", "p,q"), ("--of", "period")):
        yield ("boundary", info.name, *spans[:2], *wrong), " ".join(wrong)
    for wrong in (("--near", "1,1"), ("--between", "p,q"), ("--plot", "x.png")):
        yield ("boundary", info.name, *spans[:1], *wrong), " ".join(wrong)


OPTIONS: tuple[Wrong, ...] = (
    (("run", "cubic", "a=1", "--steps", "foo"), "--steps foo"),
    (("run", "cubic", "a=1", "--steps", "-5"), "--steps -5"),
    (("run", "cubic", "a=1", "--steps", "nan"), "--steps nan"),
    (("run", "cubic", "a=1", "--steps", "1e99"), "--steps 1e99"),
    (("run", "cubic", "a=1", "--steps"), "--steps"),
    (("run", "cubic", "a=1", "--starts", "0"), "--starts 0"),
    (("run", "cubic", "a=1", "--dtype", "float16"), "float16"),
    (("run", "cubic", "a=1", "--seeds", "3"), "--seeds"),
    (("run", "cubic", "a=1", "--data-dir", "."), "cubic reads no data"),
    (("run", "phase-retrieval", "--data-dir", "no/such/folder"), "no/such/folder"),
    (("run", "cubic", "a=1", "--plot", "x.bmp"), "x.bmp"),
    (("run", "cubic", "a=1", "--plot", ".png"), ".png"),
    (("run", "cubic", "a=1", "--plot", ""), "--plot"),
    (("run", "cubic", "a=1", "--plot", "no/such/folder/x.png"), "no/such/folder"),
    (("run", "cubic", "a=1", "--out", "x.csv"), "x.csv"),
    (("run", "cubic", "a=1", "--out", "no/such/folder/x.nc"), "no/such/folder"),
    (("run", "a=1"), "a=1"),
    (("run",), "cubic"),
    (("diagram", "cubic", "a=0:1:8", "--seeds", "0"), "--seeds 0"),
    (("diagram", "cubic", "a=0:1:8", "--seeds", "2"), "--seeds 2"),
    (("diagram", "quadratic-net", "lr=1:2:8", "seed=1", "--seeds", "2"), "--seeds 2"),
    (("diagram", "cubic", "a=0:1:8", "--store", ""), "--store"),
    (("diagram", "cubic", "a=0:1:8", "--web", "x.html"), "--web"),
    (("diagram", "cubic", "a=0:1:8", "--html", "x.png"), "x.png"),
    (("explore", "--export", "x.png"), "x.png"),
    (("explore", "--port", "70000"), "70000"),
    (("diagram", "cubic", "a=0:1:9000", "z0=0:1:9000"), "81000000"),
    (("boundary", "cubic", "a=0.5:2.2", "--tol", "0"), "--tol 0"),
    (("boundary", "cubic", "a=0.5:2.2", "--tol", "-1e-9"), "--tol -1e-9"),
    (("boundary", "cubic", "a=0.5:2.2", "--tol", "nan"), "--tol nan"),
    (("boundary", "cubic", "a=0.5:2.2", "--tol", "5"), "--tol 5"),
    (("boundary", "cubic", "a=0.5:2.2", "--points", "1"), "--points 1"),
    (("boundary", "cubic", "a=0.5:2.2", "--of", "colour"), "--of colour"),
    (("boundary", "cubic", "a=0.5:2.2", "z0=0:1", "--tol", "1.5"), "--tol 1.5"),
    (("boundary", "cubic", "a=0.5:2.2", "z0=0:1", "--points", "5000"), "--points 5000"),
    (("boundary", "cubic", "a=0.5:2.2", "z0=0:1", "--plot", "x.bmp"), "x.bmp"),
    (("boundary", "cubic", "a=0.5:2.2", "z0=0:1", "--between", "chaotic,undecided"), "chaotic,undecided"),
    (("boundary", "cubic", "a=0.5:2.2", "z0=0:1", "--between", "chaotic,chaotic"), "chaotic,chaotic"),
    (("boundary", "cubic", "a=-1e308:1e308"), "a=-1e308:1e308"),
    (("boundary", "quadratic-net", "m=1:9"), "m=1:9"),
    (("list", "nonsense"), "nonsense"),
    (("list", "systems", "phases"), "phases"),
    (("demo", "--out", ""), "--out"),
    (("doctor", "now"), "now"),
    (("diagramm", "cubic"), "'diagramm'; the nearest is diagram"),
    (("nonsense",), "nonsense"),
    (("",), "''"),
    (("--nonsense",), "--nonsense"),
    (("run", "cubic", "a=1\nTraceback"), "a=1\\nTraceback"),
    (("run", "cubic", "a=" + "9" * 5000), "a=9999"),
    (("run", "phase-retrieval", "n=" + "9" * 5000), "n=9999"),
    (("run", "cubic", "z1=3"), "give z0="),
)


def requests() -> list[Wrong]:
    """All of them, each once."""
    found: list[Wrong] = list(OPTIONS)
    for info in catalog.systems().values():
        found += of_systems(info)
        for p in info.params:
            if p.axis:
                found += [*of_numbers(info, p), *of_domains(info, p)]
            elif p.kind == "choice":
                found += of_words(info, p)
    return list({wrong[0]: wrong for wrong in found}.values())


REQUESTS = requests()


def check(code: int, printed: tuple[str, str], text: str) -> None:
    """Exit code 2, one sentence on standard error that holds the text, nothing on standard output."""
    out, err = printed
    assert code == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("trainphase: ")
    assert len(err) > 30
    assert "Traceback" not in err or "\\nTraceback" in err
    assert "unexpected error" not in err
    assert text in err


def test_there_are_at_least_200() -> None:
    assert len(REQUESTS) >= 200


@pytest.mark.parametrize(("argv", "text"), REQUESTS, ids=lambda v: shlex.join(v)[:60] if isinstance(v, tuple) else "")
def test_one_sentence_and_exit_code_2(argv: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(argv)
    check(code, capsys.readouterr(), text)


def test_with_json_too_nothing_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["run", "cubic", "a=foo", "--json"])
    check(code, capsys.readouterr(), "foo")


def test_a_right_request_is_not_refused(capsys: pytest.CaptureFixture[str]) -> None:
    # The checks above can fail: the same request without its mistake is met.
    assert main(["run", "cubic", "a=1.1", "--steps", "8"]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "argv", [("run", "cubic", "a=foo"), ("diagram", "cubic", "a=0:2"), ("nonsense",), ("list", "x")], ids=" ".join
)
def test_from_a_shell(argv: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainphase", *argv], capture_output=True, text=True, check=False, timeout=60
    )
    check(done.returncode, (done.stdout, done.stderr), argv[-1].partition("=")[2] or argv[-1])


def test_none_of_them_loads_jax() -> None:
    # One interpreter for all: what is refused is refused before a second is spent on JAX.
    code = """
import json, sys
from trainphase.cli.main import main
codes = {main(argv) for argv in json.load(sys.stdin)}
print(codes, [m for m in ("jax", "matplotlib", "xarray", "zarr", "sklearn") if m in sys.modules])
"""
    wrong = json.dumps([argv for argv, _ in REQUESTS])
    done = subprocess.run(
        [sys.executable, "-c", code], input=wrong, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.split("\n")[0] == "{2} []", done.stdout
    assert len(done.stderr.splitlines()) == len(REQUESTS)


def test_places_are_checked_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("it computes")

    monkeypatch.setattr("trainphase.api.run", never)
    monkeypatch.setattr("trainphase.api.diagram", never)
    (tmp_path / "file").write_text("x")
    (tmp_path / "x.png").mkdir()
    (tmp_path / "x.nc").mkdir()
    (tmp_path / "x.zarr").write_text("x")
    (tmp_path / "full.zarr").mkdir()
    (tmp_path / "full.zarr" / "thesis.tex").write_text("x")
    for option, name in (
        ("--plot", "x.png"), ("--plot", "file/y.png"), ("--plot", "none/y.png"), ("--out", "x.nc"), ("--out", "x.zarr"),
        ("--out", "full.zarr"), ("--out", "file/y.zarr"), ("--store", "file"), ("--store", "file/store"),
    ):  # fmt: skip
        place = str(tmp_path / name)
        code = main(["diagram", "cubic", "a=0:1:8", option, place])
        check(code, capsys.readouterr(), f"{option} {place}")
    assert (tmp_path / "full.zarr" / "thesis.tex").exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can make files")
def test_a_folder_that_takes_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["run", "cubic", "a=1", "--plot", "/proc/x.png"])
    check(code, capsys.readouterr(), "/proc/x.png")


def test_a_missing_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainphase.data.files.CACHES", ())
    monkeypatch.delenv("TRAINPHASE_DATA", raising=False)
    for name in ("mnist", "fashion-mnist"):
        code = main(["run", "phase-retrieval", f"data={name}", "--data-dir", str(tmp_path)])
        check(code, capsys.readouterr(), f"{name} was not found in the data directory")


def test_stores_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    small = ["--steps", "512", "--store", str(store)]
    assert main(["diagram", "cubic", "a=0:1:4", *small]) == 0
    capsys.readouterr()
    code = main(["diagram", "cubic", "a=0:1:5", *small])
    check(code, capsys.readouterr(), str(store))
    code = main(["diagram", "cubic", "a=0:1:4", "z0=0.5", *small])
    check(code, capsys.readouterr(), "params")
    manifest = store / "ledger" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    code = main(["diagram", "cubic", "a=0:1:4", *small])
    check(code, capsys.readouterr(), "damaged")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    code = main(["diagram", "cubic", "a=0:1:4", "--store", str(other)])
    check(code, capsys.readouterr(), str(other))


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(("norm=foo",), "foo"), (("norm=-1",), "-1"), (("n=200",), "n=200"), (("data=digits", "d=65"), "d=65")],
)
def test_what_only_the_system_can_tell(
    tokens: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["run", "phase-retrieval", *tokens])
    check(code, capsys.readouterr(), text)
