"""The control role on a log, without an app of its own: for a process that runs other roles, too.

Laws of this file:
- The state stands where the Faust app's stands: the newest record of the pipeline's changelog topic, with the positions of what
  was read for it. Either shell goes on where the other stopped.
- It is stored, and acknowledged, before anything is sent, and once more after: a crash in between sends the same records with the
  same ids again.
- One at a time: who reads and sends holds a lease in the role's consumer group, of which the Faust app is a member, too.
- After an error that leaves the outcome open, the state is read anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.stream import topology
from penstock.stream.control.state import PolicyConfig, PolicyState, decode_state, encode_state
from penstock.stream.control.step import (
    BATCH_RECORDS,
    READ_TOPICS,
    RESEND_MS,
    take_due,
    taken,
    warn_of_deleted,
)
from penstock.stream.definitions import Pipeline
from penstock.stream.log.protocol import (
    TP,
    AppendFailed,
    CommitFailed,
    Fenced,
    Log,
    LogUnavailable,
    Out,
    Record,
)

logger = logging.getLogger("penstock.control")

OPEN = (AppendFailed, LogUnavailable)
RETRY_MS = 500
ANSWER_S = 10.0


class ControlHealth(Protocol):
    """What the worker tells its metrics page."""

    def batch(self, worker: KeptControl) -> None:
        """Called after every turn of the loop."""

    def sent(self, outs: Sequence[Out]) -> None:
        """Called with commands and decisions that stand in the log."""


class KeptControl:
    """The control role of one pipeline. `process_batch` turns its loop once; `close` leaves the group.

    Raises `UnknownTopic` where a control topic, or the changelog, is missing.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        wall_ms: Callable[[], int],
        *,
        prefix: str = "",
        resend_ms: int = RESEND_MS,
        health: ControlHealth | None = None,
    ) -> None:
        self.pipeline, self.log, self.wall_ms = pipeline, log, wall_ms
        self.prefix, self.resend_ms, self.health = prefix, resend_ms, health
        self.config, self.key = PolicyConfig.of(pipeline), pipeline.name.encode()
        self.changelog: TP = (topology.policy_changelog(pipeline.name, prefix).name, 0)
        self.tps: list[TP] = [(prefix + topic, 0) for topic in READ_TOPICS]
        for topic in (*(topic for topic, _ in self.tps), prefix + topology.CONTROL_DECISIONS):
            log.partitions(topic)
        self.state: PolicyState | None = None
        self.assigned = False
        self.retry_at_ms = self.unreadable = 0
        self.read: dict[str, int] = {}
        group = topology.consumer_group(pipeline.name, "control", prefix)
        # Not a static member: Faust, which shares out partitions its own way, may join as soon as this one has left.
        self.member = log.member(group, [self.changelog[0]], lease=True)

    def process_batch(self, timeout_s: float) -> int:
        """Poll once, decide and send; how many control records were read."""
        records = self.member.poll(BATCH_RECORDS, timeout_s)
        change = self.member.take_assignment()
        now = self.wall_ms()
        worked = 0
        if change is not None:
            self.assigned, self.state = bool(change.assigned), None
        try:
            if self.state is not None:
                self._work(self.state, records, now)
                worked = len(records)
            elif self.assigned and now >= self.retry_at_ms:
                self._take_up()
        except OPEN as error:
            logger.warning("%s: %s; reading the state anew", type(error).__name__, error)
            self.state, self.retry_at_ms = None, now + RETRY_MS
        if self.health is not None:
            self.health.batch(self)
        return worked

    def _take_up(self) -> None:
        """Go on from the stored state. A position past a topic's end is one of a topic made anew: it is read from its start."""
        stored = self._stored()
        state = decode_state(stored) if stored else PolicyState(self.pipeline.name)
        positions = {}
        for tp, (low, high) in self.log.bounds(self.tps).items():
            position = state.positions.get(tp[0], 0)
            positions[tp] = low if position > high else max(position, low)
            warn_of_deleted(tp[0], position, positions[tp])
        state.positions = {topic: at for (topic, _), at in positions.items()}
        self.member.start_at(positions)
        self.state, self.retry_at_ms = state, 0

    def _stored(self) -> bytes | None:
        """The newest state in the changelog. Compaction leaves the last record: it is looked for from the end."""
        low, high = self.log.bounds([self.changelog])[self.changelog]
        for start in dict.fromkeys((max(low, high - 1), max(low, high - 1_000), low)):
            found = self._newest(start, high)
            if found is not None:
                return found
        return None

    def _newest(self, start: int, end: int) -> bytes | None:
        """The last value of this pipeline's key among these records."""
        reader = self.log.reader({self.changelog: start})
        try:
            found: bytes | None = None
            while reader.positions()[self.changelog] < end:
                before = reader.positions()
                for record in reader.poll(BATCH_RECORDS, ANSWER_S):
                    if record.key == self.key:
                        found = record.value
                if reader.positions() == before:
                    raise LogUnavailable(f"{self.changelog[0]} was not read to its end within {ANSWER_S:g} s")
            return found
        finally:
            reader.close()

    def _work(self, state: PolicyState, records: list[Record], now: int) -> None:
        changed = False
        for record in records:
            found = taken(state, record, self.prefix, self.config, now)
            changed |= found.changed
            self.unreadable += not found.readable
            state.positions[record.topic] = record.offset + 1
            self.read[record.topic] = self.read.get(record.topic, 0) + 1
        if changed:
            self._store(state)
        outs = take_due(state, self.prefix, now, self.resend_ms)
        if outs:
            self.log.append(outs)
            self._store(state)
            if self.health is not None:
                self.health.sent(outs)
        if records:
            try:
                self.member.commit({tp: state.positions[tp[0]] for tp in self.tps})
            except (CommitFailed, Fenced) as error:  # it only tells people how far this is
                logger.warning("%s", error)

    def _store(self, state: PolicyState) -> None:
        """Write the state to the changelog and wait for the acknowledgement."""
        self.log.append([Out(self.changelog[0], self.key, encode_state(state), (), 0)])

    def close(self) -> None:
        """Leave the group: what was decided is stored already."""
        self.member.close()
