"""The page's kernels of the training vocabulary say what Python says: labels and steps, on the same points.

Both sides do the same operations in the same order without fused multiply-add, so labels are compared for equality,
in chaos too. The one thing that differs is the logarithm at the end of a block of 128 steps, in its last bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import page
import page_training as pages
import pytest

from trainphase import axes, overlay
from trainphase.classifiers import RULES
from trainphase.phase import TRAINING
from trainphase.systems.cubic import Cubic
from trainphase.theory import cubic as theory

pytestmark = pytest.mark.skipif(page.node_program() is None, reason="node is not installed")
plain_arithmetic = pytest.mark.skipif(not page.has_plain_arithmetic(), reason="XLA cannot be kept from fusing here")

ALL = (TRAINING.index(name) for name in TRAINING.labels)
MONOTONIC, CATAPULT, PERIODIC, CHAOTIC, DIVERGENT, UNDECIDED = ALL
NO_RUN = 255


LARGE = {
    "cubic from a start": pages.plane("cubic", 8192, pages.axis("a", 0, 2.2, 300), pages.axis("z0", -2.5, 2.5, 300)),
    "cubic over starts": pages.plane("cubic", 8192, pages.axis("a", 0, 2.2, 90_000)),
    "linear net": pages.plane("linear-net", 8192, pages.axis("z", -3, 3, 300), pages.axis("T", 0, 5, 300)),
    "linear net, y = 0.3": pages.plane("linear-net", 8192, pages.axis("z", -3, 3, 300), pages.axis("T", 0, 5, 300), y=0.3),
    "linear net, labels": pages.plane("linear-net", 8192, pages.axis("y", -2.5, 2.5, 300), pages.axis("T", 0, 6, 300), z=0.2),
}
# What the suite has Python compute each time: a program compiles in seconds.
LIVE = "cubic from a start"
PATHS = {
    "cubic from a start": {"system": "cubic", "params": {"a": 1.5, "z0": 0.3}, "count": 300},
    "cubic over starts": {"system": "cubic", "params": {"a": 1.4}, "count": 300},
    "cubic escapes": {"system": "cubic", "params": {"a": 2.1, "z0": 1.9}, "count": 300},
}
IN_PLANES = {"trainingPlane": "kernel/training.js"}
OVER_PLANES = """
  return Object.fromEntries(Object.entries(given).map(([name, { system, params, x, y, steps }]) => {
    const ys = Float64Array.from(y ? y[1] : [0]);
    const got = trainingPlane(system, params, x[0], Float64Array.from(x[1]), y ? y[0] : "", ys, steps);
    return [name, { codes: [...got.codes], steps: [...got.runSteps] }];
  }));
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Python's side of one plane and of the paths, from a child process (7 s)."""
    asked = {"planes": {LIVE: pages.PLANES[LIVE]}, "paths": {f"path {name}": path for name, path in PATHS.items()}}
    return pages.python_side(tmp_path_factory.mktemp("reference"), asked, flags=pages.QUICK)


def _assert_equal(folder: Path, planes: dict[str, pages.Plane], reference: dict[str, np.ndarray]) -> dict[str, set[int]]:
    """Assert that labels and steps are the same at every point; the labels of each plane."""
    got = page.in_node(folder, IN_PLANES, OVER_PLANES, planes)
    for name in planes:
        np.testing.assert_array_equal(got[name]["codes"], reference[f"{name}.phase"], err_msg=name)
        np.testing.assert_array_equal(got[name]["steps"], reference[f"{name}.steps"], err_msg=name)
    return {name: set(got[name]["codes"]) for name in planes}


def test_labels_and_steps_are_the_golden_ones(tmp_path: Path) -> None:
    seen = _assert_equal(tmp_path, pages.PLANES, pages.golden())
    # The comparison would say little of planes of one label.
    assert seen["cubic from a start"] == {MONOTONIC, CATAPULT, PERIODIC, CHAOTIC, DIVERGENT, UNDECIDED}
    assert seen["cubic, onset of chaos"] >= {PERIODIC, CHAOTIC}
    assert seen["cubic over starts"] == {MONOTONIC, CATAPULT, PERIODIC, CHAOTIC, DIVERGENT, UNDECIDED}
    assert seen["linear net"] == {MONOTONIC, CATAPULT, DIVERGENT, NO_RUN}
    assert seen["linear net, close"] == {CATAPULT, DIVERGENT}
    assert seen["linear net, labels"] == {MONOTONIC, CATAPULT, PERIODIC, CHAOTIC, DIVERGENT, UNDECIDED, NO_RUN}


def _assert_numbers(folder: Path, plane: pages.Plane, expected: dict[str, np.ndarray]) -> None:
    """Assert that every seventh point has Python's margin and numbers."""
    moving = pages.grid(plane)
    rows = np.arange(0, len(expected["phase"]), 7)
    expected = {k: v[rows] for k, v in expected.items()}
    points = [{**plane["params"], **{k: v[row] for k, v in moving.items()}} for row in rows]
    body = "return given.points.map((point) => trainingPoint(given.system, point, given.steps));"
    given = {"points": points, "system": plane["system"], "steps": plane["steps"]}
    got = page.in_node(folder, {"trainingPoint": "kernel/training.js"}, body, given)
    np.testing.assert_array_equal([p["code"] for p in got], expected["phase"])
    ran = (expected["phase"] != NO_RUN) & (expected["phase"] != DIVERGENT)
    assert ran.sum() > 50
    rules = [RULES[rule] if rule < len(RULES) else None for rule in expected["rule"][ran]]
    assert [p["rule"] if p["rule"] in RULES else None for p, kept in zip(got, ran, strict=True) if kept] == rules
    # Margins that are exponents inherit the last bit of logarithms, 2e-16 of up to 1000, and their standard error is the
    # root of a difference of squares, which loses half of the digits: 1e-8 of an exponent of order 1.
    np.testing.assert_allclose(np.array([p["margin"] for p in got])[ran], expected["margin"][ran], rtol=1e-9, atol=1e-8)
    for key in set(NUMBERS) & set(expected):
        numbers = np.array([p["values"].get(key) for p in got], float)[ran]
        # Only the exponent has a logarithm in it; of the others, XLA takes subnormal numbers for 0.
        rtol, atol = (1e-12, 1e-13) if key == "lyapunov" else (0, 2.0**-1022)
        np.testing.assert_allclose(numbers, expected[key][ran], rtol=rtol, atol=atol, err_msg=key)


NUMBERS = ("loss", "lyapunov", "period", "multiplier", "increases", "max_ratio", "curvature")


@plain_arithmetic
def test_labels_and_numbers_are_what_python_computes(tmp_path: Path, reference: dict[str, np.ndarray]) -> None:
    _assert_equal(tmp_path, {LIVE: pages.PLANES[LIVE]}, reference)
    fields = {k: reference[f"{LIVE}.{k}"] for k in pages.FIELDS}
    _assert_numbers(tmp_path, pages.PLANES[LIVE], fields)


@pytest.mark.slow
@plain_arithmetic
def test_golden_data_are_what_python_computes(tmp_path: Path) -> None:
    reference, stored = pages.python_side(tmp_path, {"planes": pages.PLANES}), pages.golden()
    for name, values in stored.items():
        np.testing.assert_array_equal(values, reference[name], err_msg=name)
    for name in ("cubic from a start", "cubic over starts", "linear net", "linear net, labels"):
        fields = {k: reference[f"{name}.{k}"] for k in pages.FIELDS if f"{name}.{k}" in reference}
        _assert_numbers(tmp_path, pages.PLANES[name], fields)


@pytest.mark.slow
@plain_arithmetic
def test_large_planes_are_those_of_python(tmp_path: Path) -> None:
    _assert_equal(tmp_path, LARGE, pages.python_side(tmp_path, {"planes": LARGE}))


def test_a_negative_step_size_has_no_run(tmp_path: Path) -> None:
    plane = pages.plane("cubic", 512, ("a", [-0.1, 0.5]), ("z0", [0.1]))
    assert page.in_node(tmp_path, IN_PLANES, OVER_PLANES, {"p": plane})["p"]["codes"] == [NO_RUN, MONOTONIC]


@plain_arithmetic
def test_trajectories_are_those_of_python_and_end_where_the_run_escapes(tmp_path: Path, reference: dict[str, np.ndarray]) -> None:
    body = """return Object.fromEntries(Object.entries(given).map(([name, { params, count }]) => {
      const path = cubicTrajectory(params, count);
      const columns = ["times", "loss", "curvature", "residual", "x", "y"];
      return [name, { escapedAt: path.escapedAt, ...Object.fromEntries(columns.map((k) => [k, [...path[k]]])) }];
    }));"""
    got = page.in_node(tmp_path, {"cubicTrajectory": "systems/cubic.js"}, body, PATHS)
    for name, path in PATHS.items():
        ours, kept = got[name], len(got[name]["times"])
        for key in ("times", "loss", "curvature", "residual"):
            np.testing.assert_array_equal(ours[key], reference[f"path {name}.{key}"][:kept], err_msg=f"{name} {key}")
        bound = 5 + 2 * path["params"]["a"]
        escaped = ~(np.abs(reference[f"path {name}.residual"]) <= bound)
        assert ours["escapedAt"] == (np.argmax(escaped) if escaped.any() else -1)
        assert kept == (ours["escapedAt"] if escaped.any() else path["count"] + 1)
        # The portrait is a point (z, next z); from x, the next z is the same but for the rounding of x^2 - a, which the
        # step enlarges by its slope, at most (1 + a)^2 or 5 + 2 a.
        np.testing.assert_allclose(ours["y"][:-1], ours["residual"][1:], atol=1e-14)
    assert got["cubic escapes"]["escapedAt"] > 0


@pytest.mark.parametrize("start", [None, 0.5])
@pytest.mark.parametrize(
    "ranges",
    [
        (axes.linspace(0, 2.2, 8).named("a"),),
        (axes.linspace(0.9, 2.2, 8).named("a"), axes.linspace(-1, 1, 8).named("z0")),
        (axes.linspace(-1, 1, 8).named("z0"), axes.linspace(0, 1.1, 8).named("a")),
        (axes.linspace(-1, 1, 8).named("z0"),),
    ],
)
def test_lines_of_the_theory_are_those_of_the_overlay(tmp_path: Path, ranges: Any, start: float | None) -> None:
    names = [axis.name for axis in ranges]
    z0 = 0.5 if "z0" in names else start
    expected = overlay.lines(Cubic(a=1.1, z0=z0), ranges)
    given = {"params": {} if start is None else {"z0": start}, "axes": [axis.to_json() for axis in ranges]}
    body = "return cubicLines(given.params, given.axes[0], given.axes[1] ?? null);"
    assert page.in_node(tmp_path, {"cubicLines": "systems/cubic.js"}, body, given) == expected


def _orbit(a: float, heights: int, skip: int, keep: int, span: tuple[float, float]) -> np.ndarray:
    """One column of the orbit diagram, the plain way."""
    x, counts = np.sqrt(2 + a) * 0.41421356237309503, np.zeros(heights, int)
    for k in range(skip + keep):
        z = x * x - a
        if k >= skip and abs(z) <= 5 + 2 * a:
            row = int(np.floor((z - span[0]) * (heights / (span[1] - span[0]))))
            counts[row] += 0 <= row < heights
        x = x * ((1 + a) - x * x)
    return counts


def test_orbit_diagram_counts_visits_and_tells_exponent_and_period(tmp_path: Path) -> None:
    given = {"a": [0.7, 1.1, 1.25, 1.453, 1.5, 1.9, 2.1], "range": [-2.0, 2.0]}
    body = """
      const a = Float64Array.from(given.a), counts = orbitColumns(a, 50, 400, 1000, given.range);
      const { lyapunov, period } = orbitNumbers(a, 4000, 4000);
      return { counts: [...counts], lyapunov: [...lyapunov], period: [...period] };"""
    got = page.in_node(tmp_path, {"orbitColumns, orbitNumbers": "kernel/orbit.js"}, body, given)
    counts = np.reshape(got["counts"], (len(given["a"]), 50))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = [_orbit(a, 50, 400, 1000, (-2.0, 2.0)) for a in given["a"][:-1]]
    np.testing.assert_array_equal(counts[:-1], expected)
    assert counts[-1].sum() == 0 and got["lyapunov"][-1] is None
    assert got["period"] == [1, 2, 4, 3, 0, 0, 0]
    # On a cycle the mean over 4000 steps is the exponent itself, to the rounding of its 500 logarithms.
    for k in (0, 1):
        assert got["lyapunov"][k] == pytest.approx(float(theory.lyapunov(given["a"][k])), abs=1e-12)
    assert got["lyapunov"][4] > 0.3


def test_cobweb_has_a_corner_on_the_map_and_one_on_the_diagonal_at_every_step(tmp_path: Path) -> None:
    body = "return [cobweb(1.5, 0.3, 20), cobweb(2.1, 1.9, 100)];"
    bounded, escaping = (np.array(p) for p in page.in_node(tmp_path, {"cobweb": "kernel/orbit.js"}, body, {}))
    assert bounded.shape == (41, 2) and tuple(bounded[0]) == (0.3, 0.3)
    # One step of the theory's formula, in another order of operations: a few roundings of numbers below 4.
    np.testing.assert_allclose(bounded[1::2, 1], theory.f(bounded[1::2, 0], 1.5), atol=1e-14)
    np.testing.assert_array_equal(bounded[2::2, 0], bounded[2::2, 1])
    np.testing.assert_array_equal(bounded[1::2, 0], bounded[:-1:2, 1])
    assert np.isfinite(escaping).all() and np.abs(escaping[-3]).max() <= 5 + 4.2 < np.abs(escaping[-1]).max()
