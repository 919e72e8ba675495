"""Stability thresholds of optimisers: the curvature above which a mode of a quadratic loss grows.

On a quadratic loss each eigenmode of the Hessian (of the preconditioned Hessian P^(-1/2) H P^(-1/2) for a method whose
preconditioner P stands still) obeys a linear recursion of its own. The mode is stable while both roots of the recursion
are inside the unit circle; as the curvature grows, the first to leave is the one at -1, which gives the closed forms
below. Curvature is in units of loss per squared parameter (preconditioned: loss per squared rescaled parameter), ``lr``
in its inverse. All functions broadcast and return float64. ``weight_decay`` is w: coupled (w theta is added to the
gradient) for gradient descent and both momenta, decoupled (theta is multiplied by 1 - lr w) for RMSProp and Adam.

References: Cohen, Kaur, Li, Kolter and Talwalkar, "Gradient descent on neural networks typically occurs at the edge of
stability", 2021, App. B (gradient descent and the two momenta); Cohen et al., "Adaptive gradient methods at the edge of
stability", 2022, section 3 (RMSProp, Adam: 38/lr at beta1 = 0.9). Dampening and weight decay are derived here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]


def _checked(lr: ArrayLike, beta: ArrayLike = 0.0, weight_decay: ArrayLike = 0.0) -> tuple[Floats, Floats, Floats]:
    """The three as float64. Raises RequestError unless lr > 0, 0 <= beta < 1 and weight_decay >= 0."""
    rate, b, w = (np.asarray(v, np.float64) for v in (lr, beta, weight_decay))
    for name, values, good, need in (
        ("lr", rate, (rate > 0) & np.isfinite(rate), "a positive step size"),
        ("beta", b, (b >= 0) & (b < 1), "a momentum in [0, 1)"),
        ("weight_decay", w, (w >= 0) & np.isfinite(w), "0 or a positive number"),
    ):
        if not np.all(good):
            raise RequestError(f"{name} = {values[~good].flat[0]:g} has no stability threshold; give {need}.")
    return rate, b, w


def gradient_descent(lr: ArrayLike, weight_decay: ArrayLike = 0.0) -> Any:
    """2 / lr - w: theta -> theta - lr (g + w theta)."""
    rate, _, w = _checked(lr, 0.0, weight_decay)
    return (2 / rate - w)[()]


def polyak(lr: ArrayLike, beta: ArrayLike, dampening: ArrayLike = 0.0, weight_decay: ArrayLike = 0.0) -> Any:
    """(2 + 2 beta) / ((1 - d) lr) - w, heavy ball: m -> beta m + (1 - d) g, theta -> theta - lr m.

    ``dampening`` d is 0 in most libraries' default; d = beta is a moving average of gradients.
    """
    rate, b, w = _checked(lr, beta, weight_decay)
    d = _checked(rate, dampening)[1]
    return ((2 + 2 * b) / ((1 - d) * rate) - w)[()]


def nesterov(lr: ArrayLike, beta: ArrayLike, weight_decay: ArrayLike = 0.0) -> Any:
    """(2 + 2 beta) / ((1 + 2 beta) lr) - w: m -> beta m + g, theta -> theta - lr (g + beta m) with the new m."""
    rate, b, w = _checked(lr, beta, weight_decay)
    return ((2 + 2 * b) / ((1 + 2 * b) * rate) - w)[()]


def rmsprop(lr: ArrayLike, beta: ArrayLike = 0.0, weight_decay: ArrayLike = 0.0) -> Any:
    """2 / lr without momentum, for the preconditioned curvature; (2 + 2 beta) / lr with a heavy ball of momentum beta.

    Decoupled weight decay lowers it to (1 + beta) (2 - lr w) / lr, which is 2 / lr - w at beta = 0.
    """
    rate, b, w = _checked(lr, beta, weight_decay)
    return ((1 + b) * (2 - rate * w) / rate)[()]


def adam(lr: ArrayLike, beta1: ArrayLike = 0.9, weight_decay: ArrayLike = 0.0) -> Any:
    """(2 + 2 beta1) / ((1 - beta1) lr) for the preconditioned curvature, 38 / lr at beta1 = 0.9.

    With decoupled weight decay (AdamW): (1 + beta1) (2 - lr w) / ((1 - beta1) lr). The bias correction of the first
    moment multiplies the threshold by 1 - beta1^t at step t, within 1 % of 1 after 44 steps at 0.9; it is left out.
    """
    rate, b, w = _checked(lr, beta1, weight_decay)
    return ((1 + b) * (2 - rate * w) / ((1 - b) * rate))[()]


OPTIMISERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "gd": lambda lr, _beta, w: gradient_descent(lr, w),
        "polyak": lambda lr, beta, w: polyak(lr, beta, 0.0, w),
        "nesterov": nesterov,
        "rmsprop": rmsprop,
        "adam": adam,
    }
)
"""By name: functions of (lr, beta, weight_decay); ``beta`` is beta1 for Adam and has no meaning for "gd"."""


def threshold(optimiser: str, lr: ArrayLike, beta: ArrayLike = 0.0, weight_decay: ArrayLike = 0.0) -> Any:
    """The threshold of an optimiser by its name: gd, polyak, nesterov, rmsprop or adam.

    Raises RequestError for another name, and for values that no threshold belongs to.
    """
    if optimiser not in OPTIMISERS:
        raise RequestError(f"optimiser = {optimiser!r} has no known threshold; give one of {', '.join(OPTIMISERS)}.")
    return OPTIMISERS[optimiser](lr, beta, weight_decay)
