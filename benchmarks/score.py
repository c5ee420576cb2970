"""`penstock bench score`: rows a second of scoring a file of a million rows, beside river's model alone on the same rows.

Vectors stand in the columns of a Parquet file, as `penstock export` writes them; predictions go to another. Each side runs in a
process of its own, in turn. Figures are those of its best round: seconds, CPU seconds (of all threads), and the most memory it
held. River alone reads the same file in the same batches, asks one model and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from benchmarks.written import write
from penstock.examples import flights
from penstock.stream.files.reading import BATCH_ROWS
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replica_snapshot import open_replica, take_replica
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.score.models import Live
from penstock.stream.score.run import Job, score

PIPELINE = flights.pipeline
NAMES = PIPELINE.vector_names
LABELS = 9_000
CHUNK_ROWS = 50_000


def vector(rng: random.Random) -> list[float | None]:
    """One vector, of which a twentieth is missing."""
    return [None if rng.random() < 0.05 else rng.gauss(10, 5) for _ in NAMES]


def late(x: Sequence[float | None], sign: float) -> bool:
    """Its label."""
    return sign * ((x[0] or 0.0) - (x[1] or 0.0)) > 0.0


def rows(path: Path, number: int) -> None:
    """The file to score."""
    rng = random.Random(2)
    schema = pyarrow.schema([("event_id", pyarrow.string()), *((name, pyarrow.float64()) for name in NAMES)])
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        for first in range(0, number, CHUNK_ROWS):
            many = min(CHUNK_ROWS, number - first)
            columns = zip(*(vector(rng) for _ in range(many)), strict=True)
            ids = [f"flight {first + place}" for place in range(many)]
            file.write_table(pyarrow.table([ids, *map(list, columns)], schema=schema))


def learned() -> Fold:
    """A fold that learned until it had several models."""
    fold, rng = Fold(PIPELINE), random.Random(1)
    fold.step(0, Recipe(PIPELINE.digest, NAMES, ""))
    for n in range(LABELS):
        x = vector(rng)
        found: list[Entry] = [
            Sample(Origin("t", 0, n), f"f{n}", "k", n, [*x]),
            LabelRecord(Origin("t", 0, n, 1), f"f{n}", n, late(x, 1.0 if n < LABELS // 2 else -1.0)),
        ]
        for entry in found:
            fold.step(fold.position, entry)
    return fold


def by_penstock(source: str, out: str) -> dict[str, Any]:
    """Score the file as `penstock score` does, once the models are loaded."""
    fold = learned()
    live = Live(open_replica(PIPELINE, take_replica(fold, "t")))
    held, began_s, cpu_s = peak_mb(), time.perf_counter(), time.process_time()
    done = score(Job(PIPELINE, source, out, "columns"), live, log=None, reads=None, progress=lambda *_: None)
    spent_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    assert done.predicted == done.rows
    return {"models": len(fold.experts.models), **figures(done.rows, spent_s, cpu_s, held)}


def by_river(source: str) -> dict[str, Any]:
    """Ask one river model about every row."""
    model, rng = flights.pipeline.model.clone(), random.Random(1)
    for _ in range(LABELS):
        x = vector(rng)
        model.learn_one(
            {name: value for name, value in zip(NAMES, x, strict=True) if value is not None}, late(x, 1.0)
        )
    held, began_s, cpu_s, number = peak_mb(), time.perf_counter(), time.process_time(), 0
    for batch in pyarrow.parquet.ParquetFile(source, pre_buffer=False).iter_batches(
        BATCH_ROWS, columns=NAMES
    ):
        for row in batch.to_pylist():
            model.predict_proba_one({name: value for name, value in row.items() if value is not None})
        number += batch.num_rows
    return figures(number, time.perf_counter() - began_s, time.process_time() - cpu_s, held)


def figures(number: int, spent_s: float, cpu_s: float, held_mb: float) -> dict[str, Any]:
    """What one side says."""
    return {
        "rows": number, "seconds": round(spent_s, 2), "cpu_s": round(cpu_s, 2), "rows_per_s": round(number / spent_s),
        "rows_per_cpu_s": round(number / cpu_s), "peak_rss_mb": round(peak_mb()), "rss_before_mb": round(held_mb),
    }  # fmt: skip


def peak_mb() -> float:
    """The most memory that this process held so far (Linux). `getrusage` would count what its parent held, too."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def side(*asked: str) -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, "-P", "-m", "benchmarks.score", *asked]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--by", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.by:
        settle_memory()
        which, *files = asked.by
        print(json.dumps(by_river(*files) if which == "river" else by_penstock(*files)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.parquet", Path(folder) / "out.parquet"
        rows(source, asked.rows)
        found: dict[str, list[dict[str, Any]]] = {"penstock": [], "river": []}
        for _ in range(asked.rounds):
            found["penstock"].append(side("--by", "penstock", str(source), str(out)))
            found["river"].append(side("--by", "river", str(source)))
            print({name: of[-1] for name, of in found.items()}, flush=True)
    best = {name: min(of, key=lambda one: one["cpu_s"]) for name, of in found.items()}
    ours = best["penstock"]
    ratio = round(ours["rows_per_cpu_s"] / best["river"]["rows_per_cpu_s"], 3)
    print(
        f"{ours['rows_per_s']:,} rows a second, {ours['rows_per_cpu_s']:,} a CPU second: {ratio} of river alone; at most "
        f"{ours['peak_rss_mb']} MB, {ours['rss_before_mb']} before the first row"
    )
    write({**best, "rounds": found, "ratio": ratio}, asked.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
