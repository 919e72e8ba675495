"""Data sets are found, checked and never unpickled; data matrices have the norms and angles promised."""

from __future__ import annotations

import hashlib
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import pin_to, refused, save, sentence, tiny, write_cifar, write_idx

from trainphase import data
from trainphase.data import files, pins
from trainphase.errors import DataError, RequestError

# ---------------------------------------------------------------- digits


def test_digits_are_scikit_learns_in_their_own_order():
    from sklearn.datasets import load_digits

    raw: Any = load_digits()
    d = data.load("digits")
    assert d.x_train.shape == (1500, 8, 8) and d.x_test.shape == (297, 8, 8)
    assert np.array_equal(np.concatenate([d.x_train, d.x_test]), raw.images)
    assert np.array_equal(np.concatenate([d.y_train, d.y_test]), raw.target)
    assert re.fullmatch("[0-9a-f]{64}", d.sha256) and d.sha256 == data.load("digits").sha256


def test_digits_that_changed_are_refused(monkeypatch):
    pin_to(monkeypatch, digits=tiny(shape=(8, 8)))
    with refused() as caught:
        data.load("digits")
    assert "x_train" in sentence(caught)


def test_a_loaded_set_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        data.load("digits").x_train[0] = 0


def test_importing_the_loader_imports_neither_scikit_learn_nor_jax():
    code = "import sys, trainphase.data; print([m for m in ('sklearn', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- finding files


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("sub", ["", "mnist", "MNIST/raw"])
def test_idx_and_npz_hold_the_same_set(tmp_path, monkeypatch, sub, end):
    arrays = tiny()
    pin_to(monkeypatch, mnist=arrays)
    write_idx(tmp_path / "idx" / sub, arrays, end)
    (tmp_path / "npz").mkdir()
    save(tmp_path / "npz" / "mnist.npz", arrays)
    a, b = data.load("mnist", tmp_path / "idx"), data.load("mnist", tmp_path / "npz")
    assert a.sha256 == b.sha256
    assert np.array_equal(a.x_test, arrays["x_test"]) and np.array_equal(a.y_train, arrays["y_train"])
    assert str(tmp_path) not in a.source + a.note


def test_labels_and_images_of_other_shapes_and_dtypes_are_the_same_set(tmp_path, monkeypatch):
    arrays = tiny()
    pin_to(monkeypatch, mnist=arrays)
    other = {
        k: a.reshape(len(a), -1).astype(np.int64 if k[0] == "y" else np.float32) for k, a in arrays.items()
    }
    save(tmp_path / "mnist.npz", other)
    assert np.array_equal(data.load("mnist", tmp_path).x_train, arrays["x_train"])


def test_data_directory_comes_before_search_folders_before_caches(tmp_path, monkeypatch):
    arrays = [{**tiny(), "y_test": np.array([1, 2, 3, 4, last], np.uint8)} for last in (5, 6, 7)]
    pin_to(monkeypatch, mnist=arrays[0])  # the last test label is beyond the pinned rows
    folders = [tmp_path / name for name in ("given", "searched", "cache")]
    for folder, a in zip(folders, arrays, strict=True):
        folder.mkdir()
        save(folder / "mnist.npz", a)
    monkeypatch.setattr(files, "CACHES", (str(folders[2]),))
    last = [
        data.load("mnist", given, search).y_test[-1]
        for given, search in (
            (folders[0], [folders[1]]),
            (None, [tmp_path / "none", folders[1]]),
            (None, str(folders[1])),
            (None, ()),
        )
    ]
    assert last == [5, 6, 6, 7]


def test_idx_files_of_one_name_are_told_apart_by_checksum(tmp_path, monkeypatch):
    digits, fashion = tiny(1), tiny(2)
    pin_to(monkeypatch, mnist=digits, fashion_mnist=fashion)
    write_idx(tmp_path / "a", fashion)
    write_idx(tmp_path / "b", digits)
    search = [tmp_path / "a", tmp_path / "b"]
    assert np.array_equal(data.load("mnist", search=search).x_train, digits["x_train"])
    assert np.array_equal(data.load("fashion-mnist", search=search).x_train, fashion["x_train"])
    with refused() as caught:
        data.load("mnist", tmp_path / "a")
    assert "not found" in sentence(caught)


def test_cifar_binary_has_colours_last(tmp_path, monkeypatch):
    arrays = tiny(shape=(32, 32, 3), n_train=10, n_test=4)
    pin_to(monkeypatch, cifar10=arrays)
    write_cifar(tmp_path / "cifar-10-batches-bin", arrays)
    got = data.load("cifar10", tmp_path)
    assert np.array_equal(got.x_train, arrays["x_train"]) and np.array_equal(got.y_test, arrays["y_test"])


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_absent_says_where_and_how(tmp_path, name, monkeypatch):
    monkeypatch.setattr(files, "CACHES", ("~/.cache/no-such-folder",))
    with refused() as caught:
        data.load(name, tmp_path)
    text = sentence(caught)
    assert str(tmp_path) in text and "~/.cache/no-such-folder" in text and pins.SPECS[name].get in text
    assert caught.value.exit_code == 2


def test_unknown_names_and_folders_are_refused(tmp_path):
    with refused(RequestError) as caught:
        data.load("imagenet")
    assert "imagenet" in sentence(caught) and "digits" in sentence(caught)
    with refused() as caught:
        data.load("mnist", tmp_path / "nowhere")
    assert "nowhere" in sentence(caught)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_one_changed_value_is_noticed_and_named(tmp_path, monkeypatch, key):
    arrays = tiny()
    pin_to(monkeypatch, mnist=arrays)
    want = hashlib.sha256(arrays[key][: 10 if "train" in key else 4].tobytes()).hexdigest()[:12]
    bad = {**arrays, key: arrays[key].copy()}
    bad[key].flat[3] ^= 1
    got = hashlib.sha256(bad[key][: 10 if "train" in key else 4].tobytes()).hexdigest()[:12]
    save(tmp_path / "mnist.npz", bad)
    with refused() as caught:
        data.load("mnist", tmp_path)
    text = sentence(caught)
    assert key in text and want in text and got in text and "replace" in text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"x_train": np.zeros((12, 28, 28)) + 0.5}, "whole numbers"),
        ({"x_train": np.full((12, 28, 28), np.nan)}, "whole numbers"),
        ({"x_train": np.full((12, 28, 28), 300)}, "whole numbers"),
        ({"y_test": np.array(list("abcde"))}, "whole numbers"),
        ({"x_train": np.zeros((12, 8, 8), np.uint8)}, "shape"),
        ({"y_train": np.zeros((12, 10), np.uint8)}, "shape"),
        ({"x_train": np.uint8(3)}, "shape"),
        ({"y_train": np.zeros(11, np.uint8)}, "labels"),
        ({"x_train": np.zeros((3, 28, 28), np.uint8), "y_train": np.zeros(3, np.uint8)}, "only 3"),
        ({"train_index": np.zeros(12, int)}, "train_index"),
        ({"train_index": np.arange(4)}, "train_index"),
        ({"y_test": None}, "y_test"),
    ],
)
def test_arrays_of_a_wrong_kind_are_refused(tmp_path, monkeypatch, change, word):
    pin_to(monkeypatch, mnist=tiny())
    save(tmp_path / "mnist.npz", {k: v for k, v in {**tiny(), **change}.items() if v is not None})
    with refused() as caught:
        data.load("mnist", tmp_path)
    assert word in sentence(caught)


class Trap:
    """Leaves a file behind when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_pickled_arrays_are_refused_unopened(tmp_path):
    fired = tmp_path / "fired"
    objects = np.empty(12, object)
    objects[:] = [Trap(fired)] * 12
    save(tmp_path / "mnist.npz", {**tiny(), "x_train": objects})
    with refused() as caught:
        data.load("mnist", tmp_path)
    assert "pickled" in sentence(caught) and "mnist.npz" in sentence(caught)
    assert not fired.exists()
    with np.load(tmp_path / "mnist.npz", allow_pickle=True) as archive:  # the trap does fire when opened
        archive["x_train"]
    assert fired.exists()


def test_pickled_cifar_is_never_opened(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    fired = tmp_path / "fired"
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(Trap(fired)))
    for place in (tmp_path, folder):
        with refused() as caught:
            data.load("cifar10", place)
        assert "never opened" in sentence(caught) and "cifar-10-binary.tar.gz" in sentence(caught)
    assert not fired.exists()


def test_a_pickle_under_the_name_of_an_archive_is_refused(tmp_path):
    fired = tmp_path / "fired"
    (tmp_path / "mnist.npz").write_bytes(pickle.dumps(Trap(fired)))
    with refused() as caught:
        data.load("mnist", tmp_path)
    assert "cannot be read" in sentence(caught) and not fired.exists()


def test_truncated_and_scrambled_archives_are_refused(tmp_path, monkeypatch):
    arrays: dict[str, Any] = tiny()
    pin_to(monkeypatch, mnist=arrays)
    np.savez_compressed(tmp_path / "whole.npz", **arrays)
    raw = (tmp_path / "whole.npz").read_bytes()
    rng = np.random.default_rng(0)
    refusals = 0
    for trial in range(400):
        bad = bytearray(raw)
        if trial % 4 == 0:
            bad = bad[: rng.integers(0, len(raw))]
        # In the headers of the first array and of the archive, damage is not caught by the checksums of zip.
        start = (0, 0, len(raw) - 300, rng.integers(len(raw)))[trial % 4]
        for at in start + rng.integers(0, 150, 3):
            if at < len(bad):
                bad[at] = rng.integers(256)
        (tmp_path / "mnist.npz").write_bytes(bytes(bad))
        try:  # damage may hit only fields of the archive that nobody reads: then the arrays are right
            assert np.array_equal(data.load("mnist", tmp_path).x_train[:10], arrays["x_train"][:10])
        except DataError as err:
            assert "mnist" in str(err) and "\n" not in str(err)
            refusals += 1
    assert refusals > 200


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b"", lambda b: b"\1" + b[1:], lambda b: b[:6]]
)
def test_damaged_idx_files_are_refused(tmp_path, monkeypatch, damage, end):
    pin_to(monkeypatch, mnist=tiny())
    write_idx(tmp_path, tiny(), end)
    file = tmp_path / f"train-images-idx3-ubyte{end}"
    file.write_bytes(damage(file.read_bytes()))
    with refused() as caught:
        data.load("mnist", tmp_path)
    assert file.name in sentence(caught)


def test_a_cifar_batch_of_a_wrong_length_is_refused(tmp_path):
    write_cifar(tmp_path, tiny(shape=(32, 32, 3), n_train=10))
    file = tmp_path / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with refused() as caught:
        data.load("cifar10", tmp_path)
    assert "data_batch_3.bin" in sentence(caught)


# ---------------------------------------------------------------- the real files


def test_the_real_files_pass_and_say_what_they_are(real):
    rows = {name: (found, text) for name, found, text in data.status(real)}
    assert set(rows) == set(data.SETS) and all(found for found, _ in rows.values())
    assert all("all verified" in text for _, text in rows.values())
    assert "0-3999 and 10000-10999" in rows["cifar10"][1]


def test_real_mnist_as_gzipped_idx_is_the_same_set(real, tmp_path):
    known = data.load("mnist", real)
    write_idx(tmp_path, {k: getattr(known, k).astype(np.uint8) for k in files.KEYS})
    assert data.load("mnist", tmp_path).sha256 == known.sha256
    with refused() as caught:
        data.load("fashion-mnist", tmp_path)  # files of the same names, another set
    assert "not found" in sentence(caught)


def test_a_longer_file_passes_and_gives_the_same_design(real, tmp_path):
    known = data.load("fashion-mnist", real)
    longer = {k: np.concatenate([a, a[::-1]]) for k in files.KEYS for a in [getattr(known, k)]}
    save(tmp_path / "fashion-mnist.npz", longer)
    assert "10000 and 2000 of them verified" in data.load("fashion-mnist", tmp_path).note
    x, y = data.images("fashion-mnist", 1, tmp_path, offset=10_000)
    assert np.array_equal(x[0] * 255, known.x_train[-1].ravel()) and y[0] == known.y_train[-1]
    designs = [data.design_matrix("fashion-mnist", 20, data_dir=f) for f in (real, tmp_path)]
    assert designs[0].sha256 == designs[1].sha256


def test_the_tail_of_the_cifar_sample_is_checked_in_a_full_set_too(real, tmp_path):
    known = data.load("cifar10", real)
    arrays = {k: getattr(known, k).astype(np.uint8) for k in files.KEYS}
    full = dict(arrays)
    for k in ("x_train", "y_train"):
        filling = np.zeros((6000, *arrays[k].shape[1:]), np.uint8)
        full[k] = np.concatenate([arrays[k][:4000], filling, arrays[k][4000:]])
    save(tmp_path / "cifar10.npz", full)
    assert "5000 and 1000 of them verified" in data.load("cifar10", tmp_path).note
    full["x_train"][10_500, 0, 0, 0] ^= 1
    save(tmp_path / "cifar10.npz", full)
    with refused() as caught:
        data.load("cifar10", tmp_path)
    assert "10000 to 10999" in sentence(caught)
