"""Phases: closed vocabularies, each label with its exact definition, colour and symbol.

Colours are of the Okabe-Ito set, told apart with the common colour-vision deficiencies; symbols carry the same
information without colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainphase import extensions
from trainphase.errors import RequestError

NOT_COMPUTED = 255


@dataclass(frozen=True)
class Phase:
    """One label: its definition in a sentence, its colour (sRGB hex) and a one-letter symbol."""

    label: str
    definition: str
    colour: str
    symbol: str


@dataclass(frozen=True)
class Vocabulary:
    """A closed list of phases in order of increasing irregularity; ``undecided`` is always the last."""

    name: str
    question: str
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        if self.phases[-1].label != "undecided":
            raise RequestError(f"vocabulary {self.name!r} lacks 'undecided' as its last phase; add it")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return tuple(p.label for p in self.phases)

    def index(self, label: str) -> int:
        """The code under which the label is stored."""
        if label not in self.labels:
            raise RequestError(f"{label!r} is no phase of {self.name!r}; the phases are {', '.join(self.labels)}")
        return self.labels.index(label)

    def label(self, code: int) -> str:
        """The label of a stored code."""
        return self.labels[int(code)]

    @property
    def undecided(self) -> int:
        """The code of ``undecided``."""
        return len(self.phases) - 1

    def fractions(self, codes: np.ndarray) -> dict[str, float]:
        """Share of each phase among the computed codes; phases that do not occur are left out."""
        codes = np.asarray(codes).ravel()
        codes = codes[codes != NOT_COMPUTED]
        if codes.size == 0:
            return {}
        counts = np.bincount(codes, minlength=len(self.phases))
        return {p.label: float(c / codes.size) for p, c in zip(self.phases, counts, strict=True) if c}

    def worst(self, codes: np.ndarray, axis: int = -1) -> np.ndarray:
        """The phase of an ensemble: the most irregular one that any member shows.

        A member that is undecided could be anything, so the ensemble is undecided too, unless another member already
        shows the last decided phase, which nothing can exceed.
        """
        codes = np.asarray(codes)
        top = self.undecided - 1
        decided = np.where(codes == self.undecided, -1, codes.astype(int)).max(axis)
        unknown = (codes == self.undecided).any(axis)
        return np.where(unknown & (decided < top), self.undecided, decided).astype(np.uint8)

    def consensus(self, phase: Any) -> np.ndarray:
        """Codes of an xarray array without its axis ``seed``: the most frequent phase, ties to the more regular one.

        Seeds that were not computed have no vote. Without that axis, or with no other, the codes as they are.
        """
        if "seed" not in phase.dims or len(phase.dims) == 1:
            return phase.values
        codes = np.moveaxis(phase.values, phase.dims.index("seed"), -1)
        votes = np.stack([(codes == k).sum(-1) for k in range(len(self.phases))], -1)
        return np.where(votes.any(-1), votes.argmax(-1), NOT_COMPUTED).astype(np.uint8)


@dataclass(frozen=True)
class Reading:
    """What a classifier says of one run: the phase, its margin, and the numbers it was decided on.

    ``margin`` is the distance of the deciding number from its threshold, in the units named by ``rule``.
    """

    vocabulary: Vocabulary
    phase: str
    margin: float
    rule: str
    evidence: dict[str, Any] = field(default_factory=dict)


TRAINING = Vocabulary(
    "training",
    "How does gradient descent behave at this step size?",
    (
        Phase("monotonic", "the loss never rises and the run converges (for a map: from every start)", "#56B4E9", "M"),
        Phase("catapult", "the loss rises at least once (for a map: from some start), then the run converges", "#009E73", "C"),
        Phase("periodic", "the run settles on a stable cycle of two or more steps (a periodic window included)", "#F0E442", "P"),
        Phase("chaotic", "the run stays bounded with a positive Lyapunov exponent", "#E69F00", "X"),
        Phase("divergent", "the run leaves every bound (for a map: from an open set of starts)", "#D55E00", "D"),
        Phase("undecided", "the horizon does not decide; a longer run or more starts may", "#999999", "?"),
    ),
)

EDGE = Vocabulary(
    "edge",
    "Where does the curvature (step size times top kernel eigenvalue) end, relative to its start and to the edge at 2?",
    (
        Phase("flat", "the run settles; its curvature has risen by at most 5 % and is not at the edge", "#56B4E9", "F"),
        Phase("sharpening", "the run settles; its curvature has risen by more than 5 % and is not at the edge", "#009E73", "S"),
        Phase("edge-of-stability", "it settles, or its loss keeps falling, with a curvature within 0.2 of 2", "#F0E442", "E"),
        Phase("bounded", "the run stays bounded and does not settle: it cycles or wanders across the edge", "#E69F00", "B"),
        Phase("divergent", "the run leaves every bound", "#D55E00", "D"),
        Phase("undecided", "the horizon does not decide, or the start does not move; a longer run may", "#999999", "?"),
    ),
)

REGIME = Vocabulary(
    "regime",
    "How far do the input weights travel, relative to their start, as the width grows: how large is the slope S_w?",
    (
        Phase("linear", "S_w is below -0.05: wide nets stay at their linearisation, a kernel machine", "#D55E00", "L"),
        Phase("critical", "S_w is within 0.05 of zero: wide nets travel a distance of order one, mean field", "#999933", "C"),
        Phase("condensed", "S_w is above 0.05: wide nets leave their start behind, on a few directions", "#0072B2", "K"),
        Phase("undecided", "two standard errors of S_w reach a threshold, or a run missed its loss", "#999999", "?"),
    ),
)

VOCABULARIES = {v.name: v for v in (TRAINING, EDGE, REGIME)}


@dataclass(frozen=True)
class Classifier:
    """A vocabulary with the function that decides on its phases from the numbers of a run.

    ``classify(evidence)`` takes a mapping from names to arrays of one shape and returns codes, margins and the indices into
    ``rules`` of what decided, arrays of that shape. ``observables`` names observables of the entry points
    ``trainphase.observables`` that it reads beside the numbers of a survey: the value of each at the end of the run.

    For developers
    --------------
    One of your own reads the evidence of the training vocabulary, which ``trainphase.classifiers.training`` lists, at half
    of the horizon and at the whole of it; so it fits every Map that this vocabulary fits. ``trainphase.testing`` has
    ``check_classifier``, with the contract.
    """

    vocabulary: Vocabulary
    classify: Callable[[Mapping[str, Any]], tuple[np.ndarray, np.ndarray, np.ndarray]]
    rules: tuple[str, ...]
    observables: tuple[str, ...] = ()


def third_party() -> tuple[str, ...]:
    """Names of the vocabularies of other packages, under the entry points ``trainphase.classifiers``; nothing is imported."""
    return extensions.names(extensions.CLASSIFIERS)


def foreign(name: str) -> Classifier:
    """The classifier that another package brings; RequestError when there is none of the name, or it is none."""
    extensions.check_name(extensions.CLASSIFIERS, name, own=name in VOCABULARIES)
    found = extensions.load(extensions.CLASSIFIERS, name, Classifier)
    if found is None:
        known = ", ".join([*VOCABULARIES, *third_party()])
        raise RequestError(f"there is no vocabulary {name!r}; give one of {known}, or install the package that brings it")
    if found.vocabulary.name != name:
        raise RequestError(f"the vocabulary {name!r} of another package calls itself {found.vocabulary.name!r}; give it one name")
    return found


def vocabulary(name: str) -> Vocabulary:
    """The vocabulary of that name, built in or of another package; RequestError otherwise."""
    known = VOCABULARIES.get(name)
    return known if known is not None else foreign(name).vocabulary
