"""``trainphase diagram``: the phase over one or two parameters."""

from __future__ import annotations

from typing import Any

import click

from trainphase.catalog import SystemInfo
from trainphase.cli import environment, executors, options, output, parse, status
from trainphase.cli.progress import progress
from trainphase.errors import RequestError


@options.system_command(
    "diagram",
    "The phases over one or two parameters.",
    options.steps_option(None, "8192; edge: 16384"),
    options.vocabulary_option,
    options.observe_option,
    options.starts_option(4),
    click.option("--seeds", type=options.Whole(1, 2**20), default=1, show_default=True,
                 help="Seeds, from 0 on; for others give seed=7,8,9."),
    click.option("--store", metavar="DIR", help="Keep the tiles here, a folder or a URL; the same command continues."),
    click.option("--executor", metavar="WHERE", default="local", show_default=True,
                 help="Who computes: local, dask (a cluster on this machine), or a Dask scheduler, tcp://HOST:PORT."),
    click.option("--workers", type=options.Whole(1, 1024), default=None,
                 help="Processes that compute tiles side by side, one thread each.  [default: 1; dask: one per core]"),
    click.option("--part", type=options.Part(), metavar="K/N", help="Compute part K of N alone, beside the other parts."),
    options.dtype_option,
    click.option("--refine", is_flag=True,
                 help="Compute points only where the phase changes, down to the resolution of the ranges; audit the others."),
    click.option("--tol", type=options.Positive(), help="With --refine: polish boundaries to this width, in cells."),
    click.option("--audit", type=options.Whole(0, 2**20), help="With --refine: points of a random audit.  [default: 600]"),
    options.plot_option,
    options.html_option,
    options.out_option,
    click.option("--quiet", is_flag=True, help="No progress on standard error."),
)
@click.pass_context
def command(
    ctx: click.Context, system: str | None, params: tuple[str, ...], steps: int | None, starts: int, seeds: int,
    executor: str, workers: int | None, part: tuple[int, int] | None, store: str | None, refine: bool, tol: float | None,
    audit: int | None, dtype: str, vocabulary: str | None, observe: tuple[str, ...],
    plot: str | None, html: str | None, out: str | None, quiet: bool, data_dir: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Draw the phases of SYSTEM over the parameters that are given a range.

    A range is lo:hi:n, lo:hi:n:log, or a list of values.

    \b
    For example: trainphase diagram cubic a=0:2.2:512 --plot cubic.png
    """
    info = options.named_system(system, "diagram")
    given = parse.for_diagram(info, params, seeds)
    _check_seeds(info, given, seeds)
    given |= environment.data_options(info, data_dir)
    output.check_plot(plot)
    output.check_page("--html", html)
    output.check_out(out)
    output.check_store("--store", store)
    if part is not None and refine:
        both = f"--part {part[0]}/{part[1]} and --refine exclude each other: what is refined next depends on all parts"
        raise RequestError(f"{both}; leave one of them out, or share a refinement by --workers or --executor")
    if part is not None and store is None:
        raise RequestError(f"--part {part[0]}/{part[1]} needs a --store that all parts share; give one")
    flags = environment.prepare_jax()
    from trainphase import api

    try:
        with executors.chosen(executor, workers, flags, store) as pool:
            result = api.diagram(
                info.reference, executor=pool, part=part, steps=steps, starts=starts, seeds=seeds, store=store, dtype=dtype,
                vocabulary=vocabulary, observables=observe, progress=progress(quiet), refine=refine, tol=tol, audit=audit,
                command=ctx.obj["command"], flags=flags, **given,
            )  # fmt: skip
    except KeyboardInterrupt:
        # Before or after the sweep, which has its own sentence.
        again = "give the same command again to continue"
        raise KeyboardInterrupt("" if store is None else f"what the store {store} holds is kept; {again}") from None
    if part is not None:
        status.tell_part(result, as_json)
        return
    output.deliver(
        [
            ("--plot", plot, lambda path: result.save_plot(path)),
            ("--html", html, lambda path: result.explore().save(path)),
            ("--out", out, lambda path: api.save(result.to_xarray(), path)),
        ],
        lambda: output.emit(result.to_json(), lambda: _text(result.to_json()), as_json),
    )
    status.check_holes(result)


def _check_seeds(info: SystemInfo, given: dict[str, Any], seeds: int) -> None:
    if seeds == 1:
        return
    if all(p.name != "seed" for p in info.params):
        raise RequestError(f"--seeds {seeds} is not possible: {info.name} has no parameter seed; leave --seeds out")
    if "seed" in given:
        raise RequestError(f"--seeds {seeds} is not possible beside seed=; give only one of them")


def _text(doc: dict[str, Any]) -> str:
    """The document as a few tables."""
    grid = " x ".join(f"{axis['name']} {axis['n']}" for axis in doc["axes"])
    lines = [f"{doc['system']} over {grid}", ""]
    lines.append(output.table(("phase", "share"), [(k, f"{100 * v:.2f}%") for k, v in doc["phases"].items()]))
    lines.append("")
    lines.append(_boundaries(doc["boundaries"]))
    if doc["theory"]:
        lines += ["", output.table(("theory", "at"), [(line["name"], _place(line)) for line in doc["theory"]])]
    lines += ["", f"{doc['evaluations']} of {doc['grid_points']} points computed in {doc['seconds']:.1f} s; "]
    lines[-1] += f"{100 * doc['unstable']:.2f}% change their label when the horizon doubles"
    if "refinement" in doc:
        lines += _refinement(doc["refinement"])
    if doc["store"]:
        lines.append(f"store {doc['store']}")
    return "\n".join(lines)


def _boundaries(found: list[dict[str, Any]]) -> str:
    """Where the phase changes: every value of one parameter, or how many lines there are in a plane and how long they are."""
    if all(len(point) == 1 for line in found for point in line["points"]):
        rows = [(" / ".join(line["between"]), point[0]) for line in found for point in line["points"]]
        more = f"\nand {len(rows) - 40} more; see --json" if len(rows) > 40 else ""
        return output.table(("boundary", "at"), rows[:40]) + more
    pairs: dict[str, list[int]] = {}
    for line in found:
        pairs.setdefault(" / ".join(line["between"]), []).append(len(line["points"]))
    rows = [(pair, len(sizes), sum(sizes), max(sizes)) for pair, sizes in pairs.items()]
    return output.table(("boundary", "lines", "points", "longest"), rows)


def _refinement(known: dict[str, Any]) -> list[str]:
    """What was computed, what was inferred, and how often the latter is wrong."""
    share = 100 * known["points"] / known["lattice"]
    lines = [f"refined: {known['points']} of {known['lattice']} lattice points asked for ({share:.2g}%), the others inferred"]
    if known["points"] == known["lattice"]:
        lines = [f"refined: all {known['lattice']} lattice points asked for, so that none is inferred"]
    if known["dimension"]:
        lines.append(f"the boundaries have dimension {known['dimension']['slope']:.2f} +- {known['dimension']['se']:.2f}")
    if known["polish"]:
        p = known["polish"]
        lines.append(f"polished to {p['tol_cells']:g} cells with {p['evaluations']} evaluations; a longer run would move them by "
                     f"{p['horizon_shift_cells']:.2g} cells")
    unheard = [known["unheard"]] if known["unheard"] else []
    if not known["audit"]:
        inferred = known["points"] < known["lattice"]
        return [*lines, *["not audited: how many of the inferred labels are wrong is not known"] * inferred, *unheard]
    rows = [(r["phase"], r["inferred"], r["misses"], r["asked"], f"{100 * r['rate']:.3g}%",
             f"{100 * r['low']:.3g}% to {100 * r['high']:.3g}%") for r in known["audit"]]
    head = ("inferred phase", "points", "wrong", "of", "share", "95% interval")
    return [*lines, f"audit {known['audits']}: at most {100 * known['wrong_at_most']:.2g}% of the lattice has a wrong label", "",
            output.table(head, rows), *unheard]


def _place(line: dict[str, Any]) -> Any:
    """Where a line of the theory lies: the value on a single axis, else how many points draw it."""
    points = line.get("points", [])
    if len(points) == 1 and len(points[0]) == 1:
        return points[0][0]
    near = f", {line['distance']['largest_cells']:.2g} cells away at most" if "distance" in line else ""
    return f"a line of {len(points)} points{near}"
