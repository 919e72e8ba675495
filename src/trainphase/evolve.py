"""Evolve: one run of a Map or a Flow with observables recorded along it; many runs of a Flow."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from trainphase import march
from trainphase.classifiers import RISE
from trainphase.observable import Observable
from trainphase.survey import FLOOR, batch_axes
from trainphase.system import Flow, Map


@partial(jax.jit, static_argnames=("observables", "average_from"))
def _series(system: Any, state: Any, times: jax.Array, observables: tuple[Observable, ...], average_from: int) -> Any:
    """Record at ``times``, in steps, of which the first is 0 and the last the end of the run."""
    averaging, following = hasattr(system, "predict_test"), hasattr(system, "follow")
    total = jnp.zeros_like(system.predict_test(state)) if averaging else jnp.zeros(())
    loss = system.loss(state)

    def step(t: jax.Array, c: Any) -> Any:
        state, total, loss, most, rises = c
        if averaging:
            total = total + jnp.where(t >= average_from, 1.0, 0.0) * system.predict_test(state)
        state = system.step(state)
        new = system.loss(state)
        rose = (new > FLOOR * most) & (new > loss * (1 + RISE))
        return state, total, new, jnp.maximum(most, new), rises + rose

    def observe(c: Any, memory: Any, t: jax.Array) -> tuple[dict[str, jax.Array], Any]:
        state, total, *_ = c
        out, memory = system.follow(state, memory) if following else ({}, memory)
        out |= {o.name: o.function(system, state) for o in observables if o.name not in out}
        out["escaped"] = system.escaped(state)
        if averaging:
            count = jnp.maximum(t - average_from, 0)
            error = total / jnp.maximum(count, 1) - system.test_targets()
            out["averaged_test_loss"] = jnp.where(count > 0, 0.5 * jnp.mean(jnp.square(error)), jnp.nan)
        return out, memory

    def record(carry: Any, here: tuple[jax.Array, jax.Array]) -> Any:
        (c, memory), (t, until) = carry, here
        out, memory = observe(c, memory, t)
        return (lax.fori_loop(t, until, step, c), memory), out

    start = (state, total, loss, loss, jnp.zeros((), jnp.int32))
    # After the last record there are no steps: one more place to observe would be compiled a second time.
    (carry, _), out = lax.scan(record, (start, system.followed() if following else ()), (times, jnp.append(times[1:], times[-1])))
    return carry[0], carry[4], out


def series(
    system: Map, state: Any, steps: int, observables: tuple[Observable, ...]
) -> tuple[np.ndarray, dict[str, np.ndarray], Any, int]:
    """Run ``steps`` steps; record at most ``system.records`` + 1 times, evenly, the start and the end included.

    Returns the times (in steps), the observables (each (times, ...)), the final state, and the number of steps at which
    the loss rose. Predictions on the test rows are averaged over every step of the second half, whatever is recorded.

    Cost: ``steps`` steps and losses, and one evaluation of every observable per record.
    """
    # Odd, so that records fall on even and odd steps in turn and an oscillation of period two is seen.
    stride = max(1, -(-steps // system.records)) | 1
    records = steps // stride
    usable = tuple(o for o in observables if o.available(system))
    times = np.append(np.arange(records) * stride, steps)
    final, rises, out = _series(system, state, times, usable, steps // 2)
    return times, {k: np.asarray(v) for k, v in out.items()}, final, int(rises)


# --- flows ------------------------------------------------------------------------------------------------

# Relative and absolute error per step of the solver; the fifth-order method then follows losses over ten decades.
RTOL, ATOL = 1e-9, 1e-12
SAMPLES_PER_WINDOW = 4
MOST_SOLVER_STEPS = 1_000_000


def _speed(system: Flow, state: Any) -> jax.Array:
    """Squared length of the velocity."""
    leaves = jax.tree.leaves(system.velocity(jnp.zeros(()), state))
    return jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in leaves]).sum()


def _load_solver() -> None:
    """Load what only flows need, which takes half as long as JAX; not under a trace, which would catch its constants."""
    importlib.import_module("diffrax")


def solve(system: Any, times: jax.Array, settled: float | None) -> tuple[Any, jax.Array, jax.Array]:
    """States at ``times`` (the first is 0), the time reached, and whether the solver failed.

    With ``settled`` the solution ends once the squared speed is that much below its start; later times repeat its end.
    """
    import diffrax

    start = system.init()
    dtype = jax.tree.leaves(start)[0].dtype
    loose = 1.0 if dtype == jnp.float64 else 1e4
    # Relative to the residual at the start: the solver's noise must stay far below the steps of a run that has settled.
    size = jnp.sqrt(2 * system.loss(start))
    absolute = ATOL * loose * jnp.where(size > 0, jnp.minimum(size, 1.0), 1.0)
    event = None
    if settled is not None:
        first = _speed(system, start)
        event = diffrax.Event(lambda t, y, args, **_: _speed(system, y) <= settled * first)
    solution: Any = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: system.velocity(jnp.asarray(t), y)), diffrax.Tsit5(), times[0], times[-1], None, start,
        saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=times), diffrax.SubSaveAt(t1=True)]), event=event,
        throw=False, max_steps=MOST_SOLVER_STEPS, stepsize_controller=diffrax.PIDController(rtol=RTOL * loose, atol=absolute),
    )  # fmt: skip
    path, (reached,) = solution.ys[0], solution.ts[1]
    late = times >= reached
    states = jax.tree.map(
        lambda leaf, end: jnp.where(late.reshape((-1,) + (1,) * (leaf.ndim - 1)), end, leaf), path, solution.ys[1]
    )
    fine = (solution.result == diffrax.RESULTS.successful) | (solution.result == diffrax.RESULTS.event_occurred)
    return states, reached, jnp.logical_not(fine)


@partial(jax.jit, static_argnames=("observables",))
def _flow_series(system: Any, times: jax.Array, observables: tuple[Observable, ...]) -> Any:
    states, reached, failed = solve(system, times, None)

    def observe(at: Any) -> dict[str, jax.Array]:
        t, state = at
        out = {o.name: o.function(system, state) for o in observables}
        return out | {"escaped": system.escaped(state) | (failed & (t > reached))}

    return jax.tree.map(lambda leaf: leaf[-1], states), lax.map(observe, (times, states))


def flow_series(
    system: Flow, steps: int, observables: tuple[Observable, ...], records: int = 1024
) -> tuple[np.ndarray, dict[str, np.ndarray], Any, int]:
    """Solve a flow over ``steps`` units of time; observables at evenly spaced times, the start and the end included.

    Returns the times, the observables (each (times, ...)), the final state, and 0: the loss of a gradient flow falls.
    """
    _load_solver()
    dtype = jax.tree.leaves(jax.eval_shape(system.init))[0].dtype
    times = np.linspace(0, steps, min(int(steps), records) + 1)
    usable = tuple(o for o in observables if o.available(system))
    final, out = _flow_series(system, np.asarray(times, dtype), usable)
    return times, {k: np.asarray(v) for k, v in out.items()}, final, 0


@partial(jax.jit, static_argnames=("batched",))
def _flow_lanes(system: Any, batched: tuple[str, ...], times: jax.Array) -> dict[str, jax.Array]:
    def one(s: Any) -> dict[str, jax.Array]:
        states, reached, failed = solve(s, times, march.threshold(s, times.dtype))
        last = jax.tree.map(lambda leaf: leaf[-1], states)
        speed, curvature = lax.map(lambda x: (_speed(s, x), s.curvature(x)), states)
        return {
            "speed": speed, "curvatures": curvature, "reached": reached, "loss": s.loss(last), "loss_start": s.loss(s.init()),
            "failed": failed | s.escaped(last),
        }  # fmt: skip

    return jax.vmap(one, in_axes=(batch_axes(system, batched),), axis_size=None if batched else 1)(system)


def flow_march(system: Any, batched: tuple[str, ...], points: int, steps: int) -> dict[str, np.ndarray]:
    """Solve ``points`` flows until they settle or ``steps`` units of time have passed; the keys of :func:`march.march`."""
    _load_solver()
    horizon = march.rounded_steps(steps)
    dtype = jax.tree.leaves(jax.eval_shape(system.init))[0].dtype if not batched else getattr(system, batched[0]).dtype
    inside = np.flatnonzero(np.broadcast_to(np.asarray(system.admissible()), (points,)))
    out = march.blank(points) | {"horizon": np.asarray(horizon), "flow": np.asarray(True)}
    times = np.linspace(0, horizon, march.WINDOWS * SAMPLES_PER_WINDOW + 1).astype(dtype)
    width = min(points, system.lanes)
    values = [np.asarray(getattr(system, n)) for n in batched]
    for k in range(0, inside.size, width):
        rows = inside[np.minimum(np.arange(k, k + width), inside.size - 1)]
        got = _flow_lanes(march.with_rows(system, batched, values, rows), batched, times)
        got = {name: np.asarray(v)[: inside.size - k] for name, v in got.items()}
        where = inside[k : k + width]
        over = got["reached"] < horizon * (1 - 1e-6)
        speed = got["speed"][:, 1:].reshape(len(where), march.WINDOWS, SAMPLES_PER_WINDOW)
        bends = got["curvatures"][:, 1:].reshape(len(where), march.WINDOWS, SAMPLES_PER_WINDOW)
        found = {
            "status": np.where(got["failed"], march.ESCAPED, np.where(over, march.SETTLED, march.HORIZON)),
            "run_steps": got["reached"], "motion": speed.max(2), "curvature_mean": bends.mean(2), "curvature_top": bends.max(2),
            "motion_max": got["speed"].max(1), "loss_max": got["loss_start"], "rises": 0, "max_ratio": 1.0,
            "curvature_start": got["curvatures"][:, 0], "curvature": got["curvatures"][:, -1],
            "loss": got["loss"], "unstable": 0.0,
        }  # fmt: skip
        for name, value in found.items():
            out[name][where] = value
    return out
