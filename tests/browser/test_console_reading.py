"""The console's pages that read for themselves, in a real browser: features, predictions, dead letters, time travel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.stream.console.reading.servers import Servers
from penstock.stream.console.who.people import People
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from tests.browser.accessible import barriers
from tests.looked_at import LookedAt, looked_at
from tests.stream.console.acting import PASSWORD, password_file
from tests.stream.console.flowing import EVIL, flow_of, send_to, states_of
from tests.stream.generated import SENT
from tests.stream.naive_flow import everything

if TYPE_CHECKING:
    from playwright.sync_api import Page

BAD = [b"no json", EVIL.encode(), b"\xff\xfe\x00raw" * 20, b'{"parcel": "p1"}', b'{"parcel": "p2"}']
OF = "/pipelines/parcels"
PAGES = (
    "/features?view=depot&k0=d1&at=2023-12-20T12:00:00Z",
    "/features?view=street&k0=d1&k1=nowhere&at=noon",
    "/predictions",
    "/predictions?id=p900",
    "/predictions?id=nobody",
    "/dead-letters",
    "/dead-letters?offset=1",
    "/dead-letters?offset=2",
    "/dead-letters?republish=yes",
    "/time-travel",
    "/time-travel?position=1500&key=van3",
    "/time-travel?position=x",
)


@pytest.fixture(scope="module")
def flow(browser: Any) -> MemoryFlow:
    return flow_of(1_200, BAD)


@pytest.fixture
def console(flow: MemoryFlow, tmp_path: Path) -> Iterator[LookedAt]:
    servers = Servers(Settings(), log=flow.log, client=flow.server, send=send_to(flow.log))
    people = People(password_file(tmp_path), anonymous=True)
    states = states_of(flow.log, ["parcels"])
    with looked_at(
        states, {"parcels": flow.pipeline}, every_s=0.05, sources=servers, people=people, ask=[].append
    ) as made:
        made.tell([], "parcels")
        yield made


def said(page: Page, where: str = "main") -> str:
    return re.sub(r"\s+", " ", page.locator(where).inner_text())


def opened_all(page: Page, console: LookedAt, path: str) -> Page:
    page.goto(console.address + OF + path)
    page.get_by_role("status").get_by_text("● live").wait_for()
    for summary in page.locator("main summary").all():
        summary.click()
    return page


@pytest.mark.parametrize("path", PAGES)
def test_nothing_of_a_page_bars_anybody(opened: Callable[..., Page], console: LookedAt, path: str) -> None:
    for options in ({}, {"color_scheme": "dark"}, {"viewport": {"width": 320, "height": 700}}):
        page = opened_all(opened(**options), console, path)
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
        for one in page.locator("main a:visible, main button:visible, main summary:visible").all():
            box = one.bounding_box()
            assert box is not None and (
                box["height"] >= 24 or one.evaluate("e => e.closest('p, li') !== null")
            )


def test_without_scripts_each_form_does_what_it_says(page_without_scripts: Page, console: LookedAt) -> None:
    page = page_without_scripts
    page.goto(console.address + OF + "/features?view=depot")
    page.get_by_label("depot", exact=True).fill("d1")
    page.get_by_role("button", name="Look up").click()
    assert "depot d1, as of" in said(page)
    page.goto(console.address + OF + "/predictions")
    page.get_by_label("Event’s id").fill("p900")
    page.get_by_role("button", name="Look up").click()
    assert "Prediction p900" in said(page)
    page.goto(console.address + OF + "/time-travel")
    page.get_by_label("Or a position").fill("1500")
    page.get_by_role("button", name="Go there").nth(1).click()
    assert "The model at @1,500" in said(page)


def test_contributions_come_to_the_page_by_themselves(page: Page, console: LookedAt) -> None:
    page.goto(console.address + OF + "/predictions?id=p900")
    page.get_by_role("link", name="Work it out").click()
    for _ in range(200):
        if "add up to" in said(page):
            break
        console.tell([], "parcels")
        page.wait_for_timeout(100)
    assert "It is what was published." in said(page) and "in all" in said(page)


def test_moving_the_range_by_keys_goes_there_and_keeps_its_place(page: Page, console: LookedAt) -> None:
    page.goto(console.address + OF + "/time-travel?position=1500")
    scrub = page.locator("#scrub")
    scrub.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    wanted = page.locator("#scrubbed").inner_text()
    page.wait_for_url(re.compile(r"position=15\d\d$"))
    page.get_by_role("heading", name=f"The model at {wanted}").wait_for()
    assert page.evaluate("document.activeElement.id") == "scrub"


def test_letters_are_sent_back_by_the_keyboard_alone(page: Page, console: LookedAt, flow: MemoryFlow) -> None:
    before = len(everything(flow.log, SENT.name))
    page.goto(console.address + "/login?next=" + OF + "/dead-letters")
    page.get_by_label("Name").fill("omar")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Send these back").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What would be sent back").wait_for()
    assert barriers(page) == [] and len(everything(flow.log, SENT.name)) == before
    page.get_by_role("button", name="Yes, send").focus()
    page.keyboard.press("Enter")
    page.get_by_text("records were sent back").wait_for()
    assert barriers(page) == [] and len(everything(flow.log, SENT.name)) == before + len(BAD)
