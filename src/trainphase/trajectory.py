"""Trajectory: what one run produced, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainphase import _html
from trainphase.phase import Reading

if TYPE_CHECKING:
    import xarray

OUTCOMES = ("converged", "escaped", "step-limit")


def plain(value: Any) -> Any:
    """JSON-able: arrays to lists, NaN and infinities to None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One run.

    Attributes
    ----------
    times : steps (``time_units``) at which observables were recorded, shape (T,).
    observables : name -> array (T, ...); ``units`` and ``long_names`` describe them.
    summary : name -> one number for the whole run (last values, Lyapunov exponent, period, ...).
    outcome : converged, escaped or step-limit.
    reading : the phase with its evidence.
    theory : numbers the theory gives for this run (the cubic parameter a of every sample and their maximum).
    final : the last recorded state.
    """

    system: str
    params: dict[str, Any]
    times: np.ndarray
    observables: dict[str, np.ndarray]
    summary: dict[str, float]
    outcome: str
    reading: Reading
    steps: int
    dtype: str
    final: Any
    units: dict[str, str] = field(default_factory=dict)
    long_names: dict[str, str] = field(default_factory=dict)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    theory: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    time_units: str = "steps"

    @property
    def phase(self) -> str:
        """The label of the run's phase, in the vocabulary of its reading."""
        return self.reading.phase

    def to_xarray(self) -> xarray.Dataset:
        """The series with names, units and provenance; scalars of the summary as variables without dimensions."""
        import xarray

        data: dict[str, Any] = {}
        for name, values in self.observables.items():
            dims = ("time", *self.dims.get(name, ())[: values.ndim - 1])
            data[name] = (dims, values, self._attrs(name))
        for name, value in self.summary.items():
            if name not in data:
                data[name] = ((), float(value), self._attrs(name))
        if "a" in self.theory:
            attrs = {"units": "1", "long_name": "cubic parameter a of each sample, by theory"}
            data["theory_a"] = (("sample",), np.atleast_1d(np.asarray(self.theory["a"], float)), attrs)
        attrs = {
            "system": self.system, "phase": self.phase, "outcome": self.outcome, "rule": self.reading.rule,
            "margin": float(self.reading.margin), "steps": self.steps, "dtype": self.dtype,
            "params": json.dumps(plain(self.params), sort_keys=True),
            "provenance": json.dumps(plain(self.provenance), sort_keys=True),
            "title": f"{self.system}: {self.phase}",
        }  # fmt: skip
        return xarray.Dataset(data, {"time": ("time", self.times, {"units": self.time_units, "long_name": "time"})}, attrs)

    def two_step(self) -> Trajectory:
        """Every other iterate: the records at even times, in which an oscillation of period two stands still.

        At the edge of stability the residual changes sign at every step; over two steps it changes slowly. The summary,
        the phase and the final state are those of the whole run.
        """
        even = self.times % 2 == 0
        kept = {name: values[even] for name, values in self.observables.items()}
        return replace(self, times=self.times[even], observables=kept)

    def _attrs(self, name: str) -> dict[str, str]:
        return {"units": self.units.get(name, "1"), "long_name": self.long_names.get(name, name)}

    def plot(self, path: str | Path | None = None) -> Any:
        """Loss, curvature and residuals on one page; written to ``path`` (.png, .pdf, .svg) when one is given.

        Returns the matplotlib figure.
        """
        from trainphase import figures

        figure = figures.run.page(self.to_xarray())
        if path is not None:
            figures.save(figure, path)
        return figure

    def _repr_html_(self) -> str:
        words = self.reading.vocabulary
        params = " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.params.items() if v is not None)
        rows = [(name, value, self.units.get(name, "1")) for name, value in self.summary.items()]
        told = f"{self.outcome} after {self.steps} steps; margin {self.reading.margin:.4g}: {self.reading.rule}"
        return _html.whole(
            [f"{self.system} {params} ", _html.Label(words, self.phase)],
            [_html.line(told), _html.table(("observable", "last value", "units"), rows)],
        )

    def to_json(self, series: bool = False) -> dict[str, Any]:
        """The JSON document of ``trainphase run``."""
        out = {
            "system": self.system,
            "params": self.params,
            "phase": self.phase,
            "margin": self.reading.margin,
            "rule": self.reading.rule,
            "outcome": self.outcome,
            "steps": self.steps,
            "observables": self.summary,
            "theory": self.theory,
            "version": self.provenance.get("trainphase"),
            "seed": self.params.get("seed"),
            "dtype": self.dtype,
        }
        if series:
            out["times"] = self.times
            out["series"] = self.observables
        return plain(out)
