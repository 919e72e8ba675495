"""Directions of neurons: the score and the clusters do not depend on how particles are written; known cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainphase.errors import RequestError
from trainphase.observables import condensation as c

# Sums of up to 40 positive terms and their exponentials: some hundred roundings of 1e-16.
ROUNDING = 1e-12


def net(seed: int, count: int, rank: int, outputs: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((outputs, count)), rng.standard_normal((rank, count)), rng.uniform(0.5, 3.0, count)


nets = st.builds(net, st.integers(0, 10**6), st.integers(2, 20), st.integers(2, 5), st.integers(1, 3))


@settings(max_examples=40, deadline=None)
@given(nets, st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_score_is_that_of_split_reordered_rescaled_and_turned_particles(weights, seed, scale_a, scale_w):
    a, w, mass = weights
    score = c.condensation(a, w, mass)
    assert 0 < score <= 1
    rng = np.random.default_rng(seed)
    some = np.flatnonzero(rng.random(mass.size) < 0.5)  # not all: ignoring the mass would go unseen
    part, order = rng.uniform(0.1, 0.9, some.size), rng.permutation(mass.size + some.size)
    split = np.append(mass, (1 - part) * mass[some])
    split[some] *= part
    split = split[order]
    turn = np.linalg.qr(rng.standard_normal((len(w), len(w))))[0]
    twice_a, twice_w = (np.append(v, v[:, some], 1)[:, order] for v in (scale_a * a, scale_w * turn @ w))
    assert c.condensation(twice_a, twice_w, split) == pytest.approx(score, rel=ROUNDING)
    first, second = c.active_directions(a, w, mass), c.active_directions(twice_a, twice_w, split)
    # Equal shares may be listed in another order.
    assert np.sort(second.shares) == pytest.approx(np.sort(first.shares), rel=ROUNDING)


@settings(max_examples=40, deadline=None)
@given(nets)
def test_the_sign_and_size_of_a_move_with_those_of_w(weights):
    a, w, mass = weights
    swapped = np.linalg.norm(w, axis=0)[None] * np.sign(a[:1])
    size = np.linalg.norm(a, axis=0)
    # |a| and |w| exchanged: the same amplitudes and directions.
    assert c.condensation(swapped, c.directions(w) * size, mass) == pytest.approx(c.condensation(a, w, mass), rel=ROUNDING)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_equal_directions_give_one_over_their_number(count):
    angle = np.repeat(2 * np.pi * np.arange(count) / count, 4)
    w = np.stack([np.cos(angle), np.sin(angle)]) * np.tile([0.1, 1.0, 3.0, 7.0], count)
    a = 1 / np.tile([0.1, 1.0, 3.0, 7.0], count)
    # The nearest other direction is 1.26 rad away: exp(-0.69 / 0.01) is far below rounding.
    assert c.condensation(a, w) == pytest.approx(1 / count, rel=ROUNDING)
    found = c.active_directions(a, w)
    assert found.shares == pytest.approx(np.full(count, 1 / count), rel=ROUNDING)
    points = np.exp(1j * angle[::4])[:, None]
    # Cosines, sines, their mean and the arc tangent: a few roundings.
    assert np.abs(np.exp(1j * found.angles) - points).min(0).max() < ROUNDING
    assert np.abs(np.exp(1j * found.angles) - points).min(1).max() < ROUNDING


def test_an_even_spread_has_the_window_share():
    angle = 2 * np.pi * np.arange(4000) / 4000
    score = c.condensation(np.ones(4000), np.stack([np.cos(angle), np.sin(angle)]))
    # The window of a Gaussian; 1 - cos differs from half the square by WIDTH^2 / 8 of it.
    assert score == pytest.approx(c.WIDTH / np.sqrt(2 * np.pi), rel=0.01)


def test_small_directions_are_left_out_and_near_ones_merged():
    angle = np.array([0.0, 0.05, 2.0, -2.0])
    w = np.stack([np.cos(angle), np.sin(angle)])
    found = c.active_directions(np.array([0.5, 0.3, 0.195, 0.005]), w)
    assert found.shares == pytest.approx([0.8, 0.195], rel=ROUNDING)
    # The mean of unit vectors at 0 and 0.05 rad by 5 : 3; curvature shifts it by 0.05^3 or so.
    assert found.angles == pytest.approx([0.05 * 3 / 8, 2.0], abs=2e-5)


def test_weights_that_do_not_fit_are_told():
    for call, words in (
        (lambda: c.amplitude(np.ones(3), np.ones((2, 4))), "do not belong together"),
        (lambda: c.orientation(np.ones((3, 4))), "no angle"),
        (lambda: c.shares(np.zeros(4), np.ones((2, 4))), "sum to 0"),
        (lambda: c.function_distance(np.zeros(3), np.ones(3)), "0 on the whole grid"),
    ):
        with pytest.raises(RequestError, match=words):
            call()


def test_a_neuron_without_weights_changes_nothing():
    a, w, mass = net(3, 10, 2)
    more = c.condensation(np.append(a, [[5.0]], 1), np.append(w, [[0.0], [0.0]], 1), np.append(mass, 4.0))
    assert more == pytest.approx(c.condensation(a, w, mass), rel=ROUNDING)


# --- functions ----------------------------------------------------------------------------------------------


def test_the_linearisation_is_the_derivative_of_the_function():
    a, w, mass = net(1, 12, 3, 2)
    X = np.random.default_rng(2).standard_normal((7, 3))
    da, dw, _ = net(5, 12, 3, 2)
    f = c.function(X, a, w, mass, 0.3)
    assert f == pytest.approx(0.3 * np.einsum("k,ck,kn->nc", mass, a, np.maximum(w.T @ X.T, 0)), rel=ROUNDING, abs=1e-13)
    assert c.linearised(X, (a, w), (a, w), mass, 0.3) == pytest.approx(f, rel=ROUNDING, abs=1e-13)
    gaps = []
    for step in (1e-3, 1e-4):
        end = a + step * da, w + step * dw
        gaps.append(np.abs(c.function(X, *end, mass, 0.3) - c.linearised(X, (a, w), end, mass, 0.3)).max())
    # No pre-activation is within 1e-3 of a kink here, so the remainder is of second order.
    assert gaps[1] < 0.02 * gaps[0] and gaps[0] > 0


def test_function_distance_is_relative():
    f = np.array([[1.0], [2.0], [2.0]])
    assert c.function_distance(f, f) == 0
    assert c.function_distance(3 * f, 3 * (f + np.array([[0.0], [0.3], [0.0]]))) == pytest.approx(0.1, rel=ROUNDING)
