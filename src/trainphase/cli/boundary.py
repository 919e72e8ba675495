"""``trainphase boundary``: the values of one parameter at which the phase changes."""

from __future__ import annotations

from typing import Any

import click

from trainphase.axes import check_tolerance
from trainphase.cli import environment, options, output, parse
from trainphase.cli.progress import counter


@options.system_command(
    "boundary",
    "Where the phase changes along one parameter.",
    click.option("--tol", type=options.Positive(),
                 help="Width of each result.  [default: 1e-10; regime: 0.01; mlp: a thousandth of the range]"),
    click.option("--points", type=options.Whole(2, 2**20), help="Points of a scan.  [default: 256; regime: 9; mlp: 33]"),
    options.steps_option(None, "131072; mlp: 16384, training: 8192"),
    options.vocabulary_option,
    click.option("--of", type=options.OneOf("phase", "period"), metavar="WHAT", default="phase", show_default=True,
                 help="What changes: phase or period."),
)  # fmt: skip
def command(
    system: str | None, params: tuple[str, ...], tol: float | None, points: int | None, steps: int | None, vocabulary: str | None,
    of: str, data_dir: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Find where the phase of SYSTEM changes along one parameter, given as KEY=lo:hi.

    \b
    For example: trainphase boundary cubic a=0.5:2.2
    """
    info = options.named_system(system, "boundary")
    given = parse.for_boundary(info, params)
    lo, hi = next(value for value in given.values() if isinstance(value, tuple))
    if tol is not None:
        check_tolerance(f"--tol {tol:g}", tol, lo, hi)  # before JAX is loaded
    given |= environment.data_options(info, data_dir)
    environment.prepare_jax()
    from trainphase import api

    report = counter("evaluations")
    asked = {"tol": tol, "points": points, "steps": steps, "of": of, "vocabulary": vocabulary}
    result = api.boundary(info.reference, **asked, report=report, **given)
    doc = result.to_json()
    output.emit(doc, lambda: _text(doc), as_json)


def _text(doc: dict[str, Any]) -> str:
    """The document as tables of crossings and windows."""
    rows = []
    for c in doc["crossings"]:
        off = None if c["theory"] is None else c["at"] - c["theory"]
        place = (f"{c['at']:.13g}", f"{c['width']:.1e}", c["theory"], off and f"{off:.1e}")
        rows.append((" / ".join(c["between"]), *place, c["theory_name"]))
    header = ("change", doc["param"], "width", "theory", "off by", "theory's name")
    lines = [output.table(header, rows) if rows else f"no change along {doc['param']}"]
    if doc.get("windows"):
        windows = [(w["period"], w["lo"], w["hi"]) for w in doc["windows"]]
        lines += ["", output.table(("window of period", "from", "to"), windows)]
    lines += ["", f"{doc['evaluations']} evaluations"]
    # Ends that are next to each other in the precision of the search are as near as they get, whatever was asked for.
    if any(c["width"] > max(doc["tol"], 1e-9 * abs(c["at"])) for c in doc["crossings"]):
        lines.append(f"where the width is above {doc['tol']:.1g}, runs in between are undecided; --steps may decide more of them")
    return "\n".join(lines)
