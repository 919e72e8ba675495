"""Every row of the glossary names what exists in the code, in its unit; and every observable and label is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from trainphase import catalog
from trainphase.phase import VOCABULARIES

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "glossary.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head; a name in code without its marks."""
    part = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_observables() -> None:
    found = {name.strip("`"): unit for _, name, unit, _ in rows("Measured on a run")}
    assert found == {name: unit for name, (unit, _) in catalog.OBSERVABLES.items()}


def test_parameters() -> None:
    table = rows("Parameters")
    assert len(table) >= 25
    for _, name, systems, unit, _ in table:
        for system in systems.split(", "):
            assert catalog.system(system).param(name.strip("`")).units == unit, (system, name)


def test_labels() -> None:
    found = {vocabulary: tuple(re.findall("`(.*?)`", labels)) for labels, vocabulary in rows("Phases")}
    assert found == {name: vocabulary.labels for name, vocabulary in VOCABULARIES.items()}


def test_formulas() -> None:
    table = rows("Formulas")
    assert len(table) >= 10
    for _, name, _ in table:
        module, _, function = name.strip("`").rpartition(".")
        assert callable(getattr(importlib.import_module(module), function)), name
