"""The (D, P) model at its random start: Theorem 4.1 with Fig. 12, the nonlinearity ratio (27), the initial curvature.

Each seed is one draw of Q, which serves several draws of (z, J); what is averaged is a seed's mean, and standard errors
are over seeds. Nothing is integrated: derivatives in time are those of ``observables.rates``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import precision
from trainphase.phase import EDGE
from trainphase.reproduce.claims import Claim, Measured, exact, standard_errors
from trainphase.reproduce.context import Context
from trainphase.reproduce.runner import Figure
from trainphase.theory import quadratic as theory

if TYPE_CHECKING:
    import xarray

PAPER = "agarwala"
# Rescaled width of J: the curvature starts near 0.5, as in Fig. 3. No ratio below depends on it.
SIGMA_J = 0.35
STARTS = 4
CHANCE = standard_errors(3.0, "scatter of a mean over seeds: 3 standard errors, chance 1 in 370")
PLAIN = exact("a statement that is true or false")

Case = tuple[int, int, str]


def _draw(case: Case, seed: int, widths: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q of the seed, and z, J of shapes (widths, STARTS, D), (widths, STARTS, D, P), standard."""
    from trainphase.systems.quadratic import draws

    D, P, symmetry = case
    Q, _, _ = draws(D, P, seed, symmetry)
    rng = np.random.Generator(np.random.Philox(key=[seed, 41]))
    shape = (len(widths), STARTS)
    return Q, rng.standard_normal((*shape, D)), rng.standard_normal((*shape, D, P))


def _over_starts(function: Any) -> Any:
    """``function(flow)`` compiled, for (sigma_z, sigma_J, Q, z, J) with two leading axes of sigma_z, z and J."""
    import jax

    from trainphase.systems.quadratic import QuadraticFlow

    def one(sigma_z: Any, sigma_J: Any, Q: Any, z: Any, J: Any) -> Any:
        return function(QuadraticFlow(sigma_z, sigma_J, 1.0, Q, z, J))

    inner = jax.vmap(one, in_axes=(None, None, None, 0, 0))
    return jax.jit(jax.vmap(inner, in_axes=(0, None, None, 0, 0)))


def _rates(flow: Any) -> Any:
    """The curvature's rates, and the eigenvalues of J J^T, which the exact prediction needs."""
    import jax.numpy as jnp

    from trainphase.observables.rates import curvature_rates

    J = flow.J0()
    return curvature_rates(flow, flow.init())._asdict() | {"spectrum": jnp.linalg.eigvalsh(J @ J.T)}


def _terms(flow: Any) -> Any:
    """Squares of the first-order and the second-order term of a step of gradient descent, step size 1."""
    import jax.numpy as jnp

    z, J = flow.init()
    u = J.T @ z
    return {"linear": jnp.sum(jnp.square(J @ u)), "nonlinear": jnp.sum(jnp.square(0.5 * flow.along(u) @ u))}


def measure(context: Context, function: Any, cases: Sequence[Case], widths: Sequence[float], seeds: int) -> xarray.Dataset:
    """Means over the starts of each seed: variables of dims (case, sigma_z, seed).

    Where ``function`` gives the spectrum of J J^T, ``predicted`` is E[lambda''(0) | J], exact at any size.
    """
    import xarray

    compiled = _over_starts(function)
    found: dict[str, np.ndarray] = {}
    context.progress.start(len(cases) * seeds, 0)
    with precision("float64"):
        for c, case in enumerate(cases):
            for k, seed in enumerate(context.seeds(seeds)):
                Q, z, J = _draw(case, seed, widths)
                got = compiled(np.asarray(widths, float), SIGMA_J, Q, z, J)
                if "spectrum" in got:
                    std = np.asarray(widths)[:, None] / case[0]
                    spectrum = np.asarray(got.pop("spectrum"))
                    got["predicted"] = theory.second_derivative(spectrum, std, case[1], case[2])
                for name, value in got.items():
                    shape = (len(cases), len(widths), seeds)
                    found.setdefault(name, np.full(shape, np.nan))[c, :, k] = np.asarray(value).mean(1)
                context.progress.advance(1)
    context.progress.close()
    sizes = np.asarray([case[:2] for case in cases])
    coords = {
        "sigma_z": ("sigma_z", np.asarray(widths, float), {"long_name": "rescaled width of the residuals"}),
        "D": ("case", sizes[:, 0]), "P": ("case", sizes[:, 1]), "symmetry": ("case", [case[2] for case in cases]),
    }  # fmt: skip
    variables = {name: (("case", "sigma_z", "seed"), value) for name, value in found.items()}
    return xarray.Dataset(variables, coords, {"sigma_J": SIGMA_J, "starts": STARTS})


def most_frequent(codes: np.ndarray) -> Measured:
    """The most frequent label of the edge vocabulary among phase codes, with its share."""
    shares = EDGE.fractions(codes)
    label = max(shares, key=lambda name: shares[name])
    return Measured(label, note=f"{100 * shares[label]:.0f} % of {codes.size} seeds")


def ratio(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """The ratio of two means over seeds and its standard error, to first order in the scatter."""
    value = float(above.mean() / below.mean())
    return value, float((above - value * below).std(ddof=1) / np.sqrt(above.size) / below.mean())


# --- Fig. 12 ------------------------------------------------------------------------------------------------

WIDTHS = (0.03, 0.1, 0.3, 1.0)


def compute_12(context: Context) -> xarray.Dataset:
    """E[lambda''(0)] over sigma_z for several (D, P): each seed's mean and the predictions."""
    small: list[Case] = [(10, 20, "sym1"), (20, 20, "sym1"), (20, 40, "sym1"), (40, 20, "sym1")]
    cases = small + context.pick([], [(60, 120, "sym1"), (120, 60, "sym1")])
    data = measure(context, _rates, cases, WIDTHS, context.pick(100, 300))
    return with_predictions(data)


def with_predictions(data: xarray.Dataset) -> xarray.Dataset:
    """The data with ``std_z`` = sigma_z / D and with ``corrected`` and ``printed``, the two predictions of E[lambda'']."""
    start = data["curvature"].mean(("seed", "sigma_z")).values
    D, P = data["D"].values, data["P"].values
    std = data["sigma_z"].values / D[:, None]
    ours = [
        theory.sharpening_ratio(std[k], D[k], P[k], str(symmetry), finite=True) * start[k]
        for k, symmetry in enumerate(data["symmetry"].values)
    ]
    printed = theory.paper_sharpening_ratio(std) * start[:, None]
    dims = ("case", "sigma_z")
    return data.assign(std_z=(dims, std), corrected=(dims, np.stack(ours)), printed=(dims, printed))


def _slope(context: Context) -> Measured:
    """The common slope of log E[lambda''] against log sigma_z, weighted by the standard errors."""
    data = context.data()
    second = data["second"]
    mean = second.mean("seed").values
    error = second.std("seed", ddof=1).values / np.sqrt(second.sizes["seed"])
    # The logarithm of a mean that is within 4 of its errors of zero is not Gaussian: such points are left out.
    clear = mean > 4 * error
    x = np.broadcast_to(np.log(data["sigma_z"].values), mean.shape)
    weight = np.where(clear, (mean / error) ** 2, 0.0)
    y = np.where(clear, np.log(np.where(clear, mean, 1.0)), 0.0)
    x = x - (weight * x).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
    total = (weight * x * x).sum()
    note = f"{int(clear.sum())} of {clear.size} means, those more than 4 standard errors above zero"
    return Measured((weight * x * y).sum() / total, total**-0.5, note)


def _over_exact(context: Context) -> Measured:
    """E[lambda''] over its exact prediction from the same J, each mean weighted by its error."""
    data = context.data()
    found = [
        ratio(data["second"].values[c, k], data["predicted"].values[c, k])
        for c in range(data.sizes["case"]) for k in range(data.sizes["sigma_z"])
    ]  # fmt: skip
    values, errors = np.asarray(found).T
    # A width shares Q with the other widths of its line, so errors of one line are added as if they were the same.
    weights = errors**-2 / (errors**-2).sum()
    error = np.sqrt(np.sum(np.sum((weights * errors).reshape(data["second"].shape[:2]), axis=1) ** 2))
    off = np.abs((values - 1) / errors).max()
    return Measured((weights * values).sum(), error, f"{values.size} means, the farthest {off:.1f} standard errors off")


def _draw_12(data: Any) -> Any:
    from trainphase.figures import many_data

    return many_data.sharpening(data)


FIGURE_12 = Figure(
    PAPER, "12", "second derivative of the curvature at the start", compute_12, _draw_12,
    (
        Claim(
            PAPER, "Fig. 12", "Slope of log E[lambda''(0)] against log sigma_z.", 2.0, CHANCE, _slope,
        ),
        Claim(
            PAPER, "Fig. 12", "E[lambda''(0)] over its exact mean given the spectrum of J J^T, all sizes.", None, CHANCE,
            _over_exact, expected=1.0,
        ),
    ),
    seconds_quick=9, seconds_full=200,
)  # fmt: skip


# --- Theorem 4.1 --------------------------------------------------------------------------------------------

THEOREM_CASES: tuple[Case, ...] = (
    (60, 120, "sym1"), (120, 60, "sym1"), (120, 120, "sym1"), (60, 120, "symh"), (60, 120, "iid"),
)  # fmt: skip
THEOREM_WIDTH = 1.0


def compute_theorem(context: Context) -> xarray.Dataset:
    """Rates of the curvature at the start, at the sizes that the theorem is checked at."""
    data = measure(context, _rates, THEOREM_CASES, (THEOREM_WIDTH,), context.pick(40, 300))
    return with_predictions(data)


def _over_corrected(context: Context, case: int) -> tuple[float, float, float]:
    """Measured E[lambda'']/E[lambda] over the corrected constant, its standard error, and the paper's over ours."""
    data = context.data().isel(case=case, sigma_z=0)
    value, error = ratio(data["second"].values, data["curvature"].values)
    D, P, symmetry = THEOREM_CASES[case]
    ours = theory.sharpening_ratio(THEOREM_WIDTH / D, D, P, symmetry, finite=True)
    return value / ours, error / ours, theory.paper_sharpening_ratio(THEOREM_WIDTH / D) / ours


def _measured_ratio(context: Context, case: int) -> Measured:
    value, error, _ = _over_corrected(context, case)
    return Measured(value, error, f"{context.data().sizes['seed']} seeds, {STARTS} starts each")


def _excluded(context: Context, case: int) -> Measured:
    value, error, printed = _over_corrected(context, case)
    return Measured(abs(value - printed) > 20 * error, note=f"{abs(value - printed) / error:.0f} standard errors")


def _first(context: Context, case: int) -> Measured:
    data = context.data().isel(case=case, sigma_z=0)
    value, error = ratio(data["first"].values, data["curvature"].values)
    return Measured(value, error)


def _over_146(context: Context) -> Measured:
    value, error, _ = _over_corrected(context, 0)
    factor = _corrected_over(lambda s, D, P: _ratio_146(s, D, P))
    return Measured(value * factor, error * factor)


def _over_diagonal(context: Context) -> Measured:
    value, error, _ = _over_corrected(context, 0)
    factor = _corrected_over(theory.diagonal_sharpening_ratio)
    return Measured(value * factor, error * factor)


def _ratio_146(std_z: float, D: int, P: int) -> float:
    """(146) over the limit of E[lambda]."""
    return float(theory.paper_second_derivative(std_z, 1.0, D, P) / theory.top_eigenvalue(1.0, D, P))


def _corrected_over(other: Any) -> float:
    """The corrected constant over another one, at the first size."""
    D, P, symmetry = THEOREM_CASES[0]
    std = THEOREM_WIDTH / D
    return float(theory.sharpening_ratio(std, D, P, symmetry, finite=True) / other(std, D, P))


def _theorem_claims() -> tuple[Claim, ...]:
    claims = []
    factor = {"sym1": "2P(D+1)", "symh": "P(D+1)", "iid": "2PD"}
    for k, (D, P, symmetry) in enumerate(THEOREM_CASES):
        at = f"at ({D}, {P}), {symmetry}"
        ours = theory.sharpening_ratio(1.0, D, P, symmetry, finite=True)
        lost = "(23) and (147) print sigma_z^2: the factor D P (twice that for sym1 and iid) is missing"
        claims += [
            Claim(
                PAPER, "Theorem 4.1", f"E[lambda''(0)]/E[lambda(0)] over {factor[symmetry]} sigma_z^2 {at}.",
                1.0 / float(ours), CHANCE, partial(_measured_ratio, case=k), expected=1.0, correction=lost,
            ),
            Claim(
                PAPER, "Theorem 4.1", f"E[lambda'(0)]/E[lambda(0)] per step {at}.", 0.0, CHANCE, partial(_first, case=k),
            ),
        ]  # fmt: skip
        if symmetry == "sym1":
            claims.append(Claim(
                PAPER, "Theorem 4.1", f"The printed constant is excluded by more than 20 standard errors {at}.", None, PLAIN,
                partial(_excluded, case=k), expected=True,
            ))  # fmt: skip
    half = "(146) is the constant of Q = (A + A^T)/2; with off-diagonal variance 1 it is twice that"
    claims.append(Claim(
        PAPER, "(146)", "E[lambda''(0)] over the printed one, at (60, 120), sym1.", 1.0, CHANCE, _over_146,
        expected=_corrected_over(_ratio_146), correction=half,
    ))  # fmt: skip
    turning = "the steps keep the diagonal of J' only; the turning of the singular vectors is larger by a factor of order D"
    claims.append(Claim(
        PAPER, "(137)-(145)", "E[lambda''(0)] over what the displayed steps give, at (60, 120), sym1.", 1.0, CHANCE,
        _over_diagonal, expected=_corrected_over(theory.diagonal_sharpening_ratio), correction=turning,
    ))  # fmt: skip
    return tuple(claims)


THEOREM = Figure(
    PAPER, "theorem4.1", "sharpening at the start, E[lambda''(0)]/E[lambda(0)]", compute_theorem, None, _theorem_claims(),
    seconds_quick=15, seconds_full=100,
)  # fmt: skip


# --- r_NL ---------------------------------------------------------------------------------------------------

RATIO_CASES: tuple[Case, ...] = (
    (60, 120, "sym1"), (60, 120, "symh"), (60, 120, "iid"), (60, 30, "sym1"), (60, 30, "symh"), (60, 30, "iid"),
)  # fmt: skip
RATIO_WIDTH = 1.0


def compute_ratio(context: Context) -> xarray.Dataset:
    """Squares of both terms of a step at the start."""
    return measure(context, _terms, RATIO_CASES, (RATIO_WIDTH,), context.pick(60, 400))


def _nonlinearity(context: Context, case: int) -> Measured:
    data = context.data().isel(case=case, sigma_z=0)
    value, error = ratio(data["nonlinear"].values, data["linear"].values)
    return Measured(value**0.5, 0.5 * error / value**0.5)


def _linear(context: Context, case: int) -> Measured:
    data = context.data().isel(case=case, sigma_z=0)
    D, P, _ = RATIO_CASES[case]
    std_z, std_J = theory.widths(RATIO_WIDTH, SIGMA_J, D, P)
    unit = std_z**2 * std_J**4 * D * P**2
    values = data["linear"].values / unit
    return Measured(values.mean(), values.std(ddof=1) / np.sqrt(values.size))


def _numerator(context: Context, case: int) -> Measured:
    """E|Q(J^T z, J^T z)|^2 over the leading order that is printed."""
    data = context.data().isel(case=case, sigma_z=0)
    D, P, _ = RATIO_CASES[case]
    std_z, std_J = theory.widths(RATIO_WIDTH, SIGMA_J, D, P)
    values = 4 * data["nonlinear"].values / (std_z**4 * std_J**4 * D**3 * P**2)
    return Measured(values.mean(), values.std(ddof=1) / np.sqrt(values.size))


def _ratio_claims() -> tuple[Claim, ...]:
    claims = []
    why = "(149)-(151) drop the term D^2 P of E|J J^T z|^2, and a symmetric Q of off-diagonal variance 1 adds a factor 2"
    for k, (D, P, symmetry) in enumerate(RATIO_CASES):
        std = RATIO_WIDTH / D
        claims.append(Claim(
            PAPER, "(27)", f"r_NL at rescaled sigma_z = 1, ({D}, {P}), {symmetry}.", theory.paper_r_NL(std, D), CHANCE,
            partial(_nonlinearity, case=k), expected=theory.r_NL(std, D, P, symmetry=symmetry, finite=True), correction=why,
        ))  # fmt: skip
    for k in (0, 3):
        D, P, _ = RATIO_CASES[k]
        claims.append(Claim(
            PAPER, "(151)", f"E|J J^T z|^2 over sigma_z^2 sigma_J^4 D P^2 at ({D}, {P}).", 1.0, CHANCE,
            partial(_linear, case=k), expected=(P + D + 1) / P, correction="the mean is sigma_z^2 sigma_J^4 D P (P + D + 1)",
        ))  # fmt: skip
    more = "E|J^T z|^4 is sigma_z^4 sigma_J^4 D (D+2) P (P+2); a symmetric Q of off-diagonal variance 1 doubles what follows"
    for k, (D, P, symmetry) in enumerate(RATIO_CASES[:3]):
        claims.append(Claim(
            PAPER, "(157)", f"E|Q(J^T z, J^T z)|^2 over sigma_z^4 sigma_J^4 D^3 P^2 at ({D}, {P}), {symmetry}.", 1.0, CHANCE,
            partial(_numerator, case=k), expected=(2 if symmetry == "sym1" else 1) * (D + 2) * (P + 2) / (D * P),
            correction=more,
        ))  # fmt: skip
    return tuple(claims)


NONLINEARITY = Figure(
    PAPER, "nonlinearity", "the nonlinearity ratio of a step, r_NL", compute_ratio, None, _ratio_claims(),
    seconds_quick=9, seconds_full=50,
)  # fmt: skip

FIGURES = (FIGURE_12, THEOREM, NONLINEARITY)
