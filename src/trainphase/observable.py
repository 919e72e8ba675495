"""Observable: a named, pure function of (system, state), recorded along a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from trainphase import extensions
from trainphase.errors import RequestError
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


def named(name: str) -> Observable:
    """The observable that another package brings under ``trainphase.observables``; RequestError when there is none."""
    found = extensions.load(extensions.OBSERVABLES, name, Observable)
    if found is None:
        known = ", ".join(extensions.names(extensions.OBSERVABLES)) or "no other package brings one"
        raise RequestError(f"there is no observable {name!r} to ask for ({known}); see trainphase list observables")
    if found.name != name:
        raise RequestError(f"the observable {name!r} of another package calls itself {found.name!r}; give it one name")
    return found


def check_needs(observable: Observable, system: System) -> None:
    """RequestError when the system lacks what the observable calls."""
    lacking = [name for name in observable.needs if not hasattr(system, name)]
    if lacking:
        who = type(system).__name__
        raise RequestError(f"{observable.name} needs {', '.join(lacking)}, which {who} lacks; leave it out, or give another")
