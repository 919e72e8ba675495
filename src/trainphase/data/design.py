"""Data matrices: random orthogonal or Gaussian rows, or real images, raw or made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._arrays import checksum
from ..errors import RequestError
from . import sets
from .files import Folder

SYNTHETIC = ("orthogonal", "gaussian")
IMAGES = ("digits", "mnist", "fashion-mnist")
DESIGNS = (*SYNTHETIC, *(f"{name}{end}" for name in IMAGES for end in ("", "-orthogonal")))
NORMS = ("keep", "sqrt-d", "unit")
DEFAULT_D = 100  # Chen et al. (TMLR 2024): n=80 samples in d=100 dimensions
# An image counts as independent of those before it when at least this part of its unit vector lies outside
# their span: far above rounding (1e-15), and small enough that no independent digit image is turned away.
INDEPENDENT = 1e-6
MOST_NUMBERS = 2**28  # 2 GiB of float64: above it the request is a slip of the keyboard


@dataclass(frozen=True, eq=False)
class DesignMatrix:
    """Rows to learn from, read-only: X float64 (n, d), X_test float64 (n_test, d), labels int64 (n,) or None.

    `sha256` is over X, X_test and the labels; `description` says in words what the rows are.
    """

    X: np.ndarray
    X_test: np.ndarray
    labels: np.ndarray | None
    sha256: str
    description: str


def design_matrix(
    data: str,
    n: int,
    d: int | None = None,
    seed: int = 0,
    norm: str | float | None = "sqrt-d",
    data_dir: Folder | None = None,
    search: Folder | Sequence[Folder] = (),
    n_test: int = 256,
) -> DesignMatrix:
    """Rows `x_i` of the kind `data` (one of DESIGNS), with norms as asked.

    `orthogonal`: the first n rows of a random (Haar) orthogonal d x d matrix, as in Chen et al., TMLR 2024.
    `gaussian`: independent N(0, 1) entries. An image set: n of its training images, chosen and ordered by
    `seed` among those every accepted copy has; blank ones and, for `-orthogonal`, ones that depend linearly
    on the images before them are passed over. `-orthogonal`: the orthonormal rows nearest to the unit images
    (Loewdin: the polar factor U V^T of their singular value decomposition U S V^T), then given norms.

    Parameters
    ----------
    d : input dimension; None is 100 for synthetic rows and the number of pixels for images.
    norm : length of every row of X and X_test: `sqrt-d` (|x|^2 = d), `unit`, a positive number, or `keep` or
        None for the natural length (an image's own, pixels in [0, 1], also when made orthogonal; 1 for
        `orthogonal`; about sqrt(d) for `gaussian`).
    n_test : test rows: random directions (`orthogonal`), Gaussian rows, or the first test images, at most as
        many as there are.

    Raises RequestError for a request that cannot be met, DataError when the images are absent or damaged.

    Cost: O(n^2 d).
    """
    if data not in DESIGNS:
        raise RequestError(f"there is no data={data!r}: give one of {', '.join(DESIGNS)}")
    n, n_test, seed = sets.whole("n", n, 1), sets.whole("n_test", n_test, 0), sets.whole("seed", seed, 0)
    d = d if d is None else sets.whole("d", d, 1)
    length = _length(norm)
    labels = None
    if data in SYNTHETIC:
        d = DEFAULT_D if d is None else d
        x, x_test, words = _synthetic(data, n, d, n_test, seed)
    else:
        x, x_test, labels, words = _images(data, n, d, n_test, seed, data_dir, search)
    x, x_test = _with_length(x, length), _with_length(x_test, length)
    arrays = [x, x_test] if labels is None else [x, x_test, labels]
    for a in arrays:
        a.flags.writeable = False
    words = f"{words}, {_length_words(length)}, seed {seed}"
    return DesignMatrix(x, x_test, labels, checksum(*arrays), words)


def _length(norm: str | float | None) -> str | float:
    """'keep', 'sqrt-d', or the length itself."""
    if norm is None:
        return "keep"
    if norm in ("keep", "sqrt-d"):
        return norm
    try:
        length = 1.0 if norm == "unit" else math.nan if isinstance(norm, bool) else float(norm)
    except (TypeError, ValueError):
        length = math.nan
    # The bounds keep |x|^2 and its products far from overflow and underflow.
    if not 1e-50 <= length <= 1e50:
        raise RequestError(f"norm={norm!r} is not possible: give {', '.join(NORMS)} or a positive number")
    return length


def _length_words(length: str | float) -> str:
    if isinstance(length, str):
        return {"keep": "natural norms", "sqrt-d": "|x|^2 = d"}[length]
    return f"|x| = {length:g}"


def _with_length(x: np.ndarray, length: str | float) -> np.ndarray:
    if length == "keep":
        return x
    target = math.sqrt(x.shape[1]) if length == "sqrt-d" else float(length)
    return x * (target / np.linalg.norm(x, axis=1, keepdims=True))


def _synthetic(data: str, n: int, d: int, n_test: int, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    if data == "orthogonal" and n > d:
        raise RequestError(
            f"n={n} orthogonal rows do not fit in d={d} dimensions: take n <= d or data=gaussian"
        )
    if max(n, n_test) * d > MOST_NUMBERS:
        raise RequestError(
            f"n={n} (n_test={n_test}) rows of d={d} numbers are too many: take less than 2^28 in all"
        )
    x = np.random.default_rng(seed).standard_normal((n, d))
    # A stream of its own, so that X does not depend on n_test nor the test rows on n.
    other = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    x_test = other.standard_normal((n_test, d))
    if data == "gaussian":
        return x, x_test, f"{n} Gaussian rows of dimension {d}"
    # Gram-Schmidt of the rows: with the diagonal of R made positive, Q is Haar distributed (Mezzadri 2007),
    # and a smaller n gives the first rows of a larger one.
    q, r = np.linalg.qr(x.T)
    rows = np.ascontiguousarray((q * np.where(np.diag(r) < 0, -1.0, 1.0)).T)
    return rows, _with_length(x_test, 1.0), f"{n} rows of a random orthogonal {d} x {d} matrix"


def _images(
    data: str,
    n: int,
    d: int | None,
    n_test: int,
    seed: int,
    data_dir: Folder | None,
    search: Folder | Sequence[Folder],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    name = data.removesuffix("-orthogonal")
    spec = sets.SPECS[name]
    size = math.prod(spec.shape)
    if d not in (None, size):
        raise RequestError(f"d={d} does not fit data={data}: its images have d={size} pixels, leave d out")
    loaded = sets.load(name, data_dir, search)
    # Only rows that every accepted copy has, so that a seed means the same images on every machine.
    pool = spec.pinned("x_train")
    test = sets.flat(name, loaded.x_test[: spec.pinned("x_test")])
    test = test[np.any(test, axis=1)][:n_test]
    order = np.random.default_rng(seed).permutation(pool)
    order = order[np.any(loaded.x_train[order], axis=tuple(range(1, 1 + len(spec.shape))))]
    skipped = 0
    if data != name:
        unit = _with_length(sets.flat(name, loaded.x_train[order]), 1.0)
        kept = _independent(unit, n)
        if len(kept) < n:
            raise RequestError(
                f"n={n} is more than the {len(kept)} linearly independent images of {name}: "
                f"take n <= {len(kept)} or data={name}"
            )
        skipped = int(kept[-1]) + 1 - n
        order = order[kept]
    if n > len(order):
        raise RequestError(f"n={n} is more than data={data} has: take n <= {len(order)}")
    rows = order[:n]
    x = sets.flat(name, loaded.x_train[rows])
    words = f"{n} {name} images ({size} pixels)"
    if data != name:
        x = _nearest_orthonormal(x) * np.linalg.norm(x, axis=1, keepdims=True)
        words += " made orthogonal" + (f" ({skipped} linearly dependent ones passed over)" if skipped else "")
    return x, test, loaded.y_train[rows], words


def _nearest_orthonormal(x: np.ndarray) -> np.ndarray:
    """Orthonormal rows nearest (Frobenius) to the unit vectors along the rows of x: Loewdin."""
    u, _, vt = np.linalg.svd(_with_length(x, 1.0), full_matrices=False)
    return u @ vt


def _independent(unit: np.ndarray, n: int, block: int = 512) -> np.ndarray:
    """Indices of the first n rows (fewer if there are not) that leave the span of those taken before them."""
    basis = np.empty((0, unit.shape[1]))
    taken: list[int] = []
    for start in range(0, len(unit), block):
        # One matrix product turns away most of a block once the span is nearly full.
        rest = _outside(unit[start : start + block], basis)
        for i in np.flatnonzero(np.linalg.norm(rest, axis=1) > INDEPENDENT):
            row = _outside(unit[start + i], basis)
            left = float(np.linalg.norm(row))
            if left > INDEPENDENT:
                basis = np.vstack([basis, _outside(row / left, basis)])
                basis[-1] /= np.linalg.norm(basis[-1])
                taken.append(start + int(i))
            if len(taken) == n:
                return np.array(taken)
    return np.array(taken, dtype=int)


def _outside(rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The part of the rows outside the span of orthonormal `basis`; twice is enough (Kahan, Parlett)."""
    for _ in range(2):
        rows = rows - (rows @ basis.T) @ basis
    return rows
