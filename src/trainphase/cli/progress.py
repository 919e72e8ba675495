"""Progress on standard error: a bar with an estimate of the time left on a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from trainphase.cli.output import note

EVERY = 5.0  # seconds between lines


class Silent:
    """Progress that says nothing."""

    def start(self, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, k: int) -> None:
        """Nothing."""

    def scale(self, points: float, workers: int) -> None:
        """Nothing."""

    def refine(self, number: int, asked: int, lattice: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """Progress as lines of text: how many of how many, how fast, and about how long it will take yet."""

    def __init__(self, what: str = "tiles", every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.every, self.clock = what, every, clock
        self.total = self.before = self.done = 0
        self.points, self.workers, self.rounds = 0.0, 1, 0
        self.begun = self.said = clock()

    def start(self, total: int, done: int) -> None:
        """There are ``total`` pieces of work, ``done`` of them done before."""
        self.total, self.before, self.done = total, done, done
        self.begun = self.clock()
        if self.rounds:
            return
        self.said = self.begun
        if done:
            note(f"{done} of {total} {self.what} are stored already")

    def advance(self, k: int) -> None:
        """``k`` more are done."""
        self.done += k
        now = self.clock()
        if now - self.said < self.every or self.done >= self.total:
            return
        self.said = now
        rate = (self.done - self.before) / max(now - self.begun, 1e-9)
        share = 100 * self.done // self.total
        left = f"about {duration((self.total - self.done) / rate)} left"
        note(f"{self.done} of {self.total} {self.what}, {share}%, {left}{self._pace(rate)}")

    def scale(self, points: float, workers: int) -> None:
        """A piece of work has about so many points of the grid, and so many workers are at them."""
        self.points, self.workers = points, workers

    def refine(self, number: int, asked: int, lattice: int) -> None:
        """What is to come is round ``number`` of a refinement, which has asked for so many points of a lattice."""
        self.rounds, now = number, self.clock()
        if now - self.said >= self.every:
            self.said = now
            note(f"round {number}: {asked} points asked for, where a dense diagram has {lattice}")

    def _pace(self, rate: float) -> str:
        """Points per second, and of each worker where there are several."""
        if not self.points:
            return ""
        each = f", {self.points * rate / self.workers:.3g} for each of {self.workers} workers" if self.workers > 1 else ""
        return f" ({self.points * rate:.3g} points/s{each})"

    def close(self) -> None:
        """Nothing is left to be said."""


class Bar:
    """Progress as a bar on a terminal."""

    def __init__(self, what: str = "tiles") -> None:
        self.what = what
        self.bar: Any = None
        self.task: Any = None
        self.points, self.workers, self.begun, self.done = 0.0, 1, 0.0, 0

    def start(self, total: int, done: int) -> None:
        """There are ``total`` pieces of work, ``done`` of them done before."""
        from rich import progress as rich
        from rich.console import Console

        self.close()
        done_so_far = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeElapsedColumn())
        left = (rich.TextColumn("left"), rich.TimeRemainingColumn(), rich.TextColumn("{task.fields[pace]}"))
        columns = (rich.TextColumn("{task.description}"), *done_so_far, *left)
        self.bar = rich.Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task(self.what, total=total, completed=done, pace="")
        self.begun, self.done = time.monotonic(), 0
        self.bar.start()

    def advance(self, k: int) -> None:
        """``k`` more are done."""
        if self.bar is not None:
            self.done += k
            self.bar.update(self.task, advance=k, pace=self._pace())

    def scale(self, points: float, workers: int) -> None:
        """A piece of work has about so many points of the grid, and so many workers are at them."""
        self.points, self.workers = points, workers

    def refine(self, number: int, asked: int, lattice: int) -> None:
        """What is to come is round ``number`` of a refinement, which has asked for so many points of a lattice."""
        self.what = f"round {number}, {100 * asked / lattice:.2g}% of a dense diagram asked for"

    def _pace(self) -> str:
        rate = self.points * self.done / max(time.monotonic() - self.begun, 1e-9)
        return f"{rate:.3g} points/s" + (f", {self.workers} workers" if self.workers > 1 else "") if rate else ""

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def progress(quiet: bool = False, what: str = "tiles") -> Silent | Lines | Bar:
    """The kind of progress that fits standard error."""
    if quiet:
        return Silent()
    return Bar(what) if sys.stderr is not None and sys.stderr.isatty() else Lines(what)


def counter(what: str, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """A function to call with a running count and an estimate of its end (0: not known); it says both every few seconds.

    The rate counts from the first call on, since compilation is before it.
    """
    said = clock()
    first: tuple[float, int] | None = None

    def count(n: int, about: int) -> None:
        nonlocal said, first
        now = clock()
        first = first or (now, n)
        if now - said < every:
            return
        said = now
        left = f", {duration((now - first[0]) / (n - first[1]) * (about - n))} left" if n > first[1] and about > n else ""
        note(f"{n} of about {about} {what}{left}" if about else f"{n} {what}")

    return count


def duration(seconds: float) -> str:
    """A time in words: 40 s, 3 min 20 s, 2 h 5 min."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
