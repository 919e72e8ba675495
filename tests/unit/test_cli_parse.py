"""How parameters are read from text, and what the command line takes from its surroundings."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainphase import catalog
from trainphase.axes import Axis
from trainphase.cli import doctor, environment, options, output, parse, progress
from trainphase.errors import RequestError
from trainphase.phase import TRAINING

CUBIC = catalog.system("cubic")
RETRIEVAL = catalog.system("phase-retrieval")
SYSTEMS = list(catalog.systems().values())
VERBS = [parse.for_run, parse.for_diagram, parse.for_boundary]


def test_values_have_the_type_of_their_parameter() -> None:
    got = parse.for_run(RETRIEVAL, ["lr=5e-1", "n=20", "data=gaussian", "norm=unit", "c=-.5"])
    assert got == {"lr": 0.5, "n": 20, "data": "gaussian", "norm": "unit", "c": -0.5}
    assert [type(v) for v in got.values()] == [float, int, str, str, float]


def test_nothing_given_is_nothing_set() -> None:
    assert parse.for_run(CUBIC, []) == {}


@pytest.mark.parametrize(
    ("token", "axis"),
    [
        ("a=0:2.2:513", Axis("a", 0.0, 2.2, 513, "linear", "1")),
        ("a=1e-3:1:64:log", Axis("a", 1e-3, 1.0, 64, "log", "1")),
        ("a=3,1,2", Axis("a", 1.0, 3.0, 3, "list", "1", (3.0, 1.0, 2.0))),
        ("z0=-1:1:1e2", Axis("z0", -1.0, 1.0, 100, "linear", "1")),
    ],
)
def test_ranges_become_axes(token: str, axis: Axis) -> None:
    assert parse.for_diagram(CUBIC, [token]) == {axis.name: axis}


def test_axes_carry_the_units_of_the_catalogue() -> None:
    assert parse.for_diagram(RETRIEVAL, ["n=10:50:5"])["n"].units == "samples"


def test_whole_number_axes_have_whole_points() -> None:
    np.testing.assert_array_equal(parse.for_diagram(RETRIEVAL, ["n=10:50:5"])["n"].values, [10, 20, 30, 40, 50])
    with pytest.raises(RequestError, match="not all whole"):
        parse.for_diagram(RETRIEVAL, ["n=10:50:4"])


def test_two_ranges_may_have_a_point_and_two_phases() -> None:
    spans = [("a", (0.5, 2.0)), ("z0", (-1.0, 1.0))]
    assert parse.for_boundary(CUBIC, ["a=0.5:2", "z0=-1:1"]) == dict(spans)
    assert parse.near("1.5,-0.5", spans) == (1.5, -0.5)
    assert parse.between("chaotic,periodic", [TRAINING.labels]) == ("chaotic", "periodic")
    for text in ("1", "1,2,3", "x,1", "", "0.4,0", "1,1.5"):
        with pytest.raises(RequestError, match="--near"):
            parse.near(text, spans)
    for text in ("chaotic", "chaotic,flat", "chaotic,undecided", "chaotic,chaotic", "a,b,c"):
        with pytest.raises(RequestError, match="--between"):
            parse.between(text, [TRAINING.labels])


def test_a_boundary_is_a_pair_of_ends() -> None:
    assert parse.for_boundary(CUBIC, ["a=0.5:2.2", "z0=1"]) == {"a": (0.5, 2.2), "z0": 1.0}


def test_two_axes_beside_fixed_parameters_are_kept_in_order() -> None:
    got = parse.for_diagram(RETRIEVAL, ["scale=0.5:2:4", "n=8", "lr=0.1:1:3"], seeds=5)
    assert [k for k, v in got.items() if isinstance(v, Axis)] == ["scale", "lr"]


def test_grids_have_a_limit_and_seeds_count() -> None:
    # The limit itself, 2^26 points, is allowed; one factor more is not.
    parse.for_diagram(RETRIEVAL, ["lr=1:2:8192", "scale=1:2:8192"])
    with pytest.raises(RequestError, match="seeds=2 are 134217728 points"):
        parse.for_diagram(RETRIEVAL, ["lr=1:2:8192", "scale=1:2:8192"], seeds=2)


@pytest.mark.parametrize("info", SYSTEMS, ids=lambda info: info.name)
def test_the_examples_that_errors_give_are_themselves_in_order(info: catalog.SystemInfo) -> None:
    assert parse.for_diagram(info, [parse.example(info)])
    assert parse.for_boundary(info, [parse.example(info, boundary=True)])
    for param in info.params:
        assert parse.for_run(info, [parse._value_example(param)])
        if param.axis:
            assert parse.for_diagram(info, [parse._range_example(param)])
        if param.kind == "float":
            assert parse.for_boundary(info, [parse._range_example(param, boundary=True)])


@pytest.mark.parametrize("info", SYSTEMS, ids=lambda info: info.name)
def test_defaults_of_the_catalogue_are_in_their_domains(info: catalog.SystemInfo) -> None:
    for param in info.params:
        if param.default is not None:
            assert parse.for_run(info, [f"{param.name}={param.default}"]) == {param.name: param.default}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_back_as_it_is(value: float) -> None:
    assert parse.number(repr(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1_000", "nan", "inf", "-inf", "1e999", "0x10", "1,5", "\u0661", "1e", ".", "--1"],
)
def test_what_is_no_number(text: str) -> None:
    assert parse.number(text) is None


@pytest.mark.parametrize(("text", "value"), [("12", 12), ("1e3", 1000), ("-0", 0), ("2.5", None), ("1e300", None)])
def test_whole_numbers(text: str, value: int | None) -> None:
    assert parse.whole(text) == value


# Letters that make numbers, ranges and names likely; free text is drawn too.
PIECES = st.text("0123456789.:,=eE+-alogzr n", max_size=24) | st.text(max_size=12)


@given(st.sampled_from(SYSTEMS), st.sampled_from(VERBS), st.data())
def test_any_text_is_read_or_refused_in_one_line(info: catalog.SystemInfo, verb, data: st.DataObject) -> None:
    names = st.sampled_from([p.name for p in info.params])
    token = st.builds("{}={}".format, names, PIECES) | PIECES
    try:
        verb(info, data.draw(st.lists(token, max_size=3)))
    except RequestError as why:
        assert len(str(why).splitlines()) == 1
        assert ";" in str(why), "no remedy"


def test_what_is_shown_is_printable_and_short() -> None:
    assert parse.shown("a=1\n\x1b[31m") == "a=1\\n\\x1b[31m"
    assert len(parse.shown("x" * 1000)) < 100


def test_json_has_no_nan_and_plain_types() -> None:
    value = {"x": [math.nan, math.inf, np.float64(1.5)], "n": np.arange(2), "p": Path("f"), "b": np.bool_(True)}
    text = json.dumps(output.jsonable(value), allow_nan=False)
    assert text == '{"x": [null, null, 1.5], "n": [0, 1], "p": "f", "b": true}'


def test_text_that_the_terminal_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.say("η = 1")
    sys.stdout.flush()
    assert raw.getvalue() == b"? = 1\n"


def test_tables_are_in_line() -> None:
    assert output.table(("a", "b"), [(1.0, "x"), (math.nan, "long")]) == "a  b\n1  x\n-  long"


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As if JAX were not loaded yet and its library were of the versions measured."""
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(environment, "_jaxlib", lambda: environment.FLAGS_JAXLIB[0])
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    return monkeypatch


def test_flags_are_appended(no_jax: pytest.MonkeyPatch) -> None:
    no_jax.setenv("XLA_FLAGS", "--xla_dump_to=x")
    assert environment.prepare_jax() == " ".join(["--xla_dump_to=x", *environment.FLAGS])


def test_the_users_flags_stay(no_jax: pytest.MonkeyPatch) -> None:
    no_jax.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=256")
    assert environment.prepare_jax() == f"--xla_cpu_prefer_vector_width=256 {environment.FLAGS[1]}"


def test_a_file_of_flags_is_left_alone(no_jax: pytest.MonkeyPatch) -> None:
    no_jax.setenv("XLA_FLAGS", "flags.txt")
    assert environment.prepare_jax() == "flags.txt"


@pytest.mark.parametrize("release", [("0", "9"), ("0", "13"), ("1", "10"), ()])
def test_another_jaxlib_gets_no_flags(release: tuple[str, ...], no_jax: pytest.MonkeyPatch) -> None:
    # XLA ends the process at a flag that it does not know.
    no_jax.setattr(environment, "_jaxlib", lambda: release)
    assert environment.prepare_jax() == ""


@pytest.mark.skipif(environment._jaxlib() not in environment.FLAGS_JAXLIB, reason="this jaxlib gets no flags")
def test_the_jaxlib_that_is_here_takes_the_flags() -> None:
    # A process of its own, which would die of a flag that this jaxlib does not know; the first line is of one such.
    code = "import jax; print(jax.devices()[0].platform)"
    for flags, lives in (("--xla_no_such_flag=1", False), (" ".join(environment.FLAGS), True)):
        here = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode == 0) == lives, done.stderr


def test_flags_are_not_claimed_once_jax_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "jax" in sys.modules
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert environment.prepare_jax() == ""


def test_data_folders_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environment.DATA_VARIABLE, f"x{environment.os.pathsep}y")
    assert environment.data_options(RETRIEVAL, str(tmp_path)) == {"data_dir": str(tmp_path), "search": ("x", "y")}
    assert environment.data_options(CUBIC, None) == {}


def test_doctor_looks_at_every_dependency(repo_root: Path) -> None:
    project = tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {line.split(">")[0].split("<")[0].split("=")[0].strip() for line in project["dependencies"]}
    assert set(doctor.PACKAGES) == declared | {"jaxlib"}


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_of_progress_estimate_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = progress.Lines("tiles", every=5.0, clock=clock)
    lines.start(100, 20)
    clock.now = 4.0
    lines.advance(10)  # too early for a line
    clock.now = 10.0
    lines.advance(10)  # 20 in 10 s, 60 to go: 30 s
    lines.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "trainphase: 20 of 100 tiles are stored already",
        "trainphase: 40 of 100 tiles, 40%, about 30 s left",
    ]


def test_quick_work_is_done_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    lines = progress.Lines("tiles", clock=Clock())
    lines.start(3, 0)
    lines.advance(3)
    assert capsys.readouterr().err == ""


def test_the_bar_ends_however_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    bar = progress.Bar("tiles")
    bar.advance(1)  # before the start: nothing to show
    bar.start(2, 0)
    bar.advance(1)
    bar.close()
    bar.close()
    assert capsys.readouterr().out == ""


def test_a_count_is_said_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    count = progress.counter("evaluations", every=5.0, clock=clock)
    for clock.now, n in ((1.0, 10), (6.0, 20), (7.0, 30), (11.0, 50)):
        count(n, 50)
    # Ten in five seconds, thirty to come; at the end nothing is left.
    said = ["20 of about 50 evaluations, 15 s left", "50 of about 50 evaluations"]
    assert capsys.readouterr().err == "".join(f"trainphase: {line}\n" for line in said)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("diagram cubic a=0:2:8 --steps 9", "diagram cubic a=0:2:8 --steps 9"),
        ("diagram cubic --store /x a=0:2:8 --json --steps=9", "diagram cubic a=0:2:8 --steps=9"),
        ("diagram cubic --store=/x --plot=a.png a=0,1 --quiet", "diagram cubic a=0,1"),
        ("--debug run cubic --out r.nc --plot r.png --series a=1", "run cubic a=1"),
        ("run cubic -- --json", "run cubic -- --json"),
        ("run phase-retrieval data=mnist --data-dir d", "run phase-retrieval data=mnist --data-dir d"),
        ("diagram cubic a=0:2:8 --store", "diagram cubic a=0:2:8"),
    ],
)
def test_the_recorded_command_tells_the_question_and_no_place(line: str, kept: str) -> None:
    assert options.recorded(line.split()) == f"trainphase {kept}"


def test_rounds_of_a_refinement_are_told_every_few_seconds_and_not_each(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = progress.Lines(every=5.0, clock=clock)
    for number in range(1, 9):  # two seconds each
        lines.refine(number, 100 * (number - 1), 10**6)
        lines.start(2, 1)
        clock.now += 2.0
        lines.advance(1)
        lines.close()
    said = [line.removeprefix("trainphase: ") for line in capsys.readouterr().err.splitlines()]
    assert said == [f"round {k}: {100 * (k - 1)} points asked for, where a dense diagram has 1000000" for k in (4, 7)]
