"""Settings that every test shares: double precision, no silent broadcasting of ranks, repeatable randomness.

They are set here and never in the package. A test that starts a child process sees the package as a user does on a new
machine: the one thing that goes through the environment is that compiled programs are not kept between commands.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from pathlib import Path

import hypothesis
import jax
import matplotlib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

jax.config.update("jax_enable_x64", True)
os.environ["TRAINPHASE_PROGRAMS"] = "off"
# A script's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A (n,) that meets an (n, 1) by accident becomes an (n, n) and no error: let it be one.
jax.config.update("jax_numpy_rank_promotion", "raise")
# No test may open a window.
matplotlib.use("Agg")

# Examples are drawn the same way each time, so a failure in CI is the same failure here. Compiling makes the
# first example slow, so there is no deadline.
hypothesis.settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_finish() -> None:
    """Leave what is imported and collected out of the garbage collector, which would else look at all of it every time.

    Tracing makes many small objects that die at once: at Python's threshold of 700 the collector takes 4 % of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root folder of the repository."""
    return ROOT


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the name of the test: another test's draws do not move this one's."""
    return np.random.default_rng(list(request.node.nodeid.encode()))
