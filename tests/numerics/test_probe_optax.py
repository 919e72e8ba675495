"""The probe beside optax as it is used, against dense matrices: parts with step sizes of their own, masks, counters, scans."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import trainphase as tp
from trainphase.errors import RequestError

RNG = np.random.default_rng(0)
BATCH = (RNG.normal(size=(12, 3)), RNG.normal(size=(12, 1)))
PARAMS = {"a": RNG.normal(size=(3, 5)) / 3**0.5, "b": RNG.normal(size=(5, 1)) / 5**0.5}
PARTS = {"a": "one", "b": "two"}
SIZES = [15, 5]


def loss_of(params: Any, batch: Any) -> Any:
    return jnp.mean((jnp.tanh(batch[0] @ params["a"]) @ params["b"] - batch[1]) ** 2)


def top(params: Any, scale: Any) -> float:
    """The largest eigenvalue of S H S."""
    theta, restore = ravel_pytree(params)
    h = np.asarray(jax.hessian(lambda t: loss_of(restore(t), BATCH))(theta))
    s = np.broadcast_to(scale, len(h))
    return float(np.linalg.eigvalsh(s[:, None] * h * s)[-1])


def trained(optimiser: Any, steps: int = 8, start: Any = None, **options: Any) -> tuple:
    """A loop as users write it: the record's rows, the parameters and the state at its end."""
    init, update = tp.watch(loss_of, BATCH, every=1, budget=None, tol=1e-9, **options)
    params = jax.tree.map(jnp.asarray, PARAMS)
    state, opt_state = init(params), optimiser.init(params) if start is None else start

    @jax.jit
    def step(params: Any, opt_state: Any) -> Any:
        value, slope = jax.value_and_grad(loss_of)(params, BATCH)
        change, opt_state = optimiser.update(slope, opt_state, params)
        return optax.apply_updates(params, change), opt_state, value

    for _ in range(steps):
        params, opt_state, value = step(params, opt_state)
        state = update(state, params, loss=value, opt_state=opt_state)
    return state.recorder, params, opt_state


def roots(square: Any, eps: float = 1e-8) -> np.ndarray:
    """P^-1/2 of Adam, P = sqrt(v) + eps."""
    return (np.sqrt(np.asarray(square)) + eps) ** -0.5


def test_parts_with_step_sizes_of_their_own() -> None:
    parts = optax.multi_transform({"one": optax.adam(0.02), "two": optax.adam(0.005)}, PARTS)
    record, params, found = trained(parts, method="adam", lr={"a": 0.02, "b": optax.constant_schedule(0.005)})
    v = [found.inner_states[PARTS[k]].inner_state[0].nu[k].ravel() / (1 - 0.999**8) for k in ("a", "b")]
    scale = roots(np.concatenate(v)) * np.repeat([1, 0.25**0.5], SIZES)
    assert record.rows["sharpness"][-1] == pytest.approx(top(params, scale), rel=1e-8)  # the tolerance asked for
    assert record.rows["lr"][-1] == 0.02 and record.notes == []
    with pytest.raises(RequestError, match=r"2 parts with step sizes of their own; give lr as a tree"):
        trained(parts, method="adam", lr=0.02)


def test_a_part_that_stands_still_and_a_mask() -> None:
    still = optax.multi_transform({"one": optax.adam(0.02), "two": optax.set_to_zero()}, PARTS)
    record, params, found = trained(still, method="adam", lr={"a": 0.02, "b": 0.0})
    v = found.inner_states["one"].inner_state[0].nu["a"].ravel() / (1 - 0.999**8)
    scale = np.concatenate([roots(v), np.zeros(5)])
    assert record.rows["sharpness"][-1] == pytest.approx(top(params, scale), rel=1e-8)
    with pytest.raises(RequestError, match=r"\['b'\] have no second moments.*0 where they stand still"):
        trained(optax.masked(optax.adam(0.02), {"a": True, "b": False}), method="adam", lr=0.02)
    record = trained(optax.multi_transform({"one": optax.sgd(0.1), "two": optax.set_to_zero()}, PARTS), lr=0.1)[0]
    assert any("one step size is taken for all" in note for note in record.notes)


def test_amsgrad_and_centred_rmsprop_have_metrics_of_their_own() -> None:
    record, params, found = trained(optax.amsgrad(0.02), method="adam", lr=0.02)
    largest = ravel_pytree(found[0].nu_max)[0]
    assert record.rows["sharpness"][-1] == pytest.approx(top(params, roots(largest)), rel=1e-8)
    record, params, found = trained(optax.rmsprop(0.005, centered=True), method="rmsprop", lr=0.005)
    spread = ravel_pytree(found[0].nu)[0] - ravel_pytree(found[0].mu)[0] ** 2
    assert record.rows["sharpness"][-1] == pytest.approx(top(params, (spread + 1e-8) ** -0.25), rel=1e-8)


def test_a_schedule_goes_by_the_count_of_the_state() -> None:
    """So a run that goes on from a checkpoint, and one that accumulates gradients, have the step size that they use."""
    schedule = optax.linear_schedule(0.0, 0.1, 10)
    first = trained(optax.sgd(schedule), steps=5, lr=schedule)
    assert first[0].rows["step"][0] == 1  # a warm-up that begins with 0 is waited for
    assert first[0].rows["lr"][-1] == pytest.approx(0.05)
    again = trained(optax.sgd(schedule), steps=2, start=first[2], lr=schedule)[0]
    assert again.rows["lr"][-1] == pytest.approx(0.07)
    slow = trained(optax.MultiSteps(optax.sgd(schedule), 4), steps=8, lr=schedule)[0]
    assert slow.rows["lr"][-1] == pytest.approx(0.02)


def test_step_sizes_that_only_the_state_tells_and_other_names_for_methods() -> None:
    record = trained(optax.inject_hyperparams(optax.sgd)(learning_rate=0.05, momentum=0.8))[0]
    assert record.rows["threshold"][-1] == pytest.approx(3.6 / 0.05)
    assert trained(optax.sgd(0.05, momentum=0.8), lr=0.05, momentum=0.8)[0].rows["threshold"][-1] == pytest.approx(72)
    assert trained(optax.adamw(0.02), method="adamw", lr=0.02)[0].rows["threshold"][-1] == pytest.approx(1900)


@pytest.mark.parametrize(
    ("optimiser", "options", "match"),
    [
        (optax.sgd(0.1), {}, "lr is missing"),
        (optax.sgd(0.1, momentum=0.9), {"lr": 0.1}, "has a momentum, which watch was not told"),
        (optax.adam(0.1), {"lr": 0.1}, "second moments, which gd has not"),
        (optax.lion(0.1), {"lr": 0.1, "method": "adam"}, "it has no second moments"),
        (optax.sgd(0.1), {"lr": {"a": 0.1}}, "lr, a dict, does not fit the parameters"),
        (optax.sgd(0.1), {"lr": {"a": "x", "b": 0.1}}, "lr holds a str and no number"),
    ],
)
def test_what_the_state_does_not_tell_is_told_at_the_first_step(optimiser: Any, options: dict, match: str) -> None:
    with pytest.raises(RequestError, match=match):
        trained(optimiser, steps=1, **options)


def test_a_scan_hands_over_its_losses() -> None:
    init, update = tp.watch(loss_of, BATCH, every=15, budget=None, lr=0.1)
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = init(params)

    def step(params: Any, _: Any) -> Any:
        value, slope = jax.value_and_grad(loss_of)(params, BATCH)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, slope), value

    seen: list[float] = []
    for _ in range(4):
        params, losses = jax.lax.scan(step, params, length=10)
        seen += np.asarray(losses).tolist()
        with pytest.raises(RequestError, match=r"shape \(10,\) for 1 steps"):
            update(state, params, loss=losses)
        state = update(state, params, loss=losses, steps=10)
    with pytest.raises(RequestError, match="steps = 0"):
        update(state, params, steps=0)
    assert [s for s, _ in state.recorder.losses] == list(range(40))
    assert state.report().loss.tolist() == seen
    assert state.recorder.rows["step"] == [0, 20, 30]  # the first chance after 15, and after 30


def test_runs_side_by_side_and_losses_without_a_derivative_are_told() -> None:
    optimiser = optax.adam(0.1)
    many = jax.tree.map(lambda p: jnp.stack([p, p]), PARAMS)
    init, update = tp.watch(loss_of, BATCH, lr=0.1, method="adam")
    with pytest.raises(RequestError, match=r"counts of the shape \(2,\).*one run's"):
        update(init(PARAMS), PARAMS, opt_state=jax.vmap(optimiser.init)(many))

    def looped(params: Any, batch: Any) -> Any:
        return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] / 2), (0, loss_of(params, batch)))[1]

    with pytest.raises(RequestError, match=r"cannot be differentiated twice.*while_loop"):
        tp.watch(looped, BATCH, lr=0.1).init(PARAMS)


def test_parameters_of_another_size_are_searched_anew() -> None:
    init, update = tp.watch(loss_of, BATCH, lr=0.1, every=1, budget=None, tol=1e-9)
    state = init(PARAMS)
    wide = {"a": np.tile(PARAMS["a"], 2), "b": np.tile(PARAMS["b"], (2, 1))}
    update(state, wide)
    assert state.recorder.rows["sharpness"][-1] == pytest.approx(top(wide, 1.0), rel=1e-8)
    assert state.recorder.notes == ["from step 1 on 40 parameters are trained, not 20"] and len(repr(state)) < 100
