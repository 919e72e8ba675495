"""Plain gradient descent of a two-layer ReLU net, with the step-size rule of Luo et al. 2021: halve and start again when the
loss rises.

In the rescaled variables a step of size lr is one of h = lr / (beta1 beta2); with lr = lr0 sqrt(beta1 beta2) alpha and
beta1 beta2 = 1, h = lr0 / kappa. What is advanced are the pre-activations, n numbers per neuron, by the Gram matrix: one
product a step instead of two, and none with the d input weights.

Neurons see each other through the residual only. They are taken in groups whose arrays stay in the processor's cache: all of
a step is done on one group, up to what the group then adds to the outputs, which is all that the next step asks for. So
a step reads and writes the arrays of the net once.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

RUNNING, CONVERGED, ROSE, STEP_LIMIT = range(4)
OUTCOMES = ("running", "converged", "rose", "step-limit")
# A loss that rises by less than this part is rounding.
RISE = 1e-9
# Bytes of one array of a group, of which a step has six or so in use: measured at 2 MB of second-level cache, where 60 000 to
# 200 000 take at most a twelfth longer and 400 000 a fifth.
GROUP_BYTES = 100_000
# Neurons that make whole lines of the cache, in either precision.
ALIGNED = 16


class Net(NamedTuple):
    """a : (c, N) output weights in units of beta1, w : (r, N) input weights in units of beta2."""

    a: Any
    w: Any


class Run(NamedTuple):
    """At the end: the net, the steps taken, the mean squared residual, and the largest distances."""

    net: Net
    steps: jax.Array
    loss: jax.Array
    far_w: jax.Array
    far_a: jax.Array
    status: jax.Array


class _State(NamedTuple):
    """Of g groups of s neurons. a : (g, c, s). H : pre-activations, (g, n, s). forces : their sum, (g, n, s): w has changed by
    -X^T forces, H by -X X^T forces. f : outputs over kappa, (n, c)."""

    a: jax.Array
    H: jax.Array
    forces: jax.Array
    f: jax.Array


class _Problem(NamedTuple):
    """G = X X^T, targets (n, c), scales, and the rescaled step h."""

    G: Any
    y: Any
    kappa: Any
    kappa_prime: Any
    h: Any

    def residual(self, now: _State) -> jax.Array:
        return self.kappa * now.f - self.y


class _Start(NamedTuple):
    """What distances are measured from: a and H at the start, and the share of each neuron, (g, 1, s)."""

    a: jax.Array
    H: jax.Array
    share: jax.Array


class _Groups(NamedTuple):
    """``neurons`` of them in groups of ``size``. The last group reaches back over neurons of the one before, which it holds with
    all weights zero: that is where they stay."""

    neurons: int
    size: int

    @classmethod
    def of(cls, H: tuple[int, int], dtype: Any) -> _Groups:
        """From the shape of the pre-activations, (n, N)."""
        n, count = H
        groups = -(-count * n * dtype.itemsize // GROUP_BYTES)
        return cls(count, min(count, -(-count // (groups * ALIGNED)) * ALIGNED))

    @property
    def number(self) -> int:
        return -(-self.neurons // self.size)

    def begin(self, k: Any) -> Any:
        """The first neuron of group k."""
        return jnp.minimum(k * self.size, self.neurons - self.size)

    def part(self, v: Any, k: Any) -> jax.Array:
        """Group k of (rows, N), shape (rows, s)."""
        begin = self.begin(k)
        return jnp.where(jnp.arange(self.size) < k * self.size - begin, 0, lax.dynamic_slice_in_dim(v, begin, self.size, 1))

    def split(self, v: Any) -> jax.Array:
        """(rows, N) as (g, rows, s)."""
        return jax.vmap(partial(self.part, jnp.asarray(v)))(jnp.arange(self.number))

    def joined(self, v: jax.Array) -> jax.Array:
        """(g, rows, s) as (rows, N)."""
        before = (self.number - 1) * self.size
        most = jnp.moveaxis(v[:-1], 0, 1).reshape(v.shape[1], before)
        return jnp.concatenate([most, v[-1][:, self.size - self.neurons + before :]], axis=1)


def _read(k: Any, arrays: Any) -> Any:
    """Group k of each array, as a copy: XLA would slice once more where the group is used, keep what is written meanwhile apart
    for that, and so copy the whole array for every group. What a branch returns it computes once."""

    def none() -> Any:
        return jax.tree.map(lambda v: jnp.zeros(v.shape[1:], v.dtype), arrays)

    return lax.cond(k >= 0, lambda: jax.tree.map(lambda v: v[k], arrays), none)


def _begin(first: Net, X: Any, groups: _Groups) -> _State:
    a = groups.split(first.a)

    def one(k: Any, c: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        H = X @ groups.part(first.w, k)
        return lax.dynamic_update_index_in_dim(c[0], H, k, 0), c[1] + jnp.maximum(H, 0) @ a[k].T

    # Ones, which are written over: one array of zeros would be shared with the forces, and copied.
    blank = jnp.ones((groups.number, X.shape[0], groups.size), X.dtype)
    H, f = lax.fori_loop(0, groups.number, one, (blank, jnp.zeros((X.shape[0], a.shape[1]), X.dtype)))
    return _State(a, H, jnp.zeros_like(H), f)


def _end(first: Net, X: Any, now: _State, groups: _Groups) -> Net:
    def one(k: Any, w: jax.Array) -> jax.Array:
        begin = groups.begin(k)
        part = lax.dynamic_slice_in_dim(w, begin, groups.size, 1) - X.T @ now.forces[k]
        return lax.dynamic_update_slice_in_dim(w, part, begin, 1)

    return Net(groups.joined(now.a), lax.fori_loop(0, groups.number, one, jnp.asarray(first.w)))


def _step(p: _Problem, now: _State, start: _Start | None = None) -> tuple[_State, jax.Array]:
    """One step of descent; with ``start`` also the squared lengths of the changes of w and a after it, (2,)."""
    scale, e = p.h * p.kappa / p.y.shape[0], p.residual(now)
    pull, push = (scale * p.kappa_prime) * e, (scale / p.kappa_prime) * e

    def one(k: Any, c: tuple[_State, jax.Array]) -> tuple[_State, jax.Array]:
        (a, H, forces), first = _read(k, (c[0][:3], start))
        force = jnp.where(H > 0, pull @ a, 0)
        a, H, forces = a - push.T @ jnp.maximum(H, 0), H - p.G @ force, forces + force
        far = c[1]
        if first is not None:
            # |X^T forces|^2 = forces . X X^T forces
            changes = forces * (first.H - H), jnp.square(a - first.a)
            far = far + jnp.stack([jnp.dot(first.share[0], jnp.sum(v, axis=0)) for v in changes])
        put = partial(lax.dynamic_update_index_in_dim, index=k, axis=0)
        f = c[0].f + jnp.maximum(H, 0) @ a.T
        return _State(put(c[0].a, a), put(c[0].H, H), put(c[0].forces, forces), f), far

    begin = now._replace(f=jnp.zeros_like(now.f)), jnp.zeros(2, e.dtype)
    return lax.fori_loop(0, now.a.shape[0], one, begin)


@partial(jax.jit, static_argnames=("steps",))
def descend(net: Net, X: Any, y: Any, kappa: Any, kappa_prime: Any, h: Any, steps: int) -> tuple[Net, jax.Array]:
    """So many steps; the net after them, and the mean squared residual before each, (steps,)."""
    p, groups = _Problem(X @ X.T, y, kappa, kappa_prime, h), _Groups.of((X.shape[0], net.a.shape[1]), X.dtype)

    def body(now: _State, _: None) -> tuple[_State, jax.Array]:
        return _step(p, now)[0], jnp.mean(jnp.square(p.residual(now)))

    now, losses = lax.scan(body, _begin(net, X, groups), None, length=steps)
    return _end(net, X, now, groups), losses


@jax.jit
def train(first: Net, share: Any, X: Any, y: Any, kappa: Any, kappa_prime: Any, h: Any, target: Any, most: Any) -> Run:
    """From the start to the target, to the first rise of the loss, or to ``most`` steps.

    ``share``, (N,), counts the neurons whose distance is measured. Distances are looked at after every step.
    """
    p, groups = _Problem(X @ X.T, y, kappa, kappa_prime, h), _Groups.of((X.shape[0], first.a.shape[1]), X.dtype)
    begin = _begin(first, X, groups)
    start = _Start(begin.a, begin.H, groups.split(share[None]))

    def looked(now: _State, far: jax.Array, run: Run) -> tuple[_State, Run]:
        """The net, with what there is to say of it: its loss, and whether it goes on."""
        loss = jnp.mean(jnp.square(p.residual(now)))
        rose = jnp.logical_not(loss <= run.loss * (1 + RISE))
        status = jnp.where(run.steps >= most, STEP_LIMIT, jnp.where(rose, ROSE, RUNNING))
        status = jnp.where(loss <= target, CONVERGED, status).astype(jnp.int32)
        far_w, far_a = jnp.sqrt(jnp.maximum(far, 0))
        return now, Run(first, run.steps + 1, loss, jnp.maximum(run.far_w, far_w), jnp.maximum(run.far_a, far_a), status)

    none = jnp.zeros((), X.dtype)
    run = Run(first, jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, X.dtype), none, none, jnp.zeros((), jnp.int32))
    # The loss of a net decides whether it takes a step.
    at_start = looked(begin, jnp.zeros(2, X.dtype), run)
    now, run = lax.while_loop(lambda s: s[1].status == RUNNING, lambda s: looked(*_step(p, s[0], start), s[1]), at_start)
    return run._replace(net=_end(first, X, now, groups))
