"""What there is, by name: systems with their parameters, observables, papers. No JAX here: factories load on use.

A test holds each entry against the signature of its factory, and each observable against what a run reports.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from trainphase import extensions
from trainphase.catalog.built_in import DATA, SYSTEMS
from trainphase.catalog.entry import Param, SystemInfo
from trainphase.catalog.observables import OBSERVABLES
from trainphase.errors import RequestError

__all__ = ["DATA", "OBSERVABLES", "Param", "SystemInfo", "measured", "observable", "system", "systems", "third_party"]


def systems() -> dict[str, SystemInfo]:
    """The built-in systems."""
    return {info.name: info for info in SYSTEMS}


def observable(name: str) -> Any:
    """The Observable of another package under that name; RequestError when there is none."""
    from trainphase.observable import named  # which loads JAX

    extensions.check_name(extensions.OBSERVABLES, name, own=name in OBSERVABLES)
    if name in OBSERVABLES:
        raise RequestError(f"the observable {name!r} is built in and recorded wherever the system has it; leave it out")
    return named(name)


def measured(reference: Any, asked: Sequence[Any]) -> tuple[Any, ...]:
    """The observables asked for, by name or as they are, and those of other packages that the system's entry names."""
    offered = extensions.names(extensions.OBSERVABLES)
    usual = [n for n in system(reference).observables if n in offered] if isinstance(reference, str) else []
    return tuple(observable(o) if isinstance(o, str) else o for o in dict.fromkeys((*usual, *asked)))


def third_party() -> tuple[str, ...]:
    """Names under the entry point group; nothing of theirs is imported."""
    return extensions.names(extensions.SYSTEMS)


def system(name: str) -> SystemInfo:
    """The system of that name; RequestError lists the names otherwise."""
    known = systems()
    extensions.check_name(extensions.SYSTEMS, name, own=name in known)
    info = known.get(name) or extensions.load(extensions.SYSTEMS, name, SystemInfo)
    if info is None:
        names = [*known, *third_party()]
        near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
        hint = f"the nearest is {near[0]}, of" if near else "give one of"
        raise RequestError(f"there is no system {name!r}; {hint} {', '.join(names)}")
    if info.name != name:
        raise RequestError(f"the system {name!r} of another package calls itself {info.name!r}; give it one name")
    return info
