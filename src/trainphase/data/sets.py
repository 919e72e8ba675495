"""The image data sets: what each one is, its pinned checksums, and loading it from files on this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._arrays import checksum
from ..errors import DataError, RequestError
from . import files
from .files import KEYS, Arrays, Folder
from .pins import DIGITS_TRAIN, SPECS, Pin

SETS = tuple(SPECS)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Raw images and labels of one data set, read-only.

    `x_train` and `x_test` are uint8 (N, H, W) or (N, H, W, C), 0 to 255 (0 to 16 for digits); `y_train` and
    `y_test` int64 (N,), 0 to 9. `sha256` is over shapes, dtypes and bytes of the four arrays; `source` names
    the file without its folder; `note` says which images they are and how many of them are verified.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sha256: str
    source: str
    note: str


def load(name: str, data_dir: Folder | None = None, search: Folder | Sequence[Folder] = ()) -> ImageSet:
    """The data set `name` (one of SETS), checked against its pinned SHA-256 checksums.

    `digits` comes with scikit-learn. The others are looked for in `data_dir`, the folders of `search`, and
    the usual caches; the first files whose names fit decide. Nothing is downloaded or unpickled.

    Raises RequestError for an unknown name, DataError when the set is absent, damaged, or another one.
    """
    return _load(name, data_dir, search)[0]


def images(
    name: str,
    n: int,
    data_dir: Folder | None = None,
    search: Folder | Sequence[Folder] = (),
    split: str = "train",
    offset: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Images offset .. offset+n-1 of a split, flattened: X float64 (n, d) in [0, 1], and labels int64 (n,).

    Raises RequestError when there are not that many (it says how many there are).
    """
    n, offset = whole("n", n, 1), whole("offset", offset, 0)
    if split not in ("train", "test"):
        raise RequestError(f"split={split!r} is not known: give train or test")
    data = load(name, data_dir, search)
    x, y = (data.x_train, data.y_train) if split == "train" else (data.x_test, data.y_test)
    if offset + n > len(x):
        start = f" from offset={offset}" if offset else ""
        raise RequestError(
            f"n={n}{start} is more than {name} has here: {len(x)} {split} images are available, ask for at "
            f"most {max(len(x) - offset, 0)}"
        )
    return flat(name, x[offset : offset + n]), y[offset : offset + n].copy()


def status(
    data_dir: Folder | None = None, search: Folder | Sequence[Folder] = ()
) -> list[tuple[str, bool, str]]:
    """For every data set: its name, whether it is here and passes its checks, and where it is or why not.

    Cost: reads every set that is found.
    """
    rows = []
    for name in SETS:
        try:
            data, folder = _load(name, data_dir, search)
            where = f"{data.source} in {folder}" if folder else data.source
            rows.append((name, True, f"{where}: {data.note}"))
        except DataError as err:
            rows.append((name, False, str(err)))
    return rows


def whole(label: str, value: int, least: int) -> int:
    """`value` as an int of at least `least`; RequestError otherwise (True and 3.0 are refused)."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, (bool, np.bool_)) or number < least:
        raise RequestError(f"{label}={value!r} is not possible: give a whole number of at least {least}")
    return number


def flat(name: str, x: np.ndarray) -> np.ndarray:
    """Raw images of the set `name` as float64 rows (N, d) in [0, 1]."""
    return x.reshape(len(x), -1).astype(np.float64) / SPECS[name].pixel_max


def _load(name: str, data_dir: Folder | None, search: Folder | Sequence[Folder]) -> tuple[ImageSet, str]:
    """The data set, and the folder it lies in ("" for scikit-learn's)."""
    if name not in SPECS:
        raise RequestError(f"there is no data set {name!r}: give one of {', '.join(SPECS)}")
    if name == "digits":
        return _image_set(name, _sklearn_digits(), "scikit-learn 8x8 digits"), ""
    places = files.folders(data_dir, search)
    unfit: DataError | None = None
    for candidate in files.candidates(name, places):
        arrays = _standard(name, files.read(candidate), candidate.source)
        if candidate.ambiguous and _is_another(name, arrays):
            continue
        try:
            return _image_set(name, arrays, candidate.source), candidate.folder
        except DataError as err:
            if not candidate.ambiguous:
                raise
            unfit = unfit or err  # files of a common name: look on, and say so only if nothing else is found
    if unfit is not None:
        raise unfit
    raise DataError(_absent(name, places, data_dir, search))


def _absent(
    name: str, places: Sequence[str], data_dir: Folder | None, search: Folder | Sequence[Folder]
) -> str:
    if name == "cifar10" and files.has_pickled_cifar(places):
        return f"cifar10 is here only as Python pickles, which are never opened: {SPECS[name].get}"
    asked = [] if data_dir is None else [f"the data directory {str(data_dir)!r}"]
    if search:
        asked.append("the search folders")
    return f"{name} was not found in {', '.join((*asked, *files.CACHES))}: {SPECS[name].get}"


def _sklearn_digits() -> Arrays:
    """scikit-learn's 1797 digits in their own order: the first 1500 to train, the last 297 to test."""
    if importlib.util.find_spec("sklearn") is None:
        raise DataError("digits come with scikit-learn, which is not installed: pip install scikit-learn")
    from sklearn.datasets import load_digits

    x, y = (np.asarray(a) for a in load_digits(return_X_y=True))
    k = DIGITS_TRAIN
    arrays = {"x_train": x[:k], "y_train": y[:k], "x_test": x[k:], "y_test": y[k:]}
    return _standard("digits", arrays, "the digits of scikit-learn")


def _standard(name: str, arrays: Arrays, source: str) -> Arrays:
    """The arrays in the shapes of the set, images and labels uint8, and `train_index` int64 (N,)."""
    shape, out = SPECS[name].shape, {}
    for key in KEYS:
        a = arrays[key]
        image = key[0] == "x"
        if a.dtype != np.uint8 and not _are_bytes(a):
            raise DataError(f"{source}: {key} is not whole numbers from 0 to 255: use the raw {name} files")
        if image and len(shape) == 3 and a.shape[1:] == (shape[2], *shape[:2]):
            a = np.moveaxis(a, 1, -1)  # channels first, as in the binary files
        size = math.prod(shape) if image else 1
        if a.ndim < 1 or math.prod(a.shape[1:]) != size:
            raise DataError(f"{source}: {key} has shape {a.shape}, not (N, {size}): use the raw {name} files")
        out[key] = np.ascontiguousarray(a, np.uint8).reshape(-1, *(shape if image else ()))
    for split in ("train", "test"):
        x, y = out[f"x_{split}"], out[f"y_{split}"]
        if len(x) != len(y):
            raise DataError(f"{source} has {len(x)} {split} images and {len(y)} labels: replace the file")
    index = arrays.get("train_index", np.arange(len(out["x_train"])))
    first = np.arange(min(SPECS[name].pinned("x_train"), len(out["x_train"])))
    if (
        index.shape != (len(out["x_train"]),)
        or index.dtype.kind not in "iu"
        or np.any(index[: len(first)] != first)
    ):
        raise DataError(f"{source}: train_index is not the official number of each image: replace the file")
    return {**out, "train_index": index.astype(np.int64)}


def _are_bytes(a: np.ndarray) -> bool:
    return a.dtype.kind in "iuf" and bool(np.all((a >= 0) & (a <= 255) & (a == np.floor(a))))


def _mismatch(pin: Pin, arrays: Arrays) -> str | None:
    """None when the rows of `pin` are as pinned (or optional and absent); else what was got."""
    a, rows = arrays[pin.array], slice(pin.lo, pin.hi)
    if pin.optional:
        index = arrays["train_index"]
        rows = np.flatnonzero((index >= pin.lo) & (index < pin.hi))
        if not np.array_equal(index[rows], np.arange(pin.lo, pin.hi)):
            return None
    elif len(a) < pin.hi:
        return f"only {len(a)} of them"
    got = hashlib.sha256(np.ascontiguousarray(a[rows]).data).hexdigest()
    return None if got == pin.sha256 else f"SHA-256 {got[:12]}"


def _is_another(name: str, arrays: Arrays) -> bool:
    """Whether these are the arrays of another data set whose files have the same names."""
    return any(
        spec.shape == SPECS[name].shape and all(_mismatch(pin, arrays) is None for pin in spec.pins)
        for other, spec in SPECS.items()
        if other != name
    )


def _image_set(name: str, arrays: Arrays, source: str) -> ImageSet:
    for pin in SPECS[name].pins:
        got = _mismatch(pin, arrays)
        if got is not None:
            raise DataError(
                f"{source} is not {name} as published or is damaged: {pin.what} ({pin.array}) should have "
                f"SHA-256 {pin.sha256[:12]}, got {got}: replace it, or give another data directory"
            )
    values = [arrays[k] if k[0] == "x" else arrays[k].astype(np.int64) for k in KEYS]
    for a in values:
        a.flags.writeable = False
    return ImageSet(name, *values, sha256=checksum(*values), source=source, note=_note(name, arrays))


def _note(name: str, arrays: Arrays) -> str:
    """Which images these are and how many of them are verified, in one sentence."""
    if name == "digits":
        return "the first 1500 images train, the last 297 test, all verified"
    index, test = arrays["train_index"], len(arrays["x_test"])
    pins = [p for p in SPECS[name].pins if p.array == "x_train" and np.isin((p.lo, p.hi - 1), index).all()]
    sure = sum(p.hi - p.lo for p in pins)
    starts = np.flatnonzero(np.diff(index, prepend=-2) != 1)
    stops = [*(starts[1:] - 1), len(index) - 1]
    runs = " and ".join(f"{index[a]}-{index[b]}" for a, b in zip(starts, stops, strict=True))
    tests = min(SPECS[name].pinned("x_test"), test)
    every = sure == len(index) and tests == test
    checked = "all verified" if every else f"{sure} and {tests} of them verified, the rest as found"
    return f"{len(index)} training images (official numbers {runs}) and {test} test images, {checked}"
