"""Episodes, versions and the audit in a real browser: nothing bars anybody, all fits, and it reads without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from penstock.stream.console.audit import entries as asked_for
from penstock.stream.console.episodes import episodes
from tests.browser.accessible import barriers
from tests.browser.test_console import live, said
from tests.looked_at import LookedAt, looked_at
from tests.stream.console.seen import states_of
from tests.stream.roles.test_stories import CHANGED_AT, flowed

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "pumps"


@pytest.fixture(scope="module")
def console(browser: Any) -> Iterator[LookedAt]:
    """A world that turned round: an incident, a promotion, two versions."""
    flow = flowed(1, CHANGED_AT)
    sources = SimpleNamespace(log=flow.log, store=flow.models)
    with looked_at(states_of(flow), {NAME: flow.pipeline}, every_s=0.05, sources=sources) as made:
        made.tell([], NAME)
        yield made


@pytest.fixture
def paths(console: LookedAt) -> list[str]:
    state = console.states.pipelines[NAME]
    pages = ["episodes", f"episodes/{episodes(state)[0].id}", "versions?a=v0&b=base&span=all", "audit"]
    return [f"/pipelines/{NAME}/{page}" for page in [*pages, f"audit/{asked_for(state)[0].id}"]]


def test_nothing_of_these_pages_bars_anybody(
    opened: Callable[..., Page], console: LookedAt, paths: list[str]
) -> None:
    for options in ({}, {"color_scheme": "dark"}, {"viewport": {"width": 320, "height": 700}}):
        for path in paths:
            page = live(opened(**options), console, path)
            for summary in page.locator("main summary").all():
                summary.click()
            assert barriers(page) == [], path


@pytest.mark.parametrize("width", [320, 768, 1280, 3840])
def test_these_pages_fit_their_screen_and_targets_are_large_enough(
    opened: Callable[..., Page], console: LookedAt, paths: list[str], width: int
) -> None:
    page = opened(viewport={"width": width, "height": 900})
    for path in paths:
        live(page, console, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        small = page.evaluate(
            "[...document.querySelectorAll('main :is(a, button, summary, select, input)')].filter(one => one.offsetHeight && "
            "one.getBoundingClientRect().height < 24).map(one => one.textContent)"
        )
        assert small == [], path


def test_these_pages_read_without_scripts_and_their_forms_ask(
    page_without_scripts: Page, console: LookedAt, paths: list[str]
) -> None:
    page = page_without_scripts
    page.goto(console.address + paths[0])
    page.locator("main tbody a").first.click()
    assert "What happened" in said(page) and page.locator(".histogram").count() >= 2
    page.get_by_role("link", name="Versions").click()
    page.locator('select[name="a"]').select_option("v0")
    page.locator('select[name="b"]').select_option("base")
    page.get_by_role("button", name="Compare").click()
    assert "On the same" in said(page) and "a=v0" in page.url
    page.get_by_role("link", name="Audit").click()
    page.locator('select[name="verb"]').select_option("promote")
    page.get_by_role("button", name="Show").click()
    page.locator("main tbody a").first.click()
    assert "What penstock watch says of it" in said(page)
