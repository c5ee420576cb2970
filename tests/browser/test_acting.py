"""Acts in a real browser, over real roles: by keyboard alone, carried out and shown, and refused to whoever may not."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from penstock.stream import topology
from penstock.stream.console.act.acts import ACTS
from tests.browser.conftest import Watched
from tests.browser.flown import NAME, PASSWORD, Flown, live, said
from tests.patience import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

FIELDS = {"version": "v0", "from_position": "50000", "window": "7d"}
MOST_TABS = 60


def asked_so_far(flights: Flown) -> int:
    """How many requests there are."""
    place = (topology.CONTROL_COMMANDS, 0)
    return flights.log.bounds([place])[place][1]


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until this has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("one => document.activeElement.matches(one)", selector):
            return
    raise AssertionError(f"Tab does not come to {selector}")


def log_in(page: Page, flights: Flown, name: str, path: str) -> None:
    """Log in by keyboard, coming from a page."""
    live(page, flights, path)
    tab_to(page, "a[href^='/login']")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/login"))
    tab_to(page, "#name")
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{flights.address}{path}")


def fill(page: Page, reason: str, fields: dict[str, str]) -> None:
    """Fill an act's form in by keyboard, and look at what it would do."""
    for name, value in fields.items():
        tab_to(page, f"#{name}")
        page.keyboard.type(value)
    tab_to(page, "#reason")
    page.keyboard.type(reason)
    tab_to(page, "main button[type=submit]")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Step 2 of 3: what it would do").wait_for()


def test_the_keyboard_alone_reaches_every_act(page: Page, flights: Flown) -> None:
    log_in(page, flights, "ada", f"/pipelines/{NAME}/act")
    before = asked_so_far(flights)
    for act in ACTS.values():
        live(page, flights, f"/pipelines/{NAME}/act")
        tab_to(page, f"main a[href$='/act/{act.name}']")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/act/{act.name}")
        if "waits" in act.fields:
            assert "Nothing waits for approval" in said(page)
            continue
        wanted = [one for one in act.fields if one in FIELDS and act.name in ("promote", "pin")]
        fill(page, "to see it", {one: FIELDS[one] for one in wanted})
        assert f"penstock {act.verb} {NAME}" in said(page) and "What happens" in said(page)
        if act.name == "resume":
            assert "there is nothing to resume" in said(page) and page.locator("button.sure").count() == 0
        else:
            tab_to(page, "button.sure")
    assert asked_so_far(flights) == before, "looking asks for nothing"


def test_an_act_is_asked_for_by_keyboard_carried_out_and_shown_everywhere(
    opened: Callable[..., Page], flights: Flown
) -> None:
    page, other, overview = opened(), opened(), opened()
    live(other, flights, f"/pipelines/{NAME}").evaluate("window.mine = 1")
    live(overview, flights, "/").evaluate("window.mine = 1")
    log_in(page, flights, "omar", f"/pipelines/{NAME}/act/hold")
    fill(page, "tried by a test", {})
    tab_to(page, "button.sure")
    page.keyboard.press("Enter")
    page.wait_for_url("**/asked/*")
    assert eventually(lambda: "carried out" in said(page) and "omar asked to hold" in said(page))
    assert eventually(
        lambda: f"learning is held: penstock resume {NAME}" in str(flights.json("status", NAME)["wrong"])
    )
    # Whoever looks at another page sees it, too, without loading it again.
    assert eventually(lambda: "learning is held" in said(other) and "learning is held" in said(overview))
    assert other.evaluate("window.mine") == 1 == overview.evaluate("window.mine")
    live(page, flights, f"/pipelines/{NAME}/act/resume")
    fill(page, "tried enough", {})
    tab_to(page, "button.sure")
    page.keyboard.press("Enter")
    page.wait_for_url("**/asked/*")
    assert eventually(lambda: "carried out" in said(page))
    assert eventually(lambda: "learning is held" not in str(flights.json("status", NAME)["wrong"]))
    assert eventually(
        lambda: "learning is held" not in said(overview) and "learning is held" not in said(other)
    )


@pytest.fixture
def elsewhere(flights: Flown) -> Iterator[str]:
    """The address of another site's page, whose form asks the console for a hold as soon as it is opened."""
    form = (
        f"<form method=post action='{flights.address}/pipelines/{NAME}/act/hold'>"
        "<input name=reason value=forged><input name=once value=forged></form><button>a prize</button>"
        "<script>document.querySelector('button').onclick = () => document.forms[0].submit()</script>"
    ).encode()

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(form)

        def log_message(self, *_: object) -> None:
            pass

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{site.server_address[1]}/"
    site.shutdown()
    site.server_close()


def test_a_post_that_another_site_forges_is_refused(
    page: Page, flights: Flown, elsewhere: str, watched: Watched
) -> None:
    watched.expected = ["status of 40[34]"]
    log_in(page, flights, "omar", f"/pipelines/{NAME}")
    before = asked_so_far(flights)
    page.goto(elsewhere)
    with page.expect_navigation() as went:
        page.get_by_role("button").click()
    answer = went.value
    assert answer is not None and answer.status == 403 and answer.url.startswith(flights.address)
    assert "comes from elsewhere" in said(page, "body")
    assert asked_so_far(flights) == before


@pytest.mark.parametrize("name", ["vera", ""])
def test_a_viewers_post_is_refused(page: Page, flights: Flown, watched: Watched, name: str) -> None:
    watched.expected = ["status of 40[13]"]
    if name:
        log_in(page, flights, name, f"/pipelines/{NAME}/act/hold")
    live(page, flights, f"/pipelines/{NAME}/act/hold")
    before = asked_so_far(flights)
    fill(page, "I may not", {})
    assert page.locator("button.sure").count() == 0, "what is not allowed is not offered"
    answer = page.evaluate(
        """async () => { const found = await fetch(location.pathname, { method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'reason=mine&once=one' });
        return [found.status, await found.text()]; }"""
    )
    assert answer[0] == 403 and "it takes an operator" in answer[1]
    assert asked_so_far(flights) == before
