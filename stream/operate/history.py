"""A pipeline's history as series to draw: what was lost, who was believed, how much came, and when episodes were open.

Laws of this file:
- Pure, but for `history_of`, which reads the topic without a group. A record that is none is passed over, a repeat counts once.
- Every column has one value for each record, None where nothing can be said; nothing is smoothed or made up in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from penstock.stream import topology
from penstock.stream.history_record import HistoryRecord, decode_history
from penstock.stream.log.protocol import Log
from penstock.stream.operate.control_topics import whole_topic
from penstock.stream.operate.training_set import Span

HOUR_MS = 3_600_000
LEAST_WEIGHT = 0.01
"""A version that never had so much of the weight has no column of its own; its weight is still in that of its kind."""
FIRST = "first"

Column = list[float | None]
By = Literal["labels", "hour"]


class Band(NamedTuple):
    """A stretch in which an episode was open: event times in ms, `until` None while it is.

    `until` is the end of the first block or hour that names it no more. `id` is the `episode` of its control events.
    """

    id: str
    kind: str
    subject: str
    since: int
    since_position: int
    until: int | None


class Series(NamedTuple):
    """Columns over event time, with one row for each record of one kind.

    `at` are ends of blocks or hours (ms), `positions` samples-log offsets, `labels` how many met their sample. `losses` are means
    by whose they are: `live`, `base`, `mixture` (all together), `leader`, `committed`, `first` (the passive twin). `means` are
    the task's other figures by name. `rates` are `samples` and `labels` an hour of event time, `pending` samples that wait.
    `weights` are parts of 1 by version, `of_kinds` the same by what experts are, `kinds` what each version was last.
    """

    at: list[int]
    positions: list[int]
    labels: list[int]
    losses: dict[str, Column]
    means: dict[str, Column]
    rates: dict[str, Column]
    pending: list[int]
    held: list[bool]
    leaders: list[str]
    weights: dict[str, list[float]]
    of_kinds: dict[str, list[float]]
    kinds: dict[str, str]
    bands: list[Band]

    def as_json(self) -> dict[str, Any]:
        """The series for programs; a band is an object."""
        return {**self._asdict(), "bands": [band._asdict() for band in self.bands]}


def history_of(log: Log, pipeline: str, prefix: str = "", span: Span | None = None) -> list[HistoryRecord]:
    """What the history topic holds of a pipeline, by position, each record once; of a `span`, those whose `at` lies in it.

    Raises:
        UnknownTopic: when there is no such topic.

    """
    found: dict[str, HistoryRecord] = {}
    for _, value in whole_topic(log, topology.history(pipeline, prefix)):
        try:
            record = decode_history(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # somebody else's
        if record.pipeline == pipeline and (span is None or _within(record.at, span)):
            found.setdefault(record.id, record)
    return sorted(found.values(), key=lambda one: (one.position, one.kind, one.since_position))


def _within(at: int, span: Span) -> bool:
    return (span.start is None or at >= span.start) and (span.stop is None or at < span.stop)


def series(records: Sequence[HistoryRecord], by: By = "labels") -> Series:
    """The records of one kind, in their order, as columns; bands are found in those of both kinds."""
    rows = [one for one in records if one.kind == by]
    weights, of_kinds, kinds = _weights(rows)
    return Series(
        at=[one.at for one in rows],
        positions=[one.position for one in rows],
        labels=[one.counts.joined for one in rows],
        losses=_losses(rows),
        means={
            name: [one.means.get(name) for one in rows] for name in sorted({n for r in rows for n in r.means})
        },
        rates={
            "samples": [_an_hour(one.counts.samples, one) for one in rows],
            "labels": [_an_hour(one.counts.labels, one) for one in rows],
        },
        pending=[one.pending for one in rows],
        held=[one.held for one in rows],
        leaders=[one.leader for one in rows],
        weights=weights,
        of_kinds=of_kinds,
        kinds=kinds,
        bands=bands(records),
    )


def _an_hour(count: int, record: HistoryRecord) -> float | None:
    lasted = record.at - record.since
    return round(count * HOUR_MS / lasted, 3) if lasted > 0 else None


def _losses(rows: Sequence[HistoryRecord]) -> dict[str, Column]:
    lost = [{one.version: one.loss for one in row.experts} for row in rows]
    of_first = [next((one.loss for one in row.experts if one.kind == FIRST), None) for row in rows]
    return {
        "live": [one.loss for one in rows],
        "base": [one.base_loss for one in rows],
        "mixture": [one.mixture_loss for one in rows],
        "leader": [of.get(one.leader) for one, of in zip(rows, lost, strict=True)],
        "committed": [of.get(one.committed) for one, of in zip(rows, lost, strict=True)],
        "first": of_first,
    }


def _weights(
    rows: Sequence[HistoryRecord],
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, str]]:
    """Of versions that counted, in the order they came; of kinds; and what each of those versions was last."""
    of: dict[str, list[float]] = {}
    of_kinds: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for place, row in enumerate(rows):
        for one in row.experts:
            of.setdefault(one.version, [0.0] * len(rows))[place] = one.weight
            of_kinds.setdefault(one.kind, [0.0] * len(rows))[place] += one.weight
            kinds[one.version] = one.kind
    counted = {version: column for version, column in of.items() if max(column) >= LEAST_WEIGHT}
    rounded = {kind: [round(weight, 6) for weight in column] for kind, column in of_kinds.items()}
    return counted, rounded, {version: kinds[version] for version in counted}


def bands(records: Sequence[HistoryRecord]) -> list[Band]:
    """When episodes were open, by the time they began; one that was opened again has another band."""
    closed: list[Band] = []
    going: dict[str, Band] = {}
    ended: set[str] = set()
    for record in records:
        named = {one.id for one in record.episodes}
        for gone in [one for one in going if one not in named]:
            closed.append(going.pop(gone)._replace(until=record.at))
            ended.add(gone)
        for one in record.episodes:
            since = record.since if one.id in ended else one.since
            position = record.since_position if one.id in ended else one.since_position
            going.setdefault(one.id, Band(one.id, one.kind, one.subject, since, position, None))
    return sorted([*closed, *going.values()], key=lambda band: (band.since, band.id))
