"""What each image data set is: image shape, pinned SHA-256 checksums, and where to get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .files import KEYS


@dataclass(frozen=True)
class Pin:
    """SHA-256 of rows lo..hi-1 (official order) of one array, as C-ordered bytes of uint8.

    With `optional`, it is checked only where the file has all these rows.
    """

    array: str
    lo: int
    hi: int
    sha256: str
    optional: bool = False

    @property
    def what(self) -> str:
        """For a message: 'training images 0 to 9999'."""
        split = "training" if self.array.endswith("train") else "test"
        return f"{split} {'images' if self.array[0] == 'x' else 'labels'} {self.lo} to {self.hi - 1}"


@dataclass(frozen=True)
class Spec:
    """A data set: image shape, the value of a full pixel, its pins, and how to get it (for a message)."""

    shape: tuple[int, ...]
    pixel_max: int
    pins: tuple[Pin, ...]
    get: str

    def pinned(self, array: str) -> int:
        """How many leading rows of `array` every accepted copy has."""
        return max(p.hi for p in self.pins if p.array == array and not p.optional)


def _pins(train: int, test: int, *digests: str) -> tuple[Pin, ...]:
    """Pins of the first `train` and `test` rows, digests in the order of KEYS."""
    return tuple(Pin(k, 0, train if "train" in k else test, h) for k, h in zip(KEYS, digests, strict=True))


DIGITS, DIGITS_TRAIN = 1797, 1500
_DIGITS = _pins(
    DIGITS_TRAIN,
    DIGITS - DIGITS_TRAIN,
    "ee6301bf158c604c728193674edc03a6cc3988014a924e6e067edddcdcbfd740",
    "e2fd6b6f26a4b1209a81b338ea6e2e743f689f6e990db31cfd6d59849794c750",
    "2155cbb21b093cdae6d5f69cf8a2ddd7d0a14feeebf8ffe7991092f8e2321fa0",
    "e7e87e0ab1d1814c4420ecd904dea92bf6a05de1b7d724842fa0ccce6c7b11f3",
)
_MNIST = _pins(
    10_000,
    2_000,
    "2f7182bf021ffc5c1f62db987487f14d899b5c639f421a80f3095affc09a7db2",
    "2f345bad07338ec537641465e169cc4b7288a44244f251211c7f842641e7d927",
    "170ff6838184f9ec6aaa1bbb5932ed59b7463585418d2da081525165ef21edae",
    "949a3782a9c308bf8ca08ff720810fe1de358fe09887727264c684c785d1ec53",
)
_FASHION = _pins(
    10_000,
    2_000,
    "2929ae1c7b89e0ee6587bbe4911fd5f0a5dafe21ae6ed9b737173cbfe20c12c9",
    "1022e4632874e71bb84d924c475e6a3428a2deeb8c5a0f612a015c97e4fce7f0",
    "09bbac78738f0229a68f7ca74e62665d7fb34f45ea7a3509ab5c4a202c1370de",
    "a86243d2b2400909bc0a82f5fd5c9df83bf827852a1543e3dc70af890035a9d4",
)
# The last 1000 rows of cifar10_exact_5k.npz are the official rows 10000 to 10999: the optional pins.
_CIFAR10 = (
    *_pins(
        4_000,
        1_000,
        "bac45b45504ed1289a3f437be4bfbefece248abbc094a428a0b4dfab00e776ae",
        "2c365f60663d4e0eae47b2e7e1f85bef4375b295095eff8ce46a32be9415473c",
        "da362006b99671213d1a5d856cab2bedf64d40bad4501630ee60f4ceb2d3ec7f",
        "636a087e604331a0b9dafc94b6e9ade0c9cec72c4400d12473ccdb3e264474c1",
    ),
    Pin(
        array="x_train",
        lo=10_000,
        hi=11_000,
        sha256="250a77ef11cfcf257006b5e899d382778f037fe9eeb86468681190c8987307bc",
        optional=True,
    ),
    Pin(
        array="y_train",
        lo=10_000,
        hi=11_000,
        sha256="ec75ca2dc66d09446ee76b9bae31f53b990aae69b786649088366f0d1b023ae3",
        optional=True,
    ),
)
_GET_MNIST = "put mnist.npz (Keras) or the four IDX files (train-images-idx3-ubyte.gz and so on) in a folder"
_GET_FASHION = (
    "on Debian or Ubuntu install dataset-fashion-mnist, elsewhere put the four IDX files in a folder"
)
_GET_CIFAR10 = "unpack its binary version, cifar-10-binary.tar.gz, in a folder"
_AND = "and give it as the data directory"

SPECS: Mapping[str, Spec] = MappingProxyType(
    {
        "digits": Spec((8, 8), 16, _DIGITS, "install scikit-learn"),
        "mnist": Spec((28, 28), 255, _MNIST, f"{_GET_MNIST} {_AND}"),
        "fashion-mnist": Spec((28, 28), 255, _FASHION, f"{_GET_FASHION} {_AND}"),
        "cifar10": Spec((32, 32, 3), 255, _CIFAR10, f"{_GET_CIFAR10} {_AND}"),
    }
)
