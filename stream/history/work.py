"""Who does the work of each step: this process, or several.

Laws of this file:
- Each share and each bucket is worked on once, by anyone; nothing but files goes from one to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from penstock.stream.definition_file import load
from penstock.stream.history.fold import Folding, Spreads
from penstock.stream.history.job import Job
from penstock.stream.history.spread import Share, Spread, Spreading
from penstock.stream.log.protocol import Log

Turn = tuple[Any, ...]


class Here:
    """Runs the work of each step in this process, one after another."""

    def __init__(self, job: Job, folder: Path, log: Log | None = None) -> None:
        self.job, self.folder, self.log = job, folder, log

    def spread(self, shares: Sequence[Share], seen: bool) -> Iterator[Spread]:
        """Spread every share."""
        spreading = Spreading(self.job, self.folder, _seen(self.folder, self.job) if seen else None, self.log)
        yield from map(spreading.spread, shares)

    def find(self, spreads: Spreads) -> Iterator[int]:
        """Find the events that rows are."""
        yield from map(Folding(self.job, spreads).find, range(self.job.buckets))

    def fold(self, spreads: Spreads) -> Iterator[int]:
        """Fold every bucket."""
        yield from map(Folding(self.job, spreads).fold, range(self.job.buckets))


class Processes:
    """The same in processes of their own, each of which loads the definition from its file. `log_of` opens a log there."""

    def __init__(
        self, job: Job, folder: Path, pool: ProcessPoolExecutor, path: str, log_of: Callable[[], Log] | None
    ) -> None:
        self.folder, self.pool, self.path, self.log_of = folder, pool, path, log_of
        self.buckets = range(job.buckets)
        self.given = {name: getattr(job, name) for name in job.__dataclass_fields__ if name != "pipeline"}

    def spread(self, shares: Sequence[Share], seen: bool) -> Iterator[Spread]:
        """Spread every share, the largest first."""
        ordered = sorted(shares, key=size_of, reverse=True)
        turns = [(self.path, self.given, self.folder, self.log_of, seen, share) for share in ordered]
        yield from self.pool.map(_spread, turns)

    def find(self, spreads: Spreads) -> Iterator[int]:
        """Find the events that rows are."""
        yield from self.pool.map(_find, [(self.path, self.given, spreads, n) for n in self.buckets])

    def fold(self, spreads: Spreads) -> Iterator[int]:
        """Fold every bucket."""
        yield from self.pool.map(_fold, [(self.path, self.given, spreads, n) for n in self.buckets])


def size_of(share: Share) -> int:
    """How many rows a share has, as far as its file says so."""
    return len(share.within) if share.piece is None else share.piece.rows or 0


_KEPT: dict[str, Any] = {}
"""In a process of its own, what the turns of one step share."""


def _job(path: str, given: Mapping[str, Any]) -> Job:
    if "job" not in _KEPT:
        _KEPT["job"] = Job(load(path), **given)
    job: Job = _KEPT["job"]
    return job


def _spread(turn: Turn) -> Spread:
    path, given, folder, log_of, seen, share = turn
    if "spreading" not in _KEPT:
        job = _job(path, given)
        log = None if log_of is None else log_of()
        _KEPT["spreading"] = Spreading(job, folder, _seen(folder, job) if seen else None, log)
    found: Spread = _KEPT["spreading"].spread(share)
    return found


def _folding(turn: Turn) -> Folding:
    path, given, spreads, _ = turn
    if "folding" not in _KEPT:
        _KEPT["folding"] = Folding(_job(path, given), spreads)
    folding: Folding = _KEPT["folding"]
    return folding


def _find(turn: Turn) -> int:
    return _folding(turn).find(turn[-1])


def _fold(turn: Turn) -> int:
    return _folding(turn).fold(turn[-1])


def _seen(folder: Path, job: Job) -> list[bytearray]:
    return [bytearray((folder / f"seen{key}").read_bytes()) for key in range(len(job.keys))]
