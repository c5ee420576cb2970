"""Every page that the console has, over the flights with the incident running: found by following links, so new ones, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from penstock.stream.console.app import table
from tests.browser.accessible import barriers, reached
from tests.browser.flown import Flown, live

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = [page.name for page in table()]
EVERY_PAGE = pytest.mark.parametrize("name", PAGES)
NARROW = {"width": 320, "height": 700}


def unfold(page: Page) -> None:
    """Open everything that can be opened."""
    for summary in page.locator("main summary").all():
        summary.click()


@EVERY_PAGE
def test_every_page_can_be_come_upon(flights: Flown, name: str) -> None:
    assert flights.places[name], (
        f"no page links to {name}: link it, or name an address of it in tests/browser/flown.py"
    )


def test_no_link_leads_nowhere(flights: Flown) -> None:
    assert flights.places and flights.broken == []


@EVERY_PAGE
def test_no_page_bars_anybody(opened: Callable[..., Page], flights: Flown, name: str) -> None:
    for place in flights.some(name):
        page = live(opened(), flights, place)
        unfold(page)
        assert barriers(page) == []
        page.emulate_media(color_scheme="dark")
        assert barriers(page, colours_alone=True) == []


@EVERY_PAGE
def test_every_page_fits_a_phone(opened: Callable[..., Page], flights: Flown, name: str) -> None:
    page = opened(viewport=NARROW)
    for place in flights.some(name):
        live(page, flights, place)
        unfold(page)
        wide = page.evaluate(
            "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 "
            "&& !one.closest('.scroll, .plot, .hidden')).map((one) => one.outerHTML.slice(0, 120))"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], wide


@EVERY_PAGE
def test_the_keyboard_alone_reaches_everything_on_every_page(page: Page, flights: Flown, name: str) -> None:
    for place in flights.some(name):
        live(page, flights, place)
        page.get_by_role("button", name="Pause").click()  # what is drawn anew meanwhile is another element
        found = reached(page)
        assert found.missed == [] and found.unseen == [] and found.covered == [], place


@EVERY_PAGE
def test_every_page_reads_without_scripts(
    page: Page, page_without_scripts: Page, flights: Flown, name: str
) -> None:
    plain = page_without_scripts
    for place in flights.some(name):
        plain.goto(flights.address + place)
        live(page, flights, place)
        headings = "main h1, main h2, main h3"
        assert plain.locator(headings).all_inner_texts() == page.locator(headings).all_inner_texts()
        for chart in page.locator("[data-chart]").all():
            drawn = chart.get_attribute("data-chart")
            assert plain.locator(f'[data-chart="{drawn}"]:visible').count() == 0
            assert plain.locator(f"#live_table_{drawn} table, #table_{drawn} table").count() == 1, (
                f"{drawn} has no table"
            )
        # What only a script could do is not offered; what a form sends, is.
        for button in plain.locator("button:visible").all():
            assert button.evaluate("one => one.form !== null && one.type === 'submit'"), button.inner_html()
        assert plain.locator("nav a").count() >= 1
