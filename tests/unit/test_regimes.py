"""What a run over a ladder of nets tells, trains and shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import searched

import trainphase as tp
from trainphase.cli import progress as shown
from trainphase.cli.main import main
from trainphase.relu import ladder, regimes, three_layer

LADDER = {"width": "40,60", "seed": "0,1", "target": 1e-3}
PLACES = [("relu2", {"gamma": 1.5}), ("relu2", {"gamma": 1.0, "flow": "false"}), ("relu3", {"gamma3": 2.0})]


class Told:
    """Progress that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def start(self, total: int, done: int) -> None:
        self.calls.append(("start", total - done))

    def advance(self, k: int) -> None:
        self.calls.append(("advance", k))

    def close(self) -> None:
        self.calls.append(("close", 0))


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_every_net_is_trained_once_and_told_of(name: str, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Any] = []

    def counted(module: Any, function: str) -> None:
        original = getattr(module, function)

        def call(*args: Any, **kwargs: Any) -> Any:
            trained.append(original(*args, **kwargs))
            return trained[-1]

        monkeypatch.setattr(module, function, call)

    counted(ladder, "train")
    counted(three_layer, "flow3")
    told = Told()
    run = tp.run(name, progress=told, **LADDER, **place)
    assert len(trained) == 4
    assert told.calls == [("start", 4), *[("advance", 1)] * 4, ("close", 0)]
    # The picture and the final state are of the widest net of the first seed, as the ladder trained it: the third of four.
    net = trained[2]
    assert run.observables["loss"][-1] == net.loss <= 1e-3
    distance = net.distance["W1"] if name == "relu3" else net.relative_distance
    assert run.observables["relative_distance"][-1] == distance
    assert np.all(np.diff(run.observables["relative_distance"]) >= 0)
    if name == "relu2":
        np.testing.assert_array_equal(run.final[1], net.w)
        assert {"condensation", "directions", "linearisation"} <= set(run.summary)


def test_progress_ends_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "train", lambda *args, **kwargs: 1 / 0)
    told = Told()
    with pytest.raises(ZeroDivisionError):
        tp.run("relu2", progress=told, **LADDER)
    assert told.calls[-1] == ("close", 0)


def test_a_traced_net_is_the_same_net() -> None:
    x = np.linspace(-0.5, 0.5, 4)
    sizes = ladder.Sizes(np.stack([x, np.ones(4)], 1), 0, x[:, None] ** 2)
    plain, traced = (ladder.train(1.5, 0.0, 60, 0, sizes, traced=t) for t in (False, True))
    assert plain.series is None and traced.series is not None
    assert traced.relative_distance == plain.relative_distance and traced.attempts == plain.attempts
    assert set(traced.series) == set(ladder.SERIES) and traced.series["time"][-1] == plain.time
    assert np.all(np.diff(traced.series["time"]) > 0) and traced.series["relative_distance"][0] == 0


def test_directions_of_very_many_neurons_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regimes, "MOST_COMPARED", 63)
    run = tp.run("relu2", **LADDER)
    assert "linearisation" in run.summary and not {"condensation", "directions"} & set(run.summary)


def test_a_search_for_a_boundary_tells_of_every_ladder() -> None:
    told: list[tuple[int, int]] = []
    found = searched.along("relu2", gamma=(0.5, 1.8), points=4, tol=0.3, report=lambda *k: told.append(k), **LADDER)
    assert [n for n, _ in told] == list(range(1, found.evaluations + 1)) and len(told) >= 4
    assert all(n <= about for n, about in told) and told[-1][0] == found.evaluations


def test_the_command_line_shows_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        "trainphase.cli.run.progress", lambda quiet, what: shown.Silent() if quiet else shown.Lines(what, every=0)
    )
    words = ["run", "relu2", "gamma=1.5", *(f"{k}={v}" for k, v in LADDER.items())]
    assert main(words) == 0
    err = capsys.readouterr().err
    assert "1 of 4 nets, 25%" in err and "3 of 4 nets" in err
    assert main([*words, "--quiet"]) == 0
    assert not capsys.readouterr().err
