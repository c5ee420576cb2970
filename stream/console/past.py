"""How a pipeline did, kept small: hours of the newest weeks, blocks of labels with their models, days of blocks before that.

Laws of this file:
- Pure, and a function of the history records alone: the same records leave the same points, in whatever portions they came.
- Bounded: `MOST_HOURS` hours; `MOST_BLOCKS` blocks, and `MOST_DAYS` days before them, whose means are weighed by labels. `SLACK`
  more of each may be there until the next time that something is left out.
- What is said twice (a repeat after a crash has the same position) counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from penstock.stream.history_record import HistoryRecord

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MOST_HOURS = 62 * 24
MOST_BLOCKS = 1_500
SLACK = 48
MOST_DAYS = 10 * 366
LEAST_WEIGHT = 0.002
"""A model with less of the weight than this is not drawn, so it is not kept."""
PASSIVE = "first"


class Point(NamedTuple):
    """What one hour, block or day came to: event times in ms, offsets of the samples log, means over its `labels`.

    `loss`, `base`, `mixture` and `first` are losses of the live prediction, the base rate, all models together, and the passive
    first model. `weights` are those at its end, by version, with each version's kind. Hours name no models.
    `is_day` says that it is a whole day's.
    """

    since: int
    at: int
    since_position: int
    position: int
    labels: int
    samples: int
    loss: float | None
    base: float | None
    mixture: float | None
    first: float | None
    rate_s: float
    weights: tuple[tuple[str, str, float], ...]
    leader: str
    committed: str
    live: str
    held: bool
    is_day: bool = False


def point(record: HistoryRecord) -> Point:
    """The point of a record."""
    first = next((one.loss for one in record.experts if one.kind == PASSIVE), None)
    weights = tuple(
        (one.version, one.kind, one.weight) for one in record.experts if one.weight >= LEAST_WEIGHT
    )
    span_s = max(record.at - record.since, 1) / 1000
    return Point(
        since=record.since,
        at=record.at,
        since_position=record.since_position,
        position=record.position,
        labels=record.counts.joined,
        samples=record.counts.samples,
        loss=record.loss,
        base=record.base_loss,
        mixture=record.mixture_loss,
        first=first,
        rate_s=record.counts.samples / span_s,
        weights=weights,
        leader=record.leader,
        committed=record.committed,
        live=record.live,
        held=record.held,
    )


def merged(points: Sequence[Point]) -> Point:
    """Several points, one after the other, as one. There must be one at least."""
    last = points[-1]

    def mean(name: str) -> float | None:
        """Over the labels of the points that have one."""
        found = [(getattr(one, name), one.labels) for one in points if getattr(one, name) is not None]
        labels = sum(count for _, count in found)
        return sum(value * count for value, count in found) / labels if labels else None

    samples = sum(one.samples for one in points)
    span_s = max(last.at - points[0].since, 1) / 1000
    return last._replace(
        since=points[0].since,
        since_position=points[0].since_position,
        labels=sum(one.labels for one in points),
        samples=samples,
        loss=mean("loss"),
        base=mean("base"),
        mixture=mean("mixture"),
        first=mean("first"),
        rate_s=samples / span_s,
        held=any(one.held for one in points),
    )


def binned(points: Iterable[Point], width_ms: int) -> list[Point]:
    """Points merged into bins of event time, whose edges lie on a grid that begins with no record."""
    found: list[Point] = []
    bin_: list[Point] = []
    for one in points:
        if bin_ and (one.at - 1) // width_ms != (bin_[0].at - 1) // width_ms:
            found.append(merged(bin_) if len(bin_) > 1 else bin_[0])
            bin_ = []
        bin_.append(one)
    if bin_:
        found.append(merged(bin_) if len(bin_) > 1 else bin_[0])
    return found


class Past:
    """What is kept of one pipeline, oldest first: `hours` of the newest weeks; `blocks` of labels, and `days` of older blocks."""

    def __init__(self) -> None:
        self.days: list[Point] = []
        self.blocks: list[Point] = []
        self.hours: list[Point] = []

    def add(self, record: HistoryRecord) -> None:
        """Take a record; one that is not after the last of its kind is a repeat."""
        kept = self.hours if record.kind == "hour" else self.blocks
        if kept and record.position <= kept[-1].position:
            return
        kept.append(point(record))
        if len(self.hours) >= MOST_HOURS + SLACK:
            del self.hours[:-MOST_HOURS]
        if len(self.blocks) >= MOST_BLOCKS + SLACK:
            self._condense()

    def _condense(self) -> None:
        """Make days of the oldest blocks: whole days alone, so that it does not matter when it happens."""
        edge = (self.blocks[-MOST_BLOCKS].at - 1) // DAY_MS * DAY_MS
        old = [one for one in self.blocks if one.at <= edge]
        self.blocks = self.blocks[len(old) :]
        self.days += [one._replace(is_day=True) for one in binned(old, DAY_MS)]
        del self.days[:-MOST_DAYS]

    @property
    def points(self) -> list[Point]:
        """Days, and the blocks after them."""
        return [*self.days, *self.blocks]

    def since(self, at_ms: int) -> list[Point]:
        """The points that end after an event time."""
        if self.blocks and self.blocks[0].since <= at_ms:
            return [one for one in self.blocks if one.at > at_ms]
        return [one for one in self.points if one.at > at_ms]

    def hours_since(self, at_ms: int) -> list[Point]:
        """The hours that end after an event time; they name no models."""
        return [one for one in self.hours if one.at > at_ms]
