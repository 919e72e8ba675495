"""Two-layer ReLU nets: fitted functions, and amplitude against orientation of their neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainphase.figures import style
from trainphase.figures.regime import LOOKS, MINUS
from trainphase.theory import relu2

if TYPE_CHECKING:
    import xarray

START = "#A8A8A8"
# Orientations of neurons whose kink lies at x = +1/6 and -1/6, active on the outer side.
KINK = float(np.arctan2(1, 6))
PI_TICKS = ((-np.pi, 0.0, np.pi), (rf"${MINUS}\pi$", "$0$", r"$\pi$"))


def fits(data: dict[str, xarray.Dataset]) -> Figure:
    """Above, f over x with the data; below, amplitude against orientation at the start and at the end; a column per gamma.

    ``curves`` : ``f`` and ``linearised`` (gamma, seed, x), ``x_data``, ``y`` (datum). ``neurons`` : ``orientation_start``,
    ``amplitude_start`` and the same with end (gamma, neuron).
    """
    curves, points = data["curves"], data["neurons"]
    with style.context():
        fig = style.figure(style.DOUBLE, 4.1)
        axes = fig.subplots(2, curves.sizes["gamma"], sharey="row", squeeze=False)
        for k in range(curves.sizes["gamma"]):
            colour = LOOKS[k % len(LOOKS)][0]
            for ax in axes[:, k]:
                style.pin(ax)
            _curves(axes[0, k], curves.isel(gamma=k), colour)
            _scatter(axes[1, k], points.isel(gamma=k), colour)
            axes[0, k].set_title(f"({'abc'[k]})", loc="left")
            axes[0, k].set_title(rf"$\gamma$ = {float(curves['gamma'][k]):g}", loc="right", fontsize="small")
        axes[0, 0].set_ylabel("$f(x)$")
        axes[1, 0].set_ylabel(r"amplitude $|a|\,|w|$, largest = 1")
        dots: dict[str, Any] = {"marker": "o", "ls": "none"}
        handles = [
            Line2D([], [], ms=4.2, mfc=style.INK, mec="white", mew=0.6, label="data", **dots),
            Line2D([], [], color=style.INK, lw=1.4, label="f after training"),
            Line2D([], [], color=style.INK, lw=0.8, ls=style.dashes(False), label="linearised at the start"),
            Line2D([], [], ms=3.0, mfc=START, mec="none", label="neurons at the start", **dots),
            Line2D([], [], ms=3.0, mfc=style.INK, mec="none", label="after training (coloured)", **dots),
            Line2D([], [], color=style.INK, lw=0.6, ls=style.dashes(True), label=r"kink at $x = \pm 1/6$"),
        ]  # fmt: skip
        style.legend(fig, handles)
        return fig


def _curves(ax: Axes, part: xarray.Dataset, colour: str) -> None:
    x, target = part["x"].values, part["y"].values
    ax.plot(x, part["linearised"].values[0], color=style.INK, lw=0.8, ls=style.dashes(False), zorder=2.5)
    ax.plot(x, part["f"].values[0], color=colour, lw=1.4)
    ax.plot(part["x_data"].values, target, marker="o", ms=4.2, mfc=style.INK, mec="white", mew=0.6, ls="none", zorder=4)
    ax.set(xlabel="$x$", xlim=(x[0], x[-1]), ylim=(-0.12 * target.max(), 1.45 * target.max()))
    ax.set_xticks((-0.5, 0.0, 0.5))


def _scatter(ax: Axes, part: xarray.Dataset, colour: str) -> None:
    for when, face, size in (("start", START, 5.0), ("end", colour, 4.0)):
        tall = part[f"amplitude_{when}"].values
        ax.scatter(part[f"orientation_{when}"].values, tall / tall.max(), s=size, c=face, lw=0, alpha=0.7, rasterized=True)
    for angle in (-KINK, KINK - np.pi):
        ax.axvline(angle, color=style.INK, lw=0.6, ls=style.dashes(True), zorder=0.5)
    ax.set(xlabel="orientation, rad", xlim=(-np.pi, np.pi), ylim=(0, 1.06))
    ax.set_xticks(*PI_TICKS)


def positions(data: dict[str, xarray.Dataset]) -> Figure:
    """Amplitude against orientation after training at positions of the plane: gamma to the right, gamma' upwards.

    Two data sets by width: ``orientation`` and ``amplitude`` (point, when, neuron), ``score`` (point, when), coordinates
    ``gamma`` and ``gamma_prime``, attributes ``width`` and ``data``. Orientation is an angle for four points, else a cosine.
    """
    nets = sorted(data.values(), key=lambda each: int(each.attrs["width"]))
    plane = str(nets[0].attrs["data"]) == "points"
    columns = sorted(set(nets[0]["gamma"].values.tolist()))
    rows = sorted(set(nets[0]["gamma_prime"].values.tolist()), reverse=True)
    across = "orientation, rad" if plane else r"cosine to $p \propto (1, \ldots, 1)$"
    with style.context():
        fig = style.figure(style.DOUBLE, 5.6)
        axes = fig.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
        for i, prime in enumerate(rows):
            for j, gamma in enumerate(columns):
                at = np.flatnonzero((nets[0]["gamma"].values == gamma) & (nets[0]["gamma_prime"].values == prime))[0]
                _position(axes[i, j], [net.isel(point=at) for net in nets], plane)
        for j, gamma in enumerate(columns):
            axes[-1, j].set_xlabel(f"{across}\n" + rf"$\gamma$ = {gamma:g}")
        for i, prime in enumerate(rows):
            axes[i, 0].set_ylabel(rf"$\gamma'$ = {prime:g}".replace("-", MINUS) + "\namplitude")
        handles = [Line2D([], [], ms=3.0, mfc=START, mec="none", marker="o", ls="none", label=f"$m$ = {nets[0].attrs['width']}")]
        for regime, (colour, _) in zip(relu2.REGIMES, LOOKS, strict=True):
            label = f"$m$ = {nets[-1].attrs['width']}, {regime}"
            handles.append(Line2D([], [], ms=3.0, mfc=colour, mec="none", marker="o", ls="none", label=label))
        handles.append(Line2D([], [], ls="none", label=r"score: smaller $m$ $\rightarrow$ larger $m$"))
        style.legend(fig, handles)
        return fig


def _position(ax: Axes, nets: list[xarray.Dataset], plane: bool) -> None:
    """One position: the wider net over the narrower, with the scores of both."""
    style.pin(ax)
    gamma, prime = float(nets[0]["gamma"]), float(nets[0]["gamma_prime"])
    colour = LOOKS[relu2.REGIMES.index(relu2.regime(gamma, prime))][0]
    for net, face in ((nets[0], START), (nets[-1], colour)):
        tall = net["amplitude"].values[-1]
        ax.scatter(net["orientation"].values[-1], tall / tall.max(), s=3.0, c=face, lw=0, alpha=0.6, rasterized=True)
    ax.set(ylim=(0, 1.3), xlim=(-np.pi, np.pi) if plane else (-1, 1))
    ax.set_yticks((0.0, 0.5, 1.0))
    if plane:
        ax.set_xticks(*PI_TICKS)
    words = r" $\rightarrow$ ".join(f"{float(net['score'][-1]):{'.2f' if plane else '.3f'}}" for net in (nets[0], nets[-1]))
    ax.text(0.5, 0.97, f"score {words}", transform=ax.transAxes, ha="center", va="top", fontsize=7)
