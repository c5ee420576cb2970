"""Reads the samples log around an episode's onset, for the page of that episode.

Laws of this file:
- At most `MOST_RECORDS` on each side. It joins no group and writes nothing.
- What was read for an onset is kept for a while, and read again once `AGAIN_RECORDS` more may have come: a page that is looked at
  live asks for it at every change.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from penstock.stream import topology
from penstock.stream.console.episodes import chosen, since_position
from penstock.stream.console.page import Asked
from penstock.stream.console.shares import MOST_RECORDS, Compared, compare
from penstock.stream.learn.entries import entries
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Log, LogError, UnknownTopic
from penstock.stream.process.settings import Settings

AGAIN_RECORDS = 2_000
KEPT = 16
_kept: OrderedDict[tuple[Any, ...], Compared] = OrderedDict()
_lock = threading.Lock()


@contextmanager
def opened(sources: Any) -> Iterator[Log]:
    """The log of a console's sources: Kafka's, by its settings, or the one that they bring."""
    if not isinstance(sources, Settings):
        yield sources.log
        return
    log = KafkaLog(
        sources.bootstrap,
        sources.kafka,
        client_id=sources.client_id,
        request_timeout_s=sources.connect_timeout_s,
    )
    try:
        yield log
    finally:
        log.close()


def around(asked: Asked, sources: Any) -> Compared:
    """The inputs around the onset of the episode asked for; why there are none, where there are none."""
    pipeline, state = asked.definition, asked.state
    incident = chosen(state, asked.path["episode"]).incident
    if incident is None or not incident.timed:
        return Compared(why="it is about no stretch of samples")
    onset = since_position(incident)
    if sources is None or pipeline is None or onset is None:
        return Compared(why="the samples log is not read here")
    reached = min(state.position, onset + MOST_RECORDS) // AGAIN_RECORDS
    place = (
        id(sources),
        asked.prefix,
        pipeline.name,
        pipeline.digest,
        incident.id,
        onset,
        incident.over,
        reached,
    )
    with _lock:
        if place in _kept:
            return _kept[place]
    topic = topology.samples(pipeline.name, asked.prefix)
    try:
        with opened(sources) as log:
            low, high = log.bounds([(topic, 0)])[(topic, 0)]
            first, stop = max(low, onset - MOST_RECORDS), min(high, onset + MOST_RECORDS)
            found = compare(pipeline, incident, entries(log, topic, first, stop), ends=stop == high)
    except UnknownTopic:
        return Compared(why=f"there is no topic {topic}")
    except LogError as error:
        return Compared(why=f"the samples log cannot be read now: {error}")
    with _lock:
        _kept[place] = found
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found
