"""The networks on real images: a tanh net on ten classes (Figs. 5, 6, 15) and an Erf net on two (Fig. 16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.context import Context

if TYPE_CHECKING:
    from trainphase.problem import Problem

SAME = "the first 4000 images of CIFAR-10 are the paper's own; pixels are standardised over the images that are there"
OTHERS = f"{SAME}; the other 1000 (official indices 10000-10999, where the file has 5000 images) are an equivalent sample"


def images(context: Context) -> str:
    """Which images the claims are about."""
    return context.pick(SAME, OTHERS)


def ten_classes(context: Context) -> Problem:
    """L = (1/n) sum (1/2) |f - y|^2, one-hot targets, two hidden tanh layers, PyTorch's default start.

    The paper's size: 5000 images, width 200. Quick: 500 images, width 50.
    """
    n, width = context.pick((500, 50), (5000, 200))
    return _built(context, n=n, width=width, activation="tanh", init="pytorch", targets="onehot", reduction="mean")


def two_classes(context: Context) -> Problem:
    """L = sum (1/2) (f - y)^2, targets +1 and -1, two hidden Erf layers, NTK parameterisation, no biases.

    The paper's size: width 256, all images of the first two classes among the 5000. Quick: the first 200, width 64.
    """
    n, width = context.pick((200, 64), (None, 256))
    return _built(
        context, n=n, width=width, activation="erf", init="ntk", bias="false", classes=2, targets="sign", reduction="sum"
    )


def _built(context: Context, **options: Any) -> Problem:
    from trainphase.systems.mlp import mlp

    return rotated(mlp(depth=2, dataset="cifar10", seed=context.seed, search=context.folders, **options).problem)


def rotated(problem: Problem) -> Problem:
    """The same problem with the inputs in coordinates of the space that they span, where that has fewer dimensions.

    With X = U S V^T the first layer acts on U S by V^T w. What of w is orthogonal to the inputs never matters and never
    moves, so outputs, losses, kernels and the run itself are the same; of the Hessian only zeros are left out.
    """
    import equinox as eqx

    X = np.asarray(problem.inputs, np.float64)
    n, d = X.shape
    if n >= d:
        return problem
    U, S, V = np.linalg.svd(X, full_matrices=False)
    layers = [dict(layer) for layer in problem.params]
    layers[0]["w"] = V @ np.asarray(layers[0]["w"], np.float64)
    # In the NTK parameterisation products are divided by the root of the number of inputs, which is n now.
    scale = np.sqrt(n / d) if getattr(problem.fn, "ntk", False) else 1.0
    return eqx.tree_at(lambda p: (p.inputs, p.params), problem, (scale * U * S, layers))
