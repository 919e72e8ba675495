"""Survey: the long-run statistics of many runs of a Map at once, without storing their trajectories.

A survey runs a horizon of T steps in four quarters. Growth of a tangent vector is measured over the second quarter (for
the reading at T/2) and over the second half (for the reading at T), so that the two readings tell whether a label is
stable when the horizon doubles. After each of the two, a short tail is recorded to look for cycles.

The inner loop is laid out for XLA on a CPU: eight steps per loop body, and instead of a logarithm per step the binary
exponent and mantissa of the tangent's growth are split by bit operations and accumulated, one logarithm per block.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.classifiers import RISE
from trainphase.system import Map, State

STEPS_PER_BODY = 8
BODIES = 16
BLOCK = STEPS_PER_BODY * BODIES
QUARTERS = 4
TAIL = 192
MAX_PERIOD = 64

# A rise of the loss (by more than RISE, relative) counts when the loss is above the rounding floor of the run: residuals
# below 1e-10 of the largest are at the mercy of cancellation in 53 bits.
FLOOR = 1e-20


class Carry(NamedTuple):
    """What one lane carries from block to block."""

    state: State
    tangent: State
    loss: jax.Array
    loss_max: jax.Array
    rises: jax.Array
    growth: jax.Array
    steps: jax.Array


class Leg(NamedTuple):
    """Sums over the blocks of one leg: growth of the tangent per block and its square."""

    total: jax.Array
    square: jax.Array


def rounded_steps(steps: int) -> int:
    """The horizon actually run: the next multiple of four blocks (512 steps)."""
    unit = BLOCK * QUARTERS
    return max(1, -(-int(steps) // unit)) * unit


def _bits(dtype: Any) -> tuple[Any, int, int, int]:
    """Integer type, mantissa bits, exponent mask and exponent bias of a float type."""
    if dtype == jnp.float64:
        return jnp.int64, 52, 0x7FF, 1023
    return jnp.int32, 23, 0xFF, 127


def split_exponent(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """|v| = m 2^e with m in [1, 2), by bit operations; 0 and subnormals give the smallest exponent and m = 1 to 2."""
    kind, shift, mask, bias = _bits(v.dtype)
    raw = lax.bitcast_convert_type(v, kind)
    exponent = (raw >> shift) & mask
    mantissa = (raw & ((1 << shift) - 1)) | (bias << shift)
    return lax.bitcast_convert_type(mantissa, v.dtype), exponent - bias


def is_number(state: State, lanes: int = 0) -> bool:
    """True when the state is a single number, behind so many axes of lanes."""
    leaves = jax.tree.leaves(state)
    return len(leaves) == 1 and leaves[0].ndim == lanes


def _norm(v: State) -> jax.Array:
    leaves = jax.tree.leaves(v)
    if is_number(v):
        return jnp.abs(leaves[0])
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in leaves))


def _rescale(v: State, norm: jax.Array) -> State:
    if is_number(v):
        return jax.tree.map(jnp.ones_like, v)
    safe = jnp.where(norm > 0, norm, 1.0)
    return jax.tree.map(lambda leaf: leaf / safe, v)


def _body(system: Map, carry: Carry, count: bool) -> tuple[Carry, jax.Array, jax.Array]:
    """Eight steps; returns the carry with a unit tangent, and the tangent's growth as mantissa and exponent."""
    state, v = carry.state, carry.tangent
    loss, loss_max, rises, growth = carry.loss, carry.loss_max, carry.rises, carry.growth
    for _ in range(STEPS_PER_BODY):
        state, v = system.tangent(state, v)
        if count:
            new = system.loss(state)
            above = new > FLOOR * loss_max
            rises = rises + (above & (new > loss * (1 + RISE))).astype(jnp.int32)
            growth = jnp.maximum(growth, jnp.where(above, new / loss, 0.0))
            loss, loss_max = new, jnp.maximum(loss_max, new)
    norm = _norm(v)
    mantissa, exponent = split_exponent(norm)
    return Carry(state, _rescale(v, norm), loss, loss_max, rises, growth, carry.steps), mantissa, exponent


def _leg(system: Map, carry: Carry, blocks: jax.Array, count: bool) -> tuple[Carry, Leg]:
    """Run ``blocks`` blocks of 128 steps; a lane that has escaped by the end of a block stops counting steps."""
    dtype = carry.loss.dtype

    def inner(_: Any, loop: Any) -> Any:
        carry, mantissa, exponent = loop
        carry, m, e = _body(system, carry, count)
        return carry, mantissa * m, exponent + e

    def block(_: Any, loop: Any) -> Any:
        carry, total, square = loop
        one = jnp.ones((), dtype)
        zero = jnp.zeros((), _bits(dtype)[0])
        carry, mantissa, exponent = lax.fori_loop(0, BODIES, inner, (carry, one, zero))
        growth = jnp.log(mantissa) + np.log(2.0) * exponent.astype(dtype)
        alive = jnp.logical_not(system.escaped(carry.state))
        carry = carry._replace(steps=carry.steps + BLOCK * alive.astype(jnp.int32))
        return carry, total + growth, square + growth * growth

    zero = jnp.zeros((), dtype)
    carry, total, square = lax.fori_loop(0, blocks, block, (carry, zero, zero))
    return carry, Leg(total, square)


def _signature(system: Map, state: State) -> jax.Array:
    """A few numbers that tell states of a cycle apart: the state of a scalar map, else four fixed projections."""
    if is_number(state):
        return jax.tree.leaves(state)[0][None]
    z = jnp.ravel(system.residual(state))
    if z.size <= 4:
        return z
    index = np.arange(z.size)
    directions = np.stack([np.cos((k + 1) * np.sqrt(2.0) * (index + 1) ** 1.5) for k in range(4)])
    return jnp.asarray(directions / np.sqrt(z.size), z.dtype) @ z


def _tail(system: Map, state: State) -> jax.Array:
    """Signatures along the next TAIL steps, shape (TAIL, k)."""

    def one(state: State, _: Any) -> tuple[State, jax.Array]:
        return system.step(state), _signature(system, state)

    return lax.scan(one, state, None, length=TAIL, unroll=8)[1]


def recurrence(tails: jax.Array, window: int) -> jax.Array:
    """How well ``window`` points near the end of each tail repeat after p steps, p = 1..64: max distance, (lanes, 64).

    ``tails`` has shape (TAIL, lanes, k): time first, and running maxima, so that every operation is elementwise over
    contiguous lanes; the obvious vmap is thirteen times slower.
    """
    series, first = tails, TAIL - MAX_PERIOD - window

    def shifted(p: jax.Array) -> jax.Array:
        most = jnp.zeros(series.shape[1:], tails.dtype)
        for k in range(window):
            most = jnp.maximum(most, jnp.abs(series[first + p + k] - series[first + k]))
        return jnp.max(most, axis=-1)

    return lax.map(shifted, jnp.arange(1, MAX_PERIOD + 1)).T


def _swing(system: Map, state: State) -> jax.Array:
    """The largest change of the signature in one step, over the next 8 steps."""

    def one(state: State, _: Any) -> tuple[State, jax.Array]:
        new = system.step(state)
        return new, jnp.max(jnp.abs(_signature(system, new) - _signature(system, state)))

    return jnp.max(lax.scan(one, state, None, length=STEPS_PER_BODY)[1])


def _read(system: Map, carry: Carry, leg: Leg, blocks: jax.Array) -> dict[str, jax.Array]:
    """What is told of a run after a leg of ``blocks`` blocks, but for the swing."""
    n = blocks.astype(leg.total.dtype)
    mean = leg.total / n
    variance = jnp.maximum(leg.square / n - mean * mean, 0.0) / jnp.maximum(n - 1, 1)
    # Each of the BODIES products in a block carries a rounding error of some eps. On a cycle it is the same in every
    # block, so it does not average out.
    rounding = 2 * BODIES * jnp.finfo(leg.total.dtype).eps * (1 + jnp.abs(mean))
    return {
        "lyapunov": mean / BLOCK,
        "lyapunov_se": (jnp.sqrt(variance) + rounding) / BLOCK,
        "growth_steps": n * BLOCK,
        "escaped": system.escaped(carry.state),
        "steps": carry.steps,
        "rises": carry.rises,
        "max_ratio": carry.growth,
        "loss": system.loss(carry.state),
        "loss_max": carry.loss_max,
        "tail": _tail(system, carry.state),
    }


_READ_AXES = dict.fromkeys(
    ("lyapunov", "lyapunov_se", "growth_steps", "escaped", "steps", "rises", "max_ratio", "loss", "loss_max"), 0
) | {"tail": 1}


def _begun(system: Map, state: State) -> Carry:
    """A run before its first step, with a tangent of length 1."""
    loss = system.loss(state)
    size = sum(leaf.size for leaf in jax.tree.leaves(state))
    direction = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1 / np.sqrt(size)), state)
    if size > 1:
        direction = jax.tree.map(_spread_direction, direction)
        direction = _rescale(direction, _norm(direction))
    zero = jnp.zeros((), jnp.int32)
    return Carry(state, direction, loss, loss, zero, jnp.zeros_like(loss), zero)


def _spread_direction(leaf: jax.Array) -> jax.Array:
    index = np.arange(1, leaf.size + 1).reshape(leaf.shape)
    return jnp.asarray(np.cos(np.sqrt(3.0) * index**1.5), leaf.dtype)


def batch_axes(system: Map, batched: tuple[str, ...]) -> Any:
    """The vmap specification under which the named fields carry a leading batch axis and nothing else does."""
    axes = jax.tree.map(lambda _: None, system)
    if not batched:
        return axes
    return eqx.tree_at(
        lambda s: [getattr(s, name) for name in batched], axes, [0] * len(batched), is_leaf=lambda x: x is None
    )


def over_lanes(function: Callable[..., Any], system: Any, batched: tuple[str, ...], *states: Any, out_axes: Any = 0) -> Any:
    """``function(system, *state)`` for every lane, side by side or (``system.in_turn``) one after the other.

    The named fields of ``system`` and all ``states`` have a leading axis of lanes; so has the result, unless ``out_axes``
    says otherwise.
    """
    if not system.in_turn:
        axes = (batch_axes(system, batched), *[0] * len(states))
        return jax.vmap(function, in_axes=axes, out_axes=out_axes)(system, *states)

    def one(given: Any) -> Any:
        values, state = given
        here = eqx.tree_at(lambda s: [getattr(s, name) for name in batched], system, values) if batched else system
        return function(here, *state)

    out = lax.map(one, ([getattr(system, name) for name in batched], states))
    return jax.tree.map(lambda where, x: jnp.moveaxis(x, 0, where), _spread(out_axes, out), out)


def _spread(axes: Any, out: Any) -> Any:
    return jax.tree.map(lambda _: axes, out) if isinstance(axes, int) else axes


@partial(jax.jit, static_argnames=("batched",))
def _begin_lanes(system: Map, states: State, batched: tuple[str, ...]) -> Carry:
    return over_lanes(_begun, system, batched, states)


@partial(jax.jit, static_argnames=("batched", "count"))
def _leg_lanes(system: Map, carry: Carry, blocks: jax.Array, batched: tuple[str, ...], count: bool) -> Any:
    def one(s: Map, carry: Carry) -> Any:
        carry, leg = _leg(s, carry, blocks, count)
        return carry, leg, _swing(s, carry.state)

    return over_lanes(one, system, batched, carry)


@partial(jax.jit, static_argnames=("batched",))
def _read_lanes(system: Map, carry: Carry, leg: Leg, blocks: jax.Array, batched: tuple[str, ...]) -> dict[str, jax.Array]:
    def one(s: Map, carry: Carry, leg: Leg) -> dict[str, jax.Array]:
        return _read(s, carry, leg, blocks)

    out = over_lanes(one, system, batched, carry, leg, out_axes=_READ_AXES)
    # A scalar map's cycle is confirmed by Newton's method, so fewer points need to repeat before one is suspected.
    return out | {"recurrence": recurrence(out["tail"], 16 if is_number(carry.state, lanes=1) else 64)}


def survey(system: Map, states: State, blocks: int, batched: tuple[str, ...], count: bool) -> dict[str, dict[str, Any]]:
    """Survey a batch of lanes: ``batched`` names the fields of ``system`` that hold one value per lane.

    Parameters
    ----------
    states : pytree with a leading lane axis.
    blocks : blocks of 128 steps in a quarter of the horizon; another horizon compiles nothing new.
    count : also count the rises of the loss step by step (about half as fast again).

    Returns a dictionary of readings "half" and "full" (and what is compared with them, "quarter"), each a dictionary of
    arrays with a leading lane axis; ``tail`` has the lanes second.
    """
    # One leg and one reading are compiled, each for all three legs: in one program the three took twice as long to compile.
    carry, out, before = _begin_lanes(system, states, batched), {}, None
    for when, length in (("quarter", blocks), ("half", blocks), ("full", 2 * blocks)):
        length = np.asarray(length, np.int32)
        carry, leg, swing = _leg_lanes(system, carry, length, batched, count)
        # A vector state that closes in on a cycle is recognised by its approach, which takes an earlier look to compare.
        looked = when != "quarter" or not is_number(states, lanes=1)
        read = _read_lanes(system, carry, leg, length, batched) if looked else {}
        out[when] = read | {"swing": swing, "state": carry.state} | ({} if before is None else {"swing_before": before})
        before = swing
    return out
