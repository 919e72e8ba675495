"""One step of the solver of the three-layer ReLU net; its equations stand in :mod:`trainphase.relu.three_layer`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase.systems.relu3 import Jacobian, ReLU3, gram

# Rows of W2(0) that are multiplied at a time; a block in double precision fits a cache.
ROWS = 64
LANDING = 0.97  # the last step aims at this fraction of the target loss, so that it need not be repeated
RESIDUAL = 5.0  # the residual may miss its prediction by so many times the tolerance; weights are what is reported
DROPPED = 1e-10  # relative Frobenius norm dropped from the change of W2 when its factors are shortened


class Net(NamedTuple):
    """The problem: X, X X^T, y, kappa, rates; W1 and a per copy; W2(0), shared, in blocks of ROWS rows, zero rows at the end."""

    X: jax.Array
    inner: jax.Array
    y: jax.Array
    kappa: jax.Array
    rates: jax.Array
    W1: jax.Array
    a: jax.Array
    W2: jax.Array


class Factors(NamedTuple):
    """The change of W2 is A B^T over the first columns; each of shape (copies, m, R)."""

    A: jax.Array
    B: jax.Array


class State(NamedTuple):
    """Changes of W1 and a since the start, the number of columns filled, pre-activations, Jacobian, residual.

    square: squared norm of the change of W2, per copy.
    """

    W1: jax.Array
    a: jax.Array
    filled: jax.Array
    z1: jax.Array
    z2: jax.Array
    J: Jacobian
    e: jax.Array
    square: jax.Array


def _forward(net: Net, W1: jax.Array, low: Sequence[Factors]) -> tuple[jax.Array, jax.Array]:
    """Pre-activations, shape (copies, n, m), after the change ``W1`` and that of W2, the sum of A B^T over ``low``."""
    z1 = jnp.einsum("nd,kmd->knm", net.X, net.W1 + W1)
    h = jax.nn.relu(z1)
    m = h.shape[2]
    H = jnp.reshape(h, (-1, m)).T
    out = lax.map(lambda block: block.astype(H.dtype) @ H, net.W2)
    z2 = jnp.reshape(jnp.reshape(out, (-1, H.shape[1]))[:m].T, h.shape)
    for A, B in low:
        z2 = z2 + jnp.einsum("knr,kpr->knp", jnp.einsum("knm,kmr->knr", h, B), A)
    return z1, z2


def _backward(net: Net, s: jax.Array, low: Sequence[Factors]) -> jax.Array:
    """s W2, shape (copies, n, m)."""
    m = s.shape[2]
    S = jnp.pad(jnp.reshape(s, (-1, m)).T, ((0, net.W2.shape[0] * ROWS - m), (0, 0)))
    zero = jnp.zeros((S.shape[1], m), S.dtype)
    blocks = jnp.reshape(S, (-1, ROWS, S.shape[1]))
    out, _ = lax.scan(lambda c, x: (c + x[1].T @ x[0].astype(S.dtype), None), zero, (net.W2, blocks))
    t = jnp.reshape(out, s.shape)
    for A, B in low:
        t = t + jnp.einsum("knr,kmr->knm", jnp.einsum("knp,kpr->knr", s, A), B)
    return t


def _arrive(net: Net, W1: jax.Array, a: jax.Array, low: Sequence[Factors], filled: jax.Array, square: jax.Array) -> State:
    """The state after the changes ``W1``, ``a`` and those of W2."""
    z1, z2 = _forward(net, W1, low)
    h1, h2, now = jax.nn.relu(z1), jax.nn.relu(z2), net.a + a
    s2 = jnp.where(z2 > 0, now[:, None, :], 0.0)
    s1 = jnp.where(z1 > 0, _backward(net, s2, low), 0.0)
    e = net.kappa * jnp.einsum("knm,km->n", h2, now) - net.y
    return State(W1, a, filled, z1, z2, Jacobian(h1, h2, s1, s2), e, square)


def _secant(z0: jax.Array, z1: jax.Array) -> jax.Array:
    """(relu(z_1) - relu(z_0)) / (z_1 - z_0)."""
    switched = (z0 > 0) != (z1 > 0)
    return jnp.where(switched, jnp.maximum(z0, z1) / jnp.where(switched, jnp.abs(z1 - z0), 1.0), jnp.where(z0 > 0, 1.0, 0.0))


def _between(net: Net, state: State, W1: jax.Array, a: jax.Array, old: Factors, new: Factors) -> Jacobian:
    """The discrete gradient between the state and the point that ``W1``, ``a``, ``new`` away."""
    z1, z2 = _forward(net, state.W1 + W1, [old, new])
    h1, h2 = 0.5 * (state.J.h1 + jax.nn.relu(z1)), 0.5 * (state.J.h2 + jax.nn.relu(z2))
    s2 = _secant(state.z2, z2) * (net.a + state.a + 0.5 * a)[:, None, :]
    s1 = _secant(state.z1, z1) * _backward(net, s2, [old, Factors(0.5 * new.A, new.B)])
    return Jacobian(h1, h2, s1, s2)


def _integral(K: jax.Array, e: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """int_0^h of the residual, and the residual at h, for e' = -K e; shapes (n,)."""
    w, Q = jnp.linalg.eigh(K)
    # Eigenvalues that are rounding belong to directions in which the weights cannot move e.
    real = w > 1e-15 * len(e) * w[-1]
    w = jnp.where(real, w, 1.0)
    c = Q.T @ e
    return Q @ jnp.where(real, -jnp.expm1(-h * w) / w * c, 0.0), Q @ jnp.where(real, jnp.exp(-h * w) * c, c)


def _landing(K: jax.Array, e: jax.Array, h: jax.Array, target: jax.Array) -> jax.Array:
    """The shorter of h and the time at which mean(e^2) reaches LANDING target with K frozen."""
    w, Q = jnp.linalg.eigh(K)
    w, c2 = jnp.maximum(w, 0.0), jnp.square(Q.T @ e) / len(e)

    def above(t: jax.Array) -> jax.Array:
        return jnp.sum(c2 * jnp.exp(-2 * t * w)) > LANDING * target

    def halve(_: jax.Array, b: Any) -> Any:
        mid = 0.5 * (b[0] + b[1])
        up = above(mid)
        return jnp.where(up, mid, b[0]), jnp.where(up, b[1], mid)

    bounds = lax.fori_loop(0, 60, halve, (jnp.zeros_like(h), h))
    return jnp.where(above(h), h, bounds[1])


def _squares(A: jax.Array, B: jax.Array) -> jax.Array:
    """|A B^T|^2 per copy, shape (copies,)."""
    return jnp.sum(jnp.einsum("kmr,kms->krs", A, A) * jnp.einsum("kmr,kms->krs", B, B), (1, 2))


def _move(net: Net, J: Jacobian, E: jax.Array) -> tuple[jax.Array, jax.Array, Factors]:
    """-(r/n) J^T E: of W1, of a, and of W2 as factors of n columns."""
    r = -net.rates / len(net.y)
    W1 = r[0] * jnp.einsum("n,knm,nd->kmd", E, J.s1, net.X)
    a = r[2] * jnp.einsum("n,knm->km", E, J.h2)
    return W1, a, Factors(r[1] * jnp.einsum("n,knm->kmn", E, J.s2), jnp.swapaxes(J.h1, 1, 2))


@partial(jax.jit, donate_argnames=("factors",))
def attempt(
    net: Net, state: State, factors: Factors, h: jax.Array, target: jax.Array, tolerance: jax.Array
) -> tuple[State, Factors, dict[str, jax.Array]]:
    """One step: the new state, factors with the new columns behind those in use, and what the control reads."""
    scale = net.kappa / len(net.y)
    used = jnp.where(jnp.arange(factors.A.shape[2]) < state.filled, 1.0, 0.0)
    old = Factors(factors.A * used[None, None, :], factors.B)
    K = scale * gram(state.J, net.inner, net.rates)
    h = _landing(K, state.e, h, target)
    W1, a, first = _move(net, state.J, _integral(K, state.e, h)[0])
    J = _between(net, state, W1, a, old, first)
    E, expected = _integral(scale * gram(J, net.inner, net.rates), state.e, h)
    W1_step, a_step, step = _move(net, J, E)
    # |C + D|^2 = |C|^2 + 2 <C, D> + |D|^2 for the change C = A B^T so far and the step D: no large matrix is needed.
    overlap = jnp.einsum("kmr,kmr->k", jnp.einsum("kmr,krs->kms", old.A, jnp.einsum("kmr,kms->krs", old.B, step.B)), step.A)
    square = jnp.maximum(state.square + 2 * overlap + _squares(*step), 0.0)
    missed = _squares(jnp.concatenate([step.A, -first.A], 2), jnp.concatenate([step.B, first.B], 2))
    new = _arrive(net, state.W1 + W1_step, state.a + a_step, [old, step], state.filled + len(net.y), square)
    factors = Factors(*(lax.dynamic_update_slice_in_dim(f, c, state.filled, 2) for f, c in zip(factors, step, strict=True)))

    def ratio(error: jax.Array, size: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.sum(error) / jnp.maximum(jnp.sum(size), 1e-300))

    errors = jnp.stack([
        ratio(jnp.square(W1 - W1_step), jnp.square(new.W1)), ratio(jnp.maximum(missed, 0.0), square),
        ratio(jnp.square(a - a_step), jnp.square(new.a)),
        ratio(jnp.square(new.e - expected), jnp.square(state.e)) / RESIDUAL,
    ])  # fmt: skip
    # What rounding leaves of the residual: a few units of the sums over both hidden layers.
    terms = jnp.einsum("knm,km->n", new.J.h2, jnp.abs(net.a + new.a))
    noise = 16 * jnp.finfo(terms.dtype).eps * net.kappa * jnp.max(terms)
    loss = jnp.mean(jnp.square(new.e))
    return new, factors, {"errors": errors / tolerance, "h": h, "loss": loss, "noise": noise, "change": _changes(new)}


def _changes(state: State) -> jax.Array:
    """Frobenius norms of the changes of W1, W2, a, of the first copy, shape (3,)."""
    return jnp.sqrt(jnp.stack([jnp.sum(jnp.square(state.W1[0])), state.square[0], jnp.sum(jnp.square(state.a[0]))]))


@jax.jit
def start(net: Net) -> tuple[State, jax.Array]:
    """The state at time 0, and the rates of change of W1, W2, a, shape (3,)."""
    state = _arrive(net, jnp.zeros_like(net.W1), jnp.zeros_like(net.a), [], jnp.zeros((), jnp.int32), jnp.zeros(len(net.a)))
    W1, a, factors = _move(net, state.J, state.e)
    return state, jnp.sqrt(jnp.stack([jnp.sum(jnp.square(W1[0])), _squares(*factors)[0], jnp.sum(jnp.square(a[0]))]))


def layout(system: ReLU3) -> Net:
    """The arrays of the solver, on the device."""
    W2 = np.asarray(system.W2)
    m = len(W2)
    blocks = np.zeros((-(-m // ROWS) * ROWS, m), W2.dtype)
    blocks[:m] = W2
    X = jnp.asarray(system.X, jnp.float64)
    a = jnp.asarray(system.a, jnp.float64)
    W1 = jnp.repeat(jnp.asarray(system.W1, jnp.float64)[None], system.copies, 0)
    y = jnp.asarray(system.y, jnp.float64)
    return Net(
        X,
        X @ X.T,
        y,
        system.kappa,
        system.rates,
        W1,
        jnp.stack([a, -a][: system.copies]),
        jnp.asarray(blocks.reshape(-1, ROWS, m)),
    )


def singular(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition of A B^T from its factors."""
    (qa, ra), (qb, rb) = np.linalg.qr(A), np.linalg.qr(B)
    u, s, vt = np.linalg.svd(ra @ rb.T)
    r = len(s)
    return qa @ u[:, :r], s, qb @ vt[:r].T


def shorten(factors: Factors, count: int, room: int) -> tuple[Factors, int, np.ndarray]:
    """Factors with as few columns as the change of W2 needs, their number, and its squared norm per copy."""
    found = [singular(np.asarray(A)[:, :count], np.asarray(B)[:, :count]) for A, B in zip(*factors, strict=True)]
    tails = [np.sqrt(np.cumsum(np.square(s[::-1]))[::-1]) for _, s, _ in found]
    rank = max(int(np.sum(t > DROPPED * t[0])) for t in tails)
    k, m, columns = factors.A.shape
    while columns - rank < room:
        columns *= 2
    A, B = np.zeros((k, m, columns)), np.zeros((k, m, columns))
    for i, (u, s, v) in enumerate(found):
        A[i, :, :rank], B[i, :, :rank] = u[:, :rank] * s[:rank], v[:, :rank]
    return Factors(jnp.asarray(A), jnp.asarray(B)), rank, np.array([np.sum(np.square(s[:rank])) for _, s, _ in found])
