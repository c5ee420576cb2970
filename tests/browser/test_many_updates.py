"""A page that is sent a thousand updates a second holds no more memory after them than before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browser.flown import NAME, YEAR, Flown, live
from tests.integration.test_console import first_event

if TYPE_CHECKING:
    from playwright.sync_api import Page

A_SECOND = 1_000
SECONDS = 30 if YEAR else 10
GROWTH_BYTES = 1_500_000
# The page's stream, as a test that says what comes: `window.stream.onmessage` is the page's own.
STREAM = """
window.EventSource = class {
  constructor() { window.stream = this; this.readyState = 1; setTimeout(() => this.onopen(), 0); }
  close() {}
};
window.EventSource.CLOSED = 2;
"""
# Each event says another thing than the one before: words of every part, and the last value of every chart.
SEND = """([event, seconds, perSecond]) => new Promise((done) => {
  const said = JSON.parse(event), started = performance.now();
  let sent = 0;
  const words = (html) => html.replaceAll(/\\d{3}/g, 100 + sent % 900);
  const newest = (one) => {
    const from = one.columns.length && one.columns[0].length ? one.columns[0].length - 1 : 0;
    return { ...one, from, columns: one.columns.map((column) => column.slice(from)), series: undefined };
  };
  const each = (all, change) => Object.fromEntries(Object.entries(all).map(([name, one]) => [name, change(one)]));
  const events = Array.from({ length: 40 }, () => {
    sent++;
    return JSON.stringify({ parts: each(said.parts, words), charts: each(said.charts, newest) });
  });
  sent = 0;
  const timer = setInterval(() => {
    const due = Math.min((performance.now() - started) / 1e3, seconds) * perSecond;
    for (; sent < due; sent++) {
      window.stream.onmessage({ data: events[sent % events.length], lastEventId: 'control.models:' + sent });
    }
    if (sent >= seconds * perSecond) { clearInterval(timer); done(sent); }
  }, 5);
})"""


@pytest.mark.skipif(not YEAR, reason="it takes minutes on a busy machine; PENSTOCK_TEST_YEAR=yes runs it")
def test_a_thousand_updates_a_second_do_not_grow_a_page(page: Page, flights: Flown) -> None:
    path = f"/pipelines/{NAME}"
    event = first_event(flights.address.removeprefix("http://"), f"/live{path}")
    page.add_init_script(STREAM)
    live(page, flights, path)
    session = page.context.new_cdp_session(page)

    def heap() -> int:
        session.send("HeapProfiler.collectGarbage")
        return int(session.send("Runtime.getHeapUsage")["usedSize"])

    def nodes() -> int:
        session.send("HeapProfiler.collectGarbage")
        return int(session.send("Memory.getDOMCounters")["nodes"])

    text = json.dumps({"parts": event["parts"], "charts": event["charts"]})
    page.evaluate(SEND, [text, 2, A_SECOND])
    before, held = heap(), nodes()
    sent = page.evaluate(SEND, [text, SECONDS, A_SECOND])
    assert sent == SECONDS * A_SECOND
    assert page.locator("body").get_attribute("data-position") == f"control.models:{sent - 1}"
    assert heap() - before < GROWTH_BYTES, (before, heap())
    assert nodes() - held < 2_000, (held, nodes())
