"""An entry of the catalogue: a system with its parameters, as the command line and the explorer see it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainphase.errors import RequestError


@dataclass(frozen=True)
class Param:
    """A parameter: ``kind`` is float, int, choice or text; ``lo`` and ``hi`` bound it (``open_lo``: lo excluded).

    ``axis`` tells that a diagram may range over it; text and choices may not be ranged over.
    """

    name: str
    kind: str
    default: Any
    help: str
    units: str = "1"
    lo: float = -math.inf
    hi: float = math.inf
    open_lo: bool = False
    choices: tuple[str, ...] = ()

    @property
    def axis(self) -> bool:
        """True when a diagram may range over the parameter."""
        return self.kind in ("float", "int")

    def check(self, value: float) -> None:
        """Raise RequestError when a number is outside the domain."""
        low = value <= self.lo if self.open_lo else value < self.lo
        if not math.isfinite(value) or low or value > self.hi:
            raise RequestError(f"{self.name}={value:g} is out of range; {self.name} must be {self.domain()}")

    def domain(self) -> str:
        """The allowed values in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "text":
            return "text"
        word = "a whole number" if self.kind == "int" else "a number"
        if math.isfinite(self.lo) and math.isfinite(self.hi):
            return f"{word} from {self.lo:g} to {self.hi:g}"
        if math.isfinite(self.lo):
            return f"{word} {'above' if self.open_lo else 'of at least'} {self.lo:g}"
        return word


@dataclass(frozen=True)
class SystemInfo:
    """A system as the command line and the explorer see it. ``factory`` is "module:attribute"."""

    name: str
    summary: str
    factory: str
    params: tuple[Param, ...]
    observables: tuple[str, ...]
    vocabularies: tuple[str, ...] = ("training",)
    paper: str = ""

    def param(self, name: str) -> Param:
        """The parameter of that name; RequestError lists the parameters otherwise."""
        for p in self.params:
            if p.name == name:
                return p
        raise RequestError(f"{self.name} has no parameter {name!r}; it has {', '.join(p.name for p in self.params)}")

    def load(self) -> Callable[..., Any]:
        """The factory itself; imports the module (and JAX)."""
        module, _, attribute = self.factory.partition(":")
        return getattr(importlib.import_module(module), attribute)

    @property
    def reference(self) -> Any:
        """What names the system in the Python face: here its name."""
        return self.name

    @property
    def reads_data(self) -> bool:
        """True when the factory takes a data directory."""
        return any(p.name in ("data", "dataset") for p in self.params)
