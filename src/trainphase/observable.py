"""Observable: a named, pure function of (system, state), recorded along a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from trainphase.system import System


@dataclass(frozen=True)
class Observable:
    """What to record: ``function(system, state)`` returns an array of fixed shape whose axes are named by ``dims``.

    ``needs`` lists the methods that a system must have; ``available`` tells whether one has them.

    For developers
    --------------
    ``function`` must be pure and built from jax.numpy: it runs inside the compiled loop.
    """

    name: str
    units: str
    long_name: str
    function: Callable[[Any, Any], jax.Array]
    dims: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def available(self, system: System) -> bool:
        """True when the system has every method that the observable calls."""
        return all(hasattr(system, name) for name in self.needs)
