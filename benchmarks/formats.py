"""The same flights in JSON, Avro, Protobuf and JSON Schema through a real Kafka: the same model, and what each costs.

    penstock bench formats [--end 2013-02-01] [--rounds 3] [--json [FILE]]

One row a format: {"format", "bytes", "decode_us", "featurize_us", "ratio", "schemas", "asked", "same", "digest", ...}.
The flights from the year's start to --end are published once in each, on topics of their own; in Avro the first half is written
under one version of the schema and the second under another (other order, a field more, times in microseconds). `bytes` is the
mean size of a record's value. `decode_us` is the CPU time of one record from bytes to a checked event, by itself;
`featurize_us` that of the whole of featurize over Kafka and Valkey, this process's clients included; both the best of the
rounds. `ratio` is `featurize_us` over JSON's. `same` says that every feature in Redis, every sample and every label is JSON's;
`digest` is that of the live model that learned them, weights and experts' weights. `schemas` are those that the records name,
`asked` is how often the registry was asked.

Laws of this file:
- The registry is a server of ours with Confluent's API over HTTP and its schemas in memory; Kafka and Valkey are real.
- Formats take turns in every round; learn runs in the last round, on the samples of each.
- The exit code is 1 where features, samples or models differ, or where a record was a dead letter.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import redis
from kafka import KafkaAdminClient

import penstock.examples
from benchmarks.formats_written import FORMATS, Written, first_differences, written
from benchmarks.shards import spent
from benchmarks.written import write
from penstock import Pipeline
from penstock.examples.flights_data import events
from penstock.features.read.client import FeatureReader
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.registry import HttpRegistry
from penstock.stream.formats.schemas import Schemas
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Record
from penstock.stream.messages import LabelRecord, Sample, decode_entry
from penstock.stream.models.digest import digest
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.stack.local import local_stack
from tests.schema_registry import RegistryServer

FLIGHTS = Path(penstock.examples.__file__).parent / "flights.py"
PARTITIONS = 2


def flights_in(form: str, prefix: str = "") -> Pipeline:
    """The flights' pipeline over topics in a format, their names behind a prefix."""
    pipeline = load(FLIGHTS)
    sources = {
        one.name: replace(one, name=prefix + one.name, format=form)  # type: ignore[arg-type]
        for one in pipeline.sources
    }
    return replace(
        pipeline,
        predict=sources[pipeline.predict.name],
        label=replace(pipeline.label, source=sources[pipeline.label.source.name]),
        views=[replace(view, source=sources[view.source.name]) for view in pipeline.views],
    )


def decode_us(made: Written, settings: Settings) -> float:
    """CPU microseconds of one record from bytes to a checked event."""
    pipeline, schemas = flights_in(made.format), Schemas(HttpRegistry(settings))
    now_ms, by_topic = int(time.time() * 1000), dict[str, list[Record]]()
    for offset, one in enumerate(made.records):
        by_topic.setdefault(one.topic, []).append(
            Record(one.topic, 0, offset, now_ms, one.key, one.value, ())
        )
    decoders = {one.name: SourceDecoder(pipeline, one, reader_of(one, schemas)) for one in pipeline.sources}
    began_s = time.process_time()
    for topic, records in by_topic.items():
        newest = -1
        for first in range(0, len(records), 1_000):
            newest = decoders[topic].items(records[first : first + 1_000], newest)[-1].newest_at
    return (time.process_time() - began_s) / len(made.records) * 1e6


class Run:
    """One format through featurize, and through learn if it is asked for."""

    def __init__(self, settings: Settings, server: redis.Redis, made: Written) -> None:
        self.server, self.made, self.settings = server, made, settings
        self.prefix = f"{uuid.uuid4().hex[:8]}."
        self.pipeline = flights_in(made.format, self.prefix)
        sources = [topology.Topic(one.name, PARTITIONS, {}, "flights") for one in self.pipeline.sources]
        with client(KafkaAdminClient, settings) as admin:
            ensure(admin, [*sources, *topology.owned(self.pipeline.name, self.prefix)])
        self.log: Any = KafkaLog(settings.bootstrap)
        self.schemas = Schemas(HttpRegistry(settings))
        self.flow = MemoryFlow(self.pipeline, client=server, log=self.log, prefix=self.prefix)
        self.flow.featurize.schemas = self.schemas
        self.log.append([one._replace(topic=self.prefix + one.topic) for one in made.records])

    def featurize_us(self) -> float:
        """CPU microseconds of one record, from Kafka into Valkey and the samples log."""
        done = 0

        def turn() -> int:
            nonlocal done
            stepped = self.flow.featurize.process_batch(0.05)
            done += stepped
            return stepped

        took_s = spent(turn, lambda: done >= len(self.made.records))
        for _ in range(5):  # what was stepped is written
            self.flow.featurize.process_batch(0.0)
        return took_s / len(self.made.records) * 1e6

    def features(self, at_ms: int) -> dict[str, Any]:
        """The values of every entity as of a moment, by view and entity."""
        start = f"features:{self.prefix}flights:"
        keys = [key.decode() for key in self.server.scan_iter(match=f"{start}*", count=10_000)]
        pairs = sorted(tuple(key.removeprefix(start).split(":", 1)) for key in keys)
        reader = FeatureReader(self.server, "flights", self.pipeline.views, prefix=self.prefix)
        found = reader.read([(view, unquote(entity)) for view, entity in pairs], at_ms)
        return {f"{view} {entity}": one.values for (view, entity), one in zip(pairs, found, strict=True)}

    def entries(self) -> dict[str, Any]:
        """The samples and labels by the id of their event."""
        topic = topology.samples("flights", self.prefix)
        end = self.log.bounds([(topic, 0)])[topic, 0][1]
        reader, found = self.log.reader({(topic, 0): 0}), dict[str, Any]()
        while reader.positions()[topic, 0] < end:
            for record in reader.poll(10_000, 1.0):
                entry = decode_entry(record.value or b"")
                if isinstance(entry, Sample):
                    found[f"sample {entry.id}"] = (len(found), entry.at, entry.key, entry.x, entry.segments)
                elif isinstance(entry, LabelRecord):
                    found[f"label {entry.id}"] = (len(found), entry.at, entry.y)
        reader.close()
        return found

    def digest(self) -> str:
        """The digest of the live model once everything is learned."""
        topic = topology.samples("flights", self.prefix)
        end = self.log.bounds([(topic, 0)])[topic, 0][1]
        learn = self.flow.learn
        spent(
            lambda: learn.process_batch(0.05),
            lambda: learn.fold is not None and learn.fold.position >= end,
        )
        assert learn.fold is not None
        return digest([learn.fold.live.model, learn.fold.experts.gate.weights])

    def dead(self) -> int:
        """How many records were dead letters."""
        topic = topology.dead_letters("flights", self.prefix)
        low, high = self.log.bounds([(topic, 0)])[topic, 0]
        return int(high - low)

    def close(self) -> None:
        """End it."""
        self.flow.close()
        self.log.close()


def rows(settings: Settings, server: redis.Redis, end: date, rounds: int) -> list[dict[str, Any]]:
    """The figures, one row a format."""
    said = list(events("none", None, end))
    registry = HttpRegistry(settings)
    made = {form: written(form, said, registry) for form in FORMATS}
    settle_memory()
    decoding: dict[str, list[float]] = {form: [] for form in FORMATS}
    featurizing: dict[str, list[float]] = {form: [] for form in FORMATS}
    found: list[dict[str, Any]] = []
    expected: tuple[Any, ...] = ()
    for turn in range(rounds):
        for form in FORMATS:
            decoding[form].append(decode_us(made[form], settings))
            run = Run(settings, server, made[form])
            featurizing[form].append(run.featurize_us())
            if turn == rounds - 1:
                print(f"{form}: learning", file=sys.stderr)
                result = (run.features(said[-1][3]), run.entries(), run.digest())
                expected = expected or result
                for differs in (
                    *first_differences(expected[0], result[0]),
                    *first_differences(expected[1], result[1]),
                ):
                    print(f"{form}: {differs[:300]}", file=sys.stderr)
                    break
                sizes = [len(one.value or b"") for one in made[form].records]
                found.append(
                    {
                        "format": form,
                        "events": len(said),
                        "bytes": round(sum(sizes) / len(sizes), 1),
                        "decode_us": round(min(decoding[form]), 2),
                        "featurize_us": round(min(featurizing[form]), 2),
                        "ratio": round(min(featurizing[form]) / min(featurizing[FORMATS[0]]), 3),
                        "schemas": made[form].schemas,
                        "asked": run.schemas.asked,
                        "features": len(result[0]),
                        "entries": len(result[1]),
                        "same": result[:2] == expected[:2],
                        "digest": result[2],
                        "same_model": result[2] == expected[2],
                        "dead_letters": run.dead(),
                    }
                )
            run.close()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--end", type=date.fromisoformat, default=date(2013, 2, 1), help="(default 2013-02-01)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (default 3)")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the rows as a JSON list, too; without FILE to standard output, and the table to standard error",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    with (
        local_stack(progress=lambda line: print(line, file=sys.stderr)) as stack,
        RegistryServer() as registry,
    ):
        if stack.kafka is None:
            print("penstock: this needs a broker: Java 17 and Maven, or Docker", file=sys.stderr)
            return 2
        settings = Settings(bootstrap=stack.kafka, redis_url=stack.redis_url, schema_registry=registry.url)
        found = rows(settings, connect(stack.redis_url), args.end, args.rounds)
    told = sys.stderr if args.json == "-" else sys.stdout
    print(
        "format      bytes  decode µs  featurize µs  ratio  schemas  asked  same  model     dead letters",
        file=told,
    )
    for row in found:
        same = "yes" if row["same"] else "NO"
        print(
            f"{row['format']:10} {row['bytes']:6.1f} {row['decode_us']:10.2f} {row['featurize_us']:13.2f} {row['ratio']:6.2f}"
            f" {row['schemas']:8} {row['asked']:6}  {same:4}  {row['digest'][:8]}  {row['dead_letters']:12}",
            file=told,
        )
    write(found, args.json)
    return 0 if all(row["same"] and row["same_model"] and not row["dead_letters"] for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
