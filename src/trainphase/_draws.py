"""Standard draws of the random models, NumPy alone: what a seed stands for, wherever the model is run."""

from __future__ import annotations

import numpy as np

SYMMETRIES = ("sym1", "symh", "iid")


def quadratic(D: int, P: int, seed: int, symmetry: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the (D, P) quadratic regression model: Q of shape (D P, P), and standard z and J, of shapes (D,) and (D, P), float64.

    ``sym1``: every Q_a is symmetric with off-diagonal variance 1 (diagonal 2); ``symh``: (A + A^T) / 2 of standard
    normal A (1/2 and 1); ``iid``: A itself. All are invariant under rotations.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    z, J = rng.standard_normal(D), rng.standard_normal((D, P))
    A = rng.standard_normal((D, P, P))
    if symmetry == "sym1":
        A = (A + np.swapaxes(A, 1, 2)) / np.sqrt(2.0)
    elif symmetry == "symh":
        A = (A + np.swapaxes(A, 1, 2)) / 2.0
    return np.ascontiguousarray(np.swapaxes(A, 1, 2)).reshape(D * P, P), z, J
