"""The schema of fields that the definition does not name, by topic; `monitors.quality.shape` has the statistics.

Laws of this file:
- Nothing is known of the fields' values: only names and types come here. What is declared is checked elsewhere: a wrong type
  makes a dead letter, and guards watch the nulls of inputs.
- A look that is told again, after a crash or by an owner that lost its topic, is not counted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from penstock.monitors.quality.shape import Shape
from penstock.stream.definitions import Pipeline, Source
from penstock.stream.learn.watching.quality_text import reason_of
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.look import MOST_NAMES, Look
from penstock.stream.quality import SHARES


def declared(pipeline: Pipeline, source: Source) -> frozenset[str]:
    """The fields of this source that the definition names."""
    label, predicts = pipeline.label, source == pipeline.predict
    names = {source.id, source.time, *source.key_fields}
    if source == label.source:
        names |= {*label.fields, *label.key_fields}
    if predicts:
        names |= {*pipeline.inputs, *pipeline.carried, *label.key_fields}
    for view in pipeline.views:
        if view.source.name == source.name:
            names.update(view.field_types)
        if view.source.name == source.name or predicts:
            names.update(view.key_fields)
    return frozenset(names)


class Schema(Watcher):
    """All sources of a pipeline, each judged by its own looks."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.forks = pipeline.asked_quality.schema == "fork"
        topics = [source.name for source in pipeline.sources]
        share = SHARES["schema"] * pipeline.alarms_per_year / len(topics)
        self.shapes = {topic: Shape(topic, share) for topic in topics}
        self.declared = {source.name: declared(pipeline, source) for source in pipeline.sources}
        self.newest: dict[tuple[str, int], int] = {}

    def look(self, position: int, look: Look) -> Sequence[Finding]:
        """Take it, if its record was not looked at before."""
        place = look.topic_id, look.partition
        if look.offset <= self.newest.get(place, -1) or look.topic not in self.shapes:
            return ()
        self.newest[place] = look.offset
        whole = len(look.fields) < MOST_NAMES
        known = self.declared[look.topic]
        fields = {name: kind for name, kind in look.fields.items() if name not in known}
        found = []
        for change in self.shapes[look.topic].look(look.at, position, fields, whole=whole):
            forks = self.forks and change.state == "firing"
            verb: Literal["alert", "note"] = "alert" if forks else "note"
            found.append(Finding(change, verb, reason_of(change, forks=forks), forks))
        return found
