"""A static member that is fenced by its own former membership joins again; one that has a rival says so and ends.

Whoever has a client that nobody answers any more goes on with another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaAdminClient

from penstock.stream.log import kafka, kafka_answers, kafka_members, kafka_rejoining
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_commits import commit
from penstock.stream.log.kafka_rejoining import Anew
from penstock.stream.log.protocol import TP, Assignment, CommitFailed, Fenced, LogUnavailable, Member, Out
from tests.contract.test_kafka_commits import Deaf
from tests.patience import PATIENCE_S


def joined(member: Member) -> list[Assignment]:
    """What the member is told until it holds both partitions."""
    deadline, told = time.monotonic() + PATIENCE_S, list[Assignment]()
    while time.monotonic() < deadline:
        member.poll(1, 0.05)
        change = member.take_assignment()
        told += [] if change is None else [change]
        if change is not None and len(change.assigned) == 2:
            return told
    raise TimeoutError


def topic_of(bootstrap: str, name: str) -> list[TP]:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    return [(name, 0), (name, 1)]


def test_whoever_is_fenced_by_a_membership_that_nobody_lives_behind_takes_its_slot_back(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    name, group = unique("t"), unique("g")
    tps = topic_of(kafka_bootstrap, name)
    log, other = KafkaLog(kafka_bootstrap, rejoins=True), KafkaLog(kafka_bootstrap)
    log.append([Out(name, None, b"1", (), 0)])
    member = log.member(group, [name], instance_id="slot-0")
    joined(member)
    member.start_at(dict.fromkeys(tps, 0))
    ghost = other.member(group, [name], instance_id="slot-0")
    joined(ghost)  # and is never heard of again
    first = joined(member)[0]
    assert first.lost and set(first.revoked) == set(tps), "whatever it had in mind is of the time before"
    member.start_at(dict.fromkeys(tps, 0))
    assert [one.value for one in member.poll(1, PATIENCE_S)] == [b"1"]
    member.commit({tps[0]: 1})
    assert log.committed(group, tps) == {tps[0]: 1}
    with pytest.raises(Fenced):
        joined(ghost)
    for one in (member, ghost, log, other):
        one.close()


def test_of_two_processes_with_one_slot_one_ends_and_says_why(
    kafka_bootstrap: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_rejoining, "ALONE_S", PATIENCE_S)
    name, group = unique("t"), unique("g")
    topic_of(kafka_bootstrap, name)
    logs = [KafkaLog(kafka_bootstrap, rejoins=True) for _ in range(2)]
    members = [log.member(group, [name], instance_id="slot-0") for log in logs]
    ended: dict[int, str] = {}
    deadline = time.monotonic() + PATIENCE_S
    while not ended and time.monotonic() < deadline:
        for number, member in enumerate(members):
            try:
                member.poll(1, 0.05)
            except Fenced as error:
                ended[number] = str(error)
                break
    [(number, said)] = ended.items()
    assert "another process runs under this slot" in said and "--slot" in said
    other = members[1 - number]
    joined(other)  # and goes on
    for one in (*members, *logs):
        one.close()


def test_whoever_is_fenced_is_fenced_still_when_it_begins_to_read_anew(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    """A worker may drop its memory in the turn in which it was told, for another reason."""
    name, group = unique("t"), unique("g")
    topic_of(kafka_bootstrap, name)
    log, other = KafkaLog(kafka_bootstrap), KafkaLog(kafka_bootstrap)
    member = log.member(group, [name], instance_id="slot-0")
    joined(member)
    rival = other.member(group, [name], instance_id="slot-0")
    joined(rival)
    with pytest.raises(Fenced):
        joined(member)
    member.start_at({})
    with pytest.raises(Fenced):
        member.poll(1, 1.0)
    for one in (member, rival, log, other):
        one.close()


def test_whoever_hears_nothing_of_two_commits_goes_on_with_another_client(
    kafka_bootstrap: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is deaf for good reads nothing, and its close waits for ever."""

    def unheard(consumer: Any, positions: Any, timeout_s: float | None) -> None:
        commit(Deaf(), positions, timeout_s)

    monkeypatch.setattr(kafka_members, "COMMIT_S", 0.2)
    name, group = unique("t"), unique("g")
    tps = topic_of(kafka_bootstrap, name)
    log = KafkaLog(kafka_bootstrap, rejoins=True)
    log.append([Out(name, None, b"1", (), 0)])
    member = log.member(group, [name], instance_id="slot-0")
    joined(member)
    member.start_at(dict.fromkeys(tps, 0))
    with monkeypatch.context() as deaf:
        deaf.setattr(kafka_rejoining, "leave", lambda consumer: Event().wait())
        deaf.setattr(kafka_members, "commit", unheard)
        for _ in range(2):
            assert member.poll(1, 0.0) is not None and member.take_assignment() is None
            with pytest.raises(CommitFailed, match="nothing was heard"):
                member.commit({tps[0]: 1})
    told = joined(member)
    assert told[0].lost and set(told[0].revoked) == set(tps)
    member.start_at(dict.fromkeys(tps, 0))
    assert [one.value for one in member.poll(1, PATIENCE_S)] == [b"1"]
    member.commit({tps[0]: 1})
    assert log.committed(group, tps) == {tps[0]: 1}
    for one in (member, log):
        one.close()


@pytest.mark.parametrize("slot", ["slot-0", None])
def test_whoever_nobody_answers_any_more_goes_on_with_another_client_unless_the_broker_is_away(
    kafka_bootstrap: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, slot: str | None
) -> None:
    name, group = unique("t"), unique("g")
    tps = topic_of(kafka_bootstrap, name)
    log = KafkaLog(kafka_bootstrap, rejoins=True)
    made: Any = log.member(group, [name], instance_id=slot)
    joined(made)
    made.start_at(dict.fromkeys(tps, 0))
    first, asked = made._consumer, list[bool]()
    monkeypatch.setattr(kafka_rejoining, "SILENT_S", 0.2)
    monkeypatch.setattr(kafka_rejoining, "ASK_S", 0.0)

    def silent_until(times: int) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while len(asked) < times and time.monotonic() < until_s:
            made.poll(1, 0.05)

    with monkeypatch.context() as away:
        away.setattr(kafka_rejoining, "hears", lambda consumer, topic: asked.append(False) or False)
        silent_until(4)
    assert made._consumer is first and made.take_assignment() is None, "nobody is answered"
    asked.clear()
    with monkeypatch.context() as well:
        hears = kafka_rejoining.hears
        well.setattr(kafka_rejoining, "hears", lambda *given: asked.append(hears(*given)) or asked[-1])
        silent_until(2)
    assert asked == [True, True] and made._consumer is first, "it is only quiet"
    monkeypatch.setattr(kafka_rejoining, "hears", lambda consumer, topic: consumer is not first)
    told = joined(made)
    assert told[0].lost and set(told[0].revoked) == set(tps) and made._consumer is not first
    for one in (made, log):
        one.close()


def test_a_reader_that_nobody_answers_any_more_reads_on_from_where_it_is_through_another_client(
    kafka_bootstrap: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_rejoining, "SILENT_S", 0.2)
    name = unique("t")
    tps = topic_of(kafka_bootstrap, name)
    log = KafkaLog(kafka_bootstrap, rejoins=True)
    log.append([Out(name, None, b"%d" % n, (), 0) for n in range(3)])
    reader: Any = log.reader(dict.fromkeys(tps, 0))

    def read(count: int) -> list[bytes | None]:
        found, until_s = list[bytes | None](), time.monotonic() + PATIENCE_S
        while len(found) < count and time.monotonic() < until_s:
            found += [one.value for one in reader.poll(1, 0.05)]
        return found

    assert sorted(read(3)) == [b"0", b"1", b"2"]
    first = reader._consumer
    reader.pause([tps[1]])
    monkeypatch.setattr(kafka_rejoining, "hears", lambda consumer, topic: consumer is not first)
    until_s = time.monotonic() + PATIENCE_S
    while reader._consumer is first and time.monotonic() < until_s:
        assert reader.poll(1, 0.05) == []
    assert reader._consumer is not first and sum(reader.positions().values()) == 3
    log.append([Out(name, None, b"3", (), 0), Out(name, None, b"4", (), 1)])
    assert read(1) == [b"3"] and reader.poll(1, 0.3) == [], "what was paused still is"
    reader.pause([])
    assert read(1) == [b"4"]
    for one in (reader, log):
        one.close()


def test_while_the_broker_is_away_one_question_is_asked_for_all_members_of_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = list[Closing]()
    monkeypatch.setattr(kafka_rejoining, "hears", lambda consumer, topic: False)
    anew = Anew(lambda: made.append(Closing()) or made[-1])  # type: ignore[arg-type, func-returns-value]
    assert not anew.was_silent
    assert not anew.is_answered("t") and anew.was_silent and not anew.is_answered("t")
    assert [one.closed for one in made] == [True]
    monkeypatch.setattr(kafka_rejoining, "ASK_S", 0.0)
    monkeypatch.setattr(kafka_rejoining, "hears", lambda consumer, topic: True)
    assert anew.is_answered("t") and [one.closed for one in made] == [True, True]


class Closing:
    """A client that can be closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


class Hanging:
    """A client whose own thread hangs: it keeps no limit."""

    def __init__(self) -> None:
        self.over = Event()

    def list_topics(self, topic: str, timeout: float) -> None:
        self.over.wait()


def test_a_client_that_keeps_no_limit_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_answers, "HEARS_S", 0.1)
    monkeypatch.setattr(kafka_answers, "LATE_S", 0.1)
    client: Any = Hanging()
    assert not kafka_answers.hears(client, "t")
    client.over.set()
    log: Any = KafkaLog("127.0.0.1:1", request_timeout_s=0.1)
    log._admin = SimpleNamespace(
        poll=lambda s: 0, describe_topics=lambda names, request_timeout: {"t": Future()}
    )
    with pytest.raises(LogUnavailable, match="nothing was heard of it"):
        log.partitions("t")


def test_questions_that_nobody_answers_are_asked_through_another_client_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: Any = KafkaLog("127.0.0.1:1", request_timeout_s=0.2)
    first = log._admin
    with pytest.raises(LogUnavailable):
        log.bounds([("t", 0)])
    assert log._admin is first
    monkeypatch.setattr(kafka, "RENEW_S", 0.0)
    with pytest.raises(LogUnavailable):
        log.bounds([("t", 0)])
    assert log._admin is not first
