"""``trainphase explore``: phase diagrams on a page that one can move in, from a server on this machine or as a file."""

from __future__ import annotations

import functools
import json
import sys
import threading
import webbrowser
from typing import Any

import click

from trainphase.cli import environment, options, output
from trainphase.errors import RequestError


@click.command("explore", options_metavar="[OPTIONS]", short_help="Phase diagrams on a page to move in.")
@click.argument("stores", metavar="[STORE]...", nargs=-1)
@click.option("--export", metavar="F.html", help="Write one file that needs neither server nor network, and end.")
@click.option("--title", metavar="TEXT", help="Title of the page.  [default: from the diagrams]")
@click.option("--port", type=options.Whole(0, 65535), default=0, help="Port of the server.  [default: a free one]")
@click.option(
    "--host",
    metavar="HOST",
    default="127.0.0.1",
    show_default=True,
    help="Where the server listens. Beyond this machine whoever has the address can use it.",
)
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
@options.json_option
def command(
    stores: tuple[str, ...], export: str | None, title: str | None, port: int, host: str, no_browser: bool, as_json: bool
) -> None:  # fmt: skip
    """Explore the diagrams in STORE, or without one the systems that run in the page itself.

    Click a point to see its run, move with mouse or keys. The server listens on this machine only, and its address holds a
    random token; Ctrl-C ends it.

    \b
    For example: trainphase explore
                 trainphase explore my-sweep --export my-sweep.html
    """
    output.check_page("--export", export)
    from trainphase.explorer import document as made
    from trainphase.explorer import entry, stored

    diagrams = [stored.of_store(path) for path in stores]
    if diagrams:
        environment.prepare_jax()
        diagrams = [stored.with_theory(d) for d in diagrams]
    served = export is None
    entries = entry.entries(diagrams, remote=served)
    document = made.document(diagrams=entries, title=title or made.title(diagrams), server=served)
    if export is not None:
        from trainphase.explorer import export as file

        output.write("--export", export, lambda path: file.write(path, document))
        if as_json:
            output.say(json.dumps({"file": export, "diagrams": len(diagrams), "notes": [n for e in entries for n in e["notes"]]}))
        else:
            _tell_notes(entries)
        return
    _serve(document, {e["id"]: d for e, d in zip(entries, diagrams, strict=True)}, host, port, no_browser, as_json)


def _tell_notes(entries: list[dict[str, Any]]) -> None:
    for found in entries:
        for sentence in found["notes"]:
            output.note(f"{found['store'] or found['system']}: {sentence}")


def _serve(document: Any, diagrams: Any, host: str, port: int, no_browser: bool, as_json: bool) -> None:
    from trainphase.explorer import server
    from trainphase.explorer.runs import Worker

    if not host.strip() or not host.isprintable():
        raise RequestError(f"--host {host!r} is no name; give 127.0.0.1, or a name or number of this machine")

    def ready(address: str) -> None:
        output.note(f"the explorer is at {address} ; Ctrl-C ends it")
        if host not in ("127.0.0.1", "localhost", "::1"):
            output.note(f"--host {host} lets others in: whoever has this address can look and compute, and nothing is encrypted")
        if as_json:
            output.say(json.dumps({"address": address}))
            if sys.stdout is not None:
                sys.stdout.flush()  # whoever reads it along a pipe waits for it
        if not no_browser:  # beside, since some browsers do not return before they are closed
            threading.Thread(target=_open, args=(address,), daemon=True).start()

    # The process that computes runs finds its flags and data sets as this one would.
    worker = Worker(functools.partial(environment.take_flags, environment.worker_flags()), environment.data_folders())
    server.serve(document, diagrams, ready, host=host, port=port, worker=worker)


def _open(address: str) -> None:
    if not webbrowser.open(address):
        output.note("no browser could be opened; open the address in one")
