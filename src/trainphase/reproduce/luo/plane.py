"""S_w over the plane (gamma, gamma'), on the four points and on images, with its zeros and the critical line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.claims import Claim, Measured, absolute, untestable
from trainphase.reproduce.context import Context
from trainphase.reproduce.luo import runs
from trainphase.reproduce.runner import Figure
from trainphase.reproduce.zhou.runs import crossing
from trainphase.theory import relu2 as theory

if TYPE_CHECKING:
    import xarray

# The paper's plane ends at 1.4; its uppermost zero lies there, so that one column more is needed beyond it.
GAMMA, PRIME = np.round(np.arange(0.6, 1.501, 0.04), 6), np.round(np.arange(-0.4, 0.401, 0.05), 6) + 0.0
QUICK_GAMMA, QUICK_PRIME = np.round(np.arange(0.6, 1.501, 0.1), 6), np.round(np.arange(-0.4, 0.401, 0.1), 6) + 0.0
# gamma of the zeros that an independent program found, by gamma'.
ZEROS = {-0.4: 1.0, -0.3: 1.0, -0.2: 1.0, -0.1: 1.0, 0.0: 1.04, 0.1: 1.135, 0.2: 1.24, 0.3: 1.335, 0.4: 1.39}
IMAGE_GAMMA, IMAGE_PRIME = np.round(np.linspace(0.7, 1.3, 7), 6), np.round(np.linspace(-0.3, 0.3, 5), 6)
QUICK_IMAGE_GAMMA, QUICK_IMAGE_PRIME = np.array([0.7, 0.85, 1.0, 1.15, 1.3]), np.array([-0.3, 0.0, 0.3])
IMAGE_WIDTHS, QUICK_IMAGE_WIDTHS = (1000, 2500, 10000), (250, 1000)
PAPER_IMAGE_WIDTHS = (1000, 10000, 50000, 250000, 400000)


def compute(context: Context) -> xarray.Dataset:
    """23 x 17 points, the paper's widths and three seeds; 10 x 9, widths to 10 000 and one seed when quick."""
    gamma, prime = context.pick(QUICK_GAMMA, GAMMA), context.pick(QUICK_PRIME, PRIME)
    widths = context.pick(runs.WIDTHS[:3], runs.WIDTHS)
    return plane(context, gamma, prime, widths, context.pick(1, 3), accuracy=0.03)


def compute_images(context: Context) -> xarray.Dataset:
    """7 x 5 points of 45 images of MNIST, widths to 10 000, one seed; 5 x 3 and widths 250 and 1000 when quick."""
    gamma, prime = context.pick(QUICK_IMAGE_GAMMA, IMAGE_GAMMA), context.pick(QUICK_IMAGE_PRIME, IMAGE_PRIME)
    widths = context.pick(QUICK_IMAGE_WIDTHS, IMAGE_WIDTHS)
    return plane(context, gamma, prime, widths, 1, data="mnist", size=1, apart=True)


def plane(
    context: Context, gamma: np.ndarray, prime: np.ndarray, widths: Sequence[int], count: int, **options: Any
) -> xarray.Dataset:  # fmt: skip
    """Slopes on a grid, dims (gamma_prime, gamma), and the zeros of every row, measured and by the rule of common growth."""
    import xarray

    points = [(float(g), float(p)) for p in prime for g in gamma]
    found = runs.measured(context, points, widths, count, **options)
    shape, dims = (len(prime), len(gamma)), ("gamma_prime", "gamma")
    variables: dict[str, Any] = {name: (dims, found[name].values.reshape(shape)) for name in ("slope", "slope_se", "theory")}
    variables["zero"] = ("gamma_prime", [crossing(gamma, row) for row in variables["slope"][1]])
    variables["rule"] = ("gamma_prime", [theory.zero_crossing(float(p), widths) for p in prime])
    variables["missed"] = (dims, (found["converged"].values == 0).sum((1, 2)).reshape(shape))
    attrs = {"widths": list(widths), "seeds": count, "largest_error": float(np.nan_to_num(found["error"].values).max())}
    return xarray.Dataset(variables, {"gamma": gamma, "gamma_prime": prime}, attrs)


def _draw(data: Any) -> Any:
    from trainphase.figures import regime

    return regime.slope_map(data)


def _zero(context: Context, prime: float) -> Measured:
    row = context.data().sel(gamma_prime=prime, method="nearest")
    value = float(row["zero"])
    if not np.isfinite(value):
        return untestable(f"S_w has one sign over gamma = {float(row['gamma'][0]):g} ... {float(row['gamma'][-1]):g}")
    return Measured(value, note=f"the rule of common growth over the same widths: {float(row['rule']):.3f}")


def _rule(context: Context) -> Measured:
    data = context.data()
    apart = (data["zero"] - data["rule"]).values
    known = np.isfinite(apart)
    if not known.any():
        return untestable("no row has a zero")
    rows = ", ".join(f"{a:+.3f} at {p:g}" for a, p in zip(apart[known], data["gamma_prime"].values[known], strict=True))
    return Measured(float(np.abs(apart[known]).max()), note=f"measured less rule by gamma': {rows}")


def _wrong(context: Context) -> Measured:
    """Points where S_w has the other sign than theory, among those where theory is away from 0 by more than 0.15."""
    data = context.data()
    slope, exponent = data["slope"].values, data["theory"].values
    clear = (np.abs(exponent) > 0.15) & np.isfinite(slope)
    if not clear.any():
        return untestable("no point away from the boundary has a slope")
    wrong = clear & (np.sign(slope) != np.sign(exponent))
    rows, columns = np.nonzero(wrong)
    at = [f"({data['gamma'].values[j]:g}, {data['gamma_prime'].values[i]:g})" for i, j in zip(rows, columns, strict=True)]
    note = (
        f"of {clear.sum()} points with |theory| > 0.15; widths {', '.join(str(m) for m in np.atleast_1d(data.attrs['widths']))}"
    )
    return Measured(int(wrong.sum()), note=note + (f"; wrong at {', '.join(at)}" if at else ""))


def _images(context: Context) -> Measured:
    found = _wrong(context)
    if found.value is None:
        return found
    most = ", ".join(str(m) for m in PAPER_IMAGE_WIDTHS)
    return Measured(found.value, note=f"{found.note}; the paper went to 400000 ({most})")


def _image_zeros(context: Context) -> Measured:
    """Mean distance of the zeros from the critical line."""
    data = context.data()
    apart = data["zero"].values - theory.critical_gamma(data["gamma_prime"].values)
    known = np.isfinite(apart)
    if not known.any():
        return untestable("no row has a zero")
    rows = ", ".join(f"{a:+.3f} at {p:g}" for a, p in zip(apart[known], data["gamma_prime"].values[known], strict=True))
    return Measured(float(np.abs(apart[known]).mean()), note=f"measured less theory by gamma': {rows}")


MAP = Figure(
    runs.PAPER, "map", "S_w over the plane, four points", compute, _draw,
    (
        *(
            Claim(
                runs.PAPER, "Fig. 1.5", f"gamma where S_w crosses 0 at gamma' = {prime:g}", None,
                absolute(0.05, "how far finite widths and chance shift a zero: S_w changes by 0.5 to 1 per unit of gamma"),
                lambda c, prime=prime: _zero(c, prime), expected=zero,
            )
            for prime, zero in ZEROS.items()
        ),
        Claim(
            runs.PAPER, "Fig. 1.5", "largest distance of a zero from the rule of common growth over the same widths", None,
            absolute(0.05, "the rule knows sizes to a factor of two only, which shifts a zero by this much"), _rule, expected=0.0,
        ),
        Claim(
            runs.PAPER, "Fig. 1.5", "points where S_w has the other sign than its exponent, |exponent| > 0.15", 0.0,
            absolute(0.0, "three times what chance and finite widths leave in a slope"), _wrong,
        ),
    ),
    seconds_quick=20, seconds_full=400,
)  # fmt: skip

MNIST = Figure(
    runs.PAPER, "mnist", "S_w over the plane, 45 images of MNIST", compute_images, _draw,
    (
        Claim(
            runs.PAPER, "Fig. 1.6", "points where S_w has the other sign than its exponent, |exponent| > 0.15", 0.0,
            absolute(0.0, "three times what finite widths leave in a slope"), _images,
        ),
        Claim(
            runs.PAPER, "Fig. 1.6", "mean distance along gamma of the zeros of S_w from the critical line", 0.0,
            absolute(0.1, "two steps of zeros that narrow nets shift; a single random net also must unlearn its own output"),
            _image_zeros,
        ),
    ),
    seconds_quick=40, seconds_full=1200,
)  # fmt: skip

FIGURES = (MAP, MNIST)
