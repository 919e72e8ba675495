"""Stability thresholds against the roots of each optimiser's recursion on one mode, and against simulated steps."""

from __future__ import annotations

import numpy as np
import pytest

from trainphase.errors import RequestError
from trainphase.theory import thresholds

LR, DECAY = 0.03, 0.7


def matrix(name: str, s: float, beta: float, w: float, dampening: float = 0.0) -> np.ndarray:
    """The linear map of (theta, m) in one step on (s/2) theta^2 with weight decay, written from the update rule."""
    keep = 1 - LR * w
    if name == "polyak":
        m = np.array([(1 - dampening) * (s + w), beta])
        return np.array([[1 - LR * m[0], -LR * m[1]], m])
    if name == "nesterov":
        m = np.array([s + w, beta])
        return np.array([[1 - LR * (s + w) - LR * beta * m[0], -LR * beta * m[1]], m])
    m = np.array([s if name == "rmsprop" else (1 - beta) * s, beta])
    return np.array([[keep - LR * m[0], -LR * m[1]], m])


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("w", [0.0, DECAY])
@pytest.mark.parametrize("name", ["polyak", "nesterov", "rmsprop", "adam"])
def test_the_spectral_radius_is_one_at_the_threshold(name, beta, w):
    at = float(thresholds.threshold(name, LR, beta, w))
    radii = [np.abs(np.linalg.eigvals(matrix(name, s, beta, w))).max() for s in (0.999 * at, at, 1.001 * at)]
    # A root of a 2 x 2 matrix of entries of order 10 to rounding; off it by 1e-3 the root moves by 1e-3 (1 - beta) at least.
    assert radii[1] == pytest.approx(1, abs=1e-12)
    assert radii[0] < 1 - 1e-5 < 1 + 1e-5 < radii[2]


def test_dampening():
    at = float(thresholds.polyak(LR, 0.9, dampening=0.9))
    assert np.abs(np.linalg.eigvals(matrix("polyak", at, 0.9, 0.0, 0.9))).max() == pytest.approx(1, abs=1e-12)  # rounding
    assert at == pytest.approx(float(thresholds.adam(LR, 0.9)), rel=1e-14)  # the same recursion


def test_the_numbers_of_the_papers():
    assert thresholds.adam(1e-3) == pytest.approx(38 / 1e-3, rel=1e-14)
    assert thresholds.gradient_descent(0.01) == 200.0
    assert thresholds.rmsprop(0.5) == 4.0
    assert thresholds.polyak(1.0, 0.9) == pytest.approx(3.8, rel=1e-15)
    assert thresholds.nesterov(1.0, 0.9) == pytest.approx(3.8 / 2.8, rel=1e-15)
    assert np.asarray(thresholds.threshold("gd", np.array([0.1, 0.2]), weight_decay=1.0)) == pytest.approx([19.0, 9.0])


@pytest.mark.parametrize(("name", "args"), [("gd", (0.0,)), ("polyak", (0.1, 1.0)), ("adam", (0.1, 0.9, -1.0)), ("lion", (0.1,))])
def test_what_has_no_threshold_is_refused(name, args):
    with pytest.raises(RequestError, match="threshold"):
        thresholds.threshold(name, *args)
