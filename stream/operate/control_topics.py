"""What stands on the control topics, of one pipeline or of all.

Laws of this file:
- Reading only, without a group. A record that is no message of its topic is passed over by who reads, and named by who decodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from penstock.stream import topology
from penstock.stream.log.protocol import Log, Packed, Record, UnknownTopic
from penstock.stream.messages import (
    ControlEvent,
    Decision,
    LiveModel,
    OperatorRequest,
    decode_control_event,
    decode_decision,
    decode_live_model,
    decode_operator_request,
)
from penstock.stream.process.terminal import printable

FOLLOWED = (
    topology.CONTROL_RETRAIN,
    topology.CONTROL_ROLLBACK,
    topology.CONTROL_ALERTS,
    topology.CONTROL_COMMANDS,
    topology.CONTROL_DECISIONS,
    topology.CONTROL_MODELS,
)
Message = ControlEvent | Decision | LiveModel | OperatorRequest
POLL_RECORDS = 10_000


class Unreadable(ValueError):
    """A record that is not a message of its topic."""


class Told(NamedTuple):
    """A message and when the broker got it, in ms."""

    message: Message
    wall_ms: int


def decode(topic: str, value: bytes) -> Message:
    """The message of a control topic (its name without the prefix). Raises `Unreadable`."""
    try:
        if isinstance(value, Packed):
            raise msgspec.ValidationError(value.decode())
        if topic == topology.CONTROL_MODELS:
            return decode_live_model(value)
        if topic == topology.CONTROL_DECISIONS:
            return decode_decision(value)
        if topic == topology.CONTROL_COMMANDS:
            return decode_operator_request(value)
        return decode_control_event(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(printable(str(error))) from None


def pipeline_of(message: Message) -> str:
    """Which pipeline a message is about."""
    return message.data.pipeline if isinstance(message, ControlEvent) else message.pipeline


def told_of(log: Log, pipeline: str, prefix: str, topics: Sequence[str] = FOLLOWED) -> list[Told]:
    """All that the control topics still hold of a pipeline, in the order in which the broker got it.

    A topic that does not exist holds nothing. A repeat after a crash is there once.
    """
    found: list[tuple[int, int, int, Told]] = []
    known: set[tuple[str, str]] = set()
    for number, name in enumerate(topics):
        for record, message in _read(log, prefix + name, name):
            offset, wall_ms = record.offset, record.timestamp_ms
            named = (name, getattr(message, "id", str(offset)))
            if pipeline_of(message) == pipeline and named not in known:
                known.add(named)
                found.append((wall_ms, number, offset, Told(message, wall_ms)))
    return [told for *_, told in sorted(found, key=lambda one: one[:3])]


def _read(log: Log, topic: str, name: str) -> list[tuple[Record, Message]]:
    """All that can be read, in order; none of a topic that does not exist."""
    found = []
    try:
        for record, value in whole_topic(log, topic):
            try:
                found.append((record, decode(name, value)))
            except Unreadable:
                continue  # somebody else's
    except UnknownTopic:
        return []
    return found


def whole_topic(log: Log, topic: str) -> Iterator[tuple[Record, bytes]]:
    """Each record of a topic's first partition, up to its end now, with its value; those without one are passed over.

    Raises:
        UnknownTopic: when there is no such topic.

    """
    position, stop = log.bounds([(topic, 0)])[(topic, 0)]
    if position >= stop:
        return
    reader = log.reader({(topic, 0): position})
    try:
        while position < stop:
            for record in reader.poll(POLL_RECORDS, 1.0):
                if record.value is not None:
                    yield record, record.value
            position = reader.positions().get((topic, 0), position)
    finally:
        reader.close()
