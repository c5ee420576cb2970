"""Features on a page: what the command says of an entity, until when it stays so, and what the newest samples had."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from penstock import View, count, decayed_count, distinct, last, mean, ratio, since_last
from penstock.features.engine.compute import CompiledView
from penstock.features.read.client import FeatureReader
from penstock.stream import topology
from penstock.stream.cli.features import as_text
from penstock.stream.console.feature_words import changes, defined, moves
from penstock.stream.messages import Sample, decode_entry, rfc3339
from penstock.stream.roles.in_memory import MemoryFlow
from tests.effort import examples
from tests.stream.console.flowing import EVIL, desk_of, flow_of
from tests.stream.console.test_pages import Outline, text_of
from tests.stream.generated import DELIVERED, HOUR, parcel_events, parcels
from tests.stream.naive_flow import everything

HERE = "/pipelines/parcels/features"


@pytest.fixture(scope="module")
def flow() -> MemoryFlow:
    return flow_of(400)


@pytest.fixture(scope="module")
def browser(flow: MemoryFlow) -> Iterator[TestClient]:
    yield desk_of(flow).browser()


def newest_at(topic: str) -> int:
    times = {"parcels.sent": "sent_at", "parcels.delivered": "done_at"}
    return max(event[times[name]] for name, _, event in parcel_events(400) if name == topic)


@pytest.mark.parametrize(
    ("view", "entity"),
    [("depot", ("d1",)), ("street", ("d2", "s 3|")), ("traffic", ("d0",)), ("depot", ("nowhere",))],
)
def test_an_entitys_values_are_those_of_the_command(
    flow: MemoryFlow, browser: TestClient, view: str, entity: tuple[str, ...]
) -> None:
    at = newest_at("parcels.delivered") + 90_000
    keys = {f"k{number}": part for number, part in enumerate(entity)}
    page = browser.get(HERE, params={"view": view, **keys, "at": rfc3339(at)}).text
    [said] = FeatureReader(flow.server, "parcels", parcels().views).read(  # type: ignore[arg-type]
        [(view, entity if len(entity) > 1 else entity[0])], at
    )
    rows = re.findall(r'class="small">([^<]*)</th><td class="number"><code>(.*?)</code></td><td>(\w+)', page)
    assert {html.unescape(name): (value, status) for name, value, status in rows} == {
        name: (str(value), said.status[name]) for name, value in said.values.items()
    }
    if said.found:
        assert str(as_text(said).splitlines()[0].split("as of ")[1])[:19].replace("T", " ")[11:] in text_of(
            page
        )
    else:
        assert "no event of it is known" in text_of(page)
    assert Outline(page).open == []


def test_a_moment_before_what_is_kept_is_refused_in_a_sentence(browser: TestClient) -> None:
    said = text_of(browser.get(f"{HERE}?view=depot&k0=d1&at=2023-11-14T00:00:00Z").text)
    assert "the state of the past is not kept" in said
    for wrong in ("yesterday", "2013-05-20T12:00:00", EVIL):
        page = browser.get(HERE, params={"view": "depot", "k0": "d1", "at": wrong}).text
        assert 'aria-invalid="true"' in page and "<img" not in page


def test_a_value_stays_as_it_is_until_the_page_says(flow: MemoryFlow, browser: TestClient) -> None:
    at = newest_at("parcels.delivered")
    reader = FeatureReader(flow.server, "parcels", parcels().views)  # type: ignore[arg-type]
    [state] = reader.states([("depot", "d1")])
    assert state is not None
    compiled = reader.compiled("depot")
    found = changes(compiled, state, at)
    now = dict(zip(compiled.names, compiled.values(state, at), strict=True))
    assert set(found) == {"late_3h", "done_1h"}
    for name, until in found.items():
        assert until is not None
        place = compiled.names.index(name)
        assert compiled.values(state, until)[place] != now[name] == compiled.values(state, until - 1)[place]
    said = text_of(
        browser.get(HERE, params={"view": "street", "k0": "d1", "k1": "s 3|", "at": rfc3339(at)}).text
    )
    assert "changes all the time" in said and "until an event comes" in said


VIEW = View(
    "v",
    DELIVERED,
    key="depot",
    features={
        "n": count("1h"),
        "late": mean("late", "3h"),
        "kinds": distinct("late", "2h"),
        "last": last("late"),
        "idle": since_last(),
        "often": decayed_count("1h"),
        "share": ratio(count("1h", where="late > 5"), count("1h")),
    },
)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4 * HOUR), st.integers(0, 9)), min_size=1, max_size=12),
    st.integers(0, HOUR),
)
def test_no_value_changes_before_it_is_said_to_and_each_does_then(
    events: list[tuple[int, int]], more: int
) -> None:
    compiled = CompiledView(VIEW)
    state = compiled.new()
    for number, (at, late) in enumerate(sorted(events)):
        compiled.update(state, at, number, {"late": late})
    at = max(at for at, _ in events) + more
    found = changes(compiled, state, at)
    now = dict(zip(compiled.names, compiled.values(state, at), strict=True))
    assert set(found) == {name for name, feature in VIEW.features.items() if not moves(feature)}
    for name, until in found.items():
        place = compiled.names.index(name)
        end = at + 8 * HOUR if until is None else until
        for moment in (*range(at, end, 97_001), end - 1):
            assert moment < at or compiled.values(state, moment)[place] == now[name]
        assert until is None or compiled.values(state, until)[place] != now[name]


def test_the_page_says_what_is_defined_and_what_the_newest_samples_had(
    flow: MemoryFlow, browser: TestClient
) -> None:
    said = text_of(browser.get(HERE).text)
    pipeline = parcels()
    samples = [
        entry
        for record in everything(flow.log, topology.samples("parcels"))
        if isinstance(entry := decode_entry(record.value or b""), Sample)
    ]
    assert f"of the newest {len(samples):,} samples" in said
    for view in pipeline.views:
        assert f"An entity is {', '.join(view.key_fields)} of {view.source.name}" in said
        for one in defined(view):
            assert f"{one.name} {one.text} {one.window}" in said
            place = pipeline.vector_names.index(f"{view.name}.{one.name}")
            nulls = sum(sample.x[place] is None for sample in samples) / len(samples)
            default = sum(
                sample.x[place] is not None and sample.x[place] == one.default for sample in samples
            ) / len(samples)
            assert (
                f"{one.window} {'null' if one.default is None else one.default} {nulls:.0%} {default:.0%}"
                in said
            )


@pytest.mark.parametrize(
    "query", [{"view": EVIL}, {"view": "depot", "k0": EVIL}, {"view": "street", "k0": EVIL, "k1": EVIL}]
)
def test_what_is_asked_for_is_text(browser: TestClient, query: dict[str, Any]) -> None:
    page = browser.get(HERE, params=query).text
    assert "<img" not in page and "<script>alert" not in page and Outline(page).open == []


def test_a_value_that_is_markup_is_text(flow: MemoryFlow) -> None:
    from penstock.stream.log.protocol import Out
    from penstock.stream.messages import encode_json

    other = flow_of(5)
    at = newest_at("parcels.delivered")
    event = {"parcel": EVIL, "done_at": at, "van": "v", "depot": EVIL, "street": EVIL, "late": 3.0}
    other.feed([Out(DELIVERED.name, b"v", encode_json(event))])
    other.settle()
    page = desk_of(other).browser().get(HERE, params={"view": "depot", "k0": EVIL, "at": str(at)}).text
    assert "as of" in text_of(page) and "<img" not in page and Outline(page).open == []


def test_another_definition_than_runs_gets_the_public_documents(flow: MemoryFlow) -> None:
    views = [View("depot", DELIVERED, key="depot", features={"done_2h": count("2h")})]
    browser = desk_of(flow, definition=parcels(views=views)).browser()
    said = text_of(browser.get(f"{HERE}?view=depot&k0=d1").text)
    assert "is read as version" in said and "These are the public documents" in said and "late_3h" in said
    assert "samples of another definition were left out" in said


def test_a_redis_that_does_not_answer_is_said(flow: MemoryFlow) -> None:
    import redis

    desk = desk_of(flow)
    desk.console.sources._client = redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    found = desk.browser().get(f"{HERE}?view=depot&k0=d1")
    assert found.status_code == 200 and "Redis cannot be read" in text_of(found.text)
