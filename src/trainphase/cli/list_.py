"""``trainphase list``: what there is, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from trainphase import catalog, extensions
from trainphase.cli import options, output
from trainphase.errors import RequestError
from trainphase.phase import VOCABULARIES, third_party
from trainphase.reproduce import papers as reproducible

Rows = list[dict[str, Any]]


def systems() -> Rows:
    """Every system with its parameters; of third-party ones the name, since they are loaded on use only."""
    rows: Rows = [
        {
            "name": info.name,
            "summary": info.summary,
            "parameters": [_parameter(p) for p in info.params],
            "observables": list(info.observables),
            "vocabularies": list(info.vocabularies),
            "paper": info.paper,
        }
        for info in catalog.systems().values()
    ]
    theirs = [(name, _foreign(extensions.SYSTEMS, name, name in catalog.systems())) for name in catalog.third_party()]
    return rows + [{"name": name, "summary": told, "parameters": []} for name, told in theirs]


def _foreign(group: str, name: str, own: bool) -> str:
    """What is said of a name of another package, of which nothing is imported; a clash, in its sentence."""
    try:
        extensions.check_name(group, name, own)
    except RequestError as why:
        return str(why)
    return f"of the package {extensions.package(group, name)}"


def _parameter(p: catalog.Param) -> dict[str, Any]:
    told = {"name": p.name, "kind": p.kind, "default": p.default, "units": p.units}
    return told | {"domain": p.domain(), "help": p.help}


def observables() -> Rows:
    """Every observable with its units; of third-party ones the name."""
    rows: Rows = [{"name": name, "units": units, "meaning": text} for name, (units, text) in catalog.OBSERVABLES.items()]
    group = extensions.OBSERVABLES
    theirs = [(name, _foreign(group, name, name in catalog.OBSERVABLES)) for name in extensions.names(group)]
    return rows + [{"name": name, "units": "", "meaning": told} for name, told in theirs]


def phases() -> Rows:
    """Every phase of every vocabulary, with its exact definition; of third-party vocabularies the name."""
    rows: Rows = [
        {"vocabulary": v.name, "label": p.label, "definition": p.definition, "colour": p.colour, "symbol": p.symbol}
        for v in VOCABULARIES.values()
        for p in v.phases
    ]
    theirs = [(name, _foreign(extensions.CLASSIFIERS, name, name in VOCABULARIES)) for name in third_party()]
    return rows + [{"vocabulary": n, "label": "", "definition": told, "colour": "", "symbol": ""} for n, told in theirs]


def datasets() -> Rows:
    """Every image data set, and how to get it; ``trainphase doctor`` tells which are here."""
    from trainphase.data import sets

    return [{"name": name, "shape": list(spec.shape), "get": spec.get} for name, spec in sets.SPECS.items()]


def papers() -> Rows:
    """Every paper: its short name for ``trainphase reproduce``, the systems it is about, what can be reproduced."""
    known = {paper.citation: paper for paper in reproducible.PAPERS.values()}
    named = dict.fromkeys([info.paper for info in catalog.systems().values() if info.paper] + list(known))
    rows: Rows = []
    for citation in named:
        paper = known.get(citation)
        rows.append(
            {
                "paper": citation,
                "name": paper.name if paper else None,
                "title": paper.title if paper else None,
                "systems": [info.name for info in catalog.systems().values() if info.paper == citation],
                "reproduce": reproducible.locators(paper) if paper else [],
            }
        )
    return rows


KINDS: dict[str, Callable[[], Rows]] = {
    "systems": systems,
    "observables": observables,
    "phases": phases,
    "datasets": datasets,
    "papers": papers,
}


@click.command("list", options_metavar="[OPTIONS]", short_help="Systems, observables, phases, data sets, papers.")
@click.argument("kind", required=False, type=options.OneOf(*KINDS), metavar="[KIND]")
@options.json_option
def command(kind: str | None, as_json: bool) -> None:
    """List what there is: systems, observables, phases, datasets or papers; without KIND, all of them.

    \b
    For example: trainphase list phases
    """
    found = {name: rows() for name, rows in KINDS.items() if kind in (None, name)}
    output.emit(found, lambda: "\n\n".join(_text(name, rows) for name, rows in found.items()), as_json)


def _text(name: str, rows: Rows) -> str:
    """One kind as a table."""
    keys = {
        "systems": ("name", "parameters", "summary"),
        "phases": ("vocabulary", "label", "definition"),
        "papers": ("paper", "systems", "reproduce"),
    }
    columns = keys.get(name) or tuple(rows[0])
    return output.table([name.upper(), *columns[1:]], [[_cell(row[key]) for key in columns] for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, list):
        words = [item["name"] if isinstance(item, dict) else str(item) for item in value]
        return "x".join(words) if all(word.isdecimal() for word in words) else " ".join(words)
    return output.cell(value)
