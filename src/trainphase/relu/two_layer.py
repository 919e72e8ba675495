"""Gradient flow of two-layer ReLU nets to a loss target, in tens to hundreds of steps wherever in the phase diagram.

The rescaled flow (Luo et al. 2021, (1.8), (1.9)) has time scales ten orders of magnitude apart: the modes of the kernel, the
growth of the fastest neuron, and the flips of activations. Each is met by its own means.

- Within a step the residual follows the kernel, exactly: the integral of e over a step h is h phi1(-h K) e. In the linear
  regime a step may be as long as the training.
- Given that integral, the neurons are independent, and a neuron whose active set stands still moves by a hyperbolic
  rotation of (u, w), u = kappa' a: exponential growth costs no small steps, and u^2 - |w|^2 of every neuron is conserved to
  rounding whatever the step.
- A neuron that flips is active for a fraction of the step. The fraction solves the linear motion: it crosses, or it is
  held at the boundary, where the flow has no other continuation (a kink that sits on a data point).

A step is taken twice, the second time with the kernel, the fractions and the sizes of the first; their difference is the
error estimate. The residual is always recomputed from the weights. Particles may stand for many neurons; see ``initial``.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.relu.rows import dots, mix

RUNNING, CONVERGED, STEP_LIMIT, STALLED = range(4)
OUTCOMES = ("running", "converged", "step-limit", "stalled")
# Jacobi sweeps for the active fractions: a particle at two boundaries at once needs a few.
SWEEPS = 3
# phi1 by Taylor to this order below a norm of 1/4: 4^-11 / 12!, below rounding.
TERMS = 10
# A rotation of more than this in a step says nothing about the active set on the way; the series hold up to it.
MOST_ANGLE = 1.0
# The residual may deviate from the frozen kernel's prediction by this share of itself in a step.
OFF_KERNEL = 0.1
# A neuron that passes the origin has no direction; after so many rejections in a row a step is taken as it is.
PATIENCE = 4
# Nor has one that is held there: of |w|^2 this part of its start is added where a direction is compared.
ORIGIN = 1e-4
# What counts as being at a kink, relative to the largest pre-activation of the neuron.
AT_KINK = 1e-13
# Training ends when the residual is below the target; the last step aims just below it.
AIM = 0.999


class Particles(NamedTuple):
    """The neurons of one net, each column standing for ``mass`` of them.

    u : kappa' times output weights at the start, (c, N). w : input weights in the row space of the data, (r, N).
    mass : neurons that a particle stands for, (N,). share : those of them that count in the relative distance, (N,).
    """

    u: Any
    w: Any
    mass: Any
    share: Any


class Task(NamedTuple):
    """What is learned, at which scale.

    X : inputs in the row space of the data, (n, r). y : targets, (n, c). kappa, kappa_prime : scales, (). norm_w, norm_a :
    lengths of all input and output weights at the start, (), those outside of the row space included.
    """

    X: Any
    y: Any
    kappa: Any
    kappa_prime: Any
    norm_w: Any
    norm_a: Any


class Limits(NamedTuple):
    """target : mean squared residual at which training ends. tolerance : of a step, relative. most : steps tried at most."""

    target: Any
    tolerance: Any
    most: Any


class State(NamedTuple):
    """A net under way; ``change`` is w - w(0), kept apart because it may be ten orders smaller than w.

    u (c, N), change (r, N). H : pre-activations, (n, N). e : residuals, (n, c). K : kernel, (n c, n c), and ``rate``, its
    change per unit of time over the last step. t : time. h : length of the next step. rejected : attempts in a row; forced :
    steps taken in spite of their error. far_w, far_a : largest relative distances so far.
    """

    u: jax.Array
    change: jax.Array
    H: jax.Array
    e: jax.Array
    K: jax.Array
    rate: jax.Array
    t: jax.Array
    h: jax.Array
    tried: jax.Array
    taken: jax.Array
    rejected: jax.Array
    forced: jax.Array
    far_w: jax.Array
    far_a: jax.Array
    status: jax.Array


# What of a state are whole numbers.
COUNTS = ("tried", "taken", "rejected", "forced", "status")


# ---- the parts of a step


def phi1(A: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(e^A - 1) / A and e^A of a square matrix, by Taylor series and doubling; A has no large positive eigenvalue."""
    size = jnp.max(jnp.sum(jnp.abs(A), axis=1))
    halvings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(size, 0.25) / 0.25)), 0, 200).astype(jnp.int32)
    one = jnp.eye(A.shape[0], dtype=A.dtype)
    Z = A * jnp.exp2(-halvings.astype(A.dtype))
    term = phi = one
    for k in range(1, TERMS + 1):
        term = term @ Z / (k + 1)
        phi = phi + term

    def double(_: Any, c: Any) -> Any:
        phi, power = c
        return 0.5 * (power + one) @ phi, power @ power

    return lax.fori_loop(0, halvings, double, (phi, one + Z @ phi))


def _series(x: jax.Array, first: int) -> jax.Array:
    """sum_k x^k / (2 k + first)!, by Horner's rule; for x <= 1 its 8 terms leave 1 / 18!, below rounding."""
    total = jnp.ones_like(x)
    for k in range(8, 0, -1):
        total = 1.0 + total * x * (1.0 / ((2 * k + first) * (2 * k + first - 1)))
    return total if first == 1 else 0.5 * total


def _rotated(task: Task, u: jax.Array, w: jax.Array, on: jax.Array, E: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The changes of u and w, and the largest angle of the rotation, when ``on`` of each pre-activation feels E."""
    n, c = E.shape
    scale = task.kappa / n
    if c == 1:
        S = mix(scale * task.X.T, E * on)
        flat = u[0]
        angle_2, along = dots(S, S), dots(S, w)
        sinh, cosh_1 = _series(angle_2, 1), _series(angle_2, 2)  # sinh(s) / s and (cosh(s) - 1) / s^2
        move = cosh_1 * along - sinh * flat
        gain = cosh_1 * angle_2 * flat - sinh * along
        return gain[None], move[None] * S, jnp.sqrt(jnp.max(angle_2))
    angle = scale * jnp.linalg.norm(E) * jnp.sqrt(jnp.max(jnp.sum(jnp.square(task.X), axis=1)) * n)
    du, dw = u, w
    total_u, total_w = jnp.zeros_like(u), jnp.zeros_like(w)
    for k in range(1, 15):  # the angle is at most 1: 1 / 15! is below rounding
        felt_u, felt_w = on * mix(task.X, dw), on * mix(E, du)
        du, dw = mix(-(scale / k) * E.T, felt_u), mix(-(scale / k) * task.X.T, felt_w)
        total_u, total_w = total_u + du, total_w + dw
    return total_u, total_w, angle


def _kernel(task: Task, mass: jax.Array, u: jax.Array, R: jax.Array, seen: jax.Array, felt: jax.Array) -> jax.Array:
    """d f / dt = -K e, (n c, n c); ``seen`` is how f follows a pre-activation, ``felt`` how a force on it is felt."""
    n, c = task.y.shape
    scale = task.kappa * task.kappa / task.kappa_prime / n
    outer, G = (R * mass[None]) @ R.T, task.X @ task.X.T
    if c == 1:
        return scale * (outer + G * ((seen * (mass * dots(u, u))[None]) @ felt.T))
    inner = jnp.einsum("ik,ck,jk,dk->icjd", seen * mass[None], u, felt, u, optimize="optimal") * G[:, None, :, None]
    both = inner + outer[:, None, :, None] * jnp.eye(c, dtype=outer.dtype)[None, :, None]
    return scale * both.reshape(n * c, n * c)


def _fractions(H: jax.Array, force: jax.Array, G: jax.Array, on: jax.Array) -> jax.Array:
    """The share of the step for which each pre-activation is positive, when it moves linearly, (n, N).

    ``force`` : what a step would exert on each, were it active all the time.
    """
    own = jnp.diagonal(G)[:, None] * force

    def sweep(_: Any, on: jax.Array) -> jax.Array:
        return _fraction(H, mix(G, on * force) - on * own, own)

    return lax.fori_loop(0, SWEEPS, sweep, on)


def _fraction(H: jax.Array, others: jax.Array, own: jax.Array) -> jax.Array:
    """``others`` : how far the forces at other data move a pre-activation; ``own`` : how far its own one would."""
    off, active = H + others, H + others + own
    inside = H >= 0
    stays = jnp.where(inside, active >= 0, off <= 0)
    crosses = jnp.where(inside, others < 0, others + own >= 0)
    above = jnp.where(crosses & inside, H, off)
    below = jnp.where(crosses, jnp.where(inside, H - active, others), -own)
    part = above / jnp.where(below == 0, 1.0, below)
    return jnp.where(stays, inside.astype(H.dtype), jnp.clip(part, 0.0, 1.0))


def _secant(H: jax.Array, new: jax.Array) -> jax.Array:
    """How much of a change of a pre-activation the ReLU passes on."""
    moved = new - H
    still = jnp.abs(moved) <= AT_KINK * jnp.max(jnp.abs(H), axis=0, keepdims=True)
    slope = (jnp.maximum(new, 0) - jnp.maximum(H, 0)) / jnp.where(still, 1.0, moved)
    return jnp.where(still, (H > 0).astype(H.dtype), slope)


def _here(task: Task, p: Particles, u: jax.Array, change: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pre-activations, residual and kernel of a state."""
    H = mix(task.X, p.w + change)
    # A neuron that is held at a kink is there to rounding; which side that is on must not decide the next step.
    H = jnp.where(jnp.abs(H) <= AT_KINK * jnp.max(jnp.abs(H), axis=0, keepdims=True), 0.0, H)
    R, on = jnp.maximum(H, 0), (H > 0).astype(H.dtype)
    f = (task.kappa / task.kappa_prime) * (R * p.mass[None]) @ u.T
    return H, f - task.y, _kernel(task, p.mass, u, R, on, on)


def begin(task: Task, p: Particles) -> State:
    """The state before training."""
    still = jnp.zeros_like(p.w)
    H, e, K = _here(task, p, p.u, still)
    zero = jnp.zeros((), e.dtype)
    none = jnp.zeros((), jnp.int32)
    longest = jnp.sqrt(jnp.max(jnp.sum(jnp.square(task.X), axis=1)))
    fastest = jnp.maximum(jnp.trace(K), task.kappa * jnp.max(jnp.abs(e)) * longest)
    return State(p.u, still, H, e, K, jnp.zeros_like(K), zero, 1e-2 / fastest, none, none, none, none, zero, zero,
                 none)  # fmt: skip


def _to_target(values: jax.Array, parts: jax.Array, target: jax.Array, h: jax.Array) -> jax.Array:
    """h, or the time at which the frozen kernel brings the mean squared residual just below the target, if earlier.

    ``values`` : eigenvalues, (n c,). ``parts`` : residual in the eigenbasis.
    """

    def below(h: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(parts * jnp.exp(-values * h))) < AIM * target

    def halve(_: Any, c: Any) -> Any:
        lo, hi = c
        middle = 0.5 * (lo + hi)
        past = below(middle)
        return jnp.where(past, lo, middle), jnp.where(past, middle, hi)

    return lax.cond(below(h), lambda: lax.fori_loop(0, 30, halve, (jnp.zeros_like(h), h))[1], lambda: h)


def _once(h: jax.Array, f: Any, *args: Any) -> Any:
    """f(*args), computed once: XLA would compute a cheap row again in each of its readers, but not what a branch returns."""
    empty = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), jax.eval_shape(f, *args))
    return lax.cond(h >= 0, f, lambda *_: empty, *args)


class _Try(NamedTuple):
    """Where a step ends, its error in units of the tolerance, and its length."""

    u: jax.Array
    change: jax.Array
    H: jax.Array
    e: jax.Array
    K: jax.Array
    error: jax.Array
    h: jax.Array


def _attempt(task: Task, p: Particles, s: State, limits: Limits) -> _Try:
    """A step of length s.h, or to the target."""
    n, c = task.y.shape
    G = task.X @ task.X.T
    w, flat = p.w + s.change, s.e.reshape(-1)
    values, vectors = jnp.linalg.eigh(s.K)
    h = _to_target(jnp.maximum(values, 0), vectors.T @ flat, limits.target, s.h)
    # The kernel goes on changing as it did in the last step, for as long as that is a part of it.
    drift = jnp.minimum(0.5 * h, 0.5 * jnp.linalg.norm(s.K) / jnp.maximum(jnp.linalg.norm(s.rate), 1e-300))
    E = (h * phi1(-h * (s.K + drift * s.rate))[0] @ flat).reshape(n, c)

    def force(E: jax.Array, du: jax.Array) -> jax.Array:
        return mix(-task.kappa / n * E, s.u + 0.5 * du)

    R0, on = jnp.maximum(s.H, 0), (s.H > 0).astype(s.H.dtype)
    du, _, angle = _once(h, _rotated, task, s.u, w, on, E)
    on = _fractions(s.H, _once(h, force, E, du), G, on)
    du1, dw1, _ = _once(h, _rotated, task, s.u, w, on, E)
    H1 = s.H + mix(task.X, dw1)
    R = 0.5 * (R0 + jnp.maximum(H1, 0))
    integral, power = phi1(-h * _kernel(task, p.mass, s.u + 0.5 * du1, R, _secant(s.H, H1), on))
    E = (h * integral @ flat).reshape(n, c)
    on = _fractions(s.H, _once(h, force, E, du1), G, on)
    du2, dw2, angle2 = _once(h, _rotated, task, s.u, w, on, E)
    u, change = s.u + du2, s.change + dw2
    H, e, K = _here(task, p, u, change)
    error = _error(task, p, change, u, H, dw2 - dw1, du2 - du1) / limits.tolerance
    off = jnp.linalg.norm(e.reshape(-1) - power @ flat) / jnp.linalg.norm(flat)
    error = jnp.maximum(error, off / OFF_KERNEL)
    fine = (jnp.maximum(angle, angle2) <= MOST_ANGLE) & jnp.isfinite(error)
    return _Try(u, change, H, e, K, jnp.where(fine, error, jnp.inf), h)


def _error(
    task: Task, p: Particles, change: jax.Array, u: jax.Array, H: jax.Array, wide: jax.Array, gain: jax.Array
) -> jax.Array:
    """How far two passes, ``wide`` apart in w and ``gain`` in u, differ: of the whole change, and in their directions.

    A neuron weighs as much as it can contribute, u^2 + |w|^2: one that is small in w and large in u decides by its
    direction now what it does later. |w| is that of the part the data see, by its pre-activations.
    """
    grown, apart = u - p.u, dots(wide, wide)
    moved = jnp.dot(p.mass, dots(change, change) + dots(grown, grown))
    whole = jnp.sqrt(jnp.dot(p.mass, apart + dots(gain, gain)) / moved)
    G, first = task.X @ task.X.T, mix(task.X, p.w)
    per = jnp.trace(G) / jnp.sum(jnp.square(G))
    size = per * dots(H, H)
    weight = size + dots(u, u)
    lengths = size + ORIGIN * per * dots(first, first)
    turned = jnp.dot(p.mass, weight * jnp.minimum(jnp.sqrt(apart / lengths), 1.0)) / jnp.dot(p.mass, weight)
    return jnp.maximum(whole, turned)


def _next(task: Task, p: Particles, s: State, limits: Limits) -> State:
    """The state after one attempt."""
    new = _attempt(task, p, s, limits)
    fits = new.error <= 1
    good = fits | ((s.rejected >= PATIENCE) & jnp.isfinite(new.error))
    far_w = jnp.sqrt(jnp.dot(p.share, dots(new.change, new.change))) / task.norm_w
    grown = new.u - p.u
    far_a = jnp.sqrt(jnp.dot(p.share, dots(grown, grown))) / (task.kappa_prime * task.norm_a)
    factor = jnp.where(jnp.isfinite(new.error), 0.9 / jnp.sqrt(jnp.maximum(new.error, 0.03)), 0.2)
    # Past such a neuron the step may be long again.
    factor = jnp.where(good & jnp.logical_not(fits), 5.0, factor)
    h = jnp.where(good, new.h, s.h) * jnp.clip(factor, 0.2, 5.0)
    tried, t = s.tried + 1, s.t + new.h
    stalled = jnp.logical_not(good) & (s.t + h == s.t) & (s.t > 0)
    status = jnp.where(tried >= limits.most, STEP_LIMIT, jnp.where(stalled, STALLED, RUNNING))
    status = jnp.where(good & (jnp.mean(jnp.square(new.e)) <= limits.target), CONVERGED, status).astype(jnp.int32)
    forced = s.forced + (good & jnp.logical_not(fits)).astype(jnp.int32)
    far_w, far_a = jnp.maximum(s.far_w, far_w), jnp.maximum(s.far_a, far_a)
    moved = State(new.u, new.change, new.H, new.e, new.K, (new.K - s.K) / new.h, t, h, tried, s.taken + 1,
                  jnp.zeros_like(s.rejected), forced, far_w, far_a, status)  # fmt: skip
    kept = s._replace(h=h, tried=tried, rejected=s.rejected + 1, status=status)
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), moved, kept)


@jax.jit
def advance(task: Task, p: Particles, s: State, limits: Limits, attempts: Any) -> State:
    """At most so many attempts, or to the end.

    Nets are advanced one after the other: one net's particles stay in the cache, and no net waits for another.
    """

    def more(c: tuple[State, Any]) -> Any:
        return (c[0].status == RUNNING) & (c[1] < attempts)

    def body(c: tuple[State, Any]) -> tuple[State, Any]:
        return _next(task, p, c[0], limits), c[1] + 1

    return lax.while_loop(more, body, (s, jnp.zeros((), jnp.int32)))[0]


@jax.jit
def start(task: Task, p: Particles, limits: Limits, attempts: Any) -> State:
    """:func:`advance` from the state before training."""
    return advance(task, p, begin(task, p), limits, attempts)


def flat(s: State) -> jax.Array:
    """All of a state as one row of numbers: a program that returns fifteen arrays takes as long as three steps for that."""
    return jnp.concatenate([v.astype(s.e.dtype).ravel() for v in s])


def parted(row: Any, task: Task, p: Particles) -> State:
    """The state that :func:`flat` made a row of, by views of it."""
    n, c = task.y.shape
    scalar = ()
    shapes = (p.u.shape, p.w.shape, (n, p.mass.size), (n, c), (n * c, n * c), (n * c, n * c), *[scalar] * 9)
    ends = list(accumulate(math.prod(shape) for shape in shapes))
    parts = (row[end - math.prod(shape) : end].reshape(shape) for shape, end in zip(shapes, ends, strict=True))
    return State(*(v.astype(np.int32) if name in COUNTS else v for name, v in zip(State._fields, parts, strict=True)))


@jax.jit
def start_flat(task: Task, p: Particles, limits: Limits, attempts: Any) -> jax.Array:
    """:func:`start`, the state as one row."""
    return flat(start(task, p, limits, attempts))


@jax.jit
def advance_flat(task: Task, p: Particles, row: Any, limits: Limits, attempts: Any) -> jax.Array:
    """:func:`advance` from a row to a row."""
    return flat(advance(task, p, parted(row, task, p), limits, attempts))
