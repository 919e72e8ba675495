"""The derivatives of the curvature in time, against runs of the flow itself and against a case done by hand."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainphase.observables.rates import curvature_rates
from trainphase.system import Flow
from trainphase.systems.quadratic import TangentHierarchy, quadratic


@jax.jit
def advance(system: Flow, x, step):
    """One step of the classical method of fourth order, without the ODE solver."""

    def add(scale, v):
        return jax.tree.map(lambda a, b: a + scale * b, x, v)

    def rate(y):
        return system.velocity(jnp.zeros(()), y)

    k1 = rate(x)
    k2 = rate(add(step / 2, k1))
    k3 = rate(add(step / 2, k2))
    k4 = rate(add(step, k3))
    return add(step, jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4))


rates_of = jax.jit(curvature_rates)


def runge_kutta(system: Flow, state, step: float, count: int):
    """States of the flow after 0 .. ``count`` steps."""
    states = [state]
    for _ in range(count):
        states.append(advance(system, states[-1], step))
    return states


@pytest.mark.parametrize(("D", "P", "symmetry"), [(6, 9, "sym1"), (9, 6, "symh"), (7, 7, "iid")])
def test_equals_differences_along_the_flow(D, P, symmetry):
    flow = quadratic(D=D, P=P, sigma_z=0.6, sigma_J=0.9, symmetry=symmetry, flow="true", seed=4)
    middle = runge_kutta(flow, flow.init(), 0.02, 10)[-1]  # away from the start, where nothing is special
    rates = rates_of(flow, middle)
    errors = []
    for step in (2e-2, 1e-2):
        forth, back = (runge_kutta(flow, middle, s, 2) for s in (step, -step))
        near = [float(flow.curvature(s)) for s in (back[2], back[1], middle, forth[1], forth[2])]
        first = (near[0] - 8 * near[1] + 8 * near[3] - near[4]) / (12 * step)
        second = (-near[0] + 16 * near[1] - 30 * near[2] + 16 * near[3] - near[4]) / (12 * step**2)
        errors.append([abs(first - float(rates.first)), abs(second - float(rates.second))])
    np.testing.assert_allclose(float(rates.curvature), float(flow.curvature(middle)), rtol=1e-13)  # rounding
    # Five points: errors fall as the fourth power of the step, down to rounding over its square (about 1e-10).
    scale = abs(float(rates.second)) + float(rates.curvature)
    assert max(errors[1]) < 1e-4 * scale
    fell = np.log2(np.asarray(errors[0]) / np.asarray(errors[1]))
    assert np.all((fell > 3.5) | (np.asarray(errors[1]) < 1e-9 * scale)), (fell, errors)


def test_the_turning_of_the_top_mode_counts():
    """Without level repulsion the second derivative would be another one: the test above can tell."""
    flow = quadratic(D=12, P=24, sigma_z=0.6, sigma_J=0.9, flow="true", seed=1)
    rates = rates_of(flow, flow.init())
    state = flow.init()
    v = flow.top_mode(state)
    step = 1e-3
    frozen = []
    for s in (-step, 0.0, step):
        J = np.asarray(runge_kutta(flow, state, s, 1)[1].J if s else state.J)
        frozen.append(float(np.sum(np.square(np.asarray(v) @ J))))
    bend = (frozen[0] - 2 * frozen[1] + frozen[2]) / step**2
    assert float(rates.second) > bend + 0.3 * abs(float(rates.second))


def test_batches_equal_one_by_one():
    flows = [quadratic(D=5, P=8, flow="true", seed=seed) for seed in range(3)]
    together = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x, float) for x in leaves]), *flows)
    got = jax.jit(jax.vmap(lambda s: curvature_rates(s, s.init())))(together)
    for k, flow in enumerate(flows):
        alone = rates_of(flow, flow.init())
        for name in alone._fields:
            # Rounding of matrix products taken in another order, and of the smallest gap between levels.
            np.testing.assert_allclose(float(getattr(got, name)[k]), float(getattr(alone, name)), rtol=1e-9, atol=1e-12)


def test_other_kernels():
    """The tangent hierarchy keeps its kernel in the state; at the start its curvature changes as the model's does."""
    flow = quadratic(D=6, P=9, sigma_z=0.6, sigma_J=0.9, flow="true", seed=4)
    cut = TangentHierarchy(flow)
    mine = curvature_rates(cut, cut.init(), lambda s, x: s.model.lr * x[1])
    whole = rates_of(flow, flow.init())
    np.testing.assert_allclose([mine.curvature, mine.first], [whole.curvature, whole.first], rtol=1e-11)  # rounding
    assert abs(mine.second - whole.second) > 1e-3 * abs(whole.second)


def test_one_mode_by_hand():
    """D = P = 1: z' = -J^2 z, J' = -Q J z; K = J^2, K' = -2 Q J^2 z, K'' = 4 Q^2 J^2 z^2 + 2 Q J^4 z."""
    flow = quadratic(D=1, P=1, flow="true")
    fields = {f.name for f in dataclasses.fields(flow)}
    assert {"Q", "lr"} <= fields
    z, J, Q = float(flow.z0()[0]), float(flow.J0()[0, 0]), float(flow.Q[0, 0])
    got = rates_of(flow, flow.init())
    by_hand = [J**2, -2 * Q * J**2 * z, 4 * Q**2 * J**2 * z**2 + 2 * Q * J**4 * z]
    np.testing.assert_allclose([float(x) for x in got], by_hand, rtol=1e-12)  # rounding
