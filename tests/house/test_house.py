"""The house rules that a program can keep: sizes, forbidden words and imports, and lists that must agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

from trainphase.cli import checks

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "trainphase"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# Exceptions, each with its reason. One that is no longer needed fails test_exceptions_are_still_needed.
LONG_FILES: dict[str, str] = {}  # "src/trainphase/x.py": "why it is one piece"
LONG_FUNCTIONS: dict[str, str] = {}  # "src/trainphase/x.py::name": "why it is one piece"

CODE_SUFFIXES = {".py", ".c", ".js", ".css", ".sh", ""}  # "" is for scripts such as .ci/run
PLAIN_TEXT = {"LICENSE"}  # files without a suffix that are no scripts

# Packages that only one place may import, and those that no place may.
CONFINED = {
    "matplotlib": ("src/trainphase/figures/",),
    "zarr": ("src/trainphase/engine/_layout.py",),
    "fsspec": ("src/trainphase/engine/_remote.py",),
    "torch": ("src/trainphase/probe/adapters/torch_adapter.py",),
    "dask": ("src/trainphase/cli/executors.py",),
    "starlette": ("src/trainphase/explorer/server.py",),
    "uvicorn": ("src/trainphase/explorer/server.py",),
    "distributed": ("src/trainphase/cli/executors.py",),
    "pickle": (),
    "marshal": (),
    "shelve": (),
    "dill": (),
    "cloudpickle": (),
}
# Modules and packages whose import must not bring JAX in, so that help, drawing and the store are quick.
JAX_FREE = (
    "errors",
    "axes",
    "phase",
    "data",
    "theory",
    "engine.lattice",
    "engine.store",
    "figures",
    "catalog",
    "cli",
    "explorer.document",
    "explorer.notebook",
    "explorer.runs",
)


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that git tracks or would track; in an unpacked source archive, every file."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = sorted(set(filter(None, listing.stdout.split("\0"))))
        paths = [ROOT / name for name in names]
    else:
        folders = ("src", "tests", "benchmarks", "docs", "requirements", ".ci")
        paths = [p for folder in folders for p in sorted((ROOT / folder).rglob("*"))]
        paths = [p for p in paths if "__pycache__" not in p.parts] + list(ROOT.glob("*"))
    return tuple(p for p in paths if p.is_file())


def relative(path: Path) -> str:
    """The path as the tables above write it."""
    return path.relative_to(ROOT).as_posix()


def read_text(path: Path) -> str | None:
    """The text of a file, or None when it holds something other than text."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None


def text_files() -> Iterator[tuple[Path, str]]:
    """Every project file that is text, with its text."""
    for path in project_files():
        text = read_text(path)
        if text is not None:
            yield path, text


def python_files(under: Path = ROOT) -> list[Path]:
    """Every Python file of the project below a folder."""
    return [p for p in project_files() if p.suffix == ".py" and p.is_relative_to(under)]


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its "def" to its end, without the docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        doc = node.body[0]
        lines -= (doc.end_lineno or doc.lineno) - doc.lineno + 1
    return lines


def file_sizes() -> dict[str, int]:
    """Lines of every file of code."""
    return {
        relative(path): len(text.splitlines())
        for path, text in text_files()
        if path.suffix in CODE_SUFFIXES and path.name not in PLAIN_TEXT
    }


@cache
def function_sizes() -> dict[str, int]:
    """Lines of every function; of several with one name in a file, the longest."""
    sizes: dict[str, int] = {}
    for path in python_files():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                key = f"{relative(path)}::{node.name}"
                sizes[key] = max(sizes.get(key, 0), function_lines(node))
    return sizes


@cache
def imported_packages(path: Path) -> frozenset[str]:
    """Top-level names of everything that a file imports, at module level or inside a function."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return frozenset(found)


def distributions(imported: Collection[str]) -> set[str]:
    """The names under which imported packages are installed."""
    return {{"sklearn": "scikit-learn", "google_crc32c": "google-crc32c"}.get(package, package) for package in imported}


def declared_packages() -> set[str]:
    """Names of the runtime dependencies in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.split(r"[<>=!~\[; ]", line)[0] for line in project["dependencies"]}


def extra_packages() -> set[str]:
    """Packages of the extras in pyproject.toml that users may install, so not those for development."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return {re.split(r"[<>=!~\[; ]", line)[0] for name, lines in extras.items() if name != "dev" for line in lines}


def test_files_are_short() -> None:
    sizes = file_sizes()
    too_long = {name: n for name, n in sizes.items() if n > MAX_FILE_LINES and name not in LONG_FILES}
    assert not too_long, f"files over {MAX_FILE_LINES} lines; split them: {too_long}"


def test_functions_are_short() -> None:
    sizes = function_sizes()
    too_long = {name: n for name, n in sizes.items() if n > MAX_FUNCTION_LINES and name not in LONG_FUNCTIONS}
    assert not too_long, f"functions over {MAX_FUNCTION_LINES} lines; split them: {too_long}"


def test_exceptions_are_still_needed() -> None:
    files, functions = file_sizes(), function_sizes()
    stale = [name for name in LONG_FILES if files.get(name, 0) <= MAX_FILE_LINES]
    stale += [name for name in LONG_FUNCTIONS if functions.get(name, 0) <= MAX_FUNCTION_LINES]
    assert not stale, f"no longer too long, so no longer exceptions: {stale}"


def test_function_lines_does_not_count_the_docstring() -> None:
    node = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body[0]
    assert isinstance(node, ast.FunctionDef)
    assert function_lines(node) == 2


# The names stand apart from their slashes, so that this file does not match itself.
MACHINE_FOLDERS = ("home", "root", "tmp", "work", "Users", "mnt", "opt")
MACHINE_PATH = re.compile(
    r"(?<![\w.~}-])/(?:" + "|".join(MACHINE_FOLDERS) + r")(?:/|[\"'`\s])|[A-Z]:\\\\?Users"
)


def test_no_machine_paths() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()[:100]}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert not found, "paths of one machine in the project:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("line", "matches"),
    [
        ('open("' + "/" + 'tmp/x")', True),
        ("cd " + "/" + "home/ada/project", True),
        ("see https://example.org/home/page", False),
        ("#!/usr/bin/env bash", False),
        ("tmp_path / 'work' / 'x'", False),
        ("docs" + "/" + "work/notes", False),
    ],
)
def test_the_pattern_of_machine_paths(line: str, matches: bool) -> None:
    assert bool(MACHINE_PATH.search(line)) is matches


@pytest.mark.parametrize("package", sorted(CONFINED))
def test_confined_imports(package: str) -> None:
    allowed = CONFINED[package]
    found = [
        relative(path)
        for path in python_files(SRC)
        if package in imported_packages(path) and not relative(path).startswith(allowed)
    ]
    assert not found, f"{package} may be imported only under {allowed or 'no folder'}: {found}"


def test_nothing_is_evaluated() -> None:
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in python_files(SRC)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}
    ]
    assert not found, f"eval or exec of text: {found}"


def test_environment_is_read_only_by_the_command_line() -> None:
    found = []
    for path in python_files(SRC):
        if relative(path).startswith("src/trainphase/cli/"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
                found.append(f"{relative(path)}:{node.lineno}")
    assert not found, f"environment variables are read below the command line: {found}"


def test_jax_free_modules_do_not_import_jax() -> None:
    # A fresh interpreter, since this one has JAX; one for all modules, naming the first that brings JAX in.
    code = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    module = importlib.import_module("trainphase." + name)
    names = [module.__name__]
    names += [m.name for m in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + ".")]
    for each in names:
        importlib.import_module(each)
        if "jax" in sys.modules:
            sys.exit(f"importing {each} brings JAX in")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *JAX_FREE], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_every_import_is_declared() -> None:
    known = declared_packages() | extra_packages() | {"trainphase"} | sys.stdlib_module_names
    undeclared = {
        relative(path): sorted(extra)
        for path in python_files(SRC)
        if (extra := distributions(imported_packages(path)) - known)
    }
    assert not undeclared, f"imported but not a dependency in pyproject.toml: {undeclared}"


def test_an_extra_is_imported_in_one_file() -> None:
    for package in extra_packages():
        where = [relative(path) for path in python_files(SRC) if package in distributions(imported_packages(path))]
        assert len(where) == 1, f"{package} is an extra; import it in one file, not in {where}"


def test_every_dependency_is_used() -> None:
    used = distributions({package for path in python_files(SRC) for package in imported_packages(path)})
    unused = declared_packages() - used
    assert not unused, f"a dependency in pyproject.toml that nothing imports: {sorted(unused)}"


def test_every_dependency_is_justified() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("\n## Dependencies\n")[1].split("\n## ")[0]
    justified = set(re.findall(r"^\| `([\w-]+)` \| \S", section, re.MULTILINE))
    assert justified == declared_packages(), "docs/architecture.md and pyproject.toml differ"


@pytest.mark.parametrize("name", ["ci.txt", "ci-newest.txt"])
def test_pins_are_exact_and_complete(name: str) -> None:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.!+-]+", line)] == []
    pinned = {line.split("==")[0].lower() for line in pins}
    missing = {package for package in declared_packages() if package.lower() not in pinned}
    assert not missing, f"not pinned; run make lock: {missing}"


def test_what_is_supported_is_told_alike() -> None:
    # The oldest Python of pyproject.toml and the newest that doctor knows; the second file of pins has the newest JAX.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(project["classifiers"]), re.MULTILINE)
    assert [f">={named[0]}", checks.TESTED["python"]] == [project["requires-python"], named[-1]]
    assert named == [f"3.{minor}" for minor in range(int(named[0][2:]), int(named[-1][2:]) + 1)]
    newest = (ROOT / "requirements" / "ci-newest.txt").read_text(encoding="utf-8")
    assert re.search(rf"^jax=={re.escape(checks.TESTED['jax'])}\.", newest, re.MULTILINE)
    assert f"of Python {named[-1]}." in newest.splitlines()[0]
    for name in ("README.md", "docs/start.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        assert f"Python {named[0]} to {named[-1]} with JAX {checks.OLDEST['jax']} to {checks.TESTED['jax']}" in text, name
