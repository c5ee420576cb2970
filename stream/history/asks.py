"""The rows that ask: the spine, read for its times and entities, each row into the buckets of its entities.

Laws of this file:
- Rows are numbered from 0 in the spine's order, those of the part alone.
- What is wrong with a row is that row's: it is said in `error`, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from penstock.features.redis.keys import entity_of
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.files.reading import Batch, CannotUse, Table
from penstock.stream.history.job import Job, hash_of
from penstock.stream.history.spool import Spool

TIMES = ("at", "event_timestamp", "timestamp", "time")
"""Columns that are taken for the time where a spine has none named as the predicted source's field, and none is given."""
SEEN = (1 << 24) - 1
"""Of an entity's hash, what says whether it is asked for: some are that no row asks for, and none is not that one does."""


class Spine:
    """The columns of a table that ask. Raises `CannotUse` for one that lacks some."""

    def __init__(self, job: Job, table: Table) -> None:
        self.job, self.table = job, table
        predict = job.pipeline.predict
        self.time = self._time()
        self.id = predict.id if job.events else None
        if job.events and predict.id not in table.columns:
            raise CannotUse(
                f"the spine has no column {predict.id}, by which it would be known which event of {predict.name} a row is"
            )
        self.keys = [] if job.events else job.keys
        for key in self.keys:
            missing = [name for name in key if name not in table.columns]
            if missing:
                views = [
                    v.name
                    for n, v in enumerate(job.pipeline.views)
                    if n in job.wanted and v.key_fields == key
                ]
                raise CannotUse(
                    f"the spine has no column {', '.join(missing)}, which names the entity of {', '.join(views)}: add it, or say "
                    "with --views which views you want"
                )
        self.part_by = self._part_by()
        named = [*(name for key in self.keys for name in key), *self.part_by]
        self.wanted = list(dict.fromkeys([*named, *filter(None, [self.time, self.id])]))

    def _time(self) -> str | None:
        job, columns = self.job, self.table.columns
        if job.time is not None:
            if job.time not in columns:
                raise CannotUse(f"the spine has no column {job.time}; its columns: {', '.join(columns)}")
            return job.time
        found = next((name for name in (job.pipeline.predict.time, *TIMES) if name in columns), None)
        if found is None and not job.events:
            raise CannotUse(
                f"the spine has no column {job.pipeline.predict.time}: say with --time which one is the time"
            )
        return found

    def _part_by(self) -> tuple[str, ...]:
        """The columns that say which part a row belongs to."""
        job, columns = self.job, set(self.table.columns)
        if job.part_by:
            if missing := [name for name in job.part_by if name not in columns]:
                raise CannotUse(f"--part-by: the spine has no column {', '.join(missing)}")
            return tuple(job.part_by)
        if self.id is not None:
            return (self.id,)
        return next(
            (key for key in (job.pipeline.predict.key_fields, *job.keys) if columns.issuperset(key)), ()
        )

    def places(self, batch: Batch) -> list[int]:
        """The rows of a batch that belong to the part."""
        which, many = self.job.part
        if many == 1:
            return list(range(len(batch.rows)))
        return [n for n, row in enumerate(batch.rows) if hash_of(self._share(row)) % many == which - 1]

    def _share(self, row: Mapping[str, Any]) -> str:
        return "|".join(str(row.get(name)) for name in self.part_by)

    def rows(self) -> Iterator[tuple[Mapping[str, Any], str | None]]:
        """The rows of the part in order, and why one cannot be read that cannot."""
        for batch in self.table.batches(self.wanted):
            for place in self.places(batch):
                yield batch.rows[place], batch.bad.get(place)

    def at(self, row: Mapping[str, Any]) -> int:
        """The row's time in ms; raises `Rejected`."""
        assert self.time is not None
        value = row.get(self.time)
        if value is None:
            raise Rejected(f"column {self.time!r} is empty: nothing says which moment is meant")
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        return event_time(value, self.time)


class Asked(NamedTuple):
    """How many rows ask, and which entities of each key, by their hashes (`SEEN`)."""

    rows: int
    seen: list[bytearray]


def spread_asks(spine: Spine, folder: Path) -> Asked:
    """Lay all rows into the buckets of their entities, or ids, and what is wrong with rows into `errors`, in order."""
    buckets = spine.job.buckets
    errors = Spool(folder, "errors")
    ids = Spool(folder, "ids")
    spools = [Spool(folder, f"asks{n}") for n in range(len(spine.keys))]
    seen = [bytearray(SEEN + 1) for _ in spine.keys]
    number = -1
    for number, (row, bad) in enumerate(spine.rows()):
        try:
            if bad is not None:
                raise Rejected(bad)
            at = None if spine.time is None else spine.at(row)
            if spine.id is not None:
                named = row.get(spine.id)
                if named is None:
                    raise Rejected(f"column {spine.id!r} is empty: nothing says which event is meant")
                ids.put(hash_of(str(named)) % buckets, (str(named), at, number))
                continue
            entities = [entity_of(row, key) for key in spine.keys]
        except (Rejected, TypeError) as error:
            errors.put(0, (number, str(error)))
            continue
        for place, entity in enumerate(entities):
            hashed = hash_of("" if entity is None else entity)
            seen[place][hashed & SEEN] = 1
            spools[place].put(hashed % buckets, (entity, number, at))
    for spool in (errors, ids, *spools):
        spool.flush()
    return Asked(number + 1, seen)
