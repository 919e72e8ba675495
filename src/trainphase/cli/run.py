"""``trainphase run``: one trajectory and its phase."""

from __future__ import annotations

from typing import Any

import click

from trainphase.cli import environment, options, output, parse
from trainphase.cli.progress import progress


@options.system_command(
    "run",
    "One run and its phase.",
    options.steps_option(None, "4096; edge: 16384"),
    options.vocabulary_option,
    options.observe_option,
    options.starts_option(8),
    options.dtype_option,
    click.option("--two-step", is_flag=True, help="Show every other step: oscillations of period two stand still."),
    click.option("--series", is_flag=True, help="With --json: the whole series of every observable."),
    options.plot_option,
    options.out_option,
    click.option("--quiet", is_flag=True, help="No progress on standard error."),
)
@click.pass_context
def command(
    ctx: click.Context, system: str | None, params: tuple[str, ...], steps: int | None, starts: int, dtype: str,
    vocabulary: str | None, observe: tuple[str, ...], series: bool, two_step: bool, plot: str | None, out: str | None,
    quiet: bool, data_dir: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run SYSTEM once: its phase, how the run ended, and its observables.

    \b
    For example: trainphase run cubic a=1.1
    """
    info = options.named_system(system, "run")
    given = parse.for_run(info, params) | environment.data_options(info, data_dir)
    output.check_plot(plot)
    output.check_out(out)
    flags = environment.prepare_jax()
    from trainphase import api

    result = api.run(
        info.reference, steps=steps, starts=starts, dtype=dtype, vocabulary=vocabulary, command=ctx.obj["command"],
        flags=flags, progress=progress(quiet, "nets"), observables=observe, **given,
    )  # fmt: skip
    if two_step:
        result = result.two_step()
    output.deliver(
        [
            ("--plot", plot, lambda path: result.plot(path)),
            ("--out", out, lambda path: api.save(result.to_xarray(), path)),
        ],
        lambda: output.emit(result.to_json(series=series), lambda: _text(result), as_json),
    )


def _text(result: Any) -> str:
    """The result as a few lines and a table."""
    doc = result.to_json()
    params = " ".join(f"{k}={output.cell(v)}" for k, v in doc["params"].items())
    lines = [
        f"{doc['system']} {params}".rstrip(),
        f"phase    {doc['phase']} (margin {output.cell(doc['margin'])}; {doc.get('rule') or 'no rule'})",
        f"outcome  {doc['outcome']} after {doc['steps']} steps",
        "",
        output.table(
            ("observable", "last value", "units"),
            [(name, value, result.units.get(name, "1")) for name, value in doc["observables"].items()],
        ),
    ]
    theory = {k: v for k, v in (doc.get("theory") or {}).items() if not isinstance(v, list | dict)}
    if theory:
        lines += ["", output.table(("theory", "value"), theory.items())]
    return "\n".join(lines)
