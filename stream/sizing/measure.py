"""What one event, one label and one entity of a definition take: its own roles, run in this process on made-up events.

Laws of this file:
- Bytes are what the roles would write: the very records and states, encoded by the engine of this process.
- CPU is of this machine and of this process, the clients left out (`constants` has them). It is that of the second part of the
  events, which come as fast as asked and are of as many entities: what goes by event time must not count once an event.
- In the first part an entity gets its events as far apart as it will get them: windows fill as they will, or as far as
  `MOST_EVENTS` allow.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from penstock.features.redis.keys import public_key, state_key
from penstock.stream import topology
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out, record_bytes
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.sizing.figures import Measured
from penstock.stream.sizing.made_events import START_MS, Rate, made_events

MOST_EVENTS = 12_000
MOST_ENTITIES = 400
MOST_TIMED_ENTITIES = 20_000
FEWEST_EVENTS = 1_000
BATCH = 500
QUIET_TURNS = 2
COLLECT_AT = (50_000, 20, 100)
"""As the roles set the collector (`process.interpreter.settle_memory`)."""


def longest_ms(pipeline: Pipeline) -> int:
    """The longest window of any feature, a day if none has one; what remembers all time needs no more room with time."""
    parts = [
        part
        for view in pipeline.views
        for feature in view.features.values()
        for part in feature.parts or (feature,)
    ]
    return max((part.window_ms or 0 for part in parts), default=0) or 86_400_000


def planned(
    pipeline: Pipeline, events_per_s: float, entities: Mapping[str, int], labelled: float, most_events: int
) -> tuple[Rate, float]:
    """How many events of how many entities to make up, and how much of the longest window they cover."""
    horizon_ms = longest_ms(pipeline)
    fewest = min(entities.values(), default=1)
    # As many entities as leave each its events at its own rate over its longest window.
    per_entity = max(events_per_s / fewest * 1.2 * horizon_ms / 1000, 1.0)
    shown = int(max(min(MOST_ENTITIES, most_events / per_entity, fewest), 1))
    number = int(min(most_events, max(per_entity * shown, FEWEST_EVENTS)))
    step_ms = 1000.0 / events_per_s * fewest / shown
    covered = min(number * step_ms / horizon_ms, 1.0)
    # one entity brings more than can be made up: its events lie further apart, and fill as many panes
    if covered < 1.0:
        step_ms, covered = 1.2 * horizon_ms / number, 1.0
    counts = {view: max(round(count / fewest * shown), 1) for view, count in entities.items()}
    return Rate(number, step_ms, counts, labelled), covered


def measure(
    pipeline: Pipeline,
    events_per_s: float,
    entities: Mapping[str, int],
    labelled: float = 1.0,
    *,
    given: Sequence[Out] = (),
    most_events: int = MOST_EVENTS,
) -> Measured:
    """Run made-up events, or those `given` (records of the sources, in order), through the roles in memory.

    Raises:
        DefinitionError: no event of them became a sample: then give some of your own.

    """
    rate, filled = planned(pipeline, events_per_s, entities, labelled, most_events)
    if given:
        first, second = list(given[: len(given) // 2]), list(given[len(given) // 2 :])
    else:
        first = list(made_events(pipeline, rate))
        second = list(made_events(pipeline, timed(rate, events_per_s, entities), seed=2))
    flow = MemoryFlow(pipeline, partitions=1, guard=True, clock=lambda: START_MS + 10**12)
    with collecting_rarely():
        _run(flow, first)
        states = _entities(pipeline, flow)
        cpu = _run(flow, second)
    flow.close()  # learn's last snapshot is its size
    return _measured(pipeline, flow, cpu, states, filled)


def timed(rate: Rate, events_per_s: float, entities: Mapping[str, int]) -> Rate:
    """The events behind those of `rate` of which the CPU counts: as fast as asked, of as many entities."""
    counts = {view: min(count, MOST_TIMED_ENTITIES) for view, count in entities.items()}
    start_ms = rate.start_ms + int(rate.events * rate.step_ms)
    return Rate(max(rate.events // 2, 1), 1000.0 / events_per_s, counts, rate.labelled, rate.events, start_ms)


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """The cycle collector as the roles have it."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AT)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _run(flow: MemoryFlow, outs: Sequence[Out]) -> dict[str, float]:
    """Work on all of these; CPU seconds a record of a source by role, of the middle batch: others on the machine slow some."""
    took: dict[str, list[float]] = {"featurize": [], "learn": []}
    for at in range(0, len(outs), BATCH):
        cpu: Counter[str] = Counter()
        batch = outs[at : at + BATCH]
        flow.feed(batch)
        _turns(flow, cpu)
        for role, each in took.items():
            each.append(cpu[role] / len(batch))
    return {role: median(each) if each else 0.0 for role, each in took.items()}


def _turns(flow: MemoryFlow, cpu: Counter[str]) -> None:
    """Turn the roles until none has anything left to do."""
    quiet = 0
    while quiet < QUIET_TURNS:
        worked = 0
        for name, role in (("featurize", flow.featurize), ("learn", flow.learn)):
            began_s = time.process_time()
            done = role.process_batch(0.0)
            if done:
                cpu[name] += time.process_time() - began_s  # type: ignore[assignment]
            worked += done
        worked += flow.control.process_batch(0.0)
        quiet = 0 if worked else quiet + 1


Bytes = Mapping[str, tuple[float, float]]
"""Of an entity by view: with the key's name, and the value alone."""


def _measured(
    pipeline: Pipeline,
    flow: MemoryFlow,
    cpu: Mapping[str, float],
    found: tuple[Bytes, Bytes],
    filled: float,
) -> Measured:
    log = flow.log
    assert isinstance(log, MemoryLog)
    names = [source.name for source in pipeline.sources]
    own = [
        topology.samples(pipeline.name),
        topology.predictions(pipeline.name),
        topology.history(pipeline.name),
    ]
    totals, counts = {}, {}
    for name in (*names, *own):
        records = [record for part in range(log.partitions(name)) for record in _records(log, name, part)]
        totals[name] = sum(record_bytes(Out(name, one.key, one.value, one.headers)) for one in records)
        counts[name] = len(records)
    events = counts[pipeline.predict.name]
    if not counts[own[1]] and pipeline.labelled:
        raise DefinitionError(
            f"Pipeline {pipeline.name!r}: none of the {events:,} events made up for it gave a prediction: its fields want "
            "what cannot be made up; give some of your own with --events"
        )
    states, documents = found
    read = sum(counts[name] for name in names)
    return Measured(
        {name: total / events for name, total in totals.items()},
        1e6 * cpu["featurize"],
        1e6 * cpu["learn"] * read / events,
        {view: states[view][0] + documents[view][0] for view in states},
        {view: states[view][1] for view in states},
        totals[own[0]] / max(counts[own[0]], 1),
        filled,
        _kept(flow),
    )


def _records(log: MemoryLog, topic: str, partition: int) -> list[Any]:
    start, end = log.bounds([(topic, partition)])[topic, partition]
    reader = log.reader({(topic, partition): start})
    found: list[Any] = []
    while len(found) < end - start:
        found += reader.poll(10_000, 0.0)
    reader.close()
    return found


def _entities(pipeline: Pipeline, flow: MemoryFlow) -> tuple[Bytes, Bytes]:
    """Bytes of an entity's private state and public document."""
    data = flow.server.data
    states, documents = {}, {}
    task = "0" if pipeline.partitioned else "all"
    for view in pipeline.views:
        private = state_key(flow.deployed, task, view.name, view.version, "")
        states[view.name] = _mean({key: data[key] for key in data if key.startswith(private)})
        public = public_key(flow.deployed, view.name, "")
        documents[view.name] = _mean({key: data[key] for key in data if key.startswith(public)})
    return states, documents


def _mean(found: Mapping[str, bytes]) -> tuple[float, float]:
    number = max(len(found), 1)
    values = sum(map(len, found.values())) / number
    return values + sum(len(key.encode()) for key in found) / number, values


def _kept(flow: MemoryFlow) -> float:
    """Bytes of learn's snapshot: its pieces."""
    return float(sum(len(value) for key, value in flow.server.data.items() if ":learn:" in key))
