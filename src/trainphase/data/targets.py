"""Inputs with targets for the ReLU networks: the four points, Gaussian data, images, and the user's own files.

Also the same inputs in few coordinates (`reduced`): a network sees them only through their inner products.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._arrays import checksum
from ..errors import DataError, RequestError
from . import sets
from .design import IMAGES, MOST_NUMBERS
from .files import Folder
from .tables import ENDINGS, Table, read_table

SAMPLES = ("points", "gaussian", *IMAGES)
TARGETS = ("label", "onehot")
CLASSES = 10  # of every image set: labels 0 to 9
IMAGE_COUNT = 45  # Luo et al., JMLR 2021: the first 45 images of MNIST
GAUSSIAN_N, GAUSSIAN_D = 10, 10
# Targets of equal inputs may differ by rounding: this part of the largest |y|, far below any loss one trains to.
SAME_TARGET = 1e-9


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and targets, read-only: X float64 (n, d) without the entry 1 of the bias, y float64 (n, outputs).

    `provenance` has `source` (in words) and `sha256` (over X and y); for a file also `file_sha256`, over its
    bytes; for images also `set_sha256` and `note` of the whole set. `input_names` are the names in the header
    of a CSV, or None.
    """

    X: np.ndarray
    y: np.ndarray
    name: str
    provenance: dict[str, str]
    input_names: tuple[str, ...] | None = None


def samples(
    data: str | os.PathLike[str],
    n: int | None = None,
    d: int | None = None,
    seed: int = 0,
    data_dir: Folder | None = None,
    *,
    targets: str = "label",
    search: Folder | Sequence[Folder] = (),
) -> Samples:
    """The samples `data`: one of SAMPLES, or the path of a `.csv` or `.npz` file (`tables.read_table` says how).

    `points`: x = -1/2, -1/6, 1/6, 1/2 and y = x^2 (Luo et al., JMLR 2021). `gaussian`: x has d independent
    N(0, 1) entries divided by sqrt(d), so that |x| is about 1, and y ~ N(0, 1); n = d = 10 unless given. With
    n = 10 the largest |y| is at least 1/2 (the hypothesis of their Theorem 8) except with probability 7e-5.
    An image set: the first n training images, 45 unless given, pixels in [0, 1], the label 0 to 9 as the
    target. A file: its first n rows, all unless given.

    Parameters
    ----------
    n : number of samples, at least 2.
    d : input dimension of `gaussian`; elsewhere the data decide it, and another d is refused.
    seed : of `gaussian`; inputs and targets have streams of their own, and fewer rows are the first of more.
    data_dir, search : where image sets are looked for, as in `sets.load`.
    targets : `label`, the numbers as they are; `onehot`, one output per class: ten for images, and the distinct
        values of the one target column of a file, in order, when they are whole numbers.

    Raises RequestError for a request that cannot be met, and DataError, one of its kind, for data that cannot
    be learnt: constant targets, or equal inputs with different targets.

    Cost: O(n d), and reading the file or the whole image set.
    """
    name = os.fspath(data)
    n = n if n is None else sets.whole("n", n, 2)
    d = d if d is None else sets.whole("d", d, 1)
    seed = sets.whole("seed", seed, 0)
    if targets not in TARGETS:
        raise RequestError(f"targets={targets!r} is not known: give {' or '.join(TARGETS)}")
    onehot = targets == "onehot"
    if name in IMAGES:
        return _images(name, n, d, onehot, data_dir, search)
    if name in ("points", "gaussian"):
        if onehot:
            raise RequestError(f"targets='onehot' needs classes and data={name} has none: take targets='label'")
        return _points(n, d) if name == "points" else _gaussian(n, d, seed)
    if name.lower().endswith(ENDINGS):
        return _own(name, n, d, onehot)
    raise RequestError(f"there is no data={name!r}: give one of {', '.join(SAMPLES)}, or the path of a .csv or .npz file")


def augmented(X: np.ndarray, bias: bool = True) -> np.ndarray:
    """The inputs (n, d) with an entry 1 after the others, (n, d + 1), so that the last weight is the bias.

    Without `bias` the inputs themselves. Raises RequestError unless X is a matrix of finite numbers.
    """
    a = np.asarray(X, np.float64)
    if a.ndim != 2 or a.size == 0:
        raise RequestError(f"X has shape {a.shape}: give a matrix (n, d), one sample a row")
    if not np.isfinite(a).all():
        i, j = (int(k) for k in np.argwhere(~np.isfinite(a))[0])
        raise RequestError(f"X[{i}, {j}] is {float(a[i, j])!r}: give finite numbers")
    return np.column_stack([a, np.ones(len(a))]) if bias else a


def row_space(X: np.ndarray, bias: bool = True) -> np.ndarray:
    """Orthonormal basis (d_aug, r) of the span of the augmented inputs, the directions of largest inputs first.

    From the singular value decomposition. The rank r counts the singular values above
    max(n, d_aug) * 2.2e-16 times the largest, the rounding error of the decomposition; what lies below is
    dropped. The entry of largest size in every column is positive, so that signs do not depend on the machine.

    Raises RequestError when every augmented input is zero. Cost: O(n d_aug min(n, d_aug)).
    """
    a = augmented(X, bias)
    _, s, vt = np.linalg.svd(a, full_matrices=False)
    rank = int(np.sum(s > max(a.shape) * np.finfo(np.float64).eps * s[0]))
    if rank == 0:
        raise RequestError("every input is zero: give other inputs, or take bias=True")
    v = vt[:rank].T
    largest = np.take_along_axis(v, np.argmax(np.abs(v), axis=0)[None], axis=0)
    return np.ascontiguousarray(v * np.where(largest < 0, -1.0, 1.0))


def reduced(X: np.ndarray, bias: bool = True) -> tuple[np.ndarray, int]:
    """The augmented inputs in an orthonormal basis of their span: coordinates (n, r), and d_aug - r.

    Gradient flow moves weights only within the span, and a Gaussian law is the same in every orthonormal
    basis: r coordinates per weight evolve, and the d_aug - r orthogonal ones keep their initial values and
    count only in norms. Coordinates of another input: `augmented(x) @ row_space(X)`. Inner products are
    preserved to rounding: 1e-14 or so of the largest |x|^2.

    Raises RequestError as `augmented` and `row_space` do. Cost: O(n d_aug min(n, d_aug)).
    """
    basis = row_space(X, bias)
    return augmented(X, bias) @ basis, basis.shape[0] - basis.shape[1]


def _samples(
    x: np.ndarray,
    y: np.ndarray,
    name: str,
    provenance: dict[str, str],
    input_names: tuple[str, ...] | None = None,
    table: Table | None = None,
) -> Samples:
    """Check that the samples can be learnt, and freeze them."""
    if np.all(y == y[0]):
        column = "" if table is None else ", or name the columns of the targets y, y0, y1 ..."
        raise DataError(
            f"{name}: all {len(y)} targets are {', '.join(f'{v:g}' for v in y[0, :4])}, so there is nothing to "
            f"learn: take more or other samples{column}"
        )
    clash = _clash(x, y)
    if clash is not None:
        i, j, k = clash
        place = table.place if table is not None else "row {}".format
        raise DataError(
            f"{name}: {place(i)} and {place(j)} have the same inputs and the targets {y[i, k]:.6g} and "
            f"{y[j, k]:.6g}, which no network fits: remove one or give both the mean"
        )
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    for a in (x, y):
        a.flags.writeable = False
    return Samples(x, y, name, {**provenance, "sha256": checksum(x, y)}, input_names)


def _clash(x: np.ndarray, y: np.ndarray) -> tuple[int, int, int] | None:
    """First two rows with equal inputs and different targets, and an output in which they differ."""
    tolerance = SAME_TARGET * float(np.max(np.abs(y)))
    first: dict[bytes, int] = {}
    for j, row in enumerate(x):
        # Adding 0 turns -0 into 0: they are equal, and their bytes differ.
        i = first.setdefault(hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest(), j)
        if i != j:
            gap = np.abs(y[i] - y[j])
            if np.any(gap > tolerance):
                return i, j, int(np.argmax(gap))
    return None


def _fit_dimension(name: str, d: int | None, size: int) -> None:
    if d not in (None, size):
        raise RequestError(f"d={d} does not fit data={name}: its inputs have dimension {size}, leave d out")


def _points(n: int | None, d: int | None) -> Samples:
    _fit_dimension("points", d, 1)
    n = 4 if n is None else n
    if n > 4:
        raise RequestError(f"n={n} is more than data=points has: take n <= 4")
    x = np.array([[-3.0], [-1.0], [1.0], [3.0]])[:n] / 6.0
    return _samples(x, x**2, "points", {"source": f"{n} points x from -1/2 in steps of 1/3, y = x^2"})


def _gaussian(n: int | None, d: int | None, seed: int) -> Samples:
    n, d = GAUSSIAN_N if n is None else n, GAUSSIAN_D if d is None else d
    if n * d > MOST_NUMBERS:
        raise RequestError(f"n={n} samples of d={d} numbers are too many: take less than 2^28 in all")
    x = np.random.default_rng(seed).standard_normal((n, d)) / math.sqrt(d)
    # A stream of its own (1 is taken by the test rows of design_matrix), so that y does not depend on d.
    y = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,))).standard_normal((n, 1))
    source = f"{n} inputs of dimension {d}, entries N(0, 1)/sqrt({d}), targets N(0, 1), seed {seed}"
    return _samples(x, y, "gaussian", {"source": source})


def _images(
    name: str,
    n: int | None,
    d: int | None,
    onehot: bool,
    data_dir: Folder | None,
    search: Folder | Sequence[Folder],
) -> Samples:
    _fit_dimension(name, d, math.prod(sets.SPECS[name].shape))
    n = IMAGE_COUNT if n is None else n
    loaded = sets.load(name, data_dir, search)
    if n > len(loaded.x_train):
        raise RequestError(f"n={n} is more than the {len(loaded.x_train)} training images of {name} here: take fewer")
    y = loaded.y_train[:n, None].astype(np.float64)
    if onehot:
        y = (y == np.arange(CLASSES)).astype(np.float64)
    source = f"the first {n} training images of {name} ({loaded.source}), pixels in [0, 1]"
    provenance = {"source": source, "set_sha256": loaded.sha256, "note": loaded.note}
    return _samples(sets.flat(name, loaded.x_train[:n]), y, name, provenance)


def _own(path: str, n: int | None, d: int | None, onehot: bool) -> Samples:
    table = read_table(path)
    here = len(table.x)
    if here < 2:
        raise DataError(f"{table.source} has {here} {'sample' if here == 1 else 'samples'}: give at least 2")
    _fit_dimension(table.source, d, table.x.shape[1])
    if n is not None and n > here:
        raise RequestError(f"n={n} is more than the {here} samples of {table.source}: take n <= {here}")
    y = _one_hot(table) if onehot else table.y
    n = here if n is None else n
    provenance = {"source": f"the first {n} of {here} samples of {table.source}", "file_sha256": table.file_sha256}
    return _samples(table.x[:n], y[:n], table.source, provenance, table.input_names, table)


def _one_hot(table: Table) -> np.ndarray:
    """One column per distinct value of the target column, over all rows of the file."""
    if table.y.shape[1] != 1:
        raise DataError(
            f"{table.source} has {table.y.shape[1]} outputs, and targets='onehot' needs one column of classes: "
            "take targets='label'"
        )
    whole = table.y[:, 0] == np.floor(table.y[:, 0])
    if not whole.all():
        i = int(np.argmin(whole))
        raise DataError(
            f"{table.source}, {table.place(i)} has the target {table.y[i, 0]:g}, and targets='onehot' needs whole "
            "numbers: take targets='label'"
        )
    classes = np.unique(table.y)
    if len(classes) * len(table.y) > MOST_NUMBERS:
        raise DataError(f"{table.source} has {len(classes)} classes, too many for targets='onehot': take targets='label'")
    return (table.y == classes).astype(np.float64)
