"""``trainphase locate``: where an initialisation lies on the phase diagram of initialisations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trainphase.cli import options, output
from trainphase.cli.user_file import loaded

WIDEST = 2**53
_scale = options.Positive()


@click.command("locate", options_metavar="[OPTIONS]", short_help="Where an initialisation lies on its phase diagram.")
@click.option("--init", metavar="NAME", help="lecun, he, xavier, ntk, mean-field, e, pytorch, equinox, flax or keras.")
@click.option("--width", type=options.Whole(2, WIDEST), help="Neurons in each hidden layer, m.")
@click.option("--inputs", type=options.Whole(1, WIDEST), help="Inputs, d, without a constant for the biases.")
@click.option("--outputs", type=options.Whole(1, WIDEST), help="Outputs; default: 1.")
@click.option("--layers", type=options.Whole(2, 3), help="Layers of weights, 2 or 3; default: 2.")
@click.option("--alpha", type=_scale, help="What the output is divided by; default: 1.")
@click.option("--beta1", type=_scale, help="Standard deviation of the output weights; of three layers, of W1.")
@click.option("--beta2", type=_scale, help="That of the input weights; of three layers, of W2.")
@click.option("--beta3", type=_scale, help="That of the output weights of three layers.")
@click.option("--beta", type=_scale, help="The free scale of --init e.")
@click.option("--model", metavar="FILE.py:OBJECT", help="Measure a model of yours; runs FILE.py.")
@options.plot_option
@options.json_option
def command(plot: str | None, model: str | None, as_json: bool, **given: Any) -> None:
    """Tell where a network's initialisation lies: linear, critical or condensed, and how far from the boundary.

    Give the initialisation by its name, by its scales, or as a model: OBJECT in FILE.py is a PyTorch module, JAX
    parameters, or a function without arguments that returns one. FILE.py is run as a program of yours is.

    \b
    For example: trainphase locate --init he --width 1000 --inputs 784
                 trainphase locate --beta1 1 --beta2 1 --alpha 1000 --width 1000
                 trainphase locate --model net.py:model
    """
    output.check_plot(plot)
    from trainphase.location import locate

    place = locate(model=None if model is None else loaded(model, "--model", "model"), **given)
    output.deliver(
        [("--plot", plot, lambda path: _draw(place, path))],
        lambda: output.emit(place.to_json(), lambda: _text(place.to_json()), as_json),
    )


def _draw(place: Any, path: Path) -> None:
    from trainphase.figures import initialisation, save

    axes = (place.gamma, place.gamma_prime) if place.layers == 2 else (place.gamma3, place.gamma2)
    draw = initialisation.draw if place.layers == 2 else initialisation.draw3
    name = {"explicit": "this network", "measured": "this model"}.get(place.init, place.init)
    save(draw(place=(f"{name}, m = {place.width}", *axes), width=place.width, inputs=place.inputs), path)


def _text(doc: dict[str, Any]) -> str:
    """The place as a table, and in words what a finite width blurs and what becomes of the biases."""
    names = [name for name in ("gamma", "gamma_prime", "gamma3", "gamma2") if name in doc]
    limit = doc["limit"] or {}
    sizes = f"width {doc['width']}" + ("" if doc["inputs"] is None else f", {doc['inputs']} inputs")
    rows = [(name, _short(doc[name]), _short(limit.get(name))) for name in names]
    for name, told in (("regime", "regime"), ("predicted_slope", "slope of the map")):
        rows += _rows(told, doc[name], limit.get(name))
    rows += _rows("slope at this width", doc["slope_at_width"], None)
    rows += [(name, _short(doc[name]), "-") for name in ("kappa", "kappa_prime")]
    scales = ", ".join(f"{name} {_short(value)}" for name, value in doc["scales"].items())
    sentences = [" ".join(_sentence(part) for part in doc[name].split("; ")) for name in ("blur", "biases")]
    head = f"{doc['init']}: {doc['layers']} layers, {sizes}; {scales}"
    return "\n".join([head, "", output.table(("", "at this width", "in the limit"), rows), "", *sentences])


def _rows(told: str, here: Any, limit: Any) -> list[tuple[str, str, str]]:
    """One row, or one for each layer."""
    if not isinstance(here, dict):
        return [(told, _short(here), _short(limit))]
    shown_names = {"w1": "W1", "w2": "W2", "w2_operator": "W2 (operator norm)"}
    return [(f"{told}, {shown_names[k]}", _short(v), _short((limit or {}).get(k))) for k, v in here.items()]


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else output.cell(value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
