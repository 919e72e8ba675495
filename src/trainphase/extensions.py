"""Extensions: what other packages bring, by the entry points they declare. Names are read from metadata; objects load on use.

A package's pyproject.toml names what it brings, under the groups ``trainphase.systems``, ``trainphase.observables`` and
``trainphase.classifiers``:

    [project.entry-points."trainphase.systems"]
    logistic = "my_package:LOGISTIC"
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from trainphase.errors import RequestError

SYSTEMS, OBSERVABLES, CLASSIFIERS = "trainphase.systems", "trainphase.observables", "trainphase.classifiers"
# How a sentence calls what a group brings.
NOUNS = {SYSTEMS: "system", OBSERVABLES: "observable", CLASSIFIERS: "vocabulary"}

Loaded = TypeVar("Loaded")


@lru_cache(maxsize=16)
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group on a search path; to read the metadata of all packages takes milliseconds."""
    # The same package may be found twice, in its folder and where it is installed.
    known = {(p.name, p.value, p.dist.name if p.dist else ""): p for p in entry_points(group=group)}
    return tuple(known[key] for key in sorted(known))


def _all(group: str) -> tuple[EntryPoint, ...]:
    return _points(group, tuple(sys.path))


def names(group: str) -> tuple[str, ...]:
    """The names that other packages bring, sorted; nothing of theirs is imported."""
    return tuple(dict.fromkeys(point.name for point in _all(group)))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]


def package(group: str, name: str) -> str:
    """The package that brings the name."""
    return ", ".join(dict.fromkeys(_package(point) for point in _all(group) if point.name == name))


def packages() -> dict[str, str]:
    """Package -> version, of all that bring something."""
    points = [p for group in NOUNS for p in _all(group) if p.dist is not None]
    return {p.dist.name: p.dist.version for p in points if p.dist is not None}


def check_name(group: str, name: str, own: bool) -> None:
    """RequestError when a name is claimed twice: by two packages, or by one although it is built in (``own``)."""
    claims = [_package(point) for point in _all(group) if point.name == name]
    who = (["trainphase"] if own else []) + claims
    if len(who) > 1:
        raise RequestError(
            f"the {NOUNS[group]} {name!r} is brought by {' and '.join(who)}; rename it in {claims[-1]}, or uninstall that"
        )


def load(group: str, name: str, kind: type[Loaded]) -> Loaded | None:
    """What a package brings under that name, None where there is none of the name.

    Raises RequestError where two packages claim the name, the package cannot be imported, or the object is of another kind.
    """
    check_name(group, name, own=False)
    point = next((p for p in _all(group) if p.name == name), None)
    if point is None:
        return None
    who = f"the {NOUNS[group]} {name!r} of the package {_package(point)}"
    try:
        found: Any = point.load()
    except Exception as why:
        told = " ".join(str(why).split())[:200]
        raise RequestError(f"{who} cannot be loaded ({type(why).__name__}: {told}); mend the package, or uninstall it") from why
    if not isinstance(found, kind):
        wanted = f"trainphase.{kind.__module__.split('.')[1]}.{kind.__name__}"
        raise RequestError(f"{who} is {point.value}, of type {type(found).__name__}; make it a {wanted}")
    return found
