"""The page of benchmarks says what its data say; the summary is gathered as the single results have it. A second and a half."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPT = "write_benchmarks"
ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def imported(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[ModuleType]:
    """A benchmark as a module; what it and its neighbours leave in ``sys.modules`` is forgotten again."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module(name)
    for other in (name, "_results"):
        sys.modules.pop(other, None)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from imported(monkeypatch, "peers")


MACHINE = {"cpu": "one", "python": "3.11", "xla_flags": "", "jax": "0.10", "jaxlib": "0.10", "numpy": "2"}


def spectrum(peer_error: float) -> dict[str, Any]:
    """A result of spectrum.py with one peer that takes half, a third and a quarter of our seconds."""

    def found(seconds: list[float], error: float) -> list[dict[str, float]]:
        return [{"seconds": s, "error": error} for s in seconds]

    at = {"trainphase": found([2.0, 3.0, 4.0], 1e-5), "PyHessian": found([1.0, 1.0, 1.0], peer_error)}
    return {
        "machine": MACHINE | {"peers": {"torch": "2.13", "pyhessian": "0.1"}},
        "cold": [{"network": "small", "where": "edge", "true": [1.0, 0.9], "found": at}],
        "networks": {"small": {"images": "made up"}},
    }


def summary(peers: Any, results: dict[str, Any], failed: dict[str, str] | None = None) -> dict[str, Any]:
    measured = {"commit": "0" * 40, "changed": False, "src": "1" * 40, "quick": True}
    measured["seconds"] = {"spectrum": {"wall": 120.0, "cpu": 60.0}}
    return peers.gather(results, failed or {}) | measured


def test_the_tables_are_those_of_the_data(script) -> None:
    assert script.pages.filled(TEXT, script.blocks(json.loads(script.DATA.read_text()))) == TEXT


def test_the_stored_run_has_every_peer(script) -> None:
    data = json.loads(script.DATA.read_text())
    told = " ".join(f"{row['peer']} {row['version']}" for row in data["rows"])
    asked = ("PyHessian", "curvlinops", "hessian-eigenthings", "neural-tangents", "pynamical", "adaptive", "torch", "JAX loop")
    assert [name for name in asked if name not in told] == []
    assert {row["group"] for row in data["rows"]} == set(script.GROUPS)
    assert all(row["ratio"]["min"] <= row["ratio"]["median"] <= row["ratio"]["max"] for row in data["rows"])
    assert not data["changed"]


def test_a_ratio_is_the_peers_seconds_over_ours_within_rounds(peers) -> None:
    (row,) = peers.gather({"spectrum": spectrum(1e-5)}, {})["rows"]
    assert row["ratio"] == {"min": 0.25, "median": 0.333, "max": 0.5}
    assert row["version"] == "pyhessian 0.1, torch 2.13"
    assert row["limits"] == peers.LIMITS["hessian"]


@pytest.mark.parametrize(("error", "won"), [(1e-5, True), (0.02, False)])
def test_a_faster_peer_wins_only_within_the_tolerance(peers, script, error: float, won: bool) -> None:
    data = summary(peers, {"spectrum": spectrum(error)})
    assert ("but off by 0.02, ours by 1e-05" in script.losses(data)) == (not won)
    assert ("**0.333 (0.25 to 0.5)**" in script.alone(data)) == won


def test_maps_refinement_and_the_kernel_are_gathered(peers) -> None:
    ratio = {"min": 1.0, "median": 2.0, "max": 3.0}
    maps = {
        "machine": MACHINE | {"peers": {"pynamical": "0.3", "numba": "0.61"}},
        "checks": [{"pair": "pynamical and trainphase", "worst": 1e-14}],
        "sizes": {"small": {"values": 10, "steps": 20, "ratios": {"pynamical / trainphase": ratio}}},
    }
    adaptive = {"loss": "default", "batch": 16, "side": 256, "points": 30, "our_points": 10, "resolved": False, "coarse": 0.3}
    refine = {"machine": MACHINE, "adaptive": [adaptive | {"adaptive": "1.5", "ratio": ratio}]}
    names = [f"{q} {way}" for q in ("top", "whole") for way in ("trainphase", "JAX", "contraction", "structured")]
    ratios = {name: {k: v / (2 if "structured" in name else 1) for k, v in ratio.items()} for name in names}
    kernel = {
        "machine": MACHINE | {"peers": {"neural-tangents": "0.6", "jax": "0.4"}}, "samples": 4, "outputs": 2, "ratios": ratios,
        "checks": [{"name": name, "apart": 1e-6} for name in names],
    }  # fmt: skip
    rows = peers.gather({"maps": maps, "refine_points": refine, "ntk": kernel}, {})["rows"]
    assert [row["group"] for row in rows] == ["kernel"] * 4 + ["maps", "refinement"]
    # Of several ways of one package the fastest stands for it.
    assert [row["ratio"]["median"] for row in rows] == [1.0, 2.0, 1.0, 2.0, 2.0, 2.0]
    assert "structured" in rows[0]["peer"]
    assert rows[0]["version"] == "neural-tangents 0.6, jax 0.4"
    assert rows[-1]["agreement"].startswith("3 times the points, not resolved")
    assert not rows[-1]["agrees"]


def test_what_is_missing_is_said(peers, script) -> None:
    alone = {"machine": MACHINE | {"peers": {}}, "samples": 4, "outputs": 2, "ratios": {}, "checks": []}
    alone["ratios"] = {
        f"{q} {who}": {"min": 1.0, "median": 1.0, "max": 1.0} for q in ("top", "whole") for who in ("JAX", "trainphase")
    }
    alone["checks"] = [{"name": name, "apart": 0.0} for name in alone["ratios"]]
    data = summary(peers, {"ntk": alone}, {"relu": "ended with exit code 1"})
    text = script.blocks(data)["missing"]
    assert "relu: ended with exit code 1" in text
    assert "neural-tangents" in text


def test_results_of_two_machines_are_refused(peers) -> None:
    other = spectrum(1e-5)
    other["machine"] = other["machine"] | {"cpu": "another"}
    with pytest.raises(SystemExit, match="more than one machine"):
        peers.gather({"spectrum": spectrum(1e-5), "refine_points": {"machine": other["machine"], "adaptive": []}}, {})


def test_an_option_without_its_value_is_left_out(peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["peers.py", "--quick", "--peers-python", "P", "--only", "spectrum"])
    given = peers.parsed()
    words = peers.command("spectrum", given)
    assert words[2:5] == ["--peers-python", "P", "--quick"]
    assert "--ntk-python" not in peers.command("ntk", given)


def test_the_summary_has_a_page_and_a_plot_beside_it(peers, script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "peers.json"
    file.write_text(json.dumps(summary(peers, {"spectrum": spectrum(0.02)})))
    monkeypatch.setattr(sys, "argv", ["write_benchmarks.py", str(file), "--beside"])
    script.main()
    assert "PyHessian" in (tmp_path / "peers.md").read_text()
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_the_loops_that_people_write_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    for loops in imported(monkeypatch, "maps_peers"):
        job = {"values": 64, "steps": 4000}
        few = slice(None, None, 64 // loops.FEW)
        found = loops.numpy_loop(job)["lyapunov"]
        regular = loops.rates(job) < 2.9
        # The fixed point 1 - 1/r: ln |2 - r|. Its transient is e^(-0.1 * 2000) by then; rounding as in maps.py.
        np.testing.assert_allclose(found[regular], np.log(np.abs(2 - loops.rates(job)[regular])), rtol=0, atol=1e-12)
        np.testing.assert_allclose(loops.python_loop(job)["lyapunov"][regular[few]], found[few][regular[few]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["peers", "peers-ntk"])
def test_the_environments_are_pinned(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)] == []
