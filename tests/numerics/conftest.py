"""What every numerical test shares: double precision with full matrix products, as the package runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trainphase._arrays import precision


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """A test of single precision asks for it by itself, inside of this."""
    with precision("float64"):
        yield
