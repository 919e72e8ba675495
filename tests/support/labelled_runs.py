"""Training runs of small nets whose phases are known by construction, for scoring the reading of recorded runs.

Every run is real training in double precision, with the sharpness from a dense eigenvalue solver at every step or every few
steps. A label comes from what the reader of a record does not see: the step size relative to the curvature of the gradient
flow from the same start, the same run continued four times longer, the exact map. ``scripts/score_labelled_runs.py`` writes
the scores; the tests take a quick part.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from trainphase._arrays import precision
from trainphase.theory import thresholds

Net = Callable[[jax.Array, Any], jax.Array]
# Measurements per call of the compiled loop: runs of any length then share one compilation.
CHUNK = 20


@dataclass(frozen=True)
class Task:
    """A mean loss ``loss(theta, x, y)`` with its data and its start; hashable by identity, so that a step compiles once."""

    name: str
    loss: Callable[..., jax.Array] = field(repr=False)
    x: np.ndarray = field(repr=False, compare=False)
    y: np.ndarray = field(repr=False, compare=False)
    start: np.ndarray = field(repr=False, compare=False)


@dataclass
class Run:
    """What came of training: loss at every step, sharpness every ``every`` steps, and the state to go on from."""

    loss: np.ndarray
    full_loss: np.ndarray
    sharpness: np.ndarray
    every: int
    threshold: float
    lr: float
    state: Any = None

    @property
    def ratio(self) -> np.ndarray:
        """Sharpness in units of its threshold."""
        return self.sharpness / self.threshold


@dataclass(frozen=True)
class Recipe:
    """An optimiser: its name as in ``theory.thresholds``, momentum, second-moment decay, and a batch size (0: all data)."""

    optimiser: str = "gd"
    beta: float = 0.0
    beta2: float = 0.99
    eps: float = 1e-8
    batch: int = 0


def _initial(theta: jax.Array) -> dict[str, jax.Array]:
    zero = jnp.zeros_like(theta)
    return {"theta": theta, "m": zero, "v": zero, "t": jnp.zeros(())}


def _update(recipe: Recipe, lr: jax.Array, state: dict[str, jax.Array], g: jax.Array) -> dict[str, jax.Array]:
    """One step, as the optimisers' papers write it (Adam with both bias corrections)."""
    t, b = state["t"] + 1, recipe.beta
    m, v = state["m"], state["v"]
    if recipe.optimiser in ("adam", "rmsprop"):
        v = recipe.beta2 * v + (1 - recipe.beta2) * g**2
    if recipe.optimiser == "gd":
        move = g
    elif recipe.optimiser == "polyak":
        m = b * m + g
        move = m
    elif recipe.optimiser == "nesterov":
        m = b * m + g
        move = g + b * m
    elif recipe.optimiser == "adam":
        m = b * m + (1 - b) * g
        move = m / (1 - b**t) / _preconditioner(recipe, v, t)
    else:
        move = g / _preconditioner(recipe, v, t)
    return {"theta": state["theta"] - lr * move, "m": m, "v": v, "t": t}


def _preconditioner(recipe: Recipe, v: jax.Array, t: jax.Array) -> jax.Array:
    return jnp.sqrt(v / (1 - recipe.beta2**t)) + recipe.eps


def _sharpness(task_loss: Any, recipe: Recipe, state: dict[str, jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
    """Largest eigenvalue of the Hessian, or of the preconditioned one; for minibatches E_B[g H_B g / |g|^2]."""
    theta = state["theta"]
    if recipe.batch:
        xs, ys = (a.reshape(-1, recipe.batch, *a.shape[1:]) for a in (x, y))

        def along(xb: jax.Array, yb: jax.Array) -> jax.Array:
            slope = jax.grad(task_loss)
            g = slope(theta, xb, yb)
            return g @ jax.jvp(lambda p: slope(p, xb, yb), (theta,), (g,))[1] / (g @ g)

        return jnp.mean(jax.vmap(along)(xs, ys))
    hessian = jax.hessian(task_loss)(theta, x, y)
    if recipe.optimiser in ("adam", "rmsprop"):
        scale = 1 / jnp.sqrt(_preconditioner(recipe, state["v"], jnp.maximum(state["t"], 1.0)))
        hessian = hessian * scale[:, None] * scale[None, :]
    return jnp.linalg.eigvalsh(hessian)[-1]


@partial(jax.jit, static_argnames=("task_loss", "recipe", "blocks", "every"))
def _train(
    task_loss: Any, recipe: Recipe, state: Any, lr: jax.Array, x: jax.Array, y: jax.Array, key: jax.Array, blocks: int, every: int
) -> Any:
    def step(carry: Any, k: jax.Array) -> Any:
        if recipe.batch:
            rows = jax.random.permutation(k, x.shape[0])[: recipe.batch]
            xb, yb = x[rows], y[rows]
        else:
            xb, yb = x, y
        loss, g = jax.value_and_grad(task_loss)(carry["theta"], xb, yb)
        full = task_loss(carry["theta"], x, y) if recipe.batch else loss
        return _update(recipe, lr, carry, g), (loss, full)

    def block(carry: Any, k: jax.Array) -> Any:
        sharp = _sharpness(task_loss, recipe, carry, x, y)
        carry, losses = jax.lax.scan(step, carry, jax.random.split(k, every))
        return carry, (*losses, sharp)

    return jax.lax.scan(block, state, jax.random.split(key, blocks))


def train(
    task: Task,
    lr: float,
    steps: int,
    recipe: Recipe = Recipe(),
    every: int = 1,
    state: Any = None,
    seed: int = 0,
) -> Run:
    """Train for ``steps`` steps (a multiple of 20 ``every``), from the task's start or from a state."""
    # BLAS threads that wait for each other cost twenty times more here than they bring.
    with precision("float64"), threadpool_limits(1):
        begin = _initial(jnp.asarray(task.start)) if state is None else state
        x, y = jnp.asarray(task.x), jnp.asarray(task.y)
        parts: list[Any] = []
        for k in range(steps // every // CHUNK):
            key = jax.random.fold_in(jax.random.key(seed), k)
            begin, part = _train(task.loss, recipe, begin, jnp.asarray(lr, jnp.float64), x, y, key, CHUNK, every)
            parts.append([np.ravel(p) for p in part])
        loss, full, sharp = (np.concatenate(p) for p in zip(*parts, strict=True))
        limit = float(thresholds.threshold(recipe.optimiser, lr, recipe.beta))
        return Run(loss, full, sharp, every, limit, lr, begin)


# --- tasks --------------------------------------------------------------------------------------------------


def _mlp(sizes: tuple[int, ...], act: Callable[[jax.Array], jax.Array]) -> Net:
    def net(theta: jax.Array, x: jax.Array) -> jax.Array:
        at = 0
        for k, (n, m) in enumerate(itertools.pairwise(sizes)):
            weights = theta[at : at + n * m].reshape(n, m)
            at += n * m
            x = x @ weights
            if k < len(sizes) - 2:
                x = act(x)
        return x

    return net


def _weights(sizes: tuple[int, ...], scale: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([scale * rng.standard_normal(n * m) / np.sqrt(n) for n, m in itertools.pairwise(sizes)])


@cache
def _squared(sizes: tuple[int, ...], act: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    net = _mlp(sizes, act)
    return lambda theta, x, y: jnp.mean(jnp.sum((net(theta, x) - y) ** 2, -1)) / 2


@cache
def _entropy(sizes: tuple[int, ...], act: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    net = _mlp(sizes, act)
    return lambda theta, x, y: -jnp.mean(jnp.sum(y * jax.nn.log_softmax(net(theta, x)), -1))


def _identity(x: jax.Array) -> jax.Array:
    return x


@cache
def _digits(classes: int, pixels: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Real digits (scikit-learn), their leading principal components with unit variance on average, one-hot targets."""
    from sklearn.datasets import load_digits

    x, y = load_digits(n_class=classes, return_X_y=True)
    x = np.asarray(x)[:rows]
    x = x - np.mean(x, axis=0)
    x = x @ np.linalg.svd(x, full_matrices=False)[2][:pixels].T
    return x / np.sqrt(np.mean(x**2)), np.eye(classes)[np.asarray(y)[:rows]]


def digits(seed: int, scale: float = 1.0, entropy: bool = False, hidden: tuple[int, ...] = (10,), rows: int = 64) -> Task:
    """A tanh net without biases on digits of three classes."""
    x, y = _digits(3, 8, rows)
    sizes = (8, *hidden, 3)
    loss = (_entropy if entropy else _squared)(sizes, jnp.tanh)
    return Task("tanh net, cross-entropy" if entropy else "tanh net", loss, x, y, _weights(sizes, scale, seed))


def deep_linear(seed: int, depth: int = 3, width: int = 5, scale: float = 0.6) -> Task:
    """A deep linear net on a random linear map with singular values 1 to 3; its data are white."""
    rng = np.random.default_rng(1000 + seed)
    sizes = (width,) * (depth + 1)
    u, v = (np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(2))
    target = (u * np.linspace(1, 3, width)) @ v.T
    x = np.sqrt(width) * np.eye(width)
    return Task("deep linear net", _squared(sizes, _identity), x, x @ target, _weights(sizes, scale, seed))


def wide_net(seed: int, kind: str = "linear", width: int = 60) -> Task:
    """One hidden layer on one datum in the scale of the kernel: f = v.act(u) / sqrt(m), y = 0 (Lewkowycz et al., 2020)."""
    rng = np.random.default_rng(2000 + seed)
    loss = _wide_linear_loss if kind == "linear" else _wide_tanh_loss
    return Task(f"wide {kind} net", loss, np.ones((1, 1)), np.zeros((1, 1)), rng.standard_normal(2 * width))


def _wide_linear_loss(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    u, v = jnp.split(theta, 2)
    return (u @ v / jnp.sqrt(u.size) * x[0, 0] - y[0, 0]) ** 2 / 2


def _wide_tanh_loss(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    u, v = jnp.split(theta, 2)
    return (jnp.tanh(u * x[0, 0]) @ v / jnp.sqrt(u.size) - y[0, 0]) ** 2 / 2


def linear(seed: int) -> Task:
    """Linear regression on digits: the curvature does not move."""
    x, y = _digits(3, 8, 64)
    return Task("linear regression", _squared((8, 3), _identity), x, y, _weights((8, 3), 1.0, seed))


def product(seed: int) -> Task:
    """(x y - 1)^2 / 2: every minimum has a sharpness of 2 and more, so beyond lr = 1 nothing settles."""
    rng = np.random.default_rng(3000 + seed)
    return Task("product of two", _product_loss, np.ones((1, 1)), np.ones((1, 1)), 1 + 0.2 * rng.standard_normal(2))


def _product_loss(theta: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    return (theta[0] * theta[1] * x[0, 0] - y[0, 0]) ** 2 / 2
