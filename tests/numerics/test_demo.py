"""The demonstration at a small size: its comparison with the theory, and that the comparison can fail."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trainphase import demo
from trainphase.system import Map
from trainphase.systems import phase_retrieval


@pytest.fixture(scope="module")
def small() -> tuple[demo.Diagram, Map]:
    params = {**demo.COMMON, **demo.PLANES["orthogonalised"]}
    return demo.plane("orthogonalised", grid=24, steps=1024), phase_retrieval(**params)


def test_boundaries_of_orthogonal_images_are_within_a_cell_of_the_theory(small) -> None:
    rows = demo.compare(*small)
    assert [r["boundary"] for r in rows] == [
        "monotonic/catapult", "catapult/periodic", "periodic/chaotic", "chaotic/divergent",
    ]  # fmt: skip
    for row in rows:
        assert row["rows"] >= 12
        assert row["worst_cells"] <= 1.0, row
        # Half a cell on either side: the grid has 23 cells over a factor of 9 in the step size.
        assert abs(np.log(row["ratio"])) <= np.log(9) / 23, row


def test_a_shifted_theory_is_found_out(small) -> None:
    diagram, system = small
    cell = np.log(9) / 23
    lines = [t | {"points": [[x * np.exp(2.5 * cell), y] for x, y in t["points"]]} for t in diagram.theory]
    rows = demo.compare(dataclasses.replace(diagram, theory=lines), system)
    assert all(row["worst_cells"] > 1.0 for row in rows if row["rows"])
