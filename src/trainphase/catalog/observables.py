"""The built-in observables by name: unit and what they are."""

from __future__ import annotations

from collections.abc import Mapping

from trainphase.relu.reported import REPORTED

OBSERVABLES: Mapping[str, tuple[str, str]] = {
    "loss": ("target units squared", "training loss"),
    "test_loss": ("target units squared", "loss on the test rows, (1/2n) sum of squares against the noiseless teacher"),
    "averaged_test_loss": ("target units squared", "the same for predictions averaged over the second half of the run"),
    "residual": ("1", "residuals z, one per sample: rescaled to a coordinate of the map; in target units for quadratic"),
    "curvature": (
        "1",
        "step size times the largest eigenvalue of the neural tangent kernel (cross-entropy: of the Gauss-Newton "
        "matrix); with momentum and preconditioners rescaled: 2 is the edge of stability",
    ),
    "sharpness": ("1", "step size times the largest eigenvalue of the loss's Hessian, rescaled as the curvature"),
    "leading_curvatures": ("1", "step size times the four largest eigenvalues of the kernel, largest first"),
    "nonlinearity": ("1", "size of the second-order term of a step of the residuals over that of the first-order one, r_NL"),
    "projected_q": ("1/parameter^2", "smallest and largest eigenvalue of the second derivative along the kernel's top mode"),
    "top_mode": ("1", "unit eigenvector of the kernel's largest eigenvalue, continuous in sign"),
    "top_residual": ("target units", "residual along the kernel's top mode"),
    "conserved": ("1", "E~ recomputed from the state; its drift is the rounding of the run"),
    "curvature_start": ("1", "curvature before the first step"),
    "curvature_max": ("1", "largest curvature in the last quarter of the run; of a settled run, its final one"),
    **{name: about for name, about in REPORTED.items() if name != "loss"},
    "lyapunov": ("1/step", "largest Lyapunov exponent, natural logarithm per step"),
    "lyapunov_se": ("1/step", "its standard error, from blocks of 128 steps"),
    "period": ("steps", "length of the cycle the run settles on, 1 to 64; none when it settles on none"),
    "multiplier": ("1", "derivative of the map along the cycle; the cycle is stable when it is below 1 in size"),
    "increases": ("steps", "number of steps at which the training loss rose"),
    "lower": ("1", "lower bound of the attractor in the residual z (over all samples, where there are several)"),
    "upper": ("1", "upper bound of the attractor in the residual z"),
}
