"""Problem: a user's model with its data, as a function of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from trainphase._arrays import checksum
from trainphase.errors import RequestError


class Problem:
    """A model, its parameters and its data: what training is about, without saying how one trains.

    Parameters
    ----------
    fn : ``fn(params, inputs)`` -> outputs, of the shape of ``targets``; a pure function built from jax.numpy.
    params : pytree of float arrays, the start.
    data : pair (inputs, targets); inputs may be any pytree, targets are an array.
    loss : "squared": (1/2) times the sum of squared residuals over all outputs.

    Raises RequestError when the outputs have another shape than the targets, or the loss is unknown.
    """

    def __init__(self, fn: Callable[[Any, Any], Any], params: Any, data: tuple[Any, Any], loss: str = "squared") -> None:
        if loss != "squared":
            raise RequestError(f"loss = {loss!r} is not known; give squared")
        inputs, targets = data
        self.fn, self.inputs, self.loss = fn, inputs, loss
        self.params = params
        self.targets = np.asarray(targets)
        shape = jax.eval_shape(fn, params, inputs).shape
        if shape != self.targets.shape:
            raise RequestError(f"the outputs have shape {shape} and the targets {self.targets.shape}; make them the same")
        flat, self._restore = ravel_pytree(params)
        self.size = flat.size

    def flat(self) -> jax.Array:
        """The parameters as one vector, shape (P,)."""
        return ravel_pytree(self.params)[0]

    def outputs(self, theta: jax.Array) -> jax.Array:
        """All outputs as one vector, shape (D,), at the parameter vector ``theta`` of shape (P,)."""
        return jnp.ravel(self.fn(self._restore(theta), self.inputs))

    def residual(self, theta: jax.Array) -> jax.Array:
        """z = outputs - targets, shape (D,)."""
        return self.outputs(theta) - self.targets.ravel()

    def checksum(self) -> str:
        """SHA-256 over parameters, inputs and targets: what tells two problems with one ``fn`` apart."""
        return checksum(*(np.asarray(leaf) for leaf in jax.tree.leaves((self.params, self.inputs))), self.targets)
