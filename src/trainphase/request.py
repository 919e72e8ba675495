"""What is asked of the verbs: the system meant, its parameters, axes and horizon, each refused in one sentence when wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainphase import catalog
from trainphase._arrays import DTYPES
from trainphase.axes import Axis
from trainphase.errors import RequestError
from trainphase.phase import third_party

# Parameters that are lists of numbers.
LISTS = ("theta", "eigenvalues", "width", "seed")
# Runs near the edge settle at a rate of |2 - curvature| / 2 per step: this decides curvatures up to 1.997.
EDGE_STEPS = 16384


def factory(system: Any) -> tuple[str, Callable[..., Any]]:
    """Name and factory of a system named by a string, a class, a factory or an instance."""
    if isinstance(system, str):
        info = catalog.system(system)
        return info.name, info.load()
    if callable(system):
        for info in catalog.systems().values():
            if info.factory.endswith(f":{getattr(system, '__name__', '')}"):
                return info.name, system
        return getattr(system, "__name__", type(system).__name__), system
    name, _ = factory(type(system))
    return name, functools.partial(replaced, system)


def replaced(system: Any, **params: Any) -> Any:
    """The instance with some fields set: how an instance serves as its own factory."""
    import equinox as eqx

    for key in params:
        if not hasattr(system, key):
            raise RequestError(f"{type(system).__name__} has no parameter {key!r}; its fields are its parameters")
    names = list(params)
    if not names:
        return system
    return eqx.tree_at(lambda s: [getattr(s, n) for n in names], system, [params[n] for n in names], is_leaf=lambda x: x is None)


def values(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, refused when one is neither a number, a word, an axis nor (as a range) a pair of numbers."""
    import numbers

    import numpy as np

    # A list of numbers is written as text on the command line, where a comma separates the values of an axis.
    listed = {k for k, v in params.items() if k in LISTS and not isinstance(v, str) and np.ndim(v) == 1}
    params = {k: ",".join(repr(float(x)) for x in np.asarray(v)) if k in listed else v for k, v in params.items()}
    for key, value in params.items():
        pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, numbers.Real) for v in value)
        fine = value is None or isinstance(value, numbers.Real | str | Axis | Path) or pair or key == "search"
        if not fine and getattr(value, "shape", None) != ():
            raise RequestError(f"{key} = {value!r} is no value; give a number, or an axis such as linspace(0, 2, 256)")
    return dict(params)


def build(factory: Callable[..., Any], name: str, params: Mapping[str, Any]) -> Any:
    from trainphase.system import Flow, Map

    info = catalog.systems().get(name)
    for key, value in params.items():
        known = next((p for p in info.params if p.name == key), None) if info is not None else None
        if known is not None and known.axis and isinstance(value, str):
            raise RequestError(f"{key} = {value!r} is no number; {key} must be {known.domain()}")
    try:
        system = factory(**params)
    except TypeError as why:
        raise RequestError(f"{name} cannot be built from {', '.join(params) or 'nothing'}: {why}") from why
    if not isinstance(system, Map | Flow):
        kind = type(system).__name__
        raise RequestError(f"{name} is a {kind} and neither trainphase.Map nor trainphase.Flow; subclass one of them")
    return system


def words(system: Any, name: str, vocabulary: str | None) -> str:
    """The vocabulary asked for, or the first of the system's own."""
    if vocabulary is None:
        return system.vocabularies[0]
    # What another package reads off the survey of a run is offered by every map that has one.
    theirs = third_party() if "training" in system.vocabularies else ()
    if vocabulary not in (*system.vocabularies, *theirs):
        offered = ", ".join((*system.vocabularies, *theirs))
        raise RequestError(f"vocabulary = {vocabulary!r} does not describe {name}; give {offered}, or leave it out")
    return vocabulary


def horizon(words: str, steps: int | None, usual: int) -> int:
    """The horizon asked for, or what is usual; of the edge vocabulary more, since runs end when they settle."""
    if words == "regime" and steps is not None:
        raise RequestError(f"steps = {steps} is not possible: nets are trained to a target loss; leave steps out")
    if steps is not None:
        return steps
    return max(usual, EDGE_STEPS) if words in ("edge", "regime") else usual


def check_run(steps: int | None, starts: int, dtype: str) -> None:
    if steps is not None and steps < 1:
        raise RequestError(f"steps = {steps} is no horizon; give at least 1, for example 8192")
    if starts < 1:
        raise RequestError(f"starts = {starts} is no ensemble; give at least 1, for example 4")
    if dtype not in DTYPES:
        raise RequestError(f"dtype = {dtype!r} is unknown; give {' or '.join(DTYPES)}")


def check_refinement(refine: bool, tol: float | None, audit: int | None) -> None:
    given = "tol" if tol is not None else "audit" if audit is not None else None
    if given and not refine:
        raise RequestError(f"{given} belongs to a refined diagram; give refine too, or leave {given} out")
    if tol is not None and not 0 < tol < 1:
        raise RequestError(f"tol = {tol:g} is no width in cells; give a number between 0 and 1, for example 1e-3")
    if audit is not None and audit < 0:
        raise RequestError(f"audit = {audit} is no number of points; give 0 for no audit, or for example 600")


def axis(system: Any, key: str, axis: Axis) -> Axis:
    units = "1"
    if isinstance(system, str):
        units = catalog.system(system).param(key).units
    return axis.named(key, units)


def shown(system: Any, params: Mapping[str, Any], built: Any) -> dict[str, Any]:
    """The parameters as results state them: for a system of the catalogue with the defaults that were not given, without
    those that the system as it was ``built`` makes no use of.
    """
    given = {k: v for k, v in params.items() if k not in ("data_dir", "search")}
    if not isinstance(system, str):
        return given
    defaults = {p.name: p.default for p in catalog.system(system).params if p.default is not None}
    return {k: v for k, v in (defaults | given).items() if k not in getattr(built, "unused", ())}


def fields(system: Any) -> dict[str, Any]:
    """The parameters of an instance: its scalar fields, and a checksum of everything else that decides its numbers."""
    import dataclasses

    import jax
    import numpy as np

    from trainphase._arrays import checksum

    named = {f.name: getattr(system, f.name) for f in dataclasses.fields(system)}
    shown: dict[str, Any] = {k: v for k, v in named.items() if isinstance(v, bool | str)}
    large = []
    for key, value in named.items():
        if hasattr(value, "checksum"):
            shown[key] = value.checksum()
        elif value is not None and key not in shown:
            leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(value) if hasattr(leaf, "__array__") or np.isscalar(leaf)]
            if len(leaves) == 1 and leaves[0].ndim == 0 and leaves[0].dtype.kind in "fiu":
                shown[key] = float(leaves[0])
            else:
                large += leaves
    return shown | ({"arrays": checksum(*large)} if large else {})
