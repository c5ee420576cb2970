"""A topic's records, judged: what a producer did wrong is counted, and said with what to do."""

from __future__ import annotations

import json
import zlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.features.redis.keys import record_key
from penstock.stream.cli.check_sample import as_json, as_text
from penstock.stream.log.protocol import Record, partition_for
from penstock.stream.operate.sampling import Judged, judge
from tests.stream.generated import PAID, START_MS, card_events, cards
from tests.stream.test_compound_keys import SOLD, sales, shops

PARTITIONS = 4


def record(event: Any, *, key: bytes | None = b"", partition: int | None = None, offset: int = 0) -> Record:
    value = event if isinstance(event, bytes) else json.dumps(event).encode()
    key = event["card"].encode() if key == b"" and isinstance(event, dict) else key
    place = partition_for(key or b"", PARTITIONS) if partition is None else partition
    return Record(PAID.name, place, offset, START_MS + 10**9, key, value, ())


def events(number: int = 60) -> list[dict[str, Any]]:
    return [event for _, _, event in card_events(number)]


def judged(records: list[Record]) -> Judged:
    return judge(cards(), PAID, records, PARTITIONS)


def told(found: Judged, *, partitioned: bool = True) -> str:
    return "\n".join(as_text(found, "card", partitioned=partitioned))


def test_right_records_are_all_right() -> None:
    found = judged([record(event) for event in events()])
    assert not found.wrong and found.records == 60
    assert "all right: types, times, keys and partitions" in told(found)
    assert "event times 2023-11-14T22:13" in told(found)


def test_an_empty_topic_is_said_and_nothing_is_wrong() -> None:
    assert told(judged([])).endswith("it is empty") and not judged([]).wrong


def test_records_where_librdkafkas_default_puts_them_are_recognised() -> None:
    found = judged([record(e, partition=zlib.crc32(e["card"].encode()) % PARTITIONS) for e in events()])
    assert found.other_key == 0 and 0 < found.other_partition == found.by_crc32
    assert "crc32, puts them: set partitioner=murmur2_random" in told(found)
    assert "counted apart" in told(found) and "counted apart" not in told(found, partitioned=False)


def test_records_anywhere_else_are_told_to_use_murmur2() -> None:
    found = judged([record(e, partition=n % PARTITIONS) for n, e in enumerate(events())])
    assert found.other_partition > found.by_crc32
    assert "partition by key with murmur2" in told(found)


def test_records_without_a_key_or_with_another_one_are_counted() -> None:
    made = events()
    found = judged(
        [record(e, key=None, partition=0) for e in made[:10]] + [record(e, key=b"other") for e in made[10:]]
    )
    assert (found.keyless, found.other_key) == (10, 60)
    assert "the key of 60 records is not their 'card' (10 have none)" in told(found)


def test_what_would_be_a_dead_letter_is_counted_by_reason_with_a_place() -> None:
    bad = [b"no JSON", {**events()[0], "amount": "much"}, {**events()[1], "paid_at": START_MS + 10**12}]
    found = judged([record(one, key=b"c1", partition=2, offset=n) for n, one in enumerate(bad)])
    assert found.dead.total() == 3 and len(found.dead) == 3
    text = told(found)
    assert "3 of 3 (100.0%) would be dead letters" in text and "cards.paid[2]@1: Expected `" in text


def test_the_same_reason_with_other_numbers_is_one_kind() -> None:
    made = [{**event, "paid_at": START_MS + 10**12 + n} for n, event in enumerate(events(20))]
    found = judged([record(event) for event in made])
    assert list(found.dead.values()) == [20]


def test_a_topic_in_seconds_is_said_though_nothing_of_it_is_refused() -> None:
    found = judged([record({**e, "paid_at": e["paid_at"] // 1_000}) for e in events()])
    assert not found.dead and found.units == {"seconds": 60} and found.wrong
    assert "60 event times look like seconds" in told(found)


def test_a_labels_function_that_fails_is_a_dead_letter_here_too() -> None:
    from tests.stream.generated import Label

    pipeline = cards(label=Label(PAID, lambda e: e["gone"]))
    found = judge(pipeline, PAID, [record(event) for event in events(3)], PARTITIONS)
    assert list(found.dead) == ["the outcome raised KeyError: 'gone'"]


def test_a_compound_key_is_compared_like_any_other() -> None:
    made = []
    for out in sales(40):
        assert out.key == (record_key(json.loads(out.value or b""), SOLD.key_fields) or "").encode()
        made.append(
            Record(SOLD.name, partition_for(out.key or b"", 3), 0, START_MS + 10**9, out.key, out.value, ())
        )
    assert not judge(shops(), SOLD, made, 3).wrong
    assert judge(shops(), SOLD, [r._replace(key=b"x") for r in made], 3).other_key == 40


def test_reasons_hold_nothing_that_a_terminal_would_obey() -> None:
    text = told(judged([record({**events()[0], "paid_at": "\x1b[2J"})]))
    assert "\x1b" not in text


VALUES = [b"", b"null", b"[]", b"{}", b"\xff", b'{"paid_at": 1e400}', json.dumps(events(1)[0]).encode()]


@given(st.lists(st.tuples(st.sampled_from(VALUES), st.integers(0, 3)), max_size=5))
def test_any_bytes_are_judged(values: list[tuple[bytes, int]]) -> None:
    found = judged(
        [record(value, key=None, partition=place, offset=n) for n, (value, place) in enumerate(values)]
    )
    assert found.records == len(values) and json.dumps(as_json(found)) and told(found)
