"""The curvature operators of a problem as products with vectors; no matrix is formed.

Second derivatives are forward derivatives of the gradient. All data at once: the model is linearised once per point, and each
product costs only the linear part. With ``batch`` the data pass through in blocks, so that memory is that of one block; the
model must then treat the rows of its inputs one by one. One compilation per problem and block size: another point in parameter
space costs none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainphase._arrays import precision
from trainphase.errors import RequestError
from trainphase.problem import Problem
from trainphase.spectrum import _linear
from trainphase.spectrum.checks import Check, compare


@dataclass(frozen=True, eq=False)
class Operator:
    """A symmetric operator.

    Attributes
    ----------
    product : (size,) -> (size,), NumPy arrays.
    name : what it is, in words.
    other : for the kernel's two sides, the map of a row of eigenvectors (k, size) to unit eigenvectors of the other side.
    """

    product: Callable[[np.ndarray], np.ndarray]
    size: int
    name: str
    other: Callable[[np.ndarray], np.ndarray] | None = None


def hessian(problem: Problem, theta: Any, batch: int | None = None) -> Operator:
    """The Hessian of the loss at the parameter vector ``theta``, (P,); loss units. Cost: about two gradients a product."""
    return _operator("hessian", problem, theta, batch, problem.size, "Hessian of the loss")


def gauss_newton(problem: Problem, theta: Any, batch: int | None = None) -> Operator:
    """J^T L'' J with J the Jacobian of the outputs and L'' the loss's second derivative in them; loss units.

    For the squared loss its eigenvalues are those of :func:`ntk`.
    """
    return _operator("gauss-newton", problem, theta, batch, problem.size, "Gauss-Newton matrix")


def ntk(problem: Problem, theta: Any, batch: int | None = None, side: str = "smaller") -> Operator:
    """The tangent kernel J J^T, (D, D), or J^T J, (P, P), times the loss's scale: 1 for a sum over the data, 1 / n for a mean.

    side : "outputs" (J J^T), "parameters" (J^T J), or "smaller", the one with fewer rows. They share their eigenvalues above 0;
    ``other`` turns eigenvectors of the one into those of the other, u = J v / |J v| or v = J^T u / |J^T u|.
    """
    if side not in ("smaller", "outputs", "parameters"):
        raise RequestError(f"side = {side!r} is not known; give smaller, outputs or parameters")
    outputs = problem.outputs_size
    if side == "outputs" or (side == "smaller" and outputs <= problem.size):
        inner = _operator("kernel", problem, theta, batch, outputs, "tangent kernel J J^T")
        over = _operator("pull", problem, theta, batch, outputs, "")
    else:
        inner = _operator("tangent", problem, theta, batch, problem.size, "tangent kernel J^T J")
        over = _operator("push", problem, theta, batch, problem.size, "")

    def other(rows: np.ndarray) -> np.ndarray:
        images = np.stack([over.product(row) for row in np.atleast_2d(rows)]).astype(np.float64)
        return images / np.linalg.norm(images, axis=1)[:, None]

    return Operator(inner.product, inner.size, inner.name, other)


def projected_q(problem: Problem, theta: Any, v: Any, batch: int | None = None) -> Operator:
    """v . Q(., .), with Q the second derivative of the outputs: the Hessian of v . f; v : (D,). Not scaled by the loss."""
    outputs = problem.outputs_size
    if np.shape(v) != (outputs,):
        raise RequestError(f"v has shape {np.shape(v)}; give one number for each of the {outputs} outputs")
    return _operator("projected", problem, theta, batch, problem.size, "second derivative along v", np.asarray(v))


def preconditioned(operator: Operator, p: Any) -> Operator:
    """P^-1/2 A P^-1/2 with the diagonal P = ``p``, (P,), positive: the eigenvalues of P^-1 A, with a symmetric matrix."""
    p = np.asarray(p)
    if p.shape != (operator.size,) or not np.all(p > 0) or not np.isfinite(p).all():
        raise RequestError(f"the preconditioner has shape {p.shape} and must be {operator.size} finite numbers above 0")
    root = 1 / np.sqrt(p.astype(np.float64))

    def product(v: np.ndarray) -> np.ndarray:
        image = operator.product(root * v)
        return (root * image).astype(image.dtype)

    return Operator(product, operator.size, f"preconditioned {operator.name}")


def gradient(problem: Problem, theta: Any, batch: int | None = None) -> np.ndarray:
    """The gradient of the loss at ``theta``, (P,). It leans to the unstable modes: a good further start for ``top``."""
    given = _Given(problem, theta, batch)
    with precision(given.dtype):
        return np.asarray(_linear.slope(given.rows, given.problem, given.theta))


def check_products(problem: Problem, theta: Any, batch: int | None = None) -> Check:
    """Hold the Hessian's products against a finite difference of the gradient; once per model. Cost: about seven gradients."""
    return compare(hessian(problem, theta, batch).product, lambda at: gradient(problem, at, batch), np.asarray(theta))


# ---- from a linear map at a point to an operator


class _Given:
    """A problem at a point in one precision. rows : samples in a block, None for all at once."""

    def __init__(self, problem: Problem, theta: Any, batch: int | None, along: Any = None) -> None:
        if batch is not None and batch < 1:
            raise RequestError(f"batch = {batch} is no number of samples; give at least 1, or None for all data at once")
        if np.shape(theta) != (problem.size,):
            raise RequestError(f"theta has shape {np.shape(theta)}; give a vector of the {problem.size} parameters")
        self.dtype = "float64" if np.asarray(theta).dtype == np.float64 else "float32"
        self.rows = None if batch is None or batch >= problem.samples else int(batch)
        if self.rows is not None:
            problem.rows(0, self.rows)  # refuses inputs that cannot be parted
        with precision(self.dtype):
            self.theta = jnp.asarray(theta, self.dtype)
            if along is not None:
                problem = _linear.replaced(problem, problem.inputs, np.reshape(along, np.shape(problem.targets)))
            self.problem = jax.tree.map(self._number, problem)

    def _number(self, leaf: Any) -> jax.Array:
        return jnp.asarray(leaf, self.dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else None)


def _operator(kind: str, problem: Problem, theta: Any, batch: int | None, size: int, name: str, along: Any = None) -> Operator:
    """The operator of a linear map of ``_linear``; ``along``, (D,), stands in the place of the targets."""
    given = _Given(problem, theta, batch, along)
    with precision(given.dtype):
        whole = _linear.prepare(kind, given.problem, given.theta) if given.rows is None else None

    def product(v: np.ndarray) -> np.ndarray:
        # As NumPy numbers of the right precision the vector goes to the device with the call, at half the cost.
        vector = np.asarray(v, given.dtype)
        with precision(given.dtype):
            if given.rows is None:
                return np.asarray(_linear.apply(whole, vector))
            return np.asarray(_linear.in_blocks(kind, given.rows, given.problem, given.theta, vector))

    return Operator(product, size, name)
