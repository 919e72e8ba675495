"""Inputs in few coordinates: inner products are kept, and the dimensions add up."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import refused, sentence

from trainphase.data.targets import augmented, reduced, row_space, samples
from trainphase.errors import RequestError

# Inner products of at most 785 numbers through an SVD: rounding times a small power of the size (2e-15 seen),
# relative to the largest |x|^2.
GRAM = 1e-13


def check(x, bias, rank):
    """Inner products are preserved, and the numbers of dimensions add up."""
    a = np.hstack([x, np.ones((len(x), 1))]) if bias else x
    coordinates, left_out = reduced(x, bias)
    assert coordinates.shape == (len(x), rank) and rank + left_out == a.shape[1]
    gram = a @ a.T
    assert np.abs(coordinates @ coordinates.T - gram).max() <= GRAM * gram.max()
    basis = row_space(x, bias)
    assert np.abs(basis.T @ basis - np.eye(rank)).max() <= GRAM
    return coordinates, basis


@pytest.mark.parametrize(
    ("n", "d", "bias", "rank"), [(4, 1, True, 2), (5, 30, True, 5), (40, 6, True, 7), (40, 6, False, 6), (1, 3, True, 1)]
)
def test_inner_products_are_preserved(rng, n, d, bias, rank):
    x = rng.standard_normal((n, d))
    coordinates, basis = check(x, bias, rank)
    inside = rng.standard_normal(n) @ augmented(x, bias)
    coefficients = inside @ basis
    # A point of the span keeps its inner products with the samples.
    expected = augmented(x, bias) @ inside
    assert np.abs(coordinates @ coefficients - expected).max() <= GRAM * np.abs(expected).max()


def test_dependent_inputs_need_fewer_coordinates(rng):
    x = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 50))
    check(x, False, 3)
    check(x, True, 4)
    check(np.vstack([x, x]), True, 4)
    check(1e-9 * x, True, 4)  # small against the bias, and far above rounding
    check(np.zeros((3, 2)), True, 1)
    check(samples("digits", 45).X, True, 45)


def test_the_signs_do_not_depend_on_the_decomposition(monkeypatch, rng):
    x, svd = rng.standard_normal((6, 9)), np.linalg.svd
    before = reduced(x)[0]

    def flipped(a, full_matrices):
        u, s, vt = svd(a, full_matrices=full_matrices)
        return -u, s, -vt

    monkeypatch.setattr(np.linalg, "svd", flipped)
    assert np.array_equal(reduced(x)[0], before)


@pytest.mark.parametrize(
    ("x", "bias", "word"),
    [
        (np.zeros(3), True, "(3,)"),
        (np.zeros((0, 3)), True, "(0, 3)"),
        (np.array([[0.0, np.nan]]), True, "X[0, 1]"),
        (np.zeros((2, 3)), False, "zero"),
    ],
)
def test_inputs_that_have_no_coordinates(x, bias, word):
    with refused(RequestError) as caught:
        reduced(x, bias)
    assert word in sentence(caught)
