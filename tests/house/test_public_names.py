"""Every public name says what it is, and what is said of parameters fits the signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import trainphase

PUBLIC = {name: getattr(trainphase, name) for name in trainphase.__all__}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}

ERRORS = {name for name, cls in CLASSES.items() if issubclass(cls, Exception)}  # their signature is not known to Python


def functions_of(cls: type) -> dict[str, Callable[..., Any]]:
    """The public methods and properties that a class itself defines, as functions."""
    found = {}
    for name, value in vars(cls).items():
        bare = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(bare):
            found[name] = bare
    return found


METHODS = {f"{name}.{method}": f for name, cls in CLASSES.items() for method, f in functions_of(cls).items()}


def documented(text: str) -> set[str]:
    """The names in front of the colons of a section "Parameters"."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?:^\n|\Z)", text, re.M | re.S)
    lines = re.findall(r"^([a-z]\w*(?:, \w+)*) ?: ", section[1], re.M) if section else []
    return {name for line in lines for name in line.split(", ")}


def unspoken(function: Callable[..., Any]) -> list[str]:
    """The parameters whose name does not occur in the docstring."""
    text = inspect.getdoc(function) or ""
    names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    return [name for name in names if not re.search(rf"\b{name}\b", text)]


def test_every_name_is_here() -> None:
    assert len(PUBLIC) == len(trainphase.__all__) >= 30
    assert len(FUNCTIONS) >= 10 and len(CLASSES) >= 10 and len(METHODS) >= 20


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES, *METHODS])
def test_it_has_a_docstring(name: str) -> None:
    known = {**FUNCTIONS, **CLASSES, **METHODS}[name]
    text = known.__doc__ or ""  # its own: an inherited one tells of something else
    assert len(text.split()) >= 3, f"{name} has no docstring"
    assert not text.startswith(f"{name}("), f"{name} has only the docstring that dataclass makes"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_told_of(name: str) -> None:
    assert unspoken(FUNCTIONS[name]) == []


@pytest.mark.parametrize("name", [n for n in (*FUNCTIONS, *CLASSES, *METHODS) if n not in ERRORS])
def test_what_is_told_of_is_a_parameter(name: str) -> None:
    known = {**FUNCTIONS, **CLASSES, **METHODS}[name]
    stray = documented(inspect.getdoc(known) or "") - set(inspect.signature(known).parameters)
    assert not stray, f"{name} tells of {sorted(stray)}, which it does not take"


def test_faults_are_found() -> None:
    def example(a: int, b: int, c: int) -> None:
        """Do something.

        Parameters
        ----------
        a, gone : numbers: two of them.
        b: another.

        Returns d: nothing.
        """

    assert documented(inspect.getdoc(example) or "") == {"a", "gone", "b"}
    assert unspoken(example) == ["c"]
