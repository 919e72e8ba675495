"""``trainphase doctor``: what is installed, which devices there are, and which data sets are here."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import click

from trainphase._version import __version__
from trainphase.cli import checks, environment, options, output, programs
from trainphase.errors import TrainphaseError

# Of the dependencies in pyproject.toml, and jaxlib, which decides the numbers; a test holds the two against each other.
PACKAGES = (
    "jax", "jaxlib", "numpy", "scipy", "equinox", "diffrax", "xarray", "zarr", "numcodecs", "google-crc32c",
    "matplotlib", "scikit-learn", "click", "rich",
)  # fmt: skip


@click.command("doctor", options_metavar="[OPTIONS]", short_help="What is installed, which devices, which data sets.")
@options.json_option
def command(as_json: bool) -> None:
    """Tell what is installed, which devices there are, which data sets are found, and what is wrong.

    \b
    For example: trainphase doctor
    """
    doc = examine()
    output.emit(doc, lambda: _text(doc), as_json)
    if doc["problems"]:
        raise TrainphaseError(f"{doc['problems'][0]} (of {len(doc['problems'])} problems)")


def examine() -> dict[str, Any]:
    """The state of this installation.

    ``problems`` lists what keeps it from working, ``notes`` what only narrows it, one sentence each with what to do.
    """
    flags = environment.prepare_jax()
    installed = {name: checks.version(name) for name in PACKAGES}
    versions = {"trainphase": __version__, "python": platform.python_version(), **installed}
    problems = [sentence for name, found in installed.items() if (sentence := checks.fault(name, found))]
    devices, why = _devices()
    datasets, unread = _datasets()
    written = checks.folders()
    problems += [sentence for sentence in (why, unread) if sentence]
    problems += [_unwritable(f) for f in written if not f["writable"] and f["for"] not in checks.SPARED]
    doc = {
        "versions": versions,
        "extras": checks.extras(),
        "system": platform.platform(),
        "devices": devices,
        "cores": _cores(),
        "xla_flags": flags,
        "programs": _programs(),
        "datasets": datasets,
        "data_folders": [{"folder": f, "exists": os.path.isdir(f)} for f in environment.data_folders()],
        "folders": written,
        "folder": str(Path.cwd()),
        "folder_writable": checks.writable(Path.cwd()),
        "browser": checks.browser(),
        "problems": problems,
    }
    return doc | {"notes": _notes(doc)}


def _notes(doc: dict[str, Any]) -> list[str]:
    """What works less well than it could, and what to do."""
    notes = checks.untested(doc["versions"])
    notes += [_unwritable(f) for f in doc["folders"] if not f["writable"] and f["for"] in checks.SPARED]
    if not doc["folder_writable"]:
        notes.append("this folder cannot be written: give --out, --plot and --store places elsewhere")
    for each in doc["data_folders"]:
        if not each["exists"]:
            notes.append(f"{environment.DATA_VARIABLE} names {each['folder']}, which is no folder: mend the variable")
    if not any(row["found"] for row in doc["datasets"] if row["name"] != "digits"):  # digits come with scikit-learn
        notes.append("no data set is here besides digits: trainphase list datasets tells how to get the others")
    if not doc["browser"]:
        notes.append("no browser was found: trainphase explore prints its address, explore --export writes a file for elsewhere")
    return notes


def _unwritable(folder: dict[str, Any]) -> str:
    where = folder["folder"] or "no folder"
    return f"{where} {'can' if not folder['folder'] else 'cannot'} be written, for {folder['for']}: {folder['remedy']}"


def _devices() -> tuple[list[dict[str, str]], str]:
    """The devices that JAX sees, or a sentence why it sees none."""
    try:
        import jax

        return [{"platform": d.platform, "kind": d.device_kind} for d in jax.devices()], ""
    except Exception as why:  # whatever keeps JAX from starting is what the user wants to be told
        return [], f"JAX does not start ({type(why).__name__}: {' '.join(str(why).split())}): install jax again"


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _programs() -> dict[str, Any]:
    """Where compiled programs are kept between commands, how many and how large, or why none are."""
    place, why = environment.programs_kept()
    count, size = (0, 0) if place is None else programs.size(place.parent)
    return {"folder": None if place is None else str(place.parent), "count": count, "bytes": size, "why_not": why}


def _datasets() -> tuple[list[dict[str, Any]], str]:
    """The data sets, or a sentence why they cannot be looked for."""
    try:
        from trainphase import data

        found = data.status(search=environment.data_folders())
    except ImportError as why:  # a package that is missing or damaged is told of, with the rest
        return [], f"data sets cannot be looked for ({' '.join(str(why).split())}): install trainphase again"
    return [{"name": name, "found": here, "about": about} for name, here, about in found], ""


def _kept(known: dict[str, Any]) -> str:
    if known["folder"] is None:
        return f"compiled anew by each command: {known['why_not']}"
    return f"{known['count']} compiled ones in {known['folder']}, {known['bytes'] / 1e6:.1f} MB"


def _text(doc: dict[str, Any]) -> str:
    """The document as tables."""
    blocks = [output.table(("package", "version"), [(k, v or "missing") for k, v in doc["versions"].items()])]
    extras = [(e["name"], "yes" if e["found"] else "no", e["for"], "" if e["found"] else e["pip"]) for e in doc["extras"]]
    blocks.append(output.table(("extra", "here", "for", "to get it"), extras))
    blocks.append(output.table(("device", "kind"), [(d["platform"], d["kind"]) for d in doc["devices"]]))
    rows = [(d["name"], "yes" if d["found"] else "no", d["about"]) for d in doc["datasets"]]
    blocks.append(output.table(("data set", "here", "about"), rows))
    here = "can" if doc["folder_writable"] else "cannot"
    folders = [f"{f['folder']}{'' if f['exists'] else ' (missing)'}" for f in doc["data_folders"]]
    blocks.append(
        "\n".join([
            f"system       {doc['system']}, {doc['cores']} cores",
            f"XLA flags    {doc['xla_flags'] or 'none'}",
            f"programs     {_kept(doc['programs'])}",
            f"data folders {', '.join(folders) or f'none in {environment.DATA_VARIABLE}'}",
            f"this folder  {doc['folder']} {here} be written",
            f"browser      {doc['browser'] or 'none'}",
            *(f"note         {sentence}" for sentence in doc["notes"]),
            f"problems     {'; '.join(doc['problems']) or 'none'}",
        ])
    )
    return "\n\n".join(blocks)
