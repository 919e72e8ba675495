"""Trainphase: the laboratory for phase diagrams of neural-network training.

>>> import trainphase as tp
>>> tp.run("cubic", a=1.1).phase
'periodic'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trainphase._version import __version__
from trainphase.api import boundary, diagram, run, save
from trainphase.axes import Axis, linspace, logspace, values
from trainphase.errors import DataError, RequestError, StoreError, TrainphaseError
from trainphase.phase import EDGE, TRAINING, Phase, Reading, Vocabulary

if TYPE_CHECKING:
    from trainphase import systems
    from trainphase.diagrams import Diagram
    from trainphase.observable import Observable
    from trainphase.problem import Problem
    from trainphase.system import Flow, Map, System
    from trainphase.systems.taylor import taylor
    from trainphase.trajectory import Trajectory

# What needs JAX or xarray is imported when it is first asked for.
_LAZY = {
    "Flow": "trainphase.system",
    "Map": "trainphase.system",
    "System": "trainphase.system",
    "Observable": "trainphase.observable",
    "Trajectory": "trainphase.trajectory",
    "Diagram": "trainphase.diagrams",
    "Problem": "trainphase.problem",
    "taylor": "trainphase.systems.taylor",
    "systems": "trainphase.systems",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'trainphase' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return module if name == "systems" else getattr(module, name)


__all__ = [
    "EDGE",
    "TRAINING",
    "Axis",
    "DataError",
    "Diagram",
    "Flow",
    "Map",
    "Observable",
    "Phase",
    "Problem",
    "Reading",
    "RequestError",
    "StoreError",
    "System",
    "TrainphaseError",
    "Trajectory",
    "Vocabulary",
    "__version__",
    "boundary",
    "diagram",
    "linspace",
    "logspace",
    "run",
    "save",
    "systems",
    "taylor",
    "values",
]
