"""Gradient flow of the weights of a two-layer net themselves: small Euler steps in their own time, NumPy only.

Nothing is shared with the solver ``trainphase.relu`` but the draws: this is what its normalised variables are checked
against. The step is min(0.05 / trace K, 0.01 / rho): K is the tangent kernel, whose trace bounds its top eigenvalue, and
rho the growth rate of the fastest neuron.
"""

from __future__ import annotations

import numpy as np

from trainphase.errors import TrainphaseError
from trainphase.reproduce.luo import runs

MOST_STEPS = 400_000


def distance_of(job: tuple[float, float, int, int]) -> float:
    """RD of (power, gamma, width, seed): beta1 = beta2 = m^-power, alpha = beta1 beta2 m^gamma, on the four points."""
    from trainphase.relu import ladder

    power, gamma, width, seed = job
    size = runs.sizes("points")
    start = ladder.draws(width, seed, size)
    beta = float(width) ** -power
    return distance(beta * start.a[:, 0], beta * start.w, beta * beta * float(width) ** gamma, size.X, size.y[:, 0], size.target)


def distance(a: np.ndarray, w: np.ndarray, alpha: float, X: np.ndarray, y: np.ndarray, target: float) -> float:
    """sup |theta_w(t) - theta_w(0)| / |theta_w(0)| until mean(e^2) <= target, with a second copy (-a, w) of each neuron.

    ``a`` (m,), ``w`` (m, r). TrainphaseError when the target is not reached.
    """
    n, m = len(y), len(a)
    start, w = w.T, np.concatenate([w, w]).T.copy()
    a = np.concatenate([a, -a])
    size, far = np.linalg.norm(start), 0.0
    squares, longest = np.sum(np.square(X), 1), float(np.sqrt(np.max(np.sum(np.square(X), 1))))
    for _ in range(MOST_STEPS):
        H = X @ w
        R, on = np.maximum(H, 0.0), H > 0
        e = R @ a / alpha - y
        if np.mean(np.square(e)) <= target:
            return float(far)
        trace = float(np.sum(np.square(R)) + squares @ (on @ np.square(a))) / (alpha * alpha * n)
        # |a'| and |w'| of a neuron are at most |e| |x| / (n alpha) times the size of its other layer.
        rho = float(np.sum(np.abs(e))) * longest / (n * alpha)
        h = min(0.05 / trace, 0.01 / rho)
        step = h / (n * alpha)
        move = -step * (X.T @ (on * e[:, None])) * a
        a = a - step * (e @ R)
        w += move
        far = max(far, float(np.linalg.norm(w[:, :m] - start)) / size)
    raise TrainphaseError(
        f"a net of width {m} did not reach a loss of {target:g} in {MOST_STEPS} Euler steps; take another point"
    )
