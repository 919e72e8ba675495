"""A real network on real data: fully connected layers of one width, trained on the full batch.

Inputs are standardised, targets are one output per class (0 or 1), labels, or +1 and -1; see ``trainphase run mlp --help``.
Defaults follow Cohen et al. (2021) in kind, tanh layers with PyTorch's initialisation and the mean squared loss
(1/n) sum (1/2) |f - y|^2, and are small enough for a laptop: 8x8 digits, which need no download.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainphase.data.standard import Labelled, labelled
from trainphase.errors import RequestError
from trainphase.problem import LOSSES, REDUCTIONS, Problem
from trainphase.systems._options import truth
from trainphase.systems.descent import descent
from trainphase.systems.taylor import taylor as expanded

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "erf": jax.lax.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "linear": lambda x: x,
}
# Standard deviation of a weight times sqrt(inputs); pytorch: uniform, biases too, within 1 / sqrt(inputs).
INITS: dict[str, float] = {"pytorch": 1 / math.sqrt(3), "lecun": 1.0, "he": math.sqrt(2.0), "glorot": 1.0, "ntk": 1.0}
PARAMETERISATIONS = ("standard", "ntk")
TARGETS = ("onehot", "sign", "label")
# Weights of 2 GiB in double precision: above it the request is a slip of the keyboard.
MOST_PARAMETERS = 2**28


@dataclass(frozen=True)
class Network:
    """``(params, x)`` -> outputs (n, c), or (n,) where there is one; ``params``: a list of dicts of w (inputs, units) and b.

    ``ntk``: every layer's weights are divided by sqrt(inputs) when they are used, and so not when they are drawn.
    """

    activation: str
    ntk: bool = False
    scalar: bool = False

    def __call__(self, params: Any, x: jax.Array) -> jax.Array:
        for k, layer in enumerate(params):
            w = layer["w"]
            x = x @ w
            if self.ntk:
                x = x / np.sqrt(w.shape[0]).astype(x.dtype)
            if "b" in layer:
                x = x + layer["b"][None, :]
            if k < len(params) - 1:
                x = ACTIVATIONS[self.activation](x)
        return x[:, 0] if self.scalar else x


def weights(sizes: tuple[int, ...], init: str, ntk: bool, bias: bool, gain: float, seed: int) -> list[dict[str, np.ndarray]]:
    """The start: ``sizes`` are inputs, hidden widths, outputs. Layers have streams of random numbers of their own."""
    layers = []
    for k, (into, out) in enumerate(itertools.pairwise(sizes)):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(k,))))
        size = gain * INITS[init] * (math.sqrt(2.0 * into / (into + out)) if init == "glorot" else 1.0)
        scale = size if ntk else size / math.sqrt(into)
        # Uniform on [-a, a] has the standard deviation a / sqrt(3).
        uniform = init == "pytorch"
        w = scale * (math.sqrt(3.0) * rng.uniform(-1, 1, (into, out)) if uniform else rng.standard_normal((into, out)))
        layer = {"w": w}
        if bias:
            layer["b"] = gain * rng.uniform(-1, 1, out) / math.sqrt(into) if uniform else np.zeros(out)
        layers.append(layer)
    return layers


def _targets(data: Labelled, loss: str, targets: str | None) -> tuple[np.ndarray, int]:
    """Targets of the problem and the number of outputs."""
    if targets not in (None, *TARGETS):
        raise RequestError(f"targets = {targets!r} is unknown; give {', '.join(TARGETS)}")
    if loss == "cross-entropy":
        if not data.classes or targets not in (None, "onehot"):
            why = f"targets = {targets}" if data.classes else "targets that are numbers"
            raise RequestError(f"cross-entropy is over classes and cannot have {why}; take loss=squared")
        return data.y, data.classes
    kind = targets or ("label" if not data.classes else "sign" if data.classes == 2 else "onehot")
    if kind != "label" and not data.classes:
        raise RequestError(f"targets = {kind} needs classes and these targets are numbers; take targets=label")
    if kind == "sign" and data.classes != 2:
        raise RequestError(f"targets = sign is for two classes and not for {data.classes}; give classes=2 or targets=onehot")
    if kind == "onehot":
        return (data.y[:, None] == np.arange(data.classes)).astype(np.float64), data.classes
    y = 1.0 - 2.0 * data.y if kind == "sign" else np.asarray(data.y, np.float64)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    return y, 1 if y.ndim == 1 else int(y.shape[1])


def _whole(name: str, value: Any, least: int) -> int:
    if int(value) != value or value < least:
        raise RequestError(f"{name} = {value} is out of range; give a whole number of at least {least}")
    return int(value)


def _one_of(name: str, value: Any, known: Any) -> None:
    if value not in known:
        raise RequestError(f"{name} = {value!r} is unknown; give {', '.join(known)}")


def mlp(
    lr: float = 0.1, width: int = 32, depth: int = 2, activation: str = "tanh", init: str = "pytorch",
    parameterisation: str | None = None, bias: str = "true", gain: float = 1.0, dataset: str = "digits", n: int | None = 256,
    classes: int | None = None, targets: str | None = None, standardise: str | None = None, loss: str = "squared",
    reduction: str = "mean", momentum: float | None = None, method: str = "polyak", taylor: int = 0, seed: int = 0,
    data_dir: Any = None, search: Any = (),
) -> Any:  # fmt: skip
    """Build the network, its data and its training; see ``trainphase run mlp --help`` for the parameters.

    Returns a system; its ``problem`` can be measured and trained by other means. Raises RequestError for a value out of
    range and DataError when the data are absent.
    """
    width, depth, seed = _whole("width", width, 1), _whole("depth", depth, 0), _whole("seed", seed, 0)
    _one_of("activation", activation, ACTIVATIONS)
    _one_of("init", init, INITS)
    _one_of("parameterisation", parameterisation or "ntk", PARAMETERISATIONS)
    _one_of("loss", loss, LOSSES)
    _one_of("reduction", reduction, REDUCTIONS)
    order = _whole("taylor", taylor, 0)
    if order > 3:
        raise RequestError(f"taylor = {order} is not available; give 1, 2 or 3, or 0 for the network itself")
    if not (math.isfinite(gain) and gain > 0):
        raise RequestError(f"gain = {gain} is out of range; give a number above 0")
    data = labelled(dataset, None if n is None else _whole("n", n, 1), classes, standardise, data_dir, search)
    y, outputs = _targets(data, loss, targets)
    sizes = (data.X.shape[1], *[width] * depth, outputs)
    count = sum(a * b for a, b in itertools.pairwise(sizes))
    if count > MOST_PARAMETERS:
        raise RequestError(f"width = {width} and depth = {depth} make {count:.3g} weights, too many; give smaller ones")
    ntk = parameterisation == "ntk" or (parameterisation is None and init == "ntk")
    params = weights(sizes, init, ntk, truth("bias", bias), float(gain), seed)
    problem = Problem(Network(activation, ntk, outputs == 1), params, (data.X, y), loss, reduction)
    if order:
        return expanded(problem, order, lr, None, momentum, method)
    return descent(problem, lr, momentum, method)
