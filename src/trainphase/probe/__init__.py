"""The probe: which phase the user's own training is in, and how far from the edge.

``watch`` measures along a JAX or optax loop, ``trainphase.probe.torch.watch`` along a PyTorch loop, and ``diagnose`` reads
what they have recorded, a record of the user's own, or a problem. Nothing here imports PyTorch but ``torch_adapter``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainphase.probe.diagnosis import Diagnosis, diagnose
    from trainphase.probe.jax_probe import Watch, WatchState, watch
    from trainphase.probe.recorded import Recorded

_HOMES = {
    "diagnose": "diagnosis", "Diagnosis": "diagnosis", "watch": "jax_probe", "Watch": "jax_probe", "WatchState": "jax_probe",
    "Recorded": "recorded",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trainphase.probe' has no attribute {name!r}")
    return getattr(importlib.import_module(f"trainphase.probe.{_HOMES[name]}"), name)


__all__ = ["Diagnosis", "Recorded", "Watch", "WatchState", "diagnose", "watch"]
