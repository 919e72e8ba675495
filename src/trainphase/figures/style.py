"""How figures look and are kept: sizes and fonts of a paper, colours of the phases, legends, labels, files."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from matplotlib.textpath import TextToPath

from trainphase import _whole
from trainphase.errors import RequestError
from trainphase.figures._bins import Scale, scale_of
from trainphase.phase import NOT_COMPUTED, TRAINING, Vocabulary
from trainphase.phase import vocabulary as vocabulary_named

if TYPE_CHECKING:
    import xarray

SINGLE = 3.4  # inches, one column of a paper
DOUBLE = 7.0
DPI = 300
ENDINGS = (".png", ".pdf", ".svg")
BLANK = "#FFFFFF"  # a point that is not computed
INK = "#1A1A1A"
FONT = "STIXGeneral"
GREY = "#6E6E6E"
# Most cells along a side of an image and of a mesh: more than a printed page shows.
IMAGE, MESH = 3072, 2048

# STIX is a Times-like face that comes with matplotlib, so that a figure is the same on every machine. It is named here
# and not called "serif", which would mean whatever the settings say when the figure is drawn.
RC: dict[Any, Any] = {
    "font.family": [FONT], "mathtext.fontset": "stix", "font.size": 8.5,
    "axes.titlesize": "medium", "axes.labelsize": "medium", "axes.linewidth": 0.6, "axes.edgecolor": INK,
    "xtick.labelsize": "small", "ytick.labelsize": "small", "axes.unicode_minus": True,
    "xtick.direction": "out", "ytick.direction": "out", "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "xtick.major.size": 2.8, "ytick.major.size": 2.8, "xtick.minor.size": 1.6, "ytick.minor.size": 1.6,
    "xtick.minor.width": 0.4, "ytick.minor.width": 0.4, "lines.linewidth": 0.9, "legend.fontsize": "small",
    "legend.frameon": False, "legend.handlelength": 1.5, "legend.handletextpad": 0.5, "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.35, "figure.dpi": 100, "savefig.dpi": DPI, "savefig.facecolor": "white",
    "figure.facecolor": "white", "axes.facecolor": "white", "pdf.fonttype": 42, "ps.fonttype": 42,
    "svg.fonttype": "path", "svg.hashsalt": "trainphase", "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03, "image.composite_image": False, "path.simplify": True,
}  # fmt: skip


@contextlib.contextmanager
def context(ax: Axes | None = None) -> Generator[None, None, None]:
    """The settings of a paper's figure; with the user's own axes given, the user's settings are left as they are."""
    if ax is not None:
        yield
        return
    with mpl.rc_context(RC):
        yield


def figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, outside pyplot. Call it within :func:`context`."""
    fig = Figure(figsize=(width, height), dpi=mpl.rcParams["figure.dpi"], layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def pin(ax: Axes) -> None:
    """Fix the look of ticks that matplotlib makes later, when the settings are no longer in force."""
    for which in ("major", "minor"):
        for axis in ("x", "y"):
            size, width = RC[f"{axis}tick.{which}.size"], RC[f"{axis}tick.{which}.width"]
            label = RC[f"{axis}tick.labelsize"]
            ax.tick_params(axis=axis, which=which, length=size, width=width, labelsize=label, labelfontfamily=FONT)


# --- phases -------------------------------------------------------------------------------------------------


def vocabulary(dataset: xarray.Dataset) -> Vocabulary:
    """The vocabulary that the codes of a dataset belong to; ``training`` unless the dataset says another."""
    return vocabulary_named(str(dataset.attrs.get("vocabulary", TRAINING.name)))


def colormap(words: Vocabulary) -> ListedColormap:
    """Colours by code; the last one, after the phases, is for points that are not computed."""
    return ListedColormap([*(p.colour for p in words.phases), BLANK], name=words.name)


def slots(codes: Any, words: Vocabulary) -> np.ndarray:
    """Codes as positions in :func:`colormap`: 255 becomes the last."""
    codes = np.asarray(codes)
    return np.where(codes == NOT_COMPUTED, len(words.phases), codes).astype(np.uint8)


def axis_names(dataset: xarray.Dataset) -> list[str]:
    """Names of the axes that are drawn: those of ``phase`` without the seeds, when there is more than one axis.

    Raises RequestError when the dataset has no phase.
    """
    if "phase" not in dataset:
        raise RequestError("the dataset has no variable 'phase', so it is no diagram; give the dataset of a diagram")
    names = [str(d) for d in dataset["phase"].dims]
    return [n for n in names if n != "seed"] if len(names) > 1 else names


def coordinate(dataset: xarray.Dataset, name: str) -> Scale:
    """The scale of an axis of a dataset."""
    coord = dataset[name]
    return scale_of(coord.values, coord.attrs.get("scale"))


# --- words --------------------------------------------------------------------------------------------------


def measure(text: str, size: float) -> tuple[float, float]:
    """Width and height of a line of text in points, at the font in force."""
    font = FontProperties(size=size)
    width, height, descent = TextToPath().get_text_width_height_descent(text, font, "$" in text)
    return float(width), float(height + descent)


SYMBOLS = {"eps": r"$\varepsilon$", "sigma_z": r"$\tilde\sigma_z$", "sigma_J": r"$\tilde\sigma_J$",
           "gamma": r"$\gamma$", "gamma_prime": r"$\gamma'$", "gamma3": r"$\gamma_3$", "gamma2": r"$\gamma_2$"}  # fmt: skip


def symbol(name: str) -> str:
    """A name as it is printed: one letter, or one letter and digits, in italics with the digits below; a Greek letter."""
    if name in SYMBOLS:
        return SYMBOLS[name]
    match = re.fullmatch(r"([A-Za-z])(\d*)", name)
    if match is None:
        return name.replace("$", r"\$")
    letter, digits = match.groups()
    return f"${letter}_{{{digits}}}$" if digits else f"${letter}$"


def label_of(variable: xarray.DataArray, name: str | None = None) -> str:
    """'name (units)' of a coordinate or variable; units of a pure number are left off."""
    text = name or symbol(str(variable.attrs.get("long_name") or variable.name))
    units = str(variable.attrs.get("units", "1"))
    return text if units in ("", "1") else f"{text} ({units})"


class PhasePatch(Patch):
    """Legend entry of a phase: its colour with its letter in it, so that it reads without colour."""

    def __init__(self, label: str, colour: str, letter: str) -> None:
        super().__init__(facecolor=colour, edgecolor=INK, linewidth=0.4, label=label)
        self.letter = letter


class _Lettered(HandlerBase):
    def create_artists(
        self, legend: Legend, orig_handle: Any, xdescent: float, ydescent: float, width: float, height: float,
        fontsize: float, trans: Any,
    ) -> Sequence[Any]:  # fmt: skip
        box = Rectangle((-xdescent, -ydescent - 0.1 * height), width, 1.2 * height, transform=trans)
        box.set(facecolor=orig_handle.get_facecolor(), edgecolor=INK, linewidth=0.4)
        letter = Text(width / 2 - xdescent, height / 2 - ydescent, orig_handle.letter, color=INK)
        letter.set(fontsize=0.85 * fontsize, transform=trans, ha="center", va="center_baseline")
        return [box, letter]


def phase_handles(codes: Any, words: Vocabulary) -> list[PhasePatch]:
    """Legend entries of the phases that occur, in the order of the vocabulary."""
    present = set(np.unique(np.asarray(codes)).tolist())
    handles = [PhasePatch(p.label, p.colour, p.symbol) for k, p in enumerate(words.phases) if k in present]
    if NOT_COMPUTED in present:
        handles.append(PhasePatch("not computed" if words is TRAINING else "no such start", BLANK, ""))
    return handles


def theory_handles(theory: Iterable[Mapping[str, Any]]) -> list[Line2D]:
    """Legend entries of the lines of the theory: dashed where it is exact, dotted where it is an approximation."""
    exact = {bool(line.get("exact", True)) for line in theory}
    names = {True: "theory", False: "theory (approximate)"}
    return [Line2D([], [], color=INK, lw=1.0, ls=dashes(e), label=names[e]) for e in (True, False) if e in exact]


def dashes(exact: bool) -> Any:
    """Line style of the theory."""
    return (0, (4, 2)) if exact else (0, (1, 1.4))


def legend(target: Figure | Axes, handles: Sequence[Any]) -> Legend | None:
    """The legend below the panels, in as many columns as fit the width; None when there is nothing to explain."""
    if not handles:
        return None
    size = FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
    # The handle and the spaces around it, in units of the font as matplotlib counts them.
    rc: Any = mpl.rcParams
    beside = sum(rc[f"legend.{k}"] for k in ("handlelength", "handletextpad", "columnspacing")) * size
    widths = [measure(str(handle.get_label()), size)[0] + beside for handle in handles]
    room = 72.0 * (target if isinstance(target, Figure) else target.get_figure(root=True)).get_figwidth()  # pyright: ignore

    def total(ncols: int) -> float:
        return sum(float(max(part)) for part in np.array_split(widths, ncols))

    ncols = next((n for n in range(len(handles), 1, -1) if total(n) <= room), 1)
    ncols = -(-len(handles) // -(-len(handles) // ncols))  # as many rows, filled evenly
    options: dict[str, Any] = {"handler_map": {PhasePatch: _Lettered()}, "ncols": ncols}
    if isinstance(target, Figure):
        return target.legend(handles=handles, loc="outside lower center", borderaxespad=0.2, **options)
    return target.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), **options)


# --- images -------------------------------------------------------------------------------------------------


def cells(ax: Axes, x: tuple[np.ndarray, bool], y: tuple[np.ndarray, bool], colours: Any, **options: Any) -> Any:
    """Draw an array (rows, columns) of colours by cell; x and y are (edges in data units, equally wide on the page).

    The scales of the axes must be set before. Regular cells on linear scales are one image, thinned to every k-th cell beyond
    3072 along a side (matplotlib takes some 100 bytes for each); others are a mesh, thinned beyond 2048.
    """
    if x[1] and y[1] and ax.get_xscale() == ax.get_yscale() == "linear":
        extent = (x[0][0], x[0][-1], y[0][0], y[0][-1])
        (rows, _), (cols, _) = _thin(y[0], IMAGE), _thin(x[0], IMAGE)
        art: AxesImage | Any = ax.imshow(
            colours[np.ix_(rows, cols)], origin="lower", aspect="auto", interpolation="nearest", extent=extent, **options
        )
    else:
        (rows, up), (cols, across) = _thin(y[0]), _thin(x[0])
        art = ax.pcolormesh(across, up, colours[np.ix_(rows, cols)], rasterized=True, **options)
    ax.set_xlim(x[0][0], x[0][-1])
    ax.set_ylim(y[0][0], y[0][-1])
    return art


def _thin(edges: np.ndarray, most: int = MESH) -> tuple[np.ndarray, np.ndarray]:
    """Which cells to draw along a side, and edges that share the rest among them: all of them up to ``most``."""
    count = edges.size - 1
    pick = np.arange(0, count, -(-count // most))
    return pick, np.append(edges[pick], edges[-1])


def phase_cells(ax: Axes, x: Any, y: Any, codes: np.ndarray, words: Vocabulary) -> Any:
    """:func:`cells` in the colours of the phases, for codes (rows, columns)."""
    options = {"cmap": colormap(words), "vmin": -0.5, "vmax": len(words.phases) + 0.5}
    return cells(ax, x, y, slots(codes, words), **options)


# --- files --------------------------------------------------------------------------------------------------


def _metadata(ending: str, description: str) -> dict[str, Any]:
    """Nothing that changes between two runs: no dates, no versions of libraries."""
    words = description or None
    if ending == ".png":
        return {"Software": "trainphase", "Description": words}
    if ending == ".pdf":
        return {"Creator": "trainphase", "Producer": "trainphase", "CreationDate": None, "Subject": words}
    return {"Creator": "trainphase", "Date": None, "Description": words}


def save(fig: Figure | Axes, path: str | Path, description: str = "") -> Path:
    """Write a figure whole or not at all, as .png (300 dpi), .pdf or .svg; equal figures give equal bytes.

    ``description`` (how the numbers were made, say) goes into the metadata of the file.
    Raises RequestError for another ending and for a path that cannot be written.
    """
    target, whole = Path(path), fig.get_figure(root=True) if isinstance(fig, Axes) else fig
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise RequestError(f"the figure {target} has no known ending; end its name in .png, .pdf or .svg")
    buffer = io.BytesIO()
    with mpl.rc_context(RC):
        metadata = {k: v for k, v in _metadata(ending, description).items() if v is not None or "Date" in k}
        whole.savefig(buffer, format=ending[1:], dpi=DPI, metadata=metadata)  # pyright: ignore[reportOptionalMemberAccess]
    _whole.write(target, buffer.getvalue(), "the figure")
    return target
