"""Logging in and acting in a real browser: by keyboard, without scripts, for everybody, and not from another site's page."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.stream import topology
from penstock.stream.console.act.acts import ACTS
from penstock.stream.console.who.people import People
from penstock.stream.messages import OperatorRequest, encode_json
from tests.browser.accessible import barriers
from tests.browser.conftest import Watched
from tests.looked_at import LookedAt
from tests.patience import eventually
from tests.stream.console.acting import PASSWORD, password_file
from tests.stream.console.year import Line, lines_of, stepped
from tests.stream.generated import entries, parcels

if TYPE_CHECKING:
    from playwright.sync_api import Page

ACT = "/pipelines/parcels/act"


@pytest.fixture(scope="module")
def lines(browser: Any) -> list[Line]:
    return lines_of(parcels(), entries(6_000, invert=range(4_000, 6_000)))


class Acted(LookedAt):
    """A console from which people act; what they ask for is told to it, as the topic would."""

    sent: list[OperatorRequest]

    def ask(self, request: OperatorRequest) -> None:
        """Take a request."""
        self.sent.append(request)
        topic = topology.CONTROL_COMMANDS
        with self.console.reading.lock:
            self.states.step(
                topic, self.states.positions.get(topic, 0), request.wall_ms, encode_json(request)
            )


@pytest.fixture
def console(lines: list[Line], tmp_path: Path) -> Iterator[Acted]:
    sent: list[OperatorRequest] = []
    states = stepped(["parcels"], lines)

    def ask(request: OperatorRequest) -> None:
        made.ask(request)

    people = People(password_file(tmp_path), anonymous=True)
    made = Acted(states, {"parcels": parcels()}, every_s=0.05, people=people, ask=ask)
    made.sent = sent
    try:
        made.tell([], "parcels")
        yield made
    finally:
        made.end()


def log_in(page: Page, console: LookedAt, path: str = ACT, name: str = "omar") -> Page:
    page.goto(f"{console.address}/login?next={path}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(console.address + path)
    return page


def words(page: Page) -> str:
    return re.sub(r"\s+", " ", page.locator("body").inner_text())


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 320, "height": 700}}]
)
def test_nothing_bars_anybody_from_acting(
    opened: Callable[..., Page], console: Acted, options: dict[str, Any]
) -> None:
    page = opened(**options)
    page.goto(console.address + "/login")
    assert barriers(page) == []
    log_in(page, console, name="ada")
    once = "0" * 32
    for path in (
        ACT,
        *(f"{ACT}/{act}" for act in ACTS),
        f"{ACT}/rollback?once={once}&reason=pager",
        f"{ACT}/retrain?once={once}&reason=&from_position=x",
    ):
        page.goto(console.address + path)
        assert barriers(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        small = [
            one.evaluate("e => e.outerHTML")
            for one in page.locator("main a:visible, main button:visible, main input:visible, main select:visible").all()
            if (box := one.bounding_box()) is not None and box["height"] < 24
            and one.evaluate("e => getComputedStyle(e).display !== 'inline' && !['radio', 'checkbox'].includes(e.type)")
        ]  # fmt: skip
        assert small == [], path


def test_the_keyboard_alone_asks_for_a_hold_and_the_answer_arrives(page: Page, console: Acted) -> None:
    log_in(page, console)

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            found = page.evaluate(
                "[document.activeElement.textContent.trim(), document.activeElement.name || '']"
            )
            if name in found:
                return
        raise AssertionError(f"{name} is not reached by the keyboard")

    tab_to("Hold learning")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{ACT}/hold")
    tab_to("reason")
    page.keyboard.type("pager 4711")
    tab_to("Look at what it would do")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/hold\?"))
    assert "penstock hold parcels --reason 'pager 4711'" in words(page) and "What is suppressed" in words(
        page
    )
    tab_to("Yes, hold learning")
    page.keyboard.press("Enter")
    page.wait_for_url("**/asked/*")
    assert eventually(lambda: "omar asked to hold" in words(page))
    [request] = console.sent
    assert (request.verb, request.by, request.reason) == ("hold", "omar", "pager 4711")


def test_a_double_click_and_going_back_are_one_request(page: Page, console: Acted) -> None:
    log_in(page, console, f"{ACT}/accept")
    page.get_by_role("textbox", name="Why").fill("pager 4711")
    page.get_by_role("button", name="Look at what it would do").click()
    page.get_by_role("button", name="Yes, accept").dblclick()
    page.wait_for_url("**/asked/*")
    page.reload()
    page.go_back()
    page.get_by_role("button", name="Yes, accept").click()
    page.wait_for_url("**/asked/*")
    assert len(console.sent) == 1


def test_without_scripts_everything_can_be_asked_for(page_without_scripts: Page, console: Acted) -> None:
    page = log_in(page_without_scripts, console, f"{ACT}/rollback")
    page.get_by_role("textbox", name="Why").fill("worse since noon")
    page.get_by_label("Pin it").check()
    page.get_by_role("button", name="Look at what it would do").click()
    page.get_by_role("button", name="Yes, roll back").click()
    page.wait_for_url("**/asked/*")
    assert "omar asked to rollback" in words(page)
    assert console.sent[0].pin and console.sent[0].reason == "worse since noon"
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(console.address + ACT)
    assert "You are not logged in" in words(page)


def test_another_sites_page_cannot_ask_for_anything(page: Page, console: Acted, watched: Watched) -> None:
    """The other site is on another port of the same host: same-site, so that even a strict cookie would go along."""
    log_in(page, console)
    target = f"{console.address}{ACT}/hold"
    fields = f'<input name="reason" value="evil"><input name="once" value="{"0" * 32}">'
    body = f'<!doctype html><title>evil</title><form method="post" action="{target}">{fields}</form>'

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            return

    watched.expected = ["403", "404"]  # the refusal, and the icon that a browser looks for beside it
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        with page.expect_response(target) as answered:
            page.evaluate("document.forms[0].submit()")
        server.shutdown()
    assert answered.value.status == 403 and "This request is refused" in words(page)
    assert console.sent == []
    page.goto(console.address + ACT)
    assert "You are omar, operator" in words(page), "the cookie went on being good"


def test_a_wrong_password_is_said_and_what_was_asked_for_is_kept(
    page: Page, console: Acted, watched: Watched
) -> None:
    watched.expected = ["403"]
    page.goto(f"{console.address}/login?next={ACT}/hold")
    page.get_by_label("Name").fill("omar")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    assert "There is no such name, or the password is another one." in words(page)
    assert (
        page.get_by_label("Name").input_value() == "omar"
        and page.get_by_label("Password").input_value() == ""
    )
    assert barriers(page) == []
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{ACT}/hold")
