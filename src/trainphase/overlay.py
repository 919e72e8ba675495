"""Overlay: what the theory says about a system, brought together with it (theory and systems never meet otherwise)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainphase.axes import Axis
from trainphase.system import Map, System
from trainphase.theory import cubic, quadratic, quadratic_1d, regression, relu2, relu3, symmetric

Line = dict[str, Any]
# Systems that reduce to the cubic map.
CUBIC = ("cubic", "phase-retrieval", "quadratic-net")

# Rows count as orthogonal when no cosine between two of them exceeds rounding of the orthogonalisation.
ORTHOGONAL = 1e-9


def orthogonal_rows(x: np.ndarray) -> bool:
    """True when the rows of a data matrix are orthogonal to rounding."""
    gram = x @ x.T
    size = np.sqrt(np.diag(gram))
    cosines = gram / np.outer(size, size)
    return bool(np.max(np.abs(cosines - np.eye(len(x)))) < ORTHOGONAL)


def _sample_a(name: str, inputs: dict[str, Any], lr: float, scale: float) -> np.ndarray:
    targets = scale * inputs["teacher"] + inputs["noise"]
    if name == "phase-retrieval":
        return regression.phase_retrieval_a(lr, inputs["norm2"], inputs["n"], inputs["gamma"], inputs["c"], targets)
    return regression.quadratic_net_a(lr, inputs["norm2"], inputs["n"], inputs["m"], inputs["d"], targets)


def report(system: System) -> dict[str, Any]:
    """The theory's numbers for one run.

    For regression: ``a`` of every sample, ``a_max``, whether the inputs are ``orthogonal`` (only then is the reduction
    to the cubic map exact), and ``a_effective`` = half of step size times top kernel eigenvalue at the solution.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of starts near the end of the numbers
        return _report(system)


def _report(system: System) -> dict[str, Any]:
    if system.theory == "cubic":
        a = float(np.asarray(system.a))  # pyright: ignore[reportAttributeAccessIssue]
        return {"a": a, "a_max": a, "phase": cubic.phase(a) if a > 0 else None}
    if system.theory in ("phase-retrieval", "quadratic-net"):
        inputs = system.theory_inputs()  # pyright: ignore[reportAttributeAccessIssue]
        lr, scale = float(inputs["lr"]), float(inputs["scale"])
        a = _sample_a(system.theory, inputs, lr, scale)
        top = system.top_eigenvalue(scale)  # pyright: ignore[reportAttributeAccessIssue]
        effective = float(regression.effective_a(lr, top))
        exact = orthogonal_rows(np.asarray(system.X))  # pyright: ignore[reportAttributeAccessIssue]
        largest = float(np.max(a))
        decisive = largest if exact else effective
        return {
            "a": a, "a_max": largest, "a_effective": effective, "orthogonal": exact,
            "phase": cubic.phase(decisive) if decisive > 0 else None,
        }  # fmt: skip
    return _regime_report(system) if system.theory in ("relu2", "relu3") else _edge_report(system)


def _regime_report(system: Any) -> dict[str, Any]:
    """The predicted slopes of a place of the diagram, and its regime there as the width grows."""
    if system.theory == "relu3":
        place = float(system.gamma3), float(system.gamma2)
        return {f"slope_{name}": float(v) for name, v in relu3.slopes(*place).items()}
    if system.plan.scales is not None:
        return {}
    gamma, gamma_prime = float(system.gamma), float(system.gamma_prime)
    return {
        "slope": float(relu2.slope(gamma, gamma_prime)), "regime": relu2.regime(gamma, gamma_prime),
        "sector": relu2.sector(gamma, gamma_prime),
    }  # fmt: skip


def _regime_lines(system: Any, axes: Sequence[Axis], names: list[str]) -> list[Line]:
    """The boundary between the linear and the condensed regime over the axes, or its one value on one axis."""
    two = system.theory == "relu2"
    along, across = ("gamma", "gamma_prime") if two else ("gamma3", "gamma2")
    if along not in names or not set(names) <= {along, across} or (two and system.plan.scales is not None):
        return []
    axis = axes[names.index(along)]
    other = axes[names.index(across)] if across in names else None
    heights = np.linspace(other.lo, other.hi, 257) if other is not None else np.asarray([float(getattr(system, across))])
    at = np.asarray(relu2.critical_gamma(heights) if two else relu3.critical_gamma3(system.layer, heights))
    inside = (at >= axis.lo) & (at <= axis.hi)
    if not inside.any():
        return []
    pairs = at[:, None] if other is None else np.stack([at, heights] if names.index(along) == 0 else [heights, at], 1)
    name = "S_w = 0" if two else f"S_{system.layer} = 0"
    return [{"name": name, "between": ["linear", "condensed"], "points": pairs[inside].tolist()}]


def _edge_report(system: Any) -> dict[str, Any]:
    """The theory's numbers for the quadratic regression models."""
    name = system.theory
    if name == "linear-net":
        z, T, E = float(system.z), float(system.T), 2 * float(system.y)
        if abs(E) >= 4:
            return {}
        return {"divergence_T": float(symmetric.divergence_line(z, E)), "bounded": bool(symmetric.bounded(z, T, E))}
    descent = "edge" in getattr(type(system), "vocabularies", ()) and hasattr(type(system), "step")
    if name == "quadratic-1d" and descent and system.theta is None and float(system.E) == 0 and float(system.eps) <= 1:
        eps, z, T = (float(v) for v in (system.eps, system.z, system.T))
        return {
            "final_curvature_at_edge": float(quadratic_1d.final_curvature(eps)),
            "sharpens_under_flow": bool(quadratic_1d.sharpens_under_flow(z, T, eps)),
        }
    if name == "quadratic" and hasattr(system, "J_draw"):
        (D, P), sigma_z, sigma_J = system.shape, float(system.sigma_z), float(system.sigma_J)
        return {
            "curvature_start": float(quadratic.initial_curvature(sigma_J, D, P)),
            "relative_sharpening_rate": float(quadratic.sharpening_ratio_rescaled(sigma_z, D, P, system.symmetry)),
            "nonlinearity": float(quadratic.r_NL_rescaled(sigma_z, D, P, system.symmetry)),
        }
    return {}


def _divergence(system: Any, axes: Sequence[Axis], names: list[str]) -> list[Line]:
    """The exact divergence line T = 4 + E~ z~ / 2 of the symmetric model, in the plane (z, T) or at one z."""
    if system.theory == "quadratic-1d" and (system.theta is not None or float(np.max(system.eps)) != 1.0):
        return []
    E = 2 * float(system.y) if system.theory == "linear-net" else float(system.E)
    if "T" not in names or not set(names) <= {"T", "z"} or abs(E) >= 4:
        return []
    which = names.index("T")
    along = axes[1 - which] if len(axes) == 2 else None
    z = np.linspace(along.lo, along.hi, 129) if along is not None else np.asarray([float(system.z)])
    T = np.asarray(symmetric.divergence_line(z, E))
    inside = (axes[which].lo <= T) & (axes[which].hi >= T)
    if not inside.any():
        return []
    pairs = T[:, None] if along is None else np.stack([z, T] if which == 1 else [T, z], 1)
    return [{"name": "T = 4 + E z / 2", "between": ["bounded", "divergent"], "points": pairs[inside].tolist(), "exact": True}]


def lines(system: System, axes: Sequence[Axis]) -> list[Line]:
    """Phase boundaries of the theory over the axes of a diagram: ``{"name", "between", "points"}`` in axis order.

    For one axis a line is a single point. Lines outside the axes are left out.
    """
    names = [axis.name for axis in axes]
    if system.theory in ("relu2", "relu3"):
        return _regime_lines(system, axes, names)
    if system.theory in ("linear-net", "quadratic-1d") and isinstance(system, Map):
        return _divergence(system, axes, names)
    if not system.theory or getattr(system, "z0", None) is not None:
        # One start of a map need not meet the boundaries of the map over all starts, but the others hold for it too.
        return _some_start(system, axes, names)
    if "a" in names:
        return _constant(axes, names.index("a"), {b.name: (b.between, b.a) for b in cubic.PHASE_BOUNDARIES})
    if system.theory in ("phase-retrieval", "quadratic-net") and "lr" in names and set(names) <= {"lr", "scale", "seed"}:
        return _step_size_lines(system, axes, names)
    return []


def _some_start(system: System, axes: Sequence[Axis], names: list[str]) -> list[Line]:
    """For runs of the cubic map from one start: the boundaries that hold for almost every start."""
    if system.theory != "cubic" or "a" not in names:
        return []
    levels = {b.name: (b.between, b.a) for b in cubic.PHASE_BOUNDARIES[1:]}
    return _constant(axes, names.index("a"), levels)


def _constant(axes: Sequence[Axis], which: int, levels: dict[str, tuple[Any, float]]) -> list[Line]:
    """Lines on which one axis has a fixed value."""
    axis, out = axes[which], []
    for name, (between, level) in levels.items():
        if not axis.lo <= level <= axis.hi:
            continue
        points = [[level]]
        if len(axes) == 2:
            other = axes[1 - which]
            pairs = [(level, other.lo), (level, other.hi)]
            points = [list(p) if which == 0 else [p[1], p[0]] for p in pairs]
        out.append({"name": name, "between": list(between), "points": points})
    return out


def _step_size_lines(system: Any, axes: Sequence[Axis], names: list[str]) -> list[Line]:
    inputs = system.theory_inputs()
    exact = orthogonal_rows(np.asarray(system.X))
    planar = "scale" in names
    scale_axis = axes[names.index("scale")] if planar else None
    lr_axis = axes[names.index("lr")]
    if scale_axis is None:
        scales = np.array([float(inputs["scale"])])
    elif scale_axis.lo > 0:
        scales = np.geomspace(scale_axis.lo, scale_axis.hi, 257)
    else:
        scales = np.linspace(scale_axis.lo, scale_axis.hi, 257)
    out = []
    tops = None if exact else np.array([system.top_eigenvalue(float(s)) for s in scales])
    for b in cubic.PHASE_BOUNDARIES:
        if tops is None:
            at = np.array([_lr_of(system.theory, inputs, b.a, float(s)) for s in scales])
        else:
            at = np.asarray(regression.effective_lr_at(b.a, tops))
        inside = np.isfinite(at) & (at >= lr_axis.lo) & (at <= lr_axis.hi)
        if not inside.any():
            continue
        if planar:
            pairs = np.stack([at, scales], 1)[inside]
            points = pairs.tolist() if names.index("lr") == 0 else pairs[:, ::-1].tolist()
        else:
            points = [[float(at[0])]]
        out.append({"name": b.name, "between": list(b.between or ()), "points": points, "exact": exact})
    return out


def _lr_of(name: str, inputs: dict[str, Any], a: float, scale: float) -> float:
    """Step size at which the largest a of all samples reaches ``a``; targets include the noise."""
    targets = scale * inputs["teacher"] + inputs["noise"]
    if name == "phase-retrieval":
        return float(
            regression.phase_retrieval_lr_at(a, inputs["norm2"], inputs["n"], inputs["gamma"], inputs["c"], targets)
        )
    return float(regression.quadratic_net_lr_at(a, inputs["norm2"], inputs["n"], inputs["m"], inputs["d"], targets))


def orthogonal_step_size(system: Map, a: float, scale: float) -> float:
    """The step size at which the largest a of all samples is ``a`` by the formula for orthogonal inputs."""
    inputs = system.theory_inputs()  # pyright: ignore[reportAttributeAccessIssue]
    return _lr_of(system.theory, inputs, a, scale)


def named_values(system: System, axis: Axis, of: str) -> list[tuple[tuple[str, ...], float, str]]:
    """What the theory knows along an axis: pairs of labels, the value at which one gives way to the other, its name.

    ``of`` is "phase" or "period". One label alone: what it gives way to depends on the vocabulary. Values outside
    the axis are left out.
    """
    if of == "phase":
        return [
            (tuple(p for p in line["between"] if p != "bounded"), line["points"][0][0], _named(line))
            for line in lines(system, [axis])
        ]  # pyright: ignore[reportReturnType]
    if axis.name != "a" or system.theory not in CUBIC:
        return []
    rows = [b for b in cubic.PERIOD_BOUNDARIES if b.between and axis.lo <= b.a <= axis.hi]
    return [(b.between, b.a, _named({"name": b.name})) for b in rows if b.between]


def named_lines(system: System, axes: Sequence[Axis], between: tuple[str, str]) -> list[Line]:
    """The lines of the theory over two axes that part the phases ``between``, under the names that results give them."""
    known = [line for line in lines(system, axes) if {p for p in line["between"] if p != "bounded"} <= set(between)]
    return [{**line, "name": _named(line)} for line in known]


def _named(line: Line) -> str:
    exact = next((b.exact for b in cubic.BOUNDARIES if b.name == line["name"] and b.exact), "")
    words = f"{line['name']} = {exact}" if exact and "exact" not in line else line["name"]
    return words if line.get("exact", True) else f"{words} (effective a)"
