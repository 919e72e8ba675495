"""Build wheel and sdist, install the wheel into an empty environment, and use it there as a newcomer would.

Usage: python scripts/check_dist.py [FOLDER]   some minutes: builds into FOLDER (dist), exit code 1 at the first fault

Needs hatchling in this environment and a package index for pip. The wheel comes from the sdist, as an index would build it,
so what the sdist lacks is missed here and not by a user.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What must be in the archives besides the Python modules; parts of names.
IN_WHEEL = ("trainphase/py.typed", "trainphase/explorer/page/", "licenses/LICENSE", "entry_points.txt")
IN_SDIST = (
    "README.md", "LICENSE", "Makefile", "pyproject.toml", "tests/conftest.py", "scripts/write_errors.py", "docs/conf.py",
    "docs/start.md",
)  # fmt: skip


class Fault(Exception):
    """One sentence: what does not work."""


def ran(command: list[str], folder: Path) -> str:
    """Standard output of a command that must succeed, in an environment without our own Python paths."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Fault(f"{' '.join(command)} ends with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def built(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from what the sdist holds."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("trainphase-*.whl"), *folder.glob("trainphase-*.tar.gz")):
        old.unlink()
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    ran([*build, "-t", "sdist"], ROOT)
    (sdist,) = folder.glob("trainphase-*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(sdist) as archive:
        archive.extractall(scratch, filter="data")
        (inside,) = Path(scratch).iterdir()
        ran([*build, "-t", "wheel"], inside)
    (wheel,) = folder.glob("trainphase-*.whl")
    return sdist, wheel


def contents(sdist: Path, wheel: Path) -> None:
    """Fault when an archive lacks something, or holds what no user needs."""
    with tarfile.open(sdist) as archive:
        _holds(sdist, archive.getnames(), IN_SDIST)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    modules = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src" / "trainphase").rglob("*.py")}
    _holds(wheel, names, (*IN_WHEEL, *modules))
    ours, litter = re.compile(r"trainphase(/|-[^/]+\.dist-info/)"), re.compile("__pycache__|node_modules")
    extra = [name for name in names if not ours.match(name) or litter.search(name)]
    if extra:
        raise Fault(f"{wheel.name} holds what nobody needs: {', '.join(extra[:9])}")


def _holds(archive: Path, names: list[str], wanted: tuple[str, ...]) -> None:
    missing = [part for part in wanted if not any(part in name for name in names)]
    if missing:
        raise Fault(f"{archive.name} lacks {', '.join(missing[:9])}")


def used(wheel: Path, folder: Path) -> None:
    """Install the wheel into an empty environment below the folder, and run help, a run, a diagram and the explorer's file."""
    venv.create(folder / "venv", with_pip=True)
    bin_ = folder / "venv" / "bin"
    ran([str(bin_ / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)], folder)
    command = str(bin_ / "trainphase")
    if "trainphase run cubic a=1.1" not in ran([command, "--help"], folder):
        raise Fault("trainphase --help does not name trainphase run cubic a=1.1")
    phase = json.loads(ran([command, "run", "cubic", "a=1.1", "--json"], folder))["phase"]
    if phase != "periodic":  # a stable cycle of two steps lies at every a between 1 and 1.15
        raise Fault(f"trainphase run cubic a=1.1 gives {phase}, not periodic")
    ran([command, "explore", "--export", "x.html"], folder)
    if 'id="trainphase-document"' not in (folder / "x.html").read_text(encoding="utf-8"):
        raise Fault("trainphase explore --export writes a page without its document")
    problems = json.loads(ran([command, "doctor", "--json"], folder))["problems"]
    if problems:
        raise Fault(f"trainphase doctor finds {'; '.join(problems)}")


def main() -> int:
    """Build, look, install, use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", help="where the archives go")
    began = time.perf_counter()
    try:
        sdist, wheel = built(parser.parse_args().folder.resolve())
        contents(sdist, wheel)
        print(f"built {sdist.name} ({sdist.stat().st_size >> 10} KiB) and {wheel.name} ({wheel.stat().st_size >> 10} KiB)")
        with tempfile.TemporaryDirectory() as scratch:
            used(wheel, Path(scratch))
    except Fault as why:
        print(why, file=sys.stderr)
        return 1
    print(f"installed, runs: help, run, explore --export, doctor; {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
