"""App. C.1: two averages that the proof of Theorem 4.1 displays, (139) and (144), of the largest singular value of J.

Of the two, (139) holds for elements of Q that are all independent, and (144) for a symmetric Q; the steps between them leave
out that the singular vectors turn, which ``theorem4.1`` measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase.reproduce.agarwala.many_data_start import CHANCE, PAPER, SIGMA_J, measure, ratio
from trainphase.reproduce.claims import Claim, Measured
from trainphase.reproduce.runner import Figure
from trainphase.theory import quadratic as theory

if TYPE_CHECKING:
    import xarray

    from trainphase.reproduce.agarwala.many_data_start import Case
    from trainphase.reproduce.context import Context

D, P = 20, 40
CASES: tuple[Case, ...] = ((D, P, "iid"), (D, P, "sym1"))
WIDTH = 1.0


def _singular(flow: Any) -> Any:
    """sigma'^2, sigma times J'' between the singular vectors, and sigma^2, of the largest singular value; flow of step size 1."""
    import jax
    import jax.numpy as jnp

    def velocity(state: Any) -> Any:
        return flow.velocity(jnp.zeros(()), state)

    state = flow.init()
    first, second = jax.jvp(velocity, (state,), (velocity(state),))
    levels, modes = jnp.linalg.eigh(state.J @ state.J.T)
    left, size = modes[:, -1], jnp.sqrt(levels[-1])
    right = left @ state.J / size
    return {"speed": jnp.square(left @ first.J @ right), "bend": size * (left @ second.J @ right), "square": levels[-1]}


def compute(context: Context) -> xarray.Dataset:
    """Means over the starts of each seed."""
    return measure(context, _singular, CASES, (WIDTH,), context.pick(300, 2000))


def _speed(context: Context) -> Measured:
    values = context.data()["speed"].isel(case=0, sigma_z=0).values
    std_z, std_J = theory.widths(WIDTH, SIGMA_J, D, P)
    values = values / (D * P * std_J**2 * std_z**2)
    return Measured(values.mean(), values.std(ddof=1) / np.sqrt(values.size), f"{values.size} seeds; Q without symmetry")


def _bend(context: Context) -> Measured:
    data = context.data().isel(case=1, sigma_z=0)
    std_z, _ = theory.widths(WIDTH, SIGMA_J, D, P)
    value, error = ratio(data["bend"].values, P * std_z**2 * data["square"].values)
    note = f"{data.sizes['seed']} seeds; symmetric Q, for which the mean is (P + 1)/P = {1 + 1 / P:g}; without symmetry it is 1/P"
    return Measured(value, error, note)


PROOF = Figure(
    PAPER, "C.1", "two displayed averages of the proof of Theorem 4.1", compute, None,
    (
        Claim(PAPER, "(139)", f"E[sigma'^2] over D P sigma_J^2 sigma_z^2 at ({D}, {P}).", 1.0, CHANCE, _speed),
        Claim(PAPER, "(142)-(144)", f"E[sigma sigma''] by the diagonal of J'' over P sigma_z^2 E[sigma^2] at ({D}, {P}).", 1.0,
              CHANCE, _bend),
    ),
    seconds_quick=5, seconds_full=25,
)  # fmt: skip

FIGURES = (PROOF,)
