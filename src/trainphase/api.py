"""The Python face: verbs that take a system by name, class or instance. JAX loads on the first call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainphase import catalog, request
from trainphase._arrays import for_netcdf3
from trainphase.axes import Axis
from trainphase.errors import RequestError

if TYPE_CHECKING:
    from trainphase.diagrams import Diagram
    from trainphase.engine.sweep import Progress
    from trainphase.observable import Observable
    from trainphase.tracing import CurveResult
    from trainphase.trajectory import Trajectory
    from trainphase.verbs import BoundaryResult

# Of a search for boundaries: points of the scan, width of a result (of networks a share of the range) and horizon. A run of
# a small network takes a second at this horizon, which is that of a diagram, and its phase is a matter of a percent of lr.
MOST_SCAN = 2**20
SCAN, SCAN_REGIME, SCAN_NETWORK = (256, 1e-10, 131072), (9, 0.01, None), (33, 1e-3, 8192)


def run(
    system: Any, *, steps: int | None = None, starts: int = 8, dtype: str = "float64", vocabulary: str | None = None,
    observables: Sequence[Observable | str] | Observable | str = (), progress: Progress | None = None, command: str = "",
    flags: str = "", **params: Any,
) -> Trajectory:  # fmt: skip
    """Run a system once and name its phase.

    Parameters
    ----------
    system : a name of ``trainphase list systems``, an instance, or a class or factory that takes ``params``.
    steps : horizon in steps (the survey that decides the phase rounds it up to a multiple of 512, or of 400 for the edge
        vocabulary); default 4096, for the edge vocabulary 16384. For a flow, units of time.
    starts : starts of the ensemble, for a map whose phase is over all starts.
    vocabulary : training or edge; default: the first that the system offers.
    dtype : float64 or float32.
    observables : more to record beside the standard ones: an Observable each, or the name of one that another package brings.
    progress : told of each net of a ladder (regime vocabulary); other runs are one piece of work.
    command, flags : for the provenance: the command line, and the compiler's flags in force.
    params : parameters of the system, numbers.

    Returns a Trajectory. Raises RequestError for a parameter that does not exist or is out of range.
    """
    from trainphase import verbs

    request.check_run(steps, starts, dtype)
    params = request.values(params)
    ranged = [k for k, v in params.items() if isinstance(v, Axis | tuple) and k != "search"]
    if ranged:
        raise RequestError(f"{ranged[0]} is a range, and a run has one value of it; give a number, or use diagram")
    name, factory = request.factory(system)
    words = request.words(built := request.build(factory, name, params), name, vocabulary)
    request.contract(built, dtype, words)
    chosen = tuple(observables) if isinstance(observables, Sequence) and not isinstance(observables, str) else (observables,)
    return verbs.run(
        name, built, request.shown(system, params, built), steps=request.horizon(words, steps, 4096), starts=starts, dtype=dtype,
        vocabulary=words, observables=catalog.measured(system, chosen), progress=progress, command=command, flags=flags,
    )  # fmt: skip


def diagram(
    system: Any, *, steps: int | None = None, starts: int = 4, seeds: int = 1, store: str | Path | None = None,
    dtype: str = "float64", vocabulary: str | None = None, executor: Executor | None = None, progress: Progress | None = None,
    refine: bool = False, tol: float | None = None, audit: int | None = None, part: tuple[int, int] | None = None,
    observables: tuple[str, ...] = (), command: str = "", flags: str = "", **params: Any,
) -> Diagram:  # fmt: skip
    """A phase diagram over the parameters that are given as axes.

    Parameters
    ----------
    system : as for ``run``.
    params : numbers, or axes made by ``linspace``, ``logspace`` or ``values``; one or two axes.
    starts, dtype, vocabulary, command, flags : as for ``run``; the starts are those at each point.
    steps : horizon; default 8192, for the edge vocabulary 16384.
    seeds : with more than one, the diagram gains an axis ``seed`` = 0 .. seeds - 1. Other seeds are given as an axis
        themselves, ``seed=values([7, 8, 9])``, beside one or two others.
    store : a directory, or a URL that fsspec knows, to keep the tiles in; the same call continues an unfinished one and
        reuses a finished one.
    part : (k, n), to compute only part k of n, 1 <= k <= n, beside the calls for the other parts; then the same call without
        it puts the diagram together and computes what is missing.
    observables : names of those of other packages that are kept at every point: the value at the end of the run.
    executor : any ``concurrent.futures.Executor``; default: this process, with JAX's own threads.
    progress : told of each tile that is done.
    refine : compute points only where the phase changes, down to the resolution of the axes, and infer the others; a random
        audit of ``audit`` inferred points (default 600) says how often they are wrong, label by label, and is refined on.
    tol : with ``refine``, polish the boundaries of a plane by bisection to this width, in cells of the lattice.

    Returns a Diagram. Raises RequestError for axes and parameters that do not fit the system, StoreError for a store of
    another diagram.
    """
    from trainphase import diagrams as module
    from trainphase import overlay, verbs
    from trainphase.axes import SEED, ensemble
    from trainphase.axes import Axis as AxisType
    from trainphase.records import Recipe

    request.check_run(steps, starts, dtype)
    request.check_refinement(refine, tol, audit)
    if part is not None and (store is None or not 1 <= part[0] <= part[1]):
        raise RequestError(f"part = {part} is not possible: give (k, n) with 1 <= k <= n, and a store that all parts share")
    if part is not None and refine:
        raise RequestError("part and refine exclude each other: what is refined next depends on all parts; leave one of them out")
    if seeds < 1:
        raise RequestError(f"seeds = {seeds} is no ensemble; give at least 1")
    params = request.values(params)
    name, factory = request.factory(system)
    axes = [request.axis(system, key, v) for key, v in params.items() if isinstance(v, AxisType)]
    fixed = {k: v for k, v in params.items() if not isinstance(v, AxisType)}
    request.drawn(axes, fixed)
    if seeds > 1:
        if SEED in params:
            raise RequestError("seed is given twice; leave out either seeds or seed")
        axes.append(ensemble(seeds))
    if refine or len(axes) > 2:
        axes.sort(key=lambda axis: axis.name == SEED)  # an ensemble is the last axis
    points = 1
    for axis in axes:
        points *= len(axis.values)
    sample = request.build(factory, name, {**fixed, **{a.name: module.native(a.values[-1]) for a in axes}})
    words = request.words(sample, name, vocabulary)
    request.contract(sample, dtype, words)
    samples = 0 if refine else module.samples_for(points, starts)
    observe = request.observed(observables)
    recipe = Recipe(factory, fixed, request.horizon(words, steps, 8192), starts, dtype, samples, words, observe)
    shown = {k: v for k, v in request.shown(system, fixed, sample).items() if k not in {a.name for a in axes}}
    if not isinstance(system, str) and not callable(system):
        shown = request.fields(system) | shown
    shown |= request.code_of(system, sample)
    task = (name, recipe, axes, overlay.lines(sample, axes), verbs.provenance(sample, dtype, command, flags), store)
    if not refine:
        return module.compute(*task, executor, progress, shown, part=part)
    from trainphase import refined

    options = refined.Options(tol, refined.AUDIT if audit is None else audit)
    return refined.compute(*task, executor, progress, shown, options=options)


def boundary(
    system: Any, *, tol: float | None = None, points: int | None = None, steps: int | None = None, starts: int = 4,
    of: str = "phase", dtype: str = "float64", vocabulary: str | None = None, near: tuple[float, float] | None = None,
    between: tuple[str, str] | None = None, report: Callable[[int, int], None] | None = None, **params: Any,
) -> BoundaryResult | CurveResult:  # fmt: skip
    """The values of one parameter at which the phase changes, or one boundary in the plane of two.

    Parameters
    ----------
    system, starts, dtype, vocabulary : as for ``diagram``.
    params : one or two of them an interval ``(lo, hi)`` (or an axis), the others numbers.
    tol : target width of each crossing, in units of the parameter; default 1e-10, for the regime vocabulary 0.01, for the
        training of a network a thousandth of the range.
    points : points of the scan that finds the crossings; what lies between two of them is not seen. Default 256, for the
        regime vocabulary, where each is a ladder of nets, 9, for the training of a network 33.
    steps : horizon; default 131072, for the training of a network as for ``diagram``.
    of : "phase", or "period" for the points where the period of the attractor changes.
    near, between : of two intervals: a point near the boundary to follow, and the two phases. Without ``near`` a scan of
        ``points`` x ``points`` (32) finds the longest boundary. ``steps`` is then 16384 unless given.
    report : told after each value, or batch of values, how many have been computed and how many there will be, by estimate.

    Returns a BoundaryResult: crossings with their widths and the theory's value, and periodic windows; of two intervals a
    CurveResult: the points of the curve in order, followed to the edge, to a triple point or around.
    """
    from trainphase import verbs
    from trainphase.axes import check_tolerance
    from trainphase.records import Recipe

    request.check_run(steps, starts, dtype)
    if of not in ("phase", "period"):
        raise RequestError(f"of = {of!r} is unknown; give phase or period")
    if tol is not None and not tol > 0:
        raise RequestError(f"tol = {tol} is no width; give a number above 0, for example 1e-9")
    if points is not None and not (isinstance(points, Integral) and 2 <= points <= MOST_SCAN):
        raise RequestError(f"points = {points!r} make no scan; give a whole number from 2 to {MOST_SCAN}, for example 256")
    params = request.values(params)
    name, factory = request.factory(system)
    ranges = {k: v for k, v in params.items() if isinstance(v, Axis | tuple) and k != "search"}
    if len(ranges) == 2:
        return _curve(name, factory, params, of=of, tol=tol, points=points, steps=steps, starts=starts, dtype=dtype,
                      vocabulary=vocabulary, near=near, between=between, report=report)  # fmt: skip
    if len(ranges) != 1:
        raise RequestError(f"a boundary is searched along one parameter or two, not {len(ranges)}; give for example a=(0.5, 2.2)")
    if near is not None or between is not None:
        raise RequestError("near and between choose a boundary in the plane of two ranges; leave them out, or give two ranges")
    (key, value), = ranges.items()
    lo, hi = (value.lo, value.hi) if isinstance(value, Axis) else value
    fixed = {k: v for k, v in params.items() if k not in ranges}
    sample = request.build(factory, name, {**fixed, key: float(hi)})
    words, network = request.words(sample, name, vocabulary), getattr(sample, "costly", False)
    request.contract(sample, dtype, words)
    usual = SCAN_REGIME if words == "regime" else SCAN_NETWORK if network else SCAN
    points, tol = points or usual[0], tol or usual[1] * ((hi - lo) if network else 1.0)
    # A range that is empty is refused first.
    axis = Axis(key, float(lo), float(hi), value.n if isinstance(value, Axis) else points)
    check_tolerance(f"tol = {tol:g}", tol, lo, hi)
    if of == "period" and words != "training":
        raise RequestError(f"of = 'period' needs the training vocabulary, and {name} is read in {words}; leave of out")
    horizon = request.horizon(words, steps, usual[2] or SCAN[2])
    recipe = Recipe(factory, fixed, horizon, starts, dtype, samples=0, vocabulary=words)
    return verbs.boundary(name, recipe, axis, tol=tol, points=axis.n, of=of, report=report)


def _curve(
    name: str, factory: Callable[..., Any], params: Mapping[str, Any], *, of: str, tol: float | None, points: int | None,
    steps: int | None, starts: int, dtype: str, vocabulary: str | None, near: tuple[float, float] | None,
    between: tuple[str, str] | None, report: Callable[[int, int], None] | None,
) -> CurveResult:  # fmt: skip
    """A boundary in the plane of the two parameters that have ranges."""
    from trainphase import tracing
    from trainphase.records import Recipe

    if of != "phase":
        raise RequestError(f"of = {of!r} is searched along one parameter; give one range, or leave of out")
    axes = []
    for key, value in params.items():
        if isinstance(value, Axis | tuple) and key != "search":
            lo, hi = (value.lo, value.hi) if isinstance(value, Axis) else value
            log = isinstance(value, Axis) and value.scale == "log"
            axes.append(Axis(key, float(lo), float(hi), 2, "log" if log else "linear"))
    fixed = {k: v for k, v in params.items() if k not in {a.name for a in axes}}
    sample = request.build(factory, name, {**fixed, **{a.name: float(a.hi) for a in axes}})
    words = request.words(sample, name, vocabulary)
    request.contract(sample, dtype, words)
    recipe = Recipe(factory, fixed, request.horizon(words, steps, 16384), starts, dtype, samples=0, vocabulary=words)
    return tracing.boundary(
        name, recipe, (axes[0], axes[1]), tol=tol or 1e-10, near=near, between=between, scan=points or tracing.SCAN,
        report=report,
    )  # fmt: skip


def save(dataset: Any, path: str | Path) -> None:
    """Write a dataset to ``path``: NetCDF for ``.nc``, Zarr for ``.zarr``. RequestError when it cannot be written."""
    import os
    import shutil

    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    try:
        if target.suffix == ".nc":
            for_netcdf3(dataset).to_netcdf(partial, engine="scipy", format="NETCDF3_64BIT")
            os.replace(partial, target)
        elif target.suffix == ".zarr":
            dataset.to_zarr(partial, mode="w", consolidated=False)
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(partial, target)
        else:
            raise RequestError(f"{target.name} has no known ending; give a name that ends in .nc or .zarr")
    except OSError as why:
        raise RequestError(f"{target} cannot be written ({why.strerror or why}); give another place") from why


