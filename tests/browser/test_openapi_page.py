"""The page to try predictions on request, in a real browser, over a real serve role."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from penstock.features.redis.store import connect
from tests.browser.accessible import barriers
from tests.browser.conftest import Watched
from tests.serving import Running, payment, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ASKED = {name: value for name, value in payment(200).items() if name != "fraud"}


@pytest.fixture(scope="module")
def served(browser: Browser, valkey_url: str) -> Iterator[Running]:
    client = connect(valkey_url)
    client.flushall()
    with serving(client) as made:
        yield made
    client.close()


def shown(page: Page, served: Running) -> Page:
    page.goto(f"{served.address}/docs")
    page.wait_for_function("document.getElementById('path').options.length > 0")
    return page


def test_its_form_asks_for_a_prediction_and_shows_the_answer(page: Page, served: Running) -> None:
    shown(page, served)
    assert page.title() == "Penstock: predictions on request"
    assert page.get_by_label("What to ask").input_value() == "POST /v1/pipelines/cards:predict"
    assert set(json.loads(page.get_by_label("Body").input_value())) == set(ASKED)
    page.get_by_label("Body").fill(json.dumps(ASKED))
    page.get_by_label("The rest of the address").fill("?explain=true")
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("status").get_by_text("200").wait_for()
    said = json.loads(page.locator("#answer").inner_text())
    assert said["id"] == "p200" and 0 <= said["prediction"] <= 1 and said["explanation"]["contributions"]


def test_what_cannot_be_answered_is_said_on_the_page(page: Page, served: Running, watched: Watched) -> None:
    watched.expected = ["status of 422"]
    shown(page, served)
    page.get_by_label("Body").fill(json.dumps({**ASKED, "amount": "<b>much</b>"}))
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("status").get_by_text("422").wait_for()
    assert "amount" in json.loads(page.locator("#answer").inner_text())["error"]
    assert page.locator("#answer b").count() == 0


def test_everything_that_can_be_asked_is_offered(page: Page, served: Running) -> None:
    shown(page, served)
    _, document = served.ask("GET", "/openapi.json")
    offered = [one.split(" - ")[0] for one in page.locator("#path option").all_inner_texts()]
    assert offered == [
        f"{verb.upper()} {path}" for path, verbs in document["paths"].items() for verb in verbs
    ]


def test_nothing_of_it_bars_anybody(page: Page, dark_page: Page, served: Running) -> None:
    assert barriers(shown(page, served)) == []
    assert barriers(shown(dark_page, served)) == []


def test_without_scripts_it_says_where_everything_is_described(
    page_without_scripts: Page, served: Running
) -> None:
    page_without_scripts.goto(f"{served.address}/docs")
    assert page_without_scripts.locator("noscript p").is_visible()
    address = page_without_scripts.get_by_role("link", name="openapi.json").get_attribute("href")
    assert served.ask("GET", f"/{address}")[1]["openapi"] == "3.1.0"
