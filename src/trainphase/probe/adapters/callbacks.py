"""The PyTorch probe as a callback of Lightning or of the Hugging Face Trainer.

Neither library is imported: where the user has it loaded, the callback is of its class; elsewhere it is a plain object with
the same hooks.
"""

from __future__ import annotations

import sys
from typing import Any

from trainphase.errors import RequestError


def lightning_callback(loss_fn: Any, batch: Any, **options: Any) -> Any:
    """A Lightning callback that watches training; ``callback.probe`` is the probe, once training has begun::

        watched = lightning_callback(loss_fn, (inputs, targets), every=50, budget=10)
        lightning.Trainer(max_epochs=10, callbacks=[watched]).fit(module, loader)
        trainphase.diagnose(watched.probe)

    Import Lightning first. The probe calls ``module(inputs)``, so the module needs its ``forward``.

    loss_fn, batch, options : as for :func:`trainphase.probe.torch.watch`; the model and the optimiser are the trainer's.
    Raises RequestError for several optimisers, and what ``watch`` raises.
    """
    return _made(_Lightning, ("lightning.pytorch", "pytorch_lightning"), "Callback")(loss_fn, batch, options)


def huggingface_callback(batch: Any, loss_fn: Any = None, **options: Any) -> Any:
    """A callback of the Hugging Face Trainer; ``callback.probe`` is the probe, once training has begun::

        watched = huggingface_callback(batch, every=50, mode="no-dropout")
        transformers.Trainer(model, arguments, train_dataset=data, callbacks=[watched]).train()
        trainphase.diagnose(watched.probe)

    Import transformers first. ``mode="no-dropout"`` is for models with dropout.

    batch : a dict of tensors, as the model takes it. loss_fn : of (outputs, None); by default the ``loss`` that the model
    returns. The losses are those that the trainer logs, so set ``logging_steps`` to a few steps at most.
    """
    return _made(_HuggingFace, ("transformers",), "TrainerCallback")(loss_fn, batch, options)


def _made(kind: type, libraries: tuple[str, ...], base: str) -> Any:
    """The class with the library's own base, where that is loaded."""
    for name in libraries:
        found = getattr(sys.modules.get(name), base, None)
        if isinstance(found, type):
            return type(kind.__name__.strip("_"), (kind, found), {})
    return kind


class _Callback:
    def __init__(self, loss_fn: Any, batch: Any, options: dict[str, Any]) -> None:
        self.loss_fn, self.batch, self.options = loss_fn, batch, options
        self.probe: Any = None

    def _begin(self, model: Any, optimiser: Any) -> None:
        from trainphase.probe.adapters.torch_adapter import watch

        self.probe = watch(model, self.loss_fn, self.batch, optimiser, **self.options)
        self.probe.start()


class _Lightning(_Callback):
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins to watch."""
        optimisers = list(trainer.optimizers)
        if len(optimisers) != 1:
            raise RequestError(f"the trainer has {len(optimisers)} optimisers and the probe reads one; call probe.step by hand")
        self._begin(pl_module, optimisers[0])

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """One step; ``outputs`` is the loss, or a mapping with it. Accumulated batches count as one step."""
        if getattr(trainer, "global_step", self.probe.recorder.step + 1) <= self.probe.recorder.step:
            return
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        # Lightning hands the loss over divided by the number of batches that a step accumulates.
        self.probe.step(None if loss is None else loss * getattr(trainer, "accumulate_grad_batches", 1))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Ends."""
        self.probe.stop()


class _HuggingFace(_Callback):
    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begins to watch."""
        self._begin(given["model"], given["optimizer"])

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """One step of the optimiser, its loss not known."""
        self.probe.step(None)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **given: Any) -> None:
        """A loss, averaged since the last one that was logged."""
        losses = self.probe.recorder.losses
        if logs and "loss" in logs and (not losses or losses[-1][0] < state.global_step):
            losses.append((int(state.global_step), float(logs["loss"])))

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Ends."""
        self.probe.stop()
