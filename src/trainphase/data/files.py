"""Where image files are looked for, and how they are read: `.npz`, IDX (plain or gzip), CIFAR-10 binary.

For developers: a reader returns raw arrays and raises DataError with one sentence; it decides nothing about
which images they are (`sets.py` does, by checksum). Python pickles are never opened.
"""

from __future__ import annotations

import gzip
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError

Folder = str | os.PathLike[str]
Arrays = dict[str, np.ndarray]

UNREADABLE = (OSError, EOFError, zlib.error, MemoryError)
KEYS = ("x_train", "y_train", "x_test", "y_test")
NPZ_NAMES = {
    "mnist": ("mnist.npz", "mnist_first10k.npz"),
    "fashion-mnist": ("fashion-mnist.npz", "fashion_mnist.npz", "fashion_mnist_first10k.npz"),
    "cifar10": ("cifar10.npz", "cifar-10.npz", "cifar10_exact_5k.npz"),
}
# The empty folder name comes last: there the IDX files of both sets have the same names.
IDX_FOLDERS = {
    "mnist": ("mnist", "MNIST/raw", "MNIST", ""),
    "fashion-mnist": ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", "FashionMNIST", ""),
}
IDX_STEMS = {
    "x_train": "train-images",
    "y_train": "train-labels",
    "x_test": "t10k-images",
    "y_test": "t10k-labels",
}
BINARY_FOLDERS = ("cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "")
BINARY_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
PICKLED_FOLDERS = (
    "cifar-10-batches-py",
    "cifar10/cifar-10-batches-py",
    "cifar-10-batches-py-target/cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    "",
)
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue planes
CACHES = ("~/.cache/trainphase", "~/.keras/datasets", "~/.cache/torch", "./data", "/usr/share/datasets")


@dataclass(frozen=True)
class Candidate:
    """Files that may hold a data set.

    `kind` is npz, idx or bin; `files` one archive (npz), one path per array of KEYS (idx), or the five
    training batches and the test batch (bin); `source` a name without its folder; `ambiguous` when the names
    of the files would also fit another data set.
    """

    kind: str
    files: tuple[str, ...]
    source: str
    ambiguous: bool = False

    @property
    def folder(self) -> str:
        """The folder that holds the files."""
        return os.path.dirname(self.files[0])


def folders(data_dir: Folder | None, search: Folder | Sequence[Folder]) -> list[str]:
    """Folders to look in, in order: `data_dir`, then `search`, then the usual caches.

    Raises DataError when `data_dir` is given and is not a folder. Other folders that are missing are skipped.
    """
    several = (search,) if isinstance(search, (str, os.PathLike)) else tuple(search)
    if data_dir is not None and not os.path.isdir(os.path.expanduser(data_dir)):
        raise DataError(
            f"the data directory {os.fspath(data_dir)!r} is not a folder: give the one with the files"
        )
    given = ([] if data_dir is None else [os.fspath(data_dir)]) + [os.fspath(f) for f in several]
    found = [os.path.expanduser(f) for f in (*given, *CACHES)]
    return [f for f in dict.fromkeys(found) if os.path.isdir(f)]


def candidates(name: str, places: Sequence[str]) -> Iterator[Candidate]:
    """Every set of files under `places` whose names fit the data set `name`, in order of preference."""
    for place in places:
        for file in NPZ_NAMES[name]:
            if os.path.isfile(path := os.path.join(place, file)):
                yield Candidate("npz", (path,), file)
        for sub in IDX_FOLDERS.get(name, ()):
            files = [_idx_path(os.path.join(place, sub), stem) for stem in IDX_STEMS.values()]
            if None not in files:
                paths = tuple(f for f in files if f)
                yield Candidate("idx", paths, os.path.basename(paths[0]), ambiguous=sub == "")
        if name == "cifar10":
            for sub in BINARY_FOLDERS:
                paths = tuple(os.path.join(place, sub, f) for f in (*BINARY_TRAIN, "test_batch.bin"))
                if all(os.path.isfile(p) for p in paths):
                    yield Candidate("bin", paths, "CIFAR-10 binary batches")


def has_pickled_cifar(places: Sequence[str]) -> bool:
    """Whether CIFAR-10 lies here as Python pickles (looked at by name only, never opened)."""
    return any(
        os.path.isfile(os.path.join(p, sub) if sub.endswith(".gz") else os.path.join(p, sub, "data_batch_1"))
        for p in places
        for sub in PICKLED_FOLDERS
    )


def read(candidate: Candidate) -> Arrays:
    """The arrays of KEYS (and `train_index` where an archive has it), as stored.

    Raises DataError, one sentence, when a file is damaged, incomplete, or holds pickled objects.
    """
    readers = {"npz": _read_npz, "idx": _read_idx_set, "bin": _read_cifar_binary}
    return readers[candidate.kind](candidate)


def _idx_path(folder: str, stem: str) -> str | None:
    rank = 3 if stem.endswith("images") else 1
    for sep in ("-", "."):
        for end in ("", ".gz"):
            path = os.path.join(folder, f"{stem}{sep}idx{rank}-ubyte{end}")
            if os.path.isfile(path):
                return path
    return None


def _bad(file: str, why: str) -> DataError:
    return DataError(f"{os.path.basename(file)} {why}: replace it, or give another data directory")


def _read_npz(candidate: Candidate) -> Arrays:
    file = candidate.files[0]
    arrays: Arrays = {}
    # Not np.load: on a damaged archive it leaves the file open, and it tries formats other than arrays.
    try:
        with open(file, "rb") as stream, zipfile.ZipFile(stream) as archive:
            there = set(archive.namelist())
            missing = [k for k in KEYS if f"{k}.npy" not in there]
            if missing:
                raise _bad(file, f"has no array named {', '.join(missing)}")
            for key in (*KEYS, "train_index"):
                if f"{key}.npy" in there:
                    with archive.open(f"{key}.npy") as member:
                        arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
    except DataError:
        raise
    except Exception as err:  # a damaged header is parsed as text: it may fail in any way
        if isinstance(err, ValueError) and "allow_pickle" in str(err):
            raise _bad(file, "holds pickled objects, which are never opened") from err
        raise _bad(file, f"cannot be read as an .npz archive of arrays ({type(err).__name__})") from err
    return arrays


def _read_idx_set(candidate: Candidate) -> Arrays:
    return {key: _read_idx(file) for key, file in zip(KEYS, candidate.files, strict=True)}


def _read_idx(file: str) -> np.ndarray:
    """One IDX file of bytes: magic 00 00 08 rank, then `rank` big-endian 32-bit sizes, then the values."""
    try:
        raw = gzip.decompress(Path(file).read_bytes()) if file.endswith(".gz") else Path(file).read_bytes()
    except UNREADABLE as err:
        raise _bad(file, f"cannot be read ({type(err).__name__})") from err
    rank = 3 if "idx3" in os.path.basename(file) else 1
    start = 4 + 4 * rank
    if raw[:4] != bytes((0, 0, 8, rank)) or len(raw) < start:
        raise _bad(file, f"is not an IDX file of {rank}-dimensional bytes")
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    if math.prod(shape) != len(raw) - start:
        raise _bad(file, f"promises {math.prod(shape)} bytes and holds {len(raw) - start}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _read_cifar_binary(candidate: Candidate) -> Arrays:
    batches = []
    for file in candidate.files:
        try:
            raw = np.fromfile(file, np.uint8)
        except UNREADABLE as err:
            raise _bad(file, f"cannot be read ({type(err).__name__})") from err
        if raw.size == 0 or raw.size % CIFAR_RECORD:
            raise _bad(file, f"has {raw.size} bytes, no multiple of {CIFAR_RECORD}")
        batches.append(raw.reshape(-1, CIFAR_RECORD))
    train, test = np.concatenate(batches[:-1]), batches[-1]
    return {
        key: rows[:, 0] if key[0] == "y" else rows[:, 1:].reshape(-1, 3, 32, 32)
        for key, rows in zip(KEYS, (train, train, test, test), strict=True)
    }
