"""The user's own samples: a `.csv` or `.npz` file read into inputs and targets, with errors that name the place.

For developers: this module reads and checks numbers; how many rows are used, and whether a network can learn
them, is for `targets.py`. Nothing is evaluated and nothing is unpickled.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import zipfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .files import Folder

ENDINGS = (".csv", ".npz")
# Squares of larger numbers, summed and multiplied, leave the range of float64.
LARGEST = 1e100
TARGET_NAME = re.compile(r"y(\d*)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a file: x float64 (N, d), y float64 (N, outputs), all finite.

    `input_names` are the names in a CSV header, or None; `lines` the line of each row in a CSV, or None;
    `file_sha256` is over the bytes of the file, and `source` its name without the folder.
    """

    x: np.ndarray
    y: np.ndarray
    input_names: tuple[str, ...] | None
    lines: np.ndarray | None
    file_sha256: str
    source: str

    def place(self, i: int) -> str:
        """Where row i stands, for a message: its line in a CSV, else its index from 0."""
        return f"row {i}" if self.lines is None else f"line {self.lines[i]}"


def read_table(path: Folder) -> Table:
    """The samples in a `.csv` or `.npz` file.

    A CSV has one sample a line, cells separated by commas (or by semicolons or tabs, when the first line has
    any); blank lines and lines that begin with # are passed over. A first line without numbers, or with a
    cell y, y0, y1 ..., is a header, and so is a comment right before the first row that has such a cell. The
    columns of these names are the targets, in the order of their numbers; without them the last column is. An
    NPZ has arrays x (or X) and y (or Y), one sample a row; a sample of several dimensions is flattened.

    Raises DataError for a file that is missing or cannot be read, for cells that are no numbers, NaN,
    infinite or above 1e100 in size, and for wrong shapes.

    Cost: O(numbers); 0.2 to 0.4 microseconds of CPU time each in a CSV.
    """
    file = os.path.expanduser(os.fspath(path))
    name = os.path.basename(file)
    if not os.path.exists(file):
        raise DataError(f"there is no file {os.fspath(path)!r}: check the path")
    if os.path.isdir(file):
        raise DataError(f"{os.fspath(path)!r} is a folder: give the path of a .csv or .npz file in it")
    try:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if file.lower().endswith(".npz"):
            x, y = _read_npz(file, name)
            return Table(x, y, None, None, digest, name)
        with open(file, newline="", encoding="utf-8-sig") as stream:
            table, names, lines = _read_csv(stream, name)
    except UnicodeDecodeError as err:
        raise DataError(f"{name} is not UTF-8 text (byte {err.start}): save it as a plain UTF-8 .csv") from err
    except csv.Error as err:
        raise DataError(f"{name} cannot be read as a table ({err}): save it as a plain UTF-8 .csv") from err
    except (OSError, MemoryError) as err:
        why = err.strerror if isinstance(err, OSError) and err.strerror else type(err).__name__
        raise DataError(f"{name} cannot be read ({why}): check its permissions and size") from err
    _check_csv_numbers(table, names, lines, name)
    targets = _target_columns(names, table.shape[1], name)
    inputs = [j for j in range(table.shape[1]) if j not in set(targets)]
    if not inputs:
        raise DataError(f"{name} has {len(targets)} columns of targets and none of inputs: add a column of inputs")
    input_names = None if names is None else tuple(names[j] for j in inputs)
    return Table(table[:, inputs], table[:, targets], input_names, lines, digest, name)


def _read_csv(stream: Iterator[str], name: str) -> tuple[np.ndarray, list[str] | None, np.ndarray]:
    """All numbers (N, columns), the names of the columns or None, and the line of each row."""
    first, comment, skipped = "", "", 0
    for first in stream:
        if first.strip() and not first.lstrip().startswith("#"):
            break
        comment = first
        skipped += 1
    else:
        raise DataError(f"{name} has no rows: write one sample a line, inputs first and the target last")
    delimiter = next((c for c in "\t;" if c in first), ",")
    reader = csv.reader(_with_first(first, stream), delimiter=delimiter)
    row = next(reader)
    width = len(row)
    if width < 2:
        raise DataError(f"{name}, line {skipped + 1} has one column: separate the inputs and the target by commas")
    names = _header(row, name, skipped + 1)
    values, lines = array("d"), array("q")
    if names is None:
        names = _commented_header(comment, delimiter, width)
        _append(values, row, name, skipped + 1, names)
        lines.append(skipped + reader.line_num)
    for row in reader:
        if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
            continue
        line = skipped + reader.line_num
        if len(row) != width:
            raise DataError(
                f"{name}, line {line} has {len(row)} columns and the first has {width}: give every line the same number"
            )
        _append(values, row, name, line, names)
        lines.append(line)
    # Copies, so that the arrays own what they hold.
    return np.array(values).reshape(-1, width), names, np.array(lines)


def _with_first(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _number(cell: str) -> float | None:
    """The cell as a number, or None. Python's digit groups (1_000) are text here, as in other programs."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _header(row: list[str], name: str, line: int) -> list[str] | None:
    """The names in the first row, or None when it is numbers."""
    names = [" ".join(cell.split()) for cell in row]  # without line breaks, which a quoted cell may have
    numbers = [_number(cell) is not None for cell in row]
    if not any(numbers) or any(TARGET_NAME.fullmatch(cell) for cell in names):
        if "" in names:
            raise DataError(
                f"{name}, line {line} is a header without a name for column {names.index('') + 1}: name it, or leave "
                "the column out if it only counts the rows (pandas: index=False)"
            )
        return names
    # A row that is mostly numbers is a sample, and the cell that is not one is reported where it is read.
    if sum(numbers) < len(row) - sum(numbers):
        raise DataError(
            f"{name}, line {line} mixes names and numbers (column {numbers.index(True) + 1} holds "
            f"{row[numbers.index(True)]!r}): write a header of names only, or none"
        )
    return None


def _commented_header(comment: str, delimiter: str, width: int) -> list[str] | None:
    """The names in the comment before the first row (numpy.savetxt writes them so), if it names the targets."""
    names = [cell.strip() for cell in comment.lstrip().removeprefix("#").split(delimiter)]
    return names if len(names) == width and any(TARGET_NAME.fullmatch(cell) for cell in names) else None


def _append(values: array[float], row: list[str], name: str, line: int, names: list[str] | None) -> None:
    """Add the numbers of a row; DataError at the first cell that is none."""
    if "_" not in "".join(row):
        try:
            values.extend(map(float, row))
            return
        except ValueError:
            pass
    j = next(j for j, cell in enumerate(row) if _number(cell) is None)
    if not row[j].strip():
        raise DataError(f"{name}, {_cell(line, j, names)} is empty: fill it in or remove the line")
    raise DataError(
        f"{name}, {_cell(line, j, names)} holds {row[j][:40]!r}, which is not a number: write numbers such as 0.5 or 1e-3"
    )


def _cell(line: int, j: int, names: list[str] | None) -> str:
    return f"line {line}, column {j + 1}" + (f" ({names[j]})" if names and names[j] else "")


def _bad_number(a: np.ndarray) -> tuple[tuple[int, ...], str] | None:
    """Index and description of the first number that is NaN, infinite or too large; None when all are good."""
    good = np.abs(a) <= LARGEST
    if good.all():
        return None
    at = tuple(int(i) for i in np.unravel_index(int(np.argmin(good)), a.shape))
    value = float(a[at])
    return at, f"{value!r}" + (f", larger than {LARGEST:g}" if np.isfinite(value) else "")


def _check_csv_numbers(table: np.ndarray, names: list[str] | None, lines: np.ndarray, name: str) -> None:
    bad = _bad_number(table)
    if bad is not None:
        (i, j), what = bad
        raise DataError(f"{name}, {_cell(lines[i], j, names)} is {what}: replace it by a finite number or remove the line")


def _target_columns(names: list[str] | None, width: int, name: str) -> list[int]:
    """Columns of the targets: y, y0, y1 ... in the order of their numbers, else the last."""
    found: dict[int, int] = {}
    for j, column in enumerate(names or []):
        match = TARGET_NAME.fullmatch(column)
        if match:
            # Plain y comes before y0.
            number = int(match[1]) if match[1] else -1
            if number in found:
                raise DataError(f"{name} has two columns named {column!r} ({found[number] + 1} and {j + 1}): rename one")
            found[number] = j
    return [found[number] for number in sorted(found)] or [width - 1]


def _read_npz(file: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """x (N, d) and y (N, outputs) of an archive, as float64."""
    arrays: list[np.ndarray] = []
    # Not np.load: on a damaged archive it leaves the file open, and it tries formats other than arrays.
    try:
        with open(file, "rb") as stream, zipfile.ZipFile(stream) as archive:
            there = [f.removesuffix(".npy") for f in archive.namelist()]
            for letter in "xy":
                keys = [k for k in there if k.lower() == letter]
                if len(keys) != 1:
                    has = "two arrays" if keys else "no array"
                    raise DataError(
                        f"{name} has {has} named {letter} or {letter.upper()} (it holds "
                        f"{', '.join(there[:6]) or 'nothing'}): save one x and one y with numpy.savez"
                    )
                with archive.open(f"{keys[0]}.npy") as member:
                    arrays.append(np.lib.format.read_array(member, allow_pickle=False))
    except (DataError, OSError, MemoryError):
        raise
    except Exception as err:  # a damaged header is parsed as text: it may fail in any way
        why = "cannot be read as an .npz archive of arrays"
        if isinstance(err, ValueError) and "allow_pickle" in str(err):
            why = "holds pickled objects, which are never opened"
        raise DataError(f"{name} {why} ({type(err).__name__}): save numbers with numpy.savez") from err
    return _check_arrays(arrays[0], arrays[1], name)


def _check_arrays(x: np.ndarray, y: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    for key, a in (("x", x), ("y", y)):
        if a.dtype.kind not in "biuf":
            raise DataError(f"{name}: {key} has dtype {a.dtype}, not real numbers: save it as float64")
        if a.ndim == 0 or (key == "y" and a.ndim > 2) or (a.size == 0 and len(a) > 0):
            right = "(N, d)" if key == "x" else "(N,) or (N, outputs)"
            raise DataError(f"{name}: {key} has shape {a.shape}: give {right}, one sample a row")
    if len(x) != len(y):
        raise DataError(f"{name}: x has {len(x)} rows and y has {len(y)}: give one target row a sample")
    out = []
    for key, a in (("x", x), ("y", y)):
        with np.errstate(over="ignore"):  # a long double beyond float64 becomes inf, and is reported
            a = np.array(a, np.float64)
        bad = _bad_number(a)
        if bad is not None:
            raise DataError(f"{name}: {key}{list(bad[0])} is {bad[1]}: replace it by a finite number or remove its row")
        out.append(a.reshape(len(a), -1) if len(a) else a.reshape(0, 1))
    return out[0], out[1]
