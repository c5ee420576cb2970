"""Pages stay live: what happens is shown without loading them again, also after the console's process was started anew."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Watched
from tests.browser.flown import NAME, Flown, live, said
from tests.browser.test_every_page import EVERY_PAGE
from tests.patience import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

WHILE_IT_IS_AWAY = [
    "ERR_CONNECTION_REFUSED",
    "ERR_INCOMPLETE_CHUNKED",
    "ERR_EMPTY_RESPONSE",
    "ERR_CONNECTION_RESET",
]


def read_to(page: Page) -> dict[str, int]:
    """How far the topics were read that a page is made of."""
    text = page.locator("body").get_attribute("data-position") or ""
    return {topic: int(offset) for topic, offset in re.findall(r"([\w.-]+):(\d+)", text)}


@EVERY_PAGE
def test_every_page_goes_on_by_itself(opened: Callable[..., Page], flights: Flown, name: str) -> None:
    page = live(opened(), flights, flights.places[name][0])
    page.evaluate("window.mine = 1")
    before = read_to(page)
    flights.command("promote", NAME, "--version", "nosuch", "--reason", "to see it refused")
    assert eventually(lambda: read_to(page).get("control.commands", 0) > before.get("control.commands", 0))
    assert page.evaluate("window.mine") == 1


def newest(flights: Flown) -> str:
    """Where the history's newest hour ends in the samples log, as pages write it."""
    return f"@{flights.json('history', NAME, '--by', 'hour')['series']['positions'][-1]:,}"


def test_a_days_events_are_shown_without_loading_the_page_again(
    opened: Callable[..., Page], flights: Flown
) -> None:
    pages = [live(opened(), flights, path) for path in ("/", f"/pipelines/{NAME}?span=7d")]
    drawn = "document.querySelectorAll('canvas').length"
    before = [said(page) for page in pages]
    for page in pages:
        page.evaluate("window.mine = 1")
    canvases = pages[1].evaluate(drawn)
    flights.publish_a_day()
    now = newest(flights)
    for page, earlier in zip(pages, before, strict=True):
        assert now not in earlier
        assert eventually(lambda page=page: now in said(page)), now  # type: ignore[misc]
        assert page.evaluate("window.mine") == 1
    assert pages[1].evaluate(drawn) == canvases > 0


def test_when_the_console_is_started_again_a_page_goes_on_at_its_position(
    page: Page, flights: Flown, watched: Watched
) -> None:
    watched.expected = WHILE_IT_IS_AWAY
    live(page, flights, f"/pipelines/{NAME}")
    page.evaluate("window.mine = 1")
    before, shown = read_to(page), page.locator("body").get_attribute("data-position")
    came_back: list[str] = []
    page.on("request", lambda one: came_back.append(str(one.all_headers().get("last-event-id") or one.url)))
    flights.stage.hide()
    page.get_by_role("status").get_by_text("not live").wait_for()
    flights.publish_a_day()
    now = newest(flights)
    assert now not in said(page)
    flights.show()
    assert eventually(lambda: now in said(page))
    after = read_to(page)
    assert page.evaluate("window.mine") == 1
    assert all(after[topic] >= offset for topic, offset in before.items() if topic != "looked")
    assert shown is not None and came_back
    topics = {topic: offset for topic, offset in before.items() if topic != "looked"}
    assert any(
        all(f"{topic}:{offset}" in asked.replace("%3A", ":") for topic, offset in topics.items())
        for asked in came_back
    )


@pytest.mark.parametrize("path", ["/", f"/pipelines/{NAME}"])
def test_a_role_that_ends_is_seen(page: Page, flights: Flown, path: str) -> None:
    live(page, flights, path)
    control = next(role for role in flights.stage.running if role.name == "control")
    control.stop()
    try:
        assert eventually(lambda: "nobody runs control" in said(page))
    finally:
        flights.begin_again("control")
    assert eventually(lambda: "nobody runs control" not in said(page))
