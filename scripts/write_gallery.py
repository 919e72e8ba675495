"""The gallery: a page of live diagrams, one for each system, made by the same code as ``trainphase explore --export``.

Usage: python scripts/write_gallery.py [FOLDER]     some minutes; FOLDER is docs/_build/gallery unless given
       python scripts/write_gallery.py --only cubic,mlp [FOLDER]

Systems that run in the page itself are pages that compute what they show. The others are small diagrams computed here, at
sizes that a laptop affords; a page shows their phases and numbers, and runs none.
"""

from __future__ import annotations

import argparse
import html
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import trainphase as tp
from trainphase import catalog
from trainphase.explorer import document, entry, export, stored
from trainphase.phase import NOT_COMPUTED

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "_build" / "gallery"
# Systems that the page does not run, each as the diagram that is computed for it.
COMPUTED: dict[str, Callable[[], tp.Diagram]] = {
    "phase-retrieval": lambda: tp.diagram(
        "phase-retrieval", data="orthogonal", start="leading", n=8, d=16, c=2.0, seed=1,
        lr=tp.logspace(0.003, 0.3, 48), scale=tp.logspace(0.5, 2, 48), steps=1024, starts=2,
    ),
    "quadratic-net": lambda: tp.diagram(
        "quadratic-net", data="orthogonal", n=4, d=6, m=12, seed=1,
        lr=tp.logspace(0.3, 6, 32), scale=tp.logspace(0.5, 2, 32), steps=512, starts=1,
    ),
    "relu2": lambda: tp.diagram(
        "relu2", width="200,400,800", seed="0,1", gamma=tp.linspace(0.6, 1.4, 9), gamma_prime=tp.linspace(-0.4, 0.4, 7)
    ),
    "relu3": lambda: tp.diagram(
        "relu3", width="40,80,160", seed="0", gamma3=tp.linspace(1.0, 2.0, 6), gamma2=tp.linspace(-0.4, 0.4, 3)
    ),
    "mlp": lambda: tp.diagram(
        "mlp", n=16, width=8, depth=1, lr=tp.logspace(0.02, 2, 24), gain=tp.logspace(0.25, 4, 12), steps=1200
    ),
}  # fmt: skip
# Pictures of the live ones for the index: few points, of the plane that the page opens with.
POINTS = 40
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#16202a;background:#f6f8fa}"
    "ul{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1.2rem;list-style:none;padding:0}"
    "li a{display:block;color:inherit;text-decoration:none;background:#fff;padding:1rem}"
    "li a{border:1px solid #d5dbe1;border-radius:8px}"
    "li a:hover,li a:focus{border-color:#0b4f9c}svg{width:100%;height:auto;aspect-ratio:1;background:#dfe3e8}"
    "h2{font-size:1.1rem;margin:.6rem 0 .2rem}p{margin:0}small{color:#53606c}"
    "@media(prefers-color-scheme:dark){body{color:#e6eaee;background:#12171c}li a{background:#1b2229;border-color:#33404c}"
    "small{color:#9aa7b3}}"
)


def live_picture(name: str) -> tp.Diagram:
    """A small diagram of the plane that the page of a live system opens with."""
    told = document.live_system(name)
    axes = {
        a["name"]: (tp.logspace if a["scale"] == "log" else tp.linspace)(a["lo"], a["hi"], POINTS) for a in (told["x"], told["y"])
    }
    fixed = {p["name"]: p["value"] for p in told["parameters"] if p["value"] is not None and p["name"] not in axes}
    return tp.diagram(name, vocabulary=told["vocabulary"], steps=told["steps"], **axes, **fixed)


def picture(diagram: tp.Diagram) -> str:
    """The phases as an SVG without scripts: a rectangle for every stretch of a row with one colour."""
    codes, phases = diagram.codes, diagram.words.phases
    n, m = codes.shape
    out = []
    for j in range(m):
        edges = [0, *(np.flatnonzero(np.diff(codes[:, j])) + 1).tolist(), n]
        for left, right in itertools.pairwise(edges):
            if codes[left, j] != NOT_COMPUTED:
                colour = phases[codes[left, j]].colour
                out.append(f'<rect x="{left}" y="{m - 1 - j}" width="{right - left}" height="1" fill="{colour}"/>')
    box = f'viewBox="0 0 {n} {m}" preserveAspectRatio="none" shape-rendering="crispEdges" aria-hidden="true"'
    return f"<svg {box}>{''.join(out)}</svg>"


def index(cards: list[dict[str, Any]]) -> str:
    """The page that the diagrams are found from; no scripts, nothing fetched."""
    items = "\n".join(
        f'<li><a href="{c["file"]}">{c["picture"]}<h2>{html.escape(c["name"])}</h2><p>{html.escape(c["summary"])}</p>'
        f"<p><small>{html.escape(c['how'])}</small></p></a></li>"
        for c in cards
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        f'<link rel="icon" href="data:,"><title>Phase diagrams of training</title>\n<style>{STYLE}</style></head>\n'
        "<body><h1>Phase diagrams of training</h1>\n<p>One page for each system. Click a point to see its numbers, and its run "
        "where the page runs it; "
        f"drag, wheel and keys move in the diagram.</p>\n<ul>\n{items}\n</ul></body></html>\n"
    )


def write(folder: Path, only: list[str]) -> None:
    """All pages and the index."""
    folder.mkdir(parents=True, exist_ok=True)
    cards = []
    for name in only:
        info, begun = catalog.system(name), time.perf_counter()
        live = name in document.LIVE
        diagram = live_picture(name) if live else COMPUTED[name]()
        made = document.document((name,), title=name) if live else entry.alone([stored.of_diagram(diagram)], name)
        place = export.write(folder / f"{name}.html", made)
        points = " x ".join(str(len(a.values)) for a in diagram.drawn)
        how = "runs in the page" if live else f"{points} points, computed when the gallery was made"
        cards.append({"name": name, "summary": info.summary, "file": place.name, "picture": picture(diagram), "how": how})
        print(f"{place} ({place.stat().st_size / 1e3:.0f} kB, {time.perf_counter() - begun:.0f} s)", file=sys.stderr, flush=True)
    (folder / "index.html").write_text(index(cards), encoding="utf-8")
    print(folder / "index.html")


def main() -> None:
    """The command line."""
    known = [*document.LIVE, *COMPUTED]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--only", default=",".join(known), help=f"some of {', '.join(known)}")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        parser.error(f"--only has {wrong[0] if wrong else 'nothing'}; give some of {', '.join(known)}")
    write(given.folder, names)


if __name__ == "__main__":
    main()
