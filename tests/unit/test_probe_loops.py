"""Loops as users write them, under the PyTorch probe: batch-norm, compiled and checkpointed layers, heads without a gradient."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trainphase.errors import RequestError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'trainphase[torch]'")

from trainphase.probe import torch as probes  # noqa: E402

nn = torch.nn
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning:torch"),
    # Of torch.compile itself.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nets are tiny, and two threads wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def squared(outputs: Any, targets: Any) -> Any:
    return 0.5 * ((outputs - targets) ** 2).mean()


def net(*middle: Any, last: Any = None) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), *(middle or (nn.Tanh(),)), last or nn.Linear(6, 2)).double()


def data() -> tuple:
    torch.manual_seed(1)
    return torch.randn(12, 4).double(), torch.randn(12, 2).double()


def top(loss: Any, parameters: list, scale: Any = 1.0) -> float:
    """The largest eigenvalue of S H S, by one backward pass for each row and LAPACK."""
    slopes = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True, materialize_grads=True)
    flat = torch.cat([s.reshape(-1) for s in slopes])
    more: dict = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    rows = [torch.autograd.grad(g, parameters, **more) if g.requires_grad else slopes for g in flat]
    matrix = np.stack([torch.cat([r.reshape(-1) for r in row]).detach().numpy() for row in rows])
    s = np.broadcast_to(scale, len(matrix))
    return float(np.linalg.eigvalsh(s[:, None] * matrix * s)[-1])


def watched(model: Any, optimizer: Any, loss_fn: Any = squared, steps: int = 3, **options: Any) -> Any:
    x, y = data()
    with probes.watch(model, loss_fn, (x, y), optimizer, every=1, budget=None, tol=1e-9, **options) as probe:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            probe.step(loss)
    return probe


def last(probe: Any) -> float:
    return probe.recorder.rows["sharpness"][-1]


@pytest.mark.parametrize("mode", ["as-is", "no-dropout", "eval"])
def test_batch_norm_is_measured_as_training_has_it_unless_asked_otherwise(mode: str) -> None:
    model = net(nn.BatchNorm1d(6), nn.Tanh(), *([] if mode == "as-is" else [nn.Dropout(0.5)]))
    probe = watched(model, torch.optim.SGD(model.parameters(), lr=0.1), mode=mode)
    held = {n: b.clone() for n, b in model.named_buffers()}
    x, y = data()
    model.eval()
    model[1].train(mode != "eval")
    assert last(probe) == pytest.approx(top(squared(model(x), y), list(model.parameters())), rel=1e-8)  # both in float64
    assert mode == "eval" or not all(torch.equal(b, held[n]) for n, b in model.named_buffers())  # the reference moved them


class Headed(nn.Module):
    """A net with a layer that nothing uses, as models with several heads have it."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.head = net(), nn.Linear(3, 3).double()

    def forward(self, x: Any) -> Any:
        return self.used(x)


def test_a_parameter_without_a_gradient_does_not_keep_adam_from_being_measured() -> None:
    model = Headed()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-4)
    probe = watched(model, optimizer)
    used = list(model.used.parameters())
    v = torch.cat([optimizer.state[p]["exp_avg_sq"].reshape(-1) for p in used]).numpy() / (1 - 0.999**3)
    x, y = data()
    assert last(probe) == pytest.approx(top(squared(model(x), y), used, (v**0.5 + 1e-4) ** -0.5), rel=1e-8)


def test_a_layer_and_a_loss_that_are_compiled() -> None:
    model = nn.Sequential(torch.compile(net(), backend="aot_eager"))
    loss_fn, (x, y) = torch.compile(squared, backend="aot_eager"), data()
    loss_fn(model(x), y).backward()  # compiled as training does it
    probe = watched(model, torch.optim.SGD(model.parameters(), lr=0.1), loss_fn)
    plain = net()
    plain.load_state_dict({k.rpartition("_orig_mod.")[2]: v for k, v in model.state_dict().items()})
    assert probe.recorder.notes == []
    assert last(probe) == pytest.approx(top(squared(plain(x), y), list(plain.parameters())), rel=1e-8)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant, self.inner = reentrant, net()

    def forward(self, x: Any) -> Any:
        return importlib.import_module("torch.utils.checkpoint").checkpoint(
            self.inner, x.clone().requires_grad_(), use_reentrant=self.reentrant
        )


def test_layers_that_are_computed_again_in_the_backward_pass() -> None:
    model, (x, y) = Checkpointed(False), data()
    probe = watched(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert probe.recorder.notes == []
    assert last(probe) == pytest.approx(top(squared(model.inner(x), y), list(model.parameters())), rel=1e-8)
    model = Checkpointed(True)
    with pytest.raises(RequestError, match="use_reentrant=False"):
        watched(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_penalty_on_the_weights_in_the_loss_is_curvature_too() -> None:
    model, (x, y) = net(), data()

    def penalised(outputs: Any, targets: Any) -> Any:
        return squared(outputs, targets) + 3.0 * sum((p**2).sum() for p in model.parameters())

    probe = watched(model, torch.optim.SGD(model.parameters(), lr=0.1), penalised)
    assert last(probe) == pytest.approx(top(penalised(model(x), y), list(model.parameters())), rel=1e-8)


def test_a_layer_that_is_set_free_on_the_way_counts_from_then_on() -> None:
    model, (x, y) = net(), data()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probes.watch(model, squared, (x, y), optimizer, every=1, budget=None, tol=1e-9) as probe:
        probe.step(None)
        model[0].requires_grad_(True)
        probe.step(None)
    assert last(probe) == pytest.approx(top(squared(model(x), y), list(model.parameters())), rel=1e-8)
    assert probe.recorder.notes == ["from step 2 on 44 parameters are trained, not 14"]


def test_what_a_loop_gets_wrong_is_told() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = probes.watch(model, squared, data(), optimizer)
    with pytest.raises(RequestError, match=r"before the probe was started.*call start\(\)"):
        probe.step(None)
    probe.start()
    with pytest.raises(RequestError, match=r"shape \(12,\)"):
        probe.step(torch.zeros(12))
    with pytest.raises(RequestError, match="no gradient"):
        probes.watch(model, lambda o, t: (o > t).double().mean(), data(), optimizer).start()


def test_a_measurement_that_fails_does_not_end_training() -> None:
    model, (x, y) = net(), data()
    short = [False]

    def loss_fn(outputs: Any, targets: Any) -> Any:
        if short[0]:
            raise torch.OutOfMemoryError("out of memory")
        return squared(outputs, targets)

    with probes.watch(model, loss_fn, (x, y), torch.optim.SGD(model.parameters(), lr=0.1), every=1, budget=None) as probe:
        short[0] = True
        probe.step(1.0)
    assert np.isnan(last(probe)) and "out of memory" in probe.recorder.notes[-1]


def test_targets_of_another_shape_are_noticed() -> None:
    model, (x, y) = net(last=nn.Linear(6, 1)), data()
    probe = probes.watch(model, lambda o, t: ((o - t) ** 2).mean(), (x, y[:, 0]), torch.optim.SGD(model.parameters(), lr=0.1))
    probe.start()
    assert any("shape (12, 1) and targets (12,)" in note for note in probe.report().notes)
    probe = probes.watch(model, lambda o, t: ((o - t) ** 2).mean(), (x, y[:, :1]), torch.optim.SGD(model.parameters(), lr=0.1))
    probe.start()
    assert probe.report().notes == ()


def test_the_groups_of_another_model_do_not_count() -> None:
    model, other = net(), net()
    groups = [{"params": other.parameters(), "lr": 1.0}, {"params": model.parameters(), "lr": 0.1}]
    probe = probes.watch(model, squared, data(), torch.optim.SGD(groups, momentum=0.5))
    probe.start()
    assert (probe.recorder.rows["lr"], probe.recorder.rows["threshold"]) == ([0.1], [30.0]) and probe.recorder.notes == []


def test_a_probe_batch_without_labels_is_told() -> None:
    model, (x, _) = net(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    labels = torch.full((12,), -100)
    with pytest.raises(RequestError, match="loss is nan on the probe batch"):
        probes.watch(model, nn.functional.cross_entropy, (x, labels), optimizer).start()
