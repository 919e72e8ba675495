"""The real network: how it is drawn, its data and targets, expansions of it, and wrong requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import searched

import trainphase as tp
from trainphase import catalog, march
from trainphase.data import images
from trainphase.data.standard import labelled
from trainphase.systems.mlp import ACTIVATIONS, INITS, mlp, weights
from trainphase.systems.taylor import Expansion

SMALL: dict[str, Any] = {"n": 10, "width": 6}


@pytest.mark.parametrize("init, variance", [("pytorch", 1 / 3), ("lecun", 1.0), ("he", 2.0), ("glorot", 400 * 2 / 700)])
def test_weights_have_the_variance_of_their_initialisation(init: str, variance: float) -> None:
    (layer,) = weights((400, 300), init, ntk=False, bias=True, gain=1.0, seed=3)
    # A variance over N weights has a relative standard error of sqrt(2 / N), 0.4 %, less for uniform ones; 5 of them.
    assert abs(400 * layer["w"].var() / variance - 1) < 5 * np.sqrt(2 / layer["w"].size)
    largest = np.abs(layer["b"]).max()
    assert 0.95 / 20 < largest <= 1 / 20 if init == "pytorch" else largest == 0
    assert np.array_equal(weights((400, 300), init, False, True, 2.0, 3)[0]["w"], 2 * layer["w"])


def test_the_ntk_parameterisation_is_another_way_to_write_the_same_function() -> None:
    ntk, standard = mlp(init="ntk", **SMALL).problem, mlp(init="lecun", **SMALL).problem
    assert np.allclose(ntk.outputs(ntk.flat()), standard.outputs(standard.flat()), rtol=1e-12, atol=1e-14)
    assert np.isclose(np.std(ntk.params[0]["w"]) / np.std(standard.params[0]["w"]), 8.0, rtol=1e-12)  # sqrt of 64 pixels


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_makes_a_network(activation: str) -> None:
    problem = mlp(activation=activation, **SMALL).problem
    params, f = problem.params, np.asarray(problem.inputs)
    for k, layer in enumerate(params):
        f = f @ layer["w"] + layer["b"]
        f = np.asarray(ACTIVATIONS[activation](jnp.asarray(f))) if k < 2 else f
    assert np.allclose(problem.predict(problem.flat(), problem.inputs), f, rtol=1e-12, atol=1e-13)


def test_inputs_are_standardised_by_all_training_samples() -> None:
    every = images("digits", 1500)[0]
    assert np.allclose(labelled("digits", 20).X, (every[:20] - every.mean()) / every.std(), rtol=1e-12, atol=1e-12)
    own = labelled("digits", None, standardise="pixel").X
    assert np.allclose(own.mean(0), 0, atol=1e-12)
    # A pixel that never changes stays 0, and every other has deviation 1.
    assert set(np.round(own.std(0), 10)) == {0.0, 1.0}
    assert np.array_equal(labelled("digits", 20, standardise="none").X, every[:20])


def test_targets_fit_data_and_loss(tmp_path: Path) -> None:
    labels = images("digits", 10)[1]
    assert np.array_equal(mlp(**SMALL).problem.targets, np.eye(10)[labels])
    two = mlp(classes=2, **SMALL).problem
    assert two.targets.shape == (10,) and set(two.targets) == {1.0, -1.0}
    assert np.array_equal(mlp(classes=2, loss="cross-entropy", **SMALL).problem.targets[:, 1] == 1, two.targets == -1)
    assert np.array_equal(mlp(targets="label", **SMALL).problem.targets, labels)
    file = tmp_path / "own.csv"
    x = np.random.default_rng(0).normal(size=(12, 3))
    np.savetxt(file, np.column_stack([x, x @ [1.0, 2.0, 3.0]]), delimiter=",")
    own = mlp(dataset=str(file), n=None, width=3, depth=1).problem
    assert own.targets.shape == (12,) and np.allclose(np.std(own.inputs, axis=0), 1, rtol=1e-12)
    np.savetxt(file, np.column_stack([x, [3, 7] * 6]), delimiter=",")
    assert set(mlp(dataset=str(file), n=None, width=3, loss="cross-entropy").problem.targets.sum(0)) == {6.0}


def test_an_expansion_of_the_network_starts_as_the_network() -> None:
    system = mlp(taylor=2, momentum=0.5, **SMALL)
    net = mlp(momentum=0.5, **SMALL)
    assert np.allclose(system.residual(system.init()), net.residual(net.init()), rtol=1e-13)
    assert isinstance(system.problem, Expansion) and system.problem.order == 2


@pytest.mark.parametrize(
    "given, words",
    [
        ({"width": 0}, "width = 0"), ({"depth": 1.5}, "depth = 1.5"), ({"taylor": 4}, "taylor = 4"), ({"gain": 0.0}, "gain = 0"),
        ({"activation": "step"}, "activation = 'step'"), ({"init": "zero"}, "give pytorch"), ({"loss": "hinge"}, "hinge"),
        ({"dataset": "imagenet"}, "no dataset='imagenet'"), ({"n": 99999}, "more than the 1500"), ({"classes": 11}, "10 cl"),
        ({"standardise": "row"}, "standardise='row'"), ({"targets": "sign"}, "give classes=2"), ({"bias": "no"}, "true nor"),
        ({"loss": "cross-entropy", "targets": "label"}, "over classes"), ({"width": 100000}, "too many"),
        ({"parameterisation": "mup"}, "parameterisation = 'mup'"), ({"reduction": "max"}, "reduction = 'max'"),
    ],
)  # fmt: skip
def test_wrong_requests(given: dict[str, Any], words: str) -> None:
    with pytest.raises(tp.RequestError, match=words):
        mlp(**given)


def test_the_catalogue_offers_what_the_factory_knows() -> None:
    info = catalog.system("mlp")
    assert info.param("activation").choices == tuple(ACTIVATIONS) and info.param("init").choices == tuple(INITS)


def test_a_search_for_the_largest_step_size_asks_for_few_runs() -> None:
    # Without hidden layers: linear regression, which diverges from lr = 2 / lambda on.
    net = mlp(depth=0, n=10, bias="false")
    J = np.asarray(net.problem.inputs)
    largest = 2 / (np.linalg.eigvalsh(J @ J.T)[-1] / 10)
    told: list[int] = []
    found = searched.along(
        "mlp", lr=(0.5 * largest, 1.5 * largest), depth=0, n=10, bias="false", steps=2000, report=lambda n, about: told.append(n)
    )
    last = found.crossings[-1]
    assert last.between[1] == "divergent" and found.tol == pytest.approx(1e-3 * largest)
    # Within 0.2 % of the edge 2000 steps do not decide: a growth of e^8 from a loss of order 1 is no escape yet.
    assert abs(last.at / largest - 1) < 5e-3 and last.width < 5e-3 * largest
    # 33 of the scan; two changes, of 9 points each and 8 of the audit, and a round or two where labels surprise.
    assert told == list(range(1, found.evaluations + 1)) and found.evaluations <= 33 + 2 * (9 + 8) + 20


def test_a_diagram_is_compiled_once_per_width() -> None:
    compiled: Any = march._advance

    def work(**given: Any) -> int:
        before = compiled._cache_size()
        tp.diagram("mlp", lr=tp.logspace(0.05, 0.5, 4), n=8, steps=400, **given)
        return compiled._cache_size() - before

    assert work(width=3) == 1
    # Other weights are numbers, and no other program.
    assert work(width=3, seed=tp.values([1, 2])) == work(width=3, seed=2, gain=0.5) == 0
