"""What is in files: of any format the same rows, in the order that the rule says, and told before anything is written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import fastavro
import fsspec
import msgspec
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.bootstrap import merging
from penstock.stream.bootstrap.handover import offsets_of, starts_of
from penstock.stream.bootstrap.looking import looked_at, sources_of
from penstock.stream.bootstrap.merging import Merged
from penstock.stream.bootstrap.plan import CannotBootstrap, lines_of
from penstock.stream.bootstrap.rows import SourceRows, begin
from penstock.stream.definitions import Label, Source
from penstock.stream.featurize.decode import Item, SourceDecoder
from penstock.stream.featurize.merge import Merge
from penstock.stream.log.protocol import Record, partition_for
from tests.effort import examples
from tests.stream.bootstrap.in_files import (
    Event,
    at_of,
    bootstrapped,
    entries_of,
    flow_of,
    plan_of,
    published,
    quiet,
    written,
)
from tests.stream.generated import DELIVERED, SENT, cards, parcel_events, parcels

FOREVER_MS = 2_000_000_000_000
_numbers = count()


def put(form: str, rows: list[dict[str, Any]]) -> str:
    """The address of a file with these rows."""
    address = f"memory://files-{next(_numbers)}/rows.{form}"
    file = io.BytesIO()
    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=7)
    elif form == "avro":
        kinds = {str: "string", int: "long", float: "double"}
        fields = [{"name": name, "type": ["null", kinds[type(value)]]} for name, value in rows[0].items()]
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, rows)
    elif form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        file.write(text.getvalue().encode())
    else:
        file.write("\n".join(map(json.dumps, rows)).encode())
    with fsspec.open(address, "wb") as out:
        out.write(file.getvalue())
    return address


@pytest.mark.parametrize("form", ["parquet", "csv", "avro"])
def test_rows_of_any_format_give_what_lines_of_json_give(form: str) -> None:
    events = list(parcel_events(60, 2))
    made = []
    for kind in (form, "jsonl"):
        flow = flow_of(parcels(), 2)
        options = [
            f"{source.name}={put(kind, [event for topic, _, event in events if topic == source.name])}"
            for source in (SENT, DELIVERED)
        ]
        bootstrapped(flow, plan_of(flow, options, FOREVER_MS))
        made.append([entry for entry in entries_of(flow) if not isinstance(entry, tuple)])
        flow.close()
    assert made[0] == made[1] and len(made[0]) > 100


@pytest.fixture(autouse=True, scope="module")
def _few_rows_are_read_at_once() -> Iterator[None]:
    """So that what waits for a partition or a source is waited for in these short files, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "READ_ROWS", 1)
        yield


def items(options: list[str], partitions: int, most: int) -> list[Item]:
    """All rows as items, read `most` at a time."""
    pipeline = parcels()
    sources = [looked_at(pipeline, one, FOREVER_MS, quiet) for one in sources_of(pipeline, options)]
    rows = [SourceRows(pipeline, one, begin(one, partitions), FOREVER_MS, FOREVER_MS) for one in sources]
    heads = [(source, number) for source in range(len(rows)) for number in range(partitions)]
    merged, found = Merged(rows, heads, {}), []
    while some := merged.take(most):
        found += some
    return found


def of_topics(events: list[Event], partitions: int) -> list[Item]:
    """The same events as a featurize task merges them, which has everything before it begins."""
    pipeline = parcels()
    records: dict[tuple[int, int], list[Record]] = {(s, n): [] for s in range(2) for n in range(partitions)}
    for out in published(pipeline, events, partitions):
        source = [one.name for one in pipeline.sources].index(out.topic)
        of_head = records[(source, out.partition or 0)]
        of_head.append(Record(out.topic, out.partition or 0, len(of_head), FOREVER_MS, None, out.value, ()))
    merge = Merge(records)
    for head, of_head in records.items():
        merge.enqueue(head, SourceDecoder(pipeline, pipeline.sources[head[0]]).items(of_head, -1))
    return list(merge.take(records))


@given(
    seed=st.integers(0, 1_000),
    partitions=st.integers(1, 4),
    most=st.integers(1, 40),
    moves=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 25)), max_size=8),
    ties=st.booleans(),
)
@settings(max_examples=examples(60))
def test_rows_come_in_the_order_in_which_records_of_topics_are_stepped(
    seed: int, partitions: int, most: int, moves: list[tuple[int, int]], ties: bool
) -> None:
    """Ties and what is out of order among them, whatever is read at once."""
    events = list(parcel_events(50, seed))
    if ties:
        times = {SENT.name: "sent_at", DELIVERED.name: "done_at"}
        for topic, _, event in events:
            event[times[topic]] -= event[times[topic]] % 600_000
    for wanted_place, by in moves:
        place = wanted_place % len(events)
        events.insert(min(place + by, len(events)), events.pop(place))
    found = items(written(parcels(), events, files=3), partitions, most)
    wanted = of_topics(events, partitions)
    assert [item[:8] for item in found] == [item[:8] for item in wanted]


@given(seed=st.integers(0, 1_000), folders=st.integers(1, 4), most=st.integers(1, 40))
@settings(max_examples=20)
def test_a_folder_for_each_partition_is_merged_by_event_time(seed: int, folders: int, most: int) -> None:
    events = list(parcel_events(50, seed))
    options = []
    for topic in (SENT.name, DELIVERED.name):
        for number in range(folders):
            rows = [
                e for t, key, e in events if t == topic and partition_for(key.encode(), folders) == number
            ]
            if rows:
                options.append(f"{topic}={put('jsonl', rows)}")
    assert [item[:8] for item in items(options, folders, most)] == [
        item[:8] for item in of_topics(events, folders)
    ]


@given(seed=st.integers(0, 1_000), most=st.integers(1, 60), stop=st.integers(0, 10))
@settings(max_examples=examples(30))
def test_reading_begins_at_a_mark_as_if_it_had_never_stopped(seed: int, most: int, stop: int) -> None:
    pipeline, events = parcels(), list(parcel_events(60, seed))
    options = written(pipeline, events, files=3)
    sources = [looked_at(pipeline, one, FOREVER_MS, quiet) for one in sources_of(pipeline, options)]
    heads = [(source, number) for source in range(2) for number in range(2)]
    rows = [SourceRows(pipeline, one, begin(one, 2), FOREVER_MS, FOREVER_MS) for one in sources]
    merged = Merged(rows, heads, {})
    stepped = dict.fromkeys(heads, 0)
    for _ in range(stop):
        for item in merged.take(most):
            stepped[(item.source, item.partition)] = item.offset + 1
    marks = merged.marks(stepped)
    left = []
    while some := merged.take(most):
        left += some
    again = [
        SourceRows(pipeline, one, mark, FOREVER_MS, FOREVER_MS)
        for one, mark in zip(sources, marks, strict=True)
    ]
    merged, found = Merged(again, heads, stepped), []
    while some := merged.take(most):
        found += some
    assert found == left


def test_rows_that_nobody_can_use_are_counted_in_the_plan_and_become_dead_letters() -> None:
    pipeline, events = parcels(), list(parcel_events(40, 1))
    sent = [event for topic, _, event in events if topic == SENT.name]
    sent[5] = {**sent[5], "sent_at": "yesterday"}
    sent[-1] = {**sent[-1], "sent_at": sent[0]["sent_at"] - 2 * 86_400_000}
    flow = flow_of(pipeline, 2)
    done = [event for topic, _, event in events if topic == DELIVERED.name]
    options = [f"{SENT.name}={put('jsonl', sent)}", f"{DELIVERED.name}={put('jsonl', done)}"]
    plan = plan_of(flow, options, at_of(pipeline, events[-1]) + 1)
    looked = plan.sources[0].looked
    assert (looked.unusable, looked.late) == (1, 1)
    told = "\n".join(lines_of(plan, {}, {}))
    assert "1 rows are more than the source's grace behind" in told and "1 rows have no usable" in told
    assert bootstrapped(flow, plan).place.counts["dead letters"] == 2


def test_without_an_end_it_is_behind_the_source_whose_files_end_first() -> None:
    pipeline, events = parcels(), list(parcel_events(40, 1))
    flow, options = flow_of(pipeline, 2), written(pipeline, events)
    plan = plan_of(flow, options)
    ends = [max(at_of(pipeline, e) for e in events if e[0] == s.name) for s in (SENT, DELIVERED)]
    assert plan.until_ms == min(ends) + 1
    assert plan.rows == sum(at_of(pipeline, event) < plan.until_ms for event in events)
    assert sum(source.looked.after for source in plan.sources) == len(events) - plan.rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["parcels.sent"], "write it as TOPIC=FILES"),
        (["parcels.gone=memory://x.csv"], "has no source 'parcels.gone'"),
        (["parcels.sent=memory://nothing-here/*.parquet"], "no file is named"),
        ([], "say with --source parcels"),
    ],
)
def test_a_source_that_is_said_wrongly_is_told_in_one_sentence(options: list[str], said: str) -> None:
    with pytest.raises(CannotBootstrap, match=said):
        sources_of(parcels(), options)


def test_a_file_that_is_named_twice_is_refused() -> None:
    address = put("jsonl", [parcel[2] for parcel in parcel_events(3, 1) if parcel[0] == SENT.name])
    with pytest.raises(CannotBootstrap, match="named twice"):
        sources_of(parcels(), [f"{SENT.name}={address},{address}", f"{DELIVERED.name}={address}"])


def test_a_time_without_a_zone_is_refused() -> None:
    address = f"memory://files-{next(_numbers)}/rows.parquet"
    with fsspec.open(address, "wb") as out:
        times = pyarrow.array([0], pyarrow.timestamp("ms"))
        pyarrow.parquet.write_table(pyarrow.table({"sent_at": times, "done_at": times}), out)
    files = sources_of(parcels(), [f"{SENT.name}={address}", f"{DELIVERED.name}={address}"])
    with pytest.raises(CannotBootstrap, match="a time without a zone"):
        looked_at(parcels(), files[0], -1, quiet)


def test_offsets_must_name_every_partition() -> None:
    every = [f"{source}/{n}=3" for source in (SENT.name, DELIVERED.name) for n in range(2)]
    assert offsets_of([",".join(every)], parcels(), 2)[f"{SENT.name}/1"] == 3
    with pytest.raises(CannotBootstrap, match="does not say parcels.delivered/1"):
        offsets_of(every[:-1], parcels(), 2)
    with pytest.raises(CannotBootstrap, match="there is no parcels.sent/7"):
        offsets_of([*every, f"{SENT.name}/7=1"], parcels(), 2)
    with pytest.raises(CannotBootstrap, match="TOPIC/PARTITION=OFFSET"):
        offsets_of([f"{SENT.name}/0"], parcels(), 2)


def test_a_topic_that_may_have_lost_records_is_refused() -> None:
    pipeline, events = parcels(), list(parcel_events(40, 1))
    flow = flow_of(pipeline, 1)
    flow.feed(published(pipeline, events, 1))
    plan = plan_of(flow, written(pipeline, events), at_of(pipeline, events[20]))
    assert starts_of(pipeline, flow.log, plan, partial=False)[(SENT.name, 0)] == (0, 40)
    flow.log.trim(SENT.name, 0, 5)
    with pytest.raises(CannotBootstrap, match="begins at offset 5"):
        starts_of(pipeline, flow.log, plan, partial=False)
    assert starts_of(pipeline, flow.log, plan, partial=True)[(SENT.name, 0)] == (5, 40)


def test_the_plan_is_another_one_where_anything_is_that_rows_depend_on() -> None:
    flow, events = flow_of(parcels(), 2), list(parcel_events(20, 1))
    plan = plan_of(flow, written(parcels(), events), FOREVER_MS)
    assert plan.digest == msgspec.structs.replace(plan, sources=list(plan.sources)).digest
    others = [
        msgspec.structs.replace(plan, asked="1"),
        msgspec.structs.replace(plan, partitions=3),
        msgspec.structs.replace(plan, recipe="another"),
        msgspec.structs.replace(plan, offsets={"a/0": 1}),
        msgspec.structs.replace(plan, sources=plan.sources[:1]),
    ]
    assert len({plan.digest, *(one.digest for one in others)}) == 6


@given(
    seed=st.integers(0, 1_000),
    most=st.integers(1, 40),
    broken=st.lists(st.tuples(st.integers(0, 90), st.integers(-3, 3)), min_size=1, max_size=6),
)
@settings(max_examples=examples(40))
def test_rows_that_nobody_can_use_change_no_order(
    seed: int, most: int, broken: list[tuple[int, int]]
) -> None:
    """Some of them at times days away, which would make others late if they counted. Others are out of order."""
    events = list(parcel_events(50, seed))
    for start in range(5, 70, 9):
        events.insert(start + 8, events.pop(start))
    times = {SENT.name: "sent_at", DELIVERED.name: "done_at"}
    for wanted_place, days in broken:
        topic, key, event = events[wanted_place % len(events)]
        at = event[times[topic]] + days * 86_400_000
        events.insert(wanted_place % len(events), (topic, key, {**event, times[topic]: at, "depot": ["no"]}))
    good = [item for item in items(written(parcels(), events, files=3), 2, most) if item.event is not None]
    wanted = [item for item in of_topics(events, 2) if item.event is not None]
    assert [(item.at, item.source, item.id) for item in good] == [
        (item.at, item.source, item.id) for item in wanted
    ]


def test_the_plan_says_where_files_end_long_before_the_topics_take_over() -> None:
    pipeline, events = parcels(), list(parcel_events(20, 1))
    flow = flow_of(pipeline, 2)
    newest = max(at_of(pipeline, event) for event in events)
    near = lines_of(plan_of(flow, written(pipeline, events), newest + 60_000), {}, {})
    far = lines_of(plan_of(flow, written(pipeline, events), newest + 7_200_000), {}, {})
    assert (
        not any("h before --until" in line for line in near[-2:])
        and sum("h before --until, and what the topic has of that time is skipped" in line for line in far)
        == 2
    )


def test_a_topic_that_is_not_in_plain_json_is_refused() -> None:
    source = Source("paid", id="id", time="at", key="card", format="avro")
    label = Label(source, lambda event: event["fraud"], wait="1h", fields=("fraud",))
    with pytest.raises(CannotBootstrap, match="is not in plain JSON"):
        sources_of(cards(views=[], predict=source, label=label), ["paid=memory://x.csv"])
