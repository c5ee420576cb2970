"""What the log holds of a pipeline → columns: training rows, predictions, history and episodes.

Laws of this file:
- Reading only, without a group. What is joined is joined as the fold joins it (`operate.training_set`), and what is told is what
  the commands tell.
- A record that a crash repeated is there once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.history_record import HistoryRecord
from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.entries import entries
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Entry, Recipe
from penstock.stream.operate.control_topics import told_of, whole_topic
from penstock.stream.operate.history import By, Series, history_of, series
from penstock.stream.operate.reporting.incidents import incidents, row
from penstock.stream.operate.training_files import Columns
from penstock.stream.operate.training_set import Span, rows, survey
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.recipes import recipe_of
from penstock.stream.targets import Target

EVERYTHING = Span()
Made = dict[str, list[Any]]
PREDICTED = ("event_id", "key", "at", "position", "prediction", "version", "weight")
#: Of these a definition has some: a column that nothing stands in is left out.
SOMETIMES = ("calibrated", "rank", "alert", "classes", "set", "interval_low", "interval_high")


def _entries(pipeline: Pipeline, log: Log, prefix: str) -> Iterator[tuple[int, Entry]]:
    topic = topology.samples(pipeline.name, prefix)
    start, stop = log.bounds([(topic, 0)])[(topic, 0)]
    return entries(log, topic, start, stop)


def training_set(
    pipeline: Pipeline, log: Log, prefix: str = "", span: Span = EVERYTHING, *, labelled: bool = False
) -> Made:
    """Samples of the range as they were served, a column for each input, with the label that each got.

    Columns are those of `penstock export`: event_id, key, at, position, recipe, the inputs, label, label_at.
    """

    def rule(_: Recipe | None) -> LabelRule:
        return pipeline.label_rule

    opening = recipe_of(pipeline)
    found = survey(_entries(pipeline, log, prefix), span, opening)
    columns = Columns(found.columns or dict.fromkeys(pipeline.vector_names, False), found.label_types)
    made: Made = {name: [] for name in columns.names}
    if not found.samples:
        return made
    again = _entries(pipeline, log, prefix)
    for one in rows(again, span, rule, opening=opening, last_position=found.last_position):
        if labelled and one.label is None:
            continue
        for name, value in zip(columns.names, columns.values(one), strict=True):
            made[name].append(value)
    return made


def labels_of(
    pipeline: Pipeline, log: Log, prefix: str, span: Span
) -> dict[int, tuple[Target | None, int | None]]:
    """Label and its event time of each sample of the range, by position."""
    made = training_set(pipeline, log, prefix, span)
    return {
        position: (label, at)
        for position, label, at in zip(made["position"], made["label"], made["label_at"], strict=True)
    }


def predictions(
    pipeline: Pipeline, log: Log, prefix: str = "", span: Span = EVERYTHING, *, labels: bool = False
) -> Made:
    """What was published of events in the range, in the order of the samples log, with the label that came if asked for."""
    by_position: dict[int, tuple[str | None, Prediction]] = {}
    for record, value in whole_topic(log, topology.predictions(pipeline.name, prefix)):
        try:
            one = decode_prediction(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # somebody else's
        if span.holds(one.at):
            key = None if record.key is None else record.key.decode(errors="replace")
            by_position[one.position] = (key, one)
    made: Made = {name: [] for name in (*PREDICTED, *SOMETIMES)}
    for position, (key, one) in sorted(by_position.items()):
        low, high = one.interval or (None, None)
        values = {
            **msgspec.structs.asdict(one),
            "event_id": one.id,
            "key": key,
            "position": position,
            "version": one.model.version,
            "weight": one.model.weight,
            "interval_low": low,
            "interval_high": high,
        }
        for name, column in made.items():
            column.append(values[name])
    kept = {n: c for n, c in made.items() if n in PREDICTED or any(value is not None for value in c)}
    if labels:
        known = labels_of(pipeline, log, prefix, span)
        found = [known.get(position, (None, None)) for position in kept["position"]]
        kept |= {"label": [label for label, _ in found], "label_at": [at for _, at in found]}
    return kept


def history(
    pipeline: Pipeline, log: Log, prefix: str = "", span: Span | None = None, by: By = "labels"
) -> Made:
    """How it did, a row for each block of labels, or each hour: what `penstock history` prints."""
    records: list[HistoryRecord] = history_of(log, pipeline.name, prefix, span)
    found: Series = series(records, by)
    leader = [
        max(one.experts, key=lambda expert: expert.weight, default=None) for one in records if one.kind == by
    ]
    return {
        "at": found.at,
        "position": found.positions,
        "labels": found.labels,
        **{f"{name}_loss": column for name, column in found.losses.items()},
        **found.means,
        **{f"{name}_an_hour": column for name, column in found.rates.items()},
        "waiting": found.pending,
        "held": found.held,
        "believed": [one.leader for one in records if one.kind == by],
        "weight": [1.0 if one is None else one.weight for one in leader],
    }


EPISODE = (
    "number", "episode", "kind", "subject", "severity", "since", "found", "over", "reason", "causes", "segment", "command",
    "excess_nats", "error_nats",
)  # fmt: skip


def episodes(pipeline: Pipeline, log: Log, prefix: str = "") -> Made:
    """Every episode that fired, the earliest first; `over` is null while it is open, and what it cost until then."""
    made: Made = {name: [] for name in EPISODE}
    for one in incidents(told_of(log, pipeline.name, prefix)):
        values = row(one, None)
        measured = values.pop("measured") or {"excess_nats": None, "error_nats": None}
        values |= {**measured, "causes": ", ".join(values["causes"])}
        for name, column in made.items():
            column.append(values[name])
    return made
