"""What the stream itself gives at every row of a spine: the whole of featurize, in memory, from bytes to samples.

Laws of this file:
- The records are JSON, as on topics of one partition each; the task is the worker's own, stepped in event time.
- A flight's row is its departure, and has that event's sample. A row of the payments is a moment: here it is an event of a second
  source, by which the pipeline predicts, so that its sample has what a service would have got at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow
import pyarrow.parquet

from benchmarks.features import Discarding, OnePartition
from benchmarks.features_job import PAYMENTS, pipeline
from penstock import Pipeline, Source
from penstock.examples import flights_data
from penstock.features.redis.memory import MemoryServer
from penstock.stream.featurize.order import step_alone
from penstock.stream.featurize.task import Task
from penstock.stream.featurize.worker import BATCH_RECORDS
from penstock.stream.log.protocol import Record
from penstock.stream.messages import Sample, decode_entry

ASKED = Source("bench.asked", id="row", time="at", key="customer")


def of_flights(last: Any) -> Iterator[list[Record]]:
    """The flights up to a day, in the order in which they are published."""
    offsets: dict[str, Iterator[int]] = {}
    batch: list[Record] = []
    for one in flights_data.events(end=last):
        offset = next(offsets.setdefault(one.topic, count()))
        value = msgspec.json.encode(one.fields)
        batch.append(Record(one.topic, 0, offset, one.at_ms, one.key.encode(), value, ()))
        if len(batch) == BATCH_RECORDS:
            yield batch
            batch = []
    yield batch


def of_payments(folder: Path) -> Iterator[list[Record]]:
    """The payments, and among them the rows of the spine, which are numbered."""
    spine = pyarrow.parquet.read_table(folder / "spine.parquet")
    spine = spine.append_column("row", pyarrow.array(range(spine.num_rows))).sort_by("at")
    times = spine.column("at").to_numpy()
    given = asked = 0
    for file in sorted(folder.glob("payments-*.parquet")):
        table = pyarrow.parquet.read_table(file)
        for first, after in pairwise([*range(0, table.num_rows, BATCH_RECORDS), table.num_rows]):
            part = table.slice(first, after - first).to_pylist()
            until = int(np.searchsorted(times, part[-1]["at"], side="right"))
            rows = spine.slice(asked, until - asked).to_pylist()
            yield [*_records(PAYMENTS.name, part, given), *_records(ASKED.name, rows, asked)]
            given, asked = given + len(part), until
    yield [*_records(ASKED.name, spine.slice(asked).to_pylist(), asked)]


def _records(topic: str, rows: Sequence[Mapping[str, Any]], first: int) -> Iterator[Record]:
    for offset, row in enumerate(rows, first):
        yield Record(topic, 0, offset, row["at"], row["customer"].encode(), msgspec.json.encode(row), ())


def asking() -> Pipeline:
    """The reference job's view, where rows of the spine are what is predicted."""
    job = pipeline()
    return Pipeline("bench", job.views, ASKED, job.label, job.model)


def vectors(job: Pipeline, batches: Iterable[list[Record]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The id and the vector of every sample, in the order of their emission."""
    heads = [(source, 0) for source in range(len(job.sources))]
    store = Discarding(MemoryServer(), "bench", "0")
    task = Task(job, OnePartition(1 << 40), store, "0", heads, "")  # type: ignore[arg-type]
    task.take_up("bench")
    for batch in chain(batches, (None,)):
        task.enqueue(batch or (), 0)
        at_end = set(heads) if batch is None else set()
        while (stepped := step_alone(task, at_end, 0, BATCH_RECORDS)).items:
            for out in stepped.outs:
                entry = decode_entry(out.value or b"")
                if isinstance(entry, Sample):
                    yield entry.id, entry.x
    if task.featurize.counts.dead_letters:
        raise RuntimeError(f"the job is wrong: {task.featurize.counts.dead_letters}")


def differ(
    folder: Path, ids: Sequence[str], job: Pipeline, batches: Iterable[list[Record]]
) -> dict[str, int]:
    """How many values of `out.parquet` are not to the bit the stream's, of how many. `ids` are those of its rows."""
    columns = [f"{view.name}.{name}" for view in job.views for name in view.numeric]
    ours = pyarrow.parquet.read_table(folder / "out.parquet", columns=columns)
    table = np.stack([ours.column(name).to_numpy() for name in columns], axis=1)
    row_of = {name: row for row, name in enumerate(ids)}
    same = np.zeros(table.shape, bool)
    for name, vector in vectors(job, batches):
        own, of_views = table[row_of[name]], vector[len(job.inputs) :]
        other = np.array([np.nan if value is None else value for value in of_views])
        same[row_of[name]] = (own == other) | (np.isnan(own) & np.isnan(other))
    return {"values": same.size, "differ": int((~same).sum())}
