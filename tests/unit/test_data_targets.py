"""Samples for the ReLU networks: the built-in ones, and the user's own files."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import pickle
from typing import Any

import numpy as np
import pytest
from datasets import pin_to, refused, save, sentence, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainphase import data
from trainphase.data.tables import read_table
from trainphase.data.targets import SAMPLES, augmented, reduced, samples
from trainphase.errors import DataError, RequestError


def written(tmp_path, text, name="own.csv"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


# ---------------------------------------------------------------- built-in samples


def test_points_are_the_four_of_the_paper():
    s = samples("points")
    # 1/6 is not a binary fraction, so each value is the nearest double to it.
    assert s.X.tolist() == [[-1 / 2], [-1 / 6], [1 / 6], [1 / 2]]
    assert np.array_equal(s.y, s.X**2) and s.name == "points"
    assert samples("points", 2).X.tolist() == [[-1 / 2], [-1 / 6]]


def test_gaussian_samples_are_nested_and_repeatable():
    s = samples("gaussian")
    assert s.X.shape == (10, 10) and s.y.shape == (10, 1)
    more = samples("gaussian", 25, 10)
    assert np.array_equal(more.X[:10], s.X) and np.array_equal(more.y[:10], s.y)
    assert np.array_equal(samples("gaussian", 10, 3).y, s.y)
    assert not np.array_equal(samples("gaussian", seed=1).X, s.X)
    rows = data.design_matrix("gaussian", 10, 10, norm="keep").X
    assert np.array_equal(s.X, rows / math.sqrt(10))


def test_gaussian_targets_are_independent_of_the_inputs():
    s = samples("gaussian", 2000, 4)
    # Correlations of independent numbers have standard error 1/sqrt(2000), variances sqrt(2/2000): 4.5 of them.
    assert np.abs(s.X.T @ s.y / 2000 * 2).max() < 4.5 / math.sqrt(2000)
    # A shared random stream would give the same numbers in another order.
    assert not np.isin(s.y, s.X * 2).any()
    assert abs(np.var(s.y) - 1) < 4.5 * math.sqrt(2 / 2000)
    assert abs(np.mean(np.sum(s.X**2, axis=1)) - 1) < 4.5 * math.sqrt(2 / 8000)


@pytest.mark.parametrize("seed", range(20))
def test_gaussian_samples_meet_the_hypotheses_of_the_theorems(seed):
    s = samples("gaussian", seed=seed)
    assert np.abs(s.y).max() >= 0.5
    a = augmented(s.X)
    gram = a @ a.T
    size = np.sqrt(np.diag(gram))
    cosine = np.clip(gram / np.outer(size, size), -1, 1)
    angle = np.arccos(cosine)
    # E relu(w.x) relu(w.x') and x.x' P(both positive), w standard normal (Cho, Saul 2009, degrees 1 and 0).
    by_a = np.outer(size, size) * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
    by_w = gram * (np.pi - angle) / (2 * np.pi)
    for kernel in (by_a, by_w):
        assert np.linalg.eigvalsh(kernel)[0] > 1e-4  # far above rounding (1e-15); at least 1e-3 over these seeds


def test_images_are_the_first_ones_with_their_labels():
    s, loaded = samples("digits"), data.load("digits")
    assert np.array_equal(s.X * 16, loaded.x_train[:45].reshape(45, 64))
    assert np.array_equal(s.y[:, 0], loaded.y_train[:45]) and s.y.dtype == np.float64
    assert s.provenance["set_sha256"] == loaded.sha256
    one = samples("digits", 7, targets="onehot")
    assert one.y.shape == (7, 10) and np.array_equal(one.y.argmax(1), loaded.y_train[:7])
    assert np.array_equal(one.y.sum(1), np.ones(7))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_image_files_are_found_in_the_data_directory(tmp_path, monkeypatch, name):
    arrays = tiny()
    pin_to(monkeypatch, **{name: arrays})
    save(tmp_path / f"{name}.npz", arrays)
    s = samples(name, 8, data_dir=tmp_path)
    assert np.array_equal(s.X * 255, arrays["x_train"][:8].reshape(8, 784).astype(float))
    assert np.array_equal(s.y[:, 0], arrays["y_train"][:8]) and str(tmp_path) not in str(s.provenance)
    with refused(RequestError) as caught:
        samples(name, data_dir=tmp_path)
    assert "n=45" in sentence(caught) and "12" in sentence(caught)


def test_absent_images_say_how_to_get_them(tmp_path):
    with refused() as caught:
        samples("mnist", data_dir=tmp_path)
    assert "mnist.npz" in sentence(caught)


def test_the_first_45_images_of_mnist(real):
    s = samples("mnist", data_dir=real)
    assert s.X.shape == (45, 784) and s.y[:10, 0].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    coordinates, left_out = reduced(s.X)
    assert coordinates.shape == (45, 45) and left_out == 740


def test_samples_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        samples("points").y[0] = 0


@pytest.mark.parametrize(
    ("data_", "more", "words"),
    [
        ("dots", {}, ("dots", *SAMPLES)),
        ("own.txt", {}, ("own.txt", ".csv")),
        ("points", {"n": 5}, ("n=5", "4")),
        ("points", {"n": 1}, ("n=1", "2")),
        ("points", {"n": 2.5}, ("2.5",)),
        ("points", {"d": 2}, ("d=2", "1")),
        ("points", {"targets": "onehot"}, ("onehot", "points")),
        ("points", {"targets": "classes"}, ("classes", "onehot")),
        ("gaussian", {"n": 2**20, "d": 2**10}, ("2^28",)),
        ("gaussian", {"seed": -1}, ("seed=-1",)),
        ("digits", {"n": 1501}, ("1501", "1500")),
        ("digits", {"d": 63}, ("d=63", "64")),
    ],
)
def test_wrong_requests(data_, more, words):
    with refused(RequestError) as caught:
        samples(data_, **more)
    assert all(word in sentence(caught) for word in words), sentence(caught)


# ---------------------------------------------------------------- CSV

ROWS = "1,2,3\n4,5,6\n"


@pytest.mark.parametrize(
    ("text", "x", "y", "names"),
    [
        (ROWS, [[1, 2], [4, 5]], [[3], [6]], None),
        ("a,b,c\n" + ROWS, [[1, 2], [4, 5]], [[3], [6]], ("a", "b")),
        ("a, Y ,c\n" + ROWS, [[1, 3], [4, 6]], [[2], [5]], ("a", "c")),
        ("y10,x,y9\n" + ROWS, [[2], [5]], [[3, 1], [6, 4]], ("x",)),
        ("y0,x,y\n" + ROWS, [[2], [5]], [[3, 1], [6, 4]], ("x",)),
        ("0,y,1\n" + ROWS, [[1, 3], [4, 6]], [[2], [5]], ("0", "1")),
        ("# y,a,b\n" + ROWS, [[2, 3], [5, 6]], [[1], [4]], ("a", "b")),
        ("# made by hand, on a Sunday\n" + ROWS, [[1, 2], [4, 5]], [[3], [6]], None),
        ("\ufeffa,y\r\n\r\n1,2\r\n# no\r\n,\r\n3,4", [[1], [3]], [[2], [4]], ("a",)),
        ('"a","the ""y"", y"\n"1"," 2e0"\n3,4\n', [[1], [3]], [[2], [4]], ("a",)),
        ("1;2\n3;4\n", [[1], [3]], [[2], [4]], None),
        ("x\ty\n1\t2\n3\t4\n", [[1], [3]], [[2], [4]], ("x",)),
    ],
)
def test_csv_files_are_read(tmp_path, text, x, y, names):
    s = samples(str(written(tmp_path, text)))
    assert s.X.tolist() == x and s.y.tolist() == y and s.input_names == names


def test_a_file_tells_where_it_comes_from(tmp_path):
    file = written(tmp_path, "1,2\n3,4\n5,6\n")
    s = samples(file, 2)
    assert s.X.tolist() == [[1], [3]] and s.name == "own.csv"
    assert s.provenance["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert str(tmp_path) not in str(s.provenance) and "first 2 of 3" in s.provenance["source"]


FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100)


@settings(max_examples=60)
@given(
    table=hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=FINITE),
    header=st.booleans(),
    blank=st.booleans(),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_csv_round_trip(tmp_path_factory, table, header, blank, delimiter, end):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    if header:
        writer.writerow([f"x{j}" for j in range(table.shape[1])])
    for row in table.tolist():
        writer.writerow(row)
        if blank:
            out.write(end)
    file = tmp_path_factory.mktemp("csv") / "t.csv"
    file.write_bytes(out.getvalue().encode())
    back = read_table(file)
    # repr of a double is read back as the same double: no tolerance.
    assert np.array_equal(np.hstack([back.x, back.y]), table)
    assert (back.input_names is not None) == header


@settings(max_examples=60)
@given(text=st.text(st.sampled_from(list('0123456789.,;\n\r"#eyx-+_ nainf\t\0')), max_size=40))
def test_any_text_is_read_or_refused_in_one_sentence(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("csv") / "t.csv"
    file.write_bytes(text.encode())
    try:
        s = samples(file)
    except RequestError as err:
        assert "\n" not in str(err) and "\r" not in str(err)
    else:
        assert s.X.ndim == s.y.ndim == 2 and len(s.X) == len(s.y) >= 2 and np.isfinite(s.X).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("no rows",)),
        ("a,b\n", ("0 samples",)),
        ("1,2\n", ("1 sample:", "2")),
        ("1\n2\n", ("line 1", "one column")),
        ("1 2\n3 4\n", ("one column", "commas")),
        ("a,b\n1,2\n3,nan\n", ("line 3", "column 2", "(b)", "nan")),
        ("\n1,2\n-inf,4\n", ("line 3", "column 1", "-inf")),
        ("1,2\n3,1e101\n", ("line 2", "column 2", "1e+101")),
        ("1,2\n3,four\n", ("line 2", "column 2", "'four'")),
        ("1,two\n3,4\n", ("line 1", "column 2", "'two'")),
        ("1,2\n3,1_0\n", ("line 2", "'1_0'")),
        ("1;2,5\n3;4,5\n", ("line 1", "'2,5'")),
        ("1,2\n3,\n", ("line 2", "column 2", "empty")),
        ("1,2\n\n3,4,5\n", ("line 3", "3 columns", "2")),
        ("a,b,1\n1,2,3\n", ("line 1", "names and numbers", "'1'")),
        (",x,y\n0,1,2\n1,2,3\n", ("line 1", "column 1", "index=False")),
        ('"a\n b",y\n1,2\nz,3\n', ("line 4", "column 1 (a b)", "'z'")),
        ("y,y\n1,2\n3,4\n", ("two columns", "'y'")),
        ("y0,y1\n1,2\n3,4\n", ("none of inputs",)),
        ("1,2\n3,2\n", ("all 2 targets are 2", "name")),
        ("1,2\n3,4\n1,5\n", ("line 1", "line 3", "2", "5")),
        ("0.0,2\n-0.0,4\n", ("line 1", "line 2")),
    ],
)
def test_csv_files_that_cannot_be_learnt(tmp_path, text, words):
    with refused() as caught:
        samples(written(tmp_path, text))
    assert all(word in sentence(caught) for word in words), sentence(caught)


def test_equal_inputs_with_equal_targets_are_kept(tmp_path):
    assert len(samples(written(tmp_path, "1,2\n1,2\n3,4\n")).X) == 3
    # 2.0000000000000004 is the double after 2: the mean of repeated measurements may differ like that.
    assert len(samples(written(tmp_path, "1,2\n1,2.0000000000000004\n3,4\n")).X) == 3


def test_only_the_rows_in_use_must_be_learnable(tmp_path):
    file = written(tmp_path, "1,2\n3,4\n1,5\n")
    assert len(samples(file, 2).X) == 2
    with refused(RequestError) as caught:
        samples(file, 4)
    assert "n=4" in sentence(caught) and "3" in sentence(caught)
    with refused(RequestError) as caught:
        samples(file, d=2)
    assert "d=2" in sentence(caught)


def test_one_output_for_every_class_of_the_file(tmp_path):
    s = samples(written(tmp_path, "1,7\n2,-1\n3,7\n4,2\n"), 3, targets="onehot")
    assert s.y.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    for text, word in (("1,7\n2,0.5\n", "line 2"), ("y0,y1,x\n1,2,3\n4,5,6\n", "2 outputs")):
        with refused() as caught:
            samples(written(tmp_path, text), targets="onehot")
        assert word in sentence(caught)


def test_files_that_cannot_be_opened(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "utf16.csv").write_bytes("x,y\n1,2\n".encode("utf-16"))
    for name, word in (("none.csv", "no file"), ("folder.csv", "folder"), ("utf16.csv", "UTF-8")):
        with refused() as caught:
            samples(tmp_path / name)
        assert word in str(caught.value) and name in str(caught.value)


# ---------------------------------------------------------------- NPZ


def test_npz_arrays_are_read(tmp_path):
    x = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    for keys in ("xy", "XY", "Xy"):
        arrays: dict[str, Any] = {keys[0]: x, keys[1]: np.array([1, 2, 4], ">i4"), "other": np.zeros(2)}
        np.savez(tmp_path / "own.npz", **arrays)
        s = samples(tmp_path / "own.npz")
        assert np.array_equal(s.X, x.reshape(3, 8)) and s.y.tolist() == [[1], [2], [4]]
        assert s.X.dtype == s.y.dtype == np.float64 and s.input_names is None
    np.savez_compressed(tmp_path / "own.npz", x=np.array([1.0, 2.0]), y=np.eye(2))
    s = samples(tmp_path / "own.npz")
    assert s.X.tolist() == [[1], [2]] and s.y.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.eye(2)}, ("no array", "y")),
        ({"x": np.eye(2), "X": np.eye(2), "y": np.arange(2)}, ("two arrays", "x")),
        ({"x": np.eye(3), "y": np.arange(2)}, ("3 rows", "2")),
        ({"x": np.eye(2), "y": np.zeros((2, 1, 1))}, ("(2, 1, 1)",)),
        ({"x": np.float64(1), "y": np.arange(2)}, ("shape ()",)),
        ({"x": np.zeros((2, 0)), "y": np.arange(2)}, ("(2, 0)",)),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, ("0 samples",)),
        ({"x": np.array(["a", "b"]), "y": np.arange(2)}, ("x has dtype",)),
        ({"x": np.eye(2) * 1j, "y": np.arange(2)}, ("complex",)),
        ({"x": np.array([[1.0, 2], [np.nan, 0]]), "y": np.arange(2)}, ("x[1, 0]", "nan")),
        ({"x": np.eye(2), "y": np.array([0, -np.inf])}, ("y[1]", "-inf")),
        ({"x": np.eye(2), "y": np.array([0, np.finfo(np.longdouble).max])}, ("y[1]",)),
        ({"x": np.eye(2), "y": np.ones(2)}, ("all 2 targets are 1",)),
        ({"x": np.ones((2, 2)), "y": np.arange(2)}, ("row 0", "row 1")),
        ({"x": np.array([{}, 1], object), "y": np.arange(2)}, ("pickled",)),
    ],
)
def test_npz_arrays_that_cannot_be_learnt(tmp_path, arrays, words):
    np.savez(tmp_path / "own.npz", **arrays)
    with refused() as caught:
        samples(tmp_path / "own.npz")
    assert all(word in sentence(caught) for word in words), sentence(caught)


def test_damaged_and_pickled_archives_are_refused(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.eye(50), y=np.arange(50))
    raw = (tmp_path / "own.npz").read_bytes()
    for broken in (b"", raw[: len(raw) // 2], raw.replace(b"descr", b"dexcr"), pickle.dumps(print)):
        (tmp_path / "own.npz").write_bytes(broken)
        with pytest.raises(DataError, match=r"own\.npz cannot be read"):
            samples(tmp_path / "own.npz")
