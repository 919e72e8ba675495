"""How long the explorer's page takes, in a real browser: to open, to answer a click, to fill a plane.

    python benchmarks/explorer.py [--quick] [--chromium PATH] [--require]

Chromium is driven by Playwright. Seconds are those of the wall, since a person waits for them: run it on a machine that does
nothing else. The result goes to benchmarks/results/, which git ignores.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _machine import machine
from _results import place, print_requirements, span, write

from trainphase.explorer import bundle, document, export

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
import browser as real

CLICKS, PLANES, OPENINGS = 40, 5, 5
SIDE, STEPS = 640, 400


def opening(start: Any, address: str, count: int) -> dict[str, float]:
    """Seconds from asking for the page to a diagram on which a click works: a coarse one is drawn and hands are heard."""
    taken = []
    for _ in range(count):
        browser = start()
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        begin = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_function("() => window.trainphase && document.querySelector('main').dataset.state !== 'ready'")
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        taken.append(time.perf_counter() - begin)
        browser.close()
    return span(taken)


def clicks(start: Any, address: str, count: int) -> dict[str, dict[str, float]]:
    """Milliseconds from a click until its run is drawn, as Playwright sees it; and of the arithmetic, as the page does."""
    page, _ = real.opened(start(), f"{address}#system=quadratic-1d")
    box = page.locator("#diagram").bounding_box()
    rng, seen, own, drawn = random.Random(0), [], [], []
    for _ in range(count):
        x = box["x"] + box["width"] * (0.3 + 0.5 * rng.random())
        y = box["y"] + box["height"] * (0.25 + 0.35 * rng.random())
        before = page.evaluate("() => document.querySelector('main').dataset.drawnMs ?? ''")
        page.keyboard.press("Escape")
        begin = time.perf_counter()
        page.mouse.click(x, y)
        page.wait_for_function("b => document.querySelector('main').dataset.drawnMs !== b", arg=before)
        seen.append(1e3 * (time.perf_counter() - begin))
        drawn.append(float(page.evaluate("() => document.querySelector('main').dataset.drawnMs")))
        own.append(float(page.evaluate("() => document.querySelector('main').dataset.runMs")))
    return {"playwright": span(seen), "drawn": span(drawn), "arithmetic": span(own)}


def planes(start: Any, address: str, count: int) -> dict[str, Any]:
    """Seconds to complete a plane of 640 x 640 points at 400 steps in float64."""
    page, _ = real.opened(start(), f"{address}#system=quadratic-1d&size={SIDE}&steps={STEPS}")
    seconds = []
    for k in range(count):
        shift = 1e-3 * (k + 1)
        page.evaluate(f"() => window.trainphase.look([{-1.5 + shift}, {1.5 + shift}], [{shift}, {4 + shift}])")
        page.wait_for_timeout(50)
        real.complete(page)
        seconds.append(float(page.evaluate("() => document.querySelector('main').dataset.seconds")))
    points = page.evaluate("() => { const c = window.trainphase.codes(); return c.n * c.m; }")
    return {"seconds": span(seconds), "points": points, "workers": page.evaluate("() => navigator.hardwareConcurrency")}


def preview(start: Any, address: str) -> dict[str, Any]:
    """Milliseconds of a preview frame, with WebGL2 computed in software: a graphics card is faster."""
    page, _ = real.opened(start(gl=True), f"{address}#system=quadratic-1d&size={SIDE}&steps={STEPS}")
    if not page.evaluate("() => Boolean(document.createElement('canvas').getContext('webgl2'))"):
        return {"webgl2": False}
    taken = []
    for k in range(8):
        page.mouse.move(500, 400)
        page.mouse.wheel(0, -60)
        page.wait_for_timeout(250)
        value = page.evaluate("() => document.querySelector('main').dataset.previewMs")
        if value and k:
            taken.append(float(value))
        real.complete(page)
    return {"webgl2": True, "milliseconds": span(taken) if taken else None}


def sizes() -> dict[str, int]:
    """Bytes of the page without its document, as they are and packed by gzip as the server does."""
    text = bundle.page(document.document()).html
    bare = re.sub(r'(<script type="application/json"[^>]*>).*?(</script>)', r"\1\2", text, flags=re.DOTALL)
    return {"raw": len(bare.encode()), "gzip": len(gzip.compress(bare.encode(), 9)), "document": len(text) - len(bare)}


@contextmanager
def served() -> Iterator[str]:
    """The address of a server of the page."""
    command = [sys.executable, "-m", "trainphase", "explore", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield next(found.group() for line in process.stderr if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--require", action="store_true", help="exit code 3 when a requirement is not met")
    arguments = parser.parse_args()
    few = 3 if arguments.quick else 1
    with tempfile.TemporaryDirectory() as folder, served() as address, real.driver() as start:
        path = Path(folder) / "page.html"
        export.write(path, document.document())
        file = path.as_uri()
        result: dict[str, Any] = {
            "open_file": opening(start, file, OPENINGS // few), "open_server": opening(start, address, OPENINGS // few),
            "click": clicks(start, file, CLICKS // few), "plane": planes(start, file, PLANES // few),
            "preview": preview(start, file), "bytes": sizes(), "machine": machine(""),
        }  # fmt: skip
    needs = [
        {"what": "seconds to first use, from a file (1.5)", "value": result["open_file"]["median"], "most": 1.5},
        {"what": "seconds to first use, from the server (1.5)", "value": result["open_server"]["median"], "most": 1.5},
        {"what": "kB over the wire without data (60)", "value": result["bytes"]["gzip"] / 1000, "most": 60},
        {"what": "ms from click to drawn (100)", "value": result["click"]["playwright"]["median"], "most": 100},
        {"what": "ms of arithmetic of a click (5)", "value": result["click"]["arithmetic"]["median"], "most": 5},
        {"what": "seconds for 640 x 640 x 400 (1)", "value": result["plane"]["seconds"]["median"], "most": 1},
    ]
    if result["preview"].get("milliseconds"):
        needs.append({"what": "ms of a preview frame (100)", "value": result["preview"]["milliseconds"]["median"], "most": 100})
    for need in needs:
        need["met"] = need["value"] < need["most"]
    print_requirements(needs)
    for name, value in result.items():
        print(f"{name}: {value}")
    write(result | {"needs": needs}, place("explorer", arguments.quick))
    return 3 if arguments.require and not all(need["met"] for need in needs) else 0


if __name__ == "__main__":
    sys.exit(main())
