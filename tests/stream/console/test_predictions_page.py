"""Predictions on a page: what was published, its vector and label as the fold joins them, and why, as the command explains."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.stream import topology
from penstock.stream.console.reading import made
from penstock.stream.console.reading.explaining import MOST_WAITING, Explaining
from penstock.stream.definitions import Label
from penstock.stream.messages import Sample, decode_entry, encode_json
from penstock.stream.operate.past import explain_past
from penstock.stream.operate.tail_labels import tail_labels
from penstock.stream.prediction import ModelRef, Prediction, decode_prediction
from penstock.stream.roles.in_memory import MemoryFlow
from tests.patience import PATIENCE_S, eventually
from tests.stream.console.flowing import EVIL, desk_of, flow_of
from tests.stream.console.test_pages import Outline, text_of
from tests.stream.generated import DELIVERED, parcels
from tests.stream.naive_flow import everything

HERE = "/pipelines/parcels/predictions"
SAMPLES, PREDICTIONS = topology.samples("parcels"), topology.predictions("parcels")


@pytest.fixture(scope="module")
def flow() -> MemoryFlow:
    return flow_of(400)


@pytest.fixture(scope="module")
def browser(flow: MemoryFlow) -> Iterator[TestClient]:
    yield desk_of(flow).browser()


def told(flow: MemoryFlow) -> list[Prediction]:
    return [decode_prediction(one.value or b"") for one in everything(flow.log, PREDICTIONS)]


@pytest.mark.parametrize("place", [0, 77, 250, -1])
@pytest.mark.parametrize("by", ["id", "position"])
def test_a_prediction_is_shown_as_it_was_published(
    flow: MemoryFlow, browser: TestClient, place: int, by: str
) -> None:
    one = told(flow)[place]
    page = browser.get(HERE, params={by: getattr(one, by)}).text
    said = text_of(page)
    assert f"predicted {one.prediction:.6g}" in said and f"@{one.position:,}" in said
    assert f"{one.model.version} leads, with {one.model.weight * 100:.1f} %" in said
    sample = decode_entry(everything(flow.log, SAMPLES)[one.position].value or b"")
    assert isinstance(sample, Sample) and sample.id == one.id
    rows = re.findall(r'class="small">([^<]*)</th><td class="number"><code>(.*?)</code>', page)
    assert rows == [
        (name, "null" if value is None else str(value))
        for name, value in zip(parcels().vector_names, sample.x, strict=True)
    ]
    assert f"penstock explain FILE --position {one.position}" in said and Outline(page).open == []


def test_the_newest_fifty_are_the_last_ones(flow: MemoryFlow, browser: TestClient) -> None:
    ids = re.findall(r'position=\d+">(p\d+)</a>', browser.get(HERE).text)
    assert ids == [one.id for one in told(flow)[::-1][:50]]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label": Label(DELIVERED, lambda e: e["late"] > 15, wait="20m", absent=False, fields=("late",))},
        {
            "label": Label(
                DELIVERED,
                lambda e: e["late"] > 15,
                wait="20m",
                absent=False,
                corrected_for="2h",
                fields=("late",),
            )
        },
        {"label": Label(DELIVERED, lambda e: e["late"] > 15, key="depot", within="3h", fields=("late",))},
    ],
)
def test_a_label_is_the_one_that_the_fold_joins(changes: dict[str, Any]) -> None:
    """Each sample by itself comes to what the whole log, folded, comes to."""
    flow = flow_of(200, **changes)
    pipeline, servers = flow.pipeline, desk_of(flow).console.sources
    entries = [(one.offset, decode_entry(one.value or b"")) for one in everything(flow.log, SAMPLES)]
    from penstock.stream.learn.joins import join_of
    from penstock.stream.messages import LabelRecord, Tick

    join, last = join_of(pipeline.label_rule), {}
    for position, entry in entries:
        settled: Any = ()
        if isinstance(entry, Sample):
            settled = join.sample(entry.id, made._Waits(entry.at, position, entry.id), entry.label_key)
        elif isinstance(entry, LabelRecord):
            settled = join.label(position, entry)
        elif isinstance(entry, Tick):
            settled = join.tick(entry)
        last.update({one.waits.position: (one.how, one.y) for one in settled})
    hows = set()
    for position, entry in entries:
        if isinstance(entry, Sample):
            found = made.label_of(servers, pipeline, entry, position)
            assert (found.how, found.y) == last.get(position, ("waits", None))
            hows.add(found.how)
    assert "label" in hows and len(hows) > 1 - bool(changes)


def test_the_label_is_on_the_page(flow: MemoryFlow, browser: TestClient) -> None:
    labels = tail_labels(
        (decode_entry(one.value or b"") for one in everything(flow.log, SAMPLES)), parcels().label_rule
    )
    one = told(flow)[100]
    assert f"label {labels.of[one.id]} , at" in text_of(browser.get(HERE, params={"id": one.id}).text)


def test_why_is_worked_out_beside_the_page_and_is_what_the_command_says(flow: MemoryFlow) -> None:
    browser = desk_of(flow).browser()
    one = told(flow)[300]
    before = browser.get(HERE, params={"position": one.position}).text
    assert "Work it out" in before and '<th scope="row" class="small">in all' not in before
    assert browser.get(HERE, params={"position": one.position, "why": "yes"}).status_code == 200

    def page() -> str:
        return browser.get(HERE, params={"position": one.position}).text

    assert eventually(lambda: "It is what was published." in page())
    past = explain_past(flow.pipeline, flow.log, (SAMPLES, PREDICTIONS), None, position=one.position)
    rows = re.findall(
        r'class="small">([^<]*)</th><td class="number"><code>.*?</code></td><td class="number">([^<]*)</td>',
        page(),
    )
    assert rows == [(each.feature, f"{each.contribution:+.4g}") for each in past.why.contributions]
    said = text_of(page())
    assert f"base {past.why.base:+.4g}" in said and f"in all {past.why.margin:.4g}" in said
    assert past.why.method in said and all(each.version in said for each in past.why.models)


def test_what_cannot_be_explained_is_said(flow: MemoryFlow) -> None:
    other = flow_of(60)
    browser = desk_of(other).browser()
    one = told(other)[-1]
    other.log.trim(SAMPLES, 0, 10)
    browser.get(HERE, params={"position": one.position, "why": "yes"})
    assert eventually(
        lambda: (
            "records 0 to 9 of parcels.samples are gone"
            in text_of(browser.get(HERE, params={"position": one.position}).text)
        )
    )


def test_no_more_than_a_few_wait_to_be_explained() -> None:
    import threading

    explaining, go_on = Explaining(), threading.Event()
    first = explaining.ask("first", lambda progress: go_on.wait(PATIENCE_S))
    assert first is not None and eventually(lambda: first.how == "runs")
    waiting = [explaining.ask(number, lambda progress: "found") for number in range(MOST_WAITING + 1)]
    assert waiting[-1] is None and explaining.ask(0, lambda progress: "other") is waiting[0]
    go_on.set()
    assert eventually(lambda: all(one.how == "done" and one.found == "found" for one in waiting if one))
    explaining.close()
    assert explaining.ask("more", lambda progress: None) is None


def test_what_is_not_there_is_said_with_the_command(browser: TestClient, flow: MemoryFlow) -> None:
    said = text_of(browser.get(HERE, params={"id": "nobody's"}).text)
    assert f"found among all {len(told(flow))} that the topic holds" in said
    assert "penstock explain FILE 'nobody'\"'\"'s'" in said
    for position in ("0", "99999999", "x"):
        assert "There is no sample at" in text_of(browser.get(HERE, params={"position": position}).text)


def test_a_page_looks_no_longer_than_it_may(flow: MemoryFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "SEARCH_BYTES", 1)
    said = text_of(desk_of(flow).browser().get(HERE, params={"id": told(flow)[0].id}).text)
    assert "found among the newest 256; the topic holds 400" in said and "The command looks at all" in said


def test_ids_and_classes_that_are_markup_are_text() -> None:
    flow = flow_of(20)
    one = Prediction(EVIL, 1_700_000_000_000, EVIL, ModelRef(EVIL, 0.5), EVIL, 1, {EVIL: 0.5}, set=[EVIL])
    from penstock.stream.log.protocol import Out

    flow.log.append([Out(PREDICTIONS, b"k", encode_json(one), (), 0)])
    browser = desk_of(flow).browser()
    for query in ({}, {"id": EVIL}, {"position": EVIL}, {"id": EVIL, "why": "yes"}):
        page = browser.get(HERE, params=query).text
        assert "<img" not in page and "<script>alert" not in page and Outline(page).open == []
        assert "&lt;img" in page or "&lt;img" in html.escape(page)


def test_topics_that_are_not_there_are_said(flow: MemoryFlow) -> None:
    other = flow_of(5)
    other.log.delete(PREDICTIONS)
    for query in ({}, {"id": "p1"}):
        assert "does not exist" in text_of(desk_of(other).browser().get(HERE, params=query).text)
