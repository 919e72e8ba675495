"""Items of Luo et al. that need no training: the table of initialisations, and the diagram of the theory.

Weights are drawn from the definitions of the initialisations, measured, and located; the columns of the table are typed
from the paper (alpha, beta1, beta2, kappa, kappa', gamma, gamma'), m neurons and d inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.location import Location, locate
from trainphase.reproduce.claims import Claim, Measured, absolute, exact, largest, standard_errors
from trainphase.reproduce.context import Context
from trainphase.reproduce.luo import theory_map
from trainphase.reproduce.runner import Figure
from trainphase.theory import relu2

if TYPE_CHECKING:
    import xarray

PAPER = "luo"
INPUTS = 10
# A scale for E et al., whose beta is free: beta = m^-BETA.
BETA = 0.75
WIDTHS, QUICK = (1000, 10_000, 100_000, 1_000_000), (1000, 3000, 10_000, 30_000)


@dataclass(frozen=True)
class Row:
    """A row of Table 1.1: kappa and kappa' as functions of (m, d), and the limits gamma and gamma'."""

    name: str
    text: str
    kappa: Callable[[float, float], float]
    kappa_prime: Callable[[float, float], float]
    limit: tuple[float, float]


ROWS = (
    Row("lecun", "LeCun", lambda m, d: math.sqrt(1 / (m * d)), lambda m, d: math.sqrt(d / m), (0.5, 0.5)),
    Row("he", "He", lambda m, d: math.sqrt(4 / (m * d)), lambda m, d: math.sqrt(d / m), (0.5, 0.5)),
    Row(
        "xavier", "Xavier", lambda m, d: math.sqrt(4 / ((m + 1) * (m + d))), lambda m, d: math.sqrt((m + d) / (m + 1)),
        (1.0, 0.0),
    ),
    Row("ntk", "NTK", lambda m, d: math.sqrt(1 / m), lambda m, d: 1.0, (0.5, 0.0)),
    Row("mean-field", "Mean-field", lambda m, d: 1 / m, lambda m, d: 1.0, (1.0, 0.0)),
    Row("e", "E et al.", lambda m, d: m**-BETA, lambda m, d: m**-BETA, (BETA, BETA)),
)  # fmt: skip


def _there(name: str, m: int, inputs: int = INPUTS) -> Location:
    """Where the initialisation lies, from its definition."""
    found = locate(name, width=m, inputs=inputs, beta=float(m) ** -BETA if name == "e" else None)
    assert isinstance(found, Location)
    return found


def drawn(name: str, m: int, rng: np.random.Generator) -> Location:
    """Where weights lie that are drawn from the definition of the initialisation, as they are measured."""
    scales = _there(name, m).scales
    weights = [scales["beta2"] * rng.standard_normal((INPUTS, m)), scales["beta1"] * rng.standard_normal((m, 1))]
    found = locate(model=weights, alpha=scales["alpha"])
    assert isinstance(found, Location)
    return found


def compute(context: Context) -> xarray.Dataset:
    """kappa, kappa', gamma, gamma' of drawn weights over (init, width, seed), and the exact ones over a longer ladder."""
    import xarray

    widths, seeds = context.pick(QUICK, WIDTHS), context.pick(4, 8)
    names = ("kappa", "kappa_prime", "gamma", "gamma_prime")
    values = np.empty((len(names), len(ROWS), len(widths), seeds))
    for i, row in enumerate(ROWS):
        for j, m in enumerate(widths):
            for k in range(seeds):
                found = drawn(row.name, m, np.random.default_rng([context.seed, k, i, m]))
                values[:, i, j, k] = [getattr(found, name) for name in names]
    long = np.array([10**k for k in range(2, 13)])
    exact_ = [[[getattr(_there(row.name, int(m)), name) for m in long] for row in ROWS] for name in names[2:]]
    dims = ("init", "width", "seed")
    return xarray.Dataset(
        {
            **{name: (dims, v) for name, v in zip(names, values, strict=True)},
            **{f"{name}_exact": (("init", "long_width"), v) for name, v in zip(names[2:], exact_, strict=True)},
            **{f"{name}_limit": ("init", [row.limit[i] for row in ROWS]) for i, name in enumerate(names[2:])},
        },
        {"init": [row.name for row in ROWS], "width": list(widths), "long_width": long.astype(float)},
        {"inputs": INPUTS, "beta_power": BETA},
    )


def _draw(data: Any) -> Any:
    from trainphase.figures import initialisation

    return initialisation.table(data)


# --- what is measured ---------------------------------------------------------------------------------------


def _column(context: Context, i: int, name: str) -> Measured:
    """kappa or kappa' of drawn weights over the formula of the table, at the largest width: mean over seeds."""
    data = context.data()
    m, values = int(data["width"][-1]), data[name].values[i, -1]
    formula = getattr(ROWS[i], name)(m, INPUTS)
    # Relative errors of root mean squares of m and of m d numbers; those of kappa and of kappa' are the same.
    error = math.sqrt((1 / m + 1 / (m * INPUTS)) / 2 / values.size)
    return Measured(float(values.mean() / formula), error, f"m = {m}, d = {INPUTS}, {values.size} draws")


def _power(context: Context, i: int, name: str) -> Measured:
    """-d ln kappa / d ln m (or of kappa') of drawn weights, by least squares: a constant factor drops out."""
    data = context.data()
    x = np.log(data["width"].values)
    each = np.polyfit(x, -np.log(data[name].values[i]), 1)[0]
    error = float(each.std(ddof=1) / math.sqrt(each.size))
    first, *_, last = data["width"].values
    return Measured(float(each.mean()), error, f"widths {first} to {last}, {each.size} draws")


def _of_beta(context: Context) -> Measured:
    """Which scale gives gamma' of E et al."""
    found = _power(context, len(ROWS) - 1, "kappa_prime")
    fits = abs(found.value - BETA) <= 0.02
    note = f"with beta = m^-{BETA:g}, kappa' of drawn weights goes as m^-{found.value:.4f}"
    return Measured("lim ln(1/beta) / ln m" if fits else "neither", note=note)


def _finite(context: Context) -> Measured:
    """The largest difference of gamma and gamma' by ``locate`` from the table's formulas, at m = 1e5 and d = 784."""
    m, d, worst = 100_000, 784, 0.0
    for row in ROWS:
        place = _there(row.name, m, d)
        for found, formula in ((place.gamma, row.kappa), (place.gamma_prime, row.kappa_prime)):
            worst = largest(worst, abs(found + math.log(formula(m, d)) / math.log(m)))
    return Measured(worst)


def _limits(context: Context) -> Measured:
    """The largest distance of gamma or gamma' from its limit at a width of 1e200 and 784 inputs."""
    worst, at = 0.0, ""
    for row in ROWS:
        place = _there(row.name, 10**200, 784)
        apart = largest(abs(place.gamma - row.limit[0]), abs(place.gamma_prime - row.limit[1]))
        worst, at = largest(worst, apart), at if apart <= worst else row.text
    return Measured(worst, note=f"farthest: {at}; it is ln(d) / (2 ln m) to lowest order")


def _always_linear(context: Context) -> Measured:
    """Powers of beta in [0, 3], drawn at a width of 1e4, that do not lie on the linear side of the boundary."""
    rng, wrong = np.random.default_rng(context.seed), 0
    powers = np.linspace(0.0, 3.0, 13)
    for power in powers:
        m = 10_000
        found = locate(model=[rng.standard_normal((INPUTS, m)), float(m) ** -power * rng.standard_normal((m, 1))])
        assert isinstance(found, Location)
        wrong += relu2.regime(found.gamma, found.gamma_prime) != "linear"
    return Measured(wrong, note=f"{powers.size} powers from 0 to 3")


TABLE = "Table 1.1"
CHANCE = "the error of root mean squares of m and m d Gaussian numbers; chance beyond: 1 in 16 000"
SLOW = "corrections d / m and 1 / m of the smallest width, and chance of 4 draws there"
COLUMNS = {"kappa": "kappa", "kappa_prime": "kappa'"}

CLAIMS = (
    *(
        Claim(
            PAPER, TABLE, f"{row.text}: {COLUMNS[name]} of drawn weights over the table's formula", 1.0,
            standard_errors(4, CHANCE), lambda c, i=i, name=name: _column(c, i, name),
        )
        for i, row in enumerate(ROWS) for name in COLUMNS
    ),
    *(
        Claim(
            PAPER, TABLE, f"{row.text}: {word} = -d ln {COLUMNS[name]} / d ln m of drawn weights"
            + (f", beta = m^-{BETA:g}" if row.name == "e" else ""), row.limit[j],
            absolute(0.02, SLOW), lambda c, i=i, name=name: _power(c, i, name),
        )
        for i, row in enumerate(ROWS) for j, (name, word) in enumerate(zip(COLUMNS, ("gamma", "gamma'"), strict=True))
        if (row.name, j) != ("e", 1)
    ),
    Claim(
        PAPER, TABLE, "E et al.: gamma'", "lim ln(1/beta') / ln m", exact("a formula"), _of_beta,
        expected="lim ln(1/beta) / ln m", correction="the table's own column has kappa' = beta, and it defines no beta'",
    ),
    Claim(
        PAPER, TABLE, "gamma and gamma' of locate against the table's formulas at m = 1e5, d = 784: largest difference", None,
        absolute(1e-12, "rounding of logarithms"), _finite, expected=0.0,
    ),
    Claim(
        PAPER, TABLE, "gamma and gamma' at m = 1e200, d = 784: largest distance from the limits", 0.0,
        absolute(0.02, "ln(784) / (2 ln 1e200) = 0.007"), _limits,
    ),
    Claim(
        PAPER, "Fig. 1.2", "E et al. lies in the linear regime, whatever beta: exceptions", 0.0,
        absolute(0.0, "gamma = gamma' is at distance 1 from the boundary, chance moves it by 0.001"), _always_linear,
    ),
)  # fmt: skip

FIGURES = (
    Figure(PAPER, "table", "Initialisations and their scales", compute, _draw, CLAIMS, seconds_quick=2, seconds_full=40),
    theory_map.FIGURE,
)
