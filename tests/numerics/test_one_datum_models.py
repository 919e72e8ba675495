"""Quadratic regression on one datum, and the linear net: one dynamics written several ways, against plain NumPy.

The right side of each comparison is plain NumPy in the original parameters: no eigenbasis, no Jacobian recursion.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from watching import EPS, STEPS, Array, watch

import trainphase as tp
from trainphase._arrays import as_leaves
from trainphase.errors import RequestError
from trainphase.phase import EDGE
from trainphase.records import Recipe, answer
from trainphase.systems import LinearNet, Quadratic1D
from trainphase.systems.quadratic_1d import Quadratic1DParameters, Quadratic1DPlane, mode_weights, quadratic_1d

# --- one datum ----------------------------------------------------------------------------------------------


def by_modes(c: Array, w: Array, E: float, noise: np.random.Generator | None = None) -> tuple[Array, Array]:
    """z~ and T of the recursion in 80-bit numbers; with ``noise``, every step adds a rounding error of 53-bit numbers.

    z~ is taken from the conserved quantity, so its error is that of the largest term and not of z~ itself.
    """
    c = np.asarray(c, np.longdouble)
    w = np.asarray(w, np.longdouble)
    use = w != 0
    out = []
    for _ in range(STEPS + 1):
        terms = c[use] ** 2 / w[use]
        z = 0.5 * (terms.sum() - E)
        if noise is not None:
            z = z + EPS * (np.abs(terms).sum() + abs(E)) * noise.standard_normal()
            c = c * (1 + EPS * noise.standard_normal(c.size))
        out.append((z, (c**2).sum()))
        c = c * (1 - w * z)
    z_all, T_all = np.array(out, np.longdouble).T
    return z_all, T_all


def allowance(c: Array, w: Array, E: float) -> tuple[Array, Array]:
    """What rounding may do to z~ and T: 30 times its largest effect in eight noisy runs, so far from a tail of theirs.

    A step of any of the forms does a few dozen roundings, each of at most half of what the noise has as one sigma.
    """
    z, T = by_modes(c, w, E)
    noisy = [by_modes(c, w, E, np.random.default_rng(k)) for k in range(8)]
    dz = np.max([np.abs(a - z) for a, _ in noisy], axis=0)
    dT = np.max([np.abs(b - T) for _, b in noisy], axis=0)
    # A running maximum: errors that cancel at one step come back at the next.
    return 30 * np.maximum.accumulate(dz) + 10 * EPS, 30 * np.maximum.accumulate(dT) + 10 * EPS


# eps, E, z, T: below the edge, at it, catapults from above it, E of both signs; chaos (E = 3) for its first steps.
STARTS = [
    (0.005, 0.0, 0.05, 2.2), (0.005, 0.0, -0.4, 1.0), (0.1, 0.0, 0.3, 2.0), (0.17, 0.0, -0.8, 0.6), (0.17, -1.0, 0.1, 3.0),
    (0.3, 0.5, 0.2, 2.4), (0.9, 0.0, -0.3, 2.9), (0.05, 1.5, 0.1, 1.9), (0.05, 3.0, -0.5, 2.4),
]  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_three_forms_of_the_model_are_one(start: tuple[float, float, float, float]) -> None:
    eps, E, z, T = start
    w = np.array([1.0, -eps])
    c = np.sqrt(np.array(mode_weights(eps, E, z, T)))
    # E~ as the modes have it: the square root rounds.
    E_exact = float(np.sum(c**2 / w) - 2 * z)
    want_z, want_T = by_modes(c, w, E_exact)
    dz, dT = allowance(c, w, E_exact)
    # Inside the allowance the comparison says something: 1e-3 of the moves of z~.
    usable = np.cumsum(dz > 1e-3 * np.max(np.abs(np.diff(want_z.astype(float))))) == 0
    assert usable.sum() > (25 if E < 2 else 10)
    lr = 0.37
    theta = c / (w * np.sqrt(lr))
    forms = {
        "modes": Quadratic1D(eps=eps, E=E, z=z, T=T),
        "plane": Quadratic1DPlane(eps=eps, E=E, z=z, T=T),
        "parameters": Quadratic1DParameters(theta=theta, w=w, lr=lr, E=E_exact / lr),
        "modes from theta": Quadratic1D(theta=theta, w=w, lr=lr, E=E_exact / lr),
    }
    for name, system in forms.items():
        got_z, got_T = watch(system)
        assert np.all(np.abs(got_z - want_z)[usable] <= dz[usable]), name
        assert np.all(np.abs(got_T - want_T)[usable] <= dT[usable]), name


@pytest.mark.parametrize("wrong", [1e-9, -1e-9])
def test_a_start_that_is_off_by_1e_9_is_seen(wrong: float) -> None:
    """The comparison above can fail."""
    eps, E, z, T = STARTS[1]
    c = np.sqrt(np.array(mode_weights(eps, E, z, T)))
    want_z, _ = by_modes(c, np.array([1.0, -eps]), E)
    dz, _ = allowance(c, np.array([1.0, -eps]), E)
    got, _ = watch(Quadratic1D(eps=eps, E=E, z=z, T=T + wrong))
    assert np.any(np.abs(got - want_z) > dz)


@pytest.mark.parametrize(
    "w", [(1.0, -0.3), (0.7,), (1.0, -0.2, 0.0), (1.5, 0.4, -0.6, -0.05, 0.0, 0.9)], ids=["2", "1", "zero", "6"]
)
def test_any_eigenvalues_in_a_rotated_basis(w: tuple[float, ...], rng: np.random.Generator) -> None:
    """Gradient descent on theta itself with Q = R diag(w) R^T, by NumPy, against the modes; zero eigenvalues too."""
    values = np.array(w)
    basis, _ = np.linalg.qr(rng.standard_normal((len(w), len(w))))
    Q = basis @ np.diag(values) @ basis.T
    modes = 0.8 * rng.standard_normal(len(w))
    lr, E = 0.6, 0.4
    theta = basis @ modes
    want_z, want_T = [], []
    for _ in range(STEPS + 1):
        z = 0.5 * (theta @ Q @ theta - E)
        want_z.append(lr * z)
        want_T.append(lr * np.sum((Q @ theta) ** 2))
        theta = theta - lr * z * (Q @ theta)
    dz, dT = allowance(np.sqrt(lr) * values * modes, values, lr * E)
    # Products with R in 53 bits: P roundings each, two products a step.
    more = 4 * len(w)
    for system in (Quadratic1D(theta=modes, w=values, lr=lr, E=E), Quadratic1DParameters(theta=modes, w=values, lr=lr, E=E)):
        z, T = watch(system)
        assert np.all(np.abs(z - want_z) <= more * dz)
        assert np.all(np.abs(T - want_T) <= more * dT)
    assert np.max(np.abs(np.diff(want_z))) > 1e-3


@pytest.mark.parametrize("start", STARTS)
def test_conserved_quantity_drifts_by_rounding_only(start: tuple[float, float, float, float]) -> None:
    eps, E, z, T = start
    system = as_leaves(Quadratic1D(eps=eps, E=E, z=z, T=T), "float64")

    @jax.jit
    def follow(s: Any) -> Any:
        def one(x: Any, _: Any) -> Any:
            return s.step(x), (s.conserved(x), jnp.sum(x.c**2 / jnp.abs(s.eigenvalues())))

        return jax.lax.scan(one, s.init(), None, 2000)[1]

    drift, size = (np.asarray(v) for v in follow(system))
    steps = np.arange(2000)
    # Ten roundings a step, of the largest term of the sum; worst case, all of one sign.
    scale = np.maximum.accumulate(size + abs(E) + 2)
    assert np.all(np.abs(drift - E) <= 10 * EPS * (1 + steps) * scale)


def test_of_the_model_of_fig_1_the_flow_and_the_steps_end_where_theory_says() -> None:
    """theory.md B: theta = (1.5, -4.32) ends at T = 0.209 .. 1.940; from (1.0, -4.32) at lr 1 it sharpens to 1.883."""
    wanted = {1.5: {0.1: 0.209, 0.5: 1.043, 0.8: 1.662, 0.9: 1.857, 1.0: 1.9456, 1.1: 1.9401, 1.3: 1.9401},
              1.0: {1.0: 1.883, 1.1: 1.940, 1.4: 1.940, 2.2: np.nan}}  # fmt: skip
    for first, ends in wanted.items():
        system = Quadratic1D(theta=np.array([first, -4.32]), w=np.array([1.0, -0.1]))
        found = answer(Recipe(Quadratic1D, {}, 2000, vocabulary="edge"), system, {"lr": np.array(list(ends))})
        # Half a unit of the last digit that theory.md gives, and 1e-5 of what is left after 2000 steps.
        digits = [6e-4 if round(v, 3) == v else 6e-5 for v in ends.values()]
        for got, want, tolerance in zip(found["curvature"], ends.values(), digits, strict=True):
            assert not np.isfinite(got) if np.isnan(want) else got == pytest.approx(want, abs=tolerance)
        assert [EDGE.label(k) for k in found["phase"]][-1] == ("divergent" if first == 1.0 else "edge-of-stability")


def test_refused_starts() -> None:
    assert not Quadratic1D(z=1.0, T=0.5).admissible()
    assert Quadratic1D(z=0.25, T=0.5).admissible(), "T = B, the edge of the cone, is a start"
    assert not LinearNet(z=1.0, T=1.9).admissible()
    assert LinearNet(z=-0.5, T=1.0).admissible()
    with pytest.raises(RequestError, match="no start with z = 1"):
        tp.run("quadratic-1d", z=1.0, T=0.5)
    with pytest.raises(RequestError, match="as many of both"):
        quadratic_1d(theta="1,2", eigenvalues="1")


# --- the linear net -----------------------------------------------------------------------------------------


class Net:
    """f(x) = v.U x on one datum, K hidden units and N inputs; theta = (v, U) flattened."""

    def __init__(self, K: int, N: int, rng: np.random.Generator) -> None:
        self.K, self.N = K, N
        self.x = rng.standard_normal(N)
        self.size = float(np.linalg.norm(self.x))
        self.v, self.U = rng.standard_normal(K) / np.sqrt(K), rng.standard_normal((K, N)) / np.sqrt(N)

    def values(self, lr: float, y: float) -> tuple[float, float]:
        """z~ and T."""
        h = self.U @ self.x
        return lr * self.size * (self.v @ h - y), lr * (h @ h + (self.v @ self.v) * self.size**2)

    def descend(self, lr: float, y: float) -> None:
        h = self.U @ self.x
        z = self.v @ h - y
        self.v, self.U = self.v - lr * z * h, self.U - lr * z * np.outer(self.v, self.x)


SEED = 1
NETS = [(1, 1, 0.0, 1.2), (3, 5, 0.0, 2.5), (8, 2, 0.7, 1.8), (4, 6, -1.1, 0.7), (6, 6, 0.2, 2.9)]


@pytest.mark.parametrize(("K", "N", "y", "start"), NETS)
def test_linear_net_is_a_net(K: int, N: int, y: float, start: float) -> None:
    # Drawn so that the run neither leaves nor grows its errors beyond use within ten steps.
    net = Net(K, N, np.random.default_rng([K, N, SEED]))
    lr = start / net.values(1.0, y)[1]
    z, T = net.values(lr, y)
    system = LinearNet(T=T, z=z, y=lr * net.size * y)
    assert system.admissible()
    got_z, got_T = watch(system)
    shift = lr * net.size * y
    worst, k = 0.0, 0
    # The map's own derivative, as a bound on how an error grows: both rows of [[1 - T + 2 z (z + half), -z], ...].
    bound = 100 * (K + N) * EPS
    for k in range(STEPS + 1):
        z, T = net.values(lr, y)
        if bound > 1e-3 or abs(z) > 50:
            break
        assert abs(got_z[k] - z) <= bound * (1 + abs(z) + T) and abs(got_T[k] - T) <= bound * (1 + abs(z) + T)
        worst = max(worst, abs(z - got_z[0]))
        half = z + shift
        slope = np.array([[1 - T + 2 * z * half + z * z, -z], [2 * z * T - 4 * half - 4 * z, 1 + z * z]])
        bound = bound * max(1.0, np.linalg.norm(slope, 2)) + 100 * (K + N) * EPS
        net.descend(lr, y)
    assert k > 10 and worst > 1e-3, "the run moves, and is followed for a while"


@pytest.mark.parametrize(("K", "N"), [(1, 1), (4, 3)])
def test_linear_net_sharpness_is_that_of_the_hessian(K: int, N: int, rng: np.random.Generator) -> None:
    for lr, y in ((0.3, 0.0), (0.2, 1.5), (0.25, -0.8)):
        net = Net(K, N, rng)

        # f = v.U x: its gradient, and its second derivative x_j between v_k and U_kj.
        gradient = np.concatenate([net.U @ net.x, np.outer(net.v, net.x).ravel()])
        second = np.zeros((K + K * N, K + K * N))
        second[:K, K:] = np.kron(np.eye(K), net.x)
        H = np.outer(gradient, gradient) + (net.v @ net.U @ net.x - y) * (second + second.T)
        z, T = net.values(lr, y)
        system = LinearNet(T=T, z=z, y=lr * net.size * y)
        # An eigenvalue of a matrix of a few numbers of the size of T; the root of a sum that can cancel: sqrt(eps).
        assert float(system.sharpness(system.init())) == pytest.approx(lr * np.linalg.eigvalsh(H)[-1], abs=1e-9 * (1 + T))


def test_linear_net_equals_the_model_with_opposite_eigenvalues() -> None:
    z, T = watch(LinearNet(T=2.3, z=0.1, y=0.2))
    other_z, other_T = watch(Quadratic1D(eps=1.0, E=0.4, z=0.1, T=2.3))
    c = np.sqrt(np.array(mode_weights(1.0, 0.4, 0.1, 2.3)))
    dz, dT = allowance(c, np.array([1.0, -1.0]), 0.4)
    assert np.all(np.abs(z - other_z) <= 2 * dz) and np.all(np.abs(T - other_T) <= 2 * dT)


@pytest.mark.parametrize("w", [(1.0, -0.3), (1.5, 0.4, -0.6, 0.0)])
def test_sharpness_of_one_datum_is_that_of_the_hessian(w: tuple[float, ...], rng: np.random.Generator) -> None:
    values, lr, E = np.array(w), 0.4, 0.3
    for _ in range(3):
        theta = rng.standard_normal(len(w))
        system = Quadratic1D(theta=theta, w=values, lr=lr, E=E)
        z, J = 0.5 * (np.sum(values * theta**2) - E), values * theta
        # Second derivative of z^2 / 2 by hand; the eigenvalues of a small matrix to rounding.
        H = np.outer(J, J) + z * np.diag(values)
        assert float(system.sharpness(system.init())) == pytest.approx(lr * np.linalg.eigvalsh(H)[-1], rel=1e-12)


def test_eps_is_an_axis_of_a_start_in_parameter_space_too() -> None:
    eps = [0.05, 0.1, 0.2]
    d = tp.diagram("quadratic-1d", theta="1.0,-4.32", eps=tp.values(eps), steps=2000)
    ones = [tp.run("quadratic-1d", theta="1.0,-4.32", eps=e, steps=2000) for e in eps]
    assert [EDGE.label(c) for c in d.codes] == [r.phase for r in ones]
    # The same arithmetic in a batch and alone: rounding of a sum of two.
    assert np.allclose(d.dataset["curvature_start"], [r.summary["curvature_start"] for r in ones], rtol=1e-14)


@pytest.mark.parametrize("more", [{"T": 3.0}, {"z": 0.1}, {"eigenvalues": "1,-0.1", "eps": 0.1}, {"T": tp.linspace(0, 4, 5)}])
def test_what_a_start_makes_no_use_of_is_refused(more: dict[str, Any]) -> None:
    verb = tp.diagram if any(isinstance(v, tp.Axis) for v in more.values()) else tp.run
    with pytest.raises(RequestError, match="means nothing beside"):
        verb("quadratic-1d", theta="1.0,-4.32", **more)
    shown = tp.run("quadratic-1d", theta="1.0,-4.32", steps=400).params
    assert not {"z", "T"} & set(shown)


def test_lists_of_numbers_may_be_lists() -> None:
    text = tp.run("quadratic-1d", theta="1.0,-4.32,0.5", eigenvalues="1,-0.1,0.3", steps=400)
    lists = tp.run("quadratic-1d", theta=[1.0, -4.32, 0.5], eigenvalues=np.array([1, -0.1, 0.3]), steps=400)
    assert text.summary == lists.summary
