"""Dead letters for a page: the newest ones and how many of which kind, one in full, or what sending some back comes to.

Laws of this file:
- Bounded in time and bytes; what was not read is said, with the offset from which on everything was.
- What would be sent back is what `penstock dead-letters --republish` with the same words sends: the same letters, oldest first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from penstock.stream import topology
from penstock.stream.console.reading.backwards import Budget, backwards, portion
from penstock.stream.console.reading.servers import Servers
from penstock.stream.featurize.dead_letters import kind_of
from penstock.stream.log.protocol import Log, Record
from penstock.stream.operate.dead_letters import Letter, letter
from penstock.stream.operate.dead_letters import to_send as each_once

SHOWN = 50
MOST_LOOKED = 20_000
MOST_SENT = 10_000
LOOK_S = 5.0
SEND_S = 30.0


class Asked(NamedTuple):
    """Which letters: those at [`since`, `until`) of the topic whose reason holds `reason`, in any case."""

    reason: str = ""
    since: int = 0
    until: int | None = None

    def holds(self, one: Letter) -> bool:
        """Whether a letter is meant."""
        return self.reason.casefold() in one.reason.casefold()


class Kind(NamedTuple):
    """Letters of one kind of reason: how many, the newest of them."""

    kind: str
    letters: int
    newest: Letter


class Looked(NamedTuple):
    """The newest letters of those asked for. `start` and `end` are the topic's; from `since` on all were looked at."""

    start: int
    end: int
    since: int
    letters: int
    kinds: list[Kind]
    newest: list[Letter]

    @property
    def all(self) -> bool:
        """Whether none was left out."""
        return self.since <= self.start


class Plan(NamedTuple):
    """What sending back comes to: letters by topic, those left out, and the range that holds them. `whole`: all was looked at."""

    topics: dict[str, int]
    left: int
    first: int
    end: int
    whole: bool

    @property
    def letters(self) -> int:
        """How many would be sent."""
        return sum(self.topics.values())


def of(record: Record) -> Letter:
    """The letter of a record of the log."""
    return letter(record.offset, record.timestamp_ms, record.key, record.value, record.headers)


def look(servers: Servers, pipeline: str, asked: Asked) -> Looked:
    """The newest letters. Raises `LogError`."""
    tp = (topology.dead_letters(pipeline, servers.prefix), 0)
    low, high = servers.log.bounds([tp])[tp]
    budget, kinds, first = Budget(LOOK_S), Counter[str](), dict[str, Letter]()
    newest: list[Letter] = []
    since, looked = high, 0
    for part in backwards(servers.log, tp, budget, start=asked.since, stop=asked.until, first=SHOWN):
        since, looked = part.start, looked + len(part.records)
        for record in reversed(part.records):
            found = of(record)
            if not asked.holds(found):
                continue
            kind = kind_of(found.reason)
            kinds[kind] += 1
            first.setdefault(kind, found._replace(value=None))
            if len(newest) < SHOWN:
                newest.append(found)
        if looked >= MOST_LOOKED:
            break
    told = [Kind(kind, count, first[kind]) for kind, count in kinds.most_common()]
    return Looked(low, high, max(since, low) if high > low else low, kinds.total(), told, newest)


def one(servers: Servers, pipeline: str, offset: int) -> Letter | None:
    """The letter at an offset, None if there is none. Raises `LogError`."""
    tp = (topology.dead_letters(pipeline, servers.prefix), 0)
    low, high = servers.log.bounds([tp])[tp]
    if not low <= offset < high:
        return None
    found = portion(servers.log, tp, offset, offset + 1, Budget(LOOK_S))
    return of(found.records[0]) if found is not None and found.records else None


def plan(servers: Servers, pipeline: str, asked: Asked) -> Plan:
    """What sending these back comes to, were it done now. Raises `LogError`."""
    tp = (topology.dead_letters(pipeline, servers.prefix), 0)
    low, high = servers.log.bounds([tp])[tp]
    low, high = max(low, asked.since), high if asked.until is None else min(high, asked.until)
    topics, ids, left, first, end, reached = Counter[str](), set[str](), 0, 0, 0, high
    for part in backwards(servers.log, tp, Budget(LOOK_S), start=low, stop=high, first=SHOWN):
        reached = part.start
        for record in reversed(part.records):
            found = of(record)
            if not asked.holds(found):
                continue
            first, end = found.offset, end or found.offset + 1
            if found.sendable and found.id not in ids:
                topics[found.topic] += 1
                ids |= {found.id} - {""}
            else:
                left += 1
        if topics.total() > MOST_SENT:
            break
    return Plan(dict(topics), left, first, end, reached <= low and topics.total() <= MOST_SENT)


def to_send(log: Log, pipeline: str, prefix: str, asked: Asked, end: int) -> Iterator[Letter]:
    """Those to send at [`asked.since`, `end`), oldest first. Raises `LogError`, and `TimeoutError` half way."""
    return each_once(_meant(log, pipeline, prefix, asked, end))


def _meant(log: Log, pipeline: str, prefix: str, asked: Asked, end: int) -> Iterator[Letter]:
    tp = (topology.dead_letters(pipeline, prefix), 0)
    budget = Budget(SEND_S, most_bytes=2**40)
    for start in range(asked.since, end, SHOWN * 10):
        part = portion(log, tp, start, min(start + SHOWN * 10, end), budget)
        if part is None:
            raise TimeoutError(f"reading {tp[0]} took longer than {SEND_S:g} s at offset {start:,}")
        for record in part.records:
            found = of(record)
            if asked.holds(found):
                yield found
