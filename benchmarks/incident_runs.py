"""The flights with a planted incident, folded with the policy beside, and the episodes that were told: for `incidents`.

Laws of this file:
- The samples are those that featurize makes of the planted events, kept in a folder if one is given.
- Every run begins at the same day, so that what is told without an incident can be taken away from what is told with one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.fold import FLIGHTS
from benchmarks.incident_plants import Kind, Planted, onset_position, plant
from penstock.examples.flights_data import Event, events, new_york_ms
from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.entries import entries
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import ControlEvent, Entry, Recipe, Sample
from penstock.stream.operate.attended import Attended
from penstock.stream.process.clock import wall_ms

START, END = date(2013, 2, 1), date(2013, 6, 8)
PLANTED_DAYS = (date(2013, 5, 13), date(2013, 5, 18))
SHORTER = {"labels_stop": (date(2013, 5, 14), date(2013, 5, 16))}
"""Labels stop for two days; the others last for five."""


class Told(NamedTuple):
    """What a run told: every control event, and how often a model was committed or a retrain begun.

    `onset` is the position in the samples log at which the incident truly begins (-1 without one), `onset_ms` its event time.
    """

    events: list[ControlEvent]
    onset: int
    onset_ms: int
    records: int
    loss: float


def interval(kind: str) -> tuple[int, int]:
    """Event times between which an incident of this kind is planted."""
    first, last = SHORTER.get(kind, PLANTED_DAYS)
    return new_york_ms(first), new_york_ms(last)


def planted(kind: Kind | None) -> Planted:
    """The events of the stretch, with this incident or none."""
    given = [Event(*one) for one in events("none", START, END)]
    return Planted(given, 0, "", 0) if kind is None else plant(kind, given, *interval(kind))


def featurized(given: Sequence[Event], tell: Callable[[int], None]) -> list[Entry]:
    """The samples log that featurize makes in memory, without the recipe."""
    pipeline = load(FLIGHTS)
    log, server = MemoryLog(), MemoryServer()
    for source in pipeline.sources:
        log.create(source.name, 2)
    for topic in topology.owned(pipeline.name):
        log.create(topic.name, topic.partitions)
    log.append(
        [
            Out(one.topic, one.key.encode() if one.key else None, msgspec.json.encode(one.fields))
            for one in given
        ]
    )
    worker = FeaturizeWorker(
        pipeline, log, lambda task: MemoryStateStore(server, pipeline.name, task), wall_ms
    )
    stepped = 0
    while stepped < len(given):
        stepped += worker.process_batch(0.0)
        tell(stepped)
    tp = (topology.samples(pipeline.name), 0)
    return [
        msgspec.structs.replace(entry, recipe="") if isinstance(entry, Sample) else entry
        for _, entry in entries(log, tp[0], 0, log.bounds([tp])[tp][1])
        if not isinstance(entry, Recipe)
    ]


def kept(name: str, make: Callable[[], list[Entry]], cache: Path | None) -> list[Entry]:
    """The entries from the cache, or made and put there. Empty the cache when what featurize computes has changed."""
    if cache is None:
        return make()
    path = cache / f"incident-{name}-{load(FLIGHTS).digest}.msgpack"
    if path.is_file():
        return msgspec.msgpack.decode(path.read_bytes(), type=list[Entry])
    made = make()
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.msgpack.encode(made))
    unfinished.replace(path)
    return made


def folded(given: Sequence[Entry], onset_ms: int, tell: Callable[[int], None]) -> Told:
    """Fold the entries with the policy beside it."""
    attended = Attended(load(FLIGHTS))
    place, onset = onset_position(given, onset_ms) if onset_ms else -1, -1
    for number, entry in enumerate(given):
        if number == place:
            onset = attended.fold.position
        attended.step(entry)
        if number % 5_000 == 0:
            tell(number)
    counts = attended.fold.counts
    return Told(attended.told, onset, onset_ms, len(given), counts.live_loss / max(counts.joined, 1))


def run(kind: Kind | None, cache: Path | None, tell: Callable[[str], None]) -> Told:
    """The stretch with this incident, or none."""
    name = kind or "none"
    tell(f"{name}: reading")
    made = planted(kind)
    given = kept(name, lambda: featurized(made.events, lambda n: tell(f"{name}: featurize, {n:,}")), cache)
    return folded(given, made.onset_ms, lambda n: tell(f"{name}: fold, {n:,} of {len(given):,}"))


def findings(told: Sequence[ControlEvent]) -> dict[str, list[Any]]:
    """The events of each episode, in order."""
    found: dict[str, list[Any]] = {}
    for event in told:
        found.setdefault(event.data.episode, []).append(event)
    return found
