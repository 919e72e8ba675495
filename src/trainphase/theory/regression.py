"""Quadratic regression on orthogonal inputs as one cubic map per sample: a, z, and the step size.

Loss (1/2n) sum_i (g_i - y_i)^2, full-batch gradient descent with step size ``lr``, rows x_i of X orthogonal.
Then sample i follows z -> f_a(z) of ``trainphase.theory.cubic`` exactly, with its own a_i:

* generalised phase retrieval g = (gamma/2)(x.w)^2 + c x.w, with s_i = lr |x_i|^2 / n:
  z_i = gamma s_i (g_i - y_i) and a_i = s_i (gamma y_i + c^2/2). (u = gamma x.w + c obeys u -> (1 - z) u, and
  z + a = s u^2 / 2.)
* two-layer quadratic net g = (1/(sqrt(m) d)) sum_j (x.u_j)^2, with s_i = 2 lr |x_i|^2 / (n sqrt(m) d):
  z_i = s_i (g_i - y_i) and a_i = s_i y_i. (Each x.u_j -> (1 - z) x.u_j, and z + a = s g.)

In both a_i = lr lambda_i / 2, lambda_i = |J_i|^2 / n the eigenvalue of J J^T / n at the interpolating
solution. Targets y_i = scale * t_i move a_i in proportion in the net (noise in t is scaled with it), and
affinely in phase retrieval, where c^2/2 stays: a_i = s_i (gamma scale t_i + c^2/2). A run is in the phase of
the largest a_i, provided every z_i(0) < 2 (z_i >= -a_i always holds). A sample with a_i < 0 asks for a value
that the model cannot take: for a_i > -2 it settles at z = -a_i, the closest there is.

``norm2`` is |x_i|^2, ``n`` the number of samples, ``m`` the number of hidden units, ``d`` the divisor in the
net (the input dimension). Every argument that is per sample broadcasts.

References: Chen, Balasubramanian, Ghosal and Agrawalla, TMLR 2024 (models and the cubic map).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]


def _checked(**values: ArrayLike) -> list[Floats]:
    """The arguments as float64 arrays. Raises RequestError naming one that is not finite and > 0."""
    arrays = []
    for name, value in values.items():
        array = np.asarray(value, np.float64)
        bad = array[~(np.isfinite(array) & (array > 0))]
        if bad.size:
            raise RequestError(
                f"{name} = {float(bad.flat[0]):g} is not a finite number above 0: give {name} > 0."
            )
        arrays.append(array)
    return arrays


# --- generalised phase retrieval ----------------------------------------------------------------------------


def phase_retrieval_rate(norm2: ArrayLike, n: float) -> Any:
    """s_i / lr = |x_i|^2 / n. Raises RequestError unless norm2 and n are > 0."""
    norms, count = _checked(norm2=norm2, n=n)
    return norms / count


def phase_retrieval_a(lr: ArrayLike, norm2: ArrayLike, n: float, gamma: float, c: float, y: ArrayLike) -> Any:
    """a_i = (lr |x_i|^2 / n)(gamma y_i + c^2/2), dimensionless."""
    (lr,) = _checked(lr=lr)
    return lr * phase_retrieval_rate(norm2, n) * (gamma * np.asarray(y, np.float64) + c * c / 2.0)


def phase_retrieval_z(
    g: ArrayLike, y: ArrayLike, lr: ArrayLike, norm2: ArrayLike, n: float, gamma: float
) -> Any:
    """Scaled residual z_i = gamma (lr |x_i|^2 / n)(g_i - y_i) of predictions g."""
    (lr,) = _checked(lr=lr)
    return (
        gamma * lr * phase_retrieval_rate(norm2, n) * (np.asarray(g, np.float64) - np.asarray(y, np.float64))
    )


def phase_retrieval_lr_at(
    a: float, norm2: ArrayLike, n: float, gamma: float, c: float, targets: ArrayLike, scale: ArrayLike = 1.0
) -> Any:
    """Step size at which max_i a_i = a for targets scale * targets; shape of scale; inf if no a_i > 0."""
    unit = np.asarray(targets, np.float64)
    return _lr_at(a, phase_retrieval_rate(norm2, n), gamma * unit, c * c / 2.0, scale)


def phase_retrieval_lr_start(
    norm2: ArrayLike, n: float, gamma: float, g0: ArrayLike, targets: ArrayLike, scale: ArrayLike = 1.0
) -> Any:
    """Step size above which some z_i(0) > 2, so that the run escapes whatever its a; inf where none does.

    ``g0`` are the predictions at initialisation; shape of ``scale``.
    """
    return _lr_at(
        2.0,
        phase_retrieval_rate(norm2, n),
        -gamma * np.asarray(targets, np.float64),
        gamma * np.asarray(g0, np.float64),
        scale,
    )


# --- two-layer net with quadratic activation ----------------------------------------------------------------


def quadratic_net_rate(norm2: ArrayLike, n: float, m: float, d: float) -> Any:
    """s_i / lr = 2 |x_i|^2 / (n sqrt(m) d). Raises RequestError unless all are > 0."""
    norms, count, hidden, divisor = _checked(norm2=norm2, n=n, m=m, d=d)
    return 2.0 * norms / (count * np.sqrt(hidden) * divisor)


def quadratic_net_a(lr: ArrayLike, norm2: ArrayLike, n: float, m: float, d: float, y: ArrayLike) -> Any:
    """a_i = 2 lr |x_i|^2 y_i / (n sqrt(m) d), dimensionless."""
    (lr,) = _checked(lr=lr)
    return lr * quadratic_net_rate(norm2, n, m, d) * np.asarray(y, np.float64)


def quadratic_net_z(
    g: ArrayLike, y: ArrayLike, lr: ArrayLike, norm2: ArrayLike, n: float, m: float, d: float
) -> Any:
    """Scaled residual z_i = 2 lr |x_i|^2 (g_i - y_i) / (n sqrt(m) d) of predictions g."""
    (lr,) = _checked(lr=lr)
    return lr * quadratic_net_rate(norm2, n, m, d) * (np.asarray(g, np.float64) - np.asarray(y, np.float64))


def quadratic_net_lr_at(
    a: float, norm2: ArrayLike, n: float, m: float, d: float, targets: ArrayLike, scale: ArrayLike = 1.0
) -> Any:
    """Step size at which max_i a_i = a for targets scale * targets; shape of scale; inf if no a_i > 0."""
    return _lr_at(a, quadratic_net_rate(norm2, n, m, d), np.asarray(targets, np.float64), 0.0, scale)


def quadratic_net_lr_start(
    norm2: ArrayLike, n: float, m: float, d: float, g0: ArrayLike, targets: ArrayLike, scale: ArrayLike = 1.0
) -> Any:
    """Step size above which some z_i(0) > 2, so that the run escapes whatever its a; inf where none does.

    ``g0`` are the predictions at initialisation; shape of ``scale``.
    """
    rate = quadratic_net_rate(norm2, n, m, d)
    return _lr_at(2.0, rate, -np.asarray(targets, np.float64), np.asarray(g0, np.float64), scale)


# --- general data -------------------------------------------------------------------------------------------


def effective_a(lr: ArrayLike, lambda_max_ntk: ArrayLike) -> Any:
    """a = lr lambda / 2 on any data; lambda: top eigenvalue of J J^T / n at the solution.

    The loss is (1/2n) sum r^2. Equal to max_i a_i on orthogonal inputs; on others it places the edge of
    stability (a = 1) exactly and the further boundaries only roughly, since samples couple. For a loss (1/2)
    sum r^2 take the eigenvalue of J J^T. Multiplying the targets by s multiplies lambda by s in the net, and
    in phase retrieval with c = 0.
    """
    lr, lam = _checked(lr=lr, lambda_max_ntk=lambda_max_ntk)
    return lr * lam / 2.0


def effective_lr_at(a: float, lambda_max_ntk: ArrayLike) -> Any:
    """Step size 2a / lambda at which ``effective_a`` equals a."""
    a_value, lam = _checked(a=a, lambda_max_ntk=lambda_max_ntk)
    return 2.0 * a_value / lam


def _lr_at(level: float, rate: Any, slope: Any, offset: ArrayLike, scale: ArrayLike) -> Any:
    """Least lr > 0 with lr rate_i (scale slope_i + offset_i) = level for some i; inf if there is none."""
    _checked(a=level)
    scales = np.asarray(scale, np.float64)
    if not np.all(np.isfinite(scales)):
        raise RequestError("the scale of the targets is not finite: give finite values.")
    per_sample = np.atleast_1d(rate) * (scales[..., None] * np.atleast_1d(slope) + np.atleast_1d(offset))
    steepest = per_sample.max(axis=-1)
    reachable = steepest > 0
    return np.where(reachable, level / np.where(reachable, steepest, 1.0), math.inf)[()]
