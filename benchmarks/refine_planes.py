"""The planes that refine_points.py labels: plain NumPy, on the unit square, so that every interpreter can import them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PERIODS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)


def three_phases(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two smooth lines that meet in a triple point: labels 0, 1 and 2."""
    below = y < 0.5 + 0.18 * np.sin(5 * x + 0.4) - 0.1 * x
    return np.where(below, 0, np.where(x > 0.62 + 0.25 * (y - 0.3) ** 2, 2, 1))


def newton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Root that Newton's method for z^3 - 1 ends at, from z in a square of side 3 that is not centred on the origin."""
    z = 3 * x - 1.51 + 1j * (3 * y - 1.53)
    with np.errstate(all="ignore"):
        for _ in range(60):
            z = z - (z**3 - 1) / (3 * z**2)
    roots = np.exp(2j * np.pi * np.arange(3) / 3)
    return np.argmin(np.abs(z[:, None] - roots[None, :]), axis=1)


def periods(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which of PERIODS x' = a x - x^3 + b has from its upper critical point, none, or escape; a in (1.5, 2.9), b in (0, 1.2)."""
    a, b = 1.5 + 1.4 * x, 1.2 * y
    z = np.sqrt(a / 3)
    found = np.full(a.shape, len(PERIODS))
    with np.errstate(all="ignore"):
        for _ in range(1500):
            z = a * z - z**3 + b
        start = z.copy()
        for step in range(1, max(PERIODS) + 1):
            z = a * z - z**3 + b
            if step in PERIODS:
                found[(np.abs(z - start) < 1e-6) & (found == len(PERIODS))] = PERIODS.index(step)
    found[~np.isfinite(z)] = len(PERIODS) + 1
    return found


PLANES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], int]] = {
    "three-phases": (three_phases, 3),
    "newton": (newton, 3),
    "periods": (periods, len(PERIODS) + 2),
}
