"""The first pure step: one item in, one sample, label, both, neither or a dead letter out; positions with state."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from penstock import View, count, last_n
from penstock.features.redis.store import UNIT_BYTES
from penstock.stream.definitions import DefinitionError, Label, Pipeline
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.featurize.position import HeadPosition, TopicRecreated, decode_position
from penstock.stream.featurize.step import Featurize
from penstock.stream.log.protocol import MAX_RECORD_BYTES, Headers, Out, Record, record_bytes
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample, decode_entry
from tests.stream.generated import DELIVERED, HOUR, MINUTE, PAID, SENT, START_MS, cards, parcels

NOW_MS = START_MS + 60 * 86_400_000


class Bench:
    """A task fed record by record, its states kept in a dict."""

    def __init__(self, pipeline: Pipeline, partitions: int = 2) -> None:
        self.pipeline = pipeline
        ids = {source.name: f"id of {source.name}" for source in pipeline.sources}
        self.featurize = Featurize(pipeline, ids, "all")
        self.decoders = [SourceDecoder(pipeline, source) for source in pipeline.sources]
        heads = [
            (source, partition) for source in range(len(pipeline.sources)) for partition in range(partitions)
        ]
        self.featurize.start({head: HeadPosition(0) for head in heads}, pipeline.digest)
        self.states: dict[str, bytes] = {}

    def give(
        self,
        topic: str,
        value: dict[str, Any] | bytes | None,
        partition: int = 0,
        key: bytes | None = b"k",
        headers: Headers = (),
    ) -> list[Out]:
        """Step one record; what it put out."""
        featurize = self.featurize
        index = [source.name for source in self.pipeline.sources].index(topic)
        place = featurize.positions[(index, partition)]
        raw = json.dumps(value).encode() if isinstance(value, dict) else value
        record = Record(topic, partition, place.offset, NOW_MS, key, raw, headers)
        (item,) = self.decoders[index].items([record], place.newest_at)
        entities = featurize.entities(item)
        for number, entity in featurize.missing([item], [entities]):
            featurize.put(number, entity, self.states.get(featurize.stored_key(number, entity)))
        before = len(featurize.outs)
        featurize.step(item, entities)
        return featurize.outs[before:]

    def entries(self, topic: str, value: dict[str, Any], partition: int = 0) -> list[Entry]:
        return [decode_entry(out.value or b"") for out in self.give(topic, value, partition)]

    def close(self) -> Any:
        closed = self.featurize.close_unit(written_ms=7)
        self.states.update({write.state_key: write.state for write in closed.unit.writes})
        return closed


def sent(parcel: str, minute: int, **fields: Any) -> dict[str, Any]:
    at = START_MS + minute * MINUTE
    return {
        "parcel": parcel,
        "sent_at": at,
        "van": "v1",
        "depot": "d1",
        "street": "s1",
        "weight": 2.0,
        **fields,
    }


def delivered(parcel: str, minute: int, late: Any = 20.0, **fields: Any) -> dict[str, Any]:
    at = START_MS + minute * MINUTE
    return {
        "parcel": parcel,
        "done_at": at,
        "van": "v1",
        "depot": "d1",
        "street": "s1",
        "late": late,
        **fields,
    }


def test_an_event_of_the_predicted_source_is_one_sample_with_the_vector_of_its_moment() -> None:
    bench = Bench(parcels())
    bench.entries(DELIVERED.name, delivered("p0", 0, late=20.0))
    (sample,) = bench.entries(SENT.name, sent("p1", 30))
    # weight, depot.late_3h, depot.done_1h, street.late, street.idle, traffic.sent_1h, traffic.idle
    x = [2.0, 20.0, 1.0, 20.0, 1800.0, 1.0, None]
    at, recipe = START_MS + 30 * MINUTE, parcels().digest
    assert sample == Sample(Origin(f"id of {SENT.name}", 0, 0, 0), "p1", "v1", at, x, recipe)


def test_on_its_own_source_the_time_since_the_last_is_read_before_the_update_and_counts_after_it() -> None:
    bench = Bench(parcels())
    bench.entries(SENT.name, sent("p1", 0))
    (sample,) = bench.entries(SENT.name, sent("p2", 10))
    assert isinstance(sample, Sample) and sample.x[5:] == [2.0, 600.0]


def test_an_event_of_the_labels_source_is_one_label() -> None:
    (label,) = Bench(parcels()).entries(DELIVERED.name, delivered("p1", 3, late=15.1), partition=1)
    assert label == LabelRecord(Origin(f"id of {DELIVERED.name}", 1, 0, 1), "p1", START_MS + 3 * MINUTE, True)


def test_an_event_that_carries_its_label_is_a_sample_then_its_label_told_apart_by_sub() -> None:
    bench = Bench(cards())
    event = {"payment": 5, "paid_at": START_MS, "card": "c", "amount": 3, "fraud": False}
    sample, label = bench.entries(PAID.name, event)
    assert isinstance(sample, Sample) and isinstance(label, LabelRecord)
    assert (sample.origin.sub, label.origin.sub, label.y, sample.id, label.id) == (0, 1, False, "5", "5")


def test_an_outcome_of_none_is_no_label_but_feeds_the_views() -> None:
    bench = Bench(
        parcels(
            label=Label(DELIVERED, lambda e: None if e["late"] is None else e["late"] > 15, fields=("late",))
        )
    )
    assert bench.entries(DELIVERED.name, delivered("p1", 0, late=None)) == []
    (sample,) = bench.entries(SENT.name, sent("p2", 1))
    assert isinstance(sample, Sample) and sample.x[1:3] == [None, 1.0]


class Unsure:
    """What has no truth value."""

    def __bool__(self) -> bool:
        raise ValueError("unsure")


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (lambda e: e["nowhere"], "KeyError"),
        (lambda e: 1 / 0, "ZeroDivisionError"),
        (lambda e: Unsure(), "must be true, false, 1 or 0"),
        (lambda e: "no", "'no' (str)"),
        (lambda e: "false", "the outcome is no label: 'false' (str); it must be true, false, 1 or 0"),
        (lambda e: 2, "2 (int)"),
        (lambda e: 0.5, "0.5 (float)"),
        (lambda e: float("nan"), "nan (float)"),
        (lambda e: [], "[] (list)"),
        (lambda e: np.int64(2), "2"),
        (lambda e: np.array([1, 0]), "ndarray"),
        (lambda e: "x" * 5000, "…' (str)".replace("'", "")),
    ],
)
def test_an_outcome_that_fails_is_a_dead_letter_and_feeds_nothing(outcome: Any, says: str) -> None:
    bench = Bench(parcels(label=Label(DELIVERED, outcome, fields=("late",))))
    (out,) = bench.give(DELIVERED.name, delivered("p1", 0))
    assert says in dict(out.headers)["penstock-reason"].decode()
    (sample,) = bench.entries(SENT.name, sent("p2", 1))
    assert isinstance(sample, Sample) and sample.x[1:5] == [None, 0.0, None, None]


@pytest.mark.parametrize(
    ("outcome", "y"),
    [
        (True, True),
        (0, False),
        (1, True),
        (0.0, False),
        (np.True_, True),
        (np.False_, False),
        (np.int64(1), True),
        (np.float32(0), False),
    ],
)
def test_what_is_true_or_false_in_any_of_pythons_words_is_a_label(outcome: Any, y: bool) -> None:
    bench = Bench(parcels(label=Label(DELIVERED, lambda e: outcome, fields=("late",))))
    (label,) = bench.entries(DELIVERED.name, delivered("p1", 0))
    assert isinstance(label, LabelRecord) and label.y is y


@pytest.mark.parametrize(
    ("kind", "late", "y"),
    [
        ("number", 20, 20.0),
        ("number", -0.5, -0.5),
        ("class", "very", "very"),
        ("class", 3, 3),
        ("class", False, False),
    ],
)
def test_a_target_of_another_kind_stands_in_the_log_as_the_model_learns_it(
    kind: Any, late: Any, y: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "target_kind", kind)
    bench = Bench(parcels(views=[], label=Label(DELIVERED, "late")))
    (label,) = bench.entries(DELIVERED.name, delivered("p1", 0, late=late))
    assert isinstance(label, LabelRecord) and label.y == y and type(label.y) is type(y)


@pytest.mark.parametrize(
    ("kind", "late"), [("number", "20"), ("number", True), ("number", 1e76), ("class", 0.5), ("class", "")]
)
def test_what_is_no_target_of_the_models_kind_is_a_dead_letter(
    kind: Any, late: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "target_kind", kind)
    bench = Bench(parcels(views=[], label=Label(DELIVERED, "late")))
    (out,) = bench.give(DELIVERED.name, delivered("p1", 0, late=late))
    assert "the outcome is no label" in dict(out.headers)["penstock-reason"].decode()


def test_a_label_by_key_names_the_entity_in_the_sample_and_in_the_label() -> None:
    label = Label(DELIVERED, key=("depot", "street"), within="1h")
    bench = Bench(parcels(views=[], label=label))
    (sample,) = bench.entries(SENT.name, sent("p1", 0, depot="d|1", street=7))
    assert isinstance(sample, Sample) and sample.label_key == "d%7C1|7"
    (found,) = bench.entries(DELIVERED.name, delivered("other id", 1, depot="d|1", street="7"))
    assert isinstance(found, LabelRecord) and (found.key, found.y) == ("d%7C1|7", True)
    assert bench.entries(DELIVERED.name, delivered("p3", 2, depot=None)) == []
    (unknown,) = bench.entries(SENT.name, sent("p4", 3, street=None))
    assert isinstance(unknown, Sample) and unknown.label_key is None


def test_the_fields_of_a_labels_key_must_be_there_and_be_keys() -> None:
    bench = Bench(parcels(views=[], label=Label(DELIVERED, key="depot", within="1h")))
    for topic, event in ((SENT.name, sent("p1", 0)), (DELIVERED.name, delivered("p1", 0))):
        for broken in ({**event, "depot": 1.5}, {k: v for k, v in event.items() if k != "depot"}):
            (out,) = bench.give(topic, broken)
            assert "depot" in dict(out.headers)["penstock-reason"].decode()


def test_an_entity_that_is_null_has_the_values_of_nothing_and_changes_nothing() -> None:
    bench = Bench(parcels())
    (sample,) = bench.entries(SENT.name, sent("p1", 0, depot=None))
    assert isinstance(sample, Sample) and sample.x == [2.0, None, 0.0, None, None, 0.0, None]
    assert bench.close().unit.writes == []


def test_a_null_key_of_the_source_is_a_sample_with_an_empty_key() -> None:
    (sample,) = Bench(parcels()).entries(SENT.name, sent("p1", 0, van=None))
    assert isinstance(sample, Sample) and sample.key == ""


def test_a_bad_record_is_a_dead_letter_with_its_bytes_key_headers_reason_and_place() -> None:
    bench = Bench(parcels())
    bench.give(SENT.name, sent("p0", 0), partition=1)
    (out,) = bench.give(SENT.name, b"\xff{", partition=1, key=b"v9", headers=(("trace", b"t1"),))
    assert (out.topic, out.key, out.value) == ("parcels.dead-letters", b"v9", b"\xff{")
    headers = dict(out.headers)
    assert "not a JSON object" in headers.pop("penstock-reason").decode()
    assert headers == {
        "trace": b"t1",
        "penstock-topic": SENT.name.encode(),
        "penstock-partition": b"1",
        "penstock-offset": b"1",
        "penstock-id": f"id of {SENT.name}-1-1".encode(),
    }
    assert bench.featurize.counts.dead_letters == {"not a JSON object": 1}


def test_a_null_header_of_a_bad_record_is_kept() -> None:
    """Kafka's headers may be null: `len(None)` would stop the worker, and again at every restart."""
    (out,) = Bench(parcels()).give(SENT.name, b"{", headers=(("trace", None), ("trace", b"1")))
    assert out.headers[:2] == (("trace", None), ("trace", b"1")) and record_bytes(out) > 0


def test_a_tombstone_is_a_dead_letter_without_a_value() -> None:
    (out,) = Bench(parcels()).give(SENT.name, None)
    assert out.value is None and b"tombstone" in dict(out.headers)["penstock-reason"]


@pytest.mark.parametrize(
    ("key", "headers", "value"),
    [
        (b"k", (), b"x" * 1_048_000),
        (b"k" * 300_000, (), b"x" * 700_000),
        (b"k", (("h", b"h" * 500_000),), b"x" * 500_000),
        (b"k" * 90_000, (("h", b"h" * 9_000),), b"x" * 900_000),
        (None, tuple((f"h{n}", b"") for n in range(60_000)), None),
        (None, tuple((f"h{n}", None) for n in range(60_000)), None),
    ],
)
def test_a_dead_letter_of_the_largest_record_still_fits_a_record(
    key: bytes | None, headers: Headers, value: bytes | None
) -> None:
    (out,) = Bench(parcels()).give(SENT.name, value, key=key, headers=headers)
    assert record_bytes(out) <= MAX_RECORD_BYTES


def test_a_reason_that_repeats_a_huge_value_is_cut() -> None:
    bench = Bench(parcels(label=Label(DELIVERED, lambda e: int(e["late"]) > 3, fields=("late",)), views=[]))
    (out,) = bench.give(DELIVERED.name, delivered("p", 0, late="y" * 800_000))
    assert record_bytes(out) <= MAX_RECORD_BYTES and len(dict(out.headers)["penstock-reason"]) <= 1_000


def test_reasons_are_counted_in_few_kinds_however_the_numbers_differ() -> None:
    bench = Bench(parcels())
    for minute in range(50):
        bench.give(SENT.name, sent("p", 0, sent_at=NOW_MS + minute * MINUTE + 10 * HOUR))
    assert list(bench.featurize.counts.dead_letters.values()) == [50]


def test_a_unit_names_where_it_starts_and_ends_and_the_next_one_goes_on_there() -> None:
    bench = Bench(parcels())
    bench.give(SENT.name, sent("p1", 0))
    first = bench.close()
    bench.give(DELIVERED.name, delivered("p1", 5), partition=1)
    second = bench.close()
    assert first.unit.new == second.unit.base and first.unit.base != first.unit.new != second.unit.new
    assert second.positions == {(0, 0): 1, (0, 1): 0, (1, 0): 0, (1, 1): 1}
    positions = bench.featurize.places_in(decode_position(second.unit.new))
    assert (
        positions[(0, 0)] == HeadPosition(1, START_MS)
        and positions[(1, 1)] == HeadPosition(1, START_MS + 5 * MINUTE)
        and positions[(0, 1)] == HeadPosition(0)
    )


def test_a_unit_writes_each_entity_it_touched_once_with_state_and_document() -> None:
    bench = Bench(parcels())
    for n in range(3):
        bench.give(DELIVERED.name, delivered(f"p{n}", n, street=f"s{n % 2}"))
    writes = bench.close().unit.writes
    keys = sorted(write.public_key for write in writes)
    assert keys == [
        "features:parcels:depot:d1",
        "features:parcels:street:d1|s0",
        "features:parcels:street:d1|s1",
    ]
    document = json.loads(next(write.document for write in writes if ":depot:" in write.public_key))
    assert document["values"] == {"late_3h": 20.0, "done_1h": 3.0}
    assert (document["at"], document["written"], document["recipe"]) == (
        START_MS + 2 * MINUTE,
        7,
        bench.pipeline.views[0].version,
    )
    assert bench.close().unit.writes == []


def test_state_that_was_stored_and_loaded_goes_on_as_if_it_had_stayed() -> None:
    stays, goes = Bench(parcels()), Bench(parcels())
    for n in range(30):
        event = (SENT.name, sent(f"p{n}", 2 * n)) if n % 3 else (DELIVERED.name, delivered(f"p{n}", 2 * n))
        assert stays.give(*event) == goes.give(*event)
        assert stays.close().unit == goes.close().unit
        goes.featurize.forget(n % 2)


def test_a_unit_is_full_when_it_touches_as_many_keys_as_one_script_should() -> None:
    bench = Bench(parcels())
    for n in range(1_000):
        bench.give(SENT.name, sent(f"p{n}", 0, depot=f"d{n}"))
        if bench.featurize.unit_is_full:
            break
    assert len(bench.close().unit.writes) == 125
    assert not bench.featurize.unit_is_full


def test_a_unit_is_full_when_it_holds_as_many_bytes_as_one_script_should() -> None:
    """State of 16 KB an entity: 125 of them would be 2 MB in one script."""
    depot = View("depot", SENT, key="depot", features={"weights": last_n("weight", 500)})
    bench, sizes = Bench(parcels(views=[depot])), []
    for turn in range(3):
        for n in range(20):
            for m in range(500 if turn == 0 else 1):
                bench.give(SENT.name, sent(f"p{n}", 0, depot=f"d{n}", weight=m / 7))
            if bench.featurize.unit_is_full:
                sizes.append(sum(len(w.state) + len(w.document) for w in bench.close().unit.writes))
        bench.close()
        if turn == 1:
            bench.featurize.forget(0)
    assert sizes and max(sizes) < 2 * UNIT_BYTES


def test_small_states_fill_a_unit_by_their_number_alone() -> None:
    bench = Bench(parcels())
    for n in range(200):
        bench.give(SENT.name, sent(f"p{n}", n // 100, depot=f"d{n % 100}"))
        if n % 100 == 99:
            bench.close()
    assert not any(bench.featurize.large)


def test_a_document_after_a_restart_is_of_the_moment_the_task_has_reached() -> None:
    bench = Bench(parcels())
    bench.give(SENT.name, sent("p1", 90))
    position = bench.close().unit.new
    again = Bench(parcels())
    again.states = bench.states
    again.featurize.start(again.featurize.places_in(decode_position(position)), again.pipeline.digest)
    again.give(DELIVERED.name, delivered("p0", 0))
    documents = [json.loads(write.document)["at"] for write in again.close().unit.writes]
    assert documents == [START_MS + 90 * MINUTE] * 2


def test_a_position_of_a_recreated_topic_is_refused() -> None:
    bench = Bench(parcels())
    position = bench.featurize.position()
    other = Featurize(
        bench.pipeline, {SENT.name: "another", DELIVERED.name: f"id of {DELIVERED.name}"}, "all"
    )
    with pytest.raises(TopicRecreated, match=r"parcels\.sent.*deleted and created again") as error:
        other.places_in(decode_position(position))
    assert isinstance(error.value, DefinitionError), "the command line says it in one line"


def test_a_view_of_another_source_than_label_and_prediction_is_fed_and_gives_nothing() -> None:
    scans = Bench(parcels()).pipeline.sources[0].__class__("scans", id="scan", time="at", key="depot")
    bench = Bench(parcels(views=[View("scans", scans, key="depot", features={"n": count("1h")})]))
    assert bench.entries("scans", {"scan": 1, "at": START_MS, "depot": "d1"}) == []
    (sample,) = bench.entries(SENT.name, sent("p1", 1))
    assert isinstance(sample, Sample) and sample.x == [2.0, 1.0]


def test_a_sample_carries_the_segments_that_are_no_inputs_null_among_them() -> None:
    bench = Bench(parcels(segments=["depot", "weight", "zone"]))
    (sample,) = bench.entries(SENT.name, sent("p1", 0, depot=None, zone="north"))
    assert isinstance(sample, Sample) and sample.segments == [None, "north"]
    (plain,) = Bench(parcels()).entries(SENT.name, sent("p1", 0))
    assert isinstance(plain, Sample) and plain.segments is None


def test_a_record_whose_segment_is_missing_or_too_long_is_a_dead_letter_that_names_it() -> None:
    for fields in ({}, {"zone": "n" * 513}, {"zone": ["north"]}):
        bench = Bench(parcels(segments=["zone"]))
        (letter,) = bench.give(SENT.name, sent("p1", 0, **fields))
        assert letter.topic.endswith("dead-letters") and b"zone" in b"".join(v for _, v in letter.headers)


def test_a_segment_that_a_later_label_reads_as_well_holds_no_lists() -> None:
    label = Label(PAID, lambda e: e["state"] == "bad", key="card", within="1d", fields=("state",))
    bench = Bench(cards(label=label, segments=["state"]))
    event = {"payment": "p1", "paid_at": START_MS, "card": "c", "amount": 1.0, "state": ["bad"]}
    (letter,) = bench.give(PAID.name, event)
    assert letter.topic.endswith("dead-letters")
    first, *_ = bench.entries(PAID.name, {**event, "state": "good"})
    assert isinstance(first, Sample) and first.segments == ["good"]
