"""The contract of `Log`, on the in-memory log and on Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.partitioner import murmur2 as reference_murmur2

from penstock.stream.log import kafka_appender
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import (
    TP,
    Assignment,
    Fenced,
    Log,
    Member,
    OffsetLost,
    Out,
    Reader,
    Record,
    RecordTooLarge,
    UnknownTopic,
    murmur2,
    partition_for,
)
from tests.patience import PATIENCE_S


class World(Protocol):
    """What a test does to a log from outside."""

    log: Log

    def create(self, partitions: int = 1) -> str: ...
    def delete(self, topic: str) -> None: ...
    def trim(self, topic: str, partition: int, before: int) -> None: ...


class MemoryWorld:
    def __init__(self, unique: Callable[[str], str]) -> None:
        self.log = self._log = MemoryLog()
        self._unique = unique

    def create(self, partitions: int = 1) -> str:
        topic = self._unique("t")
        self._log.create(topic, partitions)
        return topic

    def delete(self, topic: str) -> None:
        self._log.delete(topic)

    def trim(self, topic: str, partition: int, before: int) -> None:
        self._log.trim(topic, partition, before)


class KafkaWorld:
    def __init__(self, bootstrap: str, unique: Callable[[str], str]) -> None:
        self.bootstrap = bootstrap
        self.log = KafkaLog(bootstrap)
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self._unique = unique

    def create(self, partitions: int = 1) -> str:
        topic = self._unique("t")
        self.admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}})
        deadline = time.monotonic() + PATIENCE_S
        # creation is acknowledged before every part of the broker knows it
        while time.monotonic() < deadline:
            try:
                self.log.bounds([(topic, p) for p in range(partitions)])
                return topic
            except UnknownTopic:
                time.sleep(0.01)
        raise TimeoutError(topic)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])

    def trim(self, topic: str, partition: int, before: int) -> None:
        from kafka import TopicPartition

        self.admin.delete_records({TopicPartition(topic, partition): before})


@pytest.fixture(params=["memory", "kafka"])
def world(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld(unique)
        return
    kafka = KafkaWorld(request.getfixturevalue("kafka_bootstrap"), unique)
    yield kafka
    kafka.log.close()
    kafka.admin.close()


def read(reader: Reader, count: int) -> list[Record]:
    """Poll until `count` records came."""
    records: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count and time.monotonic() < deadline:
        records += reader.poll(count - len(records), 0.2)
    assert len(records) == count
    return records


def settle(*members: Member, until: Callable[[dict[Member, Assignment]], bool]) -> dict[Member, Assignment]:
    """Poll all members in turn until their last assignments satisfy `until`."""
    last: dict[Member, Assignment] = {}
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for member in members:
            member.poll(1, 0.02)
            change = member.take_assignment()
            if change is not None:
                last[member] = change
        if until(last):
            return last
    raise AssertionError(f"not settled: {last}")


def join(member: Member) -> tuple[TP, ...]:
    """Poll one member until it holds something."""
    return settle(member, until=lambda last: bool(last[member].assigned) if member in last else False)[
        member
    ].assigned


def values(outs: int, start: int = 0) -> list[bytes]:
    return [b"%d" % i for i in range(start, start + outs)]


def fill(world: World, topic: str, count: int, partition: int | None = None, start: int = 0) -> None:
    world.log.append([Out(topic, b"k", v, partition=partition) for v in values(count, start)])


# -- reading and appending


def test_a_cluster_has_one_id_and_no_other_cluster_has_it(world: World) -> None:
    assert world.log.cluster_id() == world.log.cluster_id() != ""
    assert world.log.cluster_id() != MemoryLog().cluster_id()


def test_what_was_appended_is_read_in_order_with_all_its_parts(world: World) -> None:
    topic = world.create()
    outs = [
        Out(topic, b"a", b"1"),
        Out(topic, None, b"2", (("h", b"x"), ("h", b""), ("h", None), ("ü", b"\x00\xff"))),
        Out(topic, b"c", None),
        Out(topic, b"", b""),
    ]
    world.log.append(outs)
    reader = world.log.reader({(topic, 0): 0})
    records = read(reader, 4)
    assert [(r.topic, r.partition, r.offset) for r in records] == [(topic, 0, i) for i in range(4)]
    assert [(r.key, r.value, r.headers) for r in records] == [(o.key, o.value, o.headers) for o in outs]
    assert all(type(r) is Record for r in records)
    reader.close()


def test_records_are_stamped_in_milliseconds_of_the_epoch(world: World) -> None:
    topic = world.create()
    before_ms = int(time.time() * 1000)
    fill(world, topic, 1)
    reader = world.log.reader({(topic, 0): 0})
    (record,) = read(reader, 1)
    assert before_ms <= record.timestamp_ms <= int(time.time() * 1000)
    reader.close()


def test_each_partition_keeps_the_order_of_its_batch(world: World) -> None:
    topic = world.create(3)
    world.log.append([Out(topic, b"%d" % (i % 17), b"%d" % i) for i in range(500)])
    reader = world.log.reader({(topic, p): 0 for p in range(3)})
    records = read(reader, 500)
    for p in range(3):
        part = [int(r.value or b"") for r in records if r.partition == p]
        assert part == sorted(part)
    assert sorted(int(r.value or b"") for r in records) == list(range(500))
    reader.close()


def test_poll_gives_no_more_than_asked_for_and_goes_on_where_it_stopped(world: World) -> None:
    topic = world.create()
    fill(world, topic, 10)
    reader = world.log.reader({(topic, 0): 0})
    seen = [read(reader, n) for n in (3, 1, 6)]
    assert [r.value for part in seen for r in part] == values(10)
    assert reader.poll(5, 0.0) == []
    reader.close()


def test_a_reader_starts_at_its_position_and_says_where_it_is(world: World) -> None:
    topic = world.create(2)
    fill(world, topic, 10, partition=1)
    reader = world.log.reader({(topic, 1): 6})
    assert reader.positions() == {(topic, 1): 6}
    assert [r.offset for r in read(reader, 2)] == [6, 7]
    assert reader.positions() == {(topic, 1): 8}
    read(reader, 2)
    assert reader.positions() == {(topic, 1): 10}
    assert reader.high_watermarks() == {(topic, 1): 10}
    reader.close()


def test_a_reader_at_the_end_gets_what_is_appended_later(world: World) -> None:
    topic = world.create()
    fill(world, topic, 3)
    reader = world.log.reader({(topic, 0): 3})
    assert reader.poll(10, 0.0) == []
    fill(world, topic, 2, start=3)
    assert [r.value for r in read(reader, 2)] == values(2, 3)
    reader.close()


def test_an_empty_append_is_nothing(world: World) -> None:
    topic = world.create()
    world.log.append([])
    assert world.log.bounds([(topic, 0)]) == {(topic, 0): (0, 0)}


def test_a_closed_reader_reads_nothing_and_closes_twice(world: World) -> None:
    topic = world.create()
    fill(world, topic, 1)
    reader = world.log.reader({(topic, 0): 0})
    reader.close()
    reader.close()
    assert reader.poll(1, 0.0) == []


def test_an_explicit_partition_wins_over_the_key(world: World) -> None:
    topic = world.create(4)
    fill(world, topic, 5, partition=3)
    assert world.log.bounds([(topic, 3)]) == {(topic, 3): (0, 5)}


def test_a_record_too_large_is_refused_by_name_and_nothing_is_sent(world: World) -> None:
    topic = world.create()
    outs = [Out(topic, b"a", b"x"), Out(topic, b"huge", b"x" * 1_000_001)]
    with pytest.raises(
        RecordTooLarge, match=rf"record 1 for topic '{topic}' with key b'huge' has 1000\d+ bytes"
    ) as caught:
        world.log.append(outs)
    assert caught.value.index == 1
    assert caught.value.out is outs[1]
    assert world.log.bounds([(topic, 0)]) == {(topic, 0): (0, 0)}


def test_a_record_of_just_the_limit_passes(world: World) -> None:
    topic = world.create()
    world.log.append([Out(topic, b"k", bytes(1_000_000 - 33))])
    assert world.log.bounds([(topic, 0)]) == {(topic, 0): (0, 1)}


# -- what a log knows


def test_an_unknown_topic_is_named_with_what_to_do(world: World) -> None:
    message = "topic 'nowhere' does not exist: create it with `penstock topics FILE`"
    for ask in (
        lambda: world.log.partitions("nowhere"),
        lambda: world.log.topic_id("nowhere"),
        lambda: world.log.append([Out("nowhere", b"k", b"v")]),
        lambda: world.log.reader({("nowhere", 0): 0}),
        lambda: world.log.member("g", ["nowhere"]),
    ):
        with pytest.raises(UnknownTopic, match=message):
            ask()
    with pytest.raises(UnknownTopic):
        world.log.bounds([("nowhere", 0)])


def test_an_unknown_partition_is_named(world: World) -> None:
    topic = world.create(2)
    with pytest.raises(UnknownTopic, match=f"partition 2 of topic '{topic}' does not exist"):
        world.log.reader({(topic, 2): 0})


def test_partitions_are_counted(world: World) -> None:
    assert world.log.partitions(world.create(5)) == 5


def test_a_topic_id_is_stable_and_its_own(world: World) -> None:
    one, other = world.create(), world.create()
    assert world.log.topic_id(one) == world.log.topic_id(one)
    assert world.log.topic_id(one) != world.log.topic_id(other)


def test_bounds_follow_appends_and_trims(world: World) -> None:
    topic = world.create(2)
    both = [(topic, 0), (topic, 1)]
    assert world.log.bounds(both) == {(topic, 0): (0, 0), (topic, 1): (0, 0)}
    fill(world, topic, 7, partition=1)
    world.trim(topic, 1, 3)
    assert world.log.bounds(both) == {(topic, 0): (0, 0), (topic, 1): (3, 7)}
    assert world.log.bounds([]) == {}


def test_the_first_record_from_a_time_on_is_found_by_its_timestamp(world: World) -> None:
    topic = world.create(2)
    both = [(topic, 0), (topic, 1)]
    before_ms = int(time.time() * 1000) - 60_000
    assert world.log.first_at(both, before_ms) == {}
    fill(world, topic, 3, partition=1)
    assert world.log.first_at(both, before_ms) == {(topic, 1): 0}
    world.trim(topic, 1, 2)
    assert world.log.first_at(both, before_ms) == {(topic, 1): 2}
    assert world.log.first_at(both, before_ms + 3_600_000) == {}
    stamp_ms = read(world.log.reader({(topic, 1): 2}), 1)[0].timestamp_ms
    assert world.log.first_at(both, stamp_ms) == {(topic, 1): 2}
    assert world.log.first_at(both, stamp_ms + 1) == {}


def test_an_offset_below_the_start_is_an_error_not_a_skip(world: World) -> None:
    topic = world.create()
    fill(world, topic, 10)
    world.trim(topic, 0, 4)
    reader = world.log.reader({(topic, 0): 1})
    for _ in range(2):  # and stays one
        with pytest.raises(OffsetLost, match=rf"offsets 1 to 3 of {topic}\[0\] are gone") as caught:
            read(reader, 1)
        lost = caught.value
        assert (lost.tp, lost.wanted, lost.start, lost.end) == ((topic, 0), 1, 4, 10)
    reader.close()


def test_an_offset_beyond_the_end_is_an_error(world: World) -> None:
    topic = world.create()
    fill(world, topic, 2)
    reader = world.log.reader({(topic, 0): 5})
    with pytest.raises(OffsetLost, match=rf"offset 5 of {topic}\[0\] is beyond the log's end \(2\)"):
        read(reader, 1)
    reader.close()


def test_records_before_a_lost_partition_are_not_swallowed(world: World) -> None:
    topic = world.create(2)
    fill(world, topic, 5, partition=0)
    fill(world, topic, 5, partition=1)
    world.trim(topic, 1, 3)
    reader = world.log.reader({(topic, 0): 0, (topic, 1): 0})
    seen: list[Record] = []
    with pytest.raises(OffsetLost):
        for _ in range(200):
            seen += reader.poll(2, 0.1)
    assert [r.offset for r in seen] == list(range(len(seen)))
    assert reader.positions()[topic, 0] == len(seen)
    assert reader.positions()[topic, 1] == 0
    reader.close()


# -- groups


def test_a_member_alone_gets_all_partitions_and_reads_only_when_told_where(
    world: World, unique: Callable[[str], str]
) -> None:
    topic = world.create(3)
    fill(world, topic, 4, partition=2)
    member = world.log.member(unique("g"), [topic])
    assert join(member) == ((topic, 0), (topic, 1), (topic, 2))
    assert member.take_assignment() is None
    assert member.poll(10, 0.1) == []
    assert member.positions() == {}
    member.start_at({(topic, 0): 0, (topic, 1): 0, (topic, 2): 2})
    assert [r.offset for r in read(member, 2)] == [2, 3]
    assert member.positions() == {(topic, 0): 0, (topic, 1): 0, (topic, 2): 4}
    member.close()


def test_committed_offsets_belong_to_the_group(world: World, unique: Callable[[str], str]) -> None:
    topic = world.create(2)
    group, tps = unique("g"), [(topic, 0), (topic, 1)]
    assert world.log.committed(group, tps) == {}
    fill(world, topic, 3, partition=0)
    member = world.log.member(group, [topic])
    join(member)
    member.start_at(dict.fromkeys(tps, 0))
    member.commit({(topic, 0): 3})
    assert world.log.committed(group, tps) == {(topic, 0): 3}
    assert world.log.committed(unique("g"), tps) == {}
    member.commit({(topic, 0): 2, (topic, 1): 0})  # a group may go back
    assert world.log.committed(group, tps) == {(topic, 0): 2, (topic, 1): 0}
    member.close()
    assert world.log.committed(group, tps) == {(topic, 0): 2, (topic, 1): 0}


def test_a_member_starts_and_commits_only_what_it_holds(world: World, unique: Callable[[str], str]) -> None:
    topic, other = world.create(), world.create()
    member = world.log.member(unique("g"), [topic])
    with pytest.raises(ValueError, match="is not assigned to this member"):
        member.start_at({(topic, 0): 0})
    join(member)
    with pytest.raises(ValueError, match="is not assigned to this member"):
        member.start_at({(other, 0): 0})
    member.start_at({(topic, 0): 0})
    with pytest.raises(Fenced):
        member.commit({(other, 0): 0})
    member.close()
    with pytest.raises(Fenced):
        member.commit({(topic, 0): 0})


def test_the_end_that_a_member_knew_before_is_not_taken_for_the_end_now(
    world: World, unique: Callable[[str], str]
) -> None:
    topic = world.create()
    fill(world, topic, 5)
    member = world.log.member(unique("g"), [topic])
    join(member)
    member.start_at({(topic, 0): 0})
    read(member, 5)
    member.start_at({})
    fill(world, topic, 7)
    member.start_at({(topic, 0): 5})
    assert member.high_watermarks() in ({}, {(topic, 0): 12})
    read(member, 7)
    assert member.high_watermarks() == {(topic, 0): 12}
    member.close()


def test_two_members_share_co_partitioned_topics_by_range_and_hand_over_on_close(
    world: World, unique: Callable[[str], str]
) -> None:
    left, right = world.create(4), world.create(4)
    for topic in (left, right):
        for p in range(4):
            fill(world, topic, 1, partition=p)
    group = unique("g")
    one = world.log.member(group, [left, right])
    assert len(join(one)) == 8
    two = world.log.member(group, [left, right])
    last = settle(
        one, two, until=lambda last: {len(a.assigned) for a in last.values()} == {4} and len(last) == 2
    )
    for member in (one, two):
        mine = last[member].assigned
        assert {p for t, p in mine if t == left} == {p for t, p in mine if t == right}
        member.start_at(dict.fromkeys(mine, 0))
        assert {(r.topic, r.partition) for r in read(member, 4)} == set(mine)
    assert {tp for a in last.values() for tp in a.assigned} == {
        (t, p) for t in (left, right) for p in range(4)
    }
    two.close()
    change = settle(one, until=lambda last: one in last and len(last[one].assigned) == 8)[one]
    assert not change.lost
    one.close()


def test_a_rebalance_names_what_was_revoked_and_stops_reading_it(
    world: World, unique: Callable[[str], str]
) -> None:
    topic, group = world.create(2), unique("g")
    one = world.log.member(group, [topic])
    held = join(one)
    one.start_at(dict.fromkeys(held, 0))
    two = world.log.member(group, [topic])
    revoked: set[TP] = set()
    deadline = time.monotonic() + PATIENCE_S
    while not revoked and time.monotonic() < deadline:
        two.poll(1, 0.02)
        one.poll(1, 0.02)
        change = one.take_assignment()
        revoked = set(change.revoked) if change else set()
    assert revoked == set(held)
    assert one.positions() == {}
    with pytest.raises(Fenced):
        one.commit({held[0]: 0})
    two.close()
    one.close()


@pytest.mark.parametrize("lease", [False, True])
def test_before_partitions_go_to_others_there_is_time_to_finish_and_commit(
    world: World, unique: Callable[[str], str], lease: bool
) -> None:
    topic, read_from, group = world.create(1 if lease else 2), world.create(2), unique("g")
    called: list[dict[TP, int]] = []
    reading = [(read_from, 0), (read_from, 1)] if lease else [(topic, 0), (topic, 1)]

    def finish() -> None:
        called.append(one.positions())
        one.commit({reading[0]: 7})

    one = world.log.member(group, [topic], lease=lease, before_revoke=finish, instance_id="z")
    join(one)
    one.start_at(dict.fromkeys(reading, 0))
    two = world.log.member(group, [topic], lease=lease, instance_id="a")
    settle(one, two, until=lambda last: two in last and called != [])
    assert called == [dict.fromkeys(reading, 0)]
    assert world.log.committed(group, reading) == {reading[0]: 7}
    one.close()
    two.close()


def test_only_the_thread_that_polls_commits(world: World, unique: Callable[[str], str]) -> None:
    """In Kafka's client a commit waits for a poll, and a poll may wait for whoever finishes what is under way."""
    topic, group = world.create(1), unique("g")
    member = world.log.member(group, [topic])
    held = join(member)
    member.start_at(dict.fromkeys(held, 0))
    with ThreadPoolExecutor(1) as other, pytest.raises(RuntimeError, match="thread that polls"):
        other.submit(member.commit, dict.fromkeys(held, 0)).result()
    member.commit(dict.fromkeys(held, 0))
    member.close()


def test_a_member_without_partitions_is_told_that_it_is_a_spare(
    world: World, unique: Callable[[str], str]
) -> None:
    topic, group = world.create(1), unique("g")
    one, two = world.log.member(group, [topic]), world.log.member(group, [topic])
    last = settle(one, two, until=lambda last: sorted(len(a.assigned) for a in last.values()) == [0, 1])
    spare = next(member for member, change in last.items() if not change.assigned)
    spare.start_at({})
    assert spare.poll(1, 0.0) == []
    one.close()
    two.close()


def test_a_second_member_with_the_same_instance_id_fences_the_first(
    world: World, unique: Callable[[str], str]
) -> None:
    topic, group = world.create(2), unique("g")
    one = world.log.member(group, [topic], instance_id="slot-0")
    held = join(one)
    one.start_at(dict.fromkeys(held, 0))
    two = world.log.member(group, [topic], instance_id="slot-0")
    assert join(two) == held
    with pytest.raises(Fenced):
        settle(one, until=lambda last: False)
    with pytest.raises(Fenced):
        one.commit({held[0]: 1})
    one.close()
    two.start_at(dict.fromkeys(held, 0))
    two.commit(dict.fromkeys(held, 0))
    two.close()


def test_the_holder_of_a_lease_reads_and_commits_any_partitions(
    world: World, unique: Callable[[str], str]
) -> None:
    lease, a, b = world.create(1), world.create(2), world.create(3)
    everything: Mapping[TP, int] = {(t, p): 0 for t, n in ((a, 2), (b, 3)) for p in range(n)}
    for topic, p in everything:
        fill(world, topic, 2, partition=p)
    group = unique("g")
    one = world.log.member(group, [lease], lease=True)
    assert join(one) == ((lease, 0),)
    one.start_at(everything)
    assert {(r.topic, r.partition) for r in read(one, 10)} == set(everything)
    one.commit(dict.fromkeys(everything, 2))
    assert world.log.committed(group, everything) == dict.fromkeys(everything, 2)
    one.close()


def test_a_lease_has_one_holder_and_passes_on_when_that_one_closes(
    world: World, unique: Callable[[str], str]
) -> None:
    lease, data, group = world.create(1), world.create(2), unique("g")
    members = [world.log.member(group, [lease], lease=True) for _ in range(2)]
    last = settle(*members, until=lambda last: sorted(len(a.assigned) for a in last.values()) == [0, 1])
    holder = next(m for m in members if last[m].assigned)
    spare = next(m for m in members if m is not holder)
    holder.start_at({(data, 0): 0, (data, 1): 0})
    with pytest.raises(ValueError, match="is not assigned to this member"):
        spare.start_at({(data, 0): 0})
    fill(world, data, 3, partition=1)
    assert [r.offset for r in read(holder, 3)] == [0, 1, 2]
    holder.close()
    assert join(spare) == ((lease, 0),)
    spare.start_at({(data, 1): 3, (data, 0): 0})
    fill(world, data, 1, partition=1, start=3)
    assert [r.offset for r in read(spare, 1)] == [3]
    spare.close()


def test_losing_a_lease_stops_reading(world: World, unique: Callable[[str], str]) -> None:
    lease, data, group = world.create(1), world.create(1), unique("g")
    one = world.log.member(group, [lease], lease=True)
    join(one)
    one.start_at({(data, 0): 0})
    two = world.log.member(group, [lease], lease=True)
    revoked: set[TP] = set()

    # a group that is slow to settle tells of more afterwards
    def has_passed(last: dict[Member, Assignment]) -> bool:
        revoked.update(last[one].revoked if one in last else ())
        return bool(revoked) and two in last

    settle(one, two, until=has_passed)
    assert revoked == {(lease, 0)}
    fill(world, data, 1)
    assert one.positions() == {}
    assert one.poll(1, 0.1) == []
    one.close()
    two.close()


def test_a_lease_is_one_topic_with_one_partition(world: World, unique: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match="a lease is one topic with one partition"):
        world.log.member(unique("g"), [world.create(2)], lease=True)


# -- keys


def test_keys_go_where_kafka_python_and_the_formula_put_them(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    keys = [b"", b"\xff\x80", *(b"N%d" % i for i in range(300)), *(("é" * i).encode() for i in range(1, 9))]
    ours, theirs = world.create(7), world.create(7)
    world.log.append([Out(ours, key, key) for key in keys])
    with KafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for key in keys:
            producer.send(theirs, key=key, value=key)
        producer.flush()
    placed = {}
    for topic in (ours, theirs):
        reader = world.log.reader({(topic, p): 0 for p in range(7)})
        placed[topic] = {r.value: r.partition for r in read(reader, len(keys))}
        reader.close()
    assert placed[ours] == placed[theirs] == {key: partition_for(key, 7) for key in keys}
    world.log.close()
    world.admin.close()


def test_murmur2_is_kafkas() -> None:
    for key in [bytes(range(n)) for n in range(64)] + [b"\xff" * n for n in range(16)]:
        assert murmur2(key) == reference_murmur2(key) & 0xFFFFFFFF


# -- Kafka alone


def test_another_client_reads_what_was_appended(kafka_bootstrap: str, unique: Callable[[str], str]) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    topic = world.create()
    outs = [Out(topic, b"k", b"v", (("h", b"1"),)), Out(topic, b"k", None)]
    # a batch worth compressing, if anything were compressed
    outs += [Out(topic, b"k", b"the same again " * 20)] * 500
    world.log.append(outs)
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka_bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=int(PATIENCE_S * 1000),
    )
    seen = [next(consumer) for _ in outs]
    assert [(r.key, r.value, tuple(r.headers)) for r in seen] == [(o.key, o.value, o.headers) for o in outs]
    consumer.close()
    world.log.close()
    world.admin.close()


def test_a_topic_that_takes_less_refuses_sooner_and_gets_smaller_batches(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    topic, small = world.create(), unique("t")
    world.admin.create_topics(
        {small: {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "2000"}}}
    )
    fill(world, topic, 3)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            world.log.bounds([(small, 0)])
            break
        except UnknownTopic:
            time.sleep(0.01)
    with pytest.raises(RecordTooLarge, match="the topic takes 1872"):
        world.log.append([Out(small, b"k", bytes(1900))])
    noise = [bytes((i * 7 + j * j) % 251 for j in range(700)) for i in range(40)]
    world.log.append([Out(small, b"k", value) for value in noise])
    assert world.log.bounds([(small, 0)]) == {(small, 0): (0, 40)}
    world.log.close()
    world.admin.close()


def test_a_position_passes_the_markers_of_transactions(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    world = KafkaWorld(kafka_bootstrap, unique)
    topic = world.create()
    with KafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=unique("x")) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"v")
        producer.commit_transaction()
    reader = world.log.reader({(topic, 0): 0})
    assert [r.value for r in read(reader, 1)] == [b"v"]
    end = world.log.bounds([(topic, 0)])[topic, 0][1]
    assert end == 2  # the record and the marker
    deadline = time.monotonic() + PATIENCE_S
    while reader.positions() != {(topic, 0): end} and time.monotonic() < deadline:
        assert reader.poll(1, 0.05) == []
    assert reader.positions() == {(topic, 0): end}
    reader.close()
    world.log.close()
    world.admin.close()


# -- memory alone


def test_the_clock_of_a_memory_log_stamps_its_records(unique: Callable[[str], str]) -> None:
    log = MemoryLog(clock=lambda: 12.3456)
    log.create("t")
    log.append([Out("t", None, b"v")])
    assert log.reader({("t", 0): 0}).poll(1, 0)[0].timestamp_ms == 12_345


def test_a_topic_made_anew_is_another_one() -> None:
    log = MemoryLog()
    log.create("t")
    log.append([Out("t", None, b"v")])
    before = log.topic_id("t")
    log.delete("t")
    log.create("t")
    assert log.topic_id("t") != before
    assert log.bounds([("t", 0)]) == {("t", 0): (0, 0)}


def test_an_expelled_member_learns_that_its_partitions_were_lost() -> None:
    log = MemoryLog()
    log.create("t", 2)
    one = log.member("g", ["t"])
    held = join(one)
    one.start_at(dict.fromkeys(held, 0))
    log.expel(one)
    with pytest.raises(Fenced):
        one.commit({held[0]: 0})
    one.poll(1, 0)
    change = one.take_assignment()
    assert change is not None
    assert change.lost
    assert set(change.revoked) == set(held)


def test_a_paused_partition_waits_and_goes_on_where_it_was(world: World) -> None:
    topic = world.create(2)
    fill(world, topic, 10, partition=0)
    fill(world, topic, 10, partition=1)
    reader = world.log.reader({(topic, 0): 0, (topic, 1): 0})
    seen = read(reader, 4)
    reader.pause({(topic, 0)})
    of_other = [r for r in seen if r.partition == 1]
    of_other += read(reader, 10 - len(of_other))
    assert {r.partition for r in of_other} == {1} and reader.poll(10, 0.3) == []
    reader.pause(())
    of_paused = [r for r in seen if r.partition == 0]
    of_paused += read(reader, 10 - len(of_paused))
    assert [r.offset for r in of_paused] == list(range(10)) and [r.offset for r in of_other] == list(
        range(10)
    )
    reader.close()


def test_what_was_paused_before_a_rebalance_is_read_after_it(
    world: World, unique: Callable[[str], str]
) -> None:
    """Kafka's client keeps a partition paused while nobody holds it: a worker would have it and read nothing for ever."""
    topic, group = world.create(2), unique("g")
    fill(world, topic, 3, partition=0)
    fill(world, topic, 3, partition=1)
    one = world.log.member(group, [topic], instance_id="a")
    held = join(one)
    one.start_at(dict.fromkeys(held, 0))
    one.pause(held)
    two = world.log.member(group, [topic], instance_id="b")
    last = settle(one, two, until=lambda last: two in last and len(last[one].assigned) == 1)
    one.pause(())
    one.start_at(dict.fromkeys(last[one].assigned, 0))
    assert [record.offset for record in read(one, 3)] == [0, 1, 2]
    one.close()
    two.close()


def test_a_producer_is_connected_before_it_is_given_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks for its id without a connection asks again half a second later: so long its first records would wait."""
    calls: list[str] = []

    class Asked:
        def __init__(self, settings: object, logger: object) -> None:
            calls.append("made")

        def __getattr__(self, name: str) -> Callable[..., int]:
            return lambda *given, **more: calls.append(name) or 0

    monkeypatch.setattr(kafka_appender, "Producer", Asked)
    appender = kafka_appender.KafkaAppender(
        {}, lambda topic: 1_000, timeout_s=1.0, max_record_bytes=1_000, on_wait=None, last_error=str,
        refused=lambda since: None,
    )  # fmt: skip
    appender.append([Out("t", None, b"1")])
    appender.append([Out("t", None, b"2")])
    assert calls == ["made", "list_topics", "produce", "flush", "produce", "flush"]
