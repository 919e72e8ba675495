"""March: many runs of a Map, each until it settles, escapes or reaches the horizon, with what the edge vocabulary reads.

A fixed number of lanes is advanced by one compiled program. When lanes have finished, their results are put aside and
waiting runs take their places, so that the width of the program stays full while runs of very different lengths pass
through it. What a run returns does not depend on the lane it was in, on the runs beside it or on how often the host
looked, but for rounding (batches of different widths sum in different orders, which chaos amplifies): a lane that has
finished keeps its state.

The horizon is divided into sixteen windows. In each, the largest step ("motion"), the mean and the largest curvature, and
the mean loss, are kept: enough to tell a run that slowly settles from one that goes on for ever, at half the horizon and at
the whole.

A run has settled when its steps have become negligible beside its largest one and do not grow. Where the loss does not
vanish (more data than parameters) it may rest, for a while, at a stationary point that is not stable; the sharpness there
tells, and is computed for such runs.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.survey import FLOOR, RISE, batch_axes, over_lanes
from trainphase.system import Map

WINDOWS = 16
STEPS_PER_LOOK = 5  # odd, so that looks alternate between even and odd steps
LOOKS = 5
BLOCK = STEPS_PER_LOOK * LOOKS
RUNNING, SETTLED, ESCAPED, HORIZON = range(4)
# The host is visited when an eighth of the lanes have finished and others wait, sooner where a block of the idle lanes costs
# more operations than a visit, or when a narrower batch would do.
IDLE, VISIT = 1 / 8, 1e8
# When nothing waits, the lanes that still run may go on in a narrower batch. Another width is another
# compilation, of a second or so: it must spare this many operations, counted as two per shared number and lane, and no
# fewer than what a step of a small system costs.
SPARED, LEAST = 2e10, 2000
# Widths are multiples of 32; of systems so small that compiling weighs more, only a sixteenth of the widest.
RUNGS, RUNG = 16, 32
# In single precision the steps of a run at rest are rounding: 1e-5 of the largest, squared, is as small as they get.
SINGLE_SETTLED = 1e-10
# A loss this far below its largest has vanished, and the sharpness is the curvature.
VANISHED = 1e-8

Arrays = dict[str, np.ndarray]


class Lane(NamedTuple):
    """One run under way. ``motion``: largest squared step of the last block and ``motion_max`` of the run; ``windows``:
    motion (largest), curvature (sum, largest), loss (sum), shape (4, WINDOWS).
    """

    state: Any
    memory: Any
    status: jax.Array
    blocks: jax.Array
    motion: jax.Array
    motion_max: jax.Array
    loss: jax.Array
    loss_max: jax.Array
    rises: jax.Array
    growth: jax.Array
    windows: jax.Array


def rounded_steps(steps: int) -> int:
    """The horizon actually run: the next multiple of sixteen blocks (400 steps)."""
    unit = BLOCK * WINDOWS
    return max(1, -(-int(steps) // unit)) * unit


def threshold(system: Any, dtype: Any) -> float:
    """Squared steps, relative to the largest, below which a run has settled."""
    settled = type(system).settled
    return settled if dtype == jnp.float64 else max(settled, SINGLE_SETTLED)


def _begin(system: Map) -> Lane:
    state = system.init()
    loss = system.loss(state)
    zero = jnp.zeros((), jnp.int32)
    quiet = jnp.zeros_like(loss)
    windows = jnp.zeros((4, WINDOWS), loss.dtype)
    # The first loss is compared with no other.
    none = jnp.full_like(loss, jnp.inf)
    return Lane(state, system.memory(), zero, zero, none, quiet, none, loss, zero, quiet, windows)


def _axes(system: Any) -> Any:
    """Where the runs are in the fields of lanes that are under way."""
    axis = type(system).lane_axis
    where: list[Any] = [axis, axis, *[0] * (len(Lane._fields) - 2)]
    return Lane(*where)


def _square(new: Any, old: Any, axis: int) -> jax.Array:
    """Squared lengths of the steps of all runs."""
    total: Any = 0
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            continue  # a counter moves for ever
        within = [k for k in range(a.ndim) if k != axis % a.ndim]
        total = total + jnp.sum(jnp.square(a - b), axis=within)
    return total


def _look(system: Map, axes: Any, lane: Lane) -> tuple[Lane, jax.Array, jax.Array]:
    """STEPS_PER_LOOK steps, the first with a look at the curvature; the largest squared step, and the curvature.

    Here a ``Lane`` is that of all runs; other than state and memory, its fields have the shape (runs,).
    """
    axis = type(system).lane_axis

    def one(look: bool, c: Any) -> tuple[Any, jax.Array]:
        state, memory, motion, seen = c
        step = jax.vmap(lambda s, x, m: s.observed_step(x, m, look), (axes, axis, axis), (axis, 0, 0, axis))
        new, loss, curvature, memory = step(system, state, memory)
        return (new, memory, jnp.maximum(motion, _square(new, state, axis)), curvature if look else seen), loss

    carry = (lane.state, lane.memory, jnp.zeros_like(lane.loss), lane.loss)
    losses: Any = []
    if type(system).tile or system.in_turn:
        # One after the other, in a loop, the steps share a buffer; in a row, the look outlives its step and keeps a
        # second one, and the two do not fit in cache.
        def step(k: Any, c: Any) -> Any:
            now, loss = lax.cond(k == 0, partial(one, True), partial(one, False), c[0])
            return now, c[1].at[k].set(loss)

        none = jnp.zeros((STEPS_PER_LOOK, *lane.loss.shape), lane.loss.dtype)
        carry, losses = lax.fori_loop(0, STEPS_PER_LOOK, step, (carry, none))
    else:
        for k in range(STEPS_PER_LOOK):
            carry, loss = one(k == 0, carry)
            losses.append(loss)
    state, memory, motion, seen = carry
    lane = lane._replace(state=state, memory=memory)
    for loss in losses:
        lane = _heard(lane, loss)
    return lane, motion, seen


def _heard(lane: Lane, loss: jax.Array) -> Lane:
    """The lane after a step with this loss."""
    previous, most = lane.loss, lane.loss_max
    above = loss > FLOOR * most
    rises = lane.rises + (above & (loss > previous * (1 + RISE))).astype(jnp.int32)
    ratio = jnp.where(above & (previous > 0), loss / jnp.where(previous > 0, previous, 1.0), 0.0)
    return lane._replace(loss=loss, loss_max=jnp.maximum(most, loss), rises=rises, growth=jnp.maximum(lane.growth, ratio))


def _block(system: Map, axes: Any, lane: Lane, horizon: jax.Array) -> Lane:
    """One block of all lanes; those that have finished are returned as they are."""

    def body(_: Any, c: Any) -> Any:
        now, motion, total, top, losses = c
        now, moved, seen = _look(system, axes, now)
        return now, jnp.maximum(motion, moved), total + seen, jnp.maximum(top, seen), losses + now.loss

    quiet = jnp.zeros_like(lane.loss)
    now, *seen = lax.fori_loop(0, LOOKS, body, (lane, quiet, quiet, quiet, quiet))
    runs = _axes(system)
    return jax.vmap(_closed, (axes, runs, runs, 0, None), runs)(system, now, lane, tuple(seen), horizon)


def _closed(system: Map, now: Lane, lane: Lane, seen: Any, horizon: jax.Array) -> Lane:
    """A run after the block that began as ``lane``: the block's motion, sum and largest of the curvature, sum of losses."""
    motion, total, top, losses = seen
    where = jnp.arange(WINDOWS) == (lane.blocks * WINDOWS) // horizon
    most, sums, tops, falls = lane.windows
    windows = jnp.stack([
        jnp.where(where, jnp.maximum(most, motion), most),
        jnp.where(where, sums + total, sums),
        jnp.where(where, jnp.maximum(tops, top), tops),
        jnp.where(where, falls + losses, falls),
    ])  # fmt: skip
    largest, blocks = jnp.maximum(lane.motion_max, motion), lane.blocks + 1
    quiet_now = (motion <= threshold(system, motion.dtype) * largest) & (motion <= lane.motion)
    status = jnp.where(blocks >= horizon, HORIZON, jnp.where(quiet_now, SETTLED, RUNNING))
    status = jnp.where(system.escaped(now.state), ESCAPED, status).astype(jnp.int32)
    now = now._replace(status=status, blocks=blocks, motion=motion, motion_max=largest, windows=windows)
    return jax.tree.map(lambda new, old: jnp.where(lane.status == RUNNING, new, old), now, lane)


@partial(jax.jit, static_argnames=("batched",))
def _fresh(system: Map, batched: tuple[str, ...], lanes: jax.Array) -> Lane:
    return over_lanes(lambda s, _: _begin(s), system, batched, lanes)


@partial(jax.jit, static_argnames=("batched", "tile"))
def _advance(
    system: Map, batched: tuple[str, ...], lanes: Lane, fresh: Lane, enter: jax.Array, keep: Any, horizon: Any,
    tile: int, tiles: Any,
) -> Lane:  # fmt: skip
    """Let runs enter where ``enter`` says so, then advance the first ``tiles`` tiles until no more than ``keep`` runs remain."""

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(enter.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    def moved(lanes: Lane, old: int, new: int) -> Lane:
        state, memory = (jax.tree.map(lambda x: jnp.moveaxis(x, old, new), part) for part in lanes[:2])
        return lanes._replace(state=state, memory=memory)

    axis, axes = type(system).lane_axis, batch_axes(system, batched)

    def one(k: Any, lanes: Lane) -> Lane:
        def part(x: jax.Array) -> jax.Array:
            return lax.dynamic_slice_in_dim(x, k * tile, tile)

        mine = jax.tree.map(lambda among, x: x if among is None else part(x), axes, system, is_leaf=lambda x: x is None)
        new = moved(_block(mine, axes, moved(jax.tree.map(part, lanes), 0, axis), horizon), axis, 0)
        return jax.tree.map(lambda all_, x: lax.dynamic_update_slice_in_dim(all_, x, k * tile, 0), lanes, new)

    lanes = jax.tree.map(choose, fresh, lanes)
    return lax.while_loop(lambda c: jnp.sum(c.status == RUNNING) > keep, lambda c: lax.fori_loop(0, tiles, one, c), lanes)


@partial(jax.jit, static_argnames=("batched",))
def _ends(system: Any, batched: tuple[str, ...], states: Any) -> tuple[jax.Array, ...]:
    """Exact curvature of the given states, and their losses."""
    return over_lanes(lambda s, x: (s.curvature(x), s.loss(x)), system, batched, states)


@partial(jax.jit, static_argnames=("batched",))
def _starts(system: Any, batched: tuple[str, ...], lanes: jax.Array) -> Any:
    """The curvature at the start where the system has its own way to it, else the states there."""
    shared = type(system).start_curvature is not Map.start_curvature
    return over_lanes(lambda s, _: s.start_curvature() if shared else s.init(), system, batched, lanes)


@partial(jax.jit, static_argnames=("batched",))
def _sharpness(system: Any, batched: tuple[str, ...], states: Any) -> jax.Array:
    return over_lanes(lambda s, x: s.sharpness(x), system, batched, states)


def with_rows(system: Any, batched: tuple[str, ...], values: list[np.ndarray], index: np.ndarray) -> Any:
    """The system with the values of the runs ``index`` in its batched fields."""
    if not batched:
        return system
    return eqx.tree_at(lambda s: [getattr(s, n) for n in batched], system, [v[index] for v in values])


def march(system: Any, batched: tuple[str, ...], points: int, steps: int) -> Arrays:
    """Run ``points`` runs to their ends.

    Parameters
    ----------
    system : the named ``batched`` fields hold arrays of shape (points,); everything else is shared.
    steps : horizon, rounded up to a multiple of 400.

    Returns arrays with a leading axis of ``points``: ``status`` (SETTLED, ESCAPED or HORIZON), ``run_steps``,
    ``motion`` (largest squared step per window; 0 where a run had ended), ``curvature_mean`` and ``curvature_top`` (mean
    and largest per window, the mean NaN where a run had ended), ``loss_mean`` (per window),
    ``motion_max``, ``loss_max``, ``rises``, ``max_ratio``,
    ``unstable`` (settled, where the sharpness is above 2), and, exactly, ``curvature_start``, ``curvature`` and
    ``loss`` of the last state.

    Cost: the steps of every run, rounded up to 25; memory grows with ``system.lanes``, not with ``points``, except for
    the last state of each run.
    """
    widest = width = min(points, system.lanes)
    values = [np.asarray(getattr(system, n)) for n in batched]
    # Arrays of NumPy would be copied at every visit; put there as they are, since jnp.asarray compiles a program a shape.
    shared = sum(np.size(leaf) for leaf in jax.tree.leaves(system)) - sum(v.size for v in values)
    system = jax.tree.map(lambda leaf: jax.device_put(leaf) if isinstance(leaf, np.ndarray) else leaf, system).ready()
    tile, horizon = _tile(system, width, points), rounded_steps(steps) // BLOCK
    cost, rung = max(2.0 * shared, LEAST), max(widest // RUNGS, RUNG)
    inside = np.broadcast_to(np.asarray(system.admissible()), (points,))
    waiting = list(np.flatnonzero(inside)[::-1])
    who = np.full(width, -1)
    kept: list[np.ndarray] = []
    lanes: Any = None
    fresh = shape = lanes
    while waiting or (who >= 0).any():
        if lanes is not None and not waiting:
            lanes, who = _narrowed(lanes, who, rung, cost, horizon) if tile == width else _gathered(lanes, who)
            tile, width, fresh = len(who) if tile == width else tile, len(who), lanes
        enter = np.zeros(width, bool)
        for k in np.flatnonzero(who < 0)[: len(waiting)]:
            who[k], enter[k] = waiting.pop(), True
        mine = with_rows(system, batched, values, np.maximum(who, 0))
        if lanes is None or enter.any():
            fresh = _fresh(mine, batched, np.zeros(width))
        running = int((who >= 0).sum())
        # When nothing waits, full tiles only: the other runs stand by to fill them up.
        tiles = width // tile if waiting else max(running // tile, 1)
        least = _next_width(running - 1, rung) if tile == width else running - 1 if running > tile else 0
        keep = int(running - min(running * IDLE, max(VISIT / (BLOCK * cost), 1.0))) if waiting else least
        if lanes is None:
            # Lanes that never get a run must not keep the others company to the horizon.
            lanes = fresh._replace(status=np.where(enter, RUNNING, SETTLED).astype(np.int32))
        lanes = _advance(mine, batched, lanes, fresh, enter, keep, horizon, tile, tiles)
        status = np.asarray(lanes.status)
        ended = np.flatnonzero((who >= 0) & (status != RUNNING))
        if ended.size:
            leaves, shape = jax.tree.flatten(lanes._replace(memory=()))
            kept = kept or [np.zeros((points, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
            for column, leaf in zip(kept, leaves, strict=True):
                column[who[ended]] = np.asarray(leaf)[ended]
            who[ended] = -1
    if not kept:
        return blank(points) | {"horizon": np.asarray(BLOCK * horizon)}
    index = np.flatnonzero(inside)
    kept_lanes = jax.tree.unflatten(shape, [column[index] for column in kept])
    return _collect(system, batched, values, kept_lanes, index, widest, horizon)


def _tile(system: Any, width: int, points: int) -> int:
    """Lanes that are advanced at a time: all of them, unless the width is a multiple of the system's tile."""
    tile = 1 if system.in_turn else system.tile_of(points) or width
    return width if width % tile else tile


def _next_width(most: int, rung: int) -> int:
    """The widest narrower batch that ``most`` lanes would fill; 0 when there is none."""
    return min(most, most if rung == RUNG else rung) // rung * rung


def _narrowed(lanes: Lane, who: np.ndarray, rung: int, cost: float, horizon: int) -> tuple[Lane, np.ndarray]:
    """The lanes that still run, in a narrower batch filled up with finished ones, where that pays; else all as they are."""
    running, width = who >= 0, len(who)
    narrow = min(-(-max(int(running.sum()), 1) // rung) * rung, width)
    if rung > RUNG and narrow > rung:
        return lanes, who
    left = BLOCK * (horizon - int(np.asarray(lanes.blocks)[running].min())) if running.any() else 0
    if cost * left * (width - narrow) < SPARED:
        return lanes, who
    order = np.argsort(~running, kind="stable")[:narrow]
    return _taken(lanes, order), who[order]


def _gathered(lanes: Lane, who: np.ndarray) -> tuple[Lane, np.ndarray]:
    """The lanes that still run first, those with the most steps left at their head; tiles without any are not advanced."""
    order = np.lexsort((np.asarray(lanes.blocks), who < 0))
    return _taken(lanes, order), who[order]


@jax.jit
def _taken(lanes: Lane, order: jax.Array) -> Lane:
    """The lanes ``order``; leaf by leaf without jit, a visit would take as long as a block."""
    return jax.tree.map(lambda leaf: leaf[order], lanes)


def _collect(
    system: Map, batched: tuple[str, ...], values: list[np.ndarray], lanes: Lane, index: np.ndarray, width: int, horizon: int
) -> Arrays:
    """The lanes of the runs ``index`` as arrays over all points, with exact curvatures at both ends."""
    ends = []
    for k in range(0, index.size, width):
        rows = np.minimum(np.arange(k, k + width), index.size - 1)
        part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], lanes.state)
        mine = with_rows(system, batched, values, index[rows])
        start = _starts(mine, batched, np.zeros(width))
        if type(system).start_curvature is Map.start_curvature:
            start = _ends(mine, batched, start)[0]
        ends.append([np.asarray(v) for v in (start, *_ends(mine, batched, part))])
    start, end, loss = (np.concatenate(column)[: index.size] for column in zip(*ends, strict=True))
    motion, sums, tops, falls = (lanes.windows[:, k] for k in range(4))
    done = np.asarray(lanes.blocks)[:, None] - np.arange(WINDOWS) * (horizon // WINDOWS)
    looks = LOOKS * np.clip(done, 0, horizon // WINDOWS)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, losses = (np.where(looks > 0, total / looks, np.nan) for total in (sums, falls))
    resting = (np.asarray(lanes.status) == SETTLED) & (loss > VANISHED * np.asarray(lanes.loss_max))
    unstable = np.zeros(index.size)
    if hasattr(system, "sharpness") and resting.any():
        some = np.flatnonzero(resting)
        for k in range(0, some.size, width):
            rows = some[np.minimum(np.arange(k, k + width), some.size - 1)]
            part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], lanes.state)
            sharp = np.asarray(_sharpness(with_rows(system, batched, values, index[rows]), batched, part))
            unstable[rows] = sharp > 2
    out = blank(len(values[0]) if values else 1)
    found = {
        "status": lanes.status, "run_steps": BLOCK * np.asarray(lanes.blocks), "motion": motion, "curvature_mean": mean,
        "curvature_top": tops, "loss_mean": losses, "motion_max": lanes.motion_max, "loss_max": lanes.loss_max,
        "rises": lanes.rises,
        "max_ratio": lanes.growth, "curvature_start": start, "curvature": end, "loss": loss, "unstable": unstable,
    }  # fmt: skip
    for name, value in found.items():
        out[name][index] = value
    return out | {"horizon": np.asarray(BLOCK * horizon)}


def blank(points: int) -> Arrays:
    """The arrays of runs that do not exist: status -1, NaN elsewhere."""
    wide = {name: np.full((points, WINDOWS), np.nan) for name in ("motion", "curvature_mean", "curvature_top", "loss_mean")}
    names = (
        "motion_max", "loss_max", "rises", "max_ratio", "curvature_start", "curvature", "loss", "run_steps", "unstable",
    )  # fmt: skip
    return {"status": np.full(points, -1)} | wide | {name: np.full(points, np.nan) for name in names}
