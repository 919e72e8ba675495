"""``trainphase demo``: the main job on real images."""

from __future__ import annotations

from pathlib import Path

import click

from trainphase.cli import environment, options, output
from trainphase.cli.progress import progress


@click.command("demo", options_metavar="[OPTIONS]", short_help="The main job on real images.")
@click.option("--out", metavar="DIR", default="trainphase-demo", show_default=True, help="Folder for picture and data.")
@options.json_option
def command(out: str, as_json: bool) -> None:
    """The phases of gradient descent on real digit images, beside the exact theory: a table and a picture.

    \b
    For example: trainphase demo --out my-demo
    """
    output.check_folder("--out", out)
    environment.prepare_jax()
    from trainphase.demo import run_demo

    result = run_demo(Path(out), progress())
    output.emit(result.to_json(), result.table, as_json)
