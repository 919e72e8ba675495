"""What the benchmarks share about results: spans of timings, the verdicts printed, the file written. Loads no NumPy by itself."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def clock(work: Callable[[], Any], timer: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that the work takes."""
    begin = timer()
    work()
    return timer() - begin


def span(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": float(statistics.median(values)), "max": max(values)}


def within(over: list[float], under: list[float]) -> dict[str, float]:
    """Ratios within a round: smallest, median, largest."""
    return span([p / q for p, q in zip(over, under, strict=True)])


def agreed(checks: Iterable[Mapping[str, Any]]) -> bool:
    """Whether no check found a problem; each is printed with what it found."""
    checks = list(checks)
    for found in checks:
        print(f"{'agree' if not found['problems'] else 'DIFFER'}: {found['pair']}", *found["problems"], sep="; ")
    return not any(found["problems"] for found in checks)


def print_requirements(needs: Iterable[Mapping[str, Any]]) -> None:
    """A line for each required value."""
    for need in needs:
        print(f"{'met' if need['met'] else 'NOT MET'}: {need['what']}: {need['value']:.3g}")


def place(benchmark: str, quick: bool) -> Path:
    """Where the result of a benchmark goes unless another place is asked for."""
    return RESULTS / f"{benchmark}{'-quick' if quick else ''}.json"


def write(result: Mapping[str, Any], path: Path) -> None:
    """The result as JSON, its folder made first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
