"""The fold (join, predict, learn, watch) beside bare river on the same flights: events a second and their ratio.

Run: python -m benchmarks.fold [--days 60] [--segments] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import msgspec

import penstock.examples
from penstock.examples.flights_data import Incident, events
from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.entries import entries
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import vector
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Entry, LabelRecord, Recipe, Sample
from penstock.stream.process.clock import wall_ms
from penstock.stream.roles.start import settle_memory

FLIGHTS = Path(penstock.examples.__file__).parent / "flights.py"


def samples_log(
    days: int, incident: Incident = "none", definition: Path = FLIGHTS
) -> list[tuple[int, Entry]]:
    """The samples log of the year's first days, made by featurize in memory from this definition of the flights."""
    pipeline = load(definition)
    log, server = MemoryLog(), MemoryServer()
    for source in pipeline.sources:
        log.create(source.name, 2)
    for topic in topology.owned(pipeline.name):
        log.create(topic.name, topic.partitions)
    end = date(2013, 1, 1) + timedelta(days)
    outs = [
        Out(topic, key.encode() if key else None, msgspec.json.encode(fields))
        for topic, key, fields, _ in events(incident, None, end)
    ]
    log.append(outs)
    worker = FeaturizeWorker(
        pipeline, log, lambda task: MemoryStateStore(server, pipeline.name, task), wall_ms
    )
    stepped = 0
    while stepped < len(outs):
        stepped += worker.process_batch(0.0)
    tp = (topology.samples(pipeline.name), 0)
    return list(entries(log, tp[0], 0, log.bounds([tp])[tp][1]))


def bare(read: Sequence[tuple[int, Entry]], pipeline: Pipeline | None = None) -> float:
    """CPU seconds of predicting at each sample and learning at its label with river alone, joined by a dict."""
    pipeline = load(FLIGHTS) if pipeline is None else pipeline
    model, names = pipeline.model.clone(), pipeline.vector_names
    waits: dict[str, dict[str, object]] = {}
    started = time.process_time()
    for _, entry in read:
        if isinstance(entry, Sample):
            x = waits[entry.id] = vector(names, entry.x)
            model.predict_proba_one(x)
        elif isinstance(entry, LabelRecord) and entry.id in waits:
            model.learn_one(waits.pop(entry.id), entry.y)
    return time.process_time() - started


def folded(
    read: Sequence[tuple[int, Entry]], *, actions: bool, segments: Sequence[str] | None = None
) -> float:
    """CPU seconds of the whole fold, with other `segments` than the definition's if some are given."""
    pipeline = load(FLIGHTS)
    fold = Fold(pipeline if segments is None else replace(pipeline, segments=segments), actions=actions)
    started = time.process_time()
    for position, entry in read:
        fold.step(position, entry)
        if position % 5_000 == 0:
            fold.outputs.predictions.clear()
    return time.process_time() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=60, help="how many days of flights (default 60)")
    parser.add_argument("--segments", action="store_true", help="also fold without the definition's segments")
    parser.add_argument("--json", metavar="FILE", help="also write the figures as one JSON object")
    args = parser.parse_args(arguments)
    read = samples_log(args.days)
    settle_memory()
    runs = [(bare(read), folded(read, actions=False), folded(read, actions=True)) for _ in range(3)]
    river, passive, active = (sorted(column)[1] for column in zip(*runs, strict=True))
    figures = {
        "entries": len(read),
        "river_events_per_cpu_s": round(len(read) / river),
        "passive_events_per_cpu_s": round(len(read) / passive),
        "events_per_cpu_s": round(len(read) / active),
        "ratio": round(river / active, 3),
        "passive_ratio": round(river / passive, 3),
    }
    if args.segments:
        read = [
            (position, msgspec.structs.replace(entry, recipe="") if isinstance(entry, Sample) else entry)
            for position, entry in read
            if not isinstance(entry, Recipe)
        ]
        pairs = [(folded(read, actions=True), folded(read, actions=True, segments=())) for _ in range(5)]
        watched, plain = (sorted(column)[2] for column in zip(*pairs, strict=True))
        figures |= {
            "segments": len(load(FLIGHTS).segments),
            "with_segments_events_per_cpu_s": round(len(read) / watched),
            "without_segments_events_per_cpu_s": round(len(read) / plain),
            "segments_us_an_event": round((watched - plain) / len(read) * 1e6, 2),
        }
    print(json.dumps(figures, indent=1))
    if args.json:
        Path(args.json).write_text(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
