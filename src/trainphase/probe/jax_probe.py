"""The probe for JAX: an ``(init, update)`` pair that stands beside the user's own training step, on the host.

Compiled once for a loss and the shapes of its arguments; each measurement linearises the gradient at the parameters, and a
product with the Hessian then costs about two gradients on the probe batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from trainphase._arrays import precision
from trainphase.errors import RequestError
from trainphase.probe.optax_state import Method, method_of, setting_of
from trainphase.probe.recorded import NOT_LOCATED, Recorded, located, of_recorder
from trainphase.probe.recorder import Point, Recorder, minibatches, names_of
from trainphase.probe.settings import Setting
from trainphase.problem import Problem
from trainphase.spectrum.checks import compare

Loss = Callable[[Any, Any], Any]


class Watch(NamedTuple):
    """``init(params) -> state`` and ``update(state, params, loss=..., opt_state=..., batch=...) -> state``."""

    init: Callable[..., WatchState]
    update: Callable[..., WatchState]


@dataclass(frozen=True, eq=False)
class WatchState:
    """What ``update`` hands on. It refers to one growing record, so that an old state tells what a new one does."""

    recorder: Recorder

    def report(self) -> Recorded:
        """The record so far; ``tp.diagnose(state)`` reads it."""
        return of_recorder(self.recorder)


def watch(
    model: Problem | Loss, batch: Any = None, observables: str | Sequence[str] = ("sharpness",), *, every: int = 50,
    budget: float | None = 10.0, method: str = "gd", lr: Any = None, momentum: float | None = None, b2: float = 0.999,
    eps: float = 1e-8, eps_inside: bool | None = None, dampening: float = 0.0, weight_decay: float = 0.0,
    threshold: float | None = None, tol: float = 1e-3, minibatch: int | None = None, seed: int = 0,
) -> Watch:  # fmt: skip
    """Watch a JAX or optax training loop: the sharpness of the loss, against the threshold of the optimiser in use.

    Parameters
    ----------
    model : a function ``(params, batch) -> loss``, a scalar, deterministic; or a Problem, which brings its own data.
    batch : the fixed probe batch, a pytree of arrays; for a Problem leave it out.
    observables : of "sharpness" (always measured; preconditioned for Adam and RMSProp), "second" (the next eigenvalue),
        "gradient_norm", "batch_sharpness" (over minibatches of ``minibatch`` samples of the probe batch, or over the batch
        that ``update`` is given: what settles at the edge when training on minibatches).
    every : steps between measurements. budget : per cent of the training time that measuring may take, None for no limit;
        where it does not suffice, measurements take fewer products and come later.
    method, lr, momentum : "gd", "polyak", "nesterov", "rmsprop" or "adam"; lr a number or a schedule, and both may come from
        ``optax.inject_hyperparams`` by way of ``opt_state``, which ``update`` needs for Adam and RMSProp. For
        ``optax.multi_transform`` a tree of numbers or schedules like the parameters, 0 where they stand still.
    b2, eps, dampening : as in optax. eps_inside : whether eps is under the root, by default for RMSProp, as optax has it.
    weight_decay : decoupled, as optax.adamw has it; for gd and momentum added to the gradient.
    threshold : of the sharpness, for an optimiser that is not listed.
    tol : relative error at which a measurement stops. seed : of the first search.

    Returns the pair. ``init(params)`` checks the products against a finite difference of the gradient, tells the user when
    they disagree (a RuntimeWarning, and a note in the report) and measures. ``update`` is called once a step outside jit,
    after the parameters have changed, with the loss that the step began with; after a ``jax.lax.scan`` over n steps with
    ``steps=n`` and their losses, (n,).

    Raises RequestError for a batch that is empty, a loss that is no scalar or not deterministic, or numbers out of range.
    """
    if hasattr(model, "named_parameters"):
        raise RequestError(f"{type(model).__name__} is a PyTorch module; take trainphase.probe.torch.watch for it")
    named = Method(method, lr, 0.0, b2, eps, False, dampening, weight_decay, threshold)
    how = method_of(named, momentum, eps_inside)
    tool = _Tool(model, batch, how, minibatch)

    def init(params: Any, opt_state: Any = None) -> WatchState:
        recorder = Recorder(every, budget, tol, names_of(observables), seed)
        with precision(_dtype(params)):
            tool.check_loss(params)
            recorder.regime, recorder.place = _regime(model, params)
            told = recorder.begin(lambda: tool.check_products(params), lambda: tool.look(recorder, params, opt_state, None))
        if told:
            import warnings

            warnings.warn(told, RuntimeWarning, stacklevel=2)
        return WatchState(recorder)

    def update(
        state: WatchState, params: Any, loss: Any = None, opt_state: Any = None, batch: Any = None, steps: int = 1
    ) -> WatchState:
        recorder = state.recorder
        entered = recorder.entered()
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((params, loss))):
            raise RequestError("update was called inside jit, where nothing can be measured; call it between compiled steps")
        if isinstance(steps, bool) or not isinstance(cast(object, steps), int | np.integer) or steps < 1:
            raise RequestError(f"steps = {steps} is no number of steps; give a whole number of at least 1")
        if np.shape(loss) not in ((), (steps,)):
            raise RequestError(
                f"loss has shape {np.shape(loss)} for {steps} steps; give one number, or steps= of a scan and all its"
            )
        if recorder.step == 0:
            setting_of(how, steps, opt_state, params)  # what the state lacks is told at once
        recorder.tick(
            loss,
            lambda: tool.look(recorder, params, opt_state, batch),
            lambda: jax.block_until_ready((params, loss)),
            entered,
            steps,
        )
        return state

    return Watch(init, update)


class _Tool:
    """The loss on the probe batch, and its derivatives."""

    def __init__(self, model: Any, batch: Any, how: Method, minibatch: int | None) -> None:
        self.how, self.minibatch = how, minibatch
        self.problem = model if isinstance(model, Problem) else None
        self.loss: Any
        self.batch: Any
        if self.problem is not None:
            if batch is not None:
                raise RequestError("the problem has its own data; leave batch out")
            self.loss, self.batch = _of_problem, (self.problem, 1.0)
        elif not callable(model):
            raise RequestError(f"{type(model).__name__} is neither a loss nor a Problem; give a function (params, batch) -> loss")
        else:
            self.loss, self.batch = model, batch
        _check_batch(self.batch)

    def look(self, recorder: Recorder, params: Any, opt_state: Any, batch: Any) -> Point | None:
        """The point at these parameters; None where an adaptive method has no state yet."""
        setting = setting_of(self.how, recorder.step, opt_state, params)
        if setting is None:
            return None
        dtype = _dtype(params)
        with precision(dtype):
            value, gradient, product = self.at(params, self.batch)
            parts = []
            if "batch_sharpness" in recorder.observables:
                parts = [lambda b=b: self.at(params, b)[1:] for b in self._minibatches(batch, recorder.step)]
        return Point(product, np.asarray(gradient), float(value), setting, parts)

    def at(self, params: Any, batch: Any) -> tuple[Any, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Loss, gradient (P,) and the Hessian's product with a vector, at these parameters and on this batch."""
        dtype = _dtype(params)
        with precision(dtype), _told():
            value, gradient, linear = _look(self.loss, params, batch)

        def product(v: np.ndarray) -> np.ndarray:
            with precision(dtype), _told():
                return np.asarray(_apply(linear, jnp.asarray(v, gradient.dtype)))

        return value, np.asarray(gradient), product

    def _minibatches(self, batch: Any, step: int) -> list[Any]:
        if batch is not None:
            return [batch]
        data = (self.problem.inputs, self.problem.targets) if self.problem is not None else self.batch
        count = np.shape(jax.tree.leaves(data)[0])[0]
        picks = minibatches(count, self.minibatch, step)
        parts = [jax.tree.map(lambda leaf, pick=pick: leaf[pick], data) for pick in picks]
        p = self.problem
        if p is None:
            return parts
        # The problem's own class stays, a Taylor model among them; so does its weight, 1 / count where it takes the mean.
        mean = p.reduction == "mean"
        return [(eqx.tree_at(lambda q: (q.inputs, q.targets), p, part), count / len(part[1]) if mean else 1.0) for part in parts]

    def check_loss(self, params: Any) -> None:
        """RequestError unless the loss is a scalar and says the same twice."""
        if not jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array)):
            raise RequestError("the parameters hold no array of floats; give those that are trained")
        try:
            first, second = (self.loss(params, self.batch) for _ in range(2))
        except RequestError:
            raise
        except Exception as why:
            told = " ".join(f"{type(why).__name__}: {why}".split())[:160]
            raise RequestError(f"the loss fails on the probe batch ({told}); give a batch as in training") from why
        if np.shape(first) != () or not jnp.issubdtype(jnp.asarray(first).dtype, jnp.floating):
            raise RequestError(f"the loss has shape {np.shape(first)} and must be one float; return its mean or sum")
        if not np.isfinite(float(first)):
            raise RequestError(
                f"the loss is {float(first):g} on the probe batch; look for data or parameters that are not finite"
            )
        if float(first) != float(second):
            raise RequestError(f"the loss is {float(first):g} and then {float(second):g} on one batch; turn dropout off in it")

    def check_products(self, params: Any) -> str:
        """What is wrong with the products, or nothing."""
        theta, restore = _flat(params)
        _, _, product = self.at(params, self.batch)
        return compare(product, lambda at: self.at(restore(jnp.asarray(at)), self.batch)[1], np.asarray(theta)).sentence


@contextlib.contextmanager
def _told() -> Generator[None, None, None]:
    """What JAX raises while it differentiates, memory that runs out among it, as one sentence: training must not end."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as why:
        told = " ".join(f"{type(why).__name__}: {why}".split())[:160]
        remedy = "give a smaller batch if memory ran out, else a loss that has second derivatives"
        raise RequestError(f"the loss cannot be differentiated twice on the probe batch ({told}); {remedy}") from why


@eqx.filter_jit
def _look(loss: Loss, params: Any, batch: Any) -> tuple[jax.Array, jax.Array, Any]:
    """The loss, its gradient, and the linear map v -> H v, on the flat vector of parameters."""
    theta, restore = _flat(params)

    def at(t: jax.Array) -> jax.Array:
        return loss(restore(t), batch)

    value, gradient = jax.value_and_grad(at)(theta)
    return value, gradient, jax.linearize(jax.grad(at), theta)[1]


@jax.jit
def _apply(linear: Any, v: jax.Array) -> jax.Array:
    return linear(v)


def _of_problem(params: Any, weighed: tuple[Problem, float]) -> jax.Array:
    # Not by fn: what a Taylor model predicts is not what the model it expands does.
    problem, factor = weighed
    return factor * problem.loss_at(jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)]))


def _flat(params: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """The float arrays as one vector, (P,), and back; what is no float array stays as it is."""
    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    theta, restore = ravel_pytree(arrays)
    return theta, lambda t: eqx.combine(restore(t), rest)


def _dtype(params: Any) -> str:
    leaves = jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array))
    return "float64" if any(leaf.dtype == np.float64 for leaf in leaves) else "float32"


def _check_batch(batch: Any) -> None:
    leaves = [leaf for leaf in jax.tree.leaves(batch) if hasattr(leaf, "shape")]
    if not leaves:
        raise RequestError("there is no probe batch; give the arrays that the loss takes, a few hundred samples")
    for leaf in leaves:
        if 0 in leaf.shape:
            raise RequestError(f"the probe batch is empty: an array of it has shape {leaf.shape}; give some samples")


def _regime(model: Any, params: Any) -> tuple[str, Any]:
    """Where the initialisation lies, for parameters of two or three layers; what the activation is cannot be seen."""
    kind = getattr(getattr(model, "fn", None), "activation", "relu" if hasattr(params, "layers") else None)
    if kind not in (None, "relu"):
        return NOT_LOCATED, None
    regime, place = located(params)
    return (regime if kind or place is None else f"{regime}, if its activation is a ReLU"), place


def train(problem: Problem, lr: float, steps: int, every: int, **options: Any) -> Recorded:
    """Train a problem by the system of ``descent`` with these options, and record it.

    The metric of an adaptive method is that of the system itself, which counts the present gradient in.
    """
    from trainphase.systems.descent import descent

    system = descent(problem, lr, **options)
    system.check()
    if not hasattr(system, "rate"):
        raise RequestError("the threshold of this optimiser is not known; take method polyak, nesterov, adam or rmsprop")
    system = eqx.tree_at(lambda s: s.lr, system, jnp.asarray(lr))
    rate = float(system.rate())
    name = options.get("method") or "polyak"
    beta = options.get("momentum")
    beta = (0.9 if name == "adam" else 0.0) if beta is None else float(beta)
    named = Setting("gd" if name == "polyak" and not beta else name, lr, beta, given=2.0 / rate)
    tool = _Tool(problem, None, Method(named.name, lr, beta, 0.0, 0.0, False, 0.0, 0.0, None), None)
    recorder = Recorder(every, None, observables=("sharpness", "gradient_norm"), minibatch=False)
    state = system.init()
    recorder.regime, recorder.place = _regime(problem, problem.params)

    def look() -> Point:
        value, gradient, product = tool.at(problem.restore(system.place(state)), tool.batch)
        metric = system.metric(state)
        setting = named if metric is None else replace(named, scale=np.asarray(metric, np.float64))
        return Point(product, gradient, float(value), setting)

    recorder.begin(lambda: tool.check_products(problem.params), look)
    for _ in range(steps):
        state, loss = _advance(system, state)
        recorder.tick(loss, look)
    return replace(of_recorder(recorder), cost=None)


@eqx.filter_jit
def _advance(system: Any, state: Any) -> tuple[Any, jax.Array]:
    """A step, and the loss that it began with."""
    loss, gradient = system.problem.loss_and_gradient(system.place(state))
    return system.moved(state, gradient), loss
