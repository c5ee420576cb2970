"""What time travel reads: history and control topics up to a position or a moment, and an entity's last sample before it.

Laws of this file:
- History is read from its start, since the state folds all of it, and no further than the position: a look that takes longer than
  `LOOK_S` is given up, and the command is named.
- The past does not change: what was found is kept for a while.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.stream import topology
from penstock.stream.console.page import CannotRead
from penstock.stream.console.reading.backwards import Budget, backwards, portion
from penstock.stream.console.reading.servers import Servers
from penstock.stream.console.then import ASKED, EVENTS, Read, Then, history_of, then
from penstock.stream.learn.entries import entry_of
from penstock.stream.log.protocol import Log, UnknownTopic
from penstock.stream.messages import Sample

LOOK_S = 15.0
STEP = 5_000
ENTITY_S = 4.0
ENTITY_BYTES = 100_000_000


class EntityThen(NamedTuple):
    """The last sample of a key before a position, if one was found; all records at [`since`, the position] were looked at."""

    sample: Sample | None
    position: int
    since: int
    start: int


def _reads(
    log: Log, name: str, topic: str, budget: Budget, most: tuple[int | None, int | None]
) -> list[Read]:
    """The records of a topic's partition; of history up to a position or an event time."""
    try:
        low, high = log.bounds([(name, 0)])[(name, 0)]
    except UnknownTopic:
        return []
    found: list[Read] = []
    position, at_ms = most
    for start in range(low, high, STEP):
        part = portion(log, (name, 0), start, min(start + STEP, high), budget)
        if part is None:
            raise CannotRead(
                f"reading {name} takes longer than a page may: `penstock history` reads all of it, with --from and --to"
            )
        for record in part.records:
            if record.value is None:
                continue
            told = history_of(record.value) if position is not None or at_ms is not None else None
            if told is not None and (
                (position is not None and told.position > position) or (at_ms is not None and told.at > at_ms)
            ):
                return found
            found.append(Read(topic, record.offset, record.timestamp_ms, record.value))
    return found


def look(servers: Servers, pipeline: str, position: int | None, at_ms: int | None) -> Then:
    """The pipeline at a position, or at the last one that history knows at a moment. Raises `LogError` and `CannotRead`."""
    budget, prefix = Budget(LOOK_S, 400_000_000), servers.prefix
    topic = topology.history(pipeline)
    history = _reads(servers.log, prefix + topic, topic, budget, (position, at_ms))
    if position is None:
        known = [found.position for one in history if (found := history_of(one.value)) is not None]
        position = max(known, default=0)
    control = [
        one
        for name in (*EVENTS, *ASKED)
        for one in _reads(servers.log, prefix + name, name, budget, (None, None))
    ]
    return then(pipeline, position, history, control)


def entity_then(servers: Servers, pipeline: str, key: str, position: int) -> EntityThen:
    """The newest sample of a key at or before a position. Raises `LogError`."""
    tp = (topology.samples(pipeline, servers.prefix), 0)
    low, high = servers.log.bounds([tp])[tp]
    since = min(position + 1, high)
    for part in backwards(servers.log, tp, Budget(ENTITY_S, ENTITY_BYTES), stop=since):
        since = part.start
        for record in reversed(part.records):
            entry = entry_of(record.value)
            if isinstance(entry, Sample) and entry.key == key:
                return EntityThen(entry, record.offset, since, low)
    return EntityThen(None, -1, since, low)
