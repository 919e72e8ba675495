"""Training real networks and watching them: curvature and the top mode along a run, in pieces that are kept on the disk.

Conventions: L = (1/2) weight |z|^2 with z = f - y; eta is the step size; lambda_k are the eigenvalues of weight J J^T, v_k its
eigenvectors, unit rows in the space of the outputs; z_1 = v_1 . z with the sign of v_1 carried on from step to step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase._arrays import as_leaves, precision
from trainphase.reproduce.context import Context

if TYPE_CHECKING:
    import xarray

    from trainphase.problem import Problem

# A run whose loss has grown by this factor diverges and is not followed further.
GONE = 1e6
SERIES = {
    "loss": ("target units squared", "training loss"),
    "curvature": ("1", "step size times top kernel eigenvalue"),
    "curvature_2": ("1", "step size times second kernel eigenvalue"),
    "bound": ("1", "bound on the error of the curvature"),
    "z1": ("target units", "residual along the top kernel mode"),
    "overlap": ("1", "cosine between the top modes of this and the last measurement"),
    "ratio": ("1", "nonlinear over linear change of the top mode"),
    "sharpness": ("1", "step size times top Hessian eigenvalue"),
    "sharpness_2": ("1", "step size times second Hessian eigenvalue"),
    "products": ("1", "products with the kernel"),
}


@dataclass(frozen=True)
class Plan:
    """How a run is followed.

    lr : step size. steps : at most so many. coarse : steps between measurements, until the curvature reaches ``near``;
    from there every step is measured, for ``fine`` steps. hessian : measurements from one of the Hessian to the next while
    every step is measured (each of the coarse ones has one); 0: none. ratio : also the nonlinear part of the top mode.
    piece : measurements that are kept together. tol : of eigenvalues, over the largest. beat : 2 for every second step of the
    fine part only.
    """

    lr: float
    steps: int
    coarse: int
    near: float
    fine: int
    hessian: int = 0
    ratio: bool = False
    piece: int = 100
    tol: float = 1e-5
    beat: int = 1
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Place:
    """Where a run is: parameters, step, the first step of the fine part (-1 before), v_1 (or None) and the first loss."""

    theta: np.ndarray
    step: int = 0
    begun: int = -1
    v1: np.ndarray | None = None
    first: float = float("nan")
    over: bool = False


def placed(part: xarray.Dataset) -> Place:
    """The place at the end of a part."""
    at = part.attrs
    v1 = part["v1"].values
    return Place(
        part["theta"].values, int(at["step"]), int(at["begun"]), v1 if v1.any() else None, float(at["first"]), bool(at["over"])
    )


# ---- compiled pieces


@lru_cache(maxsize=1)
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """advance(problem, theta, lr, count) -> theta; look(problem, theta) -> (loss, z); bend(problem, theta, v) -> numbers."""
    import jax
    import jax.numpy as jnp

    def advance(problem: Problem, theta: Any, lr: Any, count: Any) -> Any:
        return jax.lax.fori_loop(0, count, lambda _, t: t - lr * problem.gradient(t), theta)

    def look(problem: Problem, theta: Any) -> tuple[Any, Any]:
        f = problem.outputs(theta)
        return problem.loss_of_outputs(f), problem.residual_of_outputs(f)

    def bend(problem: Problem, theta: Any, v: Any) -> tuple[Any, Any]:
        g = jax.vjp(problem.outputs, theta)[1](v)[0]
        along = g / jnp.linalg.norm(g)

        def value(t: Any) -> Any:
            return jax.jvp(lambda s: jnp.vdot(v, problem.outputs(s)), (t,), (along,))[1]

        return jnp.vdot(g, g), jax.jvp(value, (theta,), (along,))[1]

    return jax.jit(advance), jax.jit(look), jax.jit(bend)


def bending(problem: Problem, theta: Any, v1: np.ndarray) -> tuple[float, float]:
    """|J^T v1|^2 and Q1(e, e), e the unit vector along J^T v1 and Q1 = v1 . Q the Hessian of v1 . f."""
    square, second = _compiled()[2](problem, theta, v1)
    return float(square), float(second)


def nonlinear_over_linear(lr: float, weight: float, z1: float, second: float) -> float:
    """(1/2) (eta w)^2 Q1(J^T v1 z1, J^T v1 z1) over eta lambda_1 z1, w the weight and ``second`` = Q1(e, e).

    The terms of z_1(t+1) = (1 - eta lambda_1) z_1 + (1/2) (eta w)^2 Q1(J^T z, J^T z) that come from the top mode alone
    (Agarwala et al. 2022, eq. 25): lambda_1 = w |J^T v1|^2 cancels.
    """
    return 0.5 * lr * weight * z1 * second


# ---- a run


def follow(context: Context, name: str, make: Callable[[], Any], plan: Plan) -> dict[str, Any]:
    """Train and watch: ``run``, the series over ``time`` (steps), and ``snapshots``, the parameters at the ends of the fine part.

    make : () -> the problem; not called when everything is on the disk. Parts are kept as ``name``_0, ``name``_1, ...
    Variable ``fine`` says which measurements are of the part where each step is measured.
    """
    import xarray

    parts: list[xarray.Dataset] = []
    held: list[Any] = []

    def problem() -> Any:
        if not held:
            held.append(ready(make(), plan.dtype))
        return held[0]

    def work(place: Place | None) -> xarray.Dataset:
        with precision(plan.dtype):
            start = place or Place(np.asarray(problem().flat()))
            return piece(problem(), plan, start, context.progress.advance)

    context.progress.start(plan.steps, 0)
    place = None
    while place is None or not place.over:
        part = context.cached(f"{name}_{len(parts)}", lambda place=place: work(place))
        parts.append(part)
        place = placed(part)
    series = [part.drop_vars(["theta", "v1"]) for part in parts]
    run = xarray.concat([s for s in series if s.sizes["time"]], "time", data_vars="minimal", combine_attrs="drop")
    ends = [part for part in parts if int(part.attrs["begun"]) >= 0]
    shown = ends[:1] + ends[-1:] if ends else parts[-1:]
    snapshots = xarray.Dataset(
        {"theta": (("snapshot", "parameter"), np.stack([part["theta"].values for part in shown]))},
        {"snapshot": [int(part.attrs["step"]) for part in shown]},
    )
    return {"run": run.assign_attrs(lr=plan.lr, begun=place.begun, last=place.step), "snapshots": snapshots}


def ready(problem: Any, dtype: str) -> Any:
    """The problem with its arrays on the device in that precision."""
    import jax
    import jax.numpy as jnp

    with precision(dtype):
        return jax.tree.map(jnp.asarray, as_leaves(problem, dtype))


def piece(problem: Any, plan: Plan, place: Place, tell: Callable[[int], None] = lambda k: None) -> xarray.Dataset:
    """Go on from a place: up to ``plan.piece`` measurements, ending also where the fine part begins. Call in its precision."""
    import xarray

    advance = _compiled()[0]
    watch = _Watch(problem, plan, place)
    rows: list[dict[str, float]] = []
    theta, step, begun, over = _array(place, plan), place.step, place.begun, False
    while len(rows) < plan.piece and not over:
        row = watch.at(theta, step, full=begun < 0 or (plan.hessian > 0 and (step - begun) % plan.hessian == 0))
        over = not row["loss"] <= GONE * watch.first
        if begun < 0 and row["curvature"] >= plan.near:
            begun = step
            break
        rows.append({"time": step, "fine": begun >= 0, **row})
        last = begun + plan.fine if begun >= 0 else plan.steps
        stride = plan.beat if begun >= 0 else plan.coarse
        over = over or step + stride > min(last, plan.steps)
        if not over:
            theta = advance(problem, theta, plan.lr, stride)
            step += stride
            tell(stride)
    data = {k: ("time", np.array([row[k] for row in rows], float), {"units": u, "long_name": w}) for k, (u, w) in SERIES.items()}
    v1 = watch.v1 if watch.v1 is not None else np.zeros(problem.outputs_size)
    return xarray.Dataset(
        {
            **data, "fine": ("time", np.array([row["fine"] for row in rows], np.int8)),
            "theta": ("parameter", np.asarray(theta)), "v1": ("output", v1),
        },
        {"time": np.array([row["time"] for row in rows], float)},
        {"step": step, "begun": begun, "over": int(over), "first": watch.first},
    )  # fmt: skip


def _array(place: Place, plan: Plan) -> Any:
    """The place's parameters as an array of the run's precision."""
    import jax.numpy as jnp

    return jnp.asarray(place.theta, plan.dtype)


class _Watch:
    """Measures one place after the other; each search begins with what the last one found, the first one cold."""

    def __init__(self, problem: Any, plan: Plan, place: Place) -> None:
        self.problem, self.plan, self.v1, self.first = problem, plan, place.v1, place.first
        self._kernel: Any = None
        self._hessian: Any = None

    def at(self, theta: Any, step: int, full: bool) -> dict[str, float]:
        """The row of numbers at ``theta``; ``full``: with the Hessian, if the plan has it."""
        from trainphase.spectrum import krylov, operators

        plan, lr = self.plan, self.plan.lr
        loss, z = (np.asarray(v, np.float64) for v in _compiled()[1](self.problem, theta))
        row = dict.fromkeys(SERIES, float("nan")) | {"loss": float(loss)}
        if not np.isfinite(loss):
            return row
        self.first = float(loss) if np.isnan(self.first) else self.first
        kernel = operators.ntk(self.problem, theta, side="outputs")
        start = None if self._kernel is None else np.vstack([self._kernel.rows, z])
        pairs = krylov.top(kernel.product, kernel.size, k=2, tol=plan.tol, start=start, seed=step)
        self._kernel = pairs
        v1, overlap = pairs.vectors[0], float("nan")
        if self.v1 is None:
            v1 = v1 if v1 @ z >= 0 else -v1
        else:
            overlap = float(v1 @ self.v1)
            v1, overlap = (v1, overlap) if overlap >= 0 else (-v1, -overlap)
        self.v1 = v1
        row |= {
            "curvature": lr * pairs.values[0], "curvature_2": lr * pairs.values[-1], "bound": lr * pairs.errors[0],
            "z1": float(v1 @ z), "overlap": overlap, "products": pairs.products,
        }  # fmt: skip
        if plan.ratio:
            second = bending(self.problem, theta, v1.astype(plan.dtype))[1]
            row["ratio"] = nonlinear_over_linear(lr, self.problem.weight, row["z1"], second)
        if plan.hessian and full:
            sharp = operators.hessian(self.problem, theta)
            start = None if self._hessian is None else self._hessian.rows
            self._hessian = krylov.top(sharp.product, sharp.size, k=2, tol=1e-3, start=start, seed=step)
            row |= {"sharpness": lr * self._hessian.values[0], "sharpness_2": lr * self._hessian.values[-1]}
        return row
