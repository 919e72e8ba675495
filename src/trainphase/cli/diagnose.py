"""``trainphase diagnose``: which phase a user's own training is in, and how far from the edge of stability."""

from __future__ import annotations

from typing import Any

import click

from trainphase.cli import environment, options, output
from trainphase.cli.user_file import loaded
from trainphase.errors import RequestError


@click.command("diagnose", options_metavar="[OPTIONS]", short_help="Which phase your own training is in.")
@click.argument("what", metavar="FILE.py:OBJECT|RECORD")
@click.option("--lr", type=options.Positive(), help="Step size, for a record without one, or for a Problem.")
@click.option("--method", metavar="NAME", help="The optimiser: gd, polyak, nesterov, rmsprop or adam.")
@click.option("--momentum", type=float, help="Momentum, or beta1 of Adam.")
@click.option("--steps", type=options.Whole(1, 10**9), help="Steps for which a Problem is trained; default: 400.")
@options.plot_option
@options.json_option
def command(
    what: str, lr: float | None, method: str | None, momentum: float | None, steps: int | None, plot: str | None, as_json: bool
) -> None:
    """Tell the phase of a training run, how far it is from the edge of stability, and whether its spikes are catapults.

    OBJECT in FILE.py is a probe (of trainphase.watch or trainphase.probe.torch.watch), a record (a dict of arrays: loss,
    sharpness, sharpness_steps, lr, optimiser ...), a Problem, or a function without arguments that returns one of them.
    FILE.py is run as a program of yours is: whatever it does, it does. RECORD is such a dict in a .npz, .csv or .json file,
    and nothing in it is run.

    \b
    For example: trainphase diagnose train.py:probe
                 trainphase diagnose run.csv --lr 0.05 --plot run.png
                 trainphase diagnose net.py:problem --lr 0.1 --json
    """
    output.check_plot(plot)
    given: dict[str, Any] = {"lr": lr, "method": method, "momentum": momentum, "steps": steps}
    given = {name: value for name, value in given.items() if value is not None}
    file = ".py:" not in what and not what.endswith(".py")
    environment.prepare_jax()
    found = what if file else loaded(what, "diagnose", "probe")
    if steps is not None and not hasattr(found, "loss_and_gradient"):
        raise RequestError(f"--steps {steps} is for a Problem, which is trained here; leave it out for a run that is over")
    from trainphase.probe.diagnosis import diagnose

    result = diagnose(found, show=False, **given)
    output.deliver(
        [("--plot", plot, lambda path: result.plot(path))],
        lambda: output.emit(result.to_json(), lambda: str(result), as_json),
    )
