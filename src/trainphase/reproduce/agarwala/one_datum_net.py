"""App. A.2 and A.3: the network f(x) = v.U x on one datum, trained as it is, beside the D = 1 model that it contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainphase.reproduce.agarwala.one_datum_runs import claim, figure
from trainphase.reproduce.claims import Measured, absolute, largest
from trainphase.reproduce.context import Context
from trainphase.theory import symmetric

HIDDEN, INPUTS = 5, 4
LABEL = 0.7


@dataclass(frozen=True)
class Net:
    """A network with one hidden layer and no nonlinearity: v of shape (HIDDEN,), U of shape (HIDDEN, INPUTS)."""

    v: np.ndarray
    U: np.ndarray
    x: np.ndarray
    y: float

    @property
    def f(self) -> float:
        """The output."""
        return float(self.v @ self.U @ self.x)

    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of f by v and by U (42), (43)."""
        return self.U @ self.x, np.outer(self.v, self.x)

    def jacobian(self) -> np.ndarray:
        """The derivatives as one vector, v first."""
        return np.concatenate([part.ravel() for part in self.gradient()])

    def moved(self, v: np.ndarray, U: np.ndarray, h: float) -> Net:
        """The network with weights v and U added h times."""
        return Net(self.v + h * v, self.U + h * U, self.x, self.y)

    def descended(self, lr: float) -> Net:
        """After a step of gradient descent on (f - y)^2 / 2."""
        return self.moved(*self.gradient(), -lr * (self.f - self.y))


def draw(context: Context, y: float = LABEL) -> Net:
    """Random weights and a random datum."""
    rng = np.random.default_rng(context.seed)
    v, U, x = rng.normal(size=HIDDEN), rng.normal(size=(HIDDEN, INPUTS)), rng.normal(size=INPUTS)
    return Net(0.5 * v, 0.5 * U, x, y)


def second_derivative(net: Net) -> np.ndarray:
    """Q by differences of the Jacobian, which is linear in the weights, so that they are exact to rounding."""
    size = HIDDEN + HIDDEN * INPUTS
    columns = []
    for k in range(size):
        unit = np.eye(size)[k]
        step = unit[:HIDDEN], unit[HIDDEN:].reshape(HIDDEN, INPUTS)
        columns.append(net.moved(*step, 0.5).jacobian() - net.moved(*step, -0.5).jacobian())
    return np.stack(columns, 1)


def _multiplicity(context: Context, sign: int) -> Measured:
    """How many eigenvalues of Q are |x|, -|x| or 0."""
    net = draw(context)
    found = np.linalg.eigvalsh(second_derivative(net))
    return Measured(np.count_nonzero(np.abs(found - sign * np.linalg.norm(net.x)) < 1e-10),
                    note=f"{HIDDEN} hidden units, {INPUTS} inputs")  # fmt: skip


def _weights(net: Net) -> tuple[float, float, float]:
    """J_+^2, J_-^2 and J_0^2, the shares of |J|^2 in the eigenspaces of |x|, -|x| and 0."""
    values, vectors = np.linalg.eigh(second_derivative(net))
    squares, size = np.square(vectors.T @ net.jacobian()), np.linalg.norm(net.x)
    return tuple(float(squares[np.abs(values - at) < 1e-10].sum()) for at in (size, -size, 0.0))  # type: ignore[return-value]


def _identity_44(context: Context) -> Measured:
    net = draw(context)
    plus, minus, none = _weights(net)
    return Measured((plus - minus) / np.linalg.norm(net.x) - 2 * net.f, note=f"J in the zero modes: {none:.1e}")


def _vectors(context: Context) -> Measured:
    """The largest element of Q v - omega v over the vectors w = +-|x| e_i, W = e_i x^T of (40) and (41), over their length."""
    net = draw(context)
    Q, size, worst = second_derivative(net), float(np.linalg.norm(net.x)), 0.0
    for unit in np.eye(HIDDEN):
        for omega in (size, -size):
            vector = np.concatenate([omega * unit, np.outer(unit, net.x).ravel()])
            worst = largest(worst, np.abs(Q @ vector - omega * vector) / np.linalg.norm(vector))
    return Measured(worst, note=f"{2 * HIDDEN} vectors")


def _zero_modes(context: Context) -> Measured:
    """The share of |J|^2 in the eigenspace of 0."""
    plus, minus, none = _weights(draw(context))
    return Measured(none / (plus + minus + none))


def _E(context: Context) -> Measured:
    """E = J Q^+ J - 2z."""
    net = draw(context)
    J, Q = net.jacobian(), second_derivative(net)
    return Measured(J @ np.linalg.pinv(Q, rcond=1e-10) @ J - 2 * (net.f - net.y), note=f"label y = {net.y}")


def _map(context: Context) -> Measured:
    """The largest difference of (z~, T) between the trained network and the model, over 60 steps."""
    from trainphase.systems.linear_net import LinearNet

    net = draw(context)
    lr, size = 1.2 / float(net.jacobian() @ net.jacobian()), float(np.linalg.norm(net.x))
    z, E = symmetric.linear_net_coordinates(lr, size, net.f - net.y, net.y)
    state: tuple[Any, Any] = z, lr * float(net.jacobian() @ net.jacobian())
    system, worst = LinearNet(z=state[0], T=state[1], y=E / 2), 0.0
    for _ in range(60):
        net, state = net.descended(lr), system.step(state)
        real = lr * size * (net.f - net.y), lr * float(net.jacobian() @ net.jacobian())
        worst = largest(worst, *(abs(a - b) for a, b in zip(real, state, strict=True)))
    return Measured(worst, note=f"60 steps from T = 1.2, label y = {net.y}, T = {state[1]:.4f} at the end")


# Steps along gradient flow, in units of 1/K at the start, so that a fourth-order method errs alike for every draw.
FLOW_STEP, FLOW_STEPS = 1e-2, 400
FOURTH = absolute(1e-8, "a fourth-order method: 400 steps of 0.01 of the kernel's time")


def _along_flow(net: Net, h: float) -> Net:
    """The network after so much time of gradient flow, by the classical Runge-Kutta method."""

    def force(at: Net) -> tuple[np.ndarray, np.ndarray]:
        a, b = at.gradient()
        return -(at.f - at.y) * a, -(at.f - at.y) * b

    g1 = force(net)
    g2 = force(net.moved(*g1, h / 2))
    g3 = force(net.moved(*g2, h / 2))
    g4 = force(net.moved(*g3, h))
    v, U = ((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(g1, g2, g3, g4, strict=True))
    return net.moved(v, U, h)


def _kernel_flow(context: Context) -> Measured:
    """The largest difference of K between the network under gradient flow and K' = -4 |x|^2 z f, z' = -K z."""
    net = draw(context)
    norm2 = float(net.x @ net.x)
    state = np.array([net.jacobian() @ net.jacobian(), net.f - net.y])
    first, worst = state[0], 0.0
    h = FLOW_STEP / float(first)

    def closed(at: np.ndarray) -> np.ndarray:
        z, K = symmetric.bordelon_pehlevan_velocity(at[0], at[1], net.y, norm2)
        return np.array([K, z])

    for _ in range(FLOW_STEPS):
        k1 = closed(state)
        k2 = closed(state + h / 2 * k1)
        k3 = closed(state + h / 2 * k2)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + closed(state + h * k3))
        net = _along_flow(net, h)
        worst = largest(worst, abs(float(net.jacobian() @ net.jacobian()) - state[0]))
    note = f"relative, over {h * FLOW_STEPS:g} units of time, loss {state[1] ** 2 / 2:.1e} at the end"
    return Measured(worst / first, note=note)


def _invariant(context: Context) -> Measured:
    """The relative change of K^2 - 4 |x|^2 f^2 along gradient flow."""
    net = draw(context)

    def value(at: Net) -> float:
        return float(symmetric.kernel_invariant(at.jacobian() @ at.jacobian(), at.f, float(at.x @ at.x)))

    start, first = value(net), net.jacobian() @ net.jacobian()
    for _ in range(FLOW_STEPS):
        net = _along_flow(net, FLOW_STEP / float(first))
    return Measured((value(net) - start) / first**2, note=f"f goes to {net.f:.4f}, label {net.y}")


COUNT = absolute(0.0, "a count")
LINEAR_NET = figure(
    "linear-net", "the one-hidden-layer linear network on one datum as a D = 1 model", None, None,
    (
        claim("App. A.2", f"Eigenvalues of Q that are +|x|, for {HIDDEN} hidden units.", float(HIDDEN), COUNT,
              lambda c: _multiplicity(c, 1)),
        claim("App. A.2", "Eigenvalues of Q that are -|x|.", float(HIDDEN), COUNT, lambda c: _multiplicity(c, -1)),
        claim("App. A.2", f"Eigenvalues of Q that are 0, for {INPUTS} inputs.", float(HIDDEN * (INPUTS - 1)), COUNT,
              lambda c: _multiplicity(c, 0)),
        claim("(40), (41)", "w = +-|x| e_i and W = e_i x^T are eigenvectors of Q with the eigenvalues +-|x|: largest error.", 0.0,
              absolute(1e-12, "rounding"), _vectors),
        claim("(42), (43)", "Share of |J|^2 in the modes with the eigenvalue 0.", 0.0, absolute(1e-12, "rounding"), _zero_modes),
        claim("(44)", "(J_+^2 - J_-^2)/|x| - 2f.", 0.0, absolute(1e-12, "rounding"), _identity_44),
        claim("(44)", f"E = J Q^+ J - 2z of a network with the label {LABEL}.", 0.0, absolute(1e-12, "rounding"), _E,
              expected=2 * LABEL, correction="by (44) J Q^+ J = 2f, so that E = 2f - 2z = 2y; it is 0 for the label 0 only"),
        claim("App. A.2", "The network by gradient descent is the symmetric model with z~ = lr |x| z, E~ = 2 lr |x| y: largest "
              "difference of z~ and T.", None, absolute(1e-12, "rounding over 60 steps"), _map, expected=0.0),
        claim("(45)", "Under gradient flow K' = -4 |x|^2 z f, z' = -K z: largest relative difference of K.", None,
              FOURTH, _kernel_flow, expected=0.0),
        claim("(45)", "K^2 - 4 |x|^2 f^2 stays as it was under gradient flow: its change over K^2.", None,
              FOURTH, _invariant, expected=0.0),
    ),
)  # fmt: skip
