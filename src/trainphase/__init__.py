"""Trainphase: the laboratory for phase diagrams of neural-network training.

>>> import trainphase as tp
>>> tp.run("cubic", a=1.1).phase
'periodic'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trainphase._version import __version__

if TYPE_CHECKING:
    from trainphase import systems
    from trainphase.api import boundary, diagram, run, save
    from trainphase.axes import Axis, linspace, logspace, values
    from trainphase.diagrams import Diagram
    from trainphase.errors import DataError, RequestError, StoreError, TrainphaseError
    from trainphase.location import locate
    from trainphase.observable import Observable
    from trainphase.phase import EDGE, REGIME, TRAINING, Phase, Reading, Vocabulary
    from trainphase.probe.diagnosis import diagnose
    from trainphase.probe.jax_probe import watch
    from trainphase.problem import Problem
    from trainphase.system import Flow, Map, System
    from trainphase.systems.descent import descent
    from trainphase.systems.taylor import taylor
    from trainphase.trajectory import Trajectory

# Everything is imported when it is first asked for: the command is ready for an interrupt before NumPy is loaded, and
# lists and help never load JAX.
_HOMES = {
    "api": ("boundary", "diagram", "run", "save"),
    "axes": ("Axis", "linspace", "logspace", "values"),
    "diagrams": ("Diagram",),
    "errors": ("DataError", "RequestError", "StoreError", "TrainphaseError"),
    "location": ("locate",),
    "observable": ("Observable",),
    "phase": ("EDGE", "REGIME", "TRAINING", "Phase", "Reading", "Vocabulary"),
    "probe.diagnosis": ("diagnose",),
    "probe.jax_probe": ("watch",),
    "problem": ("Problem",),
    "system": ("Flow", "Map", "System"),
    "systems.descent": ("descent",),
    "systems.taylor": ("taylor",),
    "trajectory": ("Trajectory",),
}
_LAZY = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "systems":
        return importlib.import_module("trainphase.systems")
    if name not in _LAZY:
        raise AttributeError(f"module 'trainphase' has no attribute {name!r}")
    return getattr(importlib.import_module(f"trainphase.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "EDGE",
    "REGIME",
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
    "descent",
    "diagnose",
    "diagram",
    "linspace",
    "locate",
    "logspace",
    "run",
    "save",
    "systems",
    "taylor",
    "values",
    "watch",
]
