"""The control role: a Faust app that decides on requests and turns them into commands.

Laws of this file:
- Nothing rests on Faust's acknowledgements. Its agent says that something came; what is read, and from where,
  is the position stored with the state. A gap is read again from the log, at the start and every `AUDIT_S`
  everything after the stored positions.
- The state is stored, and acknowledged by the broker, before anything is sent, and once more after. A crash
  in between sends the same records with the same ids again.
- One lock, no concurrency: records are decided on one after the other, whoever brings them. The agent never
  raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from faust.types import AppT, StreamT, TableT

from penstock.stream import topology
from penstock.stream.control.faust_app import build, changelog_of
from penstock.stream.control.state import PolicyConfig, PolicyState, decode_state, encode_state
from penstock.stream.control.step import (
    READ_TOPICS,
    RESEND_MS,
    Undecodable,
    concerned,
    control_step,
    take_due,
    warn_of_deleted,
)
from penstock.stream.definitions import Pipeline
from penstock.stream.log.kafka_python import read_after
from penstock.stream.log.not_allowed import NotAllowed
from penstock.stream.log.protocol import Out
from penstock.stream.messages import decode_decision
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.health_page import Health
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.shards import names_of

logger = logging.getLogger("penstock.control")

SWEEP_S = 1.0
AUDIT_S = 30.0
RETRY_S = 0.5
REFUSALS = frozenset(
    {"TopicAuthorizationFailedError", "GroupAuthorizationFailedError", "ClusterAuthorizationFailedError",
     "AuthenticationFailedError", "SaslAuthenticationFailed"}
)  # fmt: skip
"""What the client below Faust calls it when the user may not: no waiting mends it, so the role ends."""


class Control:
    """The control role of one pipeline. `run` keeps it going until it is told to stop."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        health: Health,
        folder: str,
        *,
        resend_ms: int = RESEND_MS,
    ) -> None:
        self.pipeline, self.settings, self.health, self.resend_ms = pipeline, settings, health, resend_ms
        self.prefix, self.names = settings.prefix, names_of(pipeline)
        self.config = PolicyConfig.of(pipeline)
        self.read_topics = [settings.prefix + topic for topic in READ_TOPICS]
        self.positions: dict[str, int] = {}
        self.lock = asyncio.Lock()
        self.refused: Exception | None = None
        self.recovered = asyncio.Event()
        self.app: AppT = build(pipeline.name, settings, folder)
        # The state is written with `store` only: set by the broker's acknowledgement, and not when an event
        # happens to be acked.
        self.table: TableT[bytes, bytes] = self.app.Table(
            "policy", partitions=1, use_partitioner=True, key_type=bytes, value_type=bytes
        )
        self._declare()

    def _declare(self) -> None:
        app = self.app
        channel = app.topic(*self.read_topics, key_serializer="raw", value_serializer="raw", allow_empty=True)

        @app.agent(channel, name="requests", concurrency=1)
        async def requests(stream: StreamT[bytes]) -> None:
            async for event in stream.events():
                message = event.message
                with contextlib.suppress(Exception):
                    await self.came(message.topic, message.offset, message.value)

        @app.task  # type: ignore[untyped-decorator]
        async def start() -> None:
            await self.retried(self.catch_up, "reading what came while this role was away")
            self.recovered.set()

        @app.timer(SWEEP_S)
        async def sweep() -> None:
            self.health.turned()
            if self.recovered.is_set():
                await self.retried(self.flush, "sending commands and decisions", once=True)

        @app.timer(AUDIT_S)
        async def audit() -> None:
            if self.recovered.is_set():
                await self.retried(self.catch_up, "reading the control topics", once=True)

    # -- records in ------------------------------------------------------------------------------------------

    async def came(self, topic: str, offset: int, value: bytes | None) -> None:
        """Faust brought a record: take it if it is the next one, read the log if records before it are missing."""
        await self.recovered.wait()
        position = self.positions.get(topic, 0)
        if offset < position:
            return
        compacted = topic == self.prefix + topology.CONTROL_MODELS
        if offset > position and not compacted:
            await self.retried(self.catch_up, "reading a gap in the control topics")
            return
        await self.retried(lambda: self.take(topic, offset, value), "deciding")

    async def take(self, topic: str, offset: int, value: bytes | None) -> None:
        """Decide on one record, store, send, store."""
        async with self.lock:
            if offset < self.positions.get(topic, 0):
                return
            names, unreadable = concerned(self.names, value), ""
            for name in names:
                state = self.state(name)
                try:
                    short = topic.removeprefix(self.prefix)
                    changed = control_step(state, short, value, self.config, wall_ms(), offset)
                except Undecodable as error:
                    changed, unreadable = error.refused, str(error)
                if changed:
                    # The record is behind all shards only once the last of them has it; to take it twice is harmless.
                    state.positions = {**self.positions, topic: offset + (name == names[-1])}
                    await self.store(state)
            if unreadable:
                self.health.unreadable_records.inc()
                logger.warning("%s at %d is not used: %s", topic, offset, printable(unreadable))
            self.positions[topic] = offset + 1
            self.health.records.labels(topic).inc()
            self.health.position.labels(topic, "0").set(offset + 1)
        await self.flush()

    async def catch_up(self) -> None:
        """Read everything after the stored positions and decide on it."""
        loop = asyncio.get_running_loop()
        stored = {**self.stored_positions(), **self.positions}
        found, starts = await loop.run_in_executor(None, read_after, self.settings, self.read_topics, stored)
        for topic, start in starts.items():
            warn_of_deleted(topic, stored.get(topic, 0), start)
        self.positions = {**stored, **starts}
        for topic, offset, value in found:
            await self.take(topic, offset, value)
        await self.flush()

    # -- records out -----------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Send what is due."""
        async with self.lock:
            states = [self.state(name) for name in self.names]
            due = [take_due(state, self.prefix, wall_ms(), self.resend_ms) for state in states]
            self.health.commands_open.set(sum(len(state.sending) for state in states))
            self.health.requests_waiting.set(sum(len(state.waiting) for state in states))
            for state, outs in zip(states, due, strict=True):
                for out in outs:
                    await self.send(out)
                if outs:
                    await self.store(state)
        for outs in due:
            self._count(outs)

    def _count(self, outs: list[Out]) -> None:
        audit = self.prefix + topology.CONTROL_DECISIONS
        for out in outs:
            if out.topic != audit:
                self.health.commands_sent.inc()
                continue
            decision = decode_decision(out.value or b"")
            told = f"{decision.verb} {decision.verdict}: {decision.why} ({decision.by})"
            logger.info("%s", printable(told))
            self.health.decisions.labels(decision.verb, decision.verdict).inc()

    async def send(self, out: Out) -> None:
        """Append one record and wait for the broker's acknowledgement."""
        await self.app.producer.send_and_wait(out.topic, out.key, out.value, out.partition, None, None)

    # -- state -----------------------------------------------------------------------------------------------

    def state(self, name: str) -> PolicyState:
        """A fresh copy of the stored state of the pipeline, or of a shard: what fails half-way leaves nothing behind."""
        stored = self.table.data.get(name.encode())
        return decode_state(stored) if stored else PolicyState(name)

    def stored_positions(self) -> dict[str, int]:
        """Up to where each topic was taken, as any shard's state says: what is below was taken for all of them."""
        found: dict[str, int] = {}
        for name in self.names:
            for topic, position in self.state(name).positions.items():
                found[topic] = max(found.get(topic, 0), position)
        return found

    async def store(self, state: PolicyState) -> None:
        """Write the state to the table's changelog, wait for the acknowledgement, then show it."""
        value = encode_state(state)
        key = state.pipeline.encode()
        await self.send(Out(changelog_of(self.pipeline.name, self.settings), key, value, (), 0))
        self.table.data[key] = value

    async def retried(self, step: Callable[[], Any], what: str, *, once: bool = False) -> None:
        """Run a step until it succeeds; the broker may be away for a while."""
        while True:
            try:
                await step()
                return
            except Exception as error:
                if isinstance(error, NotAllowed) or type(error).__name__ in REFUSALS:
                    self.refused = error
                logger.warning(
                    "%s failed, %s: %s: %s",
                    what,
                    "next time again" if once else "again soon",
                    type(error).__name__,
                    error,
                )
                if once:
                    return
                await asyncio.sleep(RETRY_S)
