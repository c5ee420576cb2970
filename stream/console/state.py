"""What the console knows: the states of its pipelines, folded from what the topics say.

Laws of this file:
- Pure: `States.step` takes one record and changes the state; the same records in the same order of each topic give the same
  state. How topics lie between one another does not matter but for the order of what is told, which is by the broker's time.
- Bounded by pipeline: what `past` keeps, the newest `MOST_BLOCKS` records of blocks, `MOST_EVENTS`
  control events, `MOST_ASKED` requests and decisions each, `MOST_CHANGES` changes of what is live. Older ones stay in the topics.
- A record that cannot be read is passed over and counted; its position is passed all the same.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from penstock.stream import topology
from penstock.stream.console.past import Past
from penstock.stream.history_record import HistoryRecord, decode_history
from penstock.stream.messages import ControlEvent, Decision, LiveModel, OperatorRequest
from penstock.stream.operate.control_topics import FOLLOWED, Message, Unreadable, decode, pipeline_of
from penstock.stream.operate.status_found import Status, still_open

MOST_BLOCKS = 1_000
MOST_EVENTS = 2_000
MOST_ASKED = 2_000
MOST_CHANGES = 1_000
NO_DEPLOY = ""


class Told(NamedTuple):
    """A control message and where it stands: topic without the prefix, offset, and when the broker got it (ms)."""

    wall_ms: int
    topic: str
    offset: int
    message: Message


class Change(NamedTuple):
    """Another model leads, is committed or answers, or another definition was deployed: event time (ms), offset, in words."""

    at: int
    position: int
    what: str
    before: str
    after: str


def _order(told: Told) -> tuple[int, str, int]:
    return told[:3]


class PipelineState:
    """One pipeline. `status` is what was last found by looking (None: not looked yet), at `looked_ms` of the wall clock.

    `lived` are the live models as they were told, as far as the compacted topic still had them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.past = Past()
        self.blocks: deque[HistoryRecord] = deque(maxlen=MOST_BLOCKS)
        self.changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self.live: LiveModel | None = None
        self.lived: deque[LiveModel] = deque(maxlen=MOST_CHANGES)
        self.status: Status | None = None
        self.looked_ms = 0
        self.look_failed = ""
        self.revision = 0
        self.position = 0
        self.event_at = 0
        self._events: list[Told] = []
        self._requests: list[Told] = []
        self._decisions: list[Told] = []
        self._known: dict[tuple[str, str], None] = {}
        self._last: HistoryRecord | None = None

    # -- what is there -----------------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[ControlEvent]:
        """The control events that are kept, in the order in which the broker got them."""
        return [told.message for told in self._events if isinstance(told.message, ControlEvent)]

    @property
    def told(self) -> list[Told]:
        """Events, requests and decisions that are kept, in that order."""
        return sorted([*self._events, *self._requests, *self._decisions], key=_order)

    @property
    def requests(self) -> list[Told]:
        """What people asked for."""
        return list(self._requests)

    @property
    def decisions(self) -> list[Decision]:
        """What was decided."""
        return [told.message for told in self._decisions if isinstance(told.message, Decision)]

    @property
    def open(self) -> list[ControlEvent]:
        """The findings that are not over, as `penstock status` names them."""
        return still_open(self.events)

    @property
    def last(self) -> HistoryRecord | None:
        """The newest history record of either kind."""
        return self._last

    # -- steps -------------------------------------------------------------------------------------------------------------

    def history(self, record: HistoryRecord) -> None:
        """A block of labels or an hour came to an end."""
        self._changes(record)
        self.past.add(record)
        if record.kind == "labels" and (not self.blocks or record.position > self.blocks[-1].position):
            self.blocks.append(record)
        self._moved(record.at, record.position)

    def control(self, told: Told) -> None:
        """Something was told, asked or decided, or is live."""
        message = told.message
        if isinstance(message, LiveModel):
            if not self.lived or self.lived[-1] != message:
                self.lived.append(message)
            self.live = message
            self._moved(message.at, message.position)
            return
        named = (told.topic, message.id)
        if named in self._known:
            return
        self._known[named] = None
        kept, most = self._events, MOST_EVENTS
        if isinstance(message, ControlEvent):
            if "offset" not in message.data.detected_at:
                found = message.data.detected_at
                self._moved(found.get("at", 0), found.get("position", 0))
        else:
            kept = self._requests if isinstance(message, OperatorRequest) else self._decisions
            most = MOST_ASKED
        insort(kept, told, key=_order)
        if len(kept) > most:
            forgotten = kept.pop(0)
            self._known.pop((forgotten.topic, getattr(forgotten.message, "id", "")), None)

    def looked(self, status: Status, wall_ms: int) -> None:
        """What `penstock status` found now."""
        self.status, self.looked_ms, self.look_failed = status, wall_ms, ""
        if status.live is not None:
            self.live = status.live
            self._moved(status.live.at, status.live.position)

    def _moved(self, at: int, position: int) -> None:
        self.event_at = max(self.event_at, at)
        self.position = max(self.position, position)

    def _changes(self, record: HistoryRecord) -> None:
        """What differs from the record before, of whichever kind."""
        last = self._last
        if last is not None and record.position < last.position:
            return
        self._last = record
        if last is None:
            return
        for what, before, after in (
            ("deploy", last.recipe, record.recipe),
            ("commit", last.committed, record.committed),
            ("lead", last.leader, record.leader),
            ("hold", "held" if last.held else "", "held" if record.held else ""),
        ):
            if before != after:
                self.changes.append(Change(record.at, record.position, what, before, after))


class States:
    """Every pipeline of this console, and how far each topic was read. `positions` are next offsets, by topic without prefix."""

    def __init__(self, pipelines: Iterable[str]) -> None:
        self.pipelines = {name: PipelineState(name) for name in pipelines}
        self.positions: dict[str, int] = {}
        self.unreadable = 0
        self.caught_up = False
        self.behind = 0
        self.failed = ""
        self._histories = {topology.history(name): name for name in self.pipelines}

    @property
    def topics(self) -> list[str]:
        """The topics that the state is folded from, without the prefix."""
        return [*FOLLOWED, *self._histories]

    def step(self, topic: str, offset: int, wall_ms: int, value: bytes | None) -> None:
        """Take one record of a topic (its name without the prefix)."""
        if offset < self.positions.get(topic, 0):
            return
        self.positions[topic] = offset + 1
        if value is None:
            return
        try:
            if topic in self._histories:
                record = decode_history(value)
                state = self.pipelines[self._histories[topic]]
                state.history(record)
            else:
                message = decode(topic, value)
                found = self.pipelines.get(pipeline_of(message))
                if found is None:
                    return
                state = found
                state.control(Told(wall_ms, topic, offset, message))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Unreadable):
            self.unreadable += 1
            return
        state.revision += 1

    def looked(self, pipeline: str, status: Status, wall_ms: int) -> None:
        """A pipeline was looked at."""
        state = self.pipelines[pipeline]
        state.looked(status, wall_ms)
        state.revision += 1

    def not_looked(self, pipeline: str, why: str) -> None:
        """A pipeline could not be looked at; what was found before goes on being known, with its time."""
        state = self.pipelines[pipeline]
        state.look_failed = f"it cannot be looked at ({why})"
        state.revision += 1

    def revision(self, pipeline: str) -> int:
        """A number that grows whenever what is known of a pipeline changes; of all of them for the empty name."""
        if pipeline:
            state = self.pipelines.get(pipeline)
            return 0 if state is None else state.revision
        return sum(state.revision for state in self.pipelines.values())

    def reached(self, pipeline: str) -> dict[str, int]:
        """How far the topics were read that a pipeline's state is folded from; of all of them for the empty name."""
        return {
            topic: offset
            for topic, offset in sorted(self.positions.items())
            if not pipeline or topic in FOLLOWED or topic == topology.history(pipeline)
        }
