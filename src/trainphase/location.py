"""Where an initialisation lies on the phase diagram of initialisations: at the user's width, and in the limit.

>>> from trainphase.location import locate
>>> there = locate("ntk", width=10_000, inputs=784)
>>> there.gamma, there.gamma_prime, there.regime
(0.5, 0.0, 'linear')

A network is given by the name of its initialisation, by its scales, or as a live model whose weights are measured
(see ``measure``). Coordinates at a finite width are exact. What they mean is known up to constant factors, and at width
m a factor of e in kappa moves gamma by 1 / ln m: that is the *blur*, and a point within it of the boundary is called
critical. The largest such factor is known: the boundary is drawn for inputs of length 1 and targets of size 1. By the
rule of common growth, other data count as kappa times the length of the inputs over the size of the targets. All
formulas are in ``theory.relu2`` and ``theory.relu3``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trainphase import _html
from trainphase.errors import RequestError
from trainphase.measure import Measured, measure
from trainphase.phase import REGIME
from trainphase.theory import relu2, relu3

ALIASES = {
    "glorot": "xavier", "kaiming": "he", "torch": "pytorch", "linen": "flax", "nnx": "flax", "meanfield": "mean-field",
    "tensorflow": "keras", "eqx": "equinox",
}  # fmt: skip
MOST = 10**300
NAMES = (*relu2.SCHEMES, "e")
_REMEDY = "give init, or width with beta1 and beta2 (and beta3 for three layers), or model"


@dataclass(frozen=True)
class Limit:
    """A named initialisation as the width grows without bound at a fixed number of inputs.

    ``coordinates`` are gamma and gamma_prime (two layers), or gamma3 and gamma2; for three layers the others have a
    value for each layer. The slope is what a ladder of large widths shows.
    """

    coordinates: dict[str, float]
    regime: str | dict[str, str]
    predicted_slope: float | dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As one flat document."""
        return {**self.coordinates, "regime": self.regime, "predicted_slope": self.predicted_slope}


@dataclass(frozen=True)
class Location:
    """The place of a two-layer network.

    ``gamma``, ``gamma_prime``, ``kappa`` and ``kappa_prime`` are exact at this width. ``predicted_slope`` is S_w of the
    map of exponents at that point, which takes constants for powers of m; ``slope_at_width`` is that of the rule of
    common growth at this very width, along the initialisation as m grows (of explicit scales and of a model: at fixed
    gamma and gamma_prime). ``excess`` is the distance from the boundary along gamma, negative on the linear side, and
    ``blur_width`` the 1 / ln m within which ``regime`` says critical. ``limit`` is None where only one width is known.
    ``scales`` are alpha and the standard deviations; ``biases`` says what becomes of the biases.
    """

    init: str
    width: int
    inputs: int | None
    outputs: int
    gamma: float
    gamma_prime: float
    regime: str
    predicted_slope: float
    kappa: float
    kappa_prime: float
    sector: str
    slope_at_width: float
    excess: float
    blur_width: float
    blur: str
    limit: Limit | None
    scales: dict[str, float]
    biases: str
    layers: int = field(default=2, init=False)

    def to_json(self) -> dict[str, Any]:
        """As a document of JSON, the coordinates first."""
        return _document(self, ("gamma", "gamma_prime"))

    def _repr_html_(self) -> str:
        return _shown(self.init, self.to_json())


@dataclass(frozen=True)
class Location3:
    """The place of a three-layer network: as :class:`Location`, with a value for each of W1 and W2.

    ``kappa`` is beta1 beta2 beta3 / alpha = m^-gamma3 and ``kappa_prime`` is beta3 / beta1 = m^-gamma2; ``third`` is the
    power in beta2 / beta3 = m^-third, which is 0 in the plane of the paper and counted here. The change of W2 is in
    Frobenius norm; ``w2_operator`` in the slopes is in operator norm.
    """

    init: str
    width: int
    inputs: int | None
    outputs: int
    gamma3: float
    gamma2: float
    regime: dict[str, str]
    predicted_slope: dict[str, float]
    kappa: float
    kappa_prime: float
    third: float
    slope_at_width: dict[str, float]
    excess: dict[str, float]
    blur_width: float
    blur: str
    limit: Limit | None
    scales: dict[str, float]
    biases: str
    layers: int = field(default=3, init=False)

    def to_json(self) -> dict[str, Any]:
        """As a document of JSON, the coordinates first."""
        return _document(self, ("gamma3", "gamma2"))

    def _repr_html_(self) -> str:
        return _shown(self.init, self.to_json())


def _document(place: Location | Location3, coordinates: tuple[str, str]) -> dict[str, Any]:
    first = (*coordinates, "regime", "predicted_slope", "kappa", "kappa_prime", "limit", "blur")
    names = [*first, *(name for name in place.__dataclass_fields__ if name not in first)]
    document = {name: getattr(place, name) for name in names}
    return document | {"limit": place.limit.to_json() if place.limit is not None else None}


def _shown(init: str, document: dict[str, Any]) -> str:
    """A table of the first entries of a document, for notebooks."""
    rows: list[tuple[str, Any]] = []
    for name in list(document)[:6]:
        several = isinstance(document[name], dict)
        for layer, value in (document[name] if several else {"": document[name]}).items():
            rows.append((f"{name} {layer}".strip(), _html.Label(REGIME, value) if name == "regime" else value))
    return _html.whole(f"initialisation {init}, width {document['width']}", [_html.table(("", ""), rows)])


def locate(
    init: str | None = None, *, width: int | None = None, inputs: int | None = None, outputs: int | None = None,
    layers: int | None = None, alpha: float | None = None, beta1: float | None = None, beta2: float | None = None,
    beta3: float | None = None, beta: float | None = None, model: Any = None,
) -> Location | Location3:  # fmt: skip
    """The place of a network on the diagram of initialisations of two- or three-layer ReLU networks.

    Parameters
    ----------
    init: one of ``NAMES`` or an alias ("glorot", "kaiming_normal"); "e" takes ``beta``. Needs width and inputs.
    width, inputs, outputs, layers: numbers of hidden neurons (per layer), of inputs without the constant 1 that
        carries the biases, of outputs (1), and of layers (2 or 3). With ``model`` they are read off it.
    alpha, beta1, beta2, beta3: explicit scales: the output is divided by alpha (1); standard deviations. As in the
        papers, beta1 belongs to the *output* weights of two layers, but to the *input* weights W1 of three.
    model: a live PyTorch or JAX model, or its parameters; see ``measure.measure``. alpha may be given with it.

    Raises
    ------
    RequestError: for a request that is incomplete, contradictory or not of this diagram.
    """
    scales = {"beta1": beta1, "beta2": beta2, "beta3": beta3}
    given = [init is not None, model is not None, any(v is not None for v in scales.values())]
    if sum(given) != 1:
        found = "nothing was given" if not any(given) else "init, model and beta1, beta2, beta3 exclude each other"
        raise RequestError(f"a network can be located in one way at a time ({found}); {_REMEDY}")
    if beta is not None and (init is None or _named(init) != "e"):
        raise RequestError(f"beta = {beta:g} belongs to the initialisation 'e' alone; give init 'e', or leave beta out")
    if model is not None:
        asked = {"width": width, "inputs": inputs, "outputs": outputs, "layers": layers}
        return _placed(_measured(measure(model), asked, alpha))
    layers = 2 if layers is None else layers
    if layers not in (2, 3):
        raise RequestError(f"layers = {layers} has no diagram here; give 2 or 3")
    m, outputs = _whole("width", width, 2), _whole("outputs", 1 if outputs is None else outputs, 1)
    if init is None:
        if inputs is not None:
            _whole("inputs", inputs, 1)
        return _placed(_explicit(m, inputs, outputs, layers, alpha, scales))
    if alpha is not None:
        raise RequestError(f"alpha = {alpha:g} is set by init {init!r}; leave it out, or give beta1 and beta2 instead of init")
    return _placed(_by_name(_named(init), m, _whole("inputs", inputs, 1), outputs, layers, beta))


def _placed(network: _Network) -> Location | Location3:
    return _two(network) if len(network.scales) == 3 else _three(network)


def _whole(name: str, value: int | None, least: int) -> int:
    if value is None:
        raise RequestError(f"{name} is missing; give {name}, a whole number of at least {least}")
    # Not isinstance: NumPy's whole numbers do as well, and 1e6. Beyond 1e300 products leave float64.
    if isinstance(value, bool) or not least <= value <= MOST or value != int(value):
        raise RequestError(f"{name} = {value} is not possible; give a whole number from {least} to 1e300")
    return int(value)


def _named(init: str) -> str:
    """The name in ``NAMES`` that is meant; RequestError with the nearest one otherwise."""
    word = init.lower().replace("_", "-").strip("-")
    word = word.removesuffix("-normal").removesuffix("-uniform")
    word = ALIASES.get(word, word)
    if word in NAMES:
        return word
    if word in ("jax", "haiku"):
        raise RequestError(f"{init!r} names no single initialisation; give flax, equinox, or one of {', '.join(NAMES)}")
    near = difflib.get_close_matches(word, (*NAMES, *ALIASES), 1)
    hint = f"the nearest is {near[0]}, of " if near else "give one of "
    raise RequestError(f"there is no initialisation {init!r}; {hint}{', '.join(NAMES)}")


# --- three ways in, and what they share ----------------------------------------------------------------------

Logs = tuple[float, ...]


@dataclass(frozen=True)
class _Network:
    """What all three ways in come down to: alpha first and then the layers' deviations, as the papers number them.

    ``along`` gives the logarithms of the scales at another ln m. ``biases`` is the deviation of the first layer's
    biases over that of its weights; ``words`` says where the number is from.
    """

    init: str
    width: int
    inputs: int | None
    outputs: int
    scales: tuple[float, ...]
    logs: Logs
    biases: float
    words: str
    limit: tuple[float, float] | None = None
    along: Callable[[float], Logs] | None = None

    def at(self, log_m: float) -> Logs:
        """Logarithms of the scales at another width: by the scheme, or as powers of m through this point."""
        if self.along is not None:
            return self.along(log_m)
        return tuple(value * log_m / math.log(self.width) for value in self.logs)


def _by_name(name: str, m: int, inputs: int, outputs: int, layers: int, beta: float | None) -> _Network:
    if name == "e":
        if layers == 3:
            raise RequestError("the initialisation 'e' is one of two layers; give layers 2, or beta1, beta2 and beta3")
        logs = relu2.log_scales(name, m, inputs, outputs, beta)
        # beta says nothing of other widths: as a power of m through this point, the point stays where it is.
        end = 0.0 - logs[1] / math.log(m)
        return _Network(name, m, inputs, outputs, (1.0, float(beta or 0), 1.0), logs, 1.0, "", (end, end))
    scheme = relu2.SCHEMES[name]

    def along(log_m: float, width: float | None = None) -> Logs:
        width = math.exp(log_m) if width is None else width
        if layers == 2:
            return relu2.log_scales(name, width, inputs, outputs)
        return relu3.log_scales(name, width, inputs, outputs)

    fans = [(m, outputs), (inputs, m)] if layers == 2 else [(inputs, m), (m, m), (m, outputs)]
    scales = (scheme.alpha(m, layers), *(scheme.deviation(*fan) for fan in fans))
    limit = scheme.limit if layers == 2 else scheme.limit3
    words = "" if scheme.biases else f"those of {name!r} start at 0"
    logs = along(0.0, m)
    return _Network(name, m, inputs, outputs, scales, logs, float(scheme.biases), words, limit, along)


def _explicit(
    m: int, inputs: int | None, outputs: int, layers: int, alpha: float | None, betas: dict[str, float | None]
) -> _Network:
    if layers == 2 and betas["beta3"] is not None:
        raise RequestError(f"beta3 = {betas['beta3']:g} belongs to three layers; give layers 3, or leave beta3 out")
    given = {"alpha": 1.0 if alpha is None else alpha} | {name: betas[name] for name in list(betas)[:layers]}
    scales = tuple(_above_0(name, value) for name, value in given.items())
    return _Network("explicit", m, inputs, outputs, scales, tuple(map(math.log, scales)), 1.0, "")


def _measured(found: Measured, given: dict[str, int | None], alpha: float | None) -> _Network:
    for name, value in given.items():
        if value is not None and value != getattr(found, name):
            raise RequestError(f"{name} = {value} is not that of the model, {getattr(found, name)}; leave {name} out")
    m = _whole("width", found.width, 2)
    sizes = found.deviations if found.layers == 3 else found.deviations[::-1]  # two layers: beta1 is the last one
    scales = (1.0 if alpha is None else _above_0("alpha", alpha), *sizes)
    words = f"here their size is {found.biases:.4g}, that of the weights {found.deviations[0]:.4g}"
    ratio = found.biases / found.deviations[0]
    return _Network("measured", m, found.inputs, found.outputs, scales, tuple(map(math.log, scales)), ratio, words)


def _above_0(name: str, value: float | None) -> float:
    if value is None:
        raise RequestError(f"{name} is missing; give {name}, a number above 0")
    if not (math.isfinite(value) and value > 0):
        raise RequestError(f"{name} = {value:g} is not possible; give a finite {name} above 0")
    return float(value)


def _exp(value: float) -> float:
    return math.exp(value) if value < 709.0 else math.inf


def _two(n: _Network) -> Location:
    size = relu2.log_width(n.width)
    (_, beta1, beta2), (log_alpha, log_beta1, log_beta2) = n.scales, n.logs
    g, p = (log_alpha - log_beta1 - log_beta2) / size + 0.0, (log_beta2 - log_beta1) / size + 0.0
    excess, blur = float(relu2.excess(g, p)), 1.0 / size
    limit = None
    if n.limit is not None:
        ends = {"gamma": n.limit[0], "gamma_prime": n.limit[1]}
        limit = Limit(ends, relu2.regime(*n.limit), float(relu2.slope(*n.limit)))

    def along(log_m: float) -> tuple[float, float]:
        a, b1, b2 = n.at(log_m)
        return b1 + b2 - a, b1 - b2

    edge = f"here {'m kappa' if p <= 0 else 'm kappa / kappa_prime'} = {_exp(-excess * size):.3g}, and 1 on the boundary: "
    return Location(
        init=n.init, width=n.width, inputs=n.inputs, outputs=n.outputs, gamma=g, gamma_prime=p,
        regime=relu2.regime(g, p, blur), predicted_slope=float(relu2.slope(g, p)),
        kappa=beta1 * beta2 / n.scales[0], kappa_prime=beta1 / beta2, limit=limit,
        blur=f"{_blur(n.width, blur)}; {edge}{_side(excess, blur)}; {_sizes(n.inputs)}", sector=relu2.sector(g, p),
        slope_at_width=relu2.slope_at(along, n.width), excess=excess, blur_width=blur,
        scales=dict(zip(("alpha", "beta1", "beta2"), n.scales, strict=True)), biases=_biases(n, ("gamma", "gamma_prime")),
    )  # fmt: skip


def _three(n: _Network) -> Location3:
    size = relu2.log_width(n.width)
    logs = n.logs[0], n.logs[1], n.logs[2], n.logs[3]
    g3, g2, third = relu3.coordinates(n.width, *logs)
    blur = 1.0 / size
    excess = {w: g3 - float(relu3.critical_gamma3(w, g2, third)) for w in relu3.LAYERS}
    limit = None
    if n.limit is not None:
        ends = {"gamma3": n.limit[0], "gamma2": n.limit[1]}
        limit = Limit(ends, {w: relu3.regime(w, *n.limit) for w in relu3.LAYERS}, _floats(relu3.slopes(*n.limit)))
    said = "; ".join(f"{w.upper()} is {_side(excess[w], blur)}" for w in relu3.LAYERS)
    alpha, beta1, beta2, beta3 = n.scales
    return Location3(
        init=n.init, width=n.width, inputs=n.inputs, outputs=n.outputs, gamma3=g3, gamma2=g2,
        regime={w: relu3.regime(w, g3, g2, third, blur) for w in relu3.LAYERS},
        predicted_slope=_floats(relu3.slopes(g3, g2, third)), kappa=beta1 * beta2 * beta3 / alpha,
        kappa_prime=beta3 / beta1, limit=limit, blur=f"{_blur(n.width, blur)}; {said}; {_sizes(n.inputs)}", third=third,
        slope_at_width=relu3.slopes_at(n.at, n.width), excess=excess, blur_width=blur,
        scales=dict(zip(("alpha", "beta1", "beta2", "beta3"), n.scales, strict=True)), biases=_biases(n, ("gamma3", "gamma2")),
    )  # fmt: skip


def _floats(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


# --- in words ------------------------------------------------------------------------------------------------


def _blur(m: int, blur: float) -> str:
    return f"at width {m:.6g} a factor of e in kappa moves gamma by 1/ln(m) = {blur:.3f}"


def _sizes(inputs: int | None) -> str:
    """What the boundary takes for granted: it is where targets of the inputs' size can just be represented."""
    known = "" if inputs is None else f": by {math.sqrt(inputs):.3g} for inputs of variance 1"
    return f"for inputs of length |x| and targets of size |y|, multiply kappa by |x| / |y|{known}"


def _side(excess: float, blur: float) -> str:
    """How far from the boundary a point is, as a factor of kappa, and whether that is more than the blur."""
    side = "linear" if excess < 0 else "condensed"
    far = f"on the {side} side by a factor of {_exp(abs(excess) / blur):.3g}" if abs(excess) > 1e-9 else "at no distance"
    return f"{far}, within the blur, so that it counts as critical" if abs(excess) <= blur else far


def _biases(n: _Network, names: tuple[str, str]) -> str:
    """What becomes of the biases of the first layer."""
    rule = "the diagram takes the biases of the first layer for the weights of one more input, the constant 1, of equal size"
    if not n.words or n.inputs is None:
        return rule
    shift = 0.5 * math.log((n.inputs + 1) / (n.inputs + n.biases**2)) / math.log(n.width)
    effect = f"{names[0]} by {shift:+.4f} and {names[1]} by {-shift:+.4f}" if abs(shift) >= 1e-4 else "no coordinate by 0.0001"
    return f"{rule}; {n.words}, and counted among the weights they change {effect}"
