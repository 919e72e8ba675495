"""The planes of initialisations: exponents against the rule solved by brute force, tables, critical lines, bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq

from trainphase.errors import RequestError
from trainphase.theory import relu2, relu3

# A point deep in each sector of the two-layer map, and the exponent there.
DEEP = {
    "kernel-w": ((0.4, -0.6), -0.6),
    "kernel-a": ((0.4, 0.6), -1.8),
    "w-lazy": ((1.5, 1.2), -1.4),
    "both-grow": ((1.75, 0.0), 0.375),
    "a-lazy": ((1.3, -0.8), 0.3),
}


def brute_force(log_norms: list[float], log_capacity: float, layer: int) -> float:
    """ln RD of a layer by the rule in its two-branch form (product of the norms above or below the capacity).

    Scaled so that the largest exponent is 0, the root is found by bracketing in ln Delta; independent of the package.
    """
    product = sum(log_norms)
    if product >= log_capacity:
        log_delta = 2 * min(log_norms) + log_capacity - product
    else:

        def gap(u: float) -> float:
            return sum(0.5 * np.logaddexp(2 * x, u) for x in log_norms) - log_capacity

        span = 10 * (sum(map(abs, log_norms)) + abs(log_capacity)) + 10
        log_delta: float = brentq(gap, -span, span, xtol=1e-9 * span)  # pyright: ignore
    ratio = log_delta - 2 * log_norms[layer]
    return min(ratio, ratio / 2)


def two_layers(gamma: float, gamma_prime: float, log_m: float) -> float:
    a, w = 0.5 * log_m - gamma_prime * log_m, 0.5 * log_m  # beta2 = 1
    return brute_force([a, w], (gamma - gamma_prime) * log_m, 1)


def slope_by_force(gamma: float, gamma_prime: float, log_m: float = 1e6) -> float:
    return (two_layers(gamma, gamma_prime, 2 * log_m) - two_layers(gamma, gamma_prime, log_m)) / log_m


# -- two layers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEEP)
def test_a_point_of_each_sector(name: str) -> None:
    point, expected = DEEP[name]
    assert relu2.sector(*point) == name
    # Rounding of a few additions.
    assert relu2.slope(*point) == pytest.approx(expected, abs=1e-14)


def test_exponents_are_those_of_the_rule(rng: np.random.Generator) -> None:
    points = rng.uniform([-0.5, -2.5], [3.5, 2.5], (300, 2))
    found = relu2.slope(*points.T)
    # At ln m = 1e6 the bracketed root is off by 1e-9 of a span of about 1e8: 0.1 / 1e6 in the slope; near a border of
    # two sectors the logarithm of a sum of two equal terms adds up to ln 2 / 1e6.
    np.testing.assert_allclose(found, [slope_by_force(*p) for p in points], atol=2e-6)
    assert set(map(int, relu2.sector_index(*points.T))) == set(range(5))


def test_the_smooth_rule_has_the_same_exponents(rng: np.random.Generator) -> None:
    points = rng.uniform([-0.5, -2.5], [3.5, 2.5], (300, 2))
    log_m = np.array([[1e5], [2e5]])
    found = relu2.log_relative_distance(log_m, -log_m * points[:, 0], -log_m * points[:, 1])
    # One sum of two terms of comparable size changes ln RD by at most 2 ln 2 over a span of 1e5 in ln m.
    np.testing.assert_allclose(np.diff(found, axis=0)[0] / 1e5, relu2.slope(*points.T), atol=3e-5)


def test_the_rule_solves_its_equation(rng: np.random.Generator) -> None:
    norms, capacity = np.exp(rng.uniform(-3, 3, (3, 50))), np.exp(rng.uniform(-5, 8, 50))
    delta = np.exp(relu2.log_growth(list(np.log(norms)), np.log(capacity)))
    grown = np.sqrt(norms**2 + delta).prod(0)
    # The difference of two products, each rounded to 1e-15: relative to the larger one.
    np.testing.assert_allclose(grown, norms.prod(0) + capacity, rtol=1e-13)


def test_sizes_are_those_measured() -> None:
    # Means over seeds of trained networks on the four points x = -1/2 .. 1/2, y = x^2 (RD of Luo et al., Fig. 3, at
    # m = 1000 and 40 000). The rule claims the size to a factor of two, for targets of size 1.
    measured = {0.5: (0.0091, 0.0014), 1.0: (0.258, 0.265), 1.75: (7.5, 30.7)}
    for gamma, values in measured.items():
        for width, value in zip((1000, 40000), values, strict=True):
            alpha = float(width) ** gamma
            assert 0.5 < relu2.relative_distance(width, alpha, 1.0, 1.0) / value < 2.0


def test_only_two_combinations_of_the_scales_count() -> None:
    one = relu2.relative_distance(5000, 70.0, 0.3, 0.6, target=2.0)
    # kappa and kappa' are the same; and doubling the target is halving kappa.
    assert relu2.relative_distance(5000, 7.0, 0.3 / 10**0.5, 0.6 / 10**0.5, target=2.0) == pytest.approx(one, rel=1e-12)
    assert relu2.relative_distance(5000, 140.0, 0.3, 0.6) == pytest.approx(one, rel=1e-12)
    assert relu2.relative_distance(5000, 140.0, 0.3, 0.6, inputs=100) == pytest.approx(one / 10, rel=1e-12)


def test_the_map_is_continuous(rng: np.random.Generator) -> None:
    at = rng.uniform(-2, 2, 200)
    steps = np.array([-1e-9, 1e-9])
    corners = [(1.0, at), (1.0 + np.abs(at), np.abs(at)), (1.0 + np.abs(at), -np.abs(at)), (np.minimum(at, 1.0), 0.0)]
    for gamma, gamma_prime in corners:
        found = relu2.slope(gamma + steps[:, None], gamma_prime + steps[::-1, None])
        # No exponent changes by more than 4 per unit of the coordinates.
        np.testing.assert_allclose(found[0], found[1], atol=1e-8)


def test_the_sign_of_the_exponent_is_the_regime(rng: np.random.Generator) -> None:
    for gamma, gamma_prime in rng.uniform([0, -2], [3, 2], (300, 2)):
        expected = {-1.0: "linear", 1.0: "condensed"}[float(np.sign(relu2.slope(gamma, gamma_prime)))]
        assert relu2.regime(gamma, gamma_prime) == expected


@pytest.mark.parametrize("point", [(1.0, -0.7), (1.0, 0.0), (1.2, 0.2), (1.7, 0.7)])
def test_the_boundary_is_critical(point: tuple[float, float]) -> None:
    assert relu2.regime(*point) == "critical"
    assert relu2.slope(*point) == pytest.approx(0.0, abs=1e-15)  # rounding of 1.2 - 1 - 0.2
    line = relu2.critical_line(-1, 1)
    assert np.interp(point[1], line[:, 1], line[:, 0]) == pytest.approx(point[0], abs=1e-15)


@pytest.mark.parametrize(
    "name, inputs, expected",
    [
        # (kappa, kappa') as Table 1 of Luo et al. gives them.
        ("lecun", 7, lambda m, d: ((m * d) ** -0.5, (d / m) ** 0.5)),
        ("he", 7, lambda m, d: ((4 / (m * d)) ** 0.5, (d / m) ** 0.5)),
        ("xavier", 784, lambda m, d: ((4 / ((m + 1) * (m + d))) ** 0.5, ((m + d) / (m + 1)) ** 0.5)),
        ("ntk", 7, lambda m, d: (m**-0.5, 1.0)),
        ("mean-field", 7, lambda m, d: (1 / m, 1.0)),
        ("pytorch", 7, lambda m, d: ((9 * m * d) ** -0.5, (d / m) ** 0.5)),
    ],
)
def test_the_table_of_initialisations(name: str, inputs: int, expected: object) -> None:
    assert callable(expected)
    alpha, beta1, beta2 = np.exp(relu2.log_scales(name, 1000, inputs))
    found = relu2.kappa(alpha, beta1, beta2), relu2.kappa_prime(beta1, beta2)
    assert found == pytest.approx(expected(1000, inputs), rel=1e-13)  # rounding of a few logarithms


@pytest.mark.parametrize("name", relu2.SCHEMES)
def test_coordinates_go_to_their_limit(name: str) -> None:
    scheme = relu2.SCHEMES[name]
    off = []
    for m in (1e5, 1e20, 1e100, 1e300):
        alpha, beta1, beta2 = relu2.log_scales(name, m, 784)
        size = math.log(m)
        two = (alpha - beta1 - beta2) / size, (beta2 - beta1) / size
        three = relu3.coordinates(m, *relu3.log_scales(name, m, 784))
        off.append(max(np.abs(np.subtract(two + three, (*scheme.limit, *scheme.limit3, 0.0)))))
    assert off[-1] < 0.02
    # Constants are powers 1 / ln m: the distance falls as that, or is 0 from the first.
    for one, other in itertools.pairwise(off):
        assert other <= one + 1e-15  # rounding
    assert off[0] < 0.5


def test_the_initialisation_with_a_free_scale() -> None:
    for beta in (3.0, 0.1, 1e-6):
        logs = relu2.log_scales("e", 1000, 5, beta=beta)
        gamma = relu2.gamma(math.exp(logs[1] + logs[2] - logs[0]), 1000)
        gamma_prime = relu2.gamma_prime(math.exp(logs[1] - logs[2]), 1000)
        assert gamma == gamma_prime == pytest.approx(-math.log(beta) / math.log(1000), rel=1e-14)
        assert relu2.regime(gamma, gamma_prime) == "linear"


def test_slope_at_a_width() -> None:
    # Along powers of m it goes to the exponent as 1/m to some power: at m = 1e12 the corrections are below 1e-3.
    for (gamma, gamma_prime), expected in DEEP.values():
        found = relu2.slope_at(lambda v, g=gamma, p=gamma_prime: (-g * v, -p * v), 10**12)
        assert found == pytest.approx(expected, abs=1e-3)
    # LeCun's constant sqrt(d) is no power of m: the slope along it is that of its limit (1/2, 1/2), not that of the map
    # at its place at this width.
    at = relu2.slope_at(lambda v: (-0.5 * (v + math.log(784)), 0.5 * (math.log(784) - v)), 10**9)
    assert at == pytest.approx(relu2.slope(0.5, 0.5), abs=0.01)


def test_where_experiments_see_the_boundary() -> None:
    # Zero crossings of S_w measured by Luo et al. (Fig. 4) over these widths, read off the figure to about 0.01. Their
    # targets, x^2 up to 1/4 on inputs of length about 1 with the constant, are of size 1/4 to 1/2.
    widths = (1000, 5000, 10000, 20000, 40000)
    measured = {-0.4: 1.0, -0.2: 1.0, 0.0: 1.04, 0.1: 1.135, 0.2: 1.24, 0.3: 1.335, 0.4: 1.39}
    for target in (0.25, 0.5):
        found = [relu2.zero_crossing(g, widths, target) for g in measured]
        assert found == pytest.approx(list(measured.values()), abs=0.05)
    # And it goes to the boundary, as a power of m.
    assert relu2.zero_crossing(0.1, (1e40, 1e41)) == pytest.approx(1.1, abs=1e-4)
    with pytest.raises(RequestError, match="no slope"):
        relu2.zero_crossing(0.1, (1000, 1000))


def test_theorems_agree_with_the_map(rng: np.random.Generator) -> None:
    size = math.log(1e40)
    for gamma, gamma_prime in rng.uniform([0.51, -2], [2.5, 2], (200, 2)):
        linear = relu2.theorem_6(gamma, gamma_prime)
        assert linear == (relu2.regime(gamma, gamma_prime) == "linear")
        assert relu2.theorem_8(gamma, gamma_prime) == (not linear)
        kappas = 1e40**-gamma, 1e40**-gamma_prime
        slope = relu2.slope(gamma, gamma_prime)
        if linear:
            cases = [c for c, holds in (("gamma", gamma < 1), ("gamma_prime", gamma_prime > gamma - 1)) if holds]
            for case in cases:
                # Upper bounds; the factor ln m is a power of m below 0.05 here.
                assert math.log(relu2.theorem_6_bound(1e40, *kappas, case)) / size > slope - 1e-9
        else:
            assert math.log(relu2.theorem_8_bound(1e40, *kappas)) / size < slope + 1e-9
    assert not relu2.theorem_6(0.4, 0.0) and relu2.theorem_6(0.4, 0.0, antisymmetric=True)


def test_proposition_26_is_about_the_last_sector(rng: np.random.Generator) -> None:
    for gamma, gamma_prime in rng.uniform([1.01, -2], [2.5, 2], (200, 2)):
        assert relu2.proposition_26(gamma, gamma_prime) == (relu2.sector(gamma, gamma_prime) == "a-lazy")


# -- three layers --------------------------------------------------------------------------------------------


def table(gamma3: float, gamma2: float) -> tuple[float, float]:
    """The exponents of W1 and W2 (Frobenius) for beta2 = beta3, case by case."""
    over = gamma3 - 1.5
    if over <= 0:
        return over - 2 * max(gamma2, 0), over - 0.5 + 2 * min(gamma2, 0)
    if gamma2 >= over / 2:
        return over - 2 * gamma2, (gamma3 - 2.5) / 2
    if gamma2 >= -over:
        return (over - 2 * gamma2) / 3, (gamma3 + gamma2 - 3) / 3
    return over, 2 * (gamma3 + gamma2) - 3.5


def test_three_layers_case_by_case(rng: np.random.Generator) -> None:
    for gamma3, gamma2 in rng.uniform([0, -2], [4.5, 2], (300, 2)):
        found = relu3.slopes(gamma3, gamma2)
        assert (found["w1"], found["w2"]) == pytest.approx(table(gamma3, gamma2), abs=1e-13)  # rounding
        assert found["w2_operator"] == pytest.approx(found["w2"] + 0.5, abs=1e-13)


def test_three_layers_by_force(rng: np.random.Generator) -> None:
    for gamma3, gamma2, third in rng.uniform([0, -2, -1.5], [4.5, 2, 1.5], (150, 3)):

        def norms(v: float, g2: float = gamma2, t: float = third) -> list[float]:
            return [0.5 * v, (0.5 - g2 - t) * v, (0.5 - g2) * v]

        def capacity(v: float, g3: float = gamma3, g2: float = gamma2, t: float = third) -> float:
            return (g3 - 2 * g2 - t) * v

        slopes = relu3.slopes(gamma3, gamma2, third)
        for layer, name in ((0, "w1"), (1, "w2_operator")):
            values = [brute_force(norms(v), capacity(v), layer) for v in (1e6, 2e6)]
            # As for two layers: the bracket's last step, or a sum of three equal terms, over 1e6.
            assert slopes[name] == pytest.approx((values[1] - values[0]) / 1e6, abs=3e-6)
        logs = np.array([1e5, 2e5])
        smooth = relu3.log_relative_distances(logs, capacity(logs), 0 * logs, -(gamma2 + third) * logs, -gamma2 * logs)  # pyright: ignore
        for name in relu3.NORMS:
            assert slopes[name] == pytest.approx(float(np.diff(smooth[name])[0]) / 1e5, abs=5e-5)


@pytest.mark.parametrize(
    "point, w1, w2",
    [
        ((1, 0), -0.5, -1), ((1.5, 0), 0, -0.5), ((2.1, 0), 0.2, -0.3), ((3, 0), 0.5, 0), ((1, 0.5), -1.5, -1),
        ((2, 0.8), -1.1, -0.25), ((3, 0.9), -0.3, 0.25), ((2, -0.8), 0.5, -1.1), ((3.5, -0.2), 0.8, 0.1),
        ((3, 0.4), 0.7 / 3, 0.4 / 3),
    ],
)  # fmt: skip
def test_points_at_which_networks_were_trained(point: tuple[float, float], w1: float, w2: float) -> None:
    found = relu3.slopes(*point)
    assert (found["w1"], found["w2"]) == pytest.approx((w1, w2), abs=1e-14)


def test_critical_lines_of_three_layers(rng: np.random.Generator) -> None:
    for gamma2, third in rng.uniform([-2, -1.5], [2, 1.5], (100, 2)):
        for layer in relu3.NORMS:
            at = relu3.critical_gamma3(layer, gamma2, third)
            low, here, high = (relu3.slopes(at + s, gamma2, third)[layer] for s in (-0.01, 0.0, 0.01))
            assert low < 0 < high and here == pytest.approx(0.0, abs=1e-13)
    for gamma2 in (-0.7, 0.0, 0.3, 0.5, 1.2):
        assert relu3.critical_gamma3("w1", gamma2) == 1.5 + 2 * max(gamma2, 0)
        assert relu3.critical_gamma3("w2", gamma2) == (2.5 if gamma2 >= 0.5 else 3 - gamma2)
    assert relu3.critical_line("w2", -1, 1).tolist() == [[4.0, -1.0], [2.5, 0.5], [2.5, 1.0]]


def test_four_regions() -> None:
    points = {(1.0, 0.0): 0, (2.0, 0.0): 1, (3.0, 0.9): 2, (3.4, 0.2): 3}
    for point, k in points.items():
        assert relu3.region_index(*point) == k
        assert tuple(relu3.regime(layer, *point) for layer in relu3.LAYERS) == relu3.REGIONS[k]


# -- refusals ------------------------------------------------------------------------------------------------


def test_what_has_no_place_is_refused() -> None:
    with pytest.raises(RequestError, match="beta1 = 0 is not possible"):
        relu2.kappa(1.0, 0.0, 1.0)
    with pytest.raises(RequestError, match="width 1 has no exponent"):
        relu2.gamma(0.1, 1)
    with pytest.raises(RequestError, match="free scale"):
        relu2.log_scales("e", 10, 1)
    with pytest.raises(RequestError, match="'nope' is not known"):
        relu2.log_scales("nope", 10, 1)
    with pytest.raises(RequestError, match="three layers"):
        relu3.log_scales("e", 10, 1)
    with pytest.raises(RequestError, match="no critical line of 'w3'"):
        relu3.critical_gamma3("w3", 0.0)
    with pytest.raises(RequestError, match="no case 'both'"):
        relu2.theorem_6_bound(10, 0.1, 1.0, "both")
