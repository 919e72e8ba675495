"""``trainphase doctor``: what is installed, which devices there are, and which data sets are here."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import click

from trainphase._version import __version__
from trainphase.cli import environment, options, output
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
    """The state of this installation; ``problems`` lists what keeps it from working, one sentence each."""
    flags = environment.prepare_jax()
    versions = {"trainphase": __version__, "python": platform.python_version()}
    problems = []
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
            problems.append(f"{name} is not installed: pip install {name}")
    devices, why = _devices()
    if why:
        problems.append(why)
    return {
        "versions": versions,
        "system": platform.platform(),
        "devices": devices,
        "cores": _cores(),
        "xla_flags": flags,
        "datasets": _datasets(),
        "data_folders": [{"folder": f, "exists": os.path.isdir(f)} for f in environment.data_folders()],
        "folder": str(Path.cwd()),
        "folder_writable": _writable(Path.cwd()),
        "problems": problems,
    }


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


def _datasets() -> list[dict[str, Any]]:
    from trainphase import data

    found = data.status(search=environment.data_folders())
    return [{"name": name, "found": here, "about": about} for name, here, about in found]


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _text(doc: dict[str, Any]) -> str:
    """The document as tables."""
    blocks = [output.table(("package", "version"), [(k, v or "missing") for k, v in doc["versions"].items()])]
    blocks.append(output.table(("device", "kind"), [(d["platform"], d["kind"]) for d in doc["devices"]]))
    rows = [(d["name"], "yes" if d["found"] else "no", d["about"]) for d in doc["datasets"]]
    blocks.append(output.table(("data set", "here", "about"), rows))
    here = "can" if doc["folder_writable"] else "cannot"
    folders = [f"{f['folder']}{'' if f['exists'] else ' (missing)'}" for f in doc["data_folders"]]
    blocks.append(
        "\n".join([
            f"system       {doc['system']}, {doc['cores']} cores",
            f"XLA flags    {doc['xla_flags'] or 'none'}",
            f"data folders {', '.join(folders) or f'none in {environment.DATA_VARIABLE}'}",
            f"this folder  {doc['folder']} {here} be written",
            f"problems     {'; '.join(doc['problems']) or 'none'}",
        ])
    )
    return "\n\n".join(blocks)
