"""A boundary followed from a point: where it goes, where it ends, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import searched

import trainphase as tp
from trainphase import verbs
from trainphase.engine.curves import CLOSED, EDGE, TRIPLE, UNDECIDED, distance, extract
from trainphase.engine.follow import LIMIT, LOST, Followed, follow
from trainphase.engine.polish import polish
from trainphase.errors import RequestError
from trainphase.records import Recipe
from trainphase.systems.linear_net import LinearNet

CENTRE, RADIUS = np.array([0.45, 0.52]), 0.31


def off_circle(points: np.ndarray) -> np.ndarray:
    return np.hypot(*(points - CENTRE).T) - RADIUS


def disc(points: np.ndarray) -> np.ndarray:
    return np.where(off_circle(points) < 0, 0, 1)


def three(points: np.ndarray) -> np.ndarray:
    codes = disc(points)
    return np.where((codes == 1) & (points.sum(1) > 1.3), 2, codes)


def inside_only(ask: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The same question, which must never be asked outside of the square."""

    def checked(points: np.ndarray) -> np.ndarray:
        assert ((points >= 0) & (points <= 1)).all()
        return ask(points)

    return checked


def followed(ask: Callable[[np.ndarray], np.ndarray], start: tuple[float, float], **options) -> Followed:
    got = follow(inside_only(ask), start, **options)
    assert got is not None
    return got


def test_a_closed_curve_is_followed_around_once() -> None:
    got = followed(disc, (0.5, 0.6))
    curve = got.curve
    assert curve.closed and curve.ends == (CLOSED, CLOSED)
    assert (np.abs(off_circle(curve.points)) <= curve.half + 1e-15).all()
    assert curve.half.max() <= 0.5e-9
    turns = np.unwrap(np.arctan2(curve.points[:, 1] - CENTRE[1], curve.points[:, 0] - CENTRE[0]))
    # Once around, counter-clockwise: the disc, the smaller label, is on the left. The last step is not repeated.
    steps: np.ndarray = np.diff(np.append(turns, turns[0] + 2 * np.pi))
    assert (steps > 0).all() and turns[-1] - turns[0] < 2 * np.pi
    assert steps.max() * RADIUS < 1.6 / 32  # the step, or what was left at the meeting
    assert got.evaluations < 10_000  # one in a hundred of a plane of 1024 x 1024
    assert got.questions < 60


@pytest.mark.parametrize("radius", [0.004, 0.03])
def test_curves_smaller_than_a_step_are_followed_with_smaller_ones(radius: float) -> None:
    got = followed(lambda p: np.where(np.hypot(*(p - CENTRE).T) < radius, 0, 1), (0.45, 0.52))
    assert got.curve.closed
    assert np.abs(np.hypot(*(got.curve.points - CENTRE).T) - radius).max() <= 0.5e-9
    assert len(got.curve.points) > 15  # a turn of at most 20 degrees from one to the next


@pytest.mark.parametrize("slope,height", [(0.2, 0.3), (0.0, 0.5), (-0.9, 0.95), (0.002, 0.001)])
def test_an_open_curve_ends_on_the_edges_of_the_square(slope: float, height: float) -> None:
    curve = followed(lambda p: np.where(p[:, 1] > height + slope * p[:, 0], 1, 0), (0.5, 0.6), tol=1e-12).curve
    assert curve.ends == (EDGE, EDGE)
    # The smaller label below is on the left.
    assert curve.points[0, 0] == 1 and curve.points[-1, 0] == 0
    assert np.abs(curve.points[:, 1] - height - slope * curve.points[:, 0]).max() <= 1.5e-12


def test_waves_and_corners_make_the_steps_shorter() -> None:
    wave = followed(lambda p: np.where(p[:, 1] > 0.5 + 0.3 * np.sin(25 * p[:, 0]), 1, 0), (0.5, 0.8)).curve
    assert wave.ends == (EDGE, EDGE)
    # The slope is 7.5 at most.
    assert np.abs(wave.points[:, 1] - 0.5 - 0.3 * np.sin(25 * wave.points[:, 0])).max() <= 8e-9
    assert np.abs(np.diff(wave.points[:, 0])).max() < 1 / 32
    corner = followed(lambda p: np.where((p[:, 0] > 0.53) & (p[:, 1] > 0.41), 1, 0), (0.5, 0.8)).curve
    assert corner.ends == (EDGE, EDGE)
    assert (corner.points[0] == (1, 0.41)).sum() == 1 and corner.points[-1, 1] == 1
    # The tip of a wedge: it turns by 147 degrees.
    wedge = followed(lambda p: np.where(np.abs(p[:, 1] - 0.5) < 0.3 * (p[:, 0] - 0.2), 1, 0), (0.7, 0.5)).curve
    assert wedge.ends == (EDGE, EDGE)
    assert np.abs(np.abs(wedge.points[:, 1] - 0.5) - 0.3 * (wedge.points[:, 0] - 0.2)).max() <= 1e-9
    # Ones that are too thin end the curve, and soon: in the second one steps lead back and forth.
    for slope, angle in ((0.01, 0.0), (0.15, 1.0)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

        def tip(points: np.ndarray, slope: float = slope, turn: np.ndarray = turn) -> np.ndarray:
            along, across = ((points - 0.5) @ turn).T
            return np.where(np.abs(across) < slope * (along + 0.2), 1, 0)

        thin = followed(tip, (0.5 + 0.1 * np.cos(angle), 0.5 + 0.1 * np.sin(angle))).curve
        assert sorted(thin.ends) == [EDGE, LOST] and len(thin.points) < 200


def test_a_third_label_ends_the_curve_in_a_triple_point() -> None:
    got = followed(three, (0.2, 0.5))
    assert got.curve.between == (0, 1) and got.curve.ends == (TRIPLE, TRIPLE)
    root = np.sqrt(2 * RADIUS**2 - (1.3 - CENTRE.sum()) ** 2)
    for found, sign in zip(got.triples, (1, -1), strict=True):
        exact = 0.5 * (1.3 - 0.07 - sign * root), 0.5 * (1.3 + 0.07 + sign * root)
        assert found.labels == (0, 1, 2)
        assert found.half <= 1e-9
        assert np.abs(np.subtract(found.at, exact)).max() <= found.half
    other = followed(three, (0.7, 0.7), between=(2, 1))
    assert other.curve.between == (1, 2) and sorted(other.curve.ends) == [EDGE, TRIPLE]
    assert np.abs(other.curve.points.sum(1) - 1.3).max() <= 1.5e-9


def test_a_thin_third_label_between_the_two_is_a_triple_point() -> None:
    def wedge(points: np.ndarray) -> np.ndarray:
        above = np.where(points[:, 1] > 0.5, 1, 0)
        return np.where(np.abs(points[:, 1] - 0.5) < 0.1 * (points[:, 0] - 0.5), 2, above)

    got = followed(wedge, (0.2, 0.6))
    assert sorted(got.curve.ends) == [EDGE, TRIPLE]
    (found,) = got.triples
    # To the right of the tip a wedge of 0.2 is narrower than a step until it is five of them away.
    assert np.abs(np.subtract(found.at, 0.5)).max() <= found.half < 1e-4

    def strips(points: np.ndarray) -> np.ndarray:
        near = np.abs(off_circle(points)) < 0.0005
        near |= (np.abs(points.sum(1) - 1.3) < 0.0005) & (disc(points) == 1)
        return np.where(near, 255, three(points))

    apart = followed(strips, (0.2, 0.5))
    assert apart.curve.ends == (TRIPLE, TRIPLE)
    root = np.sqrt(2 * RADIUS**2 - (1.3 - CENTRE.sum()) ** 2)
    for found, sign in zip(apart.triples, (1, -1), strict=True):
        exact = 0.5 * (1.3 - 0.07 - sign * root), 0.5 * (1.3 + 0.07 + sign * root)
        assert np.abs(np.subtract(found.at, exact)).max() <= found.half < 0.05


def test_a_strip_without_labels_is_followed_in_its_middle() -> None:
    def strip(points: np.ndarray) -> np.ndarray:
        gap = off_circle(points)
        return np.where(gap < -0.001, 0, np.where(gap > 0.002, 1, 255))

    curve = followed(strip, (0.5, 0.6)).curve
    assert curve.closed
    # 0.003 wide; where it is crossed at an angle of up to 16 degrees, 4 per cent more.
    assert curve.half.min() >= 0.00149 and curve.half.max() <= 0.00157
    assert np.abs(off_circle(curve.points) - 0.0005).max() < 1e-4

    def blocked(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, 0] > 0.6, 255, disc(points))

    assert followed(blocked, (0.2, 0.5)).curve.ends == (UNDECIDED, UNDECIDED)


@pytest.mark.parametrize("start", [(0.5, 0.5), (0.0, 0.5), (1.0, 1.0), (0.5, 0.0)])
def test_a_start_on_the_boundary_or_on_the_edge_will_do(start: tuple[float, float]) -> None:
    def halves(points: np.ndarray) -> np.ndarray:
        return np.where(np.abs(points[:, 1] - 0.5) < 1e-4, 255, np.where(points[:, 1] < 0.5, 0, 1))

    curve = followed(halves, start).curve
    assert curve.ends == (EDGE, EDGE) and np.abs(curve.points[:, 1] - 0.5).max() < 1e-5


def test_a_thin_third_label_at_the_start_is_not_stepped_over() -> None:
    def layers(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, 1] < 0.5, 0, np.where(points[:, 1] < 0.5002, 1, 2))

    curve = followed(layers, (0.3, 0.8)).curve
    assert curve.between in ((0, 1), (1, 2)) and curve.ends == (EDGE, EDGE)
    assert np.abs(curve.points[:, 1] - (0.5 if curve.between == (0, 1) else 0.5002)).max() <= 0.5e-9
    assert follow(layers, (0.3, 0.8), between=(0, 2)) is None


def test_without_a_boundary_there_is_nothing_to_follow() -> None:
    assert follow(lambda p: np.zeros(len(p), int), (0.5, 0.5)) is None
    assert follow(disc, (0.5, 0.5), between=(1, 2)) is None
    short = followed(disc, (0.5, 0.6), most=20)
    assert short.curve.ends == (LIMIT, LIMIT) and len(short.curve.points) <= 21


# -- with systems ------------------------------------------------------------------------------------


def test_a_lattice_of_the_linear_net_has_the_exact_line() -> None:
    """Unpolished to less than a cell, polished to 1e-9."""
    n, lo, hi = 33, np.array([-0.9, 2.0]), np.array([0.9, 6.0])
    recipe = Recipe(LinearNet, {"y": 0.2}, 1600, vocabulary="edge")
    built = LinearNet(y=0.2)

    def ask(points: np.ndarray) -> np.ndarray:
        at = lo + (hi - lo) * points / (n - 1)
        return verbs.records_at(recipe, built, {"z": at[:, 0], "T": at[:, 1]})["phase"]

    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2)
    labels = ask(grid).reshape(n, n)
    words = recipe.words
    pair = words.index("flat"), words.index("divergent")
    curves = [c for c in extract(labels, skip=(255, words.undecided)).curves if c.between == pair]
    z = np.array([-0.95, 0.95])
    line = (np.stack([z, 4 + 0.2 * z], 1) - lo) / (hi - lo) * (n - 1)
    raw = distance(np.concatenate([c.points for c in curves]), line)
    assert raw is not None and raw.compared >= n and raw.largest < 1
    sharp = distance(np.concatenate([c.points for c in polish(curves, ask, 1e-10)]), line)
    assert sharp is not None and sharp.largest < 1e-9


def test_the_cubic_map_gives_way_at_one_whatever_its_start() -> None:
    got = searched.plane("cubic", a=(0.8, 1.2), z0=(0.2, 0.8), steps=512, near=(1.01, 0.5), tol=1e-6)
    assert got.between == ("catapult", "periodic") and got.ends == ("edge", "edge")
    # Runs next to a = 1 do not settle within the horizon: the curve is the middle of the strip they leave, and says so.
    assert (np.abs(got.points[:, 0] - 1) <= got.width / 2).all()
    assert got.width.max() < 1e-2
    assert got.theory is not None and got.theory["name"] == "catapult/periodic = 1"


@pytest.mark.parametrize(
    "options,words",
    [
        ({"near": (3.0, 0.5)}, "near has a = 3"),
        ({"near": 1.0}, "no point"),
        ({"between": ("chaotic", "chaotic")}, "has no boundary"),
        ({"between": "chaotic"}, "two phases"),
        ({"between": ("chaotic", "calm")}, "calm"),
        ({"of": "period"}, "one parameter"),
        ({"tol": 0.7}, "tol"),
    ],
)
def test_wrong_requests_are_told(options: dict, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        tp.boundary("cubic", a=(0.8, 1.2), z0=(0.2, 0.8), **options)


def test_one_range_takes_no_point_and_nets_are_too_dear() -> None:
    with pytest.raises(RequestError, match="two ranges"):
        tp.boundary("cubic", a=(0.8, 1.2), near=(1.0, 1.0))
    with pytest.raises(RequestError, match=r"ladder of nets.*; give gamma or gamma_prime one value, or use diagram"):
        tp.boundary("relu2", gamma=(0.8, 1.2), gamma_prime=(0.0, 0.2))
    # Also of a parameter that could not be searched: with one value fewer there would be nothing to say of it.
    with pytest.raises(RequestError, match=r"training of a network.*; give lr or gain one value, or use diagram"):
        tp.boundary("mlp", lr=(0.1, 1.0), gain=(0.5, 2.0), n=16, width=4, depth=1)
