"""The frame of reproductions, on a paper that does not exist: verdicts, data kept on disk, failures, interrupts."""

from __future__ import annotations

import json
import math

import fake_paper
import numpy as np
import pytest
import xarray
from fake_paper import EXACT, NAME, claim, install

from trainphase.axes import linspace
from trainphase.errors import RequestError, TrainphaseError
from trainphase.reproduce import papers, tables
from trainphase.reproduce.claims import (
    Measured,
    Tolerance,
    Verdict,
    absolute,
    compare,
    exact,
    largest,
    relative,
    standard_errors,
    untestable,
)
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure, ReproduceInterrupted, reproduce

AGREE, DIFFER = Verdict.AGREE, Verdict.DIFFER


@pytest.fixture
def paper(monkeypatch) -> fake_paper.Paper:
    return install(monkeypatch)


# -- claims --------------------------------------------------------------------------------------------------


def test_the_largest_of_values_is_no_number_when_one_is_none() -> None:
    assert largest(0.0, np.array([1.0, 3.0]), 2) == 3.0
    for values in ((0.0, math.nan), (math.nan, 0.0), (1.0, np.array([2.0, math.nan]))):
        assert math.isnan(largest(*values))
        assert compare(0.0, Measured(largest(*values)), absolute(10.0, "why")).verdict == DIFFER  # pyright: ignore


@pytest.mark.parametrize(
    ("stated", "measured", "tolerance", "verdict"),
    [
        (2.0, Measured(2.5), absolute(0.5, "the bound belongs to it"), AGREE),
        (2.0, Measured(2.5), absolute(0.49, "why"), DIFFER),
        (-2.0, Measured(-2.2), relative(0.11, "why"), AGREE),
        (-2.0, Measured(-2.2), relative(0.09, "why"), DIFFER),
        (1.0, Measured(1.25, 0.1), standard_errors(3, "why"), AGREE),
        (1.0, Measured(1.25, 0.1), standard_errors(2, "why"), DIFFER),
        (4, Measured(4), exact("a count"), AGREE),
        (4, Measured(5), exact("a count"), DIFFER),
        (True, Measured(np.bool_(True)), exact("a truth value"), AGREE),
        (True, Measured(1), exact("a number is no truth value"), DIFFER),
        ("flat", Measured(np.str_("flat")), exact("a phase"), AGREE),
        ("flat", Measured("sharpening"), exact("a phase"), DIFFER),
        # What is not finite never agrees.
        (1.0, Measured(math.nan), absolute(10, "why"), DIFFER),
        (1.0, Measured(1.0, math.nan), standard_errors(3, "why"), DIFFER),
        (1.0, Measured(math.inf), relative(1.0, "why"), DIFFER),
        (1.0, untestable("no machine"), EXACT, Verdict.NOT_TESTABLE),
    ],
)
def test_verdicts(stated: object, measured: Measured, tolerance: Tolerance, verdict: Verdict) -> None:
    found = compare(stated, measured, tolerance)  # type: ignore[arg-type]
    assert found is not None and found.verdict == verdict


def test_the_difference_is_measured_minus_stated() -> None:
    found = compare(2.0, Measured(2.5, 0.25), standard_errors(3, "why"))
    assert found is not None
    assert (found.difference, found.allowed) == (0.5, 0.75)  # exact in binary


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: absolute(0.1, " "),
        lambda: absolute(-0.1, "why"),
        lambda: relative(math.nan, "why"),
        lambda: Tolerance("about", 1.0, "why"),
        lambda: Measured(None),
        lambda: Measured([1.0]),
        lambda: compare(1.0, Measured(1.0), standard_errors(3, "why")),
        lambda: claim("neither value", None, lambda c: Measured(1)),
        lambda: claim("two values, no reason", 1.0, lambda c: Measured(1), expected=2.0),
        lambda: claim("a truth value with a bound", True, lambda c: Measured(True)),
        lambda: Figure(NAME, "a b", "a title"),
        lambda: Figure(NAME, "1", "a title", draw=fake_paper.draw),
        lambda: Figure("other", "1", "a title", claims=(claim("x", 1.0, lambda c: Measured(1)),)),
    ],
)
def test_what_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(RequestError):
        wrong()


# -- names ---------------------------------------------------------------------------------------------------


def chosen(*asked: str) -> list[str]:
    return [item for _, item in papers.select(asked)]


def test_selection(paper) -> None:
    everything = ["1", "2", "theorem3.1"]
    assert chosen() == chosen("fake") == chosen("FAKE", "fake:1") == everything
    assert chosen("fake:2", "fake:1", "fake:Figure 2") == ["2", "1"]
    assert chosen("fake:fig2") == chosen("fake:fig.2") == chosen("fake:Fig2") == ["2"]
    assert chosen("fake:Theorem 3.1") == ["theorem3.1"]
    assert papers.load(papers.select(["fake:2"])) == [paper.figures[1]]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("fak", "it is one of fake"),
        ("fake:theorem3", "the nearest is theorem3.1"),
        ("fake:", "1, 2"),
        ("fake:figure", "1, 2"),
        ("", "fake"),
    ],
)
def test_names_that_do_not_exist(paper, asked: str, hint: str) -> None:
    with pytest.raises(RequestError, match=r"there is no paper|has no figure") as caught:
        papers.select([asked])
    assert hint in str(caught.value)


def test_an_item_that_is_listed_must_be_there(paper, monkeypatch) -> None:
    listed = papers.PAPERS[NAME]
    more = papers.Paper(NAME, "", "", listed.module, (*listed.items, "9"))
    monkeypatch.setattr(papers, "PAPERS", {NAME: more})
    with pytest.raises(TrainphaseError, match="'9'"):
        papers.load(papers.select([]))


@pytest.mark.parametrize("name", list(papers.PAPERS))
def test_the_registry_lists_what_the_modules_have(name: str) -> None:
    listed = papers.PAPERS[name]
    found = listed.load()
    assert listed.name == name and tuple(found) == listed.items
    assert all(figure.paper == name for figure in found.values())


# -- runs ----------------------------------------------------------------------------------------------------


def test_everything_is_computed_once_drawn_and_judged(paper, tmp_path) -> None:
    report = reproduce(paper.figures, tmp_path)
    assert not report.failures
    assert paper.computed == {"1": 1, "2": 1}
    assert [p.file.read_bytes()[:4] for p in report.pictures] == [b"\x89PNG"] * 2
    verdicts = [(str(r.comparison.verdict), r.expected and str(r.expected.verdict)) for r in report.results]
    assert verdicts == [
        ("agree", None), ("differ", "agree"), ("agree", None), ("agree", None), ("not-testable", None),
    ]  # fmt: skip
    assert report.count(AGREE) == 3


def test_the_tables(paper, tmp_path) -> None:
    reproduce(paper.figures, tmp_path)
    document = json.loads((tmp_path / "claims.json").read_text())
    keys = {"paper", "locator", "statement", "paper_value", "measured", "error", "tolerance", "verdict", "seconds"}
    assert all(row.keys() >= keys for row in document["claims"])
    assert [f["figure"] for f in document["figures"]] == ["1", "2"]
    assert all((tmp_path / f["file"]).is_file() for f in document["figures"])
    wrong = document["claims"][1]
    assert (wrong["verdict"], wrong["expected_verdict"]) == ("differ", "agree")
    assert wrong["difference"] == pytest.approx(-0.5, abs=1e-12)  # rounding
    page = (tmp_path / "claims.md").read_text()
    assert "5 (ours: 4.5)" in page and "differ by -0.5; ours: agree" in page
    assert "largest \\| or not" in page
    assert "+-1e-09: rounding of a mean of ten numbers" in page
    assert "it needs a larger machine" in page and "0 to 9 have the mean 4.5" in page
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + 5
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_a_difference_is_told_in_standard_errors(tmp_path) -> None:
    far = claim("far", 1.0, lambda c: Measured(3.0, 0.1), standard_errors(3, "test"))
    ours = claim("no value in the paper", None, lambda c: Measured(3.0), expected=3.0)
    report = reproduce([Figure(NAME, "x", "x", claims=(far, ours))], tmp_path)
    assert [tables.verdict(r) for r in report.results] == ["differ by +2 (20 standard errors)", "ours: agree"]
    assert report.to_json()["claims"][1]["verdict"] == "agree"


def test_what_is_computed_is_read_again(paper, tmp_path) -> None:
    first = reproduce(paper.figures, tmp_path)
    second = reproduce(paper.figures, tmp_path)
    assert paper.computed == {"1": 1, "2": 1}
    assert [r.measured for r in first.results] == [r.measured for r in second.results]
    assert second.pictures[0].seconds == first.pictures[0].seconds


def test_quick_seed_and_version_share_nothing(paper, tmp_path, monkeypatch) -> None:
    figure = paper.figures[0]
    full = reproduce([figure], tmp_path)
    quick = reproduce([figure], tmp_path, quick=True)
    assert [r.results[0].measured.value for r in (full, quick)] == [4.5, 0.5]
    reproduce([figure], tmp_path, seed=1)
    monkeypatch.setattr("trainphase.reproduce.context.__version__", "0.0.0")
    reproduce([figure], tmp_path)
    assert paper.computed["1"] == 4
    assert len(list((tmp_path / "data").iterdir())) == 4


def test_no_two_runs_share_the_seeds_of_an_ensemble(paper, tmp_path) -> None:
    zero, one = (Context(paper.figures[0], tmp_path, seed=k) for k in (0, 1))
    assert zero.seeds(3) == [0, 1, 2] and one.seeds(3) == [1000, 1001, 1002]
    for k in (2, 3, 400):
        np.testing.assert_array_equal(one.ensemble(k).values, one.seeds(k))
    # The axis of a diagram that is asked for with seeds=.
    assert zero.ensemble(3) == linspace(0, 2, 3).named("seed")


@pytest.mark.parametrize("damage", ["cut", "gone", "ledger"])
def test_damaged_data_are_computed_again(damage: str, paper, tmp_path) -> None:
    figure = paper.figures[0]
    reproduce([figure], tmp_path)
    folder = Context(figure, tmp_path).folder
    if damage == "cut":
        (folder / "data.nc").write_bytes((folder / "data.nc").read_bytes()[:-1])
    elif damage == "gone":
        (folder / "data.nc").unlink()
    else:
        (folder / "data.json").write_text("{")
    report = reproduce([figure], tmp_path)
    assert paper.computed["1"] == 2 and report.results[0].comparison.verdict == AGREE


def test_a_planted_wrong_value_differs(tmp_path) -> None:
    def item(measure) -> Figure:
        return Figure(NAME, "x", "x", claims=(claim("one", 1.0, measure, relative(0.01, "test")),))

    good = reproduce([item(lambda c: Measured(1.005))], tmp_path)
    bad = reproduce([item(lambda c: Measured(1.02))], tmp_path)
    assert [r.results[0].comparison.verdict for r in (good, bad)] == [AGREE, DIFFER]


def test_data_keep_their_types_and_parts(paper, tmp_path) -> None:
    whole = xarray.Dataset({
        "phase": ("x", np.array([0, 255], np.uint8), {"units": "1"}), "flag": ("x", [True, False]),
        "count": ("x", np.array([1, -(2**31)])), "value": ("x", np.array([np.nan, 0.1])),
        "wide": ("x", np.array([0, 2**16 - 1], np.uint16)),
    }, {"x": [3, 4]}, {"note": "x"})  # fmt: skip
    context = Context(paper.figures[0], tmp_path)
    found = context.cached("parts", lambda: {"one": whole, "two": whole[["value"]]})
    assert list(found) == ["one", "two"]
    for name, array in whole.variables.items():
        assert found["one"][name].dtype == array.dtype
        np.testing.assert_array_equal(found["one"][name], array)
    assert found["one"]["phase"].attrs == {"units": "1"} and found["one"].attrs["note"] == "x"
    assert json.loads(found["two"].attrs["reproduced"])["seed"] == 0
    again = Context(paper.figures[0], tmp_path).cached("parts", pytest.fail)
    assert list(again) == ["one", "two"]


@pytest.mark.parametrize(
    "found",
    [{}, {"a/b": xarray.Dataset()}, {"a": 1}, None, xarray.Dataset({"n": 2**40}), xarray.Dataset(attrs={"d": {}})],
)
def test_data_that_cannot_be_kept_are_told(found, paper, tmp_path) -> None:
    context = Context(paper.figures[0], tmp_path)
    with pytest.raises(TrainphaseError, match=r"no name|no xarray|cannot be kept"):
        context.cached("data", lambda: found)
    assert not context.has()


def test_an_item_may_use_the_data_of_another(paper, tmp_path) -> None:
    one = paper.figures[0]
    measure = lambda c: Measured(c.of(one)["y"].max())  # noqa: E731
    item = Figure(NAME, "x", "x", claims=(claim("the largest", 9.0, measure),))
    report = reproduce([item, one], tmp_path)
    assert report.results[0].comparison.verdict == AGREE and paper.computed["1"] == 1


# -- failures and interrupts ---------------------------------------------------------------------------------


def test_a_failure_does_not_stop_the_rest(paper, tmp_path) -> None:
    paper.trouble["1"] = ValueError("planted")
    said: list[str] = []
    report = reproduce(paper.figures, tmp_path, say=said.append)
    # Its claims fail for the same reason, which is computed and told once.
    assert paper.computed == {"1": 1, "2": 1}
    assert [f.sentence for f in report.failures] == ["fake:1: computing failed: ValueError: planted"]
    assert said.count(report.failures[0].sentence) == 1
    assert [r.comparison.verdict for r in report.results[:3]] == [Verdict.NOT_TESTABLE] * 2 + [AGREE]
    assert "planted" in report.results[0].measured.note
    assert [p.figure for p in report.pictures] == ["2"]
    page = (tmp_path / "claims.md").read_text()
    assert "## Failed" in page and "planted" in page
    paper.trouble.clear()
    assert not reproduce(paper.figures, tmp_path).failures
    assert paper.computed == {"1": 2, "2": 1}


def test_drawing_and_measuring_may_fail_too(paper, tmp_path) -> None:
    def fails(_):
        raise RuntimeError("planted")

    base = paper.figures[0]
    good = claim("the mean", 4.5, lambda c: Measured(c.data()["y"].mean()))
    odd = claim("no Measured", 4.5, lambda c: 4.5)  # type: ignore[arg-type,return-value]
    item = Figure(NAME, "x", "x", base.compute, fails, (claim("fails", 1.0, fails), odd, good))
    report = reproduce([item], tmp_path)
    parts = [failure.part for failure in report.failures]
    assert parts == ["drawing", "the claim eq. (1)", "the claim eq. (1)"]
    assert [r.comparison.verdict for r in report.results] == [Verdict.NOT_TESTABLE] * 2 + [AGREE]


@pytest.mark.parametrize("how", [KeyboardInterrupt(), ReproduceInterrupted("9 tiles are kept")], ids=["key", "sweep"])
def test_an_interrupted_run_continues(how: BaseException, paper, tmp_path) -> None:
    paper.trouble["2"] = how
    with pytest.raises(ReproduceInterrupted, match="fake:2, with 1 of 3 done") as caught:
        reproduce(paper.figures, tmp_path)
    assert caught.value.exit_code == 130
    assert len(json.loads((tmp_path / "claims.json").read_text())["claims"]) == 2
    paper.trouble.clear()
    report = reproduce(paper.figures, tmp_path)
    assert paper.computed == {"1": 1, "2": 2}
    assert not report.failures and len(report.results) == 5


def test_the_folder_must_be_one(paper, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be made"):
        reproduce(paper.figures, tmp_path / "file")


def test_values_that_are_not_finite_are_null(tmp_path) -> None:
    item = Figure(NAME, "x", "x", claims=(claim("one", 1.0, lambda c: Measured(math.nan, math.inf)),))
    reproduce([item], tmp_path)
    row = json.loads((tmp_path / "claims.json").read_text(), parse_constant=pytest.fail)["claims"][0]
    assert (row["measured"], row["error"], row["verdict"]) == (None, None, "differ")


def test_workers_are_processes_that_end_with_the_run(tmp_path) -> None:
    pools = []

    def compute(context: Context) -> xarray.Dataset:
        assert context.executor is not None
        pools.append(context.executor)
        done = [context.executor.submit(pow, 2, k) for k in range(4)]
        return xarray.Dataset({"y": ("x", [float(d.result(timeout=60)) for d in done])})

    figure = Figure(NAME, "5", "powers", compute, claims=(claim("their sum", 15.0, lambda c: Measured(c.data()["y"].sum())),))
    report = reproduce([figure], tmp_path, workers=2)
    assert report.results[0].comparison.verdict == AGREE
    with pytest.raises(RuntimeError, match="shutdown"):
        pools[0].submit(pow, 2, 2)
