"""The explorer in a real browser, opened from a file: what is drawn, what hands and keys do, and what it asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser as real
import numpy as np
import pytest

from trainphase.explorer import document, export
from trainphase.phase import EDGE
from trainphase.theory import symmetric

LIVE = ("cubic", "quadratic-1d", "linear-net", "quadratic")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The live page, in one file."""
    path: Path = tmp_path_factory.mktemp("page") / "live.html"
    export.write(path, document.document())
    return path.as_uri()


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Any]]:
    """Starts a browser."""
    with real.driver() as start:
        yield start


@pytest.fixture(scope="module")
def chromium(start: Callable[..., Any]) -> Any:
    """A browser without WebGL2."""
    return start()


def face(page: Any, call: str) -> Any:
    """What the page's read-only face for tests says."""
    return page.evaluate(f"() => window.trainphase.{call}")


def plane(page: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (rows upwards in y), xs and ys of what is shown."""
    got = page.evaluate(
        "() => { const c = window.trainphase.codes();"
        " return {n: c.n, m: c.m, codes: [...c.codes], xs: [...c.xs], ys: [...c.ys]}; }"
    )
    return np.asarray(got["codes"], np.uint8).reshape(got["m"], got["n"]), np.asarray(got["xs"]), np.asarray(got["ys"])


@pytest.mark.parametrize("system", LIVE)
def test_every_live_system_draws_without_asking_anyone(chromium: Any, address: str, system: str) -> None:
    page, watch = real.opened(chromium, f"{address}#system={system}&size=96")
    codes, _, _ = plane(page)
    # 255 is what no kernel has answered; points without a run have it, too, but never a whole plane.
    assert np.mean(codes == 255) < 0.75
    assert len(np.unique(codes[codes != 255])) >= 2, "a plane of one phase shows nothing"
    assert watch.foreign == []
    assert watch.complaints == []
    page.context.close()


def test_a_click_runs_the_point_and_a_second_one_compares(chromium: Any, address: str) -> None:
    page, watch = real.opened(chromium, f"{address}#system=linear-net&size=64&steps=400")
    box = page.locator("#diagram").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.7 * box["height"])
    page.wait_for_selector("#panels svg")
    paths = page.locator("#panels .plot-line.run-a").count()
    assert paths == 2, "loss and curvature of run A"
    assert page.locator("#panels .plot-states.run-a").count() >= 1
    page.mouse.click(box["x"] + 0.45 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_selector("#panels .plot-line.run-b")
    state = face(page, "state()")
    assert state["a"] is not None and state["b"] is not None and state["a"] != state["b"]
    assert watch.complaints == []
    page.context.close()


def test_deep_zoom_on_the_exact_line_stays_straight_and_in_its_place(chromium: Any, address: str) -> None:
    """The divergence line T = 4 + E z / 2 of the linear net, in a view 1e-9 wide, from float64 and nothing less."""
    y = 0.1
    z = 0.3137
    T = float(symmetric.divergence_line(np.asarray(z), 2 * y))
    width = 1e-9
    where = f"x=z:{z - width / 2!r}:{z + width / 2!r}&y=T:{T - width / 2!r}:{T + width / 2!r}"
    # The label at the line needs as many steps as digits: at a distance of 1e-11 an orbit leaves like 1.x^steps.
    page, _ = real.opened(chromium, f"{address}#system=linear-net&p.y={y}&phases=edge&{where}&size=64&steps=4000")
    codes, xs, ys = plane(page)
    divergent = codes == EDGE.index("divergent")
    assert divergent.any() and not divergent.all()
    # In each column the boundary between the last row that stays and the first that leaves.
    first = np.array([np.argmax(column) if column.any() else -1 for column in divergent.T])
    assert (first > 0).all()
    assert all(column[k:].all() for k, column in zip(first, divergent.T, strict=True)), "one boundary a column"
    at = 0.5 * (ys[first] + ys[first - 1])
    # Rows are 1.6e-11 apart; rounding of an orbit near T = 4 adds some eps * 4 a step, 1e-15, far less.
    assert np.max(np.abs(at - symmetric.divergence_line(xs, 2 * y))) <= 1.0 * (ys[1] - ys[0])
    page.context.close()


def test_a_link_restores_the_same_picture_in_another_browser(chromium: Any, start: Callable[..., Any], address: str) -> None:
    page, _ = real.opened(chromium, f"{address}#system=quadratic-1d&size=96")
    face(page, "look([-0.4, 0.7], [1.2, 3.1])")
    page.wait_for_function("() => Math.abs(window.trainphase.view().x.lo + 0.4) < 1e-12")
    real.complete(page)
    face(page, "select(0.11, 2.3)")
    link, seen, state = face(page, "address()"), plane(page), face(page, "state()")
    second, _ = real.opened(start(), link)
    again = plane(second)
    assert face(second, "state()") == state
    for a, b in zip(seen, again, strict=True):
        np.testing.assert_array_equal(a, b)
    # The layer of the labels, pixel by pixel.
    pixels = "() => document.querySelector('#diagram canvas').toDataURL()"
    assert page.evaluate(pixels) == second.evaluate(pixels)
    page.context.close()


def test_by_keyboard_alone(chromium: Any, address: str) -> None:
    page, watch = real.opened(chromium, f"{address}#system=quadratic-1d&size=64")
    page.locator("#diagram").focus()
    before = face(page, "view()")
    for key in ("ArrowRight", "Shift+ArrowUp", "ArrowLeft", "Shift+ArrowRight"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.wait_for_selector("#panels svg")
    reading = face(page, "reading()")
    assert reading, "what was read of the point"
    # A screen reader is told once the keys rest.
    page.wait_for_function("words => words.some(w => document.getElementById('live').textContent.includes(w))",
                           arg=list(EDGE.labels))  # fmt: skip
    page.keyboard.press("+")
    page.wait_for_function("w => { const v = window.trainphase.view().x; return v.hi - v.lo < 0.6 * w; }",
                           arg=before["x"]["hi"] - before["x"]["lo"])  # fmt: skip
    page.keyboard.press("z")
    page.wait_for_function("lo => window.trainphase.view().x.lo === lo", arg=before["x"]["lo"])
    page.keyboard.press("c")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    assert watch.complaints == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(chromium: Any, address: str, scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page, _ = real.opened(chromium, f"{address}#system=linear-net&size=64&a=0.1:3.2", color_scheme=scheme)
    page.wait_for_selector("#panels svg")
    found = axe.Axe().run(page).response["violations"]
    grave = [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in found if v["impact"] in ("serious", "critical")]
    assert grave == []
    page.context.close()


@pytest.mark.parametrize("width", [1400, 420, 360])
def test_nothing_sticks_out_at_any_width(chromium: Any, address: str, width: int) -> None:
    page, _ = real.opened(chromium, f"{address}#system=linear-net&size=64&a=0.1:3.2", width=width)
    page.wait_for_selector("#panels svg")
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width
    # Entries of the legend are seen whole, and none lies over another.
    boxes = page.evaluate(
        "() => [...document.querySelectorAll('#legend li')].map(e => { const b = e.getBoundingClientRect();"
        " return [b.left, b.top, b.right, b.bottom, e.scrollWidth - e.clientWidth]; })"
    )
    assert boxes and all(left >= 0 and right <= width and over <= 1 for left, _, right, _, over in boxes)
    for k, (left, top, right, bottom, _) in enumerate(boxes):
        for other in boxes[k + 1 :]:
            apart = right <= other[0] + 1 or other[2] <= left + 1 or bottom <= other[1] + 1 or other[3] <= top + 1
            assert apart, (boxes[k], other)
    page.context.close()


def test_plots_end_where_the_run_ends(chromium: Any, address: str) -> None:
    """A run that escapes has no more points than steps: the panel's axis ends with it."""
    page, _ = real.opened(chromium, f"{address}#system=linear-net&size=64&p.y=0&a=0.5:6.0&steps=400&y=T:0:8")
    page.wait_for_selector("#panels svg")
    reading = face(page, "reading()")
    assert "divergent" in json.dumps(reading)
    path = page.locator("#panels .plot-line.run-a").first.get_attribute("d")
    places = [float(pair.split(" ")[0]) for pair in path[1:].split("L")]
    frame = page.locator("#panels .plot-frame").first
    right = float(frame.get_attribute("x")) + float(frame.get_attribute("width"))
    # The last point lies at the right edge of its frame, to the hundredth of a pixel that paths are written with.
    assert abs(places[-1] - right) < 0.02
    assert page.locator("#panels .plot-end.run-a").count() >= 1, "a cross where the run left"
    page.context.close()


def test_without_and_with_webgl_the_same_phases_stand(chromium: Any, start: Callable[..., Any], address: str) -> None:
    where = f"{address}#system=quadratic-1d&size=96"
    page, _ = real.opened(chromium, where)
    plain = plane(page)
    page.context.close()
    second, watch = real.opened(start(gl=True), where)
    if not second.evaluate("() => Boolean(document.createElement('canvas').getContext('webgl2'))"):
        pytest.skip("this browser has no WebGL2, not even in software")
    np.testing.assert_array_equal(plane(second)[0], plain[0])
    assert watch.complaints == []
