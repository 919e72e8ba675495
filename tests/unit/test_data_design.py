"""Design matrices: rows of every kind, their norms, and what cannot be asked for."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import pin_to, refused, save, sentence, tiny

from trainphase import data
from trainphase.errors import RequestError

# U V^T of at most 80 x 784, QR of at most 100 x 100: rounding times a power of the size (2e-15 seen).
ORTHOGONAL = 1e-12
# A norm is a sum of at most 784 squares, a square root, a division and a product: a few rounding errors.
NORM = 1e-13


# ---------------------------------------------------------------- images


def test_images_are_flat_and_scaled():
    d = data.load("digits")
    x, y = data.images("digits", 7, split="test", offset=290)
    assert x.dtype == np.float64 and x.shape == (7, 64)
    assert np.array_equal(x * 16, d.x_test[290:].reshape(7, 64)) and np.array_equal(y, d.y_test[290:])
    x, _ = data.images("digits", 1500)
    assert x.min() == 0 and x.max() == 1


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"n": 1501}, ("1501", "1500")),
        ({"n": 298, "split": "test"}, ("298", "297")),
        ({"n": 10, "offset": 1495}, ("1495", "at most 5")),
        ({"n": 0}, ("n=0",)),
        ({"n": 2.5}, ("n=2.5",)),
        ({"n": True}, ("n=True",)),
        ({"n": 1, "offset": -1}, ("offset=-1",)),
        ({"n": 1, "split": "validation"}, ("validation",)),
    ],
)
def test_impossible_image_requests_are_refused(request_, words):
    with refused(RequestError) as caught:
        data.images("digits", **request_)
    assert all(w in sentence(caught) for w in words)


# ---------------------------------------------------------------- data matrices

KINDS = ("orthogonal", "gaussian", "digits", "digits-orthogonal")


def gram_error(x):
    """Largest cosine between two different rows."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return np.abs(unit @ unit.T - np.eye(len(x))).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("norm", "length"), [("sqrt-d", 8.0), ("unit", 1.0), (2.5, 2.5), ("2.5", 2.5)])
def test_every_row_has_the_norm_asked_for(kind, norm, length):
    made = data.design_matrix(kind, 40, 64, norm=norm)
    for x, rows in ((made.X, 40), (made.X_test, 256)):
        assert x.shape == (rows, 64) and x.dtype == np.float64
        assert np.abs(np.linalg.norm(x, axis=1) / length - 1).max() < NORM


@pytest.mark.parametrize(
    ("kind", "n"), [("orthogonal", 100), ("digits-orthogonal", 61), ("digits-orthogonal", 20)]
)
@pytest.mark.parametrize("norm", ["sqrt-d", "keep"])
def test_orthogonal_rows_are_orthogonal(kind, n, norm):
    assert gram_error(data.design_matrix(kind, n, seed=3, norm=norm).X) < ORTHOGONAL
    assert gram_error(data.design_matrix("digits", 20, seed=3).X) > 0.5  # the check sees rows that are not


def test_images_made_orthogonal_keep_their_norms_and_are_the_nearest():
    raw = data.design_matrix("digits", 20, norm="keep").X
    made = data.design_matrix("digits-orthogonal", 20, norm=None).X
    norms = np.linalg.norm(raw, axis=1)
    assert np.abs(np.linalg.norm(made, axis=1) / norms - 1).max() < NORM
    unit, w = raw / norms[:, None], made / norms[:, None]
    # W is nearest to the unit images among orthonormal rows: W unit^T is symmetric and positive.
    s = w @ unit.T
    assert np.abs(s - s.T).max() < ORTHOGONAL and np.linalg.eigvalsh(s).min() > 0
    rng = np.random.default_rng(0)
    best = np.linalg.norm(unit - w)
    for size in (1e-3, 1e-1, 1.0):
        g = rng.standard_normal((64, 64)) * size
        turn = np.linalg.qr(np.eye(64) + g - g.T)[0]
        assert np.linalg.norm(unit - w @ turn) > best


def test_orthogonal_rows_are_haar_distributed():
    # E Q_ij = 0 and E Q_ij^2 = 1/d. Without the sign fix of the QR factors the diagonal would be one-sided.
    d, runs = 4, 2000
    q = np.array(
        [data.design_matrix("orthogonal", d, d, seed=s, norm="unit", n_test=0).X for s in range(runs)]
    )
    assert np.abs(q.mean(0)).max() < 5 * np.sqrt(1 / d / runs)  # 5 standard errors
    # Var Q_ij^2 = 3/(d(d+2)) - 1/d^2
    assert np.abs((q**2).mean(0) - 1 / d).max() < 5 * np.sqrt((3 / (d * (d + 2)) - 1 / d**2) / runs)


def test_gaussian_rows_keep_their_law():
    x = data.design_matrix("gaussian", 500, 100, norm="keep").X
    # 50 000 entries: 5 standard errors of the mean, and of the variance (standard deviation sqrt 2).
    assert abs(x.mean()) < 5 / np.sqrt(x.size) and abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_means_the_same_rows(kind):
    a, b, c = (data.design_matrix(kind, 20, seed=s) for s in (1, 1, 2))
    assert np.array_equal(a.X, b.X) and np.array_equal(a.X_test, b.X_test) and a.sha256 == b.sha256
    assert not np.array_equal(a.X, c.X) and a.sha256 != c.sha256
    assert (a.labels is None) == (kind in ("orthogonal", "gaussian"))
    fewer = data.design_matrix(kind, 20, seed=1, n_test=3)
    assert np.array_equal(fewer.X, a.X) and np.array_equal(fewer.X_test, a.X_test[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_row_is_a_training_row(kind):
    made = data.design_matrix(kind, 40, 64, norm="unit")
    # Drawn apart, 40 x 256 random directions in 64 dimensions stay under 0.7; a repeated row has cosine 1.
    # Images are close to each other, but no two are the same.
    cosines = np.abs(made.X @ made.X_test.T)
    assert cosines.max() < (0.7 if kind in ("orthogonal", "gaussian") else 1 - 1e-6)


@pytest.mark.parametrize("kind", ["orthogonal", "gaussian", "digits"])
def test_fewer_rows_are_the_first_of_more(kind):
    few, many = (data.design_matrix(kind, n, seed=1).X for n in (10, 30))
    # Householder QR of more columns orders its sums otherwise: rounding only.
    assert np.abs(few - many[:10]).max() < ORTHOGONAL


def test_image_rows_carry_their_labels():
    made = data.design_matrix("digits", 30, norm="keep", n_test=10_000)
    d = data.load("digits")
    known = {x.tobytes(): y for x, y in zip(d.x_train.reshape(-1, 64), d.y_train, strict=True)}
    assert [known[np.round(x * 16).astype(np.uint8).tobytes()] for x in made.X] == np.asarray(
        made.labels
    ).tolist()
    assert np.array_equal(made.X_test * 16, d.x_test.reshape(-1, 64))  # all 297, asked for more


@pytest.mark.parametrize(
    ("kind", "request_", "words"),
    [
        ("orthogonal", {"n": 101}, ("n=101", "d=100")),
        ("orthogonal", {"n": 5, "d": 4}, ("n=5", "d=4", "gaussian")),
        ("gaussian", {"n": 10**6, "d": 10**6}, ("too many",)),
        ("gaussian", {"n": 0}, ("n=0",)),
        ("gaussian", {"n": 1.5}, ("n=1.5",)),
        ("gaussian", {"n": 2, "d": 0}, ("d=0",)),
        ("gaussian", {"n": 2, "seed": -1}, ("seed=-1",)),
        ("gaussian", {"n": 2, "n_test": -1}, ("n_test=-1",)),
        ("gaussian", {"n": 2, "norm": 0}, ("norm=0",)),
        ("gaussian", {"n": 2, "norm": -1.0}, ("norm=-1.0",)),
        ("gaussian", {"n": 2, "norm": float("nan")}, ("norm=nan",)),
        ("gaussian", {"n": 2, "norm": float("inf")}, ("norm=inf",)),
        ("gaussian", {"n": 2, "norm": "long"}, ("norm='long'", "sqrt-d")),
        ("gaussian", {"n": 2, "norm": True}, ("norm=True",)),
        ("digits", {"n": 10, "d": 65}, ("d=65", "d=64")),
        ("digits", {"n": 1501}, ("n=1501", "1500")),
        ("digits-orthogonal", {"n": 62}, ("n=62", "61")),
        ("circles", {"n": 2}, ("circles", "digits-orthogonal")),
    ],
)
def test_impossible_designs_are_refused(kind, request_, words):
    with refused(RequestError) as caught:
        data.design_matrix(kind, **request_)
    assert all(w in sentence(caught) for w in words)


def test_the_most_orthogonal_digits_are_as_many_as_their_rank():
    assert np.linalg.matrix_rank(data.images("digits", 1500)[0]) == 61


def test_blank_images_are_passed_over(tmp_path, monkeypatch):
    arrays = tiny()
    arrays["x_train"][[0, 4]] = 0
    arrays["x_test"][1] = 0
    pin_to(monkeypatch, mnist=arrays)
    save(tmp_path / "mnist.npz", arrays)
    for kind in ("mnist", "mnist-orthogonal"):
        made = data.design_matrix(kind, 8, data_dir=tmp_path)
        # 10 pinned training images less 2, 4 pinned test images less 1
        assert made.X.shape == (8, 784) and made.X_test.shape == (3, 784) and np.isfinite(made.X).all()
        with refused(RequestError) as caught:
            data.design_matrix(kind, 9, data_dir=tmp_path)
        assert "8" in sentence(caught)


def test_dependent_images_are_passed_over_and_counted(tmp_path, monkeypatch):
    arrays = tiny()
    arrays["x_train"][1:6] = arrays["x_train"][0]
    pin_to(monkeypatch, mnist=arrays)
    save(tmp_path / "mnist.npz", arrays)
    made = data.design_matrix("mnist-orthogonal", 5, data_dir=tmp_path)
    assert gram_error(made.X) < ORTHOGONAL and "passed over" in made.description


def test_real_mnist_made_orthogonal(real):
    for name in ("mnist", "fashion-mnist"):
        made = data.design_matrix(f"{name}-orthogonal", 80, data_dir=real)
        assert made.X.shape == (80, 784) and made.X_test.shape == (256, 784)
        assert gram_error(made.X) < ORTHOGONAL
        assert name in made.description and str(real) not in made.description



def test_status_says_why_not(tmp_path):
    rows = {name: (found, text) for name, found, text in data.status(tmp_path)}
    assert rows["digits"][0] and not rows["mnist"][0] and "not found" in rows["mnist"][1]
