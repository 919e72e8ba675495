"""Small data sets in every format, pinned as if they were real, for the tests of the data module."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainphase.data import files, pins, sets
from trainphase.errors import DataError, RequestError

ROOT = Path(__file__).resolve().parents[2]


def tiny(seed=0, shape=(28, 28), n_train=12, n_test=5):
    """Arrays of a made-up set."""
    rng = np.random.default_rng(seed)
    return {
        "x_train": rng.integers(1, 256, (n_train, *shape), dtype=np.uint8),
        "y_train": rng.integers(0, 10, n_train, dtype=np.uint8),
        "x_test": rng.integers(1, 256, (n_test, *shape), dtype=np.uint8),
        "y_test": rng.integers(0, 10, n_test, dtype=np.uint8),
    }


def pin_to(monkeypatch, **of):
    """Make the made-up arrays the pinned ones: the first 10 training and 4 test rows of each set."""
    specs = dict(pins.SPECS)
    for name, arrays in of.items():
        name = name.replace("_", "-")
        rows = {k: a[: 10 if "train" in k else 4] for k, a in arrays.items()}
        digests = tuple(
            pins.Pin(k, 0, len(a), hashlib.sha256(a.tobytes()).hexdigest()) for k, a in rows.items()
        )
        specs[name] = dataclasses.replace(specs[name], pins=digests)
    monkeypatch.setattr(sets, "SPECS", specs)


def write_idx(folder, arrays, end=".gz"):
    """The four IDX files, as LeCun's page defines them: magic, big-endian sizes, bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, stem in files.IDX_STEMS.items():
        a = arrays[key]
        raw = bytes((0, 0, 8, a.ndim)) + b"".join(s.to_bytes(4, "big") for s in a.shape) + a.tobytes()
        (folder / f"{stem}-idx{a.ndim}-ubyte{end}").write_bytes(gzip.compress(raw) if end else raw)


def write_cifar(folder, arrays):
    """CIFAR-10's binary layout: label, then red, green and blue planes; two rows in each of five batches."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, names in (("train", files.BINARY_TRAIN), ("test", ("test_batch.bin",))):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        rows = np.concatenate([y[:, None], np.moveaxis(x, -1, 1).reshape(len(x), -1)], axis=1)
        for file, part in zip(names, np.array_split(rows, len(names)), strict=True):
            (folder / file).write_bytes(part.tobytes())


def save(file: Path, arrays: dict[str, Any]):
    np.savez(file, **arrays)


def refused(kind: type[RequestError] = DataError):
    """Expect an error of this kind; `sentence` checks that its message is one."""
    return pytest.raises(kind)


def sentence(caught):
    """The message, which must be one line."""
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400, text
    return text
