"""Is a Hessian-vector product right? Once per model it is held against a finite difference of the gradient.

Needs NumPy only, so that the products of any library can be checked. Why: some libraries' second derivatives are silently
wrong for some layers in some modes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Disagreement beyond the difference's own error: central differences of float32 gradients are good to about 1e-3 of H v here.
ALLOWED = 0.02
# The error of a difference is judged by a second one with twice the step: truncation grows by 4 there, rounding halves.
TRUST = 3.0


@dataclass(frozen=True)
class Check:
    """What the comparison says.

    Attributes
    ----------
    disagreement : |H v - difference| / |difference|.
    resolved : the difference's own relative error, roughly.
    agrees : the verdict.
    sentence : for the user, empty when all is well.
    """

    disagreement: float
    resolved: float
    agrees: bool
    sentence: str


def compare(
    product: Callable[[np.ndarray], np.ndarray], gradient: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, seed: int = 0
) -> Check:
    """Compare ``product`` (v -> H(theta) v) with central differences of ``gradient`` (theta -> g) along one direction.

    The direction is the gradient's, where curvature is, and a random one of the same length. Cost: five gradients, one product.
    """
    theta = np.asarray(theta)
    here = np.asarray(gradient(theta), np.float64)
    eps = float(np.finfo(here.dtype if theta.dtype == np.float64 else np.float32).eps)
    v = np.random.default_rng(seed).standard_normal(len(theta))
    v /= np.linalg.norm(v)
    size = float(np.linalg.norm(here))
    if size > 0 and np.isfinite(size):
        v = v + here / size
        v /= np.linalg.norm(v)
    v = v.astype(theta.dtype)
    h = eps ** (1 / 3) * max(float(np.linalg.norm(theta)), 1.0)
    near, far = (_difference(gradient, theta, v, step) for step in (h, 2 * h))
    found = np.asarray(product(v), np.float64)
    scale = float(np.linalg.norm(near))
    if not np.isfinite(found).all() or not np.isfinite(scale):
        return Check(
            np.inf, np.inf, False, "the products with the Hessian, or the gradients, are not finite here; look at the loss"
        )
    floor = eps * float(np.linalg.norm(here)) / h
    if scale <= 10 * floor and float(np.linalg.norm(found)) <= 10 * floor:
        return Check(0.0, 1.0, True, "")
    scale = max(scale, floor)
    apart, resolved = float(np.linalg.norm(found - near)) / scale, float(np.linalg.norm(far - near)) / scale
    agrees = apart <= ALLOWED + TRUST * resolved
    sentence = "" if agrees else (
        f"the products with the Hessian are off by {apart:.0%} from a finite difference of the gradient, good to "
        f"{resolved:.1%}; a layer's second derivative is wrong in this mode of differentiation, or the model is not deterministic"
    )  # fmt: skip
    return Check(apart, resolved, agrees, sentence)


def _difference(gradient: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, v: np.ndarray, h: float) -> np.ndarray:
    ends = [np.asarray(gradient((theta + sign * h * v).astype(theta.dtype)), np.float64) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * h)
