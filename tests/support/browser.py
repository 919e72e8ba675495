"""A real browser for the tests of the explorer: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without these Chromium looks for updates and for its maker's hosts, which a closed network refuses many at a time.
QUIET = (
    "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--disable-dev-shm-usage",
)  # fmt: skip
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
NO_GL = ("--disable-gpu", "--disable-3d-apis")
# Only these are asked for by a page that keeps to its machine.
OWN = ("file:", "blob:", "data:", "about:")


def executable() -> str:
    """The browser's path; without one the test is left out, or fails where TRAINPHASE_TEST_BROWSER=required."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        words = "no Chromium was found; install the package chromium"
        if os.environ.get("TRAINPHASE_TEST_BROWSER") == "required":
            pytest.fail(words)
        pytest.skip(words)
    return found


@contextlib.contextmanager
def driver() -> Iterator[Callable[..., Any]]:
    """What starts browsers, ``start(gl=False)``: with WebGL2 computed in software, or without it."""
    sync = pytest.importorskip("playwright.sync_api")
    path = executable()
    with sync.sync_playwright() as playwright, contextlib.ExitStack() as stack:

        def start(gl: bool = False) -> Any:
            browser = playwright.chromium.launch(executable_path=path, args=[*QUIET, *(SOFTWARE_GL if gl else NO_GL)])
            stack.callback(browser.close)
            return browser

        yield start


class Watch:
    """What a page asked for and complained about."""

    def __init__(self, page: Any, *origins: str) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.origins = origins
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)

    @property
    def foreign(self) -> list[str]:
        """Requests that left the page's own origin."""
        return [url for url in self.requests if not url.startswith((*OWN, *self.origins))]


def opened(browser: Any, address: str, *, width: int = 1400, height: int = 900, **options: Any) -> tuple[Any, Watch]:
    """A new page at ``address`` in a context of its own, complete, and what it asks for."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    origin = () if address.startswith("file:") else ("/".join(address.split("/")[:3]),)
    watch = Watch(page, *origin)
    page.goto(address)
    complete(page)
    return page, watch


def complete(page: Any, timeout: float = 60_000) -> None:
    """Wait until the plane that is shown is computed to the last point."""
    page.wait_for_selector("main[data-state=complete]", timeout=timeout)
