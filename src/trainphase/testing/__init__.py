"""Testing: the conformance kit for those who extend trainphase. Each check is one line in a test of theirs.

>>> from trainphase.testing import check_system
>>> from trainphase.systems import Cubic
>>> check_system(Cubic(a=1.1)).a
1.1

A check returns what it was given, or raises an AssertionError of one sentence: what is wrong, the offending value, the remedy.
The contracts stand in the docstrings of the four functions; trainphase's own systems, observables, classifiers and executors
are held to them by the same functions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainphase.testing._classifier import check_classifier
    from trainphase.testing._executor import check_executor
    from trainphase.testing._observable import check_observable
    from trainphase.testing._system import check_system

# Imported when asked for: a worker process that computes the tiles of ``check_executor`` need not load JAX.
_HOMES = {f"check_{name}": name for name in ("system", "observable", "classifier", "executor")}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trainphase.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"trainphase.testing._{_HOMES[name]}"), name)


__all__ = ["check_classifier", "check_executor", "check_observable", "check_system"]
