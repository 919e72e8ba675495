"""The callbacks of the PyTorch probe in the trainers themselves, where Lightning or transformers are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainphase as tp

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'trainphase[torch]'")

from trainphase.probe.torch import huggingface_callback, lightning_callback  # noqa: E402

# Warnings of the trainers about each other and about small data are no concern of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_lightning() -> None:
    lightning: Any = pytest.importorskip("lightning", reason="Lightning is not installed: pip install lightning")
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 5), torch.randint(0, 10, (64,))

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 10))

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, k: int) -> Any:
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    watched = lightning_callback(torch.nn.functional.cross_entropy, (inputs, targets), every=4, budget=None)
    assert isinstance(watched, lightning.Callback)
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=2, callbacks=[watched], accelerator="cpu", accumulate_grad_batches=2, **off)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), batch_size=4)
    trainer.fit(Net(), loader)
    run = watched.probe.report()
    # 64 samples by 4, two batches a step, twice.
    assert run.steps.tolist() == list(range(16)) and run.sharpness_steps.tolist() == [0, 4, 8, 12, 16]
    assert np.all(run.sharpness > 0) and run.threshold[0] == pytest.approx(2 / 0.05, rel=1e-12)  # closed form
    # Ten classes at random: the loss of a step is that of its last batch, undivided.
    assert abs(run.loss[0] - np.log(10)) < 1
    assert tp.diagnose(watched.probe, show=False).run.what.startswith("gradient descent, lr = 0.05")


def test_the_hugging_face_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    # Our tests' own module of that name is no Hugging Face datasets.
    monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=20, num_labels=2, **sizes))
    ids = torch.randint(0, 20, (32, 6))
    data = [{"input_ids": row, "labels": (row[0] > 9).long()} for row in ids]
    batch = {"input_ids": ids, "labels": (ids[:, 0] > 9).long()}
    watched = huggingface_callback(batch, every=2, budget=None, mode="eval")
    assert isinstance(watched, transformers.TrainerCallback)
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=2, per_device_train_batch_size=8, learning_rate=1e-3, logging_steps=1,
        save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=[watched]).train()
    run = watched.probe.report()
    # AdamW has no second moments before its first step, and after the last one the trainer's step size is 0.
    assert run.steps.tolist() == list(range(1, 9)) and run.sharpness_steps.tolist() == [2, 4, 6]
    assert run.kind == "preconditioned sharpness" and np.all(run.sharpness > 0)
    # The trainer lowers its step size to 0 in a straight line; a measurement after step k is with that of the step to come.
    assert run.lr[0] == pytest.approx(1e-3 * 6 / 8, rel=1e-6)
