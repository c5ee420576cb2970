"""A pipeline as it was at a position of the samples log: what history and control topics say up to there.

Laws of this file:
- Pure. The state is that of `States`, stepped with no record beyond the position: drawn by the same functions, it says what
  they said then. What is known of the models is as of the last history record before the position, whose own position is named.
- Findings stand at the samples-log position at which they were made. Requests and decisions have none: they are told by the
  broker's time, up to that at which it got the last history record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from penstock.stream import topology
from penstock.stream.console.state import Change, PipelineState, States
from penstock.stream.history_record import HistoryRecord, decode_history
from penstock.stream.messages import ControlEvent, LiveModel
from penstock.stream.operate.control_topics import Unreadable, decode, pipeline_of

EVENTS = (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
ASKED = (topology.CONTROL_COMMANDS, topology.CONTROL_DECISIONS)


class Read(NamedTuple):
    """A record: its topic without the prefix, its offset, when the broker got it (ms), its value."""

    topic: str
    offset: int
    wall_ms: int
    value: bytes


class Then(NamedTuple):
    """A pipeline then. `record` is the last history record before the position, `models` the last that names them.

    `wall_ms` is when the broker got `record`. None: nothing is known from before the position.
    """

    state: PipelineState
    position: int
    record: HistoryRecord | None
    models: HistoryRecord | None
    wall_ms: int


def history_of(value: bytes) -> HistoryRecord | None:
    """A history record; None for bytes that are none."""
    try:
        return decode_history(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def then(pipeline: str, position: int, history: Iterable[Read], control: Iterable[Read]) -> Then:
    """The pipeline at a position. `history` need not hold more than what is before it."""
    states = States([pipeline])
    state = states.pipelines[pipeline]
    last = models = None
    wall_ms = 0
    for one in history:
        record = history_of(one.value)
        if record is None or record.position > position or record.pipeline != pipeline:
            continue
        states.step(topology.history(pipeline), one.offset, one.wall_ms, one.value)
        last, wall_ms = record, max(wall_ms, one.wall_ms)
        models = record if record.experts else models
    for one in sorted(control, key=lambda each: (each.wall_ms, each.topic, each.offset)):
        if _was_there(one, pipeline, position, wall_ms if last else None):
            states.step(one.topic, one.offset, one.wall_ms, one.value)
    states.caught_up = True
    return Then(state, position, last, models, wall_ms)


def _was_there(one: Read, pipeline: str, position: int, wall_ms: int | None) -> bool:
    """Whether a control record is from before the position."""
    if one.topic in ASKED:
        return wall_ms is not None and one.wall_ms <= wall_ms
    try:
        message = decode(one.topic, one.value)
    except Unreadable:
        return False
    if pipeline_of(message) != pipeline or isinstance(message, LiveModel):
        return False
    if isinstance(message, ControlEvent):
        found = message.data.detected_at
        if "offset" in found:  # of dead letters: a place in their own topic
            return wall_ms is not None and one.wall_ms <= wall_ms
        return found.get("position", 0) <= position
    return True


def around(changes: Iterable[Change], position: int) -> tuple[Change | None, Change | None]:
    """The last change before a position, and the first after it."""
    before = after = None
    for one in changes:
        if one.position < position:
            before = one
        elif one.position > position and after is None:
            after = one
    return before, after
