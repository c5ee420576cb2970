"""A prediction that was made: found in the samples log, made again by the experts that made it, and explained.

Laws of this file:
- The experts are those of a fold of the log up to the sample, by the same commands: no stored model takes the place of one that
  the log makes.
- Nothing is appended or committed. What was published is read only to say whether it is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.explain.explanation import Explanation
from penstock.stream.explain.moment import Means, explained
from penstock.stream.learn.entries import entries
from penstock.stream.learn.records import Predicted
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import Log, UnknownTopic
from penstock.stream.messages import Recipe, Sample
from penstock.stream.models.store import ModelStore
from penstock.stream.prediction import Prediction, decode_prediction, mentions
from penstock.stream.recipes import recipe_of

POLL_RECORDS = 10_000


class NotThere(Exception):
    """Why there is no such prediction, or no way to make it again; the message says what to do."""


class Found(NamedTuple):
    """A sample of the log, and the mean of every numeric input over the samples before it."""

    position: int
    sample: Sample
    means: dict[str, float]


class Past(NamedTuple):
    """One prediction of the past and why it was that. `published` is what stands in the predictions topic, None if it is gone."""

    made: Predicted
    recipe: str
    why: Explanation
    published: Prediction | None

    @property
    def same(self) -> bool | None:
        """Whether the published prediction is the one that was explained; None where it is gone."""
        said = self.published
        if said is None:
            return None
        if said.classes is not None:
            return dict(said.classes) == dict(self.made.p)
        return bool(said.prediction == self.why.margin)


def find(
    log: Log, topic: str, pipeline: Pipeline, event_id: str | None, position: int | None = None
) -> Found:
    """The first sample of this event id, or the one at `position`. Raises `NotThere`."""
    start, stop = log.bounds([(topic, 0)])[(topic, 0)]
    if position is not None and not start <= position < stop:
        raise NotThere(f"{topic} holds positions {start:,} to {stop - 1:,}, not {position:,}")
    if start > 0:
        raise NotThere(
            f"records 0 to {start - 1:,} of {topic} are gone, and with them what the models learned first: no prediction can be "
            "made again. Let the samples log keep all (`penstock topics` says how)"
        )
    means, recipe = Means(), recipe_of(pipeline)
    for here, entry in entries(log, topic, start, stop):
        if isinstance(entry, Recipe):
            recipe = entry
        elif isinstance(entry, Sample):
            if entry.id == event_id if position is None else here == position:
                return Found(here, entry, means.found())
            means.add(recipe.inputs, entry.x)
        if position is not None and here >= position:
            raise NotThere(
                f"the record of {topic} at position {position:,} is no sample: predictions say theirs in `position`"
            )
    raise NotThere(
        f"no sample of {topic} has the event id {event_id!r}; it is the one that the event itself has, and a prediction's `id`"
    )


def explain_past(
    pipeline: Pipeline,
    log: Log,
    topics: tuple[str, str],
    event_id: str | None,
    *,
    position: int | None = None,
    of: str | None = None,
    guard: bool = True,
    outside: ModelStore | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Past:
    """The prediction of an event, made again and explained.

    Args:
        pipeline: its definition.
        log: where its topics are.
        topics: the samples log and the predictions topic.
        event_id: the event's own id; its first sample is meant.
        position: of the sample in the samples log, where an id has several.
        of: of several classes, the one to explain; by default the most probable.
        guard: as the learn role ran with.
        outside: versions that a command took from the store.
        progress: hears of (records folded, of all).

    Raises:
        NotThere: there is no such sample, or the log that made its models is gone.
        CannotExplain: a model that took part cannot be explained.

    """
    samples, predictions = topics
    found = find(log, samples, pipeline, event_id, position)
    how: dict[str, Any] = {"guard": guard, "outside": outside, "progress": progress}
    fold = replay(pipeline, log, samples, stop=found.position, **how)
    told = explained(fold, found.position, found.sample, background=found.means, of=of)
    if told is None:
        raise NotThere(
            f"the sample at position {found.position:,} was not predicted: it is a repeat, or of a definition that "
            f"{pipeline.name!r} as given here does not read"
        )
    return Past(told.made, fold.recipe, told.why, published(log, predictions, told.made))


def published(log: Log, topic: str, made: Predicted) -> Prediction | None:
    """What the predictions topic says of this sample; None where it is gone, or not yet written."""
    try:
        tps = [(topic, partition) for partition in range(log.partitions(topic))]
    except UnknownTopic:
        return None
    ends = {tp: bounds for tp, bounds in log.bounds(tps).items() if bounds[0] < bounds[1]}
    left = {tp: high for tp, (_, high) in ends.items()}
    reader = log.reader({tp: low for tp, (low, _) in ends.items()})
    try:
        while left:
            for record in reader.poll(POLL_RECORDS, 1.0):
                value = record.value
                if value is not None and mentions(value, made.id):
                    said = _decoded(value)
                    if said is not None and said.id == made.id and said.position == made.position:
                        return said
            reached = reader.positions()
            left = {tp: end for tp, end in left.items() if reached.get(tp, 0) < end}
    finally:
        reader.close()
    return None


def _decoded(value: bytes) -> Prediction | None:
    try:
        return decode_prediction(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
