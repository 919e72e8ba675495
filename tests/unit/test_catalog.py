"""The catalogue against the code: names, defaults, observables and the sets of data it promises."""

from __future__ import annotations

import inspect

import pytest

from trainphase import api, catalog
from trainphase.data import DESIGNS
from trainphase.data.tables import ENDINGS
from trainphase.data.targets import SAMPLES
from trainphase.errors import RequestError

HIDDEN = {"data_dir", "search"}
SMALL = {
    "cubic": {}, "phase-retrieval": {"n": 5, "d": 12}, "quadratic-net": {"n": 4, "d": 8, "m": 6}, "quadratic-1d": {},
    "linear-net": {}, "quadratic": {"D": 3, "P": 5},
    "mlp": {"n": 8, "width": 4, "depth": 1},
    "relu2": {"width": "40,60", "seed": "0,1", "target": 1e-3}, "relu3": {"width": "8,12", "seed": "0,1", "target": 1e-3},
}  # fmt: skip


@pytest.mark.parametrize("info", catalog.systems().values(), ids=lambda i: i.name)
def test_parameters_are_those_of_the_factory(info: catalog.SystemInfo) -> None:
    signature = inspect.signature(info.load()).parameters
    assert {p.name for p in info.params} == set(signature) - HIDDEN
    for p in info.params:
        assert signature[p.name].default == p.default, p.name


@pytest.mark.parametrize("info", catalog.systems().values(), ids=lambda i: i.name)
def test_observables_are_those_of_a_run(info: catalog.SystemInfo) -> None:
    steps = None if "regime" in info.vocabularies else 512
    run = api.run(info.name, steps=steps, starts=2, **SMALL[info.name])
    promised = set(info.observables)
    reported = set(run.summary) | set(run.observables)
    assert promised <= reported, promised - reported
    assert promised <= set(catalog.OBSERVABLES)
    for name in promised & set(run.units):
        target = {"residual": "target units", "lower": "target units", "upper": "target units"}
        own = {"mlp": target, "quadratic": target,
               "quadratic-1d": {"loss": "1"}}  # fmt: skip
        assert own.get(info.name, {}).get(name, catalog.OBSERVABLES[name][0]) == run.units[name], name


def test_designs_are_those_of_the_data_module() -> None:
    assert set(catalog.DATA) == set(DESIGNS)


@pytest.mark.parametrize("name", ["relu2", "relu3"])
def test_samples_are_those_of_the_data_module(name: str) -> None:
    told = catalog.system(name).param("data").help.replace(",", " ").split()
    assert {*SAMPLES, *ENDINGS} <= set(told)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="cubic, phase-retrieval, quadratic-net"):
        catalog.system("qubic")
    with pytest.raises(RequestError, match="has no parameter 'b'"):
        catalog.system("cubic").param("b")
