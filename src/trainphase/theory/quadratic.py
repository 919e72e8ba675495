"""The general (D, P) quadratic regression model at random initialisation: widths, r_NL, sharpening, curvature.

z of shape (D), J (D, P), Q (D, P, P); loss |z|^2/2 (a sum). z_a has standard deviation sigma_z, J_ai sigma_J,
and Q is drawn with one of the laws of ``SYMMETRIES``; all are independent and Gaussian with mean zero. lambda
is the top eigenvalue of J J^T. ``lr`` is eta. Limits are D, P -> infinity at fixed D/P; "finite" forms say
what they keep. Everything broadcasts and is float64.

The paper does not say how Q is made symmetric, on which its constants depend:

* sym1: symmetric, off-diagonal variance 1 (diagonal variance 2 in the finite forms, the rotation-invariant law);
* symh: (A + A^T)/2 with A iid of variance 1, so off-diagonal variance 1/2, that is sym1/sqrt(2);
* iid: no symmetry. J' = -Q(J^T z, .) is then not a gradient flow.

References: Agarwala, Pedregosa and Pennington, "Second-order regression models exhibit progressive sharpening
to the edge of stability", 2022, section 4 and App. C. Its printed constants are kept as ``paper_*``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainphase.errors import RequestError

Floats = NDArray[np.float64]

SYMMETRIES = ("sym1", "symh", "iid")
"""Laws of Q."""


def _sizes(D: ArrayLike, P: ArrayLike) -> tuple[Floats, Floats]:
    """D and P as float64. Raises RequestError unless all are >= 1."""
    d, p = np.asarray(D, np.float64), np.asarray(P, np.float64)
    for name, values in (("D", d), ("P", p)):
        bad = values[~(values >= 1)]
        if bad.size:
            raise RequestError(f"{name} = {bad.flat[0]:g} is no size of a model: give {name} >= 1.")
    return d, p


def _rate(lr: ArrayLike) -> Floats:
    values = np.asarray(lr, np.float64)
    bad = values[~(values > 0)]
    if bad.size:
        raise RequestError(f"lr = {bad.flat[0]:g} is not a learning rate: give lr > 0.")
    return values


def _named(symmetry: str) -> str:
    if symmetry not in SYMMETRIES:
        raise RequestError(f"there is no symmetrisation {symmetry!r} of Q: give one of {', '.join(SYMMETRIES)}.")
    return symmetry


# --- widths -------------------------------------------------------------------------------------------------


def widths(sigma_z: ArrayLike, sigma_J: ArrayLike, D: ArrayLike, P: ArrayLike, lr: ArrayLike = 1.0) -> tuple[Any, Any]:
    """Standard deviations of z and J from the rescaled widths: sigma_z/(lr D), sigma_J/(lr^(1/2) (DP)^(1/4)) (29).

    The print holds for lr = 1 only. RequestError unless D, P >= 1 and lr > 0.
    """
    (d, p), rate = _sizes(D, P), _rate(lr)
    std_z = np.asarray(sigma_z, np.float64) / (rate * d)
    std_J = np.asarray(sigma_J, np.float64) / (np.sqrt(rate) * (d * p) ** 0.25)
    return std_z[()], std_J[()]


def rescaled_widths(std_z: ArrayLike, std_J: ArrayLike, D: ArrayLike, P: ArrayLike, lr: ArrayLike = 1.0) -> tuple[Any, Any]:
    """Rescaled widths (sigma~_z, sigma~_J) = (lr D std_z, lr^(1/2) (DP)^(1/4) std_J), the inverse of ``widths``."""
    (d, p), rate = _sizes(D, P), _rate(lr)
    sigma_z = np.asarray(std_z, np.float64) * rate * d
    sigma_J = np.asarray(std_J, np.float64) * np.sqrt(rate) * (d * p) ** 0.25
    return sigma_z[()], sigma_J[()]


# --- nonlinearity ratio -------------------------------------------------------------------------------------


def linear_term(std_z: ArrayLike, std_J: ArrayLike, D: ArrayLike, P: ArrayLike) -> Any:
    """E|J J^T z|^2 = std_z^2 std_J^4 D P (P + D + 1), exact for Gaussian J. (151) keeps only D P^2."""
    d, p = _sizes(D, P)
    return (np.asarray(std_z, np.float64) ** 2 * np.asarray(std_J, np.float64) ** 4 * d * p * (p + d + 1))[()]


def r_NL(
    std_z: ArrayLike, D: ArrayLike, P: ArrayLike, lr: ArrayLike = 1.0, symmetry: str = "sym1", finite: bool = False
) -> Any:
    """Root of E|lr^2 Q(J^T z, J^T z)/2|^2 / E|lr J J^T z|^2, what descent adds to the linear term (27), corrected.

    (1/2) lr std_z D sqrt(s/(1 + D/P)), s = 2 for sym1 and 1 for symh and iid; exact at any size with
    ``finite``: D^2/(1 + D/P) becomes D (D+2)(P+2)/(P+D+1). It does not depend on sigma_J. RequestError for an
    unknown symmetry, D or P < 1 or lr <= 0.
    """
    (d, p), rate = _sizes(D, P), _rate(lr)
    s = 2.0 if _named(symmetry) == "sym1" else 1.0
    size = d * (d + 2) * (p + 2) / (p + d + 1) if finite else d * d / (1 + d / p)
    return (0.5 * rate * np.asarray(std_z, np.float64) * np.sqrt(s * size))[()]


def r_NL_rescaled(sigma_z: ArrayLike, D: ArrayLike, P: ArrayLike, symmetry: str = "sym1") -> Any:
    """``r_NL`` (limit) in the rescaled width sigma~_z: (1/2) sigma~_z sqrt(s/(1 + D/P)). The paper has sigma~_z."""
    d, p = _sizes(D, P)
    return r_NL(np.asarray(sigma_z, np.float64) / d, d, p, symmetry=symmetry)


def paper_r_NL(std_z: ArrayLike, D: ArrayLike, lr: ArrayLike = 1.0) -> Any:
    """r_NL as printed in (27) and (148): lr std_z D / 2, without sqrt(s/(1 + D/P)). For comparison only."""
    d, _ = _sizes(D, 1.0)
    return (0.5 * _rate(lr) * np.asarray(std_z, np.float64) * d)[()]


# --- curvature at initialisation ----------------------------------------------------------------------------


def top_eigenvalue(std_J: ArrayLike, D: ArrayLike, P: ArrayLike) -> Any:
    """Top eigenvalue of J J^T in the limit, the Marchenko-Pastur edge std_J^2 (sqrt P + sqrt D)^2.

    At finite size the mean is lower: by 9 % at (20, 40), 4 % at (60, 120).
    """
    d, p = _sizes(D, P)
    return (np.asarray(std_J, np.float64) ** 2 * (np.sqrt(p) + np.sqrt(d)) ** 2)[()]


def initial_curvature(sigma_J: ArrayLike, D: ArrayLike, P: ArrayLike) -> Any:
    """lr lambda(0) in the limit: sigma~_J^2 (sqrt P + sqrt D)^2 / sqrt(DP), 4 sigma~_J^2 at P = D. Any lr."""
    d, p = _sizes(D, P)
    return (top_eigenvalue(sigma_J, d, p) / np.sqrt(d * p))[()]


def sigma_J_at_edge(D: ArrayLike, P: ArrayLike, curvature: float = 2.0) -> Any:
    """sigma~_J at which ``initial_curvature`` is ``curvature``: 0.697 for P = 2D at the edge of stability, 2."""
    return np.sqrt(curvature / initial_curvature(1.0, D, P))[()]


# --- Theorem 4.1 --------------------------------------------------------------------------------------------


def sharpening_ratio(std_z: ArrayLike, D: ArrayLike, P: ArrayLike, symmetry: str = "sym1", finite: bool = False) -> Any:
    """E[lambda''(0)] / E[lambda(0)] under gradient flow (Theorem 4.1, corrected); E[lambda'(0)] = 0.

    2 D P std_z^2 for sym1 and iid, D P std_z^2 for symh. ``finite`` keeps the term E[v^T (J J^T)'' v] beyond
    that of |J^T z|^2: 2P (D+1), P (D+1) and 2 P D times std_z^2 for sym1, symh, iid; corrections of
    the spectrum's edge, 7 % at (10, 20), remain (``second_derivative`` has them). Time is that of eta = 1.
    """
    d, p = _sizes(D, P)
    kept = d + 1 if finite and _named(symmetry) != "iid" else d
    factor = 1.0 if _named(symmetry) == "symh" else 2.0
    return (factor * p * kept * np.asarray(std_z, np.float64) ** 2)[()]


def sharpening_ratio_rescaled(sigma_z: ArrayLike, D: ArrayLike, P: ArrayLike, symmetry: str = "sym1") -> Any:
    """``sharpening_ratio`` in the rescaled width, time in units of eta: 2 (P/D) sigma~_z^2, symh half of that."""
    d, p = _sizes(D, P)
    return sharpening_ratio(np.asarray(sigma_z, np.float64) / d, d, p, symmetry)


def second_derivative_limit(std_z: ArrayLike, std_J: ArrayLike, D: ArrayLike, P: ArrayLike, symmetry: str = "sym1") -> Any:
    """E[lambda''(0)] in the limit: ``sharpening_ratio`` times ``top_eigenvalue``; slope 2 against std_z (Fig. 12)."""
    return sharpening_ratio(std_z, D, P, symmetry) * top_eigenvalue(std_J, D, P)


def second_derivative(eigenvalues: ArrayLike, std_z: ArrayLike, P: int, symmetry: str = "sym1") -> Any:
    """E[lambda''(0) | J], exact at finite size: over z and Q, given the spectrum of J J^T.

    Second-order perturbation theory averaged over Gaussian z and Q. With l_1 the largest eigenvalue, l_b the
    others and t their whole sum, std_z^2 times, for sym1,

        2 (P+1)(t + l_1) + 2 sum_{b>1} [t (l_1 + l_b) + l_1^2 + l_b^2] / (l_1 - l_b),

    for symh half of that, for iid 2 P t + 2 l_1 + 2 sum_{b>1} t (l_1 + l_b) / (l_1 - l_b). Divide by E[l_1] to
    compare with ``sharpening_ratio``. Over random J its variance diverges as the logarithm of the smallest gap,
    so a mean over seeds converges, but slowly.

    Parameters: ``eigenvalues`` of J J^T, any order, shape (.., D), all D of them; ``std_z`` of shape (..) or
    a number. Returns shape (..). RequestError for fewer than 1 eigenvalue or an unknown symmetry.
    """
    given = np.asarray(eigenvalues, np.float64)
    if given.ndim < 1 or given.shape[-1] < 1:
        raise RequestError(f"a spectrum of shape {given.shape} has no eigenvalues: give all D of J J^T on the last axis.")
    values = np.sort(given, axis=-1)
    top, rest, total = values[..., -1], values[..., :-1], np.sum(values, axis=-1)
    lead = top[..., None]
    repelled = total[..., None] * (lead + rest)
    if _named(symmetry) == "iid":
        direct = 2 * P * total + 2 * top
    else:
        repelled = repelled + lead**2 + rest**2
        direct = 2 * (P + 1) * (total + top)
    summed = direct + 2 * np.sum(repelled / (lead - rest), axis=-1)
    scale = 0.5 if symmetry == "symh" else 1.0
    return (scale * np.asarray(std_z, np.float64) ** 2 * summed)[()]


# --- the paper's printed values -----------------------------------------------------------------------------


def paper_sharpening_ratio(std_z: ArrayLike) -> Any:
    """E[lambda'']/E[lambda] as printed in (23) and (147): std_z^2, without the factor D P. For comparison only."""
    return (np.asarray(std_z, np.float64) ** 2)[()]


def paper_second_derivative(std_z: ArrayLike, std_J: ArrayLike, D: ArrayLike, P: ArrayLike) -> Any:
    """E[lambda''] of (146), std_z^2 std_J^2 D P [P (1 + sqrt(D/P))^2 + 1]: to leading order the symh value."""
    d, p = _sizes(D, P)
    zs, js = np.asarray(std_z, np.float64), np.asarray(std_J, np.float64)
    return (zs**2 * js**2 * d * p * (p * (1 + np.sqrt(d / p)) ** 2 + 1))[()]


def diagonal_sharpening_ratio(std_z: ArrayLike, D: ArrayLike, P: ArrayLike) -> Any:
    """E[lambda'']/E[lambda] if the singular vectors did not rotate: 2 std_z^2 [P + D/(1 + sqrt(D/P))^2].

    What the displayed steps (137)-(145) give, with the diagonal element of J' alone; too small by a factor of
    order D, since the rotation is the leading effect. For comparison only.
    """
    d, p = _sizes(D, P)
    return (2 * np.asarray(std_z, np.float64) ** 2 * (p + d / (1 + np.sqrt(d / p)) ** 2))[()]
