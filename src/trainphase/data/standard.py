"""Inputs and class labels for real networks: the image sets, or the user's own file, standardised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._arrays import checksum
from ..errors import DataError, RequestError
from . import sets
from .files import Folder
from .tables import ENDINGS, read_table

STANDARDISE = ("pixel", "set", "none")


@dataclass(frozen=True, eq=False)
class Labelled:
    """X float64 (n, d), standardised; y: labels int64 (n,), or of a file without classes float64 (n, outputs).

    `classes` is the number of classes, 0 where the targets are numbers; `source` says in words what the rows are.
    """

    X: np.ndarray
    y: np.ndarray
    classes: int
    source: str
    sha256: str


def labelled(
    dataset: str,
    n: int | None = None,
    classes: int | None = None,
    standardise: str | None = None,
    data_dir: Folder | None = None,
    search: Folder | Sequence[Folder] = (),
) -> Labelled:
    """The first `n` training samples of `dataset`: an image set of `sets.SETS`, or a `.csv` or `.npz` file.

    Parameters
    ----------
    n : how many; all when left out.
    classes : only samples of the first so many classes; all when left out.
    standardise : "pixel": every input less its mean, over its standard deviation (an input that never changes is 0);
        "set": the same with one mean and one deviation for all inputs; "none". Statistics are over all training samples
        found here, whatever n and classes. Default: pixel for cifar10, as in the code of Cohen et al. (2021), and for
        files; set for the others, in which some pixels are almost always black.

    Raises RequestError for what is not there, DataError for a file that cannot be read.
    """
    if standardise not in (None, *STANDARDISE):
        raise RequestError(f"standardise={standardise!r} is not known: give {', '.join(STANDARDISE)}")
    n = n if n is None else sets.whole("n", n, 1)
    if dataset in sets.SETS:
        data = sets.load(dataset, data_dir, search)
        x, y, count = sets.flat(dataset, data.x_train), data.y_train, 10
        source = f"training images of {dataset} ({data.source}: {data.note})"
    elif str(dataset).lower().endswith(ENDINGS):
        table = read_table(dataset)
        x, (y, count), source = table.x, _classes(table.y), f"samples of {table.source}"
    else:
        known = ", ".join(sets.SETS)
        raise RequestError(f"there is no dataset={dataset!r}: give one of {known}, or the path of a .csv or .npz file")
    kind = standardise or ("set" if dataset in sets.SETS and dataset != "cifar10" else "pixel")
    x = _standardised(x, kind)
    if classes is not None:
        kept = sets.whole("classes", classes, 2)
        if kept > count:
            what = f"has {count} classes" if count else "has numbers for targets and no classes"
            raise RequestError(f"classes={classes} is not possible: {dataset} {what}; give no more, or leave classes out")
        x, y, count = x[y < kept], y[y < kept], kept
    if n is not None and n > len(x):
        raise RequestError(f"n={n} is more than the {len(x)} samples of {dataset} here: give n={len(x)} or less")
    x, y = np.ascontiguousarray(x[:n]), np.ascontiguousarray(y[:n])
    return Labelled(x, y, count, f"the first {len(x)} {source}, standardised by {kind}", checksum(x, y))


def _standardised(x: np.ndarray, kind: str) -> np.ndarray:
    if kind == "none":
        return x
    axis = 0 if kind == "pixel" else None
    deviation = x.std(axis)
    # Of an input that is always the same, rounding is all that is left of the deviation.
    floor = 1e-12 * max(float(np.abs(x).max()), math.ulp(0.0))
    return np.where(deviation > floor, (x - x.mean(axis)) / np.where(deviation > floor, deviation, 1.0), 0.0)


def _classes(y: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels 0 .. C - 1 where one column holds few whole numbers, each more than once on average; else the numbers."""
    if y.shape[1] == 1 and np.all(y == np.floor(y)):
        values, labels = np.unique(y[:, 0], return_inverse=True)
        if 2 <= len(values) <= len(y) // 2:
            return labels.reshape(-1).astype(np.int64), len(values)
    if len(y) == 0:
        raise DataError("the file has no samples: give at least one")
    return y, 0
