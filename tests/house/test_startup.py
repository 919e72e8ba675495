"""Help and lists are quick because they load nothing heavy: a fresh interpreter says what it loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "jax", "equinox", "matplotlib", "pandas", "xarray", "zarr", "sklearn", "scipy", "dask", "distributed", "fsspec", "uvicorn",
)  # fmt: skip

# Runs the command in the child itself and prints, as the last line, its exit code and the modules it loaded.
CHILD = """
import json, sys
from trainphase.cli.main import main
code = main(json.loads(sys.argv[1]))
sys.stdout.flush()
print()
print(json.dumps({"code": code, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def start(*arguments: str) -> tuple[str, dict]:
    """What a command prints, and what the child reports about itself."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    printed, _, report = done.stdout.rstrip().rpartition("\n")
    return printed, json.loads(report)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("list",),
        ("list", "systems"),
        ("list", "phases", "--json"),
        ("run", "--help"),
        ("diagram", "--help"),
        ("explore", "--help"),
        ("boundary", "--help"),
        ("demo", "--help"),
        ("diagnose", "--help"),
        ("status", "--help"),
        ("reproduce", "--help"),
    ],
    ids=" ".join,
)
def test_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    printed, report = start(*arguments)
    assert report["code"] == 0
    assert printed.strip(), "the command printed nothing"
    loaded = sorted(set(HEAVY) & set(report["modules"]))
    assert not loaded, f"'trainphase {' '.join(arguments)}' loads {loaded}"


def test_the_report_sees_heavy_modules() -> None:
    # The test above can fail: the same way of looking finds a module that was loaded.
    code = "import sys, xarray; print(sorted({n.split('.')[0] for n in sys.modules} & {'pandas', 'xarray'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "['pandas', 'xarray']"
