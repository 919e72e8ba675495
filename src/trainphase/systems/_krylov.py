"""The largest eigenvalue of a symmetric operator, followed along a run from a good guess of its mode."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from trainphase.systems._lanes import dot

# Newton's method from above on a cubic with real roots converges from the first step; near a double root it halves the
# distance each time, and there the two roots' values hardly differ.
NEWTON = 6


def krylov_top(
    push: Callable[[jax.Array], jax.Array], pull: Callable[[jax.Array], jax.Array], guess: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Largest Ritz value and unit Ritz vector of J J^T over the span of v, J J^T v, (J J^T)^2 v.

    Three Lanczos steps from the unit vector ``guess``, shape (n,) or (n, runs), which need five products: ``push`` is
    v -> J v, ``pull`` v -> v J. No decomposition of a matrix is called: batched, that would cost more than the products.
    """
    tiny = 100 * jnp.finfo(guess.dtype).eps
    first = guess
    image = pull(first)
    a = dot(image, image)
    rest = push(image) - a * first
    e = jnp.sqrt(dot(rest, rest))
    second = rest / jnp.where(e > 0, e, 1.0)
    image = pull(second)
    b = dot(image, image)
    rest = push(image) - b * second - e * first
    rest = rest - dot(rest, first) * first
    f = jnp.sqrt(dot(rest, rest))
    third = rest / jnp.where(f > 0, f, 1.0)
    image = pull(third)
    c = dot(image, image)
    # Below rounding of the operator a direction is noise.
    e = jnp.where(e > tiny * a, e, 0.0)
    f = jnp.where((e > 0) & (f > tiny * a), f, 0.0)
    b, c = jnp.where(e > 0, b, 0.0), jnp.where(f > 0, c, 0.0)
    value = jnp.maximum(jnp.maximum(a + e, b + e + f), c + f)
    for _ in range(NEWTON):
        inner, slope = (value - b) * (value - c) - f * f, 2 * value - b - c
        p = (value - a) * inner - e * e * (value - c)
        dp = inner + (value - a) * slope - e * e
        value = value - p / jnp.where(dp > 0, dp, jnp.inf)
    y = jnp.where(e > 0, (value - a) / jnp.where(e > 0, e, 1.0), 0.0)
    x = jnp.where(f > 0, ((value - b) * y - e) / jnp.where(f > 0, f, 1.0), 0.0)
    vector = first + y * second + x * third
    size = jnp.sqrt(dot(vector, vector))
    return value, vector / jnp.where(size > 0, size, 1.0)
