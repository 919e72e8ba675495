"""The probe batch of a PyTorch model: its tensors, rows of them, and what is wrong with it. Torch itself is not needed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainphase.errors import RequestError


def is_tensor(data: Any) -> bool:
    """Whether this is a tensor of PyTorch."""
    return hasattr(data, "detach") and hasattr(data, "is_floating_point")


def broadcast(outputs: Any, targets: Any) -> str:
    """A sentence where numbers to be fitted have another shape than the outputs, as (n, 1) and (n,); else nothing."""
    pair = (outputs, targets)
    if not all(is_tensor(t) and t.is_floating_point() and t.ndim and t.numel() > 1 for t in pair):
        return ""
    if outputs.ndim == targets.ndim or outputs.numel() != targets.numel():
        return ""
    shapes = f"outputs have the shape {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
    return f"{shapes}: a loss that takes their difference compares all with all; give both the same shape"


def pair(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise RequestError(f"the probe batch is a {type(batch).__name__} and no pair; give (inputs, targets)")
    return batch[0], batch[1]


def tensors(data: Any) -> list[Any]:
    """All tensors in it."""
    if is_tensor(data):
        return [data]
    parts = data.values() if isinstance(data, Mapping) else data if isinstance(data, tuple | list) else ()
    return [t for part in parts for t in tensors(part)]


def rows(data: Any, pick: Any) -> Any:
    """The same with some of the samples."""
    if is_tensor(data):
        return data[pick.to(data.device)]
    if isinstance(data, Mapping):
        return {k: rows(v, pick) for k, v in data.items()}
    return tuple(rows(v, pick) for v in data) if isinstance(data, tuple | list) else data


def check_batch(inputs: Any, targets: Any) -> None:
    """RequestError where there is nothing to measure on."""
    found = tensors(inputs)
    if not found:
        raise RequestError(f"the inputs of the probe batch are a {type(inputs).__name__}; give tensors, as the model takes them")
    for tensor in (*found, *tensors(targets)):
        if tensor.numel() == 0:
            raise RequestError(f"the probe batch is empty: a tensor of it has shape {tuple(tensor.shape)}; give some samples")
