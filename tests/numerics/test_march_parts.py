"""Q taken part by part, as many runs of one Q do in single precision: the sums are those of the whole, and nothing is copied."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from trainphase.systems import _parts


def test_parts_of_q_sum_to_the_whole(rng: np.random.Generator) -> None:
    D, P, runs = 12, 16, 6
    Q, phi = rng.standard_normal((D, P, P)), rng.standard_normal((P, runs))
    base = rng.standard_normal((D, runs))
    whole = jnp.asarray(Q.reshape(D * P, P))
    parts = [jax.device_put(p, may_alias=True) for p in np.split(np.asarray(whole), 3)]
    z, u = jax.jit(_parts.contracted)(tuple(parts), jnp.asarray(base), jnp.asarray(phi))
    want = base + 0.5 * np.einsum("aij,ir,jr->ar", Q.transpose(0, 2, 1), phi, phi)
    # Sums of 256 terms of size 10: some hundred eps.
    np.testing.assert_allclose(z, want, rtol=0, atol=1e-11)
    np.testing.assert_allclose(u, np.einsum("aij,jr,ar->ir", Q, phi, want), rtol=0, atol=1e-10)
    assert _parts.parts_of(whole, D) is None, "small"


def test_q_is_cut_into_whole_outputs_without_a_copy() -> None:
    Q = jnp.zeros((60 * 120, 120), jnp.float32)
    parts = _parts.parts_of(Q, 60)
    assert parts is not None and [p.shape for p in parts] == [(15 * 120, 120)] * 4
    # Two copies in turn would cost more than the parts save; XLA aligns its arrays to what it can share.
    here = Q.unsafe_buffer_pointer()
    assert [p.unsafe_buffer_pointer() - here for p in parts] == [k * 15 * 120 * 120 * 4 for k in range(4)]
    assert _parts.parts_of(jnp.zeros((61 * 120, 120), jnp.float32), 61) is None, "61 outputs have no equal parts"
