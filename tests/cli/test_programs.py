"""Compiled programs that are kept between commands: where, when not, and that what is damaged is compiled again, silently."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from trainphase.cli import environment, programs

PRIVATE = pytest.mark.skipif(not hasattr(os, "getuid"), reason="nothing is kept where nobody can say whose a folder is")
VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """As if JAX were not loaded yet, of a version that was tried, for processors alone, with a home folder of its own."""
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(environment, "_jaxlib", lambda: environment.PROGRAMS_JAXLIB[0])
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # put back afterwards
    for name in (*VARIABLES, environment.PROGRAMS_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that it is removed afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@PRIVATE
def test_the_folder_is_that_of_the_platform(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place, why = environment.programs_kept()
    assert place is not None and why == ""
    assert place.parent == tmp_path / ".cache" / "trainphase" / "programs" and place.name == programs.processor()
    assert place.stat().st_mode & 0o777 == 0o700
    fresh.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert environment.programs_base() == (tmp_path / "x" / "trainphase" / "programs", "")
    fresh.setenv("XDG_CACHE_HOME", "x")
    assert environment.programs_base() == (place.parent, "")
    fresh.setenv(environment.PROGRAMS_VARIABLE, "~/y")
    assert environment.programs_base() == (tmp_path / "y", "")


@PRIVATE
def test_jax_is_told_and_processes_beside_it_are_not(fresh: pytest.MonkeyPatch) -> None:
    environment.keep_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(environment.programs_kept()[0])
    environment.keep_none()
    assert not set(VARIABLES) & set(os.environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [(environment.PROGRAMS_VARIABLE, "off"), ("JAX_ENABLE_COMPILATION_CACHE", "false"), ("JAX_COMPILATION_CACHE_DIR", "x")],
)
def test_who_has_decided_is_obeyed(name: str, value: str, fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh.setenv(name, value)
    environment.keep_programs()
    environment.keep_none()
    assert os.environ.get("JAX_COMPILATION_CACHE_DIR") == (value if name == VARIABLES[0] else None)
    assert VARIABLES[2] not in os.environ


@pytest.mark.parametrize("release", [("0", "9"), ("0", "13"), ()])
def test_not_with_another_jaxlib(release: tuple[str, ...], fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh.setattr(environment, "_jaxlib", lambda: release)
    environment.keep_programs()
    assert not set(VARIABLES) & set(os.environ) and not list(tmp_path.iterdir())


def test_not_beside_other_devices(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh.setattr(environment.importlib.util, "find_spec", lambda name: object())
    assert environment.programs_kept() == (None, "JAX has plugins for other devices than processors")


@PRIVATE
def test_only_from_a_folder_that_nobody_else_can_write(tmp_path: Path) -> None:
    good = tmp_path / "base" / "processor"
    assert programs.refusal(good) == ""
    for each, mode in ((good, 0o770), (good, 0o702), (good.parent, 0o777)):
        each.chmod(mode)
        assert "its owner alone" in programs.refusal(good)
        each.chmod(0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "base" / "link").symlink_to(tmp_path / "elsewhere")
    assert "its owner alone" in programs.refusal(tmp_path / "base" / "link")
    (tmp_path / "file").touch()
    assert "cannot be used" in programs.refusal(tmp_path / "file" / "base" / "processor")


def test_every_kind_of_processor_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = "processor\t: 0\nmodel name\t: one\nflags\t\t: avx2\nbogomips\t: 1\n"
    names = []
    for text in (known, known.replace("avx2", "avx2 avx512f"), known.replace("one", "two"), known.replace("s\t: 1", "s\t: 2")):
        monkeypatch.setattr(Path, "read_text", lambda *_, text=text, **__: text)
        names.append(programs.processor())
    assert names[0] == names[3] and len(set(names)) == 3
    monkeypatch.setattr(programs, "processor", lambda: "")
    assert programs.folder(tmp_path) is None


def test_the_older_half_goes(tmp_path: Path) -> None:
    for k in range(10):
        file = tmp_path / f"p{k % 2}" / f"{k}-cache"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(10))
        os.utime(file, (k, k))
    programs.prune(tmp_path, 100)
    assert programs.size(tmp_path) == (10, 100)
    programs.prune(tmp_path, 99)
    assert sorted(f.name for f in tmp_path.rglob("*-cache")) == [f"{k}-cache" for k in range(6, 10)]
    assert programs.size(tmp_path / "nowhere") == (0, 0)


COMPILE = """
import hashlib
from trainphase.cli import environment
environment.prepare_jax()
import jax, numpy as np
compiled = []
jax.monitoring.register_event_listener(lambda name, **_: compiled.append(name))
found = jax.jit(lambda x: (x * 2 + 1) / 3 + x * x)(np.linspace(0, 1, 1000))
kept = [name for name in compiled if name.endswith("cache_hits")]
print(len(kept), hashlib.sha256(np.asarray(found).tobytes()).hexdigest())
"""


@PRIVATE
@pytest.mark.skipif(environment._jaxlib() not in environment.PROGRAMS_JAXLIB, reason="nothing is kept with this jaxlib")
def test_a_program_is_compiled_once_and_again_when_its_file_is_damaged(tmp_path: Path) -> None:
    here = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    here[environment.PROGRAMS_VARIABLE] = str(tmp_path / "programs")

    def compiled() -> list[str]:
        done = subprocess.run([sys.executable, "-c", COMPILE], env=here, capture_output=True, text=True, check=True, timeout=120)
        assert done.stderr == ""
        return done.stdout.split()

    hits, found = compiled()
    assert hits == "0" and compiled() == ["1", found]
    (file,) = (tmp_path / "programs").rglob("*-cache")
    size = file.stat().st_size
    os.truncate(file, 100)
    assert compiled() == ["0", found]
    (again,) = (tmp_path / "programs").rglob("*-cache")
    assert again.stat().st_size == size
