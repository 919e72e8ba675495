"""Small problems for the tests of the probe: a linear net that catapults, and a tanh net, in JAX and as plain arrays."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import trainphase as tp


def linear_net(params, x):
    return (x @ params["a"] @ params["b"])[:, 0]


def tanh_net(params, x):
    return jnp.tanh(x @ params[0]["w"] + params[0]["b"][None, :]) @ params[1]["w"] + params[1]["b"][None, :]


def catapult_problem(width: int = 256) -> tp.Problem:
    """A wide linear net on a few points: beyond 2 / lr it catapults (Lewkowycz et al. 2020)."""
    rng = np.random.default_rng(0)
    params = {"a": rng.normal(size=(2, width)) / width**0.5, "b": rng.normal(size=(width, 1))}
    x = rng.normal(size=(6, 2))
    return tp.Problem(linear_net, params, (x, 0.1 * x[:, 0]), reduction="mean")


def tanh_problem(dtype: str = "float64", width: int = 8, n: int = 24) -> tp.Problem:
    """A net of two layers with biases and two outputs."""
    rng = np.random.default_rng(1)
    params = [
        {"w": rng.normal(size=(5, width)).astype(dtype), "b": rng.normal(size=width).astype(dtype)},
        {"w": rng.normal(size=(width, 2)).astype(dtype) / width**0.5, "b": np.zeros(2, dtype)},
    ]
    x, y = rng.normal(size=(n, 5)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)
    return tp.Problem(tanh_net, params, (x, y), reduction="mean")
