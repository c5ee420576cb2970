"""`penstock bench history_join`: rows a second of `penstock features history`, on the flights' year and on generated payments.

Events lie in Parquet files; the spine is every departure of the year, or a million random moments of random customers. Each run
is the command itself in a process of its own, with one worker process and with two; every value is compared, to the bit, with
that of the stream's sample at the row (`history_join_stream`). With --feast, Feast's
`get_historical_features` (in build/feast, which `make test-feast` makes) joins the same spine with a table that has the stream's
own values after every event, which is the best that a table can have: how many rows a second, and how many of its values differ
from what the stream would have served at the row's time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from benchmarks.features_job import START_MS
from benchmarks.features_job import pipeline as payments_pipeline
from benchmarks.history_join_stream import asking, differ, of_flights, of_payments
from benchmarks.written import write
from penstock.examples import flights, flights_data
from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import entity_of
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.step import TIE_BITS

ROOT = Path(__file__).parents[1]
FEAST = ROOT / "build" / "feast" / "bin" / "python"
PAYMENTS = "from benchmarks.features_job import pipeline as made\n\npipeline = made()\n"
UTC_MS = pyarrow.timestamp("ms", tz="UTC")


def flights_files(folder: Path, last: date) -> dict[str, Any]:
    """The flights up to a day, and every departure as a moment of the spine."""
    rows: dict[str, list[dict[str, Any]]] = {source.name: [] for source in flights.pipeline.sources}
    for one in flights_data.events(end=last):
        rows[one.topic].append(one.fields)
    for topic, of_topic in rows.items():
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(of_topic), folder / f"{topic}.parquet")
    table = pyarrow.parquet.read_table(folder / f"{flights_data.DEPARTURES}.parquet")
    spine = table.select(["flight_id", "departs_at", "tail", "carrier", "origin", "dest"])
    pyarrow.parquet.write_table(spine, folder / "spine.parquet")
    return {
        "definition": str(ROOT / "examples" / "flights.py"), "pipeline": flights.pipeline, "rows": spine.num_rows,
        "events": sum(map(len, rows.values())), "kind": "events", "streamed": (flights.pipeline, lambda: of_flights(last)),
        "ids": spine.column("flight_id").to_pylist(), "topics": {topic: str(folder / f"{topic}.parquet") for topic in rows},
    }  # fmt: skip


def payments_files(folder: Path, events: int, rows: int) -> dict[str, Any]:
    """Payments of Pareto-distributed customers, two of them a second over all, in Parquet files of a million."""
    chance = np.random.default_rng(1)
    many = max(events // 500, 10)
    weights = chance.pareto(1.16, many)
    weights /= weights.sum()
    names = pyarrow.array([f"c{n}" for n in range(many)])
    for number, first in enumerate(range(0, events, 1_000_000)):
        size = min(1_000_000, events - first)
        columns = {
            "id": pyarrow.array(np.arange(first, first + size)).cast(pyarrow.string()),
            "at": START_MS + 500 * np.arange(first, first + size),
            "customer": names.take(pyarrow.array(chance.choice(many, size, p=weights))),
            "amount": chance.lognormal(3, 1, size).round(2),
            "items": chance.integers(1, 9, size),
            "merchant": pyarrow.array(chance.integers(0, 2_000, size)).cast(pyarrow.string()),
            "fraud": pyarrow.nulls(size, pyarrow.bool_()),
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"payments-{number:03}.parquet")
    asked = chance.choice(many, rows, p=weights)
    spine = {
        "customer": names.take(pyarrow.array(asked)),
        # never the time of an event: nothing comes at once
        "at": START_MS + 2 * chance.integers(0, 250 * events, rows) + 1,
    }
    pyarrow.parquet.write_table(pyarrow.table(spine), folder / "spine.parquet")
    (folder / "definition.py").write_text(PAYMENTS)
    return {
        "definition": str(folder / "definition.py"), "pipeline": payments_pipeline(), "rows": rows, "events": events,
        "ids": [str(row) for row in range(rows)], "kind": "moments", "streamed": (asking(), lambda: of_payments(folder)),
        "topics": {"bench.payments": str(folder / "payments-*.parquet")},
    }  # fmt: skip


def measured(line: list[str]) -> dict[str, Any]:
    """Run a command: its seconds, the CPU seconds of it and its processes, and the most memory that one of them held."""
    began_s = time.monotonic()
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "FEAST_USAGE": "False",
    }
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(line[:6])} … ended with {process.returncode}")
    return {
        "seconds": round(time.monotonic() - began_s, 1), "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "most_mb": used.ru_maxrss // 1024, "said": json.loads(said.splitlines()[-1]), "load": os.getloadavg()[0],
    }  # fmt: skip


def by_penstock(folder: Path, made: Mapping[str, Any], workers: int, kind: str) -> dict[str, Any]:
    """The command itself. `kind` is what a row is: a moment or an event."""
    sources = [part for topic, files in made["topics"].items() for part in ("--source", f"{topic}={files}")]
    files = ["--spine", str(folder / "spine.parquet"), "--out", str(folder / "out.parquet"), *sources]
    found = measured([
        sys.executable, "-P", "-m", "penstock.stream.cli", "features", "history", made["definition"], "--json",
        "--rows", kind, "--workers", str(workers), *files,
    ])  # fmt: skip
    said = found.pop("said")
    assert said["answered"] == said["rows"] == made["rows"] and said["events"] == made["events"], said
    return rated(found, made)


def rated(found: dict[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """With rows a second of the spine, and of rows and events together."""
    return {
        **found,
        "rows_per_s": round(made["rows"] / found["seconds"]),
        "rows_and_events_per_s": round((made["rows"] + made["events"]) / found["seconds"]),
    }


def tables(folder: Path, pipeline: Pipeline, topics: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each view a table of the stream's values after every event, as of that event: what Feast joins."""
    found = []
    for view in pipeline.views:
        compiled, states = CompiledView(view), dict[str, Any]()
        source = next(source for source in pipeline.sources if source.name == view.source.name)
        path = Path(topics[source.name])
        names = [*dict.fromkeys([*view.key_fields, *view.fields, source.time])]
        rows: list[list[Any]] = []
        offset = 0
        for file in sorted(path.parent.glob(path.name)):
            for event in pyarrow.parquet.read_table(file, columns=names).to_pylist():
                entity, at = entity_of(event, view.key_fields), event[source.time]
                if entity is not None:
                    state = states.get(entity)
                    if state is None:
                        state = states[entity] = compiled.new()
                    compiled.update(state, at, 0 << TIE_BITS | offset, event)
                    rows.append([*(event[name] for name in view.key_fields), at, *compiled.vector(state, at)])
                offset += 1
        kinds = [
            *([pyarrow.string()] * len(view.key_fields)),
            UTC_MS,
            *([pyarrow.float64()] * len(view.numeric)),
        ]
        names = [*view.key_fields, "at", *view.numeric]
        columns = zip(names, kinds, zip(*rows, strict=True), strict=True)
        arrays = {name: pyarrow.array(values, kind) for name, kind, values in columns}
        pyarrow.parquet.write_table(pyarrow.table(arrays), folder / f"feast-{view.name}.parquet")
        found.append({"view": view.name, "key": list(view.key_fields), "features": list(view.numeric)})
    return found


def by_feast(folder: Path, made: Mapping[str, Any], kind: str, most_gb: int) -> dict[str, Any]:
    """Feast's join of the same spine by an offline store, and how many of its values are not the stream's."""
    pipeline: Pipeline = made["pipeline"]
    if not (folder / "feast.json").exists():
        views = tables(folder, pipeline, made["topics"])
        (folder / "feast.json").write_text(json.dumps({"views": views, "time": pipeline.predict.time}))
    views = json.loads((folder / "feast.json").read_text())["views"]
    script = str(ROOT / "benchmarks" / "history_join_feast.py")
    found = measured([str(FEAST), "-P", script, str(folder), kind, str(most_gb)])
    said = found.pop("said")
    ours = pyarrow.parquet.read_table(folder / "out.parquet")
    theirs = pyarrow.parquet.read_table(folder / "feast-out.parquet")
    values = differ = 0
    by_view: dict[str, str] = {}
    for view in views:
        wrong = many = 0
        for name in view["features"]:
            one = ours.column(f"{view['view']}.{name}").to_numpy()
            other = theirs.column(f"{view['view']}__{name}").to_numpy()
            same = (one == other) | (np.isnan(one) & np.isnan(other))
            wrong, many = wrong + int((~same).sum()), many + len(same)
        by_view[view["view"]] = f"{wrong:,} of {many:,}"
        values, differ = values + many, differ + wrong
    found["seconds"] = said["join_s"]  # without its start, and without making its tables
    return {
        **rated(found, made),
        "values": values,
        "differ": differ,
        "differ_by_view": by_view,
        "left_out": said["left_out"],
        "version": said["version"],
    }


def of(folder: Path, made: Mapping[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of one job."""
    found: dict[str, Any] = {"rows": made["rows"], "events": made["events"]}
    for number in asked.workers:
        found[f"{number} workers"] = by_penstock(folder, made, number, made["kind"])
        print(f"  {number} workers", found[f"{number} workers"], flush=True)
        job, batches = made["streamed"]
        found[f"{number} workers"] |= differ(folder, made["ids"], job, batches())
        print(
            f"  {number} workers: not the stream's are {found[f'{number} workers']['differ']:,} values",
            flush=True,
        )
    for kind in asked.feast if made["events"] <= asked.feast_events else ():
        if made["kind"] != "moments":  # as Feast takes them: events of the very millisecond have come
            by_penstock(folder, made, 1, "moments")
        try:
            found[f"feast, {kind}"] = by_feast(folder, made, kind, asked.feast_gb)
        except (OSError, RuntimeError) as error:
            found[f"feast, {kind}"] = {"error": str(error)}
        print(f"  feast, {kind}", found[f"feast, {kind}"], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--last", type=date.fromisoformat, default=date(2014, 1, 1), help="flights before this day"
    )
    parser.add_argument("--events", type=int, default=10_000_000, help="how many payments; 0: none")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the payments' spine")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--feast",
        nargs="+",
        default=[],
        choices=("file", "duckdb"),
        help="Feast beside it, by these offline stores",
    )
    parser.add_argument("--feast-gb", type=int, default=6, help="the most address space that Feast may take")
    parser.add_argument(
        "--feast-events", type=int, default=1_000_000, help="the most events that Feast is given"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures as one object")
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "flights"
        folder.mkdir()
        print("the flights", flush=True)
        made = flights_files(folder, asked.last)
        figures["flights"] = of(folder, made, asked)
        sizes = [asked.events] if asked.events else []
        if asked.feast and asked.events > asked.feast_events:
            sizes.insert(0, asked.feast_events)
        for size in sizes:
            folder = Path(name) / str(size)
            folder.mkdir()
            print(f"{size:,} payments", flush=True)
            made = payments_files(folder, size, min(asked.rows, size // 10))
            figures[f"{size} payments"] = of(folder, made, asked)
    write(figures, asked.json)


if __name__ == "__main__":
    main()
