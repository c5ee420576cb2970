"""How far a run is, and what its control topics say meanwhile.

Laws of this file:
- Only reads: positions and committed offsets from the broker, messages from the control topics.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.demo.processes import DemoFailed, Process, Role
from penstock.stream.log.protocol import TP, Log
from penstock.stream.messages import (
    ControlEvent,
    Decision,
    LiveModel,
    decode_control_event,
    decode_decision,
    decode_live_model,
)

QUIET_S = 2.0
STALLED_S = 120.0


class ControlTail:
    """Follows the control topics from their start and tells `say` what is new, a line each."""

    READ = (
        topology.CONTROL_ALERTS,
        topology.CONTROL_RETRAIN,
        topology.CONTROL_ROLLBACK,
        topology.CONTROL_DECISIONS,
        topology.CONTROL_MODELS,
    )

    def __init__(self, log: Log, tell: Callable[[ControlEvent | Decision | LiveModel], None]) -> None:
        self.tell = tell
        self.events: list[ControlEvent] = []
        self.decisions: list[Decision] = []
        self.live: list[LiveModel] = []
        self.reader = log.reader({(topic, 0): 0 for topic in self.READ})

    def read_new(self) -> int:
        """Read what is new; how many records."""
        records = self.reader.poll(500, 0.0)
        for record in records:
            if record.value is None:
                continue
            if record.topic == topology.CONTROL_MODELS:
                live = decode_live_model(record.value)
                if live.change or not self.live or live.why != self.live[-1].why:
                    self.tell(live)
                self.live.append(live)
            elif record.topic == topology.CONTROL_DECISIONS:
                decision = decode_decision(record.value)
                self.decisions.append(decision)
                self.tell(decision)
            else:
                event = decode_control_event(record.value)
                self.events.append(event)
                self.tell(event)
        return len(records)


class Progress:
    """Watches the positions of a run on Kafka until every record is folded, and says how far it is."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        producer: Process,
        running: list[Role],
        tail: ControlTail,
        say: Callable[[str], None],
    ) -> None:
        self.log, self.producer, self.running, self.tail, self.say = log, producer, running, tail, say
        self.sources: list[TP] = [
            (source.name, partition)
            for source in pipeline.sources
            for partition in range(log.partitions(source.name))
        ]
        self.samples: TP = (topology.samples(pipeline.name), 0)
        self.groups = (f"{pipeline.name}.featurize", f"{pipeline.name}.learn")
        self.first_s = 0.0

    def positions(self) -> tuple[int, int, int, int]:
        """Records published, featurized, in the samples log, folded."""
        bounds = self.log.bounds([*self.sources, self.samples])
        featurized = self.log.committed(self.groups[0], self.sources)
        learned = self.log.committed(self.groups[1], [self.samples])
        return (
            sum(bounds[tp][1] for tp in self.sources),
            sum(featurized.values()),
            bounds[self.samples][1],
            learned.get(self.samples, 0),
        )

    def until_done(self) -> float:
        """Seconds from the first record published to the last one folded."""
        said = moved = time.monotonic()
        last = (0, 0, 0)
        target = 0
        finished_s = 0.0
        while True:
            for process in (self.producer, *self.running):
                process.check()
            now = time.monotonic()
            here = self.positions()
            published, featurized, samples, folded = here
            if published and not self.first_s:
                self.first_s = now
            if self.tail.read_new() or (published, featurized, min(folded, target or folded)) != last:
                moved = now
                last = (published, featurized, min(folded, target or folded))
            # The samples log grows by a tick a second for ever: done is what followed from the records published.
            if not target and self.producer.ended and featurized >= published > 0:
                target = samples
            if target and folded >= target and not finished_s:
                finished_s = now
            if finished_s and now - moved >= QUIET_S:
                self.say(self.line(here, finished_s))
                return finished_s - self.first_s
            if now - moved > STALLED_S:
                tails = "\n".join(f"{role.name}: {role.last_lines(4)}" for role in self.running)
                raise DemoFailed(f"nothing has moved for {STALLED_S:.0f} s at {here}\n{tails}")
            if now - said >= 2.0:
                said = now
                self.say(self.line(here, now))
            time.sleep(0.1)

    def line(self, here: tuple[int, int, int, int], now: float) -> str:
        """One line of progress."""
        published, featurized, samples, folded = here
        elapsed = max(now - self.first_s, 1e-9) if self.first_s else 1e-9
        rate = featurized / elapsed
        return (
            f"{elapsed:5.0f} s   published {published:>9,}   featurized {featurized:>9,}   "
            f"samples and labels folded {folded:>9,} of {samples:,}   {rate:>7,.0f} records/s"
        )
