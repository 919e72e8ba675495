"""The page that labels the same runs by three vocabularies says what its data say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainphase.figures import rosetta
from trainphase.request import replaced

SCRIPT = "write_rosetta"


@pytest.fixture
def document(script):
    return json.loads(script.DATA.read_text())


def test_the_tables_are_those_of_the_data(script, document) -> None:
    text = script.PAGE.read_text()
    assert script.pages.filled(text, script.blocks(document)) == text


def test_catapult_at_two_in_the_linear_regime_and_edge_at_its_line_in_the_condensed_one(script, document) -> None:
    data, training, edge = script.plane(document, 0), script.tp.TRAINING, script.tp.EDGE
    linear = data.sel(gamma=slice(None, 0.99))
    quiet = linear["training"].values == training.index("monotonic")
    assert np.array_equal(quiet, np.broadcast_to(data["multiple"].values < 2, quiet.shape))
    planes = [script.plane(document, k, seed) for k, part in enumerate(document["planes"]) for seed in part["seeds"]]
    rows = [plane.isel(gamma=i) for plane in planes for i in range(plane.sizes["gamma"])]
    at_edge = [row["multiple"].values[row["edge"].values == edge.index("edge-of-stability")] for row in rows]
    starts = [found.min() / float(row["sharpest"]) for row, found in zip(rows, at_edge, strict=True) if found.size]
    # "at most the band's own 10 % below it, and at most about an octave above"; step sizes are half an octave apart.
    assert len(starts) > 10
    assert 0.9 <= min(starts) <= max(starts) < 2**1.25
    for k in range(3):
        others = {name for run in document["planes"][k]["runs"] for name in (*run["training"], *run["edge"])}
        assert not others & {"divergent", "periodic", "chaotic", "bounded"}


def test_condensed_is_not_yet_edge_of_stability(script, document) -> None:
    data = script.plane(document, 1).sel(gamma=slice(1.01, 1.49))
    assert data.attrs["gamma_prime"] == -0.5 and data.sizes["gamma"] == 2
    assert np.all(data["regime"].values == script.tp.REGIME.index("condensed"))
    assert not np.any(data["edge"].values == script.tp.EDGE.index("edge-of-stability"))


def test_a_net_is_that_of_relu2(script) -> None:
    """f and lambda of the scaled weights are those of Luo's normalised ones: kappa alone is left of alpha, beta1, beta2."""
    net, gamma = script.net(0.5, 0), 1.3
    system = script.relu2.relu2(gamma=gamma, gamma_prime=0.5, width=script.WIDTH, seed=0)
    at = replaced(net, gamma=gamma, multiple=0.7)
    start = at.init()
    # Rounding of sums over 200 neurons.
    np.testing.assert_allclose(at.residual(start), np.ravel(system.residual(system.init())), rtol=1e-12)
    np.testing.assert_allclose(at.curvature(start), 0.7, rtol=1e-10)


def test_the_figure_marks_every_dead_net_in_all_three_panels(script, document) -> None:
    data = script.plane(document, 0)
    axes = rosetta.page(data).axes
    crosses = [[line for line in ax.lines if line.get_marker() == "x"] for ax in axes]
    assert [sum(len(np.asarray(line.get_xdata())) for line in lines) for lines in crosses] == 3 * [
        int(data["dead"].sum())
    ] + 3 * [0]
