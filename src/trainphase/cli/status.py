"""``trainphase status``: how far the store of a sweep is; and what a sweep says about its tiles at its end."""

from __future__ import annotations

import math
import shlex
from typing import Any

import click

from trainphase.cli import options, output
from trainphase.cli.progress import duration
from trainphase.errors import TrainphaseError

RECENT = 200  # tiles from whose times the rate is taken


@click.command("status", short_help="How far the store of a sweep is.")
@click.argument("store", metavar="STORE")
@click.option("--quick", is_flag=True, help="Believe the ledger: do not read the tiles back.")
@options.json_option
def command(store: str, quick: bool, as_json: bool) -> None:
    """Tell which tiles of STORE are done, damaged, given up or missing, who writes it, and how to go on.

    \b
    For example: trainphase status my-sweep
    """
    doc = document(store, quick)
    output.emit(doc, lambda: _text(doc), as_json)


def document(path: str, quick: bool = False) -> dict[str, Any]:
    """The JSON document of ``trainphase status``; StoreError where there is no store."""
    from trainphase.engine.store import Store

    store = Store.open(path)
    done, damaged = (store.claimed(), set()) if quick else store.verify()
    holes = store.holes()
    tiling, dense = store.tiling, store.points is None
    writers = store.place.writers()
    rate = _rate(store) if writers else None
    missing = len(tiling) - len(done) - len(damaged) if dense else None
    command = store.provenance.get("command") or None
    return {
        "store": str(store.path), "system": store.recipe.get("system"), "layout": "grid" if dense else "points",
        "axes": [{k: a[k] for k in ("name", "lo", "hi", "n", "scale")} for a in store.axes],
        "tiles": {"all": len(tiling) if dense else None, "done": len(done), "damaged": len(damaged), "missing": missing,
                  "holes": len(holes)},
        "points": {"all": math.prod(tiling.shape) if dense else None, "done": sum(math.prod(tiling.extent(t)) for t in done)},
        "damaged": sorted(map(tiling.key, damaged)), "holes": {tiling.key(t): why for t, why in sorted(holes.items())},
        "complete": not missing and not damaged if dense else None, "checked": not quick,
        "writers": writers, "tiles_per_second": rate,
        "seconds_left": missing / rate if rate and missing is not None else None,
        "command": None if command is None else f"{command} --store {shlex.quote(str(store.path))}",
        "version": store.provenance.get("trainphase"),
    }  # fmt: skip


def _rate(store: Any) -> float | None:
    """Tiles per second over the last ones, by the times of their ledger entries."""
    names = [f"ledger/{store.tiling.key(index)}.json" for index in store.claimed()]
    try:
        times = sorted(t for t in store.place.written(names) if math.isfinite(t))[-RECENT:]
    except OSError:
        return None
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else None


def _text(doc: dict[str, Any]) -> str:
    tiles, points = doc["tiles"], doc["points"]
    grid = " x ".join(f"{axis['name']} {axis['n']}" for axis in doc["axes"])
    rows = [
        ("done", tiles["done"] if tiles["all"] is None else f"{tiles['done']} of {tiles['all']}"),
        ("damaged", tiles["damaged"] if doc["checked"] else "not checked"),
        ("missing", tiles["missing"]),
        ("given up", tiles["holes"]),
        ("points", points["done"] if points["all"] is None else f"{points['done']} of {points['all']}"),
    ]
    lines = [f"{doc['system']} over {grid}, store {doc['store']}", "", output.table(("tiles", ""), rows), ""]
    lines += [f"{tile} was given up: {why}" for tile, why in list(doc["holes"].items())[:10]]
    if doc["writers"]:
        rate, left = doc["tiles_per_second"], doc["seconds_left"]
        lines.append("written by " + "; ".join(doc["writers"]))
        lines += [f"{rate:.3g} tiles/s" + (f", about {duration(left)} left" if left else "")] if rate else []
    elif doc["complete"]:
        lines.append("complete: the command that made it draws it without computing anything")
    if not doc["complete"] or not doc["writers"]:
        lines.append(f"{'continue' if not doc['complete'] else 'draw'} it with\n  {doc['command'] or 'the call that made it'}")
    return "\n".join(lines)


def tell_part(result: Any, as_json: bool) -> None:
    """Print what came of one part of a diagram."""
    doc = {
        "system": result.system, "part": list(result.part), "tiles": result.tiles, "evaluations": result.evaluations,
        "failed": result.failed, "seconds": result.seconds, "store": result.store,
    }  # fmt: skip
    output.emit(doc, lambda: _part_text(doc), as_json)
    check_holes(result)


def _part_text(doc: dict[str, Any]) -> str:
    k, n = doc["part"]
    tiles, left = doc["tiles"], doc["tiles"]["all"] - doc["tiles"]["stored"]
    after = "all tiles are stored: the command without --part draws them" if not left else f"{left} tiles are left to other parts"
    return (
        f"part {k}/{n} of {doc['system']}: {tiles['computed']} of its {tiles['own']} tiles computed in {doc['seconds']:.1f} s\n"
        f"store {doc['store']}: {tiles['stored']} of {tiles['all']} tiles; {after}"
    )


def check_holes(result: Any) -> None:
    """TrainphaseError, so exit code 1, when tiles were given up: everything else is kept and was shown."""
    if not result.failed:
        return
    tile, why = next(iter(result.failed.items()))
    count = "1 tile" if len(result.failed) == 1 else f"{len(result.failed)} tiles"
    rest = "the diagram has holes there" if result.store is None else "the rest is kept, and the same command tries again"
    raise TrainphaseError(f"{count} could not be computed, {tile} among them ({why}); {rest}")
