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
    options.starts_option(4),
    click.option("--seeds", type=options.Whole(1, 2**20), default=1, show_default=True, help="Seeds, from 0 on."),
    click.option("--store", metavar="DIR", help="Keep the tiles here, a folder or a URL; the same command continues."),
    click.option("--executor", metavar="WHERE", default="local", show_default=True,
                 help="Who computes: local, dask (a cluster on this machine), or a Dask scheduler, tcp://HOST:PORT."),
    click.option("--workers", type=options.Whole(1, 1024), default=1, show_default=True,
                 help="Processes that compute tiles side by side, one thread each."),
    click.option("--part", type=options.Part(), metavar="K/N", help="Compute part K of N alone, beside the other parts."),
    options.dtype_option,
    options.plot_option,
    options.out_option,
    click.option("--quiet", is_flag=True, help="No progress on standard error."),
)
@click.pass_context
def command(
    ctx: click.Context, system: str | None, params: tuple[str, ...], steps: int | None, starts: int, seeds: int,
    executor: str, workers: int, part: tuple[int, int] | None, store: str | None, dtype: str, vocabulary: str | None,
    plot: str | None, out: str | None, quiet: bool, data_dir: str | None, as_json: bool,
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
    output.check_out(out)
    output.check_store("--store", store)
    if part is not None and store is None:
        raise RequestError(f"--part {part[0]}/{part[1]} needs a --store that all parts share; give one")
    flags = environment.prepare_jax()
    from trainphase import api

    try:
        with executors.chosen(executor, workers, flags, store) as pool:
            result = api.diagram(
                info.reference, executor=pool, part=part, steps=steps, starts=starts, seeds=seeds, store=store, dtype=dtype,
                vocabulary=vocabulary, progress=progress(quiet), command=ctx.obj["command"], flags=flags, **given,
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
    if all(len(point) == 1 for line in doc["boundaries"] for point in line["points"]):
        rows = [(" / ".join(line["between"]), point[0]) for line in doc["boundaries"] for point in line["points"]]
        lines.append(output.table(("boundary", "at"), rows[:40]))
        if len(rows) > 40:
            lines.append(f"and {len(rows) - 40} more; see --json")
    else:
        rows = [(" / ".join(line["between"]), len(line["points"])) for line in doc["boundaries"]]
        lines.append(output.table(("boundary", "points"), rows))
    if doc["theory"]:
        lines += ["", output.table(("theory", "at"), [(line["name"], _place(line)) for line in doc["theory"]])]
    lines += ["", f"{doc['evaluations']} of {doc['grid_points']} points computed in {doc['seconds']:.1f} s; "]
    lines[-1] += f"{100 * doc['unstable']:.2f}% change their label when the horizon doubles"
    if doc["store"]:
        lines.append(f"store {doc['store']}")
    return "\n".join(lines)


def _place(line: dict[str, Any]) -> Any:
    """Where a line of the theory lies: the value on a single axis, else how many points draw it."""
    points = line.get("points", [])
    return points[0][0] if len(points) == 1 and len(points[0]) == 1 else f"a line of {len(points)} points"
