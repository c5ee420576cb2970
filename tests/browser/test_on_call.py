"""The first minute of somebody on call, from the overview alone: what is wrong, since when, what is done, what undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.flown import NAME, PASSWORD, Flown, live, said
from tests.patience import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

MOST_CLICKS = 6


class Hand:
    """Somebody with a mouse, who counts clicks."""

    def __init__(self, page: Page) -> None:
        self.page, self.clicks = page, 0

    def click(self, role: str, name: str) -> None:
        """Click what is called so."""
        self.page.get_by_role(role, name=name).first.click()  # type: ignore[arg-type]
        self.clicks += 1


def test_the_first_minute_of_somebody_on_call(page: Page, flights: Flown) -> None:
    live(page, flights, "/")
    hand = Hand(page)
    # What is wrong is said before anything is clicked, and since when.
    first = said(page)
    assert "something is wrong in 1 of 1 pipeline" in first
    assert "range of dep_delay is firing" in first and "firing since 13 May 2013 09:08" in first
    hand.click("link", NAME)
    page.wait_for_url(f"**/pipelines/{NAME}")
    pipeline = said(page)
    assert "critical range of dep_delay, firing since 13 May 2013 09:08" in pipeline
    assert "a model that leaves them out takes part, and labels decide which is believed" in pipeline
    assert "a copy that leaves out values outside their range" in pipeline, "what is being done"
    assert "carrier UA has 100% of it" in pipeline, "where it is"
    assert "What it will do next" in pipeline
    # The story, and what it cost so far.
    hand.click("link", "range of dep_delay")
    page.wait_for_url("**/episodes/*")
    story = said(page)
    for words in ("13 May 2013 09:08", "goes on since", "carrier UA", "nats", "dep_delay"):
        assert words in story, words
    # What undoes it, with its command and preview, under one's own name.
    hand.click("link", f"Act on {NAME}")
    page.wait_for_url("**/act")
    assert f"penstock rollback {NAME}" in said(page) and f"penstock hold {NAME}" in said(page)
    hand.click("link", "Roll back")
    page.wait_for_url("**/act/rollback")
    assert "You are not logged in" in said(page)
    page.get_by_role("textbox", name="Why").fill("dep_delay of UA is in milliseconds")
    hand.click("button", "Look at what it would do")
    page.get_by_role("heading", name="Step 2 of 3: what it would do").wait_for()
    assert "What happens" in said(page) and "trained" in said(page)
    assert hand.clicks <= MOST_CLICKS


def test_what_waits_to_be_undone_is_undone_in_a_few_clicks(page: Page, flights: Flown) -> None:
    """As an operator who is logged in: the model before the incident predicts again, until somebody resumes."""
    live(page, flights, f"/pipelines/{NAME}/act")
    page.get_by_role("link", name="Log in").first.click()
    page.get_by_label("Name", exact=True).fill("omar")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Pin a version").click()
    hand = Hand(page)
    page.get_by_label("Version", exact=True).select_option("v0")
    page.get_by_role("textbox", name="Why").fill("the model before the incident, until the sender is mended")
    hand.click("button", "Look at what it would do")
    hand.click("button", "Yes, pin a version")
    assert eventually(lambda: "carried out" in said(page))
    assert eventually(lambda: flights.model()["pinned"] and flights.model()["committed"] == "v0")
    live(page, flights, f"/pipelines/{NAME}")
    assert eventually(lambda: "v0 is pinned and predicts alone" in said(page))
    hand.page.goto(f"{flights.address}/pipelines/{NAME}/act/resume")
    page.get_by_role("textbox", name="Why").fill("the sender is mended")
    hand.click("button", "Look at what it would do")
    hand.click("button", "Yes, resume learning")
    assert eventually(lambda: "carried out" in said(page))
    assert eventually(lambda: not flights.model()["pinned"])
    assert hand.clicks == 4
