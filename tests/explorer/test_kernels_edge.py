"""The page's kernels of the edge vocabulary say what Python says: the same labels and steps at the same points.

Both sides do the same operations in the same order without fused multiply-add, so labels and steps are compared for
equality, in chaos too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import page
import page_edge
import pytest

from trainphase import axes, march, overlay
from trainphase.classifiers import EDGE_RULES, edge
from trainphase.phase import EDGE, NOT_COMPUTED
from trainphase.systems import LinearNet, Quadratic1D
from trainphase.systems._krylov import krylov_top
from trainphase.systems.quadratic import quadratic

pytestmark = pytest.mark.skipif(page.node_program() is None, reason="node is not installed")
plain_arithmetic = pytest.mark.skipif(not page.has_plain_arithmetic(), reason="XLA cannot be kept from fusing here")

Arrays = Mapping[str, np.ndarray]
plane = page_edge.plane
Z, T = ("z", -1.5, 1.5), ("T", 0.0, 4.0)
SIGMAS = ("sigma_z", 0.0, 1.0), ("sigma_J", 0.0, 1.0)
# The exact line T = 4 + y z crosses the square of width 1e-9.
CLOSE = ("z", 0.3, 0.3 + 1e-9), ("T", 4.15 - 5e-10, 4.15 + 5e-10)
PLANES = {
    "one datum": plane("quadratic-1d", Z, T, eps=0.17),
    # Long runs, and chaos before them: another order of two operations shows.
    "one datum, sharpening": plane("quadratic-1d", ("z", -0.1, 0.1), ("T", 0.2, 4.0), 1600, n=64, eps=0.005),
    "one datum, eps": plane("quadratic-1d", ("eps", 0.01, 1.0), ("E", -1.0, 1.0), 800, n=48, z=0.3, T=3.0),
    "net": plane("linear-net", ("z", -2.6, 2.6), ("T", 0.0, 5.6)),
    "net, close": plane("linear-net", *CLOSE, y=0.5, n=64),
    "many data": plane("quadratic", *SIGMAS, n=32, D=4, P=8, seed=0),
}
LARGE = {
    "one datum": plane("quadratic-1d", Z, T, n=300, eps=0.17),
    "one datum, sharpening": plane("quadratic-1d", ("z", -0.1, 0.1), ("T", 0.2, 4.0), 1600, n=300, eps=0.005),
    "one datum, symmetric": plane("quadratic-1d", ("z", -2.0, 2.0), ("T", 0.0, 6.0), n=300, eps=1.0, E=0.5),
    "one datum, close": plane("quadratic-1d", ("z", 0.4, 0.4 + 1e-9), ("T", 3.3, 3.3 + 1e-9), n=300, eps=0.17),
    "one datum, eps": plane("quadratic-1d", ("eps", 0.01, 1.0), ("T", 0.7, 4.0), 800, n=300, z=0.3),
    "one datum, E": plane("quadratic-1d", ("z", -1.0, 1.0), ("E", -1.0, 1.0), n=300, T=2.5, eps=0.05),
    "net": plane("linear-net", ("z", -2.6, 2.6), ("T", 0.0, 5.6), n=300),
    "net, long": plane("linear-net", ("z", -3.0, 3.0), ("T", 0.0, 6.0), 4000, n=300, y=0.5),
    "net, labels": plane("linear-net", ("z", -1.0, 1.0), ("y", -1.0, 1.0), n=300, T=3.0),
    "net, close": plane("linear-net", *CLOSE, n=300, y=0.5),
    "(4, 8)": plane("quadratic", *SIGMAS, n=96, D=4, P=8, seed=0),
    "(2, 4)": plane("quadratic", *SIGMAS, n=300, D=2, P=4, seed=0),
    "(8, 16)": plane("quadratic", *SIGMAS, n=96, D=8, P=16, seed=1),
    "(6, 3)": plane("quadratic", *SIGMAS, n=128, D=6, P=3, seed=0),
    "(4, 8), close": plane("quadratic", ("sigma_z", 0.3, 0.3 + 1e-9), ("sigma_J", 0.5, 0.5 + 1e-9), n=96, D=4, P=8, seed=0),
    "(4, 8), step size": plane("quadratic", ("lr", 0.1, 3.0), SIGMAS[1], n=96, D=4, P=8, seed=2, sigma_z=0.25),
}
PATHS = {
    "path of one datum": {"system": "quadratic-1d", "params": {"eps": 0.05, "z": 0.2, "T": 3.4}, "steps": 400},
    "path of a net": {"system": "linear-net", "params": {"z": 0.3, "T": 3.9, "y": 0.1}, "steps": 400},
}
ANSWERS = {"answerPlane, answerPoint, theoryLines, trajectory": "kernel/answers.js"}
DRAWS = """
  const floats = (d) => d && { ...d, Q: Float64Array.from(d.Q), z: Float64Array.from(d.z), J: Float64Array.from(d.J) };
"""
OVER_PLANES = (
    DRAWS
    + """
  return Object.fromEntries(Object.entries(given).map(([name, { system, params, x, y, steps, draws }]) => {
    const [xs, ys] = [Float64Array.from(x[1]), Float64Array.from(y[1])];
    const got = answerPlane(system, "edge", params, x[0], xs, y[0], ys, steps, floats(draws));
    return [name, { codes: [...got.codes], steps: [...got.runSteps] }];
  }));
"""
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    """Python's side of all small comparisons, from one child process."""
    asked = {"planes": PLANES, "paths": PATHS}
    return page_edge.python_side(tmp_path_factory.mktemp("reference"), asked)


def differing(folder: Path, planes: Mapping[str, page_edge.Plane], said: Arrays) -> dict[str, int]:
    """Points of each plane at which the page has another label or other steps than Python."""
    got = page.in_node(folder, ANSWERS, OVER_PLANES, planes)
    out = {}
    for name in planes:
        codes, steps = said[f"{name} phase"], np.nan_to_num(said[f"{name} run_steps"], nan=-1)
        here, ran = (np.reshape(got[name][key], codes.shape) for key in ("codes", "steps"))
        out[name] = int(np.sum((here != codes) | (ran != steps)))
    return out


@plain_arithmetic
def test_labels_and_steps_of_planes_are_those_of_python(tmp_path: Path, reference: Arrays) -> None:
    assert differing(tmp_path, PLANES, reference) == dict.fromkeys(PLANES, 0)
    # The planes would show little if they had few phases.
    assert set(np.unique(reference["one datum phase"])) >= {0, 1, 2, 4, NOT_COMPUTED}
    assert set(np.unique(reference["many data phase"])) >= {0, 1, 2, 3, 4, 5}


@pytest.mark.slow
@plain_arithmetic
@pytest.mark.parametrize("name", LARGE)
def test_labels_and_steps_of_a_large_plane_are_those_of_python(tmp_path: Path, name: str) -> None:
    planes = {name: LARGE[name]}
    assert differing(tmp_path, planes, page_edge.python_side(tmp_path, {"planes": planes})) == {name: 0}


@plain_arithmetic
def test_the_answer_at_a_point_has_the_numbers_of_a_diagram(tmp_path: Path, reference: Arrays) -> None:
    asked = {name: [[int(i), int(j)] for i, j in zip(*_spread(given), strict=True)] for name, given in PLANES.items()}
    body = DRAWS + """
      return Object.fromEntries(Object.entries(given.planes).map(([name, p]) => [name, given.asked[name].map(([i, j]) => {
        const params = { ...p.params, [p.x[0]]: p.x[1][i], [p.y[0]]: p.y[1][j] };
        return answerPoint(p.system, "edge", params, p.steps, floats(p.draws), [p.x[0], p.y[0]]);
      })]));
    """  # fmt: skip
    got = page.in_node(tmp_path, ANSWERS, body, {"planes": PLANES, "asked": asked})
    for name, given in PLANES.items():
        for (i, j), here in zip(asked[name], got[name], strict=True):
            there = {field: reference[f"{name} {field}"][j, i] for field in page_edge.FIELDS}
            assert here["code"] == there["phase"]
            if here["code"] == NOT_COMPUTED:
                assert here["outcome"] == "not-admissible"
                continue
            assert here["label"] == EDGE.label(there["phase"]) and here["rule"] == EDGE_RULES[there["rule"]]
            assert here["runSteps"] == there["run_steps"]
            assert (here["outcome"] == "escaped") == (here["label"] == "divergent")
            if here["outcome"] == "escaped":
                continue
            # Diagrams keep margins in single precision.
            assert here["margin"] == pytest.approx(there["margin"], rel=1e-6, abs=1e-9), (name, i, j)
            # Sums in another order, and for many data two algorithms for eigenvalues.
            close = 1e-9 if given["system"] == "quadratic" else 1e-12
            for field, value in here["values"].items():
                assert value == pytest.approx(float(there[field]), rel=close, abs=1e-15), (name, i, j, field)


def _spread(given: page_edge.Plane) -> tuple[np.ndarray, np.ndarray]:
    """Some points of a plane."""
    rng = np.random.default_rng(5)
    return rng.integers(len(given["x"][1]), size=40), rng.integers(len(given["y"][1]), size=40)


@plain_arithmetic
def test_a_run_is_that_of_python_step_by_step(tmp_path: Path, reference: Arrays) -> None:
    # Alone, a run is a program in which nothing is shared, as where eps is an axis.
    body = """
      return Object.fromEntries(Object.entries(given).map(([name, { system, params, steps }]) => {
        const got = trajectory(system, params, steps, undefined, ["eps"]);
        const series = ["times", "loss", "curvature", "residual"].map((key) => [key, [...got[key]]]);
        return [name, { ...Object.fromEntries(series), escapedAt: got.escapedAt }];
      }));
    """
    got = page.in_node(tmp_path, ANSWERS, body, PATHS)
    for name, path in PATHS.items():
        here, count = got[name], len(reference[f"{name} times"])
        assert here["escapedAt"] == -1 and len(here["times"]) == path["steps"] + 1
        assert here["times"][:count] == reference[f"{name} times"].tolist()
        for key in ("loss", "curvature", "residual"):
            np.testing.assert_array_equal(here[key][:count], reference[f"{name} {key}"], err_msg=f"{name} {key}")


@plain_arithmetic
def test_a_run_of_many_data_is_that_of_the_plane_and_its_curvature_is_followed(tmp_path: Path, reference: Arrays) -> None:
    many = PLANES["many data"]
    steps = reference["many data run_steps"]
    j, i = (int(k) for k in np.argwhere((reference["many data phase"] == EDGE.index("edge-of-stability")) & (steps >= 50))[0])
    params = many["params"] | {many["x"][0]: many["x"][1][i], many["y"][0]: many["y"][1][j]}
    body = DRAWS + """
      const [draws, count] = [floats(given.draws), given.count];
      const got = trajectory("quadratic", given.params, count, draws);
      const [model, exact, along, mode] = [new Quadratic(draws, ["sigma_z", "sigma_J"]), [], [], new Float64Array(draws.D)];
      model.begin(given.params);
      for (let k = 0; k <= count; k++, model.step()) {
        exact.push(model.lr * model.gramTop(model.jacobian(), mode));
        along.push(model.lr * mode.reduce((total, v, a) => total + v * model.z[a], 0));
      }
      return { loss: [...got.loss], curvature: [...got.curvature], residual: [...got.residual], exact, along };
    """  # fmt: skip
    given = {"draws": many["draws"], "params": params, "count": int(steps[j, i])}
    got = page.in_node(tmp_path, ANSWERS | {"Quadratic": "systems/quadratic.js"}, body, given)
    # Python sums the last loss in another order, and it is the square of a small difference.
    assert got["loss"][-1] == pytest.approx(reference["many data loss"][j, i], rel=1e-6)
    np.testing.assert_allclose(got["curvature"], got["exact"], rtol=1e-9)
    # An eigenvalue known to 1e-12 has a mode known to 1e-6, over the gap to the next one.
    along = np.abs(got["along"])
    np.testing.assert_allclose(np.abs(got["residual"]), along, atol=1e-5 * along.max())


def test_a_run_that_escapes_ends_there(tmp_path: Path) -> None:
    body = """
      const got = trajectory("linear-net", given, 400);
      const lengths = Object.values(got).filter((v) => v instanceof Float64Array).map((v) => v.length);
      return { escapedAt: got.escapedAt, lengths, T: [...got.y] };
    """
    got = page.in_node(tmp_path, ANSWERS, body, {"z": 0.01, "T": 4.3, "y": 0.0})
    assert 8 < got["escapedAt"] < 400
    assert got["lengths"] == [got["escapedAt"]] * 6
    assert max(got["T"]) <= 1e6 and max(got["T"]) > 10


def test_labels_and_rules_have_the_words_of_python(tmp_path: Path) -> None:
    got = page.in_node(tmp_path, {"EDGE_LABELS, EDGE_RULES": "kernel/edge.js"}, "return [EDGE_LABELS, EDGE_RULES];", None)
    assert got == [list(EDGE.labels), list(EDGE_RULES)]


def _marches(count: int) -> dict[str, np.ndarray]:
    """What runs to the horizon may have left behind: windows of many shapes, thresholds crossed both ways."""
    rng = np.random.default_rng(11)
    w = np.arange(16.0)
    size = (count, 1)
    shapes = np.stack([
        np.exp(-rng.uniform(0, 1.5, size) * w), (1 + w) ** -rng.uniform(0, 4, size), np.ones((count, 16)),
        1 + rng.uniform(0, 1, size) * np.sin(rng.uniform(0, 6, size) * w), rng.uniform(0.05, 1, (count, 16)),
        1 + 10 ** rng.uniform(-9, -4, size) * rng.uniform(-1, 1, (count, 16)), np.exp(rng.uniform(0, 0.5, size) * w),
        np.zeros((count, 16)), np.exp(rng.uniform(1, 4, size) * np.exp(-rng.uniform(0.05, 0.3, size) * w)),
    ])  # fmt: skip
    kind = rng.choice(9, count, p=[0.15, 0.15, 0.05, 0.15, 0.2, 0.1, 0.05, 0.05, 0.1])
    centre = rng.choice([1.0, 1.8, 2.0, 2.2, 3.0], size) + rng.normal(0, 0.03, size)
    mean = centre + rng.choice([0, 0.01, 0.1], size) * rng.normal(size=(count, 16))
    return {
        "motion": shapes[kind, np.arange(count)] * 1e-3,
        "mean": mean, "top": mean + rng.choice([0, 0.05, 0.5], size) * rng.uniform(size=(count, 16)),
        "loss": np.exp(-rng.choice([0, 0.02, 0.1], size) * w) * (1 + rng.choice([0, 0.1], size) * rng.normal(size=(count, 16))),
        "start": rng.uniform(0.5, 3, count), "end": rng.choice([1.8, 2.2, 2.0, 1.0, 3.0], count) + rng.normal(0, 0.02, count),
        "status": rng.choice([march.SETTLED, march.ESCAPED, march.HORIZON], count, p=[0.15, 0.05, 0.8]),
        "unstable": rng.uniform(size=count) < 0.05,
    }  # fmt: skip


def test_the_classifier_reads_windows_as_python_does(tmp_path: Path) -> None:
    runs = _marches(4000)
    looks = 10.0
    evidence = {
        "escaped": runs["status"] == march.ESCAPED, "settled": runs["status"] == march.SETTLED,
        "moved": runs["motion"].max(1), "unstable": runs["unstable"], "curvature_start": runs["start"], "curvature": runs["end"],
    }  # fmt: skip
    pairs = {k: runs[k].reshape(-1, 8, 2) for k in ("motion", "mean", "top", "loss")}
    joined = {"motion": pairs["motion"].max(2), "curvature_top": pairs["top"].max(2)}
    joined |= {"curvature_mean": pairs["mean"].mean(2), "loss_mean": pairs["loss"].mean(2)}
    codes, margins, rules = edge(evidence | joined)
    body = """
      const reader = new EdgeReader();
      return given.status.map((status, k) => {
        const [motion, mean, top, loss] = ["motion", "mean", "top", "loss"].map((key) => Float64Array.from(given[key][k]));
        const [curvatureSum, lossSum] = [mean, loss].map((means) => means.map((v) => v * given.looks));
        reader.read({
          status, motion, curvatureTop: top, curvatureSum, lossSum, horizon: 32, moved: Math.max(...motion),
          start: given.start[k], end: given.end[k], unstable: given.unstable[k],
        });
        return [reader.code, reader.rule, reader.margin];
      });
    """  # fmt: skip
    given = {key: value.tolist() for key, value in runs.items()} | {"looks": looks}
    got = np.array(page.in_node(tmp_path, {"EdgeReader": "kernel/edge.js"}, body, given))
    assert set(rules) == set(range(len(EDGE_RULES)))
    np.testing.assert_array_equal(got[:, 1], rules)
    np.testing.assert_array_equal(got[:, 0], codes)
    # Logarithms and means may differ in their last bits, of numbers of order one.
    np.testing.assert_allclose(got[:, 2], np.where(np.isfinite(margins), margins, 0), rtol=1e-10, atol=1e-12)


# Of every block of a run: the largest squared step; then how it ends, after how many blocks of the sixteen.
BLOCKS = {
    "settles": ([1.0, 1e-17], march.SETTLED, 2),
    "steps that are not yet small": ([1.0, 1e-15, 1e-15, 0.9e-16], march.SETTLED, 4),
    "settles at the horizon": ([1.0] * 15 + [1e-20], march.HORIZON, 16),
    "never moves": ([0.0], march.SETTLED, 1),
    "escapes": ([1.0, 2.0, -1.0], march.ESCAPED, 3),
    "small steps, then it escapes": ([1.0, -1e-20], march.ESCAPED, 2),
}


def test_a_march_ends_by_the_steps_of_its_blocks(tmp_path: Path) -> None:
    """A model that makes given steps, and is gone after a negative one."""
    body = """
      return given.blocks.map((blocks) => given.losses.map((loss) => {
        let k = 0;
        const model = {
          settled: 1e-16, begin: () => true, escaped: () => blocks[k - 1] < 0, loss: () => (k ? loss : 1), sharpness: () => 2.5,
          startCurvature: () => 1, curvature: () => 1, step: () => {}, observe: () => {},
          block: (sums) => { sums[MOTION] = Math.abs(blocks[k++]); },
        };
        const run = new March(model, 400);
        run.run({}, false);
        return [run.status, run.steps, run.unstable];
      }));
    """
    given = {"blocks": [list(blocks) for blocks, _, _ in BLOCKS.values()], "losses": [0.5, 1e-9]}
    got = page.in_node(tmp_path, {"MOTION, March": "kernel/march.js"}, body, given)
    for (name, (_, status, blocks)), (rests, gone) in zip(BLOCKS.items(), got, strict=True):
        # At rest with a loss that is left, the sharpness is asked for.
        assert rests == [status, 25 * blocks, status == march.SETTLED], name
        assert gone == [status, 25 * blocks, False], name


LINES = [
    ("linear-net", {"y": 0.3}, ("z", -3.0, 3.0), ("T", 0.0, 5.0)),
    ("linear-net", {"y": -0.5}, ("T", 3.5, 4.2), ("z", -2.0, 2.0)),
    ("linear-net", {"y": 0.25, "z": 0.7}, ("T", 0.0, 5.0), None),
    ("linear-net", {"y": 2.0}, ("z", -3.0, 3.0), ("T", 0.0, 5.0)),
    ("linear-net", {"z": 0.5}, ("y", -1.0, 1.0), ("T", 0.0, 5.0)),
    ("linear-net", {}, ("z", -3.0, 3.0), ("T", 0.0, 3.9)),
    ("quadratic-1d", {"eps": 1.0, "E": 0.6}, ("z", -1.0, 1.0), ("T", 0.0, 5.0)),
    ("quadratic-1d", {"eps": 0.5}, ("z", -1.0, 1.0), ("T", 0.0, 5.0)),
    ("quadratic", {}, ("sigma_z", 0.0, 1.0), ("sigma_J", 0.0, 1.0)),
]


def test_lines_of_the_theory_are_those_of_python(tmp_path: Path) -> None:
    body = """
      const axis = (a) => a && { name: a[0], lo: a[1], hi: a[2] };
      return given.map(([system, params, x, y]) => theoryLines(system, params, axis(x), axis(y)));
    """
    got = page.in_node(tmp_path, ANSWERS, body, LINES)
    build = {"linear-net": LinearNet, "quadratic-1d": Quadratic1D, "quadratic": lambda: quadratic(D=2, P=3)}
    drawn = 0
    for (name, params, x, y), here in zip(LINES, got, strict=True):
        there = overlay.lines(build[name](**params), [axes.linspace(a[1], a[2], 9).named(a[0]) for a in (x, y) if a is not None])
        assert len(here) == len(there)
        for line, said in zip(here, there, strict=True):
            drawn += 1
            assert {k: v for k, v in line.items() if k != "points"} == {k: v for k, v in said.items() if k != "points"}
            # numpy's linspace multiplies and adds in the same order.
            np.testing.assert_allclose(line["points"], said["points"], rtol=1e-15, atol=0)
    assert drawn == 4


def test_a_line_stays_straight_and_in_its_place_at_a_width_of_1e_9(tmp_path: Path) -> None:
    n, y, z, width = 65, 0.3, 0.4, 1e-9
    at = 4 + y * z
    zs, ts = np.linspace(z, z + width, n), np.linspace(at - width / 2, at + width / 2, n)
    deep = {"system": "linear-net", "params": {"y": y}, "x": ["z", zs.tolist()], "y": ["T", ts.tolist()], "steps": 4000}
    got = page.in_node(tmp_path, ANSWERS, OVER_PLANES, {"deep": deep})["deep"]
    gone = np.reshape(got["codes"], (n, n)) == EDGE.index("divergent")
    beyond = ts[:, None] - (4 + y * zs[None, :])
    # Rounding of one step moves T by an ulp of 4, 9e-16, and the distance to the line grows from there: 1e-13 is a hundred ulp.
    clear = np.abs(beyond) > 1e-13
    np.testing.assert_array_equal(gone[clear], (beyond > 0)[clear])
    assert clear.mean() > 0.95


def test_eigenvalues_are_those_of_lapack_and_the_followed_one_is_python_s(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shapes = [(1, 1), (2, 5), (7, 3), (8, 16), (16, 16)]
    jacobians = [rng.standard_normal(shape) for shape in shapes]
    # Equal eigenvalues, one that is zero, one that dominates.
    grams = [J @ J.T for J in jacobians] + [np.eye(4), np.zeros((3, 3)), np.diag([1.0, 1e8, 1e-8])]
    guesses = [np.ones(len(J)) / np.sqrt(len(J)) for J in jacobians]
    body = """
      const tops = given.grams.map((g) => {
        const vector = new Float64Array(g.length);
        const plain = symmetricTop(Float64Array.from(g.flat()), g.length);
        return [plain, symmetricTop(Float64Array.from(g.flat()), g.length, vector), ...vector];
      });
      const followed = given.jacobians.map((J, k) => {
        const guess = Float64Array.from(given.guesses[k]);
        return [new Krylov(J.length, J[0].length).top(Float64Array.from(J.flat()), guess), ...guess];
      });
      return { tops, followed };
    """
    given = {"grams": [g.tolist() for g in grams], "jacobians": [J.tolist() for J in jacobians]}
    given |= {"guesses": [g.tolist() for g in guesses]}
    got = page.in_node(tmp_path, {"Krylov, symmetricTop": "kernel/eigen.js"}, body, given)
    for gram, (plain, top, *vector) in zip(grams, got["tops"], strict=True):
        largest = np.linalg.eigvalsh(gram)[-1]
        assert plain == top == pytest.approx(largest, rel=1e-13, abs=1e-300)
        np.testing.assert_allclose(gram @ vector, top * np.asarray(vector), atol=1e-13 * max(np.abs(gram).max(), 1))
        assert np.linalg.norm(vector) == pytest.approx(1, rel=1e-13)
    for J, guess, (value, *vector) in zip(jacobians, guesses, got["followed"], strict=True):
        A = jnp.asarray(J)
        said, mode = krylov_top(lambda v, A=A: A @ v, lambda v, A=A: v @ A, jnp.asarray(guess))
        assert value == pytest.approx(float(said[0]), rel=1e-12)
        np.testing.assert_allclose(vector, np.asarray(mode), rtol=1e-8, atol=1e-10)
