"""RD(W1) against the width along gamma2 = 0: its slope grows with gamma3 and passes 0 at 3/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, exact
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure
from trainphase.reproduce.zhou import runs

if TYPE_CHECKING:
    import xarray

GAMMA3 = (0.9, 1.5, 2.1)
WIDTHS = (100, 1000, 2000, 5000, 10000)
QUICK = (100, 250, 1000)
WHERE = "RD against width"
FINITE = "powers of the smallest widths, and few active neurons there; the same 0.1 holds for all exponents of the diagram"


def compute(context: Context) -> xarray.Dataset:
    """Three points: the paper's widths and three seeds; to 1000 and two seeds when quick."""
    points = [(gamma3, 0.0) for gamma3 in GAMMA3]
    return runs.with_slopes(runs.distances(context, points, context.pick(QUICK, WIDTHS), context.pick(2, 3)))


def _draw(data: Any) -> Any:
    from trainphase.figures import three_layer

    return three_layer.distances(data)


def _grows(context: Context) -> Measured:
    """Whether the slopes of W1 increase with gamma3 and the middle one is nearest to 0."""
    slope = context.data()["slope"].values[:, 0]
    words = ", ".join(f"{s:+.3f} at gamma3 = {g:g}" for g, s in zip(GAMMA3, slope, strict=True))
    return Measured(bool(slope[0] < slope[1] < slope[2] and slope[0] < 0 < slope[2] and np.abs(slope).argmin() == 1), note=words)


CLAIMS = (
    Claim(
        runs.PAPER, WHERE, "RD(W1) falls with the width below gamma3 = 3/2, keeps its size there and grows above", True,
        exact("signs of three slopes that lie 0.2 and more apart"), _grows,
    ),
    *(
        Claim(
            runs.PAPER, WHERE, f"slope of ln RD(W1) against ln m at gamma3 = {gamma3:g}, gamma2 = 0", paper,
            absolute(0.1, FINITE), lambda c, k=k: runs.measured_slope(c.data(), k, 0), expected=ours,
        )
        for k, (gamma3, paper, ours) in enumerate(zip(GAMMA3, (None, 0.0, None), (-0.6, None, 0.2), strict=True))
    ),
)  # fmt: skip

FIGURE = Figure(
    runs.PAPER, "distance", "Relative distance of W1 against the width", compute, _draw, CLAIMS,
    seconds_quick=25, seconds_full=2500,
)  # fmt: skip
