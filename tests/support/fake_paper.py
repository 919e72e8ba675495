"""A paper that does not exist, small enough for tests: its figures count how often they are computed."""

from __future__ import annotations

import sys
import types
from collections import Counter

import numpy as np
import xarray
from matplotlib.figure import Figure as Page

from trainphase.figures import style
from trainphase.reproduce import papers
from trainphase.reproduce.claims import Claim, Measured, Tolerance, absolute, exact, standard_errors, untestable
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure

NAME = "fake"
EXACT = absolute(1e-9, "rounding of a mean of ten numbers")


def draw(data: xarray.Dataset) -> Page:
    """A line."""
    with style.context():
        page = style.figure(2.0, 1.5)
        page.subplots().plot(data["x"], data["y"])
    return page


def claim(statement: str, paper_value, measure, tolerance: Tolerance = EXACT, **more) -> Claim:
    """A claim of the fake paper."""
    return Claim(NAME, "eq. (1)", statement, paper_value, tolerance, measure, **more)


class Paper:
    """The paper, its items, and what was computed. ``trouble`` maps an item to what its computation raises, once set."""

    def __init__(self) -> None:
        self.computed: Counter[str] = Counter()
        self.trouble: dict[str, BaseException] = {}
        self.figures = (
            self.figure("1", (
                claim("the mean", 4.5, lambda c: Measured(c.data()["y"].mean())),
                claim("the mean, as it should be", 5.0, lambda c: Measured(c.data()["y"].mean()),
                      expected=4.5, correction="0 to 9 have the mean 4.5"),
            )),
            self.figure("2", (
                claim("the first is largest | or not", True, lambda c: Measured(c.data()["y"][0] == 0), exact("a truth value")),
                claim("the noise", 0.0, lambda c: Measured(0.2, 0.1, "one seed"), standard_errors(3, "chance: 1 in 400")),
            )),
            Figure(NAME, "theorem3.1", "a theorem", claims=(
                claim("cannot be had", 1.0, lambda c: untestable("it needs a larger machine")),
            )),
        )  # fmt: skip

    def figure(self, name: str, claims: tuple[Claim, ...]) -> Figure:
        """An item whose data are 0 .. 9, and 0 .. 1 when quick."""

        def compute(context: Context) -> xarray.Dataset:
            self.computed[name] += 1
            context.progress.start(1, 0)
            if name in self.trouble:
                raise self.trouble[name]
            context.progress.advance(1)
            x = np.arange(context.pick(2, 10))
            return xarray.Dataset({"y": ("x", x + 0.0), "code": ("x", np.full(x.size, 255, np.uint8))}, {"x": x})

        return Figure(NAME, name, f"figure {name} of the fake", compute, draw, claims)


def install(monkeypatch) -> Paper:
    """The paper in place of all others, for one test."""
    paper = Paper()
    module = types.ModuleType("fake_paper_module")
    module.FIGURES = paper.figures  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    items = tuple(figure.name for figure in paper.figures)
    known = papers.Paper(NAME, "Nobody 2000", "Nothing", module.__name__, items)
    monkeypatch.setattr(papers, "PAPERS", {NAME: known})
    return paper
