"""System: what one step of training does to a state.

Gradient descent is a Map in its own right and not an integrator of a flow: its terms of second order in the step size
are the subject.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

State = Any

# The fraction at which a single start is taken from a family: irrational, so on no special point for all parameters.
TYPICAL = 0.41421356237309503


class System(eqx.Module):
    """What maps and flows share: parameters, a start, and what is measured on a state. Subclass Map or Flow, not this."""

    theory: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]]
    # Runs that share arrays are advanced together, this many at a time.
    lanes: ClassVar[int] = 2048
    # A run of the edge vocabulary has settled when its steps are this much smaller than its largest, squared.
    settled: ClassVar[float] = 1e-16

    def init(self) -> State:
        """The state that the run starts from."""
        raise NotImplementedError(f"{type(self).__name__} has no init(); return the state that the run starts from")

    def residual(self, state: State) -> jax.Array:
        """What training drives to zero; here the state itself, flattened."""
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(state)])

    def loss(self, state: State) -> jax.Array:
        """Half the sum of squared residuals."""
        return 0.5 * jnp.sum(jnp.square(self.residual(state)))

    def escaped(self, state: State) -> jax.Array:
        """True once the state cannot return (a NaN counts as escaped)."""
        # Not by the largest entry: XLA may leave a NaN out of a maximum.
        inside = jnp.stack([jnp.all(jnp.abs(leaf) <= 1e6) for leaf in jax.tree.leaves(state)])
        return jnp.logical_not(jnp.all(inside))

    def admissible(self) -> Any:
        """True where the parameters describe a run, shape () or that of batched parameters."""
        return np.asarray(True)

    def check(self) -> None:
        """Raise RequestError when a parameter is outside its domain; called once before a run, on concrete values."""


class Map(System):
    """A discrete rule ``state -> step(state)``; subclass it with fields for the parameters.

    Fields are parameters: a plain float may become an axis of a diagram. One that decides a shape, such as a width, is
    written ``m: int = equinox.field(static=True, default=8)`` and may be an axis, too: each value is compiled by itself.
    Any pytree of float arrays is a state.

    For developers
    --------------
    Write ``step``, and ``init`` or ``interval``. The rest has defaults:

    - ``residual(state)``: what goes to zero when training succeeds, any shape; default: the state itself.
    - ``loss(state)``: default half the sum of squared residuals.
    - ``escaped(state)``: True once the state can never return; default: non-finite or larger than 1e6 in size.
    - ``tangent(state, v)``: step and its derivative along ``v``; default by automatic differentiation.
    - ``interval()``: for a scalar state, the interval (lo, hi) of starts over which the phase of the map is taken;
      None (default) means that the phase is that of the run from ``init``.
    - ``over_starts()`` and ``start(u)``: the same for any state, with a curve of starts u in (0, 1) instead.
    - ``curvature(state)``, optional: step size times the top kernel eigenvalue; lets slow runs be decided, and is what
      the edge vocabulary reads.
    - ``observed_step(state, memory, look)`` and ``memory()``: one step together with what is measured along it, for
      systems where the step has already computed most of it.
    - ``follow(state, memory)`` and ``followed()``, optional: observables by name that are measured along a run with a memory
      from record to record, in place of those of the same name; and the memory before the first record.
    - ``units``, optional: observable -> unit, where a system's differ from the usual ones.
    - ``admissible()``: False where the parameters describe no run (a start outside the model's domain).
    - ``predict_test(state)`` and ``test_targets()``, optional: give test losses, of single and averaged predictions.
    - ``theory_inputs()``, optional: the numbers that the theory named by ``theory`` needs.

    - ``lanes``, ``lane_axis``, ``tile``, ``records``: class variables that cost or save time and change no result.
    - ``costly``: class variable, True where a single run takes seconds; ``boundary`` then asks for few values by default.

    ``step`` must be pure and built from jax.numpy: it is compiled, batched and differentiated. Nothing checks that for you.
    """

    vocabularies: ClassVar[tuple[str, ...]] = ("training",)
    # Where the runs are in the arrays of a state while they are advanced: first, or last (-1) where steps like that better.
    lane_axis: ClassVar[int] = 0
    # So many of them at a time, for what fits in cache; 0: all.
    tile: ClassVar[int] = 0
    # A run is recorded so often at most; fewer times where observables take decompositions.
    records: ClassVar[int] = 4096
    # Runs are advanced one after the other and not side by side, where a step of one run keeps the processor busy.
    in_turn: ClassVar[bool] = False
    # A single run takes a second or more: a search for boundaries asks for few values, one at a time.
    costly: ClassVar[bool] = False

    def ready(self) -> Any:
        """The system with whatever its steps would otherwise compute anew each time; the same map."""
        return self

    def tile_of(self, points: int) -> int:
        """``tile``, or another number where so many runs are to be advanced."""
        return type(self).tile

    def init(self) -> State:
        """The state before the first step; for a map over a family of starts, one of them unless overridden."""
        if self.over_starts():
            return self.start(jnp.asarray(TYPICAL))
        return super().init()

    def step(self, state: State) -> State:
        """The state after one step; of the same tree, shapes and types as ``state``."""
        raise NotImplementedError(f"{type(self).__name__} has no step(state); return the next state")

    def tangent(self, state: State, v: State) -> tuple[State, State]:
        """The next state, and the derivative of the step along ``v``."""
        return jax.jvp(self.step, (state,), (v,))

    def start_curvature(self) -> jax.Array:
        """``curvature`` of the state before the first step; to be overridden where runs share it."""
        return self.curvature(self.init())  # pyright: ignore[reportAttributeAccessIssue]

    def memory(self) -> Any:
        """What ``observed_step`` carries from step to step beside the state; nothing unless overridden."""
        return ()

    def observed_step(self, state: State, memory: Any, look: bool) -> tuple[State, jax.Array, jax.Array, Any]:
        """The next state; the loss of ``state``; with ``look`` the curvature of ``state``, else NaN; the memory."""
        loss = self.loss(state)
        curvature = jnp.full_like(loss, jnp.nan)
        if look:
            curvature = self.curvature(state)  # pyright: ignore[reportAttributeAccessIssue]
        return self.step(state), loss, curvature, memory

    def interval(self) -> tuple[jax.Array, jax.Array] | None:
        """The interval of starts of a scalar map, or None for a single run."""
        return None

    def over_starts(self) -> bool:
        """True when the phase is that of the map over a family of starts and not that of the run from ``init``."""
        # Its shape alone: what is computed outside of a program is compiled operation by operation.
        return jax.eval_shape(self.interval) is not None

    def start(self, u: jax.Array) -> State:
        """The start at the fraction ``u`` of the family, u in (0, 1)."""
        bounds = self.interval()
        if bounds is None:
            raise NotImplementedError(f"{type(self).__name__} has no interval of starts")
        lo, hi = jnp.asarray(bounds[0]), jnp.asarray(bounds[1])
        return lo + (hi - lo) * u


class Flow(System):
    """A differential equation ``state' = velocity(t, state)``: gradient flow. Subclass it as one does Map.

    Time is in units in which gradient descent of step size lr advances by lr per step.

    For developers
    --------------
    Write ``init``, ``velocity`` and ``curvature(state)``, the top kernel eigenvalue (the step size is 1), which the edge
    vocabulary reads; ``residual``, ``loss``, ``admissible``, ``check`` are as for Map.
    """

    vocabularies: ClassVar[tuple[str, ...]] = ("edge",)

    def velocity(self, t: jax.Array, state: State) -> State:
        """The rate of change of the state, per unit of time."""
        raise NotImplementedError(f"{type(self).__name__} has no velocity(t, state); return the rate of change")
