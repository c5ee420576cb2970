"""The whole of it: rows and events spread over buckets, buckets folded, answers put beside the rows.

Laws of this file:
- Between the steps everything lies in files of one temporary folder, and each share and each bucket is worked on by itself: any
  number of processes gives the same bytes.
- The rows of the spine come out in their order with all their columns, and nothing is under the name of the output until all is
  there.
- What is in memory is a batch of rows, and in each process a bucket.
"""

from __future__ import annotations

import gc
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from penstock.stream.files.reading import Batch, CannotUse, Table, form_of, open_table
from penstock.stream.files.writing import Whole
from penstock.stream.history.asks import Spine, spread_asks
from penstock.stream.history.fold import NO_EVENT, Spreads, make, open_answers, open_standing
from penstock.stream.history.job import Job
from penstock.stream.history.spool import read
from penstock.stream.history.spread import Share, Spread, before_each, shares_of
from penstock.stream.history.work import Here, Processes, size_of
from penstock.stream.log.protocol import Log

Progress = Callable[[str, int, int | None], None]
"""Hears of (what is done, how far, of how much)."""


@dataclass
class Summary:
    """What became of the rows and the events. `left_out` says of each source why how many of its rows were no events."""

    rows: int = 0
    answered: int = 0
    events: int = 0
    errors: dict[int, str] = field(default_factory=dict)
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)


def history(
    job: Job,
    *,
    path: str = "",
    workers: int = 1,
    log_of: Callable[[], Log] | None = None,
    scratch: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Write the rows with their features. `path` is the definition's file, for more `workers` than one.

    `log_of` opens the log in any process, for a job without files; `scratch` is where the temporary folder is made.
    Raises `CannotUse`; then the file at `job.out` is what it was before.
    """
    form_of(job.out, "--out")
    if job.spine == job.out:
        raise CannotUse("--out is the spine: write the training set to another file")
    table = open_table(job.spine)
    spine = Spine(job, table)
    log = log_of() if log_of is not None and not job.files else None
    try:
        shares = shares_of(job, log)
        if not job.buckets:
            job = spine.job = with_buckets(job, shares, workers)
        with tempfile.TemporaryDirectory(prefix="penstock-history-", dir=scratch) as name:
            folder = Path(name)
            if workers == 1:
                return _run(job, spine, shares, folder, Here(job, folder, log), progress)
            # A process that is forked would share the threads that read files. Rows have no cycles to be collected.
            with ProcessPoolExecutor(workers, get_context("spawn"), initializer=gc.disable) as pool:
                opens = log_of if log is not None else None
                return _run(job, spine, shares, folder, Processes(job, folder, pool, path, opens), progress)
    except BrokenExecutor:
        raise CannotUse(
            "a worker process ended in the middle, killed perhaps, as the machine ran out of memory: take fewer --workers, or do "
            "the rows in parts (--part)"
        ) from None
    finally:
        if log is not None:
            log.close()


def _run(
    job: Job,
    spine: Spine,
    shares: Sequence[Share],
    folder: Path,
    work: Here | Processes,
    progress: Progress,
) -> Summary:
    asked = spread_asks(spine, folder)
    progress("rows read", asked.rows, None)
    for key, seen in enumerate(asked.seen):
        (folder / f"seen{key}").write_bytes(seen)
    summary = Summary(rows=asked.rows)
    spreads: list[Spread] = []
    for one in work.spread(shares, bool(asked.seen)):
        spreads.append(one)
        summary.events += one.rows
        progress("events read", summary.events, None)
    _tell(job, shares, spreads, summary)
    laid = Spreads(folder, asked.rows, shares, before_each(shares, spreads))
    if asked.rows:
        make(job, folder, asked.rows)
        if job.events:
            for done, _ in enumerate(work.find(laid), 1):
                progress("buckets of ids matched", done, job.buckets)
        for done, _ in enumerate(work.fold(laid), 1):
            progress("buckets folded", done, job.buckets)
    _write(job, spine, laid, summary, progress)
    return summary


def _tell(job: Job, shares: Sequence[Share], spreads: Sequence[Spread], summary: Summary) -> None:
    """What was left out, by source. Raises `CannotUse` where all of a source was."""
    source_of = {share.number: share.source for share in shares}
    rows: Counter[int] = Counter()
    for one in spreads:
        source = source_of[one.number]
        rows[source] += one.rows
        of_source = Counter(summary.left_out.get(job.pipeline.sources[source].name, {}))
        summary.left_out[job.pipeline.sources[source].name] = dict(of_source + Counter(one.left_out))
    summary.left_out = {name: why for name, why in summary.left_out.items() if why}
    for source, many in rows.items():
        name = job.pipeline.sources[source].name
        why = summary.left_out.get(name, {})
        if many and sum(why.values()) == many:
            said = max(why, key=lambda one: why[one])
            raise CannotUse(f"not one of {many:,} rows is an event of {name}: {said}")


def _write(job: Job, spine: Spine, laid: Spreads, summary: Summary, progress: Progress) -> None:
    about = {
        "pipeline": job.pipeline.name,
        "recipe": job.pipeline.digest,
        "rows": "events" if job.events else "moments",
    }
    added: dict[str, type] = {**dict.fromkeys(job.names, float), "error": str}
    answers = [
        open_answers(laid.folder, number, laid.rows, len(job.pipeline.views[number].numeric))
        for number in job.wanted
        if laid.rows and job.pipeline.views[number].numeric
    ]
    standing = open_standing(laid.folder, laid.rows) if laid.rows else None
    errors = chain.from_iterable(rows for _, rows in read(laid.folder, "errors", 0))
    wrong = next(errors, None)
    first = 0
    with Whole(job.out, spine.table, added, about) as out:
        for whole in spine.table.batches(spine.wanted):
            batch = chosen(whole, spine.table, spine.places(whole))
            many = len(batch.rows)
            if not many:
                continue
            columns = [one[first : first + many].T for one in answers]
            values = [_nulled(column) for columns_of_view in columns for column in columns_of_view]
            said: list[str | None] = [None] * many
            while wrong is not None and wrong[0] < first + many:
                said[wrong[0] - first] = wrong[1]
                wrong = next(errors, None)
            if job.events and standing is not None:
                for place in (standing[first : first + many] == NO_EVENT).nonzero()[0]:
                    said[place] = f"no event of {job.pipeline.predict.name} has this id" + (
                        " and time" if spine.time is not None else ""
                    )
            for number, one in enumerate(said, first):
                if one is None:
                    summary.answered += 1
                elif len(summary.errors) < 3:
                    summary.errors[number] = one
            out.write(batch, {**dict(zip(job.names, values, strict=True)), "error": said})
            first += many
            progress("rows written", first, laid.rows)


def _nulled(column: Any) -> list[float | None]:
    found: list[float | None] = column.tolist()
    if (column != column).any():
        return [None if one != one else one for one in found]
    return found


def chosen(batch: Batch, table: Table, places: Sequence[int]) -> Batch:
    """Some rows of a batch."""
    if len(places) == len(batch.rows):
        return batch
    raw = batch.raw.take(places) if table.form == "parquet" else [batch.raw[place] for place in places]
    bad = {n: batch.bad[place] for n, place in enumerate(places) if place in batch.bad}
    return Batch([batch.rows[place] for place in places], raw, bad)


def with_buckets(job: Job, shares: Sequence[Share], workers: int) -> Job:
    """The job with as many buckets as let one fit in memory many times over, as far as sizes are known."""
    rows = sum(map(size_of, shares))
    return replace(job, buckets=max(4 * workers, min(1_024, rows // 200_000), 16))
