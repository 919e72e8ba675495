"""The papers by name, and what of each can be reproduced. Nothing heavy is imported: a paper's module loads on use.

An item of a paper is a figure ("4") or claims that belong to no figure ("theorem3.1"). On the command line it is
PAPER:ITEM; a figure may also be written with its word, as in agarwala:fig4.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainphase.errors import RequestError, TrainphaseError

if TYPE_CHECKING:
    from trainphase.reproduce.runner import Figure


@dataclass(frozen=True)
class Paper:
    """A paper: its short name, citation and title, the module with its ``FIGURES``, and their names in order.

    ``citation`` is written as in ``SystemInfo.paper``, so that ``trainphase list papers`` joins the two. A test holds
    ``items`` against the module.
    """

    name: str
    citation: str
    title: str
    module: str
    items: tuple[str, ...] = ()

    def load(self) -> dict[str, Figure]:
        """The items by name; imports the module. TrainphaseError when it lacks one that is listed."""
        found = {figure.name: figure for figure in importlib.import_module(self.module).FIGURES}
        missing = [name for name in self.items if name not in found]
        if missing:
            raise TrainphaseError(f"{self.module} has no item {missing[0]!r}, which is listed; please report it")
        return found


PAPERS: Mapping[str, Paper] = {
    "chen": Paper(
        "chen",
        "Chen, Balasubramanian, Ghosal, Agrawalla 2023",
        "From stability to chaos: analyzing gradient descent dynamics in quadratic regression",
        "trainphase.reproduce.chen",
        ("map", "orbit", "boundaries", "lyapunov", "orthogonal", "general", "averaging"),
    ),
    "agarwala": Paper(
        "agarwala",
        "Agarwala, Pedregosa, Pennington 2022",
        "Second-order regression models exhibit progressive sharpening to the edge of stability",
        "trainphase.reproduce.agarwala",
        (
            "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
            "theorem3.1", "B.2", "two-step", "normal-form", "B.6", "symmetric", "gradient-flow", "linear-net",
            "theorem4.1", "nonlinearity", "C.1", "A.1", "A.4", "equalities",
            "deviation",
        ),
    ),
    "luo": Paper(
        "luo",
        "Luo, Xu, Ma, Zhang 2021",
        "Phase diagram for two-layer ReLU neural networks at infinite-width limit",
        "trainphase.reproduce.luo",
        (
            "fits", "distance", "scales", "map", "mnist", "condensation", "condensation-mnist", "exponents", "binned",
            "theorem6", "theorem8", "capacity", "table", "theory",
        ),
    ),
    "zhou": Paper(
        "zhou",
        "Zhou, Zhou, Jin, Luo, Zhang, Xu 2022",
        "Empirical phase diagram for three-layer neural networks with infinite width",
        "trainphase.reproduce.zhou",
        ("distance", "diagram", "slopes", "norms", "fits"),
    ),
}  # fmt: skip

_FIGURE_WORD = re.compile(r"^fig(?:ure)?\.?(?=\d)")


def locators(paper: Paper) -> list[str]:
    """The items of a paper as the command line takes them."""
    return [f"{paper.name}:{item}" for item in paper.items]


def select(asked: Sequence[str]) -> list[tuple[Paper, str]]:
    """The items that are asked for, each once, in the order of the request: all items when nothing is asked for.

    Parameters
    ----------
    asked : PAPER or PAPER:ITEM each; "all" is everything.

    Raises RequestError for a name that does not exist, with the nearest one, and when there is nothing to do.
    """
    found: dict[tuple[str, str], tuple[Paper, str]] = {}
    everything = not asked or any(text.lower() == "all" for text in asked)
    for text in list(PAPERS) if everything else asked:
        name, colon, item = text.partition(":")
        paper = _paper(name)
        for each in (_item(paper, item),) if colon else paper.items:
            found[paper.name, each] = (paper, each)
    if not found:
        raise RequestError(f"there is nothing to reproduce of {', '.join(asked or PAPERS)} yet; see trainphase list papers")
    return list(found.values())


def load(chosen: Sequence[tuple[Paper, str]]) -> list[Figure]:
    """The figures of what ``select`` has chosen; imports the papers' modules."""
    modules = {paper.name: paper.load() for paper, _ in chosen}
    return [modules[paper.name][item] for paper, item in chosen]


def _paper(name: str) -> Paper:
    if name.lower() in PAPERS:
        return PAPERS[name.lower()]
    raise RequestError(f"there is no paper {_quoted(name)}; {_hint(name.lower(), list(PAPERS))}")


def _item(paper: Paper, text: str) -> str:
    """The item's name; "fig4" and "Figure 4" are "4"."""
    wanted = _FIGURE_WORD.sub("", "".join(text.lower().split()))
    names = {name.lower(): name for name in paper.items}
    if wanted in names:
        return names[wanted]
    if not names:
        raise RequestError(f"{paper.name}:{text} does not exist: nothing of {paper.name} can be reproduced yet")
    raise RequestError(f"{paper.name} has no figure {_quoted(text)}; {_hint(wanted, list(names.values()))}")


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    listed = "it is one of " + ", ".join(known)
    return f"the nearest is {near[0]}; {listed}" if near and len(known) > 1 else listed


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
