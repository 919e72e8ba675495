"""What the command line takes from its surroundings: environment variables, compiler flags, data directories.

No other module of the package reads an environment variable.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from trainphase.catalog import SystemInfo
from trainphase.cli import programs
from trainphase.errors import RequestError

DATA_VARIABLE = "TRAINPHASE_DATA"
# Orbits of many points at once are loops over long vectors: 512-bit registers where the processor has them, and loops
# that are not cut into tiles, measured at twice the default's rate. The second is an internal name of these versions.
FLAGS = ("--xla_cpu_prefer_vector_width=512", "--xla_backend_extra_options=xla_cpu_disable_tiled_emitter")
# Of several processes, each with the products of its own sweep.
ONE_THREAD = ("--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1")
# The releases of jaxlib that know these flags; in 0.10 they were measured, in 0.12 they save 10 to 20 % of an orbit diagram.
FLAGS_JAXLIB = (("0", "10"), ("0", "11"), ("0", "12"))
# Where compiled programs are kept: a folder, or off.
PROGRAMS_VARIABLE = "TRAINPHASE_PROGRAMS"
# The releases of jaxlib with which programs from a file were found to give the same bytes.
PROGRAMS_JAXLIB = FLAGS_JAXLIB
# What JAX reads; who has set one of the first two has decided for all programs of JAX.
_KEPT, _KEEPS = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
_KEPT_FROM = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def programs_base() -> tuple[Path | None, str]:
    """The folder under which compiled programs are kept, or None and why there is none."""
    given = os.environ.get(PROGRAMS_VARIABLE, "").strip()
    if given.lower() in ("off", "0", "no", "none"):
        return None, f"{PROGRAMS_VARIABLE} is {given}"
    if _KEEPS in os.environ:
        return None, f"{_KEEPS} is set"
    if _jaxlib() not in PROGRAMS_JAXLIB:
        return None, "they were not tried with this jaxlib"
    if importlib.util.find_spec("jax_plugins") is not None:
        return None, "JAX has plugins for other devices than processors"
    if given:
        return Path(os.path.expanduser(given)), ""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The standard has relative paths ignored.
    home = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return home / "trainphase" / "programs", ""


def programs_kept() -> tuple[Path | None, str]:
    """The folder of this processor's programs, made where it was missing, or None and why none are kept."""
    base, why = programs_base()
    place = None if base is None else programs.folder(base)
    if base is not None:
        why = "the kind of processor is not known" if place is None else programs.refusal(place)
    return (None, why) if why else (place, "")


def keep_programs() -> None:
    """Have JAX keep compiled programs from command to command, where that is safe; never a failure."""
    if "jax" in sys.modules or _KEPT in os.environ:
        return
    place, _ = programs_kept()
    if place is None:
        return
    programs.prune(place.parent)
    programs.mend(place)
    # All of them: to read a small one takes a tenth of the time that compiling it takes.
    os.environ |= {_KEPT: str(place), _KEPT_FROM: "0"}


def keep_none() -> None:
    """Have JAX in processes started from now on keep no programs: nobody would mend what one of them cannot read."""
    place, _ = programs_kept() if _KEPT in os.environ else (None, "")
    if place is not None and os.environ[_KEPT] == str(place):
        del os.environ[_KEPT]
        os.environ.pop(_KEPT_FROM, None)


def prepare_jax(keep: bool = True) -> str:
    """Append FLAGS to XLA_FLAGS, each unless the user has set it, and return what is in force.

    With ``keep`` compiled programs are kept from command to command.

    XLA reads the variable once, when JAX starts, and ends the process at a flag it does not know: so nothing is added
    when JAX is loaded already, with a jaxlib that was not tried, or when the variable names a file of flags.
    """
    if keep:
        keep_programs()
    given = os.environ.get("XLA_FLAGS", "").strip()
    if "jax" in sys.modules or (given and not given.startswith("-")) or _jaxlib() not in FLAGS_JAXLIB:
        return given
    set_already = {flag.partition("=")[0] for flag in given.split()}
    added = [flag for flag in FLAGS if flag.partition("=")[0] not in set_already]
    flags = " ".join([*given.split(), *added])
    os.environ["XLA_FLAGS"] = flags
    return flags


def one_thread_each() -> None:
    """Have processes started from now on compute in one thread each; this one starts JAX first and keeps its threads."""
    import jax

    jax.devices()
    keep_none()
    given = os.environ.get("XLA_FLAGS", "").strip()
    if not given or given.startswith("-"):
        os.environ["XLA_FLAGS"] = " ".join([*given.split(), *ONE_THREAD])


def take_flags(flags: str) -> None:
    """In a worker that was started elsewhere: have JAX compile as the driver's does, unless it is loaded already."""
    keep_none()
    given = os.environ.get("XLA_FLAGS", "").strip()
    if "jax" in sys.modules or (given and not given.startswith("-")):
        return
    set_already = {flag.partition("=")[0] for flag in given.split()}
    added = [flag for flag in flags.split() if flag.partition("=")[0] not in set_already]
    os.environ["XLA_FLAGS"] = " ".join([*given.split(), *added])


def worker_flags() -> str:
    """What a process that computes one run beside a server is started with: the flags of this one, and one thread."""
    return " ".join((*FLAGS, *ONE_THREAD)) if _jaxlib() in FLAGS_JAXLIB else ""


def data_folders() -> tuple[str, ...]:
    """The folders named by TRAINPHASE_DATA, separated as in PATH."""
    return tuple(part for part in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if part)


def data_options(info: SystemInfo, data_dir: str | None) -> dict[str, Any]:
    """Keywords ``data_dir`` and ``search`` for a system that reads data; RequestError for a folder that is none."""
    if data_dir is not None and not info.reads_data:
        raise RequestError(f"--data-dir {data_dir} is not possible: {info.name} reads no data; leave it out")
    if data_dir is not None and not os.path.isdir(os.path.expanduser(data_dir)):
        raise RequestError(f"--data-dir {data_dir} is not a folder; give the one with the files")
    options: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    if info.reads_data and data_folders():
        options["search"] = data_folders()
    return options


def _jaxlib() -> tuple[str, ...]:
    try:
        return tuple(importlib.metadata.version("jaxlib").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return ()
