"""The linear maps behind the curvature operators, for all data at once or block by block.

A problem is a pytree whose arrays are arguments of the compiled code: problems of one shape share it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from trainphase.problem import Problem

Linear = Callable[[jax.Array], jax.Array]


def replaced(problem: Problem, inputs: Any, targets: Any) -> Problem:
    """The problem with other data and the same weight of each sample."""
    return eqx.tree_at(lambda p: (p.inputs, p.targets), problem, (inputs, targets))


@functools.partial(jax.jit, static_argnums=0)
def prepare(kind: str, problem: Problem, theta: jax.Array) -> Any:
    """The linear map at ``theta`` over all data, as a value that :func:`apply` takes."""
    return _LINEAR[kind](problem, theta)


@jax.jit
def apply(linear: Any, v: jax.Array) -> jax.Array:
    """The image of v."""
    return linear(v)


@functools.partial(jax.jit, static_argnums=(0, 1))
def in_blocks(kind: str, rows: int, problem: Problem, theta: jax.Array, v: jax.Array) -> jax.Array:
    """The product of the whole from those of blocks of ``rows`` samples; what is left over is a block of its own."""
    if kind == "kernel":
        return problem.weight * in_blocks("push", rows, problem, theta, in_blocks("pull", rows, problem, theta, v))
    # Where the vector has a number for each output it is cut with the data.
    parts = (problem.inputs, problem.targets, v.reshape(problem.targets.shape) if kind == "pull" else None)

    def block(part: Any) -> jax.Array:
        x, y, u = part
        return _LINEAR[kind](replaced(problem, x, y), theta)(v if u is None else jnp.ravel(u))

    whole, left = _cut(rows, parts)
    if kind == "push":
        found = jax.lax.map(block, whole).ravel()
        return found if left is None else jnp.concatenate([found, block(left)])
    return _total(block, whole, left, theta)


@functools.partial(jax.jit, static_argnums=0)
def slope(rows: int | None, problem: Problem, theta: jax.Array) -> jax.Array:
    """The gradient of the loss, all data at once or in blocks of ``rows`` samples."""

    def block(part: Any) -> jax.Array:
        return replaced(problem, *part).gradient(theta)

    if rows is None:
        return problem.gradient(theta)
    return _total(block, *_cut(rows, (problem.inputs, problem.targets)), theta)


def _cut(rows: int, data: Any) -> tuple[Any, Any]:
    """Whole blocks under a new leading axis, and what is left over or None."""
    count = jax.tree.leaves(data)[0].shape[0]
    whole = count - count % rows
    blocks = jax.tree.map(lambda a: a[:whole].reshape(whole // rows, rows, *a.shape[1:]), data)
    return blocks, jax.tree.map(lambda a: a[whole:], data) if whole < count else None


def _total(block: Callable[[Any], jax.Array], whole: Any, left: Any, like: jax.Array) -> jax.Array:
    start = jnp.zeros_like(like) if left is None else block(left)
    return jax.lax.scan(lambda total, part: (total + block(part), None), start, whole)[0]


# ---- the maps: (problem, theta) -> a linear function of a vector


def _hessian(problem: Problem, theta: jax.Array) -> Linear:
    return jax.linearize(problem.gradient, theta)[1]


def _projected(problem: Problem, theta: jax.Array) -> Linear:
    """The Hessian of weights . outputs; the weights stand in the targets' place."""
    return jax.linearize(jax.grad(lambda t: jnp.vdot(jnp.ravel(problem.targets), problem.outputs(t))), theta)[1]


def _gauss_newton(problem: Problem, theta: jax.Array) -> Linear:
    push, pull, f = _push(problem, theta), _pull(problem, theta), problem.outputs(theta)

    def product(push: Linear, pull: Linear, f: jax.Array, problem: Problem, v: jax.Array) -> jax.Array:
        return pull(problem.root_transpose(f, problem.root(f, push(v))))

    return Partial(product, push, pull, f, problem)


def _tangent(problem: Problem, theta: jax.Array) -> Linear:
    def product(push: Linear, pull: Linear, v: jax.Array, weight: float = problem.weight) -> jax.Array:
        return weight * pull(push(v))

    return Partial(product, _push(problem, theta), _pull(problem, theta))


def _kernel(problem: Problem, theta: jax.Array) -> Linear:
    def product(push: Linear, pull: Linear, u: jax.Array, weight: float = problem.weight) -> jax.Array:
        return weight * push(pull(u))

    return Partial(product, _push(problem, theta), _pull(problem, theta))


def _push(problem: Problem, theta: jax.Array) -> Linear:
    """J v, from parameters to outputs."""
    return jax.linearize(problem.outputs, theta)[1]


def _pull(problem: Problem, theta: jax.Array) -> Linear:
    """J^T u, from outputs to parameters."""
    return Partial(lambda pull, u: pull(u)[0], jax.vjp(problem.outputs, theta)[1])


_LINEAR = {
    "hessian": _hessian, "projected": _projected, "gauss-newton": _gauss_newton,
    "tangent": _tangent, "kernel": _kernel, "push": _push, "pull": _pull,
}  # fmt: skip
