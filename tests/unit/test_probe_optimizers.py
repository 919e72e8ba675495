"""What the PyTorch probe reads of an optimiser that is not plain, keeps of a loss, and says of a run that is too short."""

from __future__ import annotations

import types

import pytest

import trainphase as tp
from trainphase.probe.adapters import torch_settings

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'trainphase[torch]'")

from trainphase.probe import torch as probes  # noqa: E402


def squared(outputs, targets):
    return 0.5 * ((outputs - targets) ** 2).sum() / len(targets)


def small() -> tuple:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    return model, (torch.randn(12, 4).double(), torch.randn(12, 2).double())


def step(model, batch, optimizer):
    optimizer.zero_grad()
    loss = squared(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.detach()


def test_a_loss_is_kept_as_it_was_when_it_was_given_and_calls_are_counted() -> None:
    model, batch = small()
    optimizer, seen = torch.optim.SGD(model.parameters(), lr=0.05), []
    with probes.watch(model, squared, batch, optimizer, every=100) as probe:
        setup = probe.recorder.measuring
        for _ in range(20):
            loss = step(model, batch, optimizer)
            seen.append(float(loss))
            probe.step(loss)
            loss.zero_()  # as a loop may that keeps one tensor for it
    assert [v for _, v in probe.recorder.losses] == seen
    assert setup == 0 and probe.recorder.measuring > 0 and probe.recorder.cost.measurements == 1


def test_a_warm_up_that_begins_with_0_is_waited_for() -> None:
    model, batch = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with probes.watch(model, squared, batch, optimizer, every=1, budget=None) as probe:
        probe.step(step(model, batch, optimizer))
        optimizer.param_groups[0]["lr"] = 0.1
        probe.step(step(model, batch, optimizer))
    assert probe.recorder.rows["step"] == [2]


def test_an_optimiser_within_a_wrapper() -> None:
    model, _ = small()
    wrapper = types.SimpleNamespace(optimizer=torch.optim.SGD(model.parameters(), lr=0.3))
    found = torch_settings.read(wrapper, list(model.parameters()))
    assert found is not None and found.lr == 0.3


def test_a_short_run_says_how_to_get_more_measurements() -> None:
    model, batch = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with probes.watch(model, squared, batch, optimizer, every=20, budget=None) as probe:
        for _ in range(40):
            probe.step(step(model, batch, optimizer))
    found = tp.diagnose(probe, show=False)
    assert found.phase == "undecided"
    assert found.advice.startswith("there were only 3 measurements of the sharpness in 40 steps")
    assert found.advice.endswith("lower every from 20 to 2")
