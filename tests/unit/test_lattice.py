"""Tiles cover a grid exactly once, and their names are unambiguous. All integers: no tolerances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainphase.engine.lattice import Tiling, default_tile

SIDES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=3)


@given(SIDES)
def test_tiles_cover_every_point_exactly_once(sides):
    tiling = Tiling(tuple(n for n, _ in sides), tuple(t for _, t in sides))
    visits = np.zeros(tiling.shape, int)
    for index in tiling.tiles():
        visits[tiling.slices(index)] += 1
        assert visits[tiling.slices(index)].shape == tiling.extent(index)
        assert all(e <= t for e, t in zip(tiling.extent(index), tiling.tile, strict=True))
        assert tiling.index(tiling.key(index)) == index
    assert (visits == 1).all()
    assert len({tiling.key(i) for i in tiling.tiles()}) == len(tiling) == len(tiling.tiles())


def test_edge_tiles_are_smaller_and_the_last_axis_runs_fastest():
    tiling = Tiling((5, 3), (4, 2))
    assert tiling.tiles() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [tiling.extent(i) for i in tiling.tiles()] == [(4, 2), (4, 1), (1, 2), (1, 1)]
    assert tiling.slices((1, 1)) == (slice(4, 5), slice(2, 3))
    assert tiling.key((1, 0)) == "1.0"


@pytest.mark.parametrize("index", [(2, 0), (0, -1), (0,), (0, 0, 0)])
def test_an_index_outside_the_grid_is_refused(index):
    with pytest.raises(ValueError, match="outside"):
        Tiling((5, 3), (4, 2)).slices(index)


@pytest.mark.parametrize("key", ["00.1", "a.b", "1", "-1.0", "9.9", ""])
def test_a_key_that_names_no_tile_is_refused(key):
    with pytest.raises(ValueError):
        Tiling((5, 3), (4, 2)).index(key)


@pytest.mark.parametrize(("shape", "tile"), [((), ()), ((4,), (2, 2)), ((4, 0), (2, 2)), ((4,), (0,))])
def test_an_impossible_tiling_is_refused(shape, tile):
    with pytest.raises(ValueError):
        Tiling(shape, tile)


@pytest.mark.parametrize(
    ("shape", "static", "tile"),
    [
        ((1_000_000,), (), (4096,)),
        ((512, 512), (), (64, 64)),
        ((512, 10), (), (64, 10)),
        ((100, 100, 100), (), (16, 16, 16)),
        ((512, 512, 7), (2,), (64, 64, 1)),
        ((7, 10_000), (0,), (1, 4096)),
        ((7, 5), (0, 1), (1, 1)),
    ],
)
def test_default_tiles(shape, static, tile):
    assert default_tile(shape, static) == tile


def test_a_static_axis_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="static"):
        default_tile((8, 8), static=(2,))
