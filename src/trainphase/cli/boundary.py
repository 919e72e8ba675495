"""``trainphase boundary``: the values of one parameter at which the phase changes, or a curve in the plane of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainphase.axes import check_tolerance
from trainphase.catalog import SystemInfo
from trainphase.cli import environment, options, output, parse
from trainphase.cli.progress import counter
from trainphase.errors import RequestError
from trainphase.phase import VOCABULARIES, third_party
from trainphase.phase import vocabulary as vocabulary_named

if TYPE_CHECKING:
    from trainphase.tracing import CurveResult

MOST_SCAN = 1024


@options.system_command(
    "boundary",
    "Where the phase changes along one parameter, or one boundary in the plane of two.",
    click.option("--tol", type=options.Positive(),
                 help="Width of each result.  [default: 1e-10; regime: 0.01; mlp: a thousandth of the range]"),
    click.option("--points", type=options.Whole(2, 2**20),
                 help="Points of a scan, of two ranges per side.  [default: 256; regime: 9; mlp: 33; two ranges: 32]"),
    options.steps_option(None, "131072; mlp: 16384, training: 8192; two ranges: 16384"),
    options.vocabulary_option,
    click.option("--of", type=options.OneOf("phase", "period"), metavar="WHAT", default="phase", show_default=True,
                 help="What changes: phase or period."),
    click.option("--near", metavar="X,Y", help="Two ranges: follow the boundary nearest to this point.  [default: the longest]"),
    click.option("--between", metavar="P,Q", help="Two ranges: the phases on either side."),
    click.option("--plot", metavar="F.png", help="Two ranges: draw the curve (.png, .pdf or .svg)."),
)  # fmt: skip
def command(
    system: str | None, params: tuple[str, ...], tol: float | None, points: int | None, steps: int | None, vocabulary: str | None,
    of: str, near: str | None, between: str | None, plot: str | None, data_dir: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Find where the phase of SYSTEM changes along one parameter, given as KEY=lo:hi; or, of two, follow one boundary
    in their plane.

    \b
    For example: trainphase boundary cubic a=0.9:1.1
                 trainphase boundary linear-net z=-0.9:0.9 T=2:6 y=0.2 --points 16 --plot line.png
    """
    info = options.named_system(system, "boundary")
    given = parse.for_boundary(info, params)
    spans = [(name, value) for name, value in given.items() if isinstance(value, tuple)]
    if tol is not None:
        for _, (lo, hi) in spans:
            check_tolerance(f"--tol {tol:g}", tol, lo, hi)  # before JAX is loaded
    planar = _planar(info, spans, near, between, plot, vocabulary, of, points)
    given |= environment.data_options(info, data_dir)
    environment.prepare_jax()
    from trainphase import api, tracing

    report = counter("evaluations")
    asked = {"tol": tol, "points": points, "steps": steps, "of": of, "vocabulary": vocabulary}
    result = api.boundary(info.reference, **asked, **planar, report=report, **given)
    doc = result.to_json()
    if isinstance(result, tracing.CurveResult):
        # Without a boundary there is nothing to draw.
        files = [("--plot", plot if doc["curve"] is not None else None, result.save_plot)]
        output.deliver(files, lambda: output.emit(doc, lambda: _curve_text(result), as_json))
    else:
        output.emit(doc, lambda: _text(doc), as_json)


def _planar(
    info: SystemInfo, spans: list[tuple[str, tuple[float, float]]], near: str | None, between: str | None, plot: str | None,
    vocabulary: str | None, of: str, points: int | None,
) -> dict[str, Any]:  # fmt: skip
    """The options that two ranges have, checked; RequestError when they do not fit."""
    if len(spans) == 1:
        for option, value in (("--near", near), ("--between", between), ("--plot", plot)):
            if value is not None:
                one = f"{spans[0][0]} is one"
                raise RequestError(f"{option} {parse.shown(value) or repr(value)} needs two ranges and {one}; leave it out")
        return {}
    if of != "phase":
        raise RequestError(f"--of {of} needs one range and {' and '.join(n for n, _ in spans)} are two; give one of them a value")
    if points is not None and points > MOST_SCAN:
        raise RequestError(f"--points {points} are {points} x {points} points of a scan; give at most {MOST_SCAN}")
    output.check_plot(plot)
    offered = [vocabulary] if vocabulary is not None else list(info.vocabularies[:1])
    labels = [vocabulary_named(name).labels for name in offered if name in (*VOCABULARIES, *third_party())]
    return {
        "near": None if near is None else parse.near(near, spans),
        "between": None if between is None else parse.between(between, labels),
    }


def _horizon(bias: float) -> str:
    """How far the horizon moves a curve, in words."""
    if bias == 0:
        return "half of it gives the same curve, to within the width"
    if bias != bias:
        return "half of it gives no such curve nearby; more steps may move it far"
    return f"half of it gives a curve up to {bias:.1e} away; so far may this one be from that of an unlimited one"


def _curve_text(result: CurveResult) -> str:
    """A curve in a few lines: between what, from where to where, how exact, beside the theory."""
    x, y = (axis.name for axis in result.axes)
    pairs = [(" / ".join(pair), cells) for pair, cells in result.found.items()]
    seen = [output.table(("boundaries that the scan saw", "cells"), pairs), ""] if pairs else []
    if result.between is None:
        where = "that the scan shows" if not pairs else "between these phases"
        return "\n".join([*seen, f"no boundary {where} over {x} and {y}", "", f"{result.evaluations} evaluations"])
    lines = [*seen, f"{' / '.join(result.between)}: {len(result.points)} points, {'closed' if result.closed else 'open'}", ""]
    ends = zip(("from", "to"), result.points[[0, -1]], result.ends or (), strict=True)
    rows = [(word, float(p[0]), float(p[1]), end) for word, p, end in ends]
    lines.append(output.table(("", x, y, "ends at"), rows))
    if result.triples:
        rows = [(" / ".join(t["phases"]), *t["at"], f"{t['width']:.1e}") for t in result.triples]
        lines += ["", output.table(("triple point", x, y, "width"), rows)]
    lines += ["", f"width      at most {float(result.width.max()):.1e}"]
    lines.append(f"horizon    {_horizon(result.bias)}")
    if result.theory is not None:
        t = result.theory
        lines.append(f"theory     {t['name']}: off by at most {t['largest']:.1e}, {t['mean']:.1e} on average")
    return "\n".join([*lines, "", f"{result.evaluations} evaluations"])


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
