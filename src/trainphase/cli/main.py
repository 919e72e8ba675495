"""The command ``trainphase``: finds the command, and turns every failure into one sentence and an exit code.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted.
"""

from __future__ import annotations

import _thread
import contextlib
import difflib
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import click

from trainphase import catalog
from trainphase._version import __version__
from trainphase.cli import boundary, demo, diagnose, diagram, doctor, explore, list_, locate, reproduce, run, status
from trainphase.cli.options import named_system, recorded, system_page
from trainphase.cli.output import note
from trainphase.cli.parse import shown
from trainphase.cli.user_file import MODULE
from trainphase.errors import RequestError, TrainphaseError

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
COMMANDS = (demo, list_, run, diagram, explore, status, boundary, locate, diagnose, reproduce, doctor)


class Commands(click.Group):
    """The group of commands; ``trainphase SYSTEM --help`` is understood too."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which one meets them."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; of a system's name, one that tells about the system."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name.startswith("-"):
            return None
        if cmd_name in catalog.systems() or cmd_name in catalog.third_party() or ".py:" in cmd_name:
            return _about(cmd_name)
        near = difflib.get_close_matches(cmd_name, self.commands, 1)
        hint = f"the nearest is {near[0]}" if near else "they are " + ", ".join(self.commands)
        raise RequestError(f"there is no command {shown(cmd_name)!r}; {hint}")


def _about(name: str) -> click.Command:
    def show(rest: tuple[str, ...]) -> None:
        if rest:
            told = shown(shlex.join(rest))
            raise RequestError(f"{shown(name)} is a system and no command; give for example trainphase run {shown(name)} {told}")
        click.echo(system_page(named_system(name, "run")))

    # Help is shown with or without --help, which is why the option is a flag that changes nothing.
    flag = click.Option(["--help"], is_flag=True, expose_value=False)
    params: list[click.Parameter] = [click.Argument(["rest"], nargs=-1), flag]
    return click.Command(name, callback=show, params=params, add_help_option=False)


@click.group(cls=Commands, invoke_without_command=True, options_metavar="[OPTIONS]")
@click.option("--version", is_flag=True, help="Show the version and exit.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure (may stand anywhere).")
@click.pass_context
def cli(ctx: click.Context, version: bool, debug: bool) -> None:
    """Phase diagrams of neural-network training: simulated, classified, and set beside exact theory.

    \b
    trainphase demo                          the main job on real images
    trainphase run cubic a=1.1               one run and its phase
    trainphase diagram cubic a=0:2.2:512     the phases over a range
    trainphase explore                       diagrams on a page to move in
    trainphase boundary cubic a=0.9:1.1      where the phase changes
    trainphase diagnose run.npz              the phase of your own training
    trainphase reproduce agarwala:8 --quick  a paper's figures and claims
    trainphase cubic --help                  all about a system
    """
    if version:
        click.echo(f"trainphase {__version__}")
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _module in COMMANDS:
    cli.add_command(_module.command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing is raised."""
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    args = [arg for arg in given if arg != "--debug"]
    if argv is None:
        _lose_no_interrupt()
        signal.signal(signal.SIGTERM, _terminated)  # what batch systems send before they kill
    try:
        with cli.make_context("trainphase", args, obj={"command": recorded(given)}) as ctx:
            cli.invoke(ctx)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
        return DONE
    except click.exceptions.Exit as end:
        return _flushed(end.exit_code)
    except BaseException as why:
        code, sentence = explain(why)
        if debug:
            traceback.print_exc()
        if sentence:
            note(sentence)
        _leave(why, code, argv is None)
        return code


def explain(why: BaseException) -> tuple[int, str]:
    """Exit code and sentence for whatever ended a command; an empty sentence when there is nothing to be said."""
    if isinstance(why, TrainphaseError):
        return why.exit_code, str(why)
    if isinstance(why, click.ClickException):
        return WRONG, _usage(why)
    if isinstance(why, KeyboardInterrupt | click.Abort):
        return INTERRUPTED, f"interrupted; {str(why) or 'give the same command again'}"
    if isinstance(why, BrokenPipeError):
        return FAILED, ""
    if isinstance(why, MemoryError) or "RESOURCE_EXHAUSTED" in str(why):
        return FAILED, "there is not enough memory for this; ask for fewer points, fewer starts or a smaller system"
    if isinstance(why, OSError):
        where = f" ({why.filename})" if why.filename else ""
        return FAILED, f"the result could not be written or read: {why.strerror or why}{where}"
    if isinstance(why, SystemExit):
        return (why.code if isinstance(why.code, int) else FAILED), ""
    told = " ".join(str(why).split())
    place = _in_a_users_file(why)
    if place:
        return FAILED, f"{place} failed ({type(why).__name__}: {shown(told, 200)}); mend it"
    return FAILED, f"unexpected error ({type(why).__name__}: {told}); please report it with the output of --debug"


def _in_a_users_file(why: BaseException) -> str:
    """File and line of the user's own code in which it failed, or nothing where it did not."""
    lines = [f"{frame.f_code.co_filename.rpartition(os.sep)[2]}, line {number}," for frame, number in
             traceback.walk_tb(why.__traceback__) if frame.f_globals.get("__name__") == MODULE]  # fmt: skip
    return lines[-1] if lines else ""


def _usage(why: click.ClickException) -> str:
    """A sentence for a command line that click refuses."""
    ctx = getattr(why, "ctx", None)
    command = ctx.command_path if ctx is not None else "trainphase"
    if isinstance(why, click.NoSuchOption):
        params = ctx.command.get_params(ctx) if ctx is not None else []
        near = difflib.get_close_matches(why.option_name, [o for p in params for o in p.opts if o[:2] == "--"], 1)
        hint = f"the nearest is {near[0]}" if near else f"see {command} --help"
        return f"there is no option {shown(why.option_name)}; {hint}"
    text = " ".join(why.format_message().split()).rstrip(".")
    return f"{text[:1].lower()}{text[1:]}; see {command} --help"


def _flushed(code: int) -> int:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as why:
        code, sentence = explain(why)
        if sentence:
            note(sentence)
        _silence()
    return code


def _leave(why: BaseException, code: int, own_process: bool) -> None:
    """What must be done before the interpreter ends, so that it ends quietly and at once."""
    if isinstance(why, OSError):
        _silence()
    if own_process and code == INTERRUPTED:
        # Threads of JAX and Zarr may be at work: an orderly end would wait for them, or have them complain. A store
        # bears an end at any moment.
        os._exit(code)


def _terminated(*_: Any) -> None:
    """SIGTERM is a Ctrl-C: end the tiles in hand, keep everything, say how to go on."""
    raise KeyboardInterrupt


def _lose_no_interrupt() -> None:
    """Repeat a Ctrl-C that fell where Python drops exceptions: in a finalizer, or JAX's callback in the collector."""
    other = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            again = threading.Timer(0.05, _thread.interrupt_main)  # seconds, to be out of that place by then
            again.daemon = True
            again.start()
        else:
            other(dropped)

    sys.unraisablehook = hook


def _silence() -> None:
    """Point standard output to nowhere: Python flushes it once more at its end, which would fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
