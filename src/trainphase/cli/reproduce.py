"""``trainphase reproduce``: the figures and claims of the papers, paper against measured."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from trainphase.cli import environment, options, output
from trainphase.cli.progress import duration, progress
from trainphase.errors import TrainphaseError
from trainphase.reproduce import papers

COLOURS = {"agree": "green", "differ": "red", "not-testable": "yellow"}
WIDE = 56  # characters of a statement in the table; claims.md has all of it


@click.command("reproduce", options_metavar="[OPTIONS]", short_help="Figures and claims of the papers.")
@click.argument("items", nargs=-1, metavar="[PAPER[:FIGURE]]...")
@click.option("--out", metavar="DIR", default="reproduced", show_default=True, help="Folder for pictures, tables and data.")
@click.option("--quick", is_flag=True, help="Small sizes, for a first look.")
@click.option("--seed", type=options.Whole(0, 10**6), metavar="N", default=0, show_default=True,
              help="Seed of all draws; an ensemble begins at seed 1000 N.")
@click.option("--workers", type=options.Whole(1, 4096), default=1, show_default=True, help="Processes for large sweeps.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@options.json_option
def command(
    items: tuple[str, ...], out: str, quick: bool, seed: int, workers: int, quiet: bool, as_json: bool
) -> None:
    """Reproduce figures and claims of the papers: every claim beside what is measured, with a verdict.

    Without PAPER, or with "all", everything. What is computed is kept in DIR: the same command continues.

    \b
    For example: trainphase reproduce agarwala:8 --quick
    """
    chosen = papers.select(items)
    output.check_folder("--out", out)
    environment.prepare_jax(keep=False)
    if workers > 1:
        environment.one_thread_each()
    from trainphase.reproduce import runner

    figures = papers.load(chosen)
    if not quiet:
        seconds = sum(figure.estimate(quick) for figure in figures)
        output.note(f"{len(figures)} to reproduce, about {duration(seconds)} in all")
    say = None if quiet else output.note
    report = runner.reproduce(
        figures, out, quick=quick, seed=seed, workers=workers, progress=progress(quiet, "pieces"), say=say,
        folders=environment.data_folders(),
    )  # fmt: skip
    output.emit(report.to_json(), lambda: _text(report), as_json)
    if report.failures:
        first = report.failures[0]
        more = len(report.failures) - 1
        others = f"; {more} more failed, see {out}/claims.md" if more else ""
        raise TrainphaseError(f"{first.sentence}{others}") from first.why


def _text(report: Any) -> str:
    """The claims as a table, and where the pictures are."""
    from trainphase.reproduce import tables

    rows = []
    for r in report.results:
        words = " ".join(r.claim.statement.split())
        short = words if len(words) <= WIDE else words[: WIDE - 3] + "..."
        paper, measured = tables.stated(r), tables.measurement(r)
        where = f"{r.claim.paper}:{r.item}"
        rows.append([where, r.claim.locator, short, paper, measured, str(r.claim.tolerance), _coloured(r, tables.verdict(r))])
    # The verdict stands last: colours have no width on the terminal, but would shift the columns after it.
    header = ("item", "claim", "statement", "paper", "measured", "tolerance", "verdict")
    lines = [output.table(header, rows), ""] if rows else []
    counts = [f"{report.count(v)} {v}" for v in COLOURS if report.count(v)]
    lines.append(f"{len(rows)} claims{': ' if counts else ''}{', '.join(counts)}; in {duration(report.seconds)}")
    lines += [f"{p.paper}:{p.figure}  {p.file}" for p in report.pictures]
    lines.append(f"report {report.out / 'report.html'}; tables {report.out / 'claims.md'} and {report.out / 'claims.json'}")
    return "\n".join(lines)


def _coloured(result: Any, text: str) -> str:
    """The text in the verdict's colour, where standard output is a terminal and nobody has asked for none."""
    if os.environ.get("NO_COLOR") or not (sys.stdout is not None and sys.stdout.isatty()):
        return text
    return click.style(text, fg=COLOURS[result.comparison.verdict])
