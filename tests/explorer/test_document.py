"""The document in the page says what the catalogue and the phases say, and its draws are those of the system."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import numpy as np
import pytest

from trainphase import catalog
from trainphase.errors import RequestError
from trainphase.explorer import document
from trainphase.phase import VOCABULARIES
from trainphase.systems.quadratic import draws


def test_it_is_json_and_opens_a_live_system() -> None:
    doc = json.loads(json.dumps(document.document(), allow_nan=False))
    assert set(doc["systems"]) == {"cubic", "quadratic-1d", "linear-net", "quadratic"}
    assert doc["open"]["system"] in doc["systems"] and doc["server"] is None
    assert document.document(server=True)["server"] == {"run": True}


def test_phases_stand_in_the_order_of_their_codes() -> None:
    for name, words in document.vocabularies().items():
        assert [p["label"] for p in words["phases"]] == list(VOCABULARIES[name].labels)
        assert [p["colour"] for p in words["phases"]] == [p.colour for p in VOCABULARIES[name].phases]


@pytest.mark.parametrize("name", document.LIVE)
def test_what_is_offered_is_what_the_system_takes(name: str) -> None:
    told, info = document.live_system(name), catalog.system(name)
    known = {p["name"]: p for p in told["parameters"]}
    for key, p in known.items():
        param = info.param(key)
        param.check(p["lo"])
        param.check(p["hi"])
        assert (p["units"], p["help"]) == (param.units, param.help)
        if p["value"] is not None:
            assert p["lo"] <= p["value"] <= p["hi"]
        assert p["scale"] == "linear" or p["lo"] > 0
    for axis in (told["x"], told["y"]):
        assert known[axis["name"]]["axis"] and known[axis["name"]]["lo"] <= axis["lo"] < axis["hi"] <= known[axis["name"]]["hi"]
    assert set(told["vocabularies"]) == set(info.vocabularies) and told["steps"] == told["horizons"][told["vocabulary"]]


def test_the_draws_are_those_of_the_system_bit_by_bit() -> None:
    told = document.live_system("quadratic")["draws"]
    assert [(d["D"], d["P"], d["seed"]) for d in told] == [(D, P, s) for D, P in ((2, 4), (4, 8), (8, 16)) for s in (0, 1, 2)]
    for d in told:
        expected = draws(d["D"], d["P"], d["seed"], d["symmetry"])
        for key, array in zip("QzJ", expected, strict=True):
            assert np.array_equal(np.frombuffer(base64.b64decode(d[key]), "<f8"), array.ravel())


def test_another_system_is_refused() -> None:
    with pytest.raises(RequestError, match="'relu2' does not run in the page; give"):
        document.document(("relu2",))


def test_making_it_does_not_load_jax() -> None:
    code = "import sys\nfrom trainphase.explorer import document, notebook\ndocument.document()\nprint('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "False\n", done.stderr
