"""Time travel: the page of a position is the page that the console would have shown then, and says what it cannot know."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from penstock.stream import topology
from penstock.stream.cli import parser
from penstock.stream.console.health import judged, open_findings
from penstock.stream.console.reading.servers import Servers
from penstock.stream.console.state import States
from penstock.stream.console.then import Read, around, then
from penstock.stream.history_record import HistoryRecord, decode_history
from penstock.stream.messages import (
    ControlEvent,
    Decision,
    OperatorRequest,
    Sample,
    decode_entry,
    encode_json,
    rfc3339,
)
from penstock.stream.operate.control_topics import decode
from penstock.stream.process.settings import Settings
from tests.effort import examples
from tests.stream.console.flowing import EVIL, desk_of, flow_of, log_of
from tests.stream.console.test_pages import Outline, text_of
from tests.stream.console.year import Line, console_of, stepped
from tests.stream.generated import parcels
from tests.stream.naive_flow import everything

HERE = "/pipelines/parcels/time-travel"
HISTORY = topology.history("parcels")


@pytest.fixture
def client(lines: list[Line], states: States) -> TestClient:
    servers = Servers(Settings(), log=log_of(lines, ["parcels"]))
    return TestClient(console_of(states, {"parcels": parcels()}, sources=servers))


def history(lines: list[Line]) -> list[HistoryRecord]:
    return [decode_history(one.value) for one in lines if one.topic == HISTORY]


def reads_of(lines: list[Line]) -> tuple[list[Read], list[Read]]:
    told = [Read(one.topic, one.offset, one.wall_ms, one.value) for one in lines]
    return [one for one in told if one.topic == HISTORY], [one for one in told if one.topic != HISTORY]


def until(lines: list[Line], position: int) -> States:
    """A state that was told nothing from behind a position."""
    found = []
    for one in lines:
        if one.topic == HISTORY:
            at = decode_history(one.value).position
        else:
            message = decode(one.topic, one.value)
            if not isinstance(message, ControlEvent):
                continue
            at = message.data.detected_at.get("position", 0)
        if at <= position:
            found.append(one)
    return stepped(["parcels"], found)


@settings(max_examples=examples(25), deadline=None)
@given(share=st.floats(0, 1))
def test_the_state_then_is_that_of_the_records_up_to_there(lines: list[Line], share: float) -> None:
    position = int(share * history(lines)[-1].position)
    told = then("parcels", position, *reads_of(lines))
    naive = until(lines, position).pipelines["parcels"]
    assert told.state.past.points == naive.past.points and told.state.past.hours == naive.past.hours
    assert told.state.events == naive.events and told.state.open == naive.open
    assert judged(told.state) == judged(naive) and list(told.state.changes) == list(naive.changes)
    before = [one for one in history(lines) if one.position <= position]
    assert told.record == (before[-1] if before else None)
    assert told.models == next((one for one in reversed(before) if one.experts), None)


def test_the_page_says_what_history_says_of_the_position(client: TestClient, lines: list[Line]) -> None:
    records = [one for one in history(lines) if one.kind == "labels"]
    for record in (records[3], records[len(records) // 2], records[-1]):
        page = client.get(HERE, params={"position": record.position}).text
        said = text_of(page)
        assert f"The model at @{record.position:,}" in said and f"committed {record.committed}" in said
        assert f"leads {record.leader}" in said and f"predictions carry {record.live}" in said
        for one in record.experts:
            assert f"{one.weight * 100:.1f} %" in said
        assert f"live {record.loss:.4f}, base rate {record.base_loss:.4f}" in said
        naive = until(lines, record.position).pipelines["parcels"]
        for finding in open_findings(naive):
            assert (
                f"{finding.newest.data.kind} of {finding.newest.subject}, {finding.newest.data.state}" in said
            )
        assert ("No episode was open." in said) == (not naive.open)
        assert Outline(page).open == []


def test_a_moment_is_the_last_position_that_history_knows_by_then(
    client: TestClient, lines: list[Line]
) -> None:
    record = history(lines)[len(history(lines)) // 2]
    last = [one for one in history(lines) if one.at <= record.at][-1]
    assert f"The model at @{last.position:,}" in text_of(
        client.get(HERE, params={"at": rfc3339(record.at)}).text
    )
    assert f"The model at @{last.position:,}" in text_of(client.get(HERE, params={"at": str(record.at)}).text)


def test_between_two_records_it_says_what_is_not_known(client: TestClient, lines: list[Line]) -> None:
    first, second = next(
        (a, b)
        for a, b in zip(history(lines), history(lines)[1:], strict=False)
        if b.position - a.position > 5
    )
    said = text_of(client.get(HERE, params={"position": first.position + 3}).text)
    assert (
        f"@{first.position:,} , the last record of history up to there: what changed in the 3 records" in said
    )
    assert second.position > first.position + 3


def test_what_comes_before_and_after_are_the_changes_around_it(states: States, client: TestClient) -> None:
    changes = list(states.pipelines["parcels"].changes)
    assert len(changes) > 1
    for position in (
        changes[0].position,
        changes[0].position + 1,
        changes[-1].position,
        changes[-1].position + 1,
    ):
        before, after = around(changes, position)
        page = client.get(HERE, params={"position": position}).text
        links = re.findall(r'href="[^"]*\?position=(\d+)">[←→]', page)
        assert links == [str(one.position) for one in (before, after) if one is not None]
        assert before is None or before.position < position
        assert after is None or after.position > position
    assert around(changes, -1)[0] is None and around(changes, 10**12)[1] is None


def test_before_all_history_nothing_is_known(client: TestClient) -> None:
    said = text_of(client.get(HERE, params={"position": "0"}).text)
    assert "History has nothing from before @0" in said and "no change before is known here" in said


def test_without_a_place_it_is_the_newest_and_beyond_it_too(client: TestClient, states: States) -> None:
    position = states.pipelines["parcels"].position
    for query in ({}, {"position": str(10**15)}, {"position": f"@{position:,}"}):
        assert f"The model at @{position:,}" in text_of(client.get(HERE, params=query).text)


def test_what_is_no_place_is_said_beside_its_field(client: TestClient) -> None:
    for query in ({"position": EVIL}, {"position": "-3"}, {"at": EVIL}, {"at": "noon"}, {"key": EVIL}):
        page = client.get(HERE, params=query).text
        assert "<img" not in page and "<script>alert" not in page and Outline(page).open == []
        assert ('aria-invalid="true"' in page) == ("key" not in query)


def test_requests_and_decisions_are_told_by_the_brokers_time(lines: list[Line]) -> None:
    record = history(lines)[10]
    wall = next(one.wall_ms for one in lines if one.topic == HISTORY and decode_history(one.value) == record)
    request = OperatorRequest(id="r", pipeline="parcels", verb="hold", reason=EVIL, by=EVIL)
    decision = Decision(
        id="d",
        pipeline="parcels",
        request="r",
        verb="hold",
        verdict="refused",
        why="no",
        by="x",
        command=None,
        wall_ms=0,
    )
    past, control = reads_of(lines)
    for late, known in ((0, 2), (1, 0)):
        more = [
            Read(topology.CONTROL_COMMANDS, 900, wall + late, encode_json(request)),
            Read(topology.CONTROL_DECISIONS, 901, wall + late, encode_json(decision)),
        ]
        told = then("parcels", record.position, past, [*control, *more])
        assert len(told.state.requests) + len([one for one in told.state.decisions if one.id == "d"]) == known


def test_another_pipelines_records_and_what_is_none_say_nothing(lines: list[Line]) -> None:
    past, control = reads_of(lines)
    position = history(lines)[-1].position
    events = [one for one in control if one.topic == topology.CONTROL_ALERTS]
    message = decode(topology.CONTROL_ALERTS, events[0].value)
    assert isinstance(message, ControlEvent)
    other = msgspec.structs.replace(
        message, id="o", data=msgspec.structs.replace(message.data, pipeline="other")
    )
    more = [
        Read(one.topic, 10**6, 1, value) for one in events[:1] for value in (encode_json(other), b"no json")
    ]
    assert (
        then("parcels", position, past, [*control, *more]).state.events
        == then("parcels", position, past, control).state.events
    )


def test_an_entitys_vector_is_that_of_its_last_sample_before() -> None:
    flow = flow_of(400)
    browser = desk_of(flow).browser()
    entries = [
        (one.offset, decode_entry(one.value or b""))
        for one in everything(flow.log, topology.samples("parcels"))
    ]
    samples = [(offset, one) for offset, one in entries if isinstance(one, Sample)]
    newest = samples[-1][0]
    for offset, one in (samples[200], samples[-1]):
        at = min(offset + 1, newest)
        page = browser.get(HERE, params={"position": at, "key": one.key}).text
        last = [(there, each) for there, each in samples if each.key == one.key and there <= at][-1]
        rows = re.findall(r'class="small">([^<]*)</th><td class="number"><code>(.*?)</code>', page)
        if f"@{last[0]:,}" not in text_of(page):
            assert "History has nothing" in text_of(page)
            continue
        assert rows == [
            (name, "null" if value is None else str(value))
            for name, value in zip(parcels().vector_names, last[1].x, strict=True)
        ]
    said = text_of(browser.get(HERE, params={"key": EVIL}).text)
    assert f"No sample of “{EVIL}” was found" in said or "History has nothing" in said


def test_the_shown_commands_are_commands(client: TestClient) -> None:
    import html
    import shlex

    page = client.get(HERE).text
    found = [html.unescape(one) for one in re.findall(r'<code class="command">([^<]*)</code>', page)]
    assert len(found) == 4
    for line in found:
        assert parser().parse_args(shlex.split(line)[1:])
