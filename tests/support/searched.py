"""``trainphase.boundary`` for tests, by the kind of its result: along one parameter, or in the plane of two."""

from __future__ import annotations

from typing import Any

import trainphase as tp
from trainphase.tracing import CurveResult
from trainphase.verbs import BoundaryResult


def along(system: Any, **asked: Any) -> BoundaryResult:
    """The crossings along one parameter."""
    found = tp.boundary(system, **asked)
    assert isinstance(found, BoundaryResult)
    return found


def plane(system: Any, **asked: Any) -> CurveResult:
    """A boundary in the plane of two parameters."""
    found = tp.boundary(system, **asked)
    assert isinstance(found, CurveResult)
    return found
