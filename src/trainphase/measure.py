"""The sizes of a live model's weights: fully connected ReLU networks of PyTorch, Equinox, or as a pytree of parameters.

Neither library is imported: a model is known by what it offers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]
Layer = tuple[Floats, Floats | None]  # weights (outputs, inputs), biases (outputs,)

FITTING = "give a network of two or three fully connected layers with ReLU between them"
# Modules of PyTorch that may stand in such a network; in any other, the forward pass is not what the diagram is of.
KNOWN = ("Linear", "ReLU", "Flatten", "Identity")


@dataclass(frozen=True)
class Measured:
    """Numbers of neurons, and root mean squares of the weights of each layer, the first one first.

    ``biases`` is that of the first layer's biases, 0 where there are none. The biases of other layers have no place in
    the diagram. The statistical error of a root mean square over N weights is a relative 1/sqrt(2 N).
    """

    inputs: int
    width: int
    outputs: int
    deviations: tuple[float, ...]
    biases: float

    @property
    def layers(self) -> int:
        """Number of layers with weights."""
        return len(self.deviations)


def measure(model: Any) -> Measured:
    """Measure a model's weights as they are now.

    ``model`` is a ``torch.nn.Module`` of ``Linear`` layers and ``ReLU``; an Equinox ``MLP`` or ``Sequential``; or
    parameters: nested dicts with ``kernel`` and ``bias`` (Flax) or ``w`` and ``b`` (Haiku), or a sequence of matrices or
    of pairs (matrix, bias), matrices of shape (inputs, outputs). Of parameters alone the activation is not known.

    Raises RequestError for anything else, for layers that do not fit together, and for weights that are all 0 or not
    finite.
    """
    if callable(getattr(model, "named_modules", None)):
        layers = _torch(model)
    elif isinstance(getattr(model, "layers", None), Sequence):
        layers = _equinox(model)
    else:
        layers = _tree(model)
    if len(layers) not in (2, 3):
        raise RequestError(f"the model of type {_kind(model)} has {len(layers)} layers of weights; {FITTING}")
    layers = _in_order(layers)
    widths = [weights.shape[0] for weights, _ in layers[:-1]]
    if len(set(widths)) > 1:
        raise RequestError(f"the hidden layers have {widths[0]} and {widths[1]} neurons; give a model with one width")
    first = layers[0][1]
    return Measured(
        inputs=layers[0][0].shape[1],
        width=widths[0],
        outputs=layers[-1][0].shape[0],
        deviations=tuple(_size(k, weights) for k, (weights, _) in enumerate(layers)),
        biases=0.0 if first is None else _rms(1, first),
    )


def _kind(model: Any) -> str:
    return type(model).__name__


def _rms(number: int, values: Floats) -> float:
    root = math.sqrt(float(np.mean(np.square(values)))) if values.size else 0.0
    if not math.isfinite(root):
        raise RequestError(f"layer {number} of the model has weights that are not finite; give one that has not diverged")
    return root


def _size(k: int, weights: Floats) -> float:
    root = _rms(k + 1, weights)
    if root == 0:
        raise RequestError(f"layer {k + 1} of the model has only zeros, which lie nowhere on the diagram; initialise it")
    return root


def _array(values: Any, ndim: int) -> Floats:
    """Values of any library as float64, with ``ndim`` dimensions."""
    try:
        if callable(getattr(values, "detach", None)):
            values = values.detach().cpu().double().numpy()
        array = np.asarray(values, np.float64)
    except Exception as why:  # whatever a foreign array does instead of handing over its numbers
        raise RequestError(f"weights of type {_kind(values)} cannot be read ({type(why).__name__}); give a real model") from why
    if array.ndim != ndim:
        raise RequestError(f"weights of shape {array.shape} are of no fully connected layer; {FITTING}")
    return array


def _layer(weights: Any, biases: Any, transposed: bool) -> Layer:
    matrix = _array(weights, 2)
    return (matrix.T if transposed else matrix), (None if biases is None else _array(biases, 1))


def _torch(model: Any) -> list[Layer]:
    leaves = [m for _, m in model.named_modules() if not list(m.children())]
    odd = sorted({_kind(m) for m in leaves if _kind(m) not in KNOWN})
    if odd:
        raise RequestError(f"the model of type {_kind(model)} contains {odd[0]}; {FITTING}")
    linear = [m for m in leaves if _kind(m) == "Linear"]
    if _kind(model) == "Sequential" and sum(_kind(m) == "ReLU" for m in leaves) != len(linear) - 1:
        raise RequestError(f"the model has {len(linear)} Linear layers without one ReLU between each two; {FITTING}")
    layers = [_layer(m.weight, m.bias, transposed=False) for m in linear]
    counted = sum(1 + (biases is not None) for _, biases in layers)
    if len(list(model.parameters())) != counted:
        raise RequestError(f"the model of type {_kind(model)} has parameters of its own besides its layers; {FITTING}")
    return layers


def _equinox(model: Any) -> list[Layer]:
    found = []
    for layer in model.layers:
        if hasattr(layer, "weight"):
            found.append(_layer(layer.weight, getattr(layer, "bias", None), transposed=False))
        elif _kind(layer) not in ("Lambda", "Identity"):
            raise RequestError(f"the model of type {_kind(model)} contains {_kind(layer)}; {FITTING}")
    return found


def _tree(tree: Any) -> list[Layer]:
    """Layers of nested parameters, in the order in which they are stored."""
    if isinstance(tree, Mapping):
        for weights, biases in (("kernel", "bias"), ("w", "b")):
            if weights in tree:
                more = sorted(set(map(str, tree)) - {weights, biases})
                if more:
                    raise RequestError(f"a layer of the model holds {more[0]!r} besides {weights} and {biases}; {FITTING}")
                return [_layer(tree[weights], tree.get(biases), transposed=True)]
        return [layer for branch in tree.values() for layer in _tree(branch)]
    if _ndim(tree) == 2:
        return [_layer(tree, None, transposed=True)]
    if isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        if len(tree) == 2 and (_ndim(tree[0]), _ndim(tree[1])) == (2, 1):
            return [_layer(tree[0], tree[1], transposed=True)]
        return [layer for branch in tree for layer in _tree(branch)]
    what = f"a {_kind(tree)}" if _ndim(tree) is None else f"an array of {_ndim(tree)} dimensions"
    raise RequestError(f"the model holds {what}, which is no layer; {FITTING}, or its parameters")


def _ndim(value: Any) -> int | None:
    shape = getattr(value, "shape", None)
    return len(shape) if isinstance(shape, tuple) else None


def _in_order(layers: list[Layer]) -> list[Layer]:
    """The layers one after the other: as they stand or, if they do not fit so, in the one order in which they do."""

    def fits(order: Sequence[Layer]) -> bool:
        return all(a[0].shape[0] == b[0].shape[1] for a, b in itertools.pairwise(order))

    if fits(layers):
        return layers
    others = [list(order) for order in itertools.permutations(layers) if fits(order)]
    if len(others) != 1:
        shapes = ", ".join(f"{w.shape[1]} to {w.shape[0]}" for w, _ in layers)
        raise RequestError(f"the layers of the model ({shapes}) do not follow each other; {FITTING}")
    return others[0]
