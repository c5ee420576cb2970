"""The console's first pages in a real browser: what they say, live or not, by keyboard, by screen reader, on any screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from penstock.stream.operate.status_lines import as_text
from tests.browser.accessible import barriers
from tests.browser.conftest import Watched
from tests.looked_at import LookedAt, looked_at
from tests.patience import eventually
from tests.stream.console.year import Line, lines_of, stepped
from tests.stream.generated import entries, parcels

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = ("/", "/pipelines/parcels?span=all")
LIVE = "● live"


@pytest.fixture(scope="module")
def lines(browser: Any) -> list[Line]:
    return lines_of(parcels(), entries(9_000, invert=range(6_000, 9_000)))


@pytest.fixture
def console(lines: list[Line]) -> Iterator[LookedAt]:
    """Most of the stretch; the rest is for tests to tell."""
    states = stepped(["parcels"], lines[:-60])
    with looked_at(states, {"parcels": parcels()}, every_s=0.05) as made:
        made.tell([], "parcels")
        yield made


def live(page: Page, console: LookedAt, path: str) -> Page:
    page.goto(console.address + path)
    page.get_by_role("status").get_by_text(LIVE).wait_for()
    return page


def said(page: Page, where: str = "main") -> str:
    return re.sub(r"\s+", " ", page.locator(where).inner_text())


def status_lines(console: LookedAt) -> list[str]:
    status = console.states.pipelines["parcels"].status
    assert status is not None
    return [re.sub(r"\s+", " ", line) for line in as_text(status)]


@pytest.mark.parametrize("path", PAGES)
def test_nothing_of_a_page_bars_anybody(opened: Callable[..., Page], console: LookedAt, path: str) -> None:
    for options in ({}, {"color_scheme": "dark"}, {"viewport": {"width": 320, "height": 700}}):
        page = live(opened(**options), console, path)
        for summary in page.locator("main summary").all():
            summary.click()
        assert barriers(page) == []


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [320, 768, 1280, 3840])
def test_a_page_fits_its_screen(
    opened: Callable[..., Page], console: LookedAt, path: str, width: int
) -> None:
    page = live(opened(viewport={"width": width, "height": 900}), console, path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_targets_are_large_enough_to_hit(page: Page, console: LookedAt) -> None:
    for path in PAGES:
        live(page, console, path)
        for one in page.locator("a:visible, button:visible, summary:visible").all():
            box = one.bounding_box()
            assert box is not None and (box["height"] >= 24 or one.get_attribute("class") == "skip"), (
                one.inner_text()
            )


def test_charts_are_drawn_and_are_the_tables_figures(page: Page, console: LookedAt) -> None:
    live(page, console, PAGES[1])
    for name in ("losses", "weights", "timeline"):
        assert page.locator(f'[data-chart="{name}"] canvas').count() == 1
        table = page.locator(f"#live_table_{name} tbody tr")
        assert table.count() > (0 if name == "timeline" else 3) and not table.first.is_visible()
        page.locator(f'details[data-key="{name}"] summary').click()
        assert table.first.is_visible()


def test_what_happens_is_shown_without_loading_the_page_again(
    page: Page, console: LookedAt, lines: list[Line]
) -> None:
    live(page, console, PAGES[1])
    page.evaluate("window.mine = 1")
    before = page.locator("body").get_attribute("data-position")
    console.tell(lines[-60:], "parcels")
    assert eventually(lambda: all(line in said(page) for line in status_lines(console)))
    assert page.evaluate("window.mine") == 1
    after = page.locator("body").get_attribute("data-position")
    assert before != after == console.console.position("parcels")
    newest = console.states.pipelines["parcels"].past.blocks[-1]
    assert f"@{newest.position:,}" in said(page)


def test_what_is_open_and_in_focus_stays_so_when_a_part_is_drawn_anew(
    page: Page, console: LookedAt, lines: list[Line]
) -> None:
    live(page, console, PAGES[1])
    page.locator('details[data-key="losses"] summary').click()
    page.locator("#live_lines pre").focus()
    console.tell(lines[-60:], "parcels")
    assert eventually(lambda: all(line in said(page) for line in status_lines(console)))
    assert page.locator("#live_table_losses tbody tr").first.is_visible()
    assert page.evaluate("document.activeElement.closest('#live_lines') !== null")


def test_a_paused_page_stands_still_and_then_goes_on_where_it_was(
    page: Page, console: LookedAt, lines: list[Line]
) -> None:
    live(page, console, PAGES[1])
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("status").get_by_text("paused at").wait_for()
    before = said(page)
    console.tell(lines[-60:], "parcels")
    page.wait_for_timeout(500)
    assert said(page) == before
    page.get_by_role("button", name="Go on").click()
    assert eventually(lambda: all(line in said(page) for line in status_lines(console)))


def test_when_the_console_is_started_again_the_page_goes_on_at_its_position(
    page: Page, console: LookedAt, lines: list[Line], watched: Watched
) -> None:
    watched.expected = [
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
    ]
    live(page, console, PAGES[1])
    page.evaluate("window.mine = 1")
    console.end()
    page.get_by_role("status").get_by_text("not live").wait_for()
    # It begins to read again, and is not as far as the page.
    console.states = stepped(["parcels"], lines[:-100])
    console.states.caught_up = False
    before = said(page)
    console.begin()
    page.get_by_role("status").get_by_text(LIVE).wait_for()
    page.wait_for_timeout(300)
    assert said(page) == before, "it shows nothing older than it has shown"
    console.tell(lines[-100:], "parcels")
    console.states.caught_up = True
    assert eventually(lambda: all(line in said(page) for line in status_lines(console)))
    assert page.evaluate("window.mine") == 1


def test_without_scripts_a_page_says_the_same(page_without_scripts: Page, console: LookedAt) -> None:
    page = page_without_scripts
    page.goto(console.address + PAGES[1])
    assert all(line in said(page) for line in status_lines(console))
    assert page.locator("noscript p").is_visible()
    assert page.locator(".plot:visible, button:visible").count() == 0
    page.locator('details[data-key="losses"] summary').click()
    assert page.locator("#live_table_losses tbody tr").first.is_visible()
    page.get_by_role("link", name="Overview").click()
    assert "parcels" in said(page)


def test_the_keyboard_alone_reaches_everything(page: Page, console: LookedAt) -> None:
    live(page, console, PAGES[1])
    wanted = page.locator("a[href]:visible, button:visible, summary:visible, [tabindex='0']:visible").count()
    reached: list[str] = []
    for _ in range(wanted + 10):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "(() => { const e = document.activeElement; return e === document.body ? '' : "
            "e.tagName + ':' + (e.textContent || '').slice(0, 30) + ':' + getComputedStyle(e).outlineStyle })()"
        )
        if found:
            reached.append(found)
    assert reached[0].startswith("A:Skip to the content")
    assert len(set(reached)) >= wanted - 3, "some say the same"
    assert all(one.endswith(":solid") for one in reached), "focus is seen"
    page.keyboard.press("Shift+Tab")


def test_a_thousand_changes_a_second_do_not_grow_the_page(page: Page, console: LookedAt) -> None:
    live(page, console, PAGES[1])
    session = page.context.new_cdp_session(page)

    def heap() -> int:
        session.send("HeapProfiler.collectGarbage")
        return int(session.send("Runtime.getHeapUsage")["usedSize"])

    def churn(seconds: int) -> None:
        for _ in range(seconds * 10):
            with console.console.reading.lock:
                for _ in range(100):
                    state = console.states.pipelines["parcels"]
                    state.looked_ms += 1_000
                    state.revision += 1
            page.wait_for_timeout(100)

    churn(2)
    before = heap()
    churn(6)
    assert heap() - before < 1_500_000, (before, heap())
