"""The probe for PyTorch: the same numbers as JAX, dense linear algebra, and a model that comes back as it was."""

from __future__ import annotations

import copy
import types
from typing import Any, cast

import numpy as np
import pytest
from probe_runs import tanh_problem

import trainphase as tp
from trainphase.errors import RequestError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'trainphase[torch]'")

from trainphase.probe import torch as probes  # noqa: E402
from trainphase.spectrum.checks import compare  # noqa: E402

nn = torch.nn
# PyTorch's own forward mode uses a function of its own that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def squared(outputs, targets):
    return 0.5 * ((outputs - targets) ** 2).sum() / len(targets)


def tanh_model(problem) -> tuple:
    """The module with the weights of a tanh problem, and its batch."""
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    for layer, source in zip((model[0], model[2]), problem.params, strict=True):
        layer.weight.data = torch.tensor(np.asarray(source["w"]).T.copy())
        layer.bias.data = torch.tensor(np.asarray(source["b"]))
    return model, (torch.tensor(problem.inputs), torch.tensor(problem.targets))


def small(seed: int = 0, *middle) -> Any:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), *(middle or (nn.Tanh(),)), nn.Linear(6, 2)).double()
    return model, (torch.randn(12, 4).double(), torch.randn(12, 2).double())


def dense(model, batch, parameters=None) -> np.ndarray:
    """The Hessian by one backward pass through the gradient for each of its rows, outside the package."""
    parameters = list(model.parameters()) if parameters is None else parameters
    slopes = torch.autograd.grad(squared(model(batch[0]), batch[1]), parameters, create_graph=True)
    flat = torch.cat([s.reshape(-1) for s in slopes])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, allow_unused=True, materialize_grads=True) for g in flat]
    return np.stack([torch.cat([r.reshape(-1) for r in row]).numpy() for row in rows])


def top(matrix: np.ndarray, scale: Any = 1.0) -> float:
    s = np.broadcast_to(scale, len(matrix))
    return float(np.linalg.eigvalsh(s[:, None] * matrix * s[None, :])[-1])


def step(model, batch, optimizer):
    optimizer.zero_grad()
    loss = squared(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss


def watched(model, batch, optimizer, steps: int = 3, **options):
    with probes.watch(model, squared, batch, optimizer, **({"every": 1, "budget": None, "tol": 1e-9} | options)) as probe:
        for _ in range(steps):
            probe.step(step(model, batch, optimizer))
    return probe


def test_the_numbers_are_those_of_the_jax_probe() -> None:
    problem = tanh_problem("float32")
    model, batch = tanh_model(problem)
    names, lr = ("sharpness", "second", "gradient_norm"), 0.05
    theirs = watched(model, batch, torch.optim.SGD(model.parameters(), lr=lr), 20, every=10, tol=1e-6, observables=names)
    watch = tp.watch(problem, observables=names, every=10, budget=None, lr=lr, tol=1e-6)
    import jax

    params = jax.tree.map(np.asarray, problem.params)
    state = watch.init(params)
    slope = jax.jit(lambda p: jax.value_and_grad(lambda q: problem.loss_of_outputs(problem.fn(q, problem.inputs).ravel()))(p))
    for _ in range(20):
        value, g = slope(params)
        params = jax.tree.map(lambda p, d: np.asarray(p - np.float32(lr) * d), params, g)
        state = watch.update(state, params, value)
    for name in ("sharpness", "second", "gradient_norm", "probe_loss"):
        # Single precision along 20 steps; asked for is 1e-5.
        np.testing.assert_allclose(theirs.recorder.rows[name], state.recorder.rows[name], rtol=1e-5, err_msg=name)
    ours = [v for _, v in state.recorder.losses]
    np.testing.assert_allclose([float(v) for _, v in theirs.recorder.losses], [float(v) for v in ours], rtol=1e-5)


CASES = [
    (lambda p: torch.optim.SGD(p, lr=0.1), 2 / 0.1, None),
    (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 3.8 / 0.1, None),
    (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, dampening=0.5), 3 / 0.05, None),
    (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), 3.8 / 2.8 / 0.1, None),
    (lambda p: torch.optim.RMSprop(p, lr=1e-3), 2 / 1e-3, lambda s: s["square_avg"].sqrt() + 1e-8),
    (lambda p: torch.optim.Adam(p, lr=1e-3), 38 / 1e-3, lambda s: (s["exp_avg_sq"] / (1 - 0.999**3)).sqrt() + 1e-8),
    (lambda p: torch.optim.AdamW(p, lr=1e-3, betas=(0.8, 0.99), weight_decay=0), 18 / 1e-3,
     lambda s: (s["exp_avg_sq"] / (1 - 0.99**3)).sqrt() + 1e-8),
]  # fmt: skip


@pytest.mark.parametrize(("make", "threshold", "p"), CASES)
def test_optimisers_are_read(make, threshold: float, p) -> None:
    model, batch = small()
    optimizer = make(model.parameters())
    rows = watched(model, batch, optimizer).recorder.rows
    scale = 1.0
    if p is not None:
        scale = np.concatenate([p(optimizer.state[q]).reshape(-1).numpy() for q in model.parameters()]) ** -0.5
    assert rows["sharpness"][-1] == pytest.approx(top(dense(model, batch), scale), rel=1e-8)  # what was asked for, and rounding
    assert rows["threshold"][-1] == pytest.approx(threshold, rel=1e-12)  # closed form


def test_groups_with_step_sizes_of_their_own() -> None:
    model, batch = small()
    optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.05}, {"params": model[2].parameters(), "lr": 0.2}])
    probe = watched(model, batch, optimizer)
    rates = np.concatenate([np.full(30, 0.05), np.full(14, 0.2)])
    # Stable while the top eigenvalue of D^1/2 H D^1/2 is below 2, D the step sizes.
    ratio = np.array(probe.recorder.rows["sharpness"]) / np.array(probe.recorder.rows["threshold"])
    assert ratio[-1] == pytest.approx(top(dense(model, batch), rates**0.5) / 2, rel=1e-8)
    assert any("0.05, 0.2" in note and "of group 1" in note for note in probe.report().notes)


def test_weight_decay_is_curvature_too() -> None:
    model, batch = small()
    groups = [{"params": model[0].parameters(), "weight_decay": 0.5}, {"params": model[2].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    probe = watched(model, batch, optimizer)
    matrix = dense(model, batch) + np.diag(np.concatenate([np.full(30, 0.5), np.zeros(14)]))
    assert probe.recorder.rows["sharpness"][-1] == pytest.approx(top(matrix), rel=1e-8)


def test_frozen_parameters_are_left_out() -> None:
    model, batch = small()
    model[0].requires_grad_(False)
    probe = watched(model, batch, torch.optim.SGD(model[2].parameters(), lr=0.1))
    assert probe.recorder.rows["sharpness"][-1] == pytest.approx(top(dense(model, batch, list(model[2].parameters()))), rel=1e-8)
    assert all(p.grad is None and not p.requires_grad for p in model[0].parameters())


@pytest.mark.parametrize("middle", [(nn.LayerNorm(6), nn.Tanh()), (nn.GroupNorm(2, 6), nn.GELU()), (nn.Softplus(),)])
def test_products_are_right_where_pytorch_is_treacherous(middle) -> None:
    model, batch = small(0, *copy.deepcopy(middle))
    probe = probes.watch(model, squared, batch, torch.optim.SGD(model.parameters(), lr=0.1), budget=None)
    matrix, v = dense(model, batch), np.random.default_rng(0).normal(size=sum(p.numel() for p in model.parameters()))
    for forward in (False, True):  # backward through the gradient, and jvp of it
        probe.model.forward = forward
        np.testing.assert_allclose(probe.model.at(None, None)[2](v), matrix @ v, rtol=1e-9, atol=1e-10)  # rounding
    assert probe.model.check_products() == ""


def test_a_wrong_product_is_noticed_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = small(0, nn.LayerNorm(6), nn.Tanh())
    probe = probes.watch(model, squared, batch, torch.optim.SGD(model.parameters(), lr=0.1), budget=None)
    tool, names = probe.model, probe.model.names

    def reverse_over_forward(v: np.ndarray) -> np.ndarray:
        point = dict(zip(names, tool._split(None), strict=True))
        point = {k: p.detach() for k, p in point.items()}
        along = dict(zip(names, tool._vectors(v), strict=True))
        found = torch.func.grad(lambda p: torch.func.jvp(tool.loss, (p,), (along,))[1])(point)
        return torch.cat([found[n].reshape(-1) for n in names]).numpy()

    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).numpy()
    wrong = compare(reverse_over_forward, lambda at: tool.at(at, None)[1], theta)
    # Wrong in PyTorch 2.13. Where a release has mended it, there is nothing left to notice.
    exact = np.allclose(reverse_over_forward(theta), dense(model, batch) @ theta, rtol=1e-6)
    assert wrong.agrees == exact
    monkeypatch.setattr(type(tool), "_forward", lambda self, values, along, data: reverse_over_forward(np.zeros(theta.size)))
    real = type(tool).at
    monkeypatch.setattr(type(tool), "at", lambda self, t, d: (*real(self, t, d)[:2], lambda v: 2 * v))
    with pytest.warns(RuntimeWarning, match="finite difference"):
        probe.start()
    assert any("finite difference" in note for note in probe.report().notes)


def snapshot(model) -> dict:
    """All that a probe could change."""
    return {
        "modes": [m.training for m in model.modules()],
        "values": {k: v.clone() for k, v in model.state_dict().items()},
        "ids": [id(p) for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "requires": [p.requires_grad for p in model.parameters()],
        "leaf": [p.is_leaf and p.grad_fn is None for p in model.parameters()],
        "random": torch.get_rng_state().clone(),
        "numpy": np.array(cast(Any, np.random.get_state())[1]),
        "enabled": torch.is_grad_enabled(),
    }


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor | np.ndarray):
        return type(a) is type(b) and a.shape == b.shape and bool((a == b).all())
    return a == b


class Counting(nn.Module):
    """Counts in a buffer how often it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.seen: Any

    def forward(self, x):
        self.seen += 1
        return x


@pytest.mark.parametrize("grad_mode", [True, False])
def test_the_model_comes_back_exactly_as_it_was(grad_mode: bool) -> None:
    torch.manual_seed(0)
    layers = (nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    model: Any = nn.Sequential(*layers, Counting())
    model.train()
    model[1].eval()  # a mixture of modes, as in fine-tuning
    model[3].requires_grad_(False)
    batch = (torch.randn(12, 4), torch.randn(12, 2))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    step(model, batch, optimizer)
    before, states = snapshot(model), copy.deepcopy(optimizer.state_dict())
    with torch.set_grad_enabled(grad_mode):
        names = ("batch_sharpness",)
        probe = probes.watch(model, squared, batch, optimizer, every=1, budget=None, mode="eval", observables=names)
        probe.start()
        probe.step(torch.tensor(1.0))
        probe.stop()
    assert len(probe.recorder.rows["sharpness"]) == 2
    with torch.set_grad_enabled(before["enabled"]):
        assert same(before, snapshot(model))
    assert same(states, optimizer.state_dict())


def test_a_model_that_fails_within_keeps_its_modes() -> None:
    model, batch = small(0, nn.Dropout(0.5))
    probe = probes.watch(model, lambda o, t: o.no_such_thing, batch, torch.optim.SGD(model.parameters(), lr=0.1), mode="eval")
    with pytest.raises(RequestError, match="fails on the probe batch"):
        probe.start()
    assert all(m.training for m in model.modules())


def test_dropout_in_training_mode_gets_one_sentence() -> None:
    model, batch = small(0, nn.Dropout(0.1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RequestError, match=r"dropout in training mode \(1\).*mode='no-dropout'") as caught:
        probes.watch(model, squared, batch, optimizer).start()
    assert "\n" not in str(caught.value)
    probes.watch(model, squared, batch, optimizer, mode="no-dropout").start()
    model.eval()
    probes.watch(model, squared, batch, optimizer).start()


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(4, 2))

    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True) @ self.w


def model_and(batch=None, loss=squared, make=None, module=None, **options):
    model, good = small()
    model = module or model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1) if make is None else make(model)
    return probes.watch(model, loss, good if batch is None else batch(good), optimizer, **options)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: model_and(lambda b: (b[0].long(), b[1])).start(), "probe batch of int64"),
        (lambda: model_and(lambda b: (b[0][:0], b[1][:0])), "empty"),
        (lambda: model_and(lambda b: b[0]), "no pair"),
        (lambda: model_and(lambda b: (3, b[1])), "give tensors"),
        (lambda: model_and(loss=lambda o, t: o).start(), "must be one float"),
        (lambda: model_and(loss=None).start(), "hold no loss"),
        (lambda: model_and(module=Noisy(), batch=lambda b: (b[0].float(), b[1])).start(), "and then"),
        (lambda: model_and(module=nn.Linear(4, 2).half()), "too coarse"),
        (lambda: model_and(make=lambda m: torch.optim.Adagrad(m.parameters())), "Adagrad has no known threshold"),
        (lambda: model_and(make=lambda m: torch.optim.SGD(m.parameters(), lr=0.1, maximize=True)), "maximize"),
        (lambda: model_and(make=lambda m: torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)), "no parameter of this model"),
        (lambda: model_and(make=lambda m: 3), "no PyTorch optimiser"),
        (lambda: model_and(mode="train"), "not known"),
        (lambda: probes.watch(lambda x: x, squared, (), None), "no PyTorch module"),
        (lambda: tp.watch(nn.Linear(1, 1), ()), "trainphase.probe.torch.watch"),
    ],
)
def test_what_is_refused(make, match: str) -> None:
    with pytest.raises(RequestError, match=match) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_another_optimiser_with_a_threshold_of_ones_own() -> None:
    model, batch = small()
    probe = watched(model, batch, torch.optim.Adagrad(model.parameters(), lr=0.01), threshold=123.0)
    assert probe.report().threshold[-1] == 123.0


def test_a_loss_that_is_not_finite_is_divergence_with_its_step() -> None:
    model, batch = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with probes.watch(model, squared, batch, optimizer, every=4, budget=None) as probe:
        for k in range(30):
            loss = step(model, batch, optimizer)
            if k == 17:
                with torch.no_grad():
                    model[0].weight[0, 0] = float("nan")
            probe.step(loss)
    found = tp.diagnose(probe, show=False)
    assert (found.phase, found.reading.diverged_at) == ("divergent", 18)
    assert probe.recorder.rows["step"] == [0, 4, 8, 12, 16]


def test_attention_and_dictionaries_as_transformers_have_them() -> None:
    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 8)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.head = nn.Linear(8, 7)

        def forward(self, ids, labels):
            logits = self.head(self.layer(self.embed(ids)))
            return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}

    torch.manual_seed(0)
    model = Transformer().double()
    batch = {"ids": torch.randint(0, 7, (4, 5)), "labels": torch.randint(0, 7, (4, 5))}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    callback = probes.huggingface_callback(batch, every=2, budget=None)
    state = types.SimpleNamespace(global_step=0)
    callback.on_train_begin(None, state, None, model=model, optimizer=optimizer)
    for k in range(6):
        optimizer.zero_grad()
        loss = model(**batch)["loss"]
        loss.backward()
        optimizer.step()
        state.global_step = k + 1
        callback.on_step_end(None, state, None, model=model, optimizer=optimizer)
        callback.on_log(None, state, None, logs={"loss": float(loss.detach())})
    callback.on_train_end(None, state, None)
    run = callback.probe.report()
    assert run.steps.tolist() == [1, 2, 3, 4, 5, 6] and run.sharpness_steps.tolist() == [2, 4, 6]
    assert np.all(run.sharpness > 0) and run.kind == "preconditioned sharpness"


def test_the_callback_of_lightning() -> None:
    model, batch = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    callback = probes.lightning_callback(squared, batch, every=2, budget=None)
    trainer = types.SimpleNamespace(optimizers=[optimizer], global_step=0, accumulate_grad_batches=2)
    callback.on_train_start(trainer, model)
    losses = []
    for k in range(8):
        loss = squared(model(batch[0]), batch[1])
        loss.backward()
        if k % 2:  # two batches are accumulated
            losses.append(float(loss.detach()))
            optimizer.step()
            optimizer.zero_grad()
            trainer.global_step += 1
        callback.on_train_batch_end(trainer, model, {"loss": loss.detach() / 2}, batch, k)
    callback.on_train_end(trainer, model)
    assert callback.probe.recorder.rows["step"] == [0, 2, 4]
    assert [float(v) for _, v in callback.probe.recorder.losses] == losses  # halves, doubled: exact
    trainer.optimizers = [optimizer, optimizer]
    with pytest.raises(RequestError, match="2 optimisers"):
        callback.on_train_start(trainer, model)


def test_a_callback_is_of_the_librarys_class_where_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    base = type("Callback", (), {"setup": lambda self: "theirs"})
    monkeypatch.setitem(sys.modules, "lightning.pytorch", types.SimpleNamespace(Callback=base))
    made = probes.lightning_callback(squared, small()[1])
    assert isinstance(made, base) and cast(Any, made).setup() == "theirs"


def test_the_regime_of_the_initialisation() -> None:
    model, batch = small(0, nn.ReLU())
    probe = watched(model, batch, torch.optim.SGD(model.parameters(), lr=0.1), 1)
    assert probe.report().regime in ("linear", "critical", "condensed") and probe.report().place.width == 6
