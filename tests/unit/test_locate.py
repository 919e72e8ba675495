"""Where initialisations lie: exact places at a finite width, limits, blur, and the weights of live models."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

from trainphase.errors import RequestError
from trainphase.figures import initialisation
from trainphase.location import NAMES, Location, Location3, locate
from trainphase.measure import measure
from trainphase.theory import relu2


def two(init: str | None = None, **given: Any) -> Location:
    place = locate(init, **given)
    assert isinstance(place, Location)
    return place


def three(init: str | None = None, **given: Any) -> Location3:
    place = locate(init, layers=3, **given)
    assert isinstance(place, Location3)
    return place


# -- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, kappa, kappa_prime",
    [
        ("lecun", 1 / math.sqrt(1e5 * 784), math.sqrt(784 / 1e5)),
        ("he", 2 / math.sqrt(1e5 * 784), math.sqrt(784 / 1e5)),
        ("xavier", math.sqrt(4 / (100001 * 100784)), math.sqrt(100784 / 100001)),
        ("ntk", 1 / math.sqrt(1e5), 1.0),
        ("mean-field", 1e-5, 1.0),
        ("pytorch", 1 / (3 * math.sqrt(1e5 * 784)), math.sqrt(784 / 1e5)),
        ("flax", 1 / math.sqrt(1e5 * 784), math.sqrt(784 / 1e5)),
        ("keras", math.sqrt(4 / (100001 * 100784)), math.sqrt(100784 / 100001)),
    ],
)
def test_the_place_at_a_width_is_exact(name: str, kappa: float, kappa_prime: float) -> None:
    place = two(name, width=100_000, inputs=784)
    # A few roundings of 1e-16 each.
    assert (place.kappa, place.kappa_prime) == pytest.approx((kappa, kappa_prime), rel=1e-14)
    assert place.gamma == pytest.approx(-math.log(kappa) / math.log(1e5), rel=1e-14)
    assert place.gamma_prime == pytest.approx(-math.log(kappa_prime) / math.log(1e5), rel=1e-11)
    assert place.predicted_slope == relu2.slope(place.gamma, place.gamma_prime)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "e"])
def test_places_go_to_their_limits(name: str) -> None:
    place, far = two(name, width=10**300, inputs=784), three(name, width=10**300, inputs=784)
    assert place.limit is not None and far.limit is not None
    for key, value in place.limit.coordinates.items():
        assert getattr(place, key) == pytest.approx(value, abs=0.02)
    for key, value in far.limit.coordinates.items():
        assert getattr(far, key) == pytest.approx(value, abs=0.02)
    # The slope along the initialisation is that of its limit: to a power of 784 / m, which is nothing here.
    assert place.slope_at_width == pytest.approx(place.limit.predicted_slope, abs=1e-6)
    for layer in ("w1", "w2"):
        assert isinstance(far.limit.predicted_slope, dict)
        assert far.slope_at_width[layer] == pytest.approx(far.limit.predicted_slope[layer], abs=1e-6)


def test_the_output_of_a_wide_layer_counts() -> None:
    # Xavier's output weights have variance 2 / (m + outputs).
    assert two("xavier", width=50, inputs=9, outputs=10).scales["beta1"] == math.sqrt(2 / 60)
    assert three("he", width=50, inputs=8).scales == {"alpha": 1.0, "beta1": 0.5, "beta2": 0.2, "beta3": 0.2}


def test_the_smallest_width_has_a_slope() -> None:
    """It was refused, as a width a little below it, from which the slope is taken. Slopes are smooth in the width: from 2 to 3
    they move by no more than the slope of either."""
    at, next_ = (two("he", width=m, inputs=4).slope_at_width for m in (2, 3))
    assert abs(at - next_) < abs(next_)
    deep, wider = (three("he", width=m, inputs=4).slope_at_width for m in (2, 3))
    assert all(abs(deep[name] - wider[name]) < abs(wider[name]) for name in deep)


def test_other_spellings() -> None:
    for word, name in (
        ("Glorot_Uniform", "xavier"),
        ("kaiming_normal_", "he"),
        ("torch", "pytorch"),
        ("mean_field", "mean-field"),
    ):
        assert two(word, width=10, inputs=2) == two(name, width=10, inputs=2)


def test_the_free_scale_stays_in_place() -> None:
    place = two("e", width=1000, inputs=3, beta=0.01)
    assert place.gamma == place.gamma_prime == pytest.approx(2 / 3, rel=1e-15)
    assert place.limit is not None and place.limit.coordinates["gamma"] == pytest.approx(2 / 3, rel=1e-15)
    assert place.regime == "linear"


# -- explicit scales, blur -----------------------------------------------------------------------------------


def test_explicit_scales() -> None:
    place = two(width=100, alpha=10.0, beta1=2.0, beta2=0.5)
    assert (place.kappa, place.kappa_prime, place.limit) == (0.1, 4.0, None)
    assert place.gamma == pytest.approx(0.5, rel=1e-15)
    other = three(width=100, beta1=1.0, beta2=0.1, beta3=0.01)
    # gamma3 = -ln(1e-3) / ln 100, and so on.
    assert (other.gamma3, other.gamma2, other.third) == pytest.approx((1.5, 1.0, -0.5), rel=1e-14)
    assert other.kappa_prime == pytest.approx(0.01)


@pytest.mark.parametrize("factor, regime", [(0.3, "condensed"), (0.4, "critical"), (2.5, "critical"), (3.0, "linear")])
@pytest.mark.parametrize("kappa_prime", [1.0, 50.0, 0.02])
def test_the_blur_is_a_factor_of_e(factor: float, regime: str, kappa_prime: float) -> None:
    # m kappa / min(1, kappa') is the factor from the boundary, at any width and any kappa'.
    for width in (100, 10**6):
        kappa = factor * min(1.0, kappa_prime) / width
        place = two(width=width, beta1=math.sqrt(kappa * kappa_prime), beta2=math.sqrt(kappa / kappa_prime))
        assert place.regime == regime
        assert place.excess / place.blur_width == pytest.approx(-math.log(factor), abs=1e-12)
        assert f" = {factor:.3g}, and 1 on the boundary" in place.blur
        assert ("within the blur" in place.blur) == (regime == "critical")


def test_inputs_without_unit_length_are_mentioned() -> None:
    assert "by 28 for inputs of variance 1" in two("pytorch", width=500, inputs=784).blur


def test_biases_are_accounted_for() -> None:
    place = two("he", width=1000, inputs=1)
    # Weights and biases of two columns, one of them 0, have half the mean square.
    shift = 0.5 * math.log(2) / math.log(1000)
    assert f"change gamma by {shift:+.4f} and gamma_prime by {-shift:+.4f}" in place.biases
    assert "change" not in two("pytorch", width=1000, inputs=1).biases


def test_the_document() -> None:
    doc = json.loads(json.dumps(two("ntk", width=100, inputs=2).to_json(), allow_nan=False))
    assert list(doc)[:6] == ["gamma", "gamma_prime", "regime", "predicted_slope", "kappa", "kappa_prime"]
    assert doc["limit"] == {"gamma": 0.5, "gamma_prime": 0.0, "regime": "linear", "predicted_slope": -0.5}
    doc = json.loads(json.dumps(three("ntk", width=100, inputs=2).to_json(), allow_nan=False))
    assert list(doc)[:6] == ["gamma3", "gamma2", "regime", "predicted_slope", "kappa", "kappa_prime"]
    assert doc["regime"] == {"w1": "linear", "w2": "linear"} and doc["layers"] == 3


# -- live models ---------------------------------------------------------------------------------------------


class Tensor:
    """What is used of a PyTorch tensor."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def detach(self) -> Tensor:
        return self

    cpu = double = detach

    def numpy(self) -> np.ndarray:
        return self.values


class Module:
    """What is used of a PyTorch module."""

    def __init__(self, *children: Module) -> None:
        self.within = children

    def children(self) -> tuple[Module, ...]:
        return self.within

    def named_modules(self) -> list[tuple[str, Module]]:
        return [("", self), *(pair for child in self.within for pair in child.named_modules())]

    def parameters(self) -> list[Tensor]:
        return [p for child in self.within for p in child.parameters()]


class Sequential(Module):
    pass


class ReLU(Module):
    pass


class Tanh(Module):
    pass


class Linear(Module):
    def __init__(self, inputs: int, outputs: int, size: float = 0.5, bias: bool = True) -> None:
        super().__init__()
        self.weight = Tensor(np.full((outputs, inputs), size))
        self.bias = Tensor(np.full(outputs, 0.25)) if bias else None

    def parameters(self) -> list[Tensor]:
        return [self.weight] if self.bias is None else [self.weight, self.bias]


def test_a_model_of_pytorch() -> None:
    place = two(model=Sequential(Linear(3, 20, 0.5), ReLU(), Linear(20, 2, 0.1)))
    assert (place.init, place.width, place.inputs, place.outputs) == ("measured", 20, 3, 2)
    assert place.scales == pytest.approx({"alpha": 1.0, "beta1": 0.1, "beta2": 0.5}, rel=1e-15)
    assert "their size is 0.25" in place.biases
    deep = locate(
        model=Sequential(Linear(3, 20, 0.5, bias=False), ReLU(), Linear(20, 20, 0.2), ReLU(), Linear(20, 1, 0.1)), alpha=4
    )
    assert deep.scales == pytest.approx({"alpha": 4.0, "beta1": 0.5, "beta2": 0.2, "beta3": 0.1}, rel=1e-15)


def test_models_of_jax(rng: np.random.Generator) -> None:
    mlp = eqx.nn.MLP(9, 1, 400, 1, use_bias=False, use_final_bias=False, key=jax.random.key(0))
    found, named = two(model=mlp), two("equinox", width=400, inputs=9)
    # 400 output weights: a standard error of 2.2 % of uniform numbers' root mean square; four of them over ln 400.
    assert found.gamma == pytest.approx(named.gamma, abs=4 * 0.025 / math.log(400))
    w1, w2 = rng.normal(0, 0.3, (4, 30)), rng.normal(0, 0.7, (30, 2))
    pairs = [(w1, np.zeros(30)), (w2, np.zeros(2))]
    flax = {"params": {"Dense_0": {"kernel": w1, "bias": np.zeros(30)}, "Dense_1": {"kernel": w2, "bias": np.zeros(2)}}}
    haiku = {"mlp/~/linear_0": {"w": w1, "b": np.zeros(30)}, "mlp/~/linear_1": {"w": w2, "b": np.zeros(2)}}
    expected = measure([w1, w2])
    assert (expected.inputs, expected.width, expected.outputs) == (4, 30, 2)
    # Sums of squares in another order: rounding.
    assert expected.deviations == pytest.approx((np.sqrt(np.mean(w1**2)), np.sqrt(np.mean(w2**2))), rel=1e-14)
    for model in (pairs, [pairs[0], (), pairs[1]], flax, haiku, jax.tree.map(jax.numpy.asarray, flax)):
        assert measure(model) == expected
    # Stored by name, the layers need not follow each other; the one order in which they fit is found.
    assert measure({"hidden": {"kernel": w2}, "input": {"kernel": w1}}) == expected


good = (np.ones((4, 30)), np.ones((30, 2)))


@pytest.mark.parametrize(
    "model, words",
    [
        (3.0, "a float, which is no layer"),
        ("net", "a str, which is no layer"),
        ([good[0]], "1 layers of weights"),
        ([np.ones((3, 3))] * 4, "4 layers of weights"),
        ([good[0], np.ones((20, 2))], r"\(4 to 30, 20 to 2\) do not follow each other"),
        ([np.ones((4, 30)), np.ones((30, 20)), np.ones((20, 1))], "have 30 and 20 neurons"),
        ([good[0], np.zeros((30, 2))], "layer 2 of the model has only zeros"),
        ([good[0] * np.nan, good[1]], "layer 1 of the model has weights that are not finite"),
        ([np.ones((3, 3, 4, 8)), good[1]], "an array of 4 dimensions"),
        ({"a": {"kernel": good[0], "scale": good[0]}}, "holds 'scale'"),
        ([np.array([["a"]]), good[1]], "cannot be read"),
        (Sequential(Linear(3, 20), Tanh(), Linear(20, 1)), "contains Tanh"),
        (Sequential(Linear(3, 20), Linear(20, 1)), "without one ReLU"),
        (SimpleNamespace(layers=[SimpleNamespace()]), "contains SimpleNamespace"),
    ],
)
def test_models_that_have_no_place(model: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        locate(model=model)


def test_parameters_beside_the_layers_are_seen() -> None:
    model = Module(Linear(3, 20), Linear(20, 1))
    assert two(model=model).width == 20  # any forward pass; its layers are all there is
    model.parameters = lambda: [Tensor(np.ones(1))] * 5  # type: ignore[method-assign]
    with pytest.raises(RequestError, match="parameters of its own"):
        locate(model=model)


@pytest.mark.parametrize(
    "given, words",
    [
        ({}, "nothing was given"),
        ({"init": "he", "beta1": 1.0}, "exclude each other"),
        ({"init": "he", "width": 10}, "inputs is missing"),
        ({"init": "he", "inputs": 10}, "width is missing"),
        ({"init": "he", "width": 1, "inputs": 1}, "width = 1 is not possible"),
        ({"init": "he", "width": 10.5, "inputs": 1}, "width = 10.5 is not possible"),
        ({"init": "he", "width": 10, "inputs": 0}, "inputs = 0 is not possible"),
        ({"init": "he", "width": 10**301, "inputs": 1}, "to 1e300"),
        ({"init": "he", "width": 10, "inputs": 1, "layers": 4}, "layers = 4 has no diagram"),
        ({"init": "he", "width": 10, "inputs": 1, "alpha": 2.0}, "alpha = 2 is set by init 'he'"),
        ({"init": "he", "width": 10, "inputs": 1, "beta": 2.0}, "beta = 2 belongs to the initialisation 'e'"),
        ({"init": "e", "width": 10, "inputs": 1}, "give beta"),
        ({"init": "e", "width": 10, "inputs": 1, "beta": 0.1, "layers": 3}, "'e' is one of two layers"),
        ({"init": "xaver", "width": 10, "inputs": 1}, "the nearest is xavier"),
        ({"init": "jax", "width": 10, "inputs": 1}, "names no single initialisation"),
        ({"width": 10, "beta1": 1.0}, "beta2 is missing"),
        ({"width": 10, "beta1": 1.0, "beta2": 0.0}, "beta2 = 0 is not possible"),
        ({"width": 10, "beta1": 1.0, "beta2": 1.0, "beta3": 1.0}, "beta3 = 1 belongs to three layers"),
        ({"width": 10, "beta1": 1.0, "beta2": math.inf}, "beta2 = inf is not possible"),
        ({"model": list(good), "width": 31}, "width = 31 is not that of the model, 30"),
    ],
)
def test_requests_that_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        locate(**given)


# -- the figure ----------------------------------------------------------------------------------------------


def lines(ax: Any) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata()) for line in ax.lines]


def test_the_diagram_of_two_layers() -> None:
    ax = initialisation.draw(place=("mine", 1.3, 0.1), width=1000, inputs=20)
    assert any(np.array_equal(line, relu2.critical_line(-1, 1)) for line in lines(ax))
    lone = {tuple(np.round(line[0], 12)) for line in lines(ax) if len(line) == 1}
    for name in ("lecun", "he", "xavier", "ntk", "mean-field"):
        place = two(name, width=1000, inputs=20)
        assert relu2.SCHEMES[name].limit in lone
        if math.dist((place.gamma, place.gamma_prime), relu2.SCHEMES[name].limit) > 0.01:
            assert (round(place.gamma, 12), round(place.gamma_prime, 12)) in lone
    assert (1.3, 0.1) in lone


def test_the_diagrams_make_room() -> None:
    ax = initialisation.draw(place=("far", 7.0, -3.2), width=100)
    assert ax.get_xlim()[1] > 7.0 and ax.get_ylim()[0] < -3.2
    ax = initialisation.draw3(place=("far", 6.0, -3.2), width=100, inputs=50)
    assert ax.get_xlim()[1] > 6.0 and ax.get_ylim()[0] < -3.2
