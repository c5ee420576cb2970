"""Samples around an onset → how the inputs lay before it and in it, by `penstock report`'s own comparison.

Laws of this file:
- Pure. Stretches are those of the report, as far as the records read reach; what a crash repeated counts once.
- Samples that another definition computed have other columns, and are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.learner import Seen
from penstock.stream.messages import Entry, LabelRecord, Sample
from penstock.stream.operate.reporting.course import Rows
from penstock.stream.operate.reporting.incidents import Incident, compared_spans
from penstock.stream.operate.reporting.shares import Shares, compared
from penstock.stream.operate.reporting.shares_plot import shortened

MOST_RECORDS = 20_000
"""Records of the samples log that are read on each side of an onset."""
MOST_SHOWN = 6


class Compared(NamedTuple):
    """What the inputs were: those named by findings first, then the most moved. `first` and `stop` are the offsets read.

    `cut` says that the stretches reach beyond them. `why` says why there is nothing.
    """

    shares: Sequence[Shares] = ()
    first: int = 0
    stop: int = 0
    cut: bool = False
    why: str = ""


class Bin(NamedTuple):
    """One bin of an input: how many samples lay in it before the onset and after it, their shares, and the longest bar's."""

    label: str
    before: int
    within: int
    share_before: float
    share_within: float
    most: float


def compare(
    pipeline: Pipeline, incident: Incident, entries: Iterable[tuple[int, Entry]], *, ends: bool
) -> Compared:
    """The inputs in an incident beside those before it. `ends` says that the entries reach to the end of the log."""
    seen, samples = Seen(), []
    first, stop, newest = None, 0, 0
    for position, entry in entries:
        first = position if first is None else first
        stop = position + 1
        if isinstance(entry, Sample | LabelRecord) and not seen.is_repeat(entry.origin):
            newest = max(newest, entry.at)
            if isinstance(entry, Sample) and entry.recipe in ("", pipeline.digest):
                samples.append(entry)
    spans = compared_spans(incident, newest + 1)
    names = pipeline.vector_names
    before, within = (Rows(span, range(len(names))) for span in spans)
    for sample in samples:
        for rows in (before, within):
            if rows.span[0] <= sample.at < rows.span[1] and len(sample.x) == len(names):
                rows.add(sample.x)
    named = {event.subject.partition(" where ")[0] for event in incident.events}
    shares = compared(names, before, within, named)
    oldest = min((one.at for one in samples), default=0)
    cut = (bool(first) and oldest > spans[0][0]) or (not ends and newest < spans[1][1])
    why = "" if shares else "too few samples of this definition lie around its onset to compare"
    return Compared(shown(shares, named), first or 0, stop, cut, why)


def shown(shares: Sequence[Shares], named: Collection[str]) -> list[Shares]:
    """Those that findings name, and the most moved ones: six in all."""
    return [*shares][: max(MOST_SHOWN, sum(one.name in named for one in shares))]


def bins(one: Shares) -> list[Bin]:
    """The rows of an input's table: counts of both stretches, and their shares."""
    most = max([*one.reference, *one.window, 1e-9])
    sizes = [-(-samples // every) for samples, every in zip(one.samples, one.every, strict=True)]
    return [
        Bin(shortened(label), round(was * sizes[0]), round(now * sizes[1]), was, now, most)
        for label, was, now in zip(one.bins, one.reference, one.window, strict=True)
    ]


def asked_of(read: Any) -> Compared:
    """What was read for a page, or that nothing was."""
    return read if isinstance(read, Compared) else Compared(why="the samples log is not read here")


__all__ = ["MOST_RECORDS", "Bin", "Compared", "asked_of", "bins", "compare"]
