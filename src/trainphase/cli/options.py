"""What commands share: typed options whose refusals are sentences, and help that knows the systems."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from trainphase import catalog
from trainphase.catalog import SystemInfo
from trainphase.cli.output import cell, table
from trainphase.cli.parse import example, number, shown, whole
from trainphase.errors import RequestError
from trainphase.phase import VOCABULARIES, third_party
from trainphase.phase import vocabulary as vocabulary_named

# The newest releases of click say to type checkers what an option becomes; the older ones take no such argument.
if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType

Decorator = Callable[[Any], Any]

# Where the answer goes and how it is shown: these options change no number.
PLACES = ("--store", "--plot", "--html", "--out")
# Where tiles are computed, which changes no number either.
RUNS = ("--executor", "--workers", "--part")
SHOWN = ("--json", "--quiet", "--series", "--debug")


def recorded(given: Sequence[str]) -> str:
    """The command line as results keep it: what was asked, without the options that say where the answer goes.

    So the same question leaves the same bytes in any directory, and no result names a path it was written to.
    """
    kept: list[str] = []
    rest = iter(given)
    for word in rest:
        if word == "--":  # what follows is no option
            kept += [word, *rest]
        elif word in (*PLACES, *RUNS):
            next(rest, None)
        elif word not in SHOWN and not word.startswith(tuple(f"{option}=" for option in (*PLACES, *RUNS))):
            kept.append(word)
    return shlex.join(["trainphase", *kept])


class Whole(ParamType):
    """A whole number from ``least`` to ``most``."""

    name = "N"

    def __init__(self, least: int = 1, most: int = 2**31 - 1) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that the text spells; RequestError otherwise."""
        if isinstance(value, int):
            return value
        found = whole(value)
        if found is None or not self.least <= found <= self.most:
            wanted = f"a whole number from {self.least} to {self.most}"
            raise RequestError(f"{_flag(param)} {_quoted(value)} is not possible; give {wanted}")
        return found


class Positive(ParamType):
    """A number above 0."""

    name = "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that the text spells; RequestError otherwise."""
        if isinstance(value, float):
            return value
        found = number(value)
        if found is None or found <= 0:
            raise RequestError(f"{_flag(param)} {_quoted(value)} is not possible; give a number above 0")
        return found


class OneOf(ParamType):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.name = "|".join(words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself; RequestError otherwise."""
        if value not in self.words:
            raise RequestError(f"{_flag(param)} {_quoted(value)} is not possible; give {' or '.join(self.words)}")
        return value


def _flag(param: click.Parameter | None) -> str:
    if param is None:
        return "the value"
    return param.opts[0] if isinstance(param, click.Option) else (param.name or "the value").upper()


def _quoted(value: str) -> str:
    return shown(value) if value.strip() else repr(value)


class SystemCommand(click.Command):
    """A command on a system, whose ``--help`` after a system's name tells about that system too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; but for help on a system, print that and end."""
        if "--help" in args:
            known = {*catalog.systems(), *catalog.third_party()}
            named = next((a for a in args if a in known or ".py:" in a), None)
            if named is not None:
                click.echo(f"{ctx.get_help()}\n\n{system_page(named_system(named, ctx.info_name or 'run'))}")
                ctx.exit()
        return super().parse_args(ctx, args)


def system_command(name: str, short: str, *options: Decorator) -> Decorator:
    """Decorator: the command ``name SYSTEM [KEY=VALUE]...`` with the options, --data-dir and --json."""

    def decorate(function: Any) -> Any:
        for option in reversed((*options, data_dir_option, json_option)):
            function = option(function)
        function = click.argument("params", nargs=-1, metavar="[KEY=VALUE]...")(function)
        function = click.argument("system", required=False, metavar="SYSTEM")(function)
        return click.command(name, cls=SystemCommand, options_metavar="[OPTIONS]", short_help=short)(function)

    return decorate


class Part(ParamType):
    """A part of a whole, as ``k/n`` with k from 1 to n."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The two numbers; RequestError otherwise."""
        if isinstance(value, tuple):
            return value
        k, _, n = (whole(piece) for piece in value.partition("/"))
        if k is None or n is None or not 1 <= k <= n:
            raise RequestError(f"{_flag(param)} {_quoted(value)} is not possible; give k/n with k from 1 to n, such as 3/8")
        return k, n


def named_system(name: str | None, verb: str) -> SystemInfo:
    """The system that the user named, in the catalogue or as FILE.py:NAME; RequestError when there is none of that name."""
    if name is None:
        known = catalog.systems()
        first = next(iter(known))
        raise RequestError(f"{verb} needs a system; give one of {', '.join(known)}, as in trainphase {verb} {first}")
    if "=" in name:
        raise RequestError(f"{shown(name)} is no system; name the system first, as in trainphase {verb} cubic a=1.1")
    if ".py:" in name:
        from trainphase.cli import user_file

        return user_file.system(name)
    if ":" in name or name.endswith(".py"):
        raise RequestError(f"{shown(name)} names no system; give one of trainphase list systems, or of your own FILE.py:NAME")
    return catalog.system(name)


def system_page(info: SystemInfo) -> str:
    """All about a system: parameters with units, defaults and domains, observables, vocabularies."""
    params = [(p.name, cell(p.default), p.units, p.domain(), p.help) for p in info.params]
    about = catalog.OBSERVABLES
    observed = [(name, *about.get(name, ("", ""))) for name in info.observables]
    known = [vocabulary_named(name) for name in info.vocabularies if name in (*VOCABULARIES, *third_party())]
    words = [(v.name, v.question, ", ".join(v.labels)) for v in known]
    blocks = [
        f"{info.name}: {info.summary}",
        table(("parameter", "default", "units", "domain", "meaning"), params),
        table(("observable", "units", "meaning"), observed),
        table(("vocabulary", "question", "phases"), words),
    ]
    if info.paper:
        blocks.append(f"Paper: {info.paper}")
    blocks.append(f"For example: trainphase diagram {info.name} {example(info)}")
    return "\n\n".join(blocks)


def steps_option(default: int | None, told: str | bool = True) -> Decorator:
    """--steps; ``told`` is the default in words where it depends on the system."""
    text = "Horizon in steps; a phase is decided over the next multiple of 512, in the edge vocabulary of 400."
    return click.option("--steps", type=Whole(1, 2**31 - 1), default=default, show_default=told, help=text)


def starts_option(default: int) -> Decorator:
    """--starts."""
    text = "Starts of the ensemble, where the phase is over all starts."
    return click.option("--starts", type=Whole(1, 2**20), default=default, show_default=True, help=text)


class Words(ParamType):
    """A vocabulary that can be asked for: built in, or of another package."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself; RequestError otherwise."""
        return OneOf("training", "edge", *third_party()).convert(value, param, ctx)


observe_option = click.option(
    "--observe", multiple=True, metavar="NAME", help="Record this observable of another package too; may be given again."
)
vocabulary_option = click.option(
    "--vocabulary", type=Words(), metavar="NAME", default=None,
    help="Phases to tell apart: training, edge, or of another package; default: the system's first.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
dtype_option = click.option(
    "--dtype", type=OneOf("float64", "float32"), metavar="TYPE", default="float64", show_default=True,
    help="Precision: float64 or float32.",
)  # fmt: skip
data_dir_option = click.option("--data-dir", metavar="DIR", help="Folder with files of image data sets.")
plot_option = click.option("--plot", metavar="F.png", help="Draw the result (.png, .pdf or .svg).")
html_option = click.option("--html", metavar="F.html", help="Write a page to move in, one file that needs no network.")
out_option = click.option("--out", metavar="F.nc", help="Write the data: NetCDF (.nc) or Zarr (.zarr).")
