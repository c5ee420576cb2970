"""The fold (join, predict, learn, watch) beside bare river on the same flights: events a second and their ratio.

Run: python -m benchmarks.fold [--days 60] [--segments] [--wide] [--json FILE]

With `--wide` only the fold runs: samples of 15 inputs and 13 features with two segment fields of 15 values each, with quality
and segments watched, one of the two, and neither; in turn, the best of five rounds.
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
from benchmarks.written import write
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
from penstock.stream.process.interpreter import settle_memory

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


def without_recipes(read: Sequence[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
    """The same records for definitions that differ in what they watch: under another one's recipe a fold would not act."""
    return [
        (position, msgspec.structs.replace(entry, recipe="") if isinstance(entry, Sample) else entry)
        for position, entry in read
        if not isinstance(entry, Recipe)
    ]


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
    if segments is not None:
        pipeline = replace(pipeline, segments=segments)
    return run(pipeline, read, actions=actions)[0]


def run(pipeline: Pipeline, read: Sequence[tuple[int, Entry]], *, actions: bool = True) -> tuple[float, Fold]:
    """CPU seconds of the whole fold, and the fold."""
    fold = Fold(pipeline, actions=actions)
    started = time.process_time()
    for position, entry in read:
        fold.step(position, entry)
        if position % 5_000 == 0:
            fold.outputs.predictions.clear()
    return time.process_time() - started, fold


def watched_wide(days: int, rounds: int = 5) -> dict[str, object]:
    """Entries a CPU second of wide samples (`wide`), by what is watched; the best of rounds in which all take turns."""
    from benchmarks.wide import wide_pipeline, widened  # it reads this module's log

    pipeline = wide_pipeline()
    read = list(widened(samples_log(days), pipeline))
    settle_memory()
    variants = {
        "quality_and_segments": pipeline,
        "quality": replace(pipeline, segments=()),
        "segments": replace(pipeline, quality=False),
        "neither": replace(pipeline, quality=False, segments=()),
    }
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(rounds):
        for name, one in variants.items():
            seconds, fold = run(one, read)
            assert fold.acting and fold.counts.unreadable == 0
            best[name] = min(best[name], seconds)
    rates = {f"{name}_entries_per_cpu_s": round(len(read) / seconds) for name, seconds in best.items()}
    return {
        "inputs": len(pipeline.inputs),
        "vector": len(pipeline.vector_names),
        "entries": len(read),
        **rates,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=60, help="how many days of flights (default 60)")
    parser.add_argument("--segments", action="store_true", help="also fold without the definition's segments")
    parser.add_argument("--wide", action="store_true", help="only wide samples, by what is watched")
    parser.add_argument("--json", metavar="FILE", help="also write the figures as one JSON object")
    args = parser.parse_args(arguments)
    figures = watched_wide(args.days) if args.wide else beside_river(args.days, segments=args.segments)
    print(json.dumps(figures, indent=1))
    write(figures, args.json)
    return 0


def beside_river(days: int, *, segments: bool) -> dict[str, object]:
    """Entries a CPU second of the fold and of bare river; with `segments` also without those of the definition."""
    read = samples_log(days)
    settle_memory()
    runs = [(bare(read), folded(read, actions=False), folded(read, actions=True)) for _ in range(3)]
    river, passive, active = (sorted(column)[1] for column in zip(*runs, strict=True))
    figures: dict[str, object] = {
        "entries": len(read),
        "river_events_per_cpu_s": round(len(read) / river),
        "passive_events_per_cpu_s": round(len(read) / passive),
        "events_per_cpu_s": round(len(read) / active),
        "ratio": round(river / active, 3),
        "passive_ratio": round(river / passive, 3),
    }
    if segments:
        read = without_recipes(read)
        pairs = [(folded(read, actions=True), folded(read, actions=True, segments=())) for _ in range(5)]
        watched, plain = (sorted(column)[2] for column in zip(*pairs, strict=True))
        figures |= {
            "segments": len(load(FLIGHTS).segments),
            "with_segments_events_per_cpu_s": round(len(read) / watched),
            "without_segments_events_per_cpu_s": round(len(read) / plain),
            "segments_us_an_event": round((watched - plain) / len(read) * 1e6, 2),
        }
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
