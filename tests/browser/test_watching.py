"""What every page of this folder is held to is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.accessible import barriers
from tests.browser.conftest import Watched

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_request_to_elsewhere_is_noticed_and_reaches_nobody(page: Page, watched: Watched) -> None:
    watched.expected = ["elsewhere", "ERR_NAME_NOT_RESOLVED"]
    page.set_content('<img src="http://fonts.example.org/a.png">')
    page.wait_for_function("document.images[0].complete")
    assert "a request to elsewhere: http://fonts.example.org/a.png" in watched.found
    assert page.evaluate("document.images[0].naturalWidth") == 0


def test_an_error_that_escapes_and_one_in_the_console_are_noticed(page: Page, watched: Watched) -> None:
    watched.expected = ["provoked"]
    page.set_content("<script>console.error('provoked here'); throw new Error('provoked there')</script>")
    assert watched.found == ["the console says: provoked here", "an error escaped: provoked there"]


def test_what_bars_people_is_noticed(page: Page) -> None:
    page.set_content('<html lang="en"><title>a</title><main><h1>a</h1><img src="data:,"></main></html>')
    assert [one.split(" ")[0] for one in barriers(page)] == ["image-alt"]
