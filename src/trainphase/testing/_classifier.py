"""The conformance check of a vocabulary and its classifier."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trainphase.phase import NOT_COMPUTED, Vocabulary
from trainphase.testing._say import call, need, same

Evidence = Mapping[str, Any]

# What a survey says of each run; see trainphase.classifiers.training.
SURVEY = (
    "escaped", "max_ratio", "lyapunov", "lyapunov_se", "growth_steps", "loss", "loss_half", "loss_max", "cycle", "multiplier",
    "repeat", "repeat_distance", "curvature", "curvature_half", "late_rises", "scalar", "repeats", "approach", "rises", "steps",
)  # fmt: skip
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, 1e-300, 1e300])
DRAWS, RUNS = 60, 8


def check_classifier(
    vocabulary: Vocabulary, classify: Callable[[Evidence], Any], *, examples: Sequence[Evidence] = (),
    longer: Iterable[tuple[Evidence, Evidence]] = (), rules: Sequence[str] | None = None,
) -> Vocabulary:  # fmt: skip
    """Hold a vocabulary and the function that decides on its phases to what diagrams rely on; returns the vocabulary.

    The contract
    ------------
    - Labels are words of their own, each with a definition, an sRGB colour and a symbol of one letter; ``undecided`` is last.
    - ``classify(evidence)`` takes a mapping from names to arrays of one shape and returns three arrays of that shape: codes of
      the vocabulary (integers), margins (numbers), and the index of the rule that decided.
    - It is total: whatever the evidence (NaN, infinities, numbers no run has), every run gets a code of the vocabulary; of
      evidence that is NaN alone it claims nothing, so ``undecided``.
    - It is pure, it leaves its evidence alone, and each run is judged by itself: a batch gives what its members give.
    - It is prefix-stable: a label that is decided survives a longer run.

    Parameters
    ----------
    examples : evidence of real runs, arrays with a leading axis of runs; it says which names there are and what shapes they
        have. Default: the numbers that a survey gives for each run (names in ``trainphase.classifiers.training``).
    longer : pairs of evidence, at a horizon and at a longer one of the same runs, on which labels must survive.
    rules : what the indices of rules stand for; checked when given.

    Raises AssertionError. Cost: some hundred calls of ``classify``.
    """
    _words(vocabulary)
    rng = np.random.default_rng(0)
    given = [{k: np.asarray(v) for k, v in e.items()} for e in examples]
    given = given or [{k: np.zeros(RUNS) for k in SURVEY}]
    for example in given:
        if examples:
            _one(vocabulary, classify, example, rules)
        for draw in range(DRAWS):
            _one(vocabulary, classify, _odd(example, rng, whole=draw < len(ODD), draw=draw), rules)
        nothing = {k: np.full(v.shape, np.nan) for k, v in example.items()}
        codes = _one(vocabulary, classify, nothing, rules)
        told = f"evidence of nothing but NaN is called {vocabulary.label(codes.flat[0])!r}"
        need(np.all(codes == vocabulary.undecided), told, "write conditions that NaN fails, and leave the rest undecided")
    for early, late in longer:
        _survives(vocabulary, classify, early, late, rules)
    return vocabulary


def _words(vocabulary: Any) -> None:
    need(isinstance(vocabulary, Vocabulary), f"{vocabulary!r:.80} is no Vocabulary", "make a trainphase.Vocabulary")
    what, labels = f"the vocabulary {vocabulary.name!r}", vocabulary.labels
    need(re.fullmatch(r"[a-z][a-z0-9-]*", vocabulary.name), f"{what} has no plain name", "give lower-case letters and hyphens")
    need(2 <= len(labels) <= NOT_COMPUTED, f"{what} has {len(labels)} phases", f"give from 2 to {NOT_COMPUTED}")
    twice = sorted({w for w in labels if labels.count(w) > 1})
    need(not twice, f"{what} has the label {twice[:1]} twice", "name each phase once")
    for p in vocabulary.phases:
        fine = re.fullmatch(r"[a-z][a-z0-9-]*", p.label)
        need(fine, f"{what} has the label {p.label!r}", "give lower-case letters, digits and hyphens")
        need(p.definition.strip(), f"{what} does not define {p.label!r}", "say in a sentence when a run has it")
        need(
            re.fullmatch(r"#[0-9A-Fa-f]{6}", p.colour), f"{what} gives {p.label!r} the colour {p.colour!r}", "give it as #RRGGBB"
        )
        need(len(p.symbol) == 1, f"{what} gives {p.label!r} the symbol {p.symbol!r}", "give one letter")
    symbols = [p.symbol for p in vocabulary.phases]
    need(len(set(symbols)) == len(symbols), f"{what} has symbols {symbols}", "give each phase another symbol")


def _odd(example: Mapping[str, np.ndarray], rng: np.random.Generator, whole: bool, draw: int) -> dict[str, np.ndarray]:
    """Evidence of the same names and shapes with odd numbers in places; ``whole``: one odd number everywhere."""
    out = {}
    for name, values in example.items():
        odd = np.full(values.shape, ODD[draw]) if whole else rng.choice(ODD, values.shape)
        drawn = rng.lognormal(0.0, 3.0, values.shape) * rng.choice([-1.0, 1.0], values.shape)
        kept = np.where(rng.random(values.shape) < 0.5, values, drawn)
        out[name] = odd if whole else np.where(rng.random(values.shape) < 0.3, odd, kept)
    return out


def _asked(vocabulary: Vocabulary, classify: Callable[[Evidence], Any], evidence: Evidence) -> list[np.ndarray]:
    what = f"the classifier of {vocabulary.name!r}"
    got = call(f"{what}", "decide with np.where and np.select, for any numbers", classify, evidence)
    need(isinstance(got, tuple) and len(got) == 3, f"{what} returned {type(got).__name__}", "return codes, margins, rules")
    return [np.asarray(x) for x in got]


def _one(
    vocabulary: Vocabulary, classify: Callable[[Evidence], Any], evidence: dict[str, np.ndarray], rules: Sequence[str] | None
) -> np.ndarray:
    """The codes of one batch of evidence, after all that must hold for it."""
    what = f"the classifier of {vocabulary.name!r}"
    before = {k: v.copy() for k, v in evidence.items()}
    codes, margins, why = got = _asked(vocabulary, classify, evidence)
    need(same(got, _asked(vocabulary, classify, evidence)), f"{what} answered differently the second time", "make it pure")
    changed = [k for k, v in before.items() if not same([v], [evidence[k]])]
    need(not changed, f"{what} changed the evidence {changed[:1]}", "make a copy before writing into it")
    runs = len(next(iter(evidence.values())))
    shapes = codes.shape, margins.shape, why.shape
    need(len(set(shapes)) == 1 and shapes[0][:1] == (runs,), f"{what} returned shapes {shapes} for {runs} runs", "give each one")
    need(codes.dtype.kind in "iu", f"{what} returned codes of type {codes.dtype}", "give integers: vocabulary.index(label)")
    wild = codes[(codes < 0) | (codes >= len(vocabulary.labels))]
    need(not wild.size, f"{what} returned the codes {wild[:3].tolist()}", f"give codes from 0 to {vocabulary.undecided}")
    need(margins.dtype.kind in "fiu", f"{what} returned margins of type {margins.dtype}", "give numbers")
    need(why.dtype.kind in "iu" and np.all(why >= 0), f"{what} returned rules of type {why.dtype}", "give indices from 0 on")
    if rules is not None:
        most = int(why.max(initial=0))
        need(most < len(rules), f"{what} returned the rule {most} of {len(rules)}", "list every rule")
    for k in range(0, runs, max(runs // 2, 1)):
        alone = _asked(vocabulary, classify, {name: v[k : k + 1] for name, v in evidence.items()})
        need(same([x[k : k + 1] for x in got], alone), f"{what} judges run {k} of {runs} otherwise than by itself",
             "judge each run by its own numbers")  # fmt: skip
    return codes


def _survives(
    vocabulary: Vocabulary, classify: Callable[[Evidence], Any], early: Evidence, late: Evidence, rules: Sequence[str] | None
) -> None:
    first, then = (_one(vocabulary, classify, {k: np.asarray(v) for k, v in e.items()}, rules) for e in (early, late))
    need(first.shape == then.shape, f"the pair in longer has {first.shape} and {then.shape} runs", "give the same runs twice")
    lost = np.flatnonzero((first != vocabulary.undecided) & (first != then))
    if lost.size:
        k = int(lost[0])
        was, now = (vocabulary.label(x.flat[k]) for x in (first, then))
        raise AssertionError(f"the classifier of {vocabulary.name!r} calls run {k} {was!r} and, after a longer run, {now!r} "
                             f"({lost.size} of {first.size} runs); leave it undecided until it can no longer change")  # fmt: skip
