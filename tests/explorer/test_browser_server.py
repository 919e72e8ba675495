"""A stored diagram in a real browser, from the server that `trainphase explore` starts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser as real
import numpy as np
import pytest

import trainphase as tp


@pytest.fixture(scope="module")
def diagram(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A diagram and its store."""
    store = tmp_path_factory.mktemp("stored") / "net"
    z, T = tp.linspace(-2.6013, 2.5987, 41), tp.linspace(0.0013, 5.6, 33)
    return tp.diagram("linear-net", store=str(store), steps=400, vocabulary="edge", z=z, T=T)


@pytest.fixture(scope="module")
def address(diagram: Any) -> Iterator[str]:
    command = [sys.executable, "-m", "trainphase", "explore", diagram.store, "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = (re.search(r"http://127\.0\.0\.1:\d+/\S+/", line) for line in process.stderr)
            yield next(f.group() for f in found if f)
        finally:
            process.terminate()


def test_a_store_opens_with_its_own_labels_and_numbers(diagram: Any, address: str) -> None:
    with real.driver() as start:
        page, watch = real.opened(start(), address)
        state = page.evaluate("() => window.trainphase.state()")
        assert state["kind"] == "diagram"
        shares = page.evaluate("() => window.trainphase.shares()")
        assert shares, "the legend counts what is seen"
        box = page.locator("#diagram canvas").first.bounding_box()
        i, j = 22, 10  # a run that settles
        page.mouse.click(box["x"] + box["width"] * (i + 0.5) / 41, box["y"] + box["height"] * (1 - (j + 0.5) / 33))
        page.wait_for_selector("#panels svg")
        label = diagram.words.label(int(diagram.codes[i, j]))
        assert label in page.locator("#cards").text_content()
        # The curvature that the store holds at the point, to the digits that are shown.
        stored = float(diagram.dataset["curvature"].values[i, j])
        assert "trainphase run linear-net" in page.locator("#cards code").first.text_content()
        card = page.locator("#cards").text_content().replace("\u2212", "-")
        shown = [float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", card)]
        assert np.min(np.abs(np.asarray(shown) - stored)) <= 1e-5 * max(1.0, abs(stored)), (stored, shown)
        assert watch.foreign == []
        assert watch.complaints == []


def test_a_page_without_the_token_gets_nothing(address: str) -> None:
    with real.driver() as start:
        page = start().new_page()
        answer = page.goto(re.sub(r"(:\d+/).*", r"\1", address))
        assert answer.status == 404
        assert "trainphase-document" not in page.content()


def test_the_folder_of_the_store_is_not_served(diagram: Any, address: str) -> None:
    with real.driver() as start:
        page = start().new_page()
        name = Path(diagram.store).name
        for place in (f"{name}/zarr.json", f"../{name}/zarr.json", "%2e%2e/zarr.json", "api/diagram/0/../../zarr.json"):
            assert page.request.get(address + place).status in (400, 404), place
