"""A real browser for the tests of this folder. `make test-console` installs what drives it, and runs them.

Laws of this folder:
- No page asks anything of anywhere but this machine, writes an error to its console or lets one escape: whoever opens a page here
  is told at the end of the test, without asking for it. What a test provokes it names (`Watched.expected`).
- Nothing here is about how long anything takes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.flown import Flown, NoBroker, flown
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAM = os.environ.get("PENSTOCK_TEST_BROWSER")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-sync", "--no-first-run",
    "--no-default-browser-check", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
_HERE = re.compile(r"(http|https|ws|wss)://127\.0\.0\.1(:\d+)?/|(data|blob|about):")


@pytest.fixture(scope="session")
def flights(browser: Browser) -> Iterator[Flown]:
    """The flights over a real broker, with the incident running; skipped where there is no browser or no broker."""
    try:
        with flown() as made:
            yield made
    except NoBroker as error:
        _missing(str(error))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; every page is in a profile of its own."""
    if PROGRAM is None:
        pytest.skip(
            "no browser is asked for: PENSTOCK_TEST_BROWSER names its program, as `make test-console` does"
        )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed: pip install '.[browser]', as `make test-console` does")
    if not Path(PROGRAM).is_file():
        _missing(
            "there is no Chromium: apt-get install chromium, or set CHROMIUM=/path/to/it for `make test-console`"
        )
    with sync_playwright() as driver:
        made = driver.chromium.launch(
            executable_path=PROGRAM, args=ARGUMENTS, chromium_sandbox=False, timeout=PATIENCE_S * 1000
        )
        yield made
        made.close()


def _missing(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


class Watched:
    """What went wrong on the pages of one test. `expected` are patterns of what the test provokes."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.expected: list[str] = []

    def watch(self, page: Page) -> None:
        """Note from now on what this page does wrong."""
        page.on("request", lambda asked: self._request(asked.url))
        page.on("websocket", lambda opened: self._request(opened.url))
        page.on("pageerror", lambda error: self.found.append(f"an error escaped: {error}"))
        page.on("console", lambda said: self._console(said.type, said.text))

    def _request(self, url: str) -> None:
        if not _HERE.match(url):
            self.found.append(f"a request to elsewhere: {url}")

    def _console(self, kind: str, text: str) -> None:
        if kind == "error":
            self.found.append(f"the console says: {text}")

    def left(self) -> list[str]:
        """What nobody expected."""
        return [one for one in self.found if not any(re.search(known, one) for known in self.expected)]


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Fails the test whose pages did what no page may."""
    found = Watched()
    yield found
    assert not found.left()


@pytest.fixture
def opened(browser: Browser, watched: Watched) -> Iterator[Callable[..., Page]]:
    """Opens pages: `opened(color_scheme="dark", java_script_enabled=False, viewport=…)`, as playwright's contexts take them."""
    contexts = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_S * 1000)
        context.on("page", watched.watch)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    """A page as most people have it."""
    return opened()


@pytest.fixture
def dark_page(opened: Callable[..., Page]) -> Page:
    """A page of somebody who prefers dark."""
    return opened(color_scheme="dark")


@pytest.fixture
def page_without_scripts(opened: Callable[..., Page]) -> Page:
    """A page whose scripts do not run."""
    return opened(java_script_enabled=False)
