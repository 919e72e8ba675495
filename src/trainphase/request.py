"""What is asked of the verbs: the system meant, its parameters, axes and horizon, each refused in one sentence when wrong."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from trainphase import catalog
from trainphase._arrays import DTYPES
from trainphase.axes import SEED, Axis
from trainphase.errors import RequestError
from trainphase.phase import third_party

# Parameters that are lists of numbers.
LISTS = ("theta", "eigenvalues", "width", "seed")
# Runs near the edge settle at a rate of |2 - curvature| / 2 per step: this decides curvatures up to 1.997.
EDGE_STEPS = 16384
# Steps are counted in 32 bits.
MOST = 2**31 - 1


def factory(system: Any) -> tuple[str, Callable[..., Any]]:
    """Name and factory of a system named by a string, a class, a factory or an instance."""
    if isinstance(system, str):
        info = catalog.system(system)
        return info.name, info.load()
    if callable(system):
        own = getattr(system, "__name__", "")
        # A class of the user's may bear the name of one of ours.
        for info in catalog.systems().values() if _ours(system) else ():
            if info.factory.endswith(f":{own}"):
                return info.name, system
        return own or type(system).__name__, system
    if not hasattr(type(system), "__dataclass_fields__"):
        raise RequestError(f"{system!r:.80} is no system; give a name (trainphase list systems), a Map or a Flow")
    name, _ = factory(type(system))
    return name, functools.partial(replaced, system)


def _ours(made: Any) -> bool:
    """True for a class or function of this package."""
    return str(getattr(made, "__module__", "")).partition(".")[0] == "trainphase"


def replaced(system: Any, **params: Any) -> Any:
    """The instance with some fields set: how an instance serves as its own factory."""
    import equinox as eqx

    _check_known(type(system).__name__, [f.name for f in dataclasses.fields(system)], params)
    names = list(params)
    if not names:
        return system
    return eqx.tree_at(lambda s: [getattr(s, n) for n in names], system, [params[n] for n in names], is_leaf=lambda x: x is None)


def _check_known(name: str, known: Sequence[str], params: Mapping[str, Any]) -> None:
    """RequestError, with the nearest name, for a parameter that is not among the known ones."""
    for key in params:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"give {near[0]}, the nearest" if near else "give one of those"
            raise RequestError(f"{name} has no parameter {key!r}, it has {', '.join(known) or 'none'}; {hint}")


def _check_names(factory: Callable[..., Any], name: str, params: Mapping[str, Any]) -> None:
    """RequestError where the factory takes no such parameter, or needs one that is not given."""
    try:
        taken = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # not to be had of every callable
        return
    if any(p.kind in (p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in taken):
        return
    _check_known(name, [p.name for p in taken], params)
    missing = [p.name for p in taken if p.default is p.empty and p.name not in params and p.kind is not p.VAR_POSITIONAL]
    if missing:
        raise RequestError(f"{name} needs a value of {', '.join(missing)}; give for example {missing[0]}=1.0")


def values(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, refused when one is neither a number, a word, an axis nor (as a range) a pair of numbers."""

    # A list of numbers is written as text on the command line, where a comma separates the values of an axis.
    listed = {k for k, v in params.items() if k in LISTS and not isinstance(v, str) and np.ndim(v) == 1}
    params = {k: ",".join(repr(float(x)) for x in np.asarray(v)) if k in listed else v for k, v in params.items()}
    for key, value in params.items():
        pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, numbers.Real) for v in value)
        fine = value is None or isinstance(value, numbers.Real | str | Axis | Path) or pair or key == "search"
        if not fine and getattr(value, "shape", None) != ():
            raise RequestError(f"{key} = {value!r} is no value; give a number, or an axis such as linspace(0, 2, 256)")
        if isinstance(value, numbers.Real) and math.isnan(value):
            raise RequestError(f"{key} = {value} is no number; give one")
    return dict(params)


def build(factory: Callable[..., Any], name: str, params: Mapping[str, Any]) -> Any:
    from trainphase.system import Flow, Map

    info = catalog.systems().get(name)
    for key, value in params.items():
        known = next((p for p in info.params if p.name == key), None) if info is not None else None
        if known is not None and known.axis and isinstance(value, str):
            raise RequestError(f"{key} = {value!r} is no number; {key} must be {known.domain()}")
    _check_names(factory, name, params)
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


def contract(system: Any, dtype: str, words: str) -> None:
    """Raise RequestError where a system of the user's breaks what every verb relies on; nothing is computed.

    ``init`` gives floats, ``step`` (of a Flow ``velocity``) keeps their structure, shapes and types, loss and escape are single
    numbers, and what is read in the edge vocabulary has a curvature. What the user's own code raises beside that comes
    through. ``trainphase.testing.check_system`` asks more.
    """
    import jax

    from trainphase._arrays import as_leaves, precision
    from trainphase.system import Map

    what = type(system).__name__
    if _ours(type(system)):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(system):
        if isinstance(leaf, str):
            where = jax.tree_util.keystr(path)
            raise RequestError(f"{what}{where} = {leaf!r:.80} is no number; mark the field equinox.field(static=True)")
    if words == "edge" and not hasattr(system, "curvature"):
        remedy = "write curvature(state), step size times the top kernel eigenvalue (of a Flow, that of step size 1)"
        raise RequestError(f"{what} has no curvature, which the edge vocabulary reads; {remedy}")
    with precision(dtype):
        ready = as_leaves(system, dtype)

        def told(name: str, *given: Any) -> Any:
            try:
                return jax.eval_shape(lambda s, *x: getattr(s, name)(*x), ready, *given)
            except NotImplementedError as why:
                raise RequestError(str(why)) from why
            except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as why:
                remedy = "write it with jax.numpy, branches with jnp.where or jax.lax.cond, and sizes as static fields"
                raise RequestError(f"{what}.{name} needs the value of a number while it is compiled; {remedy}") from why

        state = told("init")
        verb = "step" if isinstance(system, Map) else "velocity"
        moved = told(verb, state) if verb == "step" else told(verb, 0.0, state)
        one, two = ({jax.tree_util.keystr(k) or "the state": f"{getattr(x, 'dtype', x)} {getattr(x, 'shape', '')}"
                     for k, x in jax.tree_util.tree_leaves_with_path(tree)} for tree in (state, moved))  # fmt: skip
        odd = next((k for k in {**one, **two} if "float" not in one.get(k, "") or one.get(k) != two.get(k)), None)
        if odd is not None or not one:
            here, there = (side.get(odd or "", "nothing") for side in (one, two))
            remedy = "return floats of one structure, shape and type from both"
            raise RequestError(f"{what}: {odd or 'the state'} is {here} in init() and {there} after {verb}; {remedy}")
        for name in ("residual", "loss", "escaped"):
            got = told(name, state)
            if name == "residual" and not hasattr(got, "shape"):
                raise RequestError(f"{what}.residual(state) is {got!r:.80}; return an array")
            if name != "residual" and getattr(got, "shape", None) != ():
                raise RequestError(f"{what}.{name}(state) has shape {getattr(got, 'shape', got)}; return a single number")


def check_run(steps: int | None, starts: int, dtype: str) -> None:
    if steps is not None and not _whole(steps):
        raise RequestError(f"steps = {steps!r} is no horizon; give a whole number from 1 to {MOST}, for example 8192")
    if not _whole(starts):
        raise RequestError(f"starts = {starts!r} is no ensemble; give a whole number from 1 on, for example 4")
    if dtype not in DTYPES:
        raise RequestError(f"dtype = {dtype!r} is unknown; give {' or '.join(DTYPES)}")


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and 1 <= int(value) <= MOST


def check_refinement(refine: bool, tol: float | None, audit: int | None) -> None:
    given = "tol" if tol is not None else "audit" if audit is not None else None
    if given and not refine:
        raise RequestError(f"{given} belongs to a refined diagram; give refine too, or leave {given} out")
    if tol is not None and not 0 < tol < 1:
        raise RequestError(f"tol = {tol:g} is no width in cells; give a number between 0 and 1, for example 1e-3")
    if audit is not None and audit < 0:
        raise RequestError(f"audit = {audit} is no number of points; give 0 for no audit, or for example 600")


def drawn(axes: Sequence[Axis], fixed: Mapping[str, Any]) -> list[Axis]:
    """The axes of a figure, one or two: those without the seeds, unless there is nothing else."""
    found = [a for a in axes if a.name != SEED] or list(axes)
    ends = next((k for k, v in fixed.items() if isinstance(v, tuple)), None)
    if not found and ends is not None:
        lo, hi = fixed[ends]
        told = f"give {ends}=linspace({lo:g}, {hi:g}, 256)"
        raise RequestError(f"{ends} = {fixed[ends]} are two ends, and a diagram needs the points between; {told}")
    if not 1 <= len(found) <= 2:
        told = "give one or two such as a=linspace(0, 2.2, 256)"
        raise RequestError(f"a diagram has one or two axes besides seeds, not {len(found)}; {told}")
    return found


def observed(observables: Sequence[str] | str) -> tuple[str, ...]:
    """The names of observables that a diagram keeps, each once; they are those of installed packages."""
    asked = (observables,) if isinstance(observables, str) else observables
    for one in asked:
        if not isinstance(cast(object, one), str):
            told = getattr(one, "name", one)
            raise RequestError(f"a diagram keeps observables of installed packages, by name, and {told} is none; give it to run")
    return tuple(catalog.observable(one).name for one in dict.fromkeys(asked))


def code_of(system: Any, sample: Any) -> dict[str, str]:
    """What is stored of the user's own code, which decides the numbers too: of a file of theirs, the file's checksum."""
    if isinstance(system, str):
        return {}
    file = getattr(system, "sha256", None)
    if file is not None:
        return {"file_sha256": file}
    found = code(sample)
    return {} if found is None else {"code_sha256": found}


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
    import jax

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


def code(system: Any) -> str | None:
    """SHA-256 of what a system of the user's computes: its operations, their constants, its arrays; None for one of ours.

    The name of a class or function does not say what it does: without this a store would serve the numbers of one model
    for those of another, or of the same one before it was edited. The operations are those that JAX traces, so that
    comments, names and where the code stands make no difference.
    """
    import hashlib

    import equinox as eqx
    import jax

    from trainphase._arrays import as_leaves, checksum, precision
    from trainphase.system import Map

    problem = getattr(system, "problem", None)
    if _ours(type(system)) and (problem is None or _ours(getattr(problem.fn, "fn", problem.fn))):
        return None
    with precision("float64"):
        arrays, rest = eqx.partition(as_leaves(system, "float64"), eqx.is_array)

        def everything(leaves: Any) -> Any:
            whole = eqx.combine(leaves, rest)
            state = whole.init()
            move = whole.step(state) if isinstance(whole, Map) else whole.velocity(0.0, state)
            bounds = whole.interval() if isinstance(whole, Map) else None
            curvature = getattr(whole, "curvature", lambda _: None)
            return state, move, bounds, whole.residual(state), whole.loss(state), whole.escaped(state), curvature(state)

        traced = jax.make_jaxpr(everything)(arrays)
    # Where a function lies in memory is part of how it is printed.
    text = re.sub(r"0x[0-9a-f]+", "", str(traced))
    held = [np.asarray(x) for x in (*_constants(traced), *jax.tree.leaves(arrays))]
    return hashlib.sha256(f"{text} {checksum(*held)}".encode()).hexdigest()


def _constants(traced: Any) -> Iterator[Any]:
    """The arrays that traced operations hold, those of inner functions too."""
    yield from getattr(traced, "consts", ())
    for equation in getattr(traced, "eqns", ()):
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(inner, "eqns"):
                    yield from _constants(inner)
