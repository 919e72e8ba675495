"""Particles that stand for many neurons: what they keep exactly, and how near a binned net trains to the whole one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainphase.relu import initial, ladder

X = np.stack([np.linspace(-0.5, 0.5, 4), np.ones(4)], 1)
POINTS = ladder.Sizes(X, 0, X[:, :1] ** 2)


def moments(a: np.ndarray, w: np.ndarray, mass: np.ndarray) -> dict[str, np.ndarray]:
    """Sums over neurons; a (N,), w (2, N)."""
    return {"a^2": np.sum(mass * a * a), "a w": (w * mass * a).sum(1), "w w^T": (w * mass) @ w.T}


def assert_kept(weights: initial.Weights, bins: int, antisymmetric: bool) -> initial.Bundle:
    bundle = initial.binned(weights, X, bins, antisymmetric)
    whole = initial.neurons(weights, antisymmetric)
    got, want = (moments(b.a[0], b.w, b.mass) for b in (bundle, whole))
    size = float(np.sum(whole.a**2) + np.sum(whole.w**2))
    for name, value in want.items():
        # A node's distance from the others is a difference of moments, and what is below 1e-13 of a cell is dropped: of its
        # square root, 3e-7, in products with the cell's own size a part of 1e-9 remains.
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-8 * size, err_msg=name)
    assert np.all(bundle.mass > 0) and np.all(bundle.share >= 0) and np.all(bundle.share <= bundle.mass * (1 + 1e-12))
    # Of the two copies the first has half; without a copy all of it.
    assert np.sum(bundle.share) == pytest.approx(np.sum(bundle.mass) / (2 if antisymmetric else 1), rel=1e-12)
    return bundle


def size_of(v: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    return st.builds(lambda sign, x: sign * x, st.sampled_from([-1.0, 1.0]), v)


NUMBERS = size_of(st.floats(1e-3, 10))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=2, max_size=40),
    st.sampled_from([1, 2, 8, 32]),
    st.booleans(),
)
def test_moments_are_kept_whatever_the_weights(rows, bins, antisymmetric):
    table = np.array(rows)
    if not antisymmetric:
        table[0, 0], table[1, 0] = abs(table[0, 0]), -abs(table[1, 0])
    assert_kept(initial.Weights(table[:, :1], table[:, 1:], 0.0), bins, antisymmetric)


@pytest.mark.parametrize("antisymmetric", [True, False])
@pytest.mark.parametrize("bins", [8, 128, 2048])
def test_moments_of_gaussian_weights(bins, antisymmetric):
    bundle = assert_kept(initial.draw(3000, 1, 2), bins, antisymmetric)
    assert bundle.mass.size <= 6 * ladder.PER_BIN * bins + 600


def test_neurons_of_cells_of_their_own_are_themselves():
    """More bins than neurons: every cell has one neuron, and one particle, or two with the copy."""
    weights = initial.draw(40, 0, 2)
    bundle = initial.binned(weights, X, 100_000, antisymmetric=False)
    one = bundle.mass == 1
    assert np.sum(one) >= 30
    rows = np.concatenate([weights.a, weights.w], 1)
    for a, w in zip(bundle.a[0, one], bundle.w[:, one].T, strict=True):
        # Each is rebuilt from its moments: some eps.
        assert np.min(np.max(np.abs(rows - np.array([a, *w])), axis=1)) <= 1e-9


def test_an_antisymmetric_bundle_computes_nothing():
    bundle = initial.binned(initial.draw(500, 2, 2), X, 32, True)
    # 500 terms of both signs, each of order 1.
    np.testing.assert_allclose(np.maximum(X @ bundle.w, 0) @ (bundle.mass * bundle.a[0]), 0, atol=1e-11)
    # The weights of the first copy, by the signs that their a had: its own norm, which relative distances are parts of.
    weights = initial.draw(500, 2, 2)
    assert np.sum(bundle.share * np.sum(bundle.w**2, 0)) == pytest.approx(weights.norm_w**2, rel=1e-9)
    assert np.sum(bundle.share * bundle.a[0] ** 2) == pytest.approx(weights.norm_a**2, rel=1e-9)


@pytest.mark.parametrize("antisymmetric", [True, False])
@pytest.mark.parametrize(("width", "bins"), [(300, 16), (300, 128), (3000, 16), (3000, 512)])
def test_the_function_and_the_kernel_at_the_start_are_kept(width, bins, antisymmetric):
    """No node lies beyond the change of an active set."""
    for seed in range(3):
        weights = initial.draw(width, seed, 2)
        bundle, whole = initial.binned(weights, X, bins, antisymmetric), initial.neurons(weights, antisymmetric)
        for part in (
            lambda b, H: np.maximum(H, 0) @ (b.mass * b.a[0]),
            lambda b, H: (np.maximum(H, 0) * b.mass) @ np.maximum(H, 0).T,
            lambda b, H: ((H > 0) * b.mass * b.a[0] ** 2) @ (H > 0).T,
        ):
            got, want = (part(b, X @ b.w) for b in (bundle, whole))
            # Products of the cells are kept to 1e-8 of all of them: see assert_kept. One node beyond: 1e-3 and more.
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-8 * 2 * width)


@pytest.mark.parametrize(("gamma", "gamma_prime"), [(1.0, 0.0), (1.75, 0.0), (0.7, 0.3)])
def test_a_binned_net_trains_like_the_whole_one(gamma, gamma_prime):
    binned = ladder.train(gamma, gamma_prime, 5000, 0, POINTS, accuracy=0.02)
    whole = ladder.train(gamma, gamma_prime, 5000, 0, POINTS, level=-1)
    assert binned.outcome == whole.outcome == "converged"
    assert binned.bins > 0 and whole.bins == 0
    true = abs(binned.relative_distance / whole.relative_distance - 1)
    # The estimate is within what was asked for, and so is the error, though two levels may be near each other by chance.
    assert binned.error <= 0.02
    assert true <= 0.02
