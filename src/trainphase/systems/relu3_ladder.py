"""Three-layer ReLU nets over a ladder of widths, as the catalogue knows them: a place (gamma3, gamma2) and a plan.

A single net, of the first width and seed, is :class:`trainphase.systems.relu3.ReLU3`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np

from trainphase.data.targets import samples
from trainphase.errors import RequestError
from trainphase.system import Flow
from trainphase.systems._options import truth
from trainphase.systems.relu2 import Plan, numbers
from trainphase.systems.relu3 import Layers, ReLU3, relu3

WIDTHS, SEEDS = "125,250,500,1000", "0,1,2"
MOST_NEURONS = 20_000


class ReLU3Ladder(Flow):
    """Gradient flow of f = (1/alpha) a . relu(W2 relu(W1 x)) with beta2 = beta3, at a place of the diagram.

    gamma3, gamma2 : -ln(beta1 beta2 beta3 / alpha) / ln m and -ln(beta3 / beta1) / ln m. inputs : (n, d) without the bias.
    y : (n,). layer : w1 or w2, whose slope decides the regime.
    """

    gamma3: float | jax.Array
    gamma2: float | jax.Array
    inputs: np.ndarray
    y: np.ndarray
    plan: Plan = eqx.field(static=True)
    layer: str = eqx.field(static=True)
    bias: bool = eqx.field(static=True)

    theory: ClassVar[str] = "relu3"
    vocabularies: ClassVar[tuple[str, ...]] = ("regime",)
    units: ClassVar[dict[str, str]] = {"residual": "target units"}

    def net(self) -> ReLU3:
        """The net of the first width and seed, at concrete gammas."""
        return relu3(
            self.plan.widths[0], self.inputs, self.y, gamma3=float(self.gamma3), gamma2=float(self.gamma2),
            seed=self.plan.seeds[0], bias=self.bias, antisymmetric=self.plan.antisymmetric,
        )  # fmt: skip

    def init(self) -> Layers:
        """The draws of the first net."""
        return self.net().init()

    def velocity(self, t: jax.Array, state: Layers) -> Layers:
        """Of the first net; see :class:`ReLU3`."""
        return self.net().velocity(t, state)

    def residual(self, state: Layers) -> jax.Array:
        """f - y of the first net, target units, shape (n,)."""
        return self.net().residual(state)

    def check(self) -> None:
        """Raise RequestError for coordinates that are no finite numbers."""
        for name in ("gamma3", "gamma2"):
            if not np.all(np.isfinite(np.asarray(getattr(self, name)))):
                raise RequestError(f"{name} is not a finite number; give for example {name}=1.5")


def relu3_ladder(
    gamma3: float = 1.5, gamma2: float = 0.0, width: Any = WIDTHS, layer: str = "w1", data: str = "points",
    n: int | None = None, d: int | None = None, bias: str = "true", antisymmetric: str = "false", target: float = 1e-6,
    seed: Any = SEEDS, data_dir: str | Path | None = None, search: Any = (),
) -> ReLU3Ladder:  # fmt: skip
    """Build the nets from their parameters; see ``trainphase run relu3 --help`` for their meaning."""
    widths = tuple(sorted(numbers("width", width, 2, WIDTHS)))
    if max(widths) > MOST_NEURONS:
        size = 8 * max(widths) ** 2 / 2**30
        raise RequestError(f"width = {max(widths)} needs {size:.3g} GiB for W2; give at most {MOST_NEURONS}")
    if layer not in ("w1", "w2"):
        raise RequestError(f"layer = {layer!r} is unknown; give w1 or w2")
    if not (np.isfinite(target) and target > 0):
        raise RequestError(f"target = {target} is out of range; give a number above 0")
    found = samples(data, n, d, 0, data_dir, search=search)
    if found.y.shape[1] != 1:
        raise RequestError(f"{data} has {found.y.shape[1]} targets and relu3 takes one; give data with one target")
    plan = Plan(widths, numbers("seed", seed, 0, SEEDS), truth("antisymmetric", antisymmetric), float(target), 0.05, 0)
    return ReLU3Ladder(gamma3, gamma2, found.X, found.y[:, 0], plan, layer, truth("bias", bias))
