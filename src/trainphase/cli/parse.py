"""Parameters as they are typed: ``a=1.1``, ``a=0:2.2``, ``a=0:2.2:513``, ``lr=1e-3:1:64:log``, ``width=10,20,40``.

Everything is parsed by hand and held against the catalogue; a RequestError names the text that is wrong and the remedy.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainphase.axes import MOST_POINTS, SEED, Axis
from trainphase.catalog import Param, SystemInfo
from trainphase.errors import RequestError

MOST_AXES = 2
LARGEST_WHOLE = 2**53  # the largest up to which float64 holds every whole number

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def shown(text: str, limit: int = 80) -> str:
    """The text as a sentence may hold it: on one line, printable, and not too long."""
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= limit else f"{text[:limit]}.."


def refuse(token: str, why: str, remedy: str) -> RequestError:
    """The error for one token of a request."""
    return RequestError(f"{shown(token)} is not possible: {why}; {remedy}")


def number(text: str) -> float | None:
    """The finite float64 that the text spells in ASCII digits, or None."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def whole(text: str) -> int | None:
    """The whole number that the text spells (1000, 1e3), at most 2^53 in size, or None."""
    value = number(text)
    if value is None or value != math.floor(value) or abs(value) > LARGEST_WHOLE:
        return None
    return int(value)


def for_run(info: SystemInfo, tokens: Sequence[str]) -> dict[str, Any]:
    """Parameters of a single run: each a value."""
    return _all(info, tokens, _run_value)


def for_diagram(info: SystemInfo, tokens: Sequence[str], seeds: int = 1) -> dict[str, Any]:
    """Parameters of a diagram: values, and one or two axes; ``seeds`` repeats the whole grid."""
    params = _all(info, tokens, _diagram_value)
    axes = [v for v in params.values() if isinstance(v, Axis)]
    if not axes:
        given = f" ({shown(' '.join(tokens))} has none)" if tokens else ""
        raise RequestError(f"a diagram needs a parameter with a range{given}; give for example {example(info)}")
    drawn = [axis.name for axis in axes if axis.name != SEED]
    if len(drawn) > MOST_AXES:
        raise RequestError(f"{', '.join(drawn)} are {len(drawn)} axes and {MOST_AXES} is the most; give one a single value")
    points = math.prod(axis.n for axis in axes) * seeds
    if points > MOST_POINTS:
        size = " x ".join([*(f"{axis.name}={axis.n}" for axis in axes), *([f"seeds={seeds}"] if seeds > 1 else [])])
        raise RequestError(f"{size} are {points} points, and {MOST_POINTS} is the most; give fewer points")
    return params


def for_boundary(info: SystemInfo, tokens: Sequence[str]) -> dict[str, Any]:
    """Parameters of a search for boundaries: values, and one pair of ends (lo, hi), or two for a curve in their plane."""
    params = _all(info, tokens, _boundary_value)
    spans = [name for name, value in params.items() if isinstance(value, tuple)]
    if len(spans) > MOST_AXES:
        names = ", ".join(spans)
        raise RequestError(f"boundary searches over one parameter or two and {names} have ranges; give all but two a value")
    if not spans:
        given = f" ({shown(' '.join(tokens))} has none)" if tokens else ""
        remedy = example(info, boundary=True)
        raise RequestError(f"boundary needs a parameter with a range{given}; give for example {remedy}")
    return params


def near(text: str, spans: Sequence[tuple[str, tuple[float, float]]]) -> tuple[float, float]:
    """The point of --near, as x,y in the order of the ranges; RequestError when it is none or lies outside of them."""
    names = ",".join(name for name, _ in spans)
    given = [number(part) for part in text.split(",")]
    values = [value for value in given if value is not None]
    if len(given) != len(spans) or len(values) != len(given):
        middle = ",".join(f"{0.5 * (lo + hi):g}" for _, (lo, hi) in spans)
        raise RequestError(f"--near {shown(text) or repr(text)} is no point; give {names} as two numbers, for example {middle}")
    for value, (name, (lo, hi)) in zip(values, spans, strict=True):
        if not lo <= value <= hi:
            raise RequestError(f"--near {shown(text)} has {name}={value:g} outside of {lo:g}:{hi:g}; give a point inside")
    return values[0], values[1]


def between(text: str, known: Sequence[Sequence[str]]) -> tuple[str, str]:
    """The phases of --between, as p,q; RequestError unless one of the ``known`` vocabularies has both, decided."""
    words = tuple(text.split(","))
    fit = len(words) == 2 and words[0] != words[1] and any(set(words) <= set(labels) - {"undecided"} for labels in known)
    if not fit:
        offered = " or ".join(", ".join(label for label in labels if label != "undecided") for labels in known)
        raise RequestError(f"--between {shown(text) or repr(text)} is not possible; give two, as p,q, of {offered}")
    return words[0], words[1]


def example(info: SystemInfo, boundary: bool = False) -> str:
    """A range of the system's first parameter, as one would type it."""
    param = next((p for p in info.params if p.axis and isinstance(p.default, int | float)), info.params[0])
    return _range_example(param, boundary)


def _range_example(param: Param, boundary: bool = False) -> str:
    top = 2 * abs(param.default) if isinstance(param.default, int | float) and param.default else 2
    low = top / 4 if boundary or param.open_lo or param.lo > 0 else 0
    if param.kind == "int":
        lo = max(math.ceil(low), math.ceil(param.lo) if math.isfinite(param.lo) else math.ceil(low))
        hi = int(min(lo + 31, param.hi))
        return f"{param.name}={lo:d}:{hi:d}" + ("" if boundary else f":{hi - lo + 1}")
    return f"{param.name}={low:g}:{min(top, param.hi):g}" + ("" if boundary else ":256")


def _value_example(param: Param) -> str:
    if param.kind == "choice":
        return f"{param.name}={param.choices[0]}"
    default = param.default if param.default is not None else (100 if param.kind == "int" else 0.5)
    return f"{param.name}={default}"


def _all(info: SystemInfo, tokens: Sequence[str], value: Callable[[Param, str, str], Any]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for token in tokens:
        name, equals, text = token.partition("=")
        if not equals or not name:
            remedy = f"write parameters as key=value, for example {_value_example(info.params[0])}"
            raise refuse(token, "it is no key=value", remedy)
        param = _param(info, name, token)
        if name in params:
            raise refuse(token, f"{name} is given twice", "give it once")
        if not text:
            raise refuse(token, f"{name} has no value", f"give for example {_value_example(param)}")
        params[name] = value(param, text, token)
    return params


def _param(info: SystemInfo, name: str, token: str) -> Param:
    names = [p.name for p in info.params]
    if name in names:
        return info.param(name)
    options = (
        "steps", "starts", "seeds", "dtype", "tol", "points", "of", "near", "between", "plot", "out", "store", "data-dir",
    )  # fmt: skip
    option = name.replace("_", "-")
    if option in options:
        raise refuse(token, f"{name} is an option and no parameter", f"give --{option} and its value after a space")
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"give {near[0]}=, the nearest" if near else "give one of those"
    raise refuse(token, f"{info.name} has no parameter {shown(name)!r}, it has {', '.join(names)}", hint)


def _run_value(param: Param, text: str, token: str) -> Any:
    if param.axis and (":" in text or "," in text):
        remedy = f"give for example {_value_example(param)}, or ask for a diagram"
        raise refuse(token, f"a run takes one value of {param.name}", remedy)
    return _single(param, text, token)


def _diagram_value(param: Param, text: str, token: str) -> Any:
    if param.axis and ":" in text:
        return _range(param, text, token)
    if param.axis and "," in text:
        return _list(param, text, token)
    return _single(param, text, token)


def _boundary_value(param: Param, text: str, token: str) -> Any:
    if not param.axis or (":" not in text and "," not in text):
        return _single(param, text, token)
    if param.kind == "int":
        raise refuse(token, f"{param.name} takes whole numbers only and cannot be bisected", "give it one value")
    parts = text.split(":")
    if "," in text or len(parts) != 2:
        remedy = f"give {param.name}=lo:hi, for example {_range_example(param, boundary=True)}"
        raise refuse(token, "boundary takes two ends and nothing else (--points sets the first scan)", remedy)
    lo, hi = (_number_of(param, part, token) for part in parts)
    _check_ends(lo, hi, token)
    return lo, hi


def _single(param: Param, text: str, token: str) -> Any:
    if param.kind == "text":
        return text
    if param.kind != "choice":
        return _number_of(param, text, token)
    if text in param.choices:
        return text
    near = difflib.get_close_matches(text, param.choices, 1)
    if "," in text or ":" in text:
        raise refuse(token, f"{param.name} takes one value", f"give one of {', '.join(param.choices)}")
    hint = f"the nearest is {near[0]}, of " if near else "give one of "
    raise refuse(token, f"{param.name} cannot be {shown(text)!r}", hint + ", ".join(param.choices))


def _number_of(param: Param, text: str, token: str) -> float | int:
    """One number of a parameter, in its domain."""
    what = shown(text) or "nothing"
    value = whole(text) if param.kind == "int" else number(text)
    if value is None:
        why = f"{what} is no whole number" if param.kind == "int" else f"{what} is no finite number"
        raise refuse(token, why, f"{param.name} must be {param.domain()}")
    try:
        param.check(value)
    except RequestError:
        why = "it is out of range" if token == f"{param.name}={text}" else f"{what} is out of range"
        raise refuse(token, why, f"{param.name} must be {param.domain()}") from None
    return value


def _check_ends(lo: float, hi: float, token: str) -> None:
    if not lo < hi:
        raise refuse(token, "the range is empty", "give the smaller end first and the larger one second")
    if not math.isfinite(hi - lo):
        raise refuse(token, "the range is wider than float64 can hold", "give a narrower range")


def _range(param: Param, text: str, token: str) -> Axis:
    lo_text, _, rest = text.partition(":")
    hi_text, _, rest = rest.partition(":")
    n_text, _, scale_text = rest.partition(":")
    form = f"{param.name}=lo:hi:n or {param.name}=lo:hi:n:log"
    if text.count(":") > 3:
        raise refuse(token, "it has too many parts", f"write {form}")
    lo, hi = (_number_of(param, part, token) for part in (lo_text, hi_text))
    if text.count(":") == 1:
        raise refuse(token, "it lacks the number of points", f"give it, for example {shown(token)}:256")
    if text.count(":") == 3 and scale_text != "log":
        raise refuse(token, f"there is no scale {shown(scale_text)!r}", f"write {form}")
    n = whole(n_text)
    if n is None or n < 2:
        why = f"{shown(n_text) or 'nothing'} is no number of points for a range"
        raise refuse(token, why, "give a whole number of at least 2, for example 256")
    _check_ends(lo, hi, token)
    if n > MOST_POINTS:
        raise refuse(token, f"{n} points are too many", f"give at most {MOST_POINTS}")
    scale = scale_text or "linear"
    if scale == "log" and lo <= 0:
        raise refuse(token, "a logarithmic range cannot reach 0 or below", "start above 0, or leave :log out")
    _check_points(param, lo, hi, n, scale, token)
    return Axis(param.name, float(lo), float(hi), n, scale, param.units)


def _check_points(param: Param, lo: float, hi: float, n: int, scale: str, token: str) -> None:
    """Raise when points coincide, or when those of a whole-number parameter are not whole."""
    if param.kind == "int" and (scale == "log" or (hi - lo) % (n - 1)):
        listed = f"{param.name}={lo:g},{math.floor((lo + hi) / 2):g},{hi:g}"
        raise refuse(token, "its points are not all whole numbers", f"give a list such as {listed}, or another n")
    if (hi - lo) / (n - 1) < np.spacing(max(abs(lo), abs(hi))):
        raise refuse(token, "its points lie closer than float64 can tell apart", "give fewer points or a wider range")


def _list(param: Param, text: str, token: str) -> Axis:
    values = [float(_number_of(param, part, token)) for part in text.split(",")]
    for k, value in enumerate(values):
        if value in values[:k]:
            raise refuse(token, f"{value:g} is listed twice", "list each value once")
    return Axis(param.name, min(values), max(values), len(values), "list", param.units, tuple(values))
