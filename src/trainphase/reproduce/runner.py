"""Run items of papers: compute, draw, check the claims, write pictures and tables. One failure does not stop the rest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainphase._version import __version__
from trainphase.errors import RequestError, TrainphaseError
from trainphase.reproduce import context as kept
from trainphase.reproduce import page, tables
from trainphase.reproduce.claims import Claim, Measured, Result, Verdict, check, compare
from trainphase.reproduce.context import Context

if TYPE_CHECKING:
    from trainphase.engine.sweep import Progress

_NAME = re.compile(r"[A-Za-z0-9]+([.-][A-Za-z0-9]+)*")


@dataclass(frozen=True, eq=False)
class Figure:
    """An item of a paper: a figure, or (without ``draw``) a theorem or a table that has claims only.

    Parameters
    ----------
    paper : the paper's short name, such as "agarwala".
    name : "4" for Figure 4, "theorem3.1" and the like for the rest.
    title : what it shows, in a line.
    compute : context -> xarray.Dataset, or a dict of them; None when the claims measure on their own.
    draw : what ``compute`` returned -> a matplotlib Figure. It calls functions of ``trainphase.figures``.
    claims : what the paper states about it.
    seconds_quick, seconds_full : about how long ``compute`` and the claims take on two cores.
    """

    paper: str
    name: str
    title: str
    compute: Callable[[Context], Any] | None = None
    draw: Callable[[Any], Any] | None = None
    claims: tuple[Claim, ...] = ()
    seconds_quick: float = 1.0
    seconds_full: float = 1.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise RequestError(f"{self.name!r} is no name for an item; use letters and digits, joined by . or -")
        if self.draw is not None and self.compute is None:
            raise RequestError(f"{self.locator} draws but computes nothing; give compute too")
        strange = next((c for c in self.claims if c.paper != self.paper), None)
        if strange is not None:
            raise RequestError(f"{self.locator} has a claim of {strange.paper!r}; give it to that paper's item")

    @property
    def locator(self) -> str:
        """The item as the command line takes it."""
        return f"{self.paper}:{self.name}"

    def estimate(self, quick: bool) -> float:
        """About how many seconds it takes."""
        return self.seconds_quick if quick else self.seconds_full


@dataclass(frozen=True)
class Picture:
    """A figure that was drawn: the item's locator parts, its title, the file, its data files, seconds to compute."""

    paper: str
    figure: str
    title: str
    file: Path
    data: tuple[Path, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The picture as a document."""
        return {
            "paper": self.paper, "figure": self.figure, "file": str(self.file), "title": self.title,
            "data": [str(path) for path in self.data], "seconds": round(self.seconds, 3),
        }  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """Work that failed: where (locator and part of the item), and the exception."""

    item: str
    part: str
    why: Exception

    @property
    def sentence(self) -> str:
        """What failed and why, in a sentence."""
        text = " ".join(str(self.why).split())
        known = isinstance(self.why, TrainphaseError)
        return f"{self.item}: {self.part} failed: {text if known else f'{type(self.why).__name__}: {text}'}"


@dataclass
class Report:
    """What was reproduced. It grows while items are done."""

    out: Path
    quick: bool
    seed: int
    results: list[Result] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    titles: dict[str, str] = field(default_factory=dict)  # of the items, by locator

    def to_json(self) -> dict[str, Any]:
        """One document: claims, figures, what failed, and how it was run."""
        return {
            "counts": {str(verdict): self.count(verdict) for verdict in Verdict},
            "claims": [result.to_json() for result in self.results],
            "figures": [picture.to_json() for picture in self.pictures],
            "failed": [{"item": f.item, "part": f.part, "why": f.sentence} for f in self.failures],
            "quick": self.quick, "seed": self.seed, "version": __version__, "seconds": round(self.seconds, 1),
        }  # fmt: skip

    def count(self, verdict: Verdict) -> int:
        """How many claims have that verdict on the paper's value."""
        return sum(result.comparison.verdict == verdict for result in self.results)


class ReproduceInterrupted(TrainphaseError):
    """The user stopped the work; what is computed is kept. The command line ends with exit code 130."""

    exit_code = 130


def reproduce(
    figures: Sequence[Figure], out: str | Path, *, quick: bool = False, seed: int = 0, workers: int = 1,
    progress: Progress | None = None, say: Callable[[str], None] | None = None,
    folders: Sequence[str] = (),
) -> Report:  # fmt: skip
    """Reproduce items one after the other and write the tables after each.

    Writes OUT/PAPER-ITEM.png, OUT/report.html, OUT/claims.md, OUT/claims.json, and the data under OUT/data, where the same
    call finds them again. Returns the Report; ``failures`` lists what raised.

    Parameters
    ----------
    figures : the items, as ``papers.load(papers.select([...]))`` or a user's own.
    quick : small sizes.
    workers : processes for the large sweeps; 1: this one, with JAX's own threads.
    say : is given a sentence as each item begins and when something fails.
    folders : where image data are looked for, besides the usual places.

    Raises ReproduceInterrupted on Ctrl-C, RequestError when OUT cannot be made.

    Cost: the sum of the items' estimates, less what is on the disk already.
    """
    begun = time.perf_counter()
    tell = say or (lambda sentence: None)
    report = Report(Path(out), quick, seed, titles={figure.locator: figure.title for figure in figures})
    try:
        report.out.mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise RequestError(f"the folder {out} cannot be made ({why.strerror or why}); give another --out") from why
    memory: dict[tuple[str, str], Any] = {}
    done = 0
    pool = None if workers < 2 else ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        for done, figure in enumerate(figures):
            context = Context(figure, report.out, quick, seed, memory=memory, executor=pool, folders=tuple(folders))
            context = context if progress is None else replace(context, progress=progress)
            tell(_beginning(figure, context, done, len(figures)))
            _item(figure, context, report, tell)
            report.seconds = time.perf_counter() - begun
            tables.write(report)
            page.write(report)
    except KeyboardInterrupt:
        raise _interrupted(figures, done, report.out) from None
    except TrainphaseError as why:
        if why.exit_code != ReproduceInterrupted.exit_code:
            raise
        raise _interrupted(figures, done, report.out) from why
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        if progress is not None:
            progress.close()
    return report


def _item(figure: Figure, context: Context, report: Report, tell: Callable[[str], None]) -> None:
    """Compute, draw and check one item; what raises is put down and told, and the rest of the item goes on."""

    def attempt(part: str, work: Callable[[], Any]) -> Exception | None:
        try:
            work()
        except Exception as why:
            if getattr(why, "exit_code", None) == ReproduceInterrupted.exit_code:
                raise
            # A claim of data that could not be computed has failed for the reason that is put down already.
            if all(why is not failure.why for failure in report.failures):
                report.failures.append(Failure(figure.locator, part, why))
                tell(report.failures[-1].sentence)
            return why
        finally:
            context.progress.close()
        return None

    if figure.compute is not None:
        why = attempt("computing", context.data)
        if why is None and figure.draw is not None:
            attempt("drawing", lambda: report.pictures.append(_draw(figure, context)))
    for claim in figure.claims:
        why = attempt(f"the claim {claim.locator}", lambda claim=claim: report.results.append(check(claim, context)))
        if why is not None:
            report.results.append(_unmeasured(claim, figure, why))


def _draw(figure: Figure, context: Context) -> Picture:
    """Draw the item and write the picture."""
    from trainphase import figures as drawing

    assert figure.draw is not None
    size = "quick" if context.quick else "full"
    path = context.out / f"{figure.paper}-{figure.name}.png"
    about = f"{figure.locator}, {size}, seed {context.seed}, trainphase {__version__}"
    drawing.save(figure.draw(context.data()), path, about)
    seconds = context.seconds() or 0.0
    return Picture(figure.paper, figure.name, figure.title, path, tuple(kept.paths(context)), seconds)


def _unmeasured(claim: Claim, figure: Figure, why: Exception) -> Result:
    """The row of a claim whose measurement raised."""
    note = "the measurement failed: " + (" ".join(str(why).split()) or type(why).__name__)
    measured = Measured(None, note=note)
    paper, expected = (compare(v, measured, claim.tolerance) for v in (claim.paper_value, claim.expected))
    return Result(claim, figure.name, measured, paper, expected, 0.0)


def _beginning(figure: Figure, context: Context, done: int, total: int) -> str:
    found = figure.compute is not None and context.has()
    about = "its data are kept from before" if found else f"about {max(1, round(figure.estimate(context.quick)))} s"
    return f"{done + 1} of {total}: {figure.locator}, {figure.title}; {about}"


def _interrupted(figures: Sequence[Figure], done: int, out: Path) -> ReproduceInterrupted:
    return ReproduceInterrupted(
        f"interrupted at {figures[done].locator}, with {done} of {len(figures)} done; what is computed is kept in {out}; "
        "give the same command again to continue"
    )
