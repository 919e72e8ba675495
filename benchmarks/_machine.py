"""What the benchmarks share about the machine: one CPU to run on, and its name. Loads neither NumPy nor JAX by itself."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def one_cpu() -> str:
    """Keep the whole process on one CPU, and return the compiler flags that the command line sets for JAX.

    Call it before NumPy and JAX are imported: they count the CPUs they may use when they are loaded.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    # The package imports NumPy.
    from trainphase.cli.environment import prepare_jax

    return prepare_jax()


def machine(flags: str) -> dict[str, str]:
    """The processor's name, the versions and the compiler flags; nothing else about the machine."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return {"cpu": model, "python": platform.python_version(), "xla_flags": flags, **packages}
