"""The probe for PyTorch: a context around the user's own loop. The only file that imports torch.

The model is called through ``torch.func.functional_call`` on copies of its parameters and buffers, so that nothing of it
changes. A product with the Hessian is a backward pass through the gradient (reverse over reverse): with the gradient's graph
kept, a product takes about 1.2 gradients, where jvp of grad takes 3. Both are right for layer_norm in PyTorch 2.13, where
forward over forward and reverse over forward are wrong; whichever is used, it is checked once per model.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np

from trainphase.errors import RequestError
from trainphase.probe.adapters import torch_batches as batches
from trainphase.probe.recorded import Recorded, located, of_recorder
from trainphase.probe.recorder import Point, Recorder, minibatches, names_of
from trainphase.probe.settings import Setting, checked_threshold
from trainphase.spectrum.checks import compare

try:
    import torch as _torch  # pyright: ignore[reportMissingImports]
except ImportError:
    raise RequestError("PyTorch is not installed, and this probe needs it; pip install 'trainphase[torch]'") from None

from trainphase.probe.adapters.torch_settings import read as read_optimiser

# Types are checked where PyTorch is not installed, too.
torch: Any = _torch
attention: Any = importlib.import_module("torch.nn.attention")

Product = Callable[[np.ndarray], np.ndarray]
# Their statistics are those of the batch in training mode; instance norms are among them.
NORMS: Any = torch.nn.modules.batchnorm._NormBase
MODES = ("as-is", "no-dropout", "eval")


def watch(
    model: Any, loss_fn: Any, batch: Any, optimizer: Any, *, every: int = 50, budget: float | None = 10.0,
    observables: str | Sequence[str] = ("sharpness",), tol: float = 1e-3, minibatch: int | None = None, mode: str = "as-is",
    threshold: float | None = None, seed: int = 0,
) -> TorchWatch:  # fmt: skip
    """Watch a PyTorch training loop: ``with watch(...) as probe:`` around it, ``probe.step(loss)`` after each step.

    Parameters
    ----------
    model : a module; compiled and distributed wrappers are looked through. It comes back as it was.
    loss_fn : ``(outputs, targets) -> loss``, a scalar; None where the outputs hold their ``loss`` (Hugging Face).
    batch : the fixed probe batch, (inputs, targets); inputs a tensor, a tuple of arguments or a dict of them; a dict alone
        is inputs without targets.
    optimizer : a torch optimiser: SGD, RMSprop, Adam or AdamW; another one needs ``threshold``. Step sizes, momenta, eps,
        weight decay and second moments are read off it at each measurement.
    every, budget, observables, tol, seed : as in ``trainphase.watch``. minibatch : samples for "batch_sharpness".
    mode : of the modules while measuring; they are put back afterwards. "as-is": the modes they are in; batch-norm in training
        mode then takes the statistics of the probe batch, as a training step takes those of its own. "no-dropout": all but
        batch-norm in eval mode. "eval": all of them, batch-norm with its running statistics, which is not the loss that
        training descends.

    Raises RequestError for a model with dropout in training mode (mode "as-is"), a batch that is empty or that the model
    cannot take, a loss that is no scalar, and an optimiser whose threshold is not known.
    """
    checked_threshold(threshold)
    recorder = Recorder(every, budget, tol, names_of(observables), seed)
    return TorchWatch(_Model(model, loss_fn, batch, mode, minibatch), optimizer, recorder, threshold)


class TorchWatch:
    """A probe of a PyTorch loop. ``report()`` gives the record; ``trainphase.diagnose(probe)`` reads it."""

    def __init__(self, model: _Model, optimizer: Any, recorder: Recorder, threshold: float | None) -> None:
        self.model, self.optimizer, self.recorder, self.threshold = model, optimizer, recorder, threshold
        model.choose(optimizer)
        self._setting()  # an optimiser that cannot be read is told before training

    def __enter__(self) -> TorchWatch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Check the products and measure for the first time."""
        self.recorder.note(self.model.check())
        self.recorder.regime, self.recorder.place = located(self.model.module)
        told = self.recorder.begin(self.model.check_products, self._look)
        if told:
            warnings.warn(told, RuntimeWarning, stacklevel=3)

    def step(self, loss: Any) -> bool:
        """After ``optimizer.step()``: ``loss`` is the one that the step began with, or None. Returns whether it measured.

        With gradients accumulated over several batches: once for each step of the optimiser, with the mean of their losses.
        """
        entered = self.recorder.entered()
        if isinstance(loss, torch.Tensor):
            # On a device read only when a measurement is due, since reading waits for it. A copy, as the loop may reuse its
            # own; in memory the number itself is less than half the price of one.
            if loss.numel() != 1:
                raise RequestError(f"the loss of a step has shape {tuple(loss.shape)}; give probe.step one number, its mean")
            loss = loss.item() if loss.is_cpu else loss.detach().clone()
        return self.recorder.tick(loss, self._look, self.model.wait, entered)

    def stop(self) -> None:
        """The loop is over."""
        self.model.wait()
        self.recorder.finish()

    def report(self) -> Recorded:
        """The record so far."""
        return of_recorder(self.recorder)

    def _setting(self) -> Setting | None:
        return read_optimiser(self.optimizer, self.model.parameters, self.threshold)

    def _look(self) -> Point | None:
        self.model.choose(self.optimizer)  # anew each time, as layers may be frozen or set free on the way
        setting = self._setting()
        if setting is None:
            return None
        value, gradient, product = self.model.at(None, None)
        parts = self.model.parts(self.recorder.step) if "batch_sharpness" in self.recorder.observables else ()
        return Point(product, gradient, value, setting, parts)


class _Inside(torch.nn.Module):
    """Calls what it is given, so that a module's tensors can be exchanged for as long as that takes."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, call: Callable[[], Any]) -> Any:
        return call()


class _Model:
    """The user's module, loss and probe batch as a function of a vector of the trained parameters."""

    def __init__(self, model: Any, loss_fn: Any, batch: Any, mode: str, minibatch: int | None) -> None:
        if not isinstance(model, torch.nn.Module):
            raise RequestError(f"{type(model).__name__} is no PyTorch module; for JAX take trainphase.watch")
        if mode not in MODES:
            raise RequestError(f"mode = {mode!r} is not known; give {', '.join(MODES[:-1])} or {MODES[-1]}")
        model = getattr(model, "_orig_mod", model)
        self.module = model.module if type(model).__name__ in ("DistributedDataParallel", "DataParallel") else model
        self.loss_fn, self.mode, self.minibatch, self.forward = loss_fn, mode, minibatch, False
        self.inside = _Inside(self.module)
        self.inputs, self.targets = (batch, None) if isinstance(batch, Mapping) else batches.pair(batch)
        batches.check_batch(self.inputs, self.targets)
        self.odd = ""
        self.parameters: list[Any] = []
        self.names: list[str] = []

    def choose(self, optimizer: Any) -> None:
        """Count the parameters that the optimiser trains."""
        groups = getattr(optimizer, "param_groups", None)
        if groups is None:
            raise RequestError(f"{type(optimizer).__name__} is no PyTorch optimiser; give the one that trains the model")
        trained = {id(p) for group in groups for p in group["params"]}
        named = [(n, p) for n, p in self.module.named_parameters() if p.requires_grad and id(p) in trained]
        if not named:
            raise RequestError("the optimiser trains no parameter of this model; give the optimiser of this model")
        odd = {p.dtype for _, p in named} - {torch.float32, torch.float64}
        if odd:
            kind = min(map(str, odd))
            raise RequestError(f"parameters are {kind}, too coarse for second derivatives; train in float32 (autocast is fine)")
        self.names, self.parameters = [n for n, _ in named], [p for _, p in named]

    # ---- the loss and its derivatives, on copies

    def loss(self, values: Mapping[str, Any], data: Any = None) -> Any:
        """The loss on the probe batch, or on ``data``, with ``values`` for the trained parameters."""
        return self._within(self._state(values), lambda: self._loss(data))

    def _state(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters and buffers by name, as copies; ``values`` are those of the trained parameters."""
        rest = {n: t.detach() for n, t in self.module.named_parameters() if n not in values}
        return rest | {n: t.detach().clone() for n, t in self.module.named_buffers()} | dict(values)

    def _within(self, state: Mapping[str, Any], call: Callable[[], Any]) -> Any:
        """``call`` while the module has these tensors: also a loss that looks at its weights, and what is computed again."""
        with contextlib.ExitStack() as stack:
            if "torch._dynamo" in sys.modules:  # what is compiled, be it a layer or the loss, has no second derivative
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            return torch.func.functional_call(self.inside, {f"module.{n}": t for n, t in state.items()}, (call,))

    def _loss(self, data: Any) -> Any:
        inputs, targets = (self.inputs, self.targets) if data is None else data
        named = isinstance(inputs, Mapping)
        args = () if named else inputs if isinstance(inputs, tuple) else (inputs,)
        outputs = self.module(*args, **(dict(inputs) if named else {}))
        if self.loss_fn is not None:
            self.odd = batches.broadcast(outputs, targets)
            return self.loss_fn(outputs, targets)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
        if loss is None:
            raise RequestError("the model's outputs hold no loss; give loss_fn, or a batch with labels")
        return loss

    def at(self, theta: np.ndarray | None, data: Any) -> tuple[float, np.ndarray, Product]:
        """The loss, its gradient and v -> H v at ``theta`` (None: where training is). The graph is kept for the products."""
        values = self._split(theta)
        state = self._state(dict(zip(self.names, values, strict=True)))

        def gradient() -> tuple[Any, Any]:
            loss = self._loss(data)
            return loss, torch.autograd.grad(loss, values, create_graph=True, allow_unused=True, materialize_grads=True)

        with self.untouched(), _told():
            loss, slopes = self._within(state, gradient)
        kept = [s for s in slopes if s.requires_grad]

        def product(v: np.ndarray) -> np.ndarray:
            along = [a for a, s in zip(self._vectors(v), slopes, strict=True) if s.requires_grad]
            with self.untouched(), _told():
                if self.forward:
                    return self._forward(values, self._vectors(v), data)
                if not kept:
                    return np.zeros(v.size)
                images = torch.autograd.grad(kept, values, along, retain_graph=True, allow_unused=True, materialize_grads=True)
            return _flat(images)

        return float(loss.detach()), _flat([s.detach() for s in slopes]), product

    def _forward(self, values: Sequence[Any], along: Sequence[Any], data: Any) -> np.ndarray:
        """H v as jvp of grad: for models whose backward pass has no derivative of its own."""
        point = dict(zip(self.names, [v.detach() for v in values], strict=True))
        tangent = dict(zip(self.names, along, strict=True))
        slope = torch.func.grad(lambda p: self.loss(p, data))
        return _flat(list(torch.func.jvp(slope, (point,), (tangent,))[1].values()))

    def _split(self, theta: np.ndarray | None) -> list[Any]:
        found = [p.detach().clone() for p in self.parameters] if theta is None else self._vectors(np.array(theta))
        return [p.requires_grad_() for p in found]

    def _vectors(self, v: np.ndarray) -> list[Any]:
        like = self.parameters
        # No copy in memory: what is returned is read only, and not kept.
        whole = torch.from_numpy(v if v.flags.writeable and v.flags.c_contiguous else np.array(v)).to(like[0].device)
        pieces = zip(whole.split([p.numel() for p in like]), like, strict=True)
        return [a.to(p).reshape(p.shape) for a, p in pieces]

    def parts(self, step: int) -> list[Callable[[], tuple[np.ndarray, Product]]]:
        """Minibatches of the probe batch, for the batch sharpness."""
        count = len(batches.tensors(self.inputs)[0])
        picks = [torch.as_tensor(rows) for rows in minibatches(count, self.minibatch, step)]
        return [lambda pick=pick: self.at(None, batches.rows((self.inputs, self.targets), pick))[1:] for pick in picks]

    # ---- what must hold before, and what must be as it was after

    @contextlib.contextmanager
    def untouched(self) -> Generator[None, None, None]:
        """Measure with the modules' modes as wanted, in full precision, and leave modes and random state as they were."""
        modes = [(m, m.training) for m in self.module.modules()]
        device = self.parameters[0].device
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.enable_grad())
                stack.enter_context(torch.autocast(device.type, enabled=False))
                # The fast kernels of attention have no second derivative.
                stack.enter_context(attention.sdpa_kernel(attention.SDPBackend.MATH))
                for module, _ in modes:
                    if self.mode == "eval" or (self.mode == "no-dropout" and not isinstance(module, NORMS)):
                        module.training = False
                yield
        finally:
            for module, training in modes:
                module.training = training

    def wait(self) -> None:
        """Until the device has done what it was asked."""
        if self.parameters and self.parameters[0].is_cuda:
            torch.cuda.synchronize(self.parameters[0].device)

    def check(self) -> str:
        """RequestError where the loss cannot be measured on the probe batch; what else looks wrong with it, or nothing."""
        if self.mode == "as-is":
            for name, module in self.module.named_modules():
                if module.training and _random(module):
                    raise RequestError(
                        f"the model has dropout in training mode ({name or type(module).__name__}), so its loss has no fixed "
                        "curvature; give mode='no-dropout'"
                    )
        with self.untouched():
            values = dict(zip(self.names, self._split(None), strict=True))
            try:
                first, second = (self.loss(values) for _ in range(2))
            except RequestError:
                raise
            except Exception as why:
                told = " ".join(f"{type(why).__name__}: {why}".split())[:160]
                kinds = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in batches.tensors(self.inputs)}))
                sentence = f"the model fails on the probe batch of {kinds} ({told}); give a batch as in training"
                raise RequestError(sentence) from why
        if not isinstance(first, torch.Tensor) or first.numel() != 1 or not first.is_floating_point():
            shape = tuple(getattr(first, "shape", ()))
            raise RequestError(f"the loss has shape {shape} and must be one float; let loss_fn return its mean or sum")
        values = float(first.detach()), float(second.detach())
        if not np.isfinite(values[0]):
            raise RequestError(f"the loss is {values[0]:g} on the probe batch; give one with labels, and weights that are finite")
        if values[0] != values[1]:
            twice = f"{values[0]:g} and then {values[1]:g}"
            raise RequestError(f"the loss is {twice} on one batch; turn randomness off, or give mode='no-dropout'")
        names = _nodes(first)
        if not names:
            raise RequestError("the loss has no gradient by the trained parameters; return the one that training descends")
        if "CheckpointFunctionBackward" in names:
            raise RequestError("reentrant checkpointing hides layers from the probe; checkpoint with use_reentrant=False")
        return self.odd

    def check_products(self) -> str:
        """Hold the products against finite differences of the gradient; where they fail, try the other way round."""
        theta = _flat([p.detach() for p in self.parameters])
        first = ""
        for self.forward in (False, True):
            try:
                sentence = compare(lambda v: self.at(None, None)[2](v), lambda at: self.at(at, None)[1], theta).sentence
            except RequestError as why:
                sentence = str(why)
            if not sentence:
                return ""
            first = first or sentence
        self.forward = False
        return first


@contextlib.contextmanager
def _told() -> Generator[None, None, None]:
    """What PyTorch raises while it differentiates, memory that runs out among it, as one sentence: training must not end."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as why:
        told = " ".join(f"{type(why).__name__}: {why}".split())[:160]
        remedy = "give a smaller batch if memory ran out, else a model whose layers have second derivatives"
        raise RequestError(f"the loss cannot be differentiated twice on the probe batch ({told}); {remedy}") from why


def _nodes(loss: Any) -> set[str]:
    """The kinds of nodes in the graph of this loss; none where it has no gradient."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [n for n, _ in node.next_functions]
    return {node.name() for node in seen}


def _random(module: Any) -> bool:
    """Whether this module makes the loss of one batch depend on chance."""
    if isinstance(module, torch.nn.modules.dropout._DropoutNd):
        return module.p > 0
    dropout = getattr(module, "dropout", 0.0)
    return isinstance(dropout, float) and dropout > 0


def _flat(tensors: Sequence[Any]) -> np.ndarray:
    return torch.cat([t.detach().reshape(-1) for t in tensors]).cpu().numpy()
