"""Follows the topics of every pipeline in one thread, and looks at each pipeline as `penstock status` does in another.

Laws of this file:
- It reads, without a group, and commits and writes nothing: a right to read is enough.
- A broker that is away is waited for, and said; the last state goes on being shown. A topic that was deleted and made anew is
  noticed by its end, and everything is read again into a fresh state.
- Looking takes at most a quarter of one core, however many pipelines there are: the rounds become longer instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from penstock.stream.console.reading.shared import Reading
from penstock.stream.console.state import States
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import LogError
from penstock.stream.operate.status import look
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.health_page import Health
from penstock.stream.process.settings import Settings

logger = logging.getLogger("penstock.console")

POLL_MS = 200
RECORDS = 2_000
TOPICS_EVERY_S = 5.0
AGAIN_S = 2.0
LOOK_EVERY_S = 10.0
SHARE = 3.0
"""So many times as long as a look took nothing is looked at."""
READ = {"enable_auto_commit": False, "allow_auto_create_topics": False}


class Anew(Exception):  # noqa: N818 - no error: a topic was made anew
    """A topic ends before the position reached: it is another topic of the same name."""


class Follower:
    """Keeps a `Reading` up to date until it is closed."""

    def __init__(self, pipelines: Iterable[str], settings: Settings, health: Health) -> None:
        self.names = list(pipelines)
        self.settings, self.health = settings, health
        self.reading = Reading(States(self.names))
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self._follow,), name="follow", daemon=True),
            threading.Thread(target=self._run, args=(self._look,), name="look", daemon=True),
        ]

    def start(self) -> Follower:
        """Begin to read."""
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)

    def _run(self, work: Callable[[], None]) -> None:
        """Do it until told to stop, again whenever it failed."""
        while not self._stop.is_set():
            try:
                work()
            except Anew as anew:
                logger.warning("%s: reading everything again", anew)
                self.reading.states = States(self.names)
            except LogError as error:
                self._failed(str(error))
            # Whatever it is, the last state goes on being shown, and the next try may do.
            except Exception as error:
                logger.exception("reading failed; it begins again")
                self._failed(f"reading failed ({type(error).__name__}: {error}); it begins again")
            self._stop.wait(AGAIN_S)

    def _failed(self, said: str) -> None:
        with self.reading.lock:
            self.reading.states.failed = said
        self.health.ready({"in touch with Kafka": False, "caught up": self.reading.states.caught_up})

    # -- the topics --------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        prefix = self.settings.prefix
        with client(KafkaConsumer, self.settings, max_poll_records=RECORDS, **READ) as consumer:
            due_s = 0.0
            while not self._stop.is_set():
                states = self.reading.states
                if time.monotonic() >= due_s:
                    self._assign(consumer, states)
                    due_s = time.monotonic() + TOPICS_EVERY_S
                polled = consumer.poll(timeout_ms=POLL_MS) if consumer.assignment() else self._rest()
                with self.reading.lock:
                    for records in polled.values():
                        for record in records:
                            topic = record.topic.removeprefix(prefix)
                            before = states.unreadable
                            states.step(topic, record.offset, record.timestamp, record.value)
                            if states.unreadable > before:
                                place = (record.topic, record.partition, record.offset)
                                logger.warning("%s/%d at %d is not shown: it cannot be read", *place)
                    states.failed = ""
                self._told(consumer, states)

    def _rest(self) -> dict[Any, Any]:
        self._stop.wait(POLL_MS / 1000)
        return {}

    def _assign(self, consumer: KafkaConsumer, states: States) -> None:
        """Read every topic that is there, from where the state stands. Raises `Anew`."""
        consumer.topics()  # asks the broker: a topic may have been made since
        names = {topic: self.settings.prefix + topic for topic in states.topics}
        there = {
            topic: TopicPartition(name, 0)
            for topic, name in names.items()
            if consumer.partitions_for_topic(name)
        }
        if {*there.values()} != consumer.assignment():
            consumer.assign(list(there.values()))
            low = consumer.beginning_offsets(list(there.values()))
            for topic, partition in there.items():
                consumer.seek(partition, max(states.positions.get(topic, 0), low[partition]))
        ends = consumer.end_offsets(list(there.values()))
        for topic, partition in there.items():
            if ends[partition] < states.positions.get(topic, 0):
                raise Anew(
                    f"{partition.topic} ends at {ends[partition]}, and was read to {states.positions[topic]}"
                )
        self._ends = ends

    def _told(self, consumer: KafkaConsumer, states: States) -> None:
        """Say how far it is."""
        states.behind = sum(max(end - consumer.position(one), 0) for one, end in self._ends.items())
        if not states.behind:
            states.caught_up = True
        self.health.turned()
        self.health.ready({"in touch with Kafka": True, "caught up": states.caught_up})

    # -- looks -------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        with (
            client(KafkaConsumer, self.settings, **READ) as consumer,
            client(KafkaAdminClient, self.settings) as admin,
        ):
            while not self._stop.is_set():
                round_s = time.monotonic()
                for name in self.names:
                    began_s = time.monotonic()
                    self._look_at(consumer, admin, name)
                    if self._stop.wait((time.monotonic() - began_s) * SHARE):
                        return
                self._stop.wait(max(LOOK_EVERY_S - (time.monotonic() - round_s), 0.0))

    def _look_at(self, consumer: KafkaConsumer, admin: KafkaAdminClient, name: str) -> None:
        now = wall_ms()
        try:
            found = look(consumer, admin, name, self.settings.prefix, now)
        except (LogError, KafkaError) as error:  # the other pipelines may be asked all the same
            with self.reading.lock:
                self.reading.states.not_looked(name, f"{type(error).__name__}: {error}")
            return
        with self.reading.lock:
            self.reading.states.looked(name, found, now)
