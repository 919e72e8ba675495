"""A report as text: claims.json, claims.md, and the cells that the command line prints too."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainphase._version import __version__
from trainphase.engine import _files
from trainphase.errors import TrainphaseError
from trainphase.reproduce.claims import Result, Verdict

if TYPE_CHECKING:
    from trainphase.reproduce.runner import Report


def write(report: Report) -> None:
    """Write OUT/claims.json and OUT/claims.md, each whole or not at all; TrainphaseError when the disk refuses."""
    # What JSON has no word for (a value that is not finite) becomes null, as everywhere on the command line.
    text = json.dumps(_finite(report.to_json()), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        _files.write_file(report.out / "claims.json", text.encode())
        _files.write_file(report.out / "claims.md", markdown(report).encode())
    except OSError as why:
        raise TrainphaseError(f"the tables in {report.out} cannot be written ({why.strerror or why}); make room") from why


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value: Any) -> str:
    """A value as the tables print it: seven digits, yes and no, "-" for what is not there."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def stated(result: Result) -> str:
    """The paper's value, and ours beside it where the paper's cannot be right."""
    claim = result.claim
    if claim.expected is None:
        return number(claim.paper_value)
    return f"{number(claim.paper_value)} (ours: {number(claim.expected)})"


def measurement(result: Result) -> str:
    """The measured value and its standard error."""
    text = number(result.measured.value)
    return text if result.measured.error is None else f"{text} +- {result.measured.error:.2g}"


def verdict(result: Result) -> str:
    """The verdict on the paper's value, with the difference where they differ, and on ours where there is one."""
    words = []
    for name, found in (("", result.paper), ("ours: ", result.expected)):
        if found is None:
            continue
        apart = ""
        if found.verdict == Verdict.DIFFER and found.difference is not None:
            apart = f" by {found.difference:+.3g}"
            if result.measured.error:
                apart += f" ({abs(found.difference) / result.measured.error:.3g} standard errors)"
        words.append(f"{name}{found.verdict}{apart}")
    return "; ".join(words)


def markdown(report: Report) -> str:
    """The report as a page of Markdown."""
    size = "quick sizes" if report.quick else "full sizes"
    lines = ["# Papers against measurements", "", f"Trainphase {__version__}, {size}, seed {report.seed}.", ""]
    header = ("item", "claim", "statement", "paper", "measured", "tolerance", "verdict", "seconds")
    lines += [_row(header), _row(["---"] * len(header))]
    for r in report.results:
        where, bound = f"{r.claim.paper}:{r.item}", f"{r.claim.tolerance}: {r.claim.reason}"
        lines.append(_row([
            where, r.claim.locator, r.claim.statement, stated(r), measurement(r), bound, verdict(r), f"{r.seconds:.1f}",
        ]))  # fmt: skip
    corrected = dict.fromkeys(f"- {r.claim.locator}: {r.claim.correction}" for r in report.results if r.claim.correction)
    notes = [f"- {r.claim.locator}: {r.measured.note}" for r in report.results if r.measured.note]
    failed = [f"- {failure.sentence}" for failure in report.failures]
    for title, entries in (("Corrections", list(corrected)), ("Notes", notes), ("Failed", failed)):
        if entries:
            lines += ["", f"## {title}", "", *entries]
    for picture in report.pictures:
        lines += ["", f"## {picture.paper}:{picture.figure}, {picture.title}", "", f"![{picture.title}]({picture.file.name})"]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
