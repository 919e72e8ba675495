"""The conformance kit on classifiers and executors: what is built in passes it, and each check finds a planted fault."""

from __future__ import annotations

import importlib.util
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

import trainphase as tp
from trainphase.classifiers import EDGE_RULES, REGIME_RULES, RULES, edge, regime, training
from trainphase.cli import environment, executors
from trainphase.phase import EDGE, REGIME, TRAINING
from trainphase.testing import check_classifier, check_executor

CALLS: list[int] = []

# --- classifiers --------------------------------------------------------------------------------------------

SMALL = tp.Vocabulary("small", "Is the loss small?", (
    tp.Phase("small", "it is below 1", "#009E73", "S"), tp.Phase("undecided", "it is not", "#999999", "?"),
))  # fmt: skip


def codes_of(small: Any, shape: Any = None) -> Any:
    codes = np.where(small, 0, 1).astype(np.uint8)
    return codes, np.zeros(codes.shape), np.zeros(codes.shape, np.uint8)


def good(evidence: Any) -> Any:
    return codes_of(np.asarray(evidence["loss"]) < 1)


def wild(evidence: Any) -> Any:
    codes, margin, rule = good(evidence)
    return np.where(np.isnan(evidence["loss"]), 7, codes), margin, rule


def greedy(evidence: Any) -> Any:
    return codes_of(~(np.asarray(evidence["loss"]) >= 1))


def writing(evidence: Any) -> Any:
    evidence["loss"][np.isnan(evidence["loss"])] = 2.0
    return good(evidence)


def counting(evidence: Any) -> Any:
    CALLS.append(1)
    return codes_of((np.asarray(evidence["loss"]) < 1) & bool(len(CALLS) % 2))


def joint(evidence: Any) -> Any:
    return codes_of(evidence["loss"] <= np.nanmin(np.append(evidence["loss"], 1e9)))


def refusing(evidence: Any) -> Any:
    if np.isnan(evidence["loss"]).any():
        raise ValueError("NaN")
    return good(evidence)


def real(evidence: Any) -> Any:
    return tuple(x.astype(float) for x in good(evidence))


@pytest.mark.parametrize(
    ("classify", "words"),
    [
        (wild, r"codes \[7.*give codes from 0 to 1"),
        (greedy, "nothing but NaN is called 'small'"),
        (writing, "changed the evidence"),
        (counting, "answered differently the second time"),
        (joint, "otherwise than by itself"),
        (refusing, "raised ValueError: NaN"),
        (real, "codes of type float64"),
        (lambda e: good(e)[0], "returned ndarray"),
        (lambda e: tuple(x[:1] for x in good(e)), "returned shapes"),
    ],
)
def test_a_faulty_classifier_is_found(classify: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_classifier(SMALL, classify)


def test_a_good_classifier_passes_and_labels_survive() -> None:
    early, late = {"loss": np.array([0.5, 3.0])}, {"loss": np.array([0.1, 0.5])}
    assert check_classifier(SMALL, good, examples=[early], longer=[(early, late)], rules=("the loss",)) is SMALL
    with pytest.raises(AssertionError, match=r"calls run 0 'small' and, after a longer run, 'undecided' \(1 of 2 runs\)"):
        check_classifier(SMALL, good, longer=[(early, {"loss": np.array([2.0, 0.5])})])
    with pytest.raises(AssertionError, match="returned the rule 0 of 0"):
        check_classifier(SMALL, good, rules=())


def worded(*phases: tuple[str, str, str, str]) -> tp.Vocabulary:
    return tp.Vocabulary("mine", "?", (*(tp.Phase(*p) for p in phases), SMALL.phases[-1]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (worded(("a", "x", "#000000", "A"), ("a", "x", "#000000", "B")), r"the label \['a'\] twice"),
        (worded(("Big One", "x", "#000000", "A")), "the label 'Big One'"),
        (worded(("a", "", "#000000", "A")), "does not define 'a'"),
        (worded(("a", "x", "black", "A")), "the colour 'black'"),
        (worded(("a", "x", "#000000", "AB")), "the symbol 'AB'"),
        (worded(("a", "x", "#000000", "?")), "give each phase another symbol"),
        (worded(), "has 1 phases"),
        (3, "3 is no Vocabulary"),
    ],
)
def test_a_faulty_vocabulary_is_found(words: Any, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_classifier(words, good)


def test_built_in_classifiers() -> None:
    # What each of the numbers means is tested in tests/numerics; any numbers of any runs are judged here.
    check_classifier(TRAINING, training, rules=RULES)
    number: dict[str, Any] = dict.fromkeys(("slope", "slope_se", "converged"), np.linspace(-1.0, 1.0, 5))
    check_classifier(REGIME, regime, examples=[number], rules=REGIME_RULES)
    names = ("escaped", "settled", "moved", "unstable", "flow", "curvature_start", "curvature")
    windows: dict[str, Any] = dict.fromkeys(
        ("motion", "curvature_mean", "curvature_top", "loss_mean"), np.geomspace(1, 1e-9, 80).reshape(5, 16)
    )
    check_classifier(EDGE, edge, examples=[windows | dict.fromkeys(names, np.linspace(0.0, 4.0, 5))], rules=EDGE_RULES)


# --- executors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_executors_of_threads(workers: int) -> None:
    check_executor(partial(ThreadPoolExecutor, workers))


@pytest.mark.parametrize("name", ["local", "dask"])
def test_executors_of_the_command_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "dask" and importlib.util.find_spec("distributed") is None:
        pytest.skip("needs trainphase[dask]")
    monkeypatch.setattr(environment, "one_thread_each", lambda: None)  # it sets a variable of this process
    check_executor(lambda: executors.chosen(name, 2, "", None))


# --- faults of executors ------------------------------------------------------------------------------------


class Twice(ThreadPoolExecutor):
    """Runs each task twice, as a cluster does that loses results."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 3:
            super().submit(args[0], args[2])
        return super().submit(fn, *args, **kwargs)


class Dropping(ThreadPoolExecutor):
    """Forgets what a task raised."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        def quiet() -> Any:
            try:
                return fn(*args, **kwargs)
            except ZeroDivisionError:
                return None

        return super().submit(quiet)


class Swapping(ThreadPoolExecutor):
    """Gives every task's result to the next one."""

    last: Any = None

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        def other() -> Any:
            was, self.last = self.last, fn(*args, **kwargs)
            return was

        return super().submit(other)


class Rounding(ThreadPoolExecutor):
    """Computes tiles in another precision than this process."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 3:
            tile = args[0]
            args = (lambda index: {k: v.astype("float32").astype(float) for k, v in tile(index).items()}, *args[1:])
        return super().submit(fn, *args, **kwargs)


class Failing(ThreadPoolExecutor):
    """A task that raises takes its successor with it."""

    bad = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs) if not self.bad else 1 / 0)
            self.bad = False
        except ZeroDivisionError as why:
            self.bad = True
            future.set_exception(why)
        return future


class Immortal(ThreadPoolExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...


class Values(ThreadPoolExecutor):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(fn, *args, **kwargs).exception()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Twice, r"computed tile \[\d\] 2 times"),
        (Dropping, "gave NoneType for a task that raised ZeroDivisionError"),
        (Swapping, "for task 0, not 0|for task"),
        (Rounding, "stored other bytes"),
        (Failing, "lost task 6"),
        (Immortal, "took a task after it was shut down"),
        (Values, "submit returned"),
    ],
)
def test_a_faulty_executor_is_found(kind: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_executor(partial(kind, 1))


def test_a_number_is_no_executor() -> None:
    with pytest.raises(AssertionError, match=r"make_executor\(\) returned int; return a concurrent"):
        check_executor(lambda: 3)
