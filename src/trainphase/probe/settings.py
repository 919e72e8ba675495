"""The optimiser in use at one moment: its threshold, and the metric in which its curvature is measured.

The matrix that decides is A = S (H + W) S with H the Hessian of the loss, W the diagonal of coupled weight decay and S the
diagonal S_i = sqrt((lr_i / lr) / p_i): p the optimiser's preconditioner (1 without one), lr_i the step size of parameter i
and lr the largest of them. A step is stable while the largest eigenvalue of A is below the optimiser's threshold at lr, so
that groups with step sizes of their own are measured exactly. Sources: ``theory.thresholds``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from trainphase.errors import RequestError
from trainphase.theory import thresholds

Floats = NDArray[np.float64]
TITLES = {
    "gd": "gradient descent", "polyak": "gradient descent", "nesterov": "Nesterov's method",
    "rmsprop": "RMSProp", "adam": "Adam",
}  # fmt: skip
ADAPTIVE = ("rmsprop", "adam")


def checked_threshold(given: float | None) -> None:
    """RequestError for a threshold that is no positive number."""
    if given is not None and not (isinstance(cast(object, given), int | float | np.number) and 0 < given < np.inf):
        raise RequestError(f"threshold = {given} is no sharpness; give a positive number")


@dataclass(frozen=True, eq=False)
class Setting:
    """name : gd, polyak, nesterov, rmsprop or adam. lr : the largest step size. beta : momentum, or beta1.

    dampening : of Polyak's momentum. decay : decoupled weight decay. scale : S, (P,), and shift : W, (P,), or None where
    they are 1 and 0. notes : what the user should know, one sentence each. given : a threshold of the user's own, in units
    of sharpness, or None.
    """

    name: str
    lr: float
    beta: float = 0.0
    dampening: float = 0.0
    decay: float = 0.0
    scale: Floats | None = field(default=None, repr=False)
    shift: Floats | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    given: float | None = None

    @property
    def threshold(self) -> float:
        """The largest stable eigenvalue of A, in units of the loss per squared (rescaled) parameter."""
        if self.given is not None:
            return self.given
        if self.name == "polyak":
            return float(thresholds.polyak(self.lr, self.beta, self.dampening, self.decay))
        return float(thresholds.threshold(self.name, self.lr, self.beta, self.decay))

    @property
    def sentence(self) -> str:
        """'Adam with beta1 = 0.9, lr = 0.001: stable while the preconditioned sharpness is below 38 / lr = 38000'."""
        what = TITLES.get(self.name, self.name)
        if self.beta:
            what += f" with {'beta1' if self.name == 'adam' else 'momentum'} = {self.beta:g}"
        kind = "preconditioned sharpness" if self.name in ADAPTIVE else "sharpness"
        limit = self.threshold
        return f"{what}, lr = {self.lr:g}: stable while the {kind} is below {limit * self.lr:.4g} / lr = {limit:.5g}"

    def rescaled(self, gradient: np.ndarray) -> Floats:
        """S g, (P,): the gradient in the metric of A."""
        slope = np.asarray(gradient, np.float64)
        return slope if self.scale is None else self.scale * slope

    def product(self, hessian: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        """v -> A v from v -> H v."""
        scale, shift = self.scale, self.shift
        if scale is None and shift is None:
            return hessian

        def apply(v: np.ndarray) -> np.ndarray:
            inner = v if scale is None else _as(scale, v) * v
            out = np.asarray(hessian(inner))
            out = out if shift is None else out + _as(shift, out) * inner
            return out if scale is None else _as(scale, out) * out

        return apply


def checked(name: str, lr: float, beta: float = 0.0, **more: object) -> Setting:
    """A setting with its numbers checked. Raises RequestError for an unknown name and numbers out of range."""
    if name not in TITLES:
        raise RequestError(f"method = {name!r} has no known threshold; give {', '.join(TITLES)}, or threshold=")
    found = Setting(name, float(lr), float(beta), **more)  # type: ignore[arg-type]
    _ = found.threshold
    return found


def metric(square: np.ndarray, eps: float, correction: float = 1.0, inside: bool = False) -> Floats:
    """P^-1/2, (P,): P = sqrt(v / correction) + eps, or sqrt(v + eps) with ``inside``.

    square : v, the optimiser's running mean of squared gradients; correction : 1 - beta2^t, Adam's bias correction.
    Raises RequestError where P is 0 or not finite: a gradient that has been 0 so far, without an eps.
    """
    v = np.asarray(square, np.float64) / correction
    p = np.sqrt(v + eps) if inside else np.sqrt(v) + eps
    odd = p[~((p > 0) & (p < np.inf))]
    if odd.size:
        raise RequestError(f"the preconditioner is {odd[0]:g} for {odd.size} parameters; give the optimiser an eps above 0")
    return 1 / np.sqrt(p)


def _as(diagonal: Floats, v: np.ndarray) -> np.ndarray:
    """In the precision of the products, so that their rounding is what a search sees, and vectors are not converted."""
    return diagonal.astype(v.dtype, copy=False)
