"""Amplitude against orientation of all neurons at nine positions of the plane: where they condense, and how with the width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.observables import condensation
from trainphase.reproduce.claims import Claim, Measured, exact
from trainphase.reproduce.context import Context
from trainphase.reproduce.luo import runs
from trainphase.reproduce.runner import Figure
from trainphase.theory import relu2 as theory

if TYPE_CHECKING:
    import xarray

GAMMA, PRIME = (0.5, 1.0, 1.75), (-0.4, 0.0, 0.4)
IMAGE_GAMMA, IMAGE_PRIME = (0.7, 1.0, 1.5), (-0.3, 0.0, 0.3)
# Windows of the score, radians: in 45 dimensions neurons that point the same way for their purpose are further apart.
WINDOWS = {"points": condensation.WIDTH, "mnist": 0.3}
WIDTHS = (1000, 10000)
QUICK_IMAGE_WIDTHS, IMAGE_WIDTHS = (250, 1000), (1000, 4000)
# Neurons of larger nets that are kept for the picture and the score.
SHOWN = 2000
# By how much the score of one draw may differ from that of another.
CHANCE = 0.02


def axis_of(data: str, places: tuple[str, ...]) -> np.ndarray:
    """Unit vector that orientations of weights over image data are measured against, in the row space, shape (r,).

    The projection of (1, ..., 1, 0) onto the span of the inputs, 0 for the bias.
    """
    from trainphase.data import targets

    found = targets.samples(data, search=places)
    basis = targets.row_space(found.X)
    flat = np.append(np.ones(len(basis) - 1), 0.0) @ basis
    return flat / np.linalg.norm(flat)


def sample(tall: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many neurons that stand for all with an amplitude, and how many each stands for.

    The first eighth are the tallest, each for itself; the others are evenly spaced in the order of the rest.
    """
    order = np.argsort(-tall, kind="stable")[: int(np.sum(tall > 0))]
    first, rest = np.split(order, [count // 8])
    taken = rest[np.linspace(0, rest.size - 1, count - first.size).astype(int)]
    return np.concatenate([first, taken]), np.repeat([1.0, rest.size / taken.size], [first.size, taken.size])


def piece(
    data: str, places: tuple[str, ...], points: Sequence[runs.Point], width: int, seed: int
) -> xarray.Dataset:  # fmt: skip
    """Train the points with a particle for every neuron; dims (point, when, neuron), when = start, end."""
    import xarray

    from trainphase.relu import ladder

    size = runs.sizes(data, places)
    axis = axis_of(data, places) if data == "mnist" else None
    count = min(width * (2 if size.antisymmetric else 1), SHOWN)
    angle, tall = np.zeros((2, len(points), 2, count))
    score, distance = np.zeros((len(points), 2)), np.zeros(len(points))
    for i, point in enumerate(points):
        run = ladder.train(*point, width, seed, size, level=-1)
        shown, stands = sample(condensation.amplitude(run.a, run.w) * (run.start.mass > 0), count)
        for k, (a, w) in enumerate(((run.start.a, run.start.w), (run.a, run.w))):
            view = w[:, shown]
            tall[i, k] = condensation.amplitude(a[:, shown], view)
            angle[i, k] = condensation.orientation(view) if axis is None else axis @ condensation.directions(view)
            score[i, k] = condensation.condensation(a[:, shown], view, stands, WINDOWS[data])
        distance[i] = run.relative_distance
    dims = ("point", "when", "neuron")
    return xarray.Dataset(
        {
            "orientation": (dims, angle), "amplitude": (dims, tall / tall.max((1, 2), keepdims=True)),
            "score": (dims[:2], score), "distance": ("point", distance),
        },
        {"when": ["start", "end"]},
    )  # fmt: skip


def _compute(
    context: Context, data: str, gamma: Sequence[float], prime: Sequence[float], widths: Sequence[int]
) -> dict[str, Any]:
    points = [(g, p) for p in prime for g in gamma]
    places, seed = runs.folders(context) if data == "mnist" else (), context.seeds(1)[0]
    context.progress.start(len(widths), 0)
    jobs = [(data, places, points, width, seed) for width in widths]
    if context.executor is None:
        found = [context.cached(f"width_{job[3]}", lambda job=job: piece(*job)) for job in jobs]
    else:
        futures = [context.executor.submit(piece, *job) for job in jobs]
        found = [context.cached(f"width_{job[3]}", f.result) for job, f in zip(jobs, futures, strict=True)]
    coords = {"gamma": ("point", [p[0] for p in points]), "gamma_prime": ("point", [p[1] for p in points])}
    return {f"m{width}": each.assign_coords(coords).assign_attrs(width=width, data=data)
            for width, each in zip(widths, found, strict=True)}  # fmt: skip


def compute(context: Context) -> dict[str, Any]:
    """Nine points of the plane, widths 1000 and 10 000, four points to fit."""
    return _compute(context, "points", GAMMA, PRIME, WIDTHS)


def compute_images(context: Context) -> dict[str, Any]:
    """Nine points of the plane, 45 images of MNIST, widths 1000 and 4000 (250 and 1000 when quick)."""
    return _compute(context, "mnist", IMAGE_GAMMA, IMAGE_PRIME, context.pick(QUICK_IMAGE_WIDTHS, IMAGE_WIDTHS))


def _draw(data: Any) -> Any:
    from trainphase.figures import neurons

    return neurons.positions(data)


def _rows(data: dict[str, Any]) -> list[tuple[float, float, float, float, float]]:
    """Of every point gamma, gamma', the exponent, the score at the start and that at the end, of the widest nets."""
    widest = max(data.values(), key=lambda each: int(each.attrs["width"]))
    score = widest["score"].values
    pairs = zip(widest["gamma"].values, widest["gamma_prime"].values, score, strict=True)
    return [(float(g), float(p), float(theory.slope(g, p)), float(s[0]), float(s[1])) for g, p, s in pairs]


def _gain(context: Context) -> Measured:
    """Whether every score of a linear position is below every critical one, and these below the condensed ones."""
    rows = _rows(context.data())
    note = "; ".join(f"({g:g}, {p:g}) {theory.regime(g, p)}: {before:.3f} to {after:.3f}" for g, p, _, before, after in rows)
    order = [[row[4] for row in rows if theory.regime(row[0], row[1]) == regime] for regime in theory.REGIMES]
    ends = [(min(scores), max(scores)) for scores in order if scores]
    return Measured(all(low[1] < high[0] for low, high in pairwise(ends)), note=note)


def _wider(context: Context) -> Measured:
    """Whether the score falls with the width at no condensed position, and grows at no linear one."""
    data = context.data()
    narrow, wide = sorted(data.values(), key=lambda each: int(each.attrs["width"]))
    gain = wide["score"].values[:, 1] - narrow["score"].values[:, 1]
    exponent = theory.slope(narrow["gamma"].values, narrow["gamma_prime"].values)
    note = "change of the score: " + ", ".join(
        f"{v:+.3f} at ({a:g}, {b:g})" for v, a, b in zip(gain, narrow["gamma"].values, narrow["gamma_prime"].values, strict=True)
    )
    return Measured(bool((gain[exponent > 0.1] > -CHANCE).all() and (gain[exponent < -0.25] < CHANCE).all()), note=note)


MORE = "the score after training is larger at every condensed position than at critical ones, and there than at linear ones"
WIDER = "with the width the score falls at no condensed position, and grows at no linear one"
BANDS = exact("an order of scores that lie apart by a third and more")
CLAIMS = (
    Claim(runs.PAPER, "JMLR Fig. 6", MORE, True, BANDS, _gain),
    Claim(runs.PAPER, "JMLR Fig. 6", WIDER, True, exact("within 0.02, the chance of a score of 2000 neurons"), _wider),
)  # fmt: skip
IMAGE_CLAIMS = (
    Claim(runs.PAPER, "JMLR Fig. 7", MORE, True, BANDS, _gain),
)  # fmt: skip

POINTS = Figure(
    runs.PAPER, "condensation", "Neurons at nine positions of the plane, four points", compute, _draw, CLAIMS,
    seconds_quick=20, seconds_full=20,
)  # fmt: skip
IMAGES = Figure(
    runs.PAPER, "condensation-mnist", "Neurons at nine positions of the plane, 45 images of MNIST", compute_images, _draw,
    IMAGE_CLAIMS, seconds_quick=30, seconds_full=150,
)  # fmt: skip

FIGURES = (POINTS, IMAGES)
