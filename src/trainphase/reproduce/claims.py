"""Claims: what a paper says, what we measure, how far apart the two may be and why, and the verdict.

A verdict is ``agree``, ``differ`` (the difference is shown) or ``not-testable`` (the note says why).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from trainphase.errors import RequestError

if TYPE_CHECKING:
    from trainphase.reproduce.context import Context

Value = float | bool | str


class Verdict(StrEnum):
    """How a value of the paper compares with what is measured."""

    AGREE = "agree"
    DIFFER = "differ"
    NOT_TESTABLE = "not-testable"


def _plain(value: Any, what: str) -> Any:
    """A number, bool or text of Python from what NumPy and xarray make of them; None stays None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)  # NumPy has strings of its own
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "biuf":
        return array.item()
    raise RequestError(f"{what} {value!r} is neither a number, a truth value nor a text; give one of these")


@dataclass(frozen=True)
class Tolerance:
    """How far a measured value may lie from the stated one, and the reason for it. Make one by the functions below.

    Parameters
    ----------
    kind : "absolute", "relative", "standard errors" or "exact".
    size : the bound, in units of the value, of its magnitude, or of the standard error of the measurement.
    reason : where the bound comes from; never empty.
    """

    kind: str
    size: float
    reason: str

    def __post_init__(self) -> None:
        if self.kind not in ("absolute", "relative", "standard errors", "exact"):
            raise RequestError(f"{self.kind!r} is no kind of tolerance; use absolute, relative, standard_errors or exact")
        if not self.reason.strip():
            raise RequestError(f"a tolerance of {self} has no reason; say where it comes from")
        if not (math.isfinite(self.size) and self.size >= 0):
            raise RequestError(f"a tolerance of size {self.size} bounds nothing; give a finite number of at least 0")

    def __str__(self) -> str:
        if self.kind == "standard errors":
            return f"{self.size:g} standard error{'s' if self.size != 1 else ''}"
        return {"absolute": f"+-{self.size:g}", "relative": f"{100 * self.size:g}%"}.get(self.kind, "exact")

    def allowed(self, reference: float, error: float | None) -> float:
        """The largest difference from ``reference`` that still agrees, for a measurement with that standard error."""
        if self.kind == "relative":
            return self.size * abs(reference)
        if self.kind == "standard errors":
            if error is None:
                raise RequestError(f"a tolerance of {self} needs the measurement's standard error; give Measured one")
            return self.size * error
        return self.size


def absolute(size: float, reason: str) -> Tolerance:
    """Within ``size``, in units of the value."""
    return Tolerance("absolute", size, reason)


def relative(size: float, reason: str) -> Tolerance:
    """Within the share ``size`` of the stated value."""
    return Tolerance("relative", size, reason)


def standard_errors(k: float, reason: str) -> Tolerance:
    """Within ``k`` standard errors of the measurement."""
    return Tolerance("standard errors", k, reason)


def exact(reason: str) -> Tolerance:
    """Equal: for statements that are true or false, for phases, for counts."""
    return Tolerance("exact", 0.0, reason)


@dataclass(frozen=True)
class Measured:
    """What was measured: a number (with its standard error, if it has one), a truth value or a text.

    NumPy's numbers and arrays without dimensions are taken too. ``note`` adds what a reader must know (sizes, seeds).
    Use :func:`untestable` where nothing can be measured.
    """

    value: Any
    error: Any = None
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _plain(self.value, "the measured value"))
        object.__setattr__(self, "error", _plain(self.error, "the error"))
        if self.value is None and not self.note:
            raise RequestError("a measurement without a value does not say why; use untestable(why)")


def untestable(why: str) -> Measured:
    """The measurement that cannot be made here, and why."""
    return Measured(None, note=why)


def largest(*values: Any) -> float:
    """The largest of numbers and arrays; NaN as soon as one of them is, which ``max`` would pass over and agree with anything."""
    return float(np.max([np.max(value) for value in values]))


@dataclass(frozen=True)
class Claim:
    """A statement of a paper that we can measure.

    Parameters
    ----------
    paper : the paper's short name, such as "agarwala".
    locator : where it stands, such as "Theorem 3.1" or "Fig. 4".
    statement : the claim in one sentence of ours, with units.
    paper_value : what the paper says; None where it gives no value that can be compared.
    tolerance : how far apart the two may be, with its reason.
    measure : context -> Measured. ``context.data()`` is the data of the item that the claim stands with.
    expected : our own value, where the paper's cannot be right or where it gives none.
    correction : why the paper's value cannot be right; needed where both values are given.
    """

    paper: str
    locator: str
    statement: str
    paper_value: Value | None
    tolerance: Tolerance
    measure: Callable[[Context], Measured]
    expected: Value | None = None
    correction: str = ""

    def __post_init__(self) -> None:
        for name in ("paper_value", "expected"):
            object.__setattr__(self, name, _plain(getattr(self, name), name))
        values = [v for v in (self.paper_value, self.expected) if v is not None]
        label = f"the claim {self.paper} {self.locator} ({self.statement})"
        if not values:
            raise RequestError(f"{label} states no value; give paper_value, expected or both")
        if len(values) == 2 and not self.correction:
            raise RequestError(f"{label} has two values; say in correction why the paper's cannot be right")
        if self.tolerance.kind != "exact" and any(isinstance(v, bool | str) for v in values):
            raise RequestError(f"{label} is no number, so its tolerance cannot be {self.tolerance}; use exact(reason)")

    @property
    def reason(self) -> str:
        """Where the tolerance comes from."""
        return self.tolerance.reason


@dataclass(frozen=True)
class Comparison:
    """One stated value beside the measured one. ``difference`` is measured minus stated; ``allowed`` bounds its size."""

    verdict: Verdict
    difference: float | None = None
    allowed: float | None = None


def compare(stated: Value | None, measured: Measured, tolerance: Tolerance) -> Comparison | None:
    """The verdict on a stated value; None when nothing is stated.

    What is not a finite number never agrees. RequestError when the tolerance needs a standard error and there is none.
    """
    if stated is None:
        return None
    if measured.value is None:
        return Comparison(Verdict.NOT_TESTABLE)
    truth = isinstance(stated, bool | str) or isinstance(measured.value, bool | str)
    if truth:
        same = type(stated) is type(measured.value) and stated == measured.value
        return Comparison(Verdict.AGREE if same else Verdict.DIFFER)
    difference = float(measured.value) - float(stated)
    allowed = tolerance.allowed(float(stated), measured.error)
    return Comparison(Verdict.AGREE if abs(difference) <= allowed else Verdict.DIFFER, difference, allowed)


@dataclass(frozen=True)
class Result:
    """A claim that was checked. ``paper`` and ``expected`` compare the two stated values; None where there is none."""

    claim: Claim
    item: str
    measured: Measured
    paper: Comparison | None
    expected: Comparison | None
    seconds: float

    @property
    def comparison(self) -> Comparison:
        """The comparison with the paper's value; with ours, where the paper gives none."""
        found = self.paper or self.expected
        assert found is not None  # a claim states at least one value
        return found

    def to_json(self) -> dict[str, Any]:
        """The claim and its verdict as a document."""
        shown = self.comparison
        row: dict[str, Any] = {
            "paper": self.claim.paper, "item": self.item, "locator": self.claim.locator,
            "statement": self.claim.statement, "paper_value": self.claim.paper_value, "measured": self.measured.value,
            "error": self.measured.error, "tolerance": str(self.claim.tolerance), "reason": self.claim.reason,
            "verdict": str(shown.verdict), "difference": shown.difference, "allowed": shown.allowed,
            "note": self.measured.note, "seconds": round(self.seconds, 3),
        }  # fmt: skip
        if self.expected is not None:
            row["expected"] = self.claim.expected
            row["expected_verdict"] = str(self.expected.verdict)
            row["expected_difference"] = self.expected.difference
            row["correction"] = self.claim.correction
        return row


def check(claim: Claim, context: Context) -> Result:
    """Measure a claim and compare; whatever ``measure`` raises passes through. Cost: that of ``measure``."""
    begun = time.perf_counter()
    measured = claim.measure(context)
    if not isinstance(cast(object, measured), Measured):
        raise RequestError(f"the claim {claim.locator} measured {measured!r}, which is no Measured; return one")
    paper = compare(claim.paper_value, measured, claim.tolerance)
    expected = compare(claim.expected, measured, claim.tolerance)
    return Result(claim, context.figure.name, measured, paper, expected, time.perf_counter() - begun)
