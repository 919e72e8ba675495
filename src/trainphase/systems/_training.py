"""What every method of training on a problem shares: loss and residual, and the curvature of the loss along the run.

Curvatures are in units of the method's own threshold, so that 2 is the edge of stability whatever the method is.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from trainphase.errors import RequestError
from trainphase.problem import Problem
from trainphase.system import Map
from trainphase.systems._krylov import krylov_top
from trainphase.systems._lanczos import lanczos_top

Number = float | jax.Array | np.ndarray
# Up to so many rows a Jacobian is formed, and up to so many parameters a Hessian: that is exact, and no dearer than the
# twenty to thirty products of an iteration.
DENSE = 32
# Runs are advanced one after the other, and not side by side, where samples times parameters exceed this. Measured on one
# thread, tanh nets of depth 2: side by side takes 0.45 of the time at 5e3, 0.9 at 1e5 to 4e5, 1.15 (float32) to 1.25 at 2e6.
IN_TURN = 1e6


class Trained(Map):
    """A problem that is trained; of its curvature nothing is known.

    Subclasses say where theta is in the state (``place``) and how it moves (``moved``).
    """

    lr: Number
    problem: Problem
    vocabularies: ClassVar[tuple[str, ...]] = ("training",)
    settled: ClassVar[float] = 1e-10
    costly: ClassVar[bool] = True

    def place(self, state: Any) -> jax.Array:
        """theta, shape (P,)."""
        raise NotImplementedError

    def moved(self, state: Any, gradient: jax.Array) -> Any:
        """The next state."""
        raise NotImplementedError

    @property
    def units(self) -> dict[str, str]:
        """Units that differ from the usual ones: residuals are not rescaled, and cross-entropy is in nats."""
        squared = self.problem.loss == "squared"
        kind = "target units" if squared else "1"
        out = {"residual": kind, "lower": kind, "upper": kind}
        return out if squared else {**out, "loss": "nat"}

    @property
    def small(self) -> bool:
        """True where J has so few rows or columns that it may be formed."""
        return min(self.problem.outputs_size, self.problem.size) <= DENSE

    @property
    def in_turn(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True where runs are advanced one after the other: a step of one run keeps the processor busy by itself."""
        return self.problem.samples * self.problem.size > IN_TURN

    @property
    def lanes(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Runs under way at a time."""
        return 8 if self.in_turn else 64

    @property
    def records(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A run is recorded so often at most: where nothing is formed, a record costs as much as some dozens of steps."""
        return 1024 if self.small else 256

    def residual(self, state: Any) -> jax.Array:
        """f - y, or softmax(f) - y; shape (D,)."""
        return self.problem.residual(self.place(state))

    def loss(self, state: Any) -> jax.Array:
        """The problem's loss."""
        return self.problem.loss_at(self.place(state))

    def escaped(self, state: Any) -> jax.Array:
        """True once a parameter is not finite or larger than 1e6."""
        return jnp.logical_not(jnp.all(jnp.abs(self.place(state)) <= 1e6))

    def step(self, state: Any) -> Any:
        """One step of the method on the full batch."""
        return self.moved(state, self.problem.gradient(self.place(state)))

    def check(self) -> None:
        """lr above 0 and finite."""
        lr = np.asarray(self.lr)
        if not np.all(np.isfinite(lr) & (lr > 0)):
            raise RequestError(f"lr = {np.min(lr):g} is no step size; give a number above 0")


class Training(Trained):
    """A problem trained by a method whose threshold is known: eigenvalues times ``rate`` are 2 at the edge of stability.

    A method with a preconditioner says what it is (``metric``): its eigenvalues are those of S A S.
    """

    vocabularies: ClassVar[tuple[str, ...]] = ("edge", "training")

    def rate(self) -> jax.Array:
        """What an eigenvalue is multiplied by, so that 2 is the edge of stability."""
        return jnp.asarray(self.lr)

    def metric(self, state: Any) -> jax.Array | None:
        """Square root of the inverse of the method's preconditioner, shape (P,), or None: eigenvalues are of S A S."""
        return None

    def factor(self, state: Any) -> tuple[Any, Any]:
        """The Gauss-Newton matrix as a product of two maps: v (P,) -> R J S v (D,), and its transpose."""
        theta, S = self.place(state), self.metric(state)
        f, forth = jax.linearize(self.problem.outputs, theta)
        back = jax.linear_transpose(forth, theta)

        def push(v: jax.Array) -> jax.Array:
            return self.problem.root(f, forth(v if S is None else S * v))

        def pull(v: jax.Array) -> jax.Array:
            out = back(self.problem.root_transpose(f, v))[0]
            return out if S is None else S * out

        return push, pull

    def hessian(self, state: Any) -> Any:
        """The map v -> S H S v of the loss's Hessian H, shape (P,)."""
        theta, S = self.place(state), self.metric(state)
        product = jax.linearize(self.problem.gradient, theta)[1]
        return product if S is None else lambda v: S * product(S * v)

    def _smaller(self, state: Any) -> tuple[Any, Any]:
        """push and pull such that vectors are on the smaller side of J."""
        push, pull = self.factor(state)
        return (push, pull) if self.problem.outputs_size <= self.problem.size else (pull, push)

    def memory(self) -> tuple[jax.Array, jax.Array]:
        """Two estimates of the kernel's top mode, unit, for even and odd steps, between which it may jump."""
        state = self.init()
        first = self.problem.residual_of_outputs(self.problem.outputs(self.place(state)))
        if self.problem.outputs_size > self.problem.size:
            first = self.factor(state)[1](first)
        size = jnp.linalg.norm(first)
        # At the targets there is no residual, and any direction will do.
        first = jnp.where(size > 0, first / jnp.where(size > 0, size, 1.0), 1.0 / np.sqrt(first.shape[0]))
        return first, first

    def observed_step(self, state: Any, memory: Any, look: bool) -> tuple[Any, jax.Array, jax.Array, Any]:
        """A step with its loss, from one gradient; with ``look`` the curvature, followed from below.

        Three Lanczos steps from the mode of two looks ago: exact to second order in how far the mode has turned.
        """
        loss, gradient = self.problem.loss_and_gradient(self.place(state))
        curvature = jnp.full_like(loss, jnp.nan)
        if look:
            push, pull = self._smaller(state)
            mode, other = memory
            value, mode = krylov_top(push, pull, mode)
            curvature, memory = self.rate() * value[0], (other, mode)
        return self.moved(state, gradient), loss, curvature, memory

    def leading(self, state: Any) -> jax.Array:
        """``rate`` times the eigenvalues of the Gauss-Newton matrix, ascending, shape (min(D, P),); forms J."""
        _, pull = self._smaller(state)
        side = min(self.problem.outputs_size, self.problem.size)
        rows = jax.vmap(pull)(jnp.eye(side, dtype=self.place(state).dtype))
        gram = rows @ rows.T
        # A decomposition of a matrix with NaN may not end.
        fine = jnp.all(jnp.isfinite(gram))
        values = jnp.linalg.eigvalsh(jnp.where(fine, gram, jnp.eye(side, dtype=gram.dtype)))
        return jnp.where(fine, self.rate() * values, jnp.nan)

    def curvature(self, state: Any) -> jax.Array:
        """``rate`` times the largest eigenvalue of the Gauss-Newton matrix (squared loss: of the tangent kernel), 1e-3."""
        return self.leading(state)[-1] if self.small else self._curvature_from(state, self.memory()[0])[0]

    def _curvature_from(self, state: Any, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        push, pull = self._smaller(state)
        top = lanczos_top(lambda v: push(pull(v)), start)
        return self.rate() * top.value, top.vector

    def sharpness(self, state: Any) -> jax.Array:
        """``rate`` times the largest eigenvalue of the loss's Hessian, 1e-3."""
        return self._sharpness_from(state, jnp.ones_like(self.place(state)))[0]

    def _sharpness_from(self, state: Any, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        product = self.hessian(state)
        if start.shape[0] > DENSE:
            top = lanczos_top(product, start)
            return self.rate() * top.value, top.vector
        matrix = jax.vmap(product)(jnp.eye(start.shape[0], dtype=start.dtype))
        fine = jnp.all(jnp.isfinite(matrix))
        value = jnp.linalg.eigvalsh(jnp.where(fine, 0.5 * (matrix + matrix.T), jnp.eye(start.shape[0], dtype=start.dtype)))[-1]
        return jnp.where(fine, self.rate() * value, jnp.nan), start

    def followed(self) -> tuple[jax.Array, jax.Array]:
        """What ``follow`` carries from record to record: the top modes of kernel and Hessian."""
        return self.memory()[0], jnp.ones(self.problem.size, self.problem.flat().dtype)

    def follow(self, state: Any, memory: Any) -> tuple[dict[str, jax.Array], Any]:
        """Curvature and sharpness as above, each from the mode of the last record, and the modes renewed."""
        mode, direction = memory
        curvature, mode = (self.curvature(state), mode) if self.small else self._curvature_from(state, mode)
        sharpness, direction = self._sharpness_from(state, direction)
        return {"curvature": curvature, "sharpness": sharpness}, (mode, direction)
