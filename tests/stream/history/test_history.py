"""Features as they were: against the real flow, stepped up to each row's own moment, and against its samples."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import View, count, last, mean, since_last
from penstock.examples import flights, flights_data
from penstock.features.redis.keys import entity_of
from penstock.stream import topology
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.files.reading import CannotUse
from penstock.stream.history.job import Job
from penstock.stream.history.run import Summary, history
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.operate.recompute import Recomputation
from penstock.stream.roles.in_memory import MemoryFlow
from tests.effort import examples
from tests.stream.generated import PAID, START_MS, card_events, cards, outs, parcels
from tests.stream.naive_flow import everything

PARTITIONS = 2
TEN_MINUTES = 600_000
SENT = Source("parcels.sent", id="parcel", time="sent_at", key="van", grace="40m")
DELIVERED = Source("parcels.delivered", id="parcel", time="done_at", key="van", grace="40m")


def pipeline() -> Pipeline:
    """Two sources that forgive little, views of both, one by a compound key."""
    return parcels(
        views=[
            View(
                "depot",
                DELIVERED,
                key="depot",
                features={"late_3h": mean("late", "3h"), "last": last("late")},
            ),
            View(
                "street",
                DELIVERED,
                key=("depot", "street"),
                features={"done": count("1h"), "idle": since_last()},
            ),
            View("traffic", SENT, key="depot", features={"sent_1h": count("1h"), "heavy": last("weight")}),
            View("busy", DELIVERED, key="street", features={"done": count("2h")}),
        ],
        predict=SENT,
        label=Label(DELIVERED, late, wait="6h", fields=("late",)),
    )


def late(event: Mapping[str, Any]) -> bool:
    if event["late"] == 13:
        raise ValueError("an unlucky number")
    return bool(event["late"] > 15)


def partitions(seed: int, number: int) -> dict[str, list[list[bytes]]]:
    """Events of both topics by partition, often at equal times, some far behind, some with a label that raises."""
    chance = random.Random(seed)
    found: dict[str, list[list[bytes]]] = {SENT.name: [[], []], DELIVERED.name: [[], []]}
    at = START_MS
    for n in range(number):
        at += chance.choice((0, 0, 1, TEN_MINUTES))
        own = at - chance.choice((0, 0, 0, 0, 1, 3 * TEN_MINUTES, 7 * TEN_MINUTES))
        topic = chance.choice((SENT, DELIVERED))
        event = {
            "parcel": f"p{n}",
            topic.time: own,
            "van": f"v{chance.randrange(3)}",
            "depot": chance.choice(("a", "b", None)),
            "street": chance.choice(("s 1|", "s2")),
        }
        event["weight" if topic is SENT else "late"] = chance.choice(
            (1, 2.5, 13, 20, None) if topic is SENT else (1, 13, 20)
        )
        found[topic.name][chance.randrange(PARTITIONS)].append(json.dumps(event).encode())
    return found


def log_of(of: Pipeline, events: Mapping[str, Sequence[Sequence[bytes]]]) -> MemoryLog:
    log = MemoryLog()
    for source in of.sources:
        log.create(source.name, PARTITIONS)
    for topic, by_partition in events.items():
        log.append(
            [Out(topic, None, value, (), n) for n, values in enumerate(by_partition) for value in values]
        )
    return log


def up_to(
    of: Pipeline, events: Mapping[str, Sequence[Sequence[bytes]]], end_at: int
) -> dict[str, list[list[bytes]]]:
    """Of each partition what the stream has taken when every event before `end_at` has come, and no other."""
    found: dict[str, list[list[bytes]]] = {}
    for source in of.sources:
        found[source.name] = []
        decoder = SourceDecoder(of, source)
        for number, values in enumerate(events[source.name]):
            one = MemoryLog()
            one.create(source.name, PARTITIONS)
            one.append([Out(source.name, None, value, (), number) for value in values])
            items = decoder.items(everything(one, source.name), -1)
            taken = sum(item.newest_at < end_at for item in items)
            found[source.name].append(list(values[:taken]))
    return found


def served(of: Pipeline, log: MemoryLog, row: Mapping[str, Any], at: int) -> list[Any]:
    """What a reader gets as of a moment when the stream has taken all of the log."""
    stream = Recomputation(of, log)
    for _ in stream.entries():
        pass
    (task,) = stream.tasks
    found: list[Any] = []
    for number, view in enumerate(of.views):
        compiled, entity = task.featurize.compiled[number], entity_of(row, view.key_fields)
        data = None if entity is None else task.store.load([task.featurize.stored_key(number, entity)])[0]
        found += compiled.vector(compiled.decode(data) if data else compiled.new(), at)
    return found


def files(
    folder: Path, events: Mapping[str, Sequence[Sequence[bytes]]], form: str, cuts: int
) -> dict[str, list[list[str]]]:
    """The events as files, `cuts` for each partition."""
    folder.mkdir(exist_ok=True)
    found: dict[str, list[list[str]]] = {}
    for topic, by_partition in events.items():
        found[topic] = []
        for number, values in enumerate(by_partition):
            paths = []
            for cut in range(cuts):
                part = values[cut * len(values) // cuts : (cut + 1) * len(values) // cuts]
                path = folder / f"{topic}-{number}-{cut}.{form}"
                write(path, [json.loads(value) for value in part])
                if part:
                    paths.append(str(path))
            found[topic].append(paths)
    return found


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, row_group_size=3)
    elif path.suffix == ".csv":
        lines = [
            ",".join(columns),
            *(",".join("" if row.get(c) is None else str(row.get(c)) for c in columns) for row in rows),
        ]
        path.write_text("".join(f"{line}\n" for line in lines))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(job: Job, **given: Any) -> tuple[Summary, list[dict[str, Any]]]:
    done = history(job, **given)
    return done, read(Path(job.out))


SEEDS = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history")


@settings(max_examples=examples(40), deadline=None)
@given(
    seed=SEEDS,
    form=st.sampled_from(("jsonl", "csv", "parquet")),
    cuts=st.integers(1, 3),
    before=st.booleans(),
)
def test_a_row_that_is_a_moment_has_what_a_reader_gets_when_the_stream_has_come_so_far(
    seed: int, form: str, cuts: int, before: bool, folder: Path
) -> None:
    chance, of = random.Random(seed), pipeline()
    events = partitions(seed, chance.randrange(2, 60))
    spine = [
        {
            "note": n,
            "at": START_MS + chance.randrange(-1, 30) * TEN_MINUTES + chance.choice((0, 0, 1)),
            "depot": chance.choice(("a", "b", "c", None)),
            "street": chance.choice(("s 1|", "s2")),
        }
        for n in range(6)
    ]
    write(folder / "spine.jsonl", spine)
    try:
        job = Job(
            of, str(folder / "spine.jsonl"), str(folder / "out.jsonl"), files(folder / form, events, form, cuts),
            before=before, buckets=chance.choice((1, 3)),
        )  # fmt: skip
        done, found = run(job)
    except CannotUse as error:
        assert "not one of" in str(error), error
        return
    assert done.rows == done.answered == len(spine)
    for row, one in zip(spine, found, strict=True):
        log = log_of(of, up_to(of, events, row["at"] + (not before)))
        expected = served(of, log, row, row["at"])
        assert [one[name] for name in job.names] == expected
        assert {name: one[name] for name in row} == row and one["error"] is None


@settings(max_examples=examples(40), deadline=None)
@given(seed=SEEDS, cuts=st.integers(1, 3), on_topics=st.booleans())
def test_a_row_that_is_an_event_has_the_vector_of_its_sample(
    seed: int, cuts: int, on_topics: bool, folder: Path
) -> None:
    chance, of = random.Random(seed), pipeline()
    events = partitions(seed, chance.randrange(2, 60))
    log = log_of(of, events)
    samples = {one.id: one for one in Recomputation(of, log).entries() if isinstance(one, Sample)}
    ids = [json.loads(value)["parcel"] for values in events[SENT.name] for value in values] + ["nobody"]
    chance.shuffle(ids)
    spine = [{"parcel": one, "label": n} for n, one in enumerate([*ids, *ids[:1]])]
    write(folder / "ids.jsonl", spine)
    given = {} if on_topics else files(folder / "events", events, "jsonl", cuts)
    job = Job(
        of,
        str(folder / "ids.jsonl"),
        str(folder / "of_ids.jsonl"),
        given,
        events=True,
        buckets=chance.choice((1, 3)),
    )
    try:
        done, found = run(job, log_of=lambda: log)
    except CannotUse as error:
        assert "not one of" in str(error), error
        return
    inputs = len(of.inputs)
    assert done.answered == sum(one["parcel"] in samples for one in spine)
    for row, one in zip(spine, found, strict=True):
        sample = samples.get(row["parcel"])
        assert one["label"] == row["label"]
        if sample is None:
            assert one["error"] == "no event of parcels.sent has this id" and {
                one[name] for name in job.names
            } == {None}
        else:
            assert [one[name] for name in job.names] == sample.x[inputs:] and one["error"] is None


def flow_of(of: Pipeline, events: Iterable[Any]) -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(of, clock=lambda: next(wall))
    flow.feed(outs(events))
    flow.settle()
    return flow


@pytest.mark.long
def test_the_flights_of_some_days_have_the_features_of_the_live_flows_samples_to_the_bit(
    tmp_path: Path,
) -> None:
    events = [
        (one.topic, one.key, one.fields)
        for one in flights_data.events(end=flights_data.INCIDENT_DAYS[0].replace(month=1, day=3))
    ]
    flow = flow_of(flights.pipeline, [(topic, key or "", fields) for topic, key, fields in events])
    log = everything(flow.log, topology.samples("flights"))
    samples = [one for record in log if isinstance(one := decode_entry(record.value or b""), Sample)]
    assert len(samples) > 1_500
    given: dict[str, list[list[str]]] = {}
    for source in flights.pipeline.sources:
        given[source.name] = []
        for number in range(2):
            path = tmp_path / f"{source.name}-{number}.parquet"
            records = [r for r in everything(flow.log, source.name) if r.partition == number]
            write(path, [json.loads(r.value or b"") for r in records])
            given[source.name].append([str(path)])
    write(
        tmp_path / "spine.parquet", [{"flight_id": one.id, "departs_at": one.at} for one in reversed(samples)]
    )
    job = Job(
        flights.pipeline, str(tmp_path / "spine.parquet"), str(tmp_path / "out.parquet"), given, events=True
    )
    assert history(job).answered == len(samples)
    table = pyarrow.parquet.read_table(job.out)
    columns = [table.column(name).to_pylist() for name in job.names]
    inputs = len(flights.pipeline.inputs)
    assert [list(row) for row in zip(*columns, strict=True)] == [one.x[inputs:] for one in reversed(samples)]
    assert table.column("flight_id").to_pylist() == [one.id for one in reversed(samples)]


def spine_of_cards(folder: Path, number: int = 300) -> dict[str, Any]:
    """Payments of cards in a file and a spine in another: what a job needs."""
    folder.mkdir(exist_ok=True)
    events = [event for _, _, event in card_events(number)]
    chance = random.Random(3)
    spine = [
        {"card": f"c{chance.randrange(32)}", "at": START_MS + chance.randrange(200) * 60_000, "n": n}
        for n in range(200)
    ]
    write(folder / "paid.jsonl", events)
    write(folder / "spine.jsonl", spine)
    return {"spine": str(folder / "spine.jsonl"), "files": {"cards.paid": [[str(folder / "paid.jsonl")]]}}


def test_the_parts_of_a_spine_are_the_whole_and_each_entity_is_in_one(tmp_path: Path) -> None:
    given = spine_of_cards(tmp_path)
    _, whole = run(Job(cards(), out=str(tmp_path / "whole.jsonl"), **given))
    parts = [run(Job(cards(), out=str(tmp_path / f"{n}.jsonl"), part=(n, 3), **given))[1] for n in (1, 2, 3)]
    assert sorted((row for part in parts for row in part), key=lambda row: row["n"]) == whole
    assert all([row["n"] for row in part] == sorted(row["n"] for row in part) and part for part in parts)
    owners = [{row["card"] for row in part} for part in parts]
    assert sum(map(len, owners)) == len(set().union(*owners))


def test_files_in_any_order_give_what_they_give_in_order_when_they_are_said_to_be_unordered(
    tmp_path: Path,
) -> None:
    given = spine_of_cards(tmp_path)
    _, expected = run(Job(cards(), out=str(tmp_path / "out.jsonl"), **given))
    events = read(tmp_path / "paid.jsonl")
    random.Random(1).shuffle(events)
    write(tmp_path / "first.jsonl", events[:150])
    write(tmp_path / "second.jsonl", events[150:])
    given["files"] = {"cards.paid": [[str(tmp_path / "first.jsonl"), str(tmp_path / "second.jsonl")]]}
    assert run(Job(cards(), out=str(tmp_path / "out.jsonl"), unordered=True, **given))[1] == expected


def test_files_are_rows_whatever_the_format_of_their_topic(tmp_path: Path) -> None:
    """A topic whose tombstones say nothing is not plain JSON; its files are."""
    given = spine_of_cards(tmp_path)
    _, expected = run(Job(cards(), out=str(tmp_path / "out.jsonl"), **given))
    paid = replace(PAID, nulls="ignore")
    of = cards(
        views=[View("card", paid, key="card", features=dict(cards().views[0].features))],
        predict=paid,
        label=Label(paid, unlucky, fields=("fraud",)),
    )
    assert not paid.plain
    for unordered in (False, True):
        assert run(Job(of, out=str(tmp_path / "out.jsonl"), unordered=unordered, **given))[1] == expected


def unlucky(event: Mapping[str, Any]) -> bool:
    return bool(event["fraud"])


def test_late_events_are_counted_under_one_reason(tmp_path: Path) -> None:
    given = spine_of_cards(tmp_path)
    late = [{"payment": f"l{n}", "paid_at": n, "card": "c1", "amount": 1, "fraud": False} for n in range(30)]
    write(tmp_path / "paid.jsonl", [*read(tmp_path / "paid.jsonl"), *late])
    done, _ = run(Job(cards(), out=str(tmp_path / "out.jsonl"), **given))
    assert done.left_out == {"cards.paid": {"it is more than 1d behind the newest of its partition": 30}}


def test_what_is_wrong_with_a_row_is_said_beside_it(tmp_path: Path) -> None:
    given = spine_of_cards(tmp_path)
    spine = [
        {"card": "c1", "at": START_MS},
        {"card": "c1", "at": None},
        {"card": 1.5, "at": START_MS},
        {"card": "c1", "at": "noon"},
    ]
    write(tmp_path / "spine.jsonl", spine)
    done, found = run(Job(cards(), out=str(tmp_path / "out.jsonl"), **given))
    assert (done.rows, done.answered) == (4, 1) and set(done.errors) == {1, 2, 3}
    assert [row["error"] is None for row in found] == [True, False, False, False]
    assert "nothing says which moment" in found[1]["error"] and "text or an integer" in found[2]["error"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"spine": "spine.jsonl", "out": "spine.jsonl"}, "--out is the spine"),
        ({"files": {"cards.unpaid": []}}, "no files are given for cards.paid"),
        ({"files": {}}, "nothing says where events come from"),
        ({"time": "when"}, "has no column when; its columns: card, at, n"),
        ({"events": True}, "has no column payment, by which"),
        ({"part_by": ("till",), "part": (1, 2)}, "--part-by: the spine has no column till"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    change: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {**spine_of_cards(tmp_path), "out": "out.jsonl", **change}
    with pytest.raises(CannotUse, match=why):
        history(Job(cards(), **given))
    assert not Path("out.jsonl").exists()


def test_a_source_of_which_no_row_is_an_event_is_no_source(tmp_path: Path) -> None:
    given = spine_of_cards(tmp_path)
    write(tmp_path / "paid.jsonl", [{"payment": "p1"}])
    with pytest.raises(
        CannotUse, match="not one of 1 rows is an event of cards.paid: Object missing required field"
    ):
        history(Job(cards(), out=str(tmp_path / "out.jsonl"), **given))


def test_a_spine_without_rows_gives_a_file_without_rows(tmp_path: Path) -> None:
    given = spine_of_cards(tmp_path)
    (tmp_path / "spine.csv").write_text("card,at\n")
    job = Job(cards(), **{**given, "spine": str(tmp_path / "spine.csv")}, out=str(tmp_path / "out.csv"))
    assert history(job).rows == 0
    assert (tmp_path / "out.csv").read_text() == "card,at,card.paid_1h,card.mean_1d,error\n"
    assert history(replace(job, views=("card",))).rows == 0
