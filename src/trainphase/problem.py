"""Problem: a user's model with its data and loss, as a function of one vector of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trainphase._arrays import checksum
from trainphase.errors import RequestError

LOSSES = ("squared", "cross-entropy")
REDUCTIONS = ("sum", "mean")
# Rows of probabilities add up to 1 within the rounding of single precision over many classes.
ADDS_UP = 1e-4


class Problem(eqx.Module):
    """A model, its parameters and its data: what training is about, without saying how one trains.

    A pytree: its arrays (``params``, ``inputs``, ``targets``) are leaves, so that compiled code takes them as arguments
    and problems of one shape share it. Everything is a function of the flat vector ``theta`` of shape (P,), float; D is
    the number of outputs, all samples together.

    Parameters
    ----------
    fn : ``fn(params, inputs)`` -> outputs; a pure function built from jax.numpy. Two problems whose ``fn`` are equal
        share compiled code: give a function or a frozen dataclass, not a fresh lambda each time.
    params : pytree of float arrays, the start.
    data : pair (inputs, targets); inputs may be any pytree, targets are an array whose leading axis are the samples.
    loss : "squared": (1/2) times the sum of squared residuals over all outputs; the targets have the outputs' shape.
        "cross-entropy": of logits along the last axis of the outputs, in nats, against whole numbers (class labels, the
        outputs' shape without its last axis) or rows of probabilities (the outputs' shape, one-hot for example).
    reduction : "sum" over the samples, or "mean": over the number of samples.

    Raises RequestError for an unknown loss or reduction, parameters that are no finite floats, an empty batch, targets
    that do not fit the loss or the outputs, and data that are not finite.
    """

    params: Any
    inputs: Any
    targets: np.ndarray | jax.Array
    fn: Callable[[Any, Any], Any] = eqx.field(static=True)
    loss: str = eqx.field(static=True)
    reduction: str = eqx.field(static=True)
    # What every sample's loss is multiplied by: 1, or one over the samples of the whole problem.
    weight: float = eqx.field(static=True)

    def __init__(
        self, fn: Callable[[Any, Any], Any], params: Any, data: tuple[Any, Any], loss: str = "squared", reduction: str = "sum"
    ) -> None:
        if loss not in LOSSES:
            raise RequestError(f"loss = {loss!r} is not known; give {' or '.join(LOSSES)}")
        if reduction not in REDUCTIONS:
            raise RequestError(f"reduction = {reduction!r} is not known; give {' or '.join(REDUCTIONS)}")
        if not isinstance(cast(object, data), tuple | list) or len(data) != 2:
            raise RequestError(f"data is a {type(data).__name__} and no pair; give (inputs, targets)")
        _check_params(params)
        inputs = jax.tree.map(lambda leaf: leaf if hasattr(leaf, "dtype") else np.asarray(leaf), data[0])
        for leaf in jax.tree.leaves(inputs):
            if jnp.issubdtype(leaf.dtype, jnp.floating) and not np.all(np.isfinite(np.asarray(leaf))):
                raise RequestError("the inputs hold a number that is not finite; remove those samples")
        out = jax.eval_shape(fn, params, inputs)
        if not isinstance(out, jax.ShapeDtypeStruct) or not jnp.issubdtype(out.dtype, jnp.floating):
            kind = getattr(out, "dtype", type(out).__name__)
            raise RequestError(f"the model returns {kind}; let fn(params, inputs) return one array of floats")
        given = np.asarray(data[1])
        if given.size == 0:
            raise RequestError(f"the batch is empty: the targets have shape {given.shape}; give at least one sample")
        self.fn = fn if _hashable(fn) else _Same(fn)
        self.params, self.inputs, self.loss, self.reduction = params, inputs, loss, reduction
        self.targets = _numbers(given, out.shape) if loss == "squared" else _probabilities(given, out.shape)
        self.weight = 1.0 / (given.shape[0] if given.ndim else 1) if reduction == "mean" else 1.0

    # As a function's owner, in jax.jit(problem.loss_at), a problem is known by which object it is.
    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> Any:
        return self is other

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))

    @property
    def outputs_size(self) -> int:
        """D, the number of outputs."""
        return int(np.size(self.targets))

    @property
    def samples(self) -> int:
        """Samples in this problem: the leading axis of the targets."""
        return self.targets.shape[0] if self.targets.ndim else 1

    def flat(self) -> jax.Array:
        """The parameters as one vector, shape (P,)."""
        return jnp.concatenate([jnp.ravel(jnp.asarray(leaf)) for leaf in jax.tree.leaves(self.params)])

    def restore(self, theta: jax.Array) -> Any:
        """The parameters with the numbers of the vector ``theta``, in its precision."""
        leaves, tree = jax.tree.flatten(self.params)
        ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1].tolist()
        parts = jnp.split(theta, ends)
        return jax.tree.unflatten(tree, [jnp.reshape(p, np.shape(leaf)) for p, leaf in zip(parts, leaves, strict=True)])

    def predict(self, theta: jax.Array, inputs: Any) -> jax.Array:
        """Outputs on any inputs, in the model's own shape."""
        return self.fn(self.restore(theta), inputs)

    def outputs(self, theta: jax.Array) -> jax.Array:
        """All outputs as one vector, shape (D,)."""
        return jnp.ravel(self.predict(theta, self.inputs))

    def loss_of_outputs(self, f: jax.Array) -> jax.Array:
        """The loss of outputs ``f`` of shape (D,): what a model of the model is trained with."""
        if self.loss == "squared":
            return (0.5 * self.weight) * jnp.sum(jnp.square(f - jnp.ravel(self.targets)))
        y = jnp.asarray(self.targets)
        return -self.weight * jnp.sum(y * jax.nn.log_softmax(jnp.reshape(f, y.shape)))

    def residual_of_outputs(self, f: jax.Array) -> jax.Array:
        """outputs - targets, or softmax(outputs) - targets: the gradient of the loss over ``weight``, shape (D,)."""
        if self.loss == "squared":
            return f - jnp.ravel(self.targets)
        return jnp.ravel(jax.nn.softmax(jnp.reshape(f, self.targets.shape)) - self.targets)

    def root(self, f: jax.Array, v: jax.Array) -> jax.Array:
        """R v, shape (D,), where R^T R is the loss's second derivative in the outputs, at outputs ``f``.

        Squared loss: R = sqrt(weight). Cross-entropy, with r = sqrt(p), p = softmax: R = sqrt(weight) (1 - r r^T) diag(r),
        since diag(p) - p p^T = diag(r) (1 - r r^T) diag(r). With J the Jacobian of the outputs, R J (R J)^T has the
        eigenvalues of the Gauss-Newton matrix J^T R^T R J; for squared loss it is the neural tangent kernel.
        """
        scale = math.sqrt(self.weight)
        if self.loss == "squared":
            return scale * v
        r = self._root_probabilities(f)
        w = r * jnp.reshape(v, r.shape)
        return scale * jnp.ravel(w - r * jnp.sum(r * w, axis=-1, keepdims=True))

    def root_transpose(self, f: jax.Array, v: jax.Array) -> jax.Array:
        """R^T v, shape (D,); see :meth:`root`."""
        scale = math.sqrt(self.weight)
        if self.loss == "squared":
            return scale * v
        r = self._root_probabilities(f)
        w = jnp.reshape(v, r.shape)
        return scale * jnp.ravel(r * (w - r * jnp.sum(r * w, axis=-1, keepdims=True)))

    def _root_probabilities(self, f: jax.Array) -> jax.Array:
        # Half of the logarithm: the square root of a probability that has underflown would have no derivative.
        return jnp.exp(0.5 * jax.nn.log_softmax(jnp.reshape(f, self.targets.shape)))

    def residual(self, theta: jax.Array) -> jax.Array:
        """z = outputs - targets (cross-entropy: softmax(outputs) - targets), shape (D,)."""
        return self.residual_of_outputs(self.outputs(theta))

    def loss_at(self, theta: jax.Array) -> jax.Array:
        """The loss, shape ()."""
        return self.loss_of_outputs(self.outputs(theta))

    def loss_and_gradient(self, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The loss and its gradient, shapes () and (P,). Cost: about three evaluations of the model."""
        return jax.value_and_grad(self.loss_at)(theta)

    def gradient(self, theta: jax.Array) -> jax.Array:
        """The gradient of the loss, shape (P,)."""
        return self.loss_and_gradient(theta)[1]

    def rows(self, start: int, stop: int) -> Problem:
        """The problem on the samples start .. stop - 1, with the same ``weight``: losses of the parts add up to the whole.

        Every array of the inputs must have the samples as its leading axis; RequestError otherwise.
        """
        odd = [np.shape(leaf) for leaf in jax.tree.leaves(self.inputs) if np.shape(leaf)[:1] != (self.samples,)]
        if odd or not 0 <= start < stop <= self.samples:
            why = f"an input has shape {odd[0]}" if odd else f"{start}:{stop} is no range of rows"
            raise RequestError(f"{self.samples} samples cannot be parted: {why}; give inputs with the samples first, and a range")
        inputs = jax.tree.map(lambda leaf: leaf[start:stop], self.inputs)
        some = (inputs, self.targets[start:stop])
        return eqx.tree_at(lambda p: (p.inputs, p.targets), self, some, is_leaf=lambda x: x is None)

    def checksum(self) -> str:
        """SHA-256 over parameters, inputs and targets: what tells two problems with one ``fn`` apart."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((self.params, self.inputs))]
        same = (self.loss, self.reduction) == ("squared", "sum")
        return checksum(*leaves, np.asarray(self.targets), *([] if same else [np.asarray([self.loss, repr(self.weight)])]))


class _Same:
    """A function that cannot be hashed (a model with arrays in it), known by which object it is."""

    def __init__(self, fn: Callable[[Any, Any], Any]) -> None:
        self.fn = fn

    def __call__(self, params: Any, inputs: Any) -> Any:
        return self.fn(params, inputs)


def _hashable(fn: Any) -> bool:
    try:
        hash(fn)
    except (TypeError, ValueError):
        return False
    return True


def _check_params(params: Any) -> None:
    leaves = jax.tree.leaves(params)
    if sum(np.size(leaf) for leaf in leaves) == 0:
        raise RequestError("the model has no parameters; give a pytree of float arrays")
    for leaf in leaves:
        dtype = np.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise RequestError(f"the parameters hold an array of {dtype}, shape {np.shape(leaf)}; give float arrays only")
        if not np.all(np.isfinite(np.asarray(leaf))):
            raise RequestError("the parameters hold a number that is not finite; give the ones before training diverged")


def _numbers(targets: np.ndarray, outputs: tuple[int, ...]) -> np.ndarray:
    """Targets of squared loss, checked."""
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        raise RequestError(f"the targets of squared loss are {targets.dtype}; give floats, or loss='cross-entropy' for classes")
    if outputs != targets.shape:
        raise RequestError(f"the outputs have shape {outputs} and the targets {targets.shape}; make them the same")
    if not np.all(np.isfinite(targets)):
        raise RequestError("the targets hold a number that is not finite; remove those samples")
    return targets


def _probabilities(targets: np.ndarray, outputs: tuple[int, ...]) -> np.ndarray:
    """Targets of cross-entropy as rows of probabilities, in the shape of the outputs."""
    if not outputs or outputs[-1] < 2:
        raise RequestError(f"the outputs have shape {outputs}; cross-entropy needs an axis of two classes or more at the end")
    if targets.shape == outputs:
        rows = targets.astype(np.result_type(targets.dtype, np.float32))
        if not (np.all(rows >= 0) and np.allclose(rows.sum(-1), 1.0, rtol=0, atol=ADDS_UP)):
            raise RequestError("a row of the targets is no set of probabilities; give rows >= 0 that add up to 1, or labels")
        return rows
    if targets.shape != outputs[:-1]:
        raise RequestError(
            f"the outputs have shape {outputs} and the targets {targets.shape}; give labels of shape {outputs[:-1]}, or rows"
        )
    if targets.dtype.kind not in "iu":
        raise RequestError(f"the labels are {targets.dtype}; give whole numbers from 0 to {outputs[-1] - 1}")
    if targets.min() < 0 or targets.max() >= outputs[-1]:
        wrong = int(targets.min() if targets.min() < 0 else targets.max())
        raise RequestError(f"label {wrong} is out of range; {outputs[-1]} outputs stand for the classes 0 to {outputs[-1] - 1}")
    return (targets[..., None] == np.arange(outputs[-1])).astype(np.float64)
