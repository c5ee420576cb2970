"""Events as a definition wants them, made up: the fields that it names, filled with numbers and names.

Laws of this file:
- Pure and seeded: the same definition and the same numbers give the same events.
- Event time goes on evenly, some entities come often and most seldom, and every label comes as its rule wants it: as a field of
  the event itself, or of an event of the label's source with the same id or key.
- What a field may hold is what the definition says of it: numbers where features read numbers, short texts elsewhere.
"""

from __future__ import annotations

import json
import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from penstock.features.redis.keys import record_key
from penstock.stream.definitions import Pipeline, Source
from penstock.stream.log.protocol import Out
from penstock.stream.targets import target_of

START_MS = 1_700_000_000_000
TRIES = 50
SKEW = 1.16
FEW = 8
"""So many different values a field of segments and a text that is no key have."""


class Rate(NamedTuple):
    """How events come: so many, `step_ms` apart, about so many entities of each view, and a label for this share of them.

    They go on from event number `first`, at `start_ms`.
    """

    events: int
    step_ms: float
    entities: Mapping[str, int]
    labelled: float
    first: int = 0
    start_ms: int = START_MS


def made_events(pipeline: Pipeline, rate: Rate, seed: int = 1) -> Iterator[Out]:
    """The records of the sources, in the order of their event time."""
    chance = random.Random(seed)
    drawn = {view: _drawn(count, chance) for view, count in rate.entities.items()}
    label, answer = pipeline.label, _answers(pipeline)
    apart = label.source.name != pipeline.predict.name
    for number in range(rate.first, rate.first + rate.events):
        at = rate.start_ms + int((number - rate.first) * rate.step_ms)
        entity = _parts(pipeline, drawn)
        event = _event(pipeline, pipeline.predict, number, at, entity, chance, answer)
        yield _record(pipeline.predict, event)
        for source in pipeline.sources:
            if source.name == pipeline.predict.name:
                continue
            if apart and source.name == label.source.name and chance.random() >= rate.labelled:
                continue
            later = _event(pipeline, source, number, at + 1, entity, chance, answer)
            # It is about the same entities, and by id about the same event.
            yield _record(source, {**later, source.id: event[pipeline.predict.id]})


def _drawn(count: int, chance: random.Random) -> Callable[[], int]:
    """Draws one of so many entities: a few have many events, as in most streams (a fifth of them four fifths)."""
    # The quantiles of Pareto's distribution, not draws from it: of those one alone may outweigh all others.
    weights = list(accumulate((1.0 - (n + 0.5) / count) ** (-1.0 / SKEW) for n in range(count)))
    # The first have most, so that with more entities the same ones still do.
    return lambda: count - 1 - bisect(weights, chance.random() * weights[-1], hi=count - 1)


def _parts(pipeline: Pipeline, drawn: Mapping[str, Callable[[], int]]) -> dict[str, str]:
    """A value for every field that is part of a key; a field that several views are keyed by has one value."""
    found: dict[str, str] = {}
    number = 0
    for view in pipeline.views:
        number = drawn[view.name]()
        found.update({part: f"{part}-{number:06d}" for part in view.key_fields if part not in found})
    others = [
        *pipeline.label.key_fields,
        *(part for source in pipeline.sources for part in source.key_fields),
    ]
    found.update({part: f"{part}-{number:06d}" for part in others if part not in found})
    return found


def _record(source: Source, event: dict[str, Any]) -> Out:
    key = record_key(event, source.key_fields)
    return Out(source.name, None if key is None else key.encode(), json.dumps(event).encode())


def _event(
    pipeline: Pipeline,
    source: Source,
    number: int,
    at: int,
    entity: Mapping[str, str],
    chance: random.Random,
    answer: Callable[[random.Random], Any],
) -> dict[str, Any]:
    event: dict[str, Any] = dict(entity)  # whoever is predicted names every view's entity
    for view in pipeline.views:
        if view.source.name == source.name:
            for name, kind in view.field_types.items():
                event.setdefault(
                    name, _text(chance) if kind == "text" else round(chance.gauss(50.0, 20.0), 2)
                )
    if source.name == pipeline.predict.name:
        for name in pipeline.inputs:
            event.setdefault(name, round(chance.gauss(50.0, 20.0), 2))
        event.update({name: _text(chance) for name in pipeline.segments if name not in event})
    if source.name == pipeline.label.source.name:
        event.update({name: answer(chance) for name in pipeline.label.fields})
    event[source.id] = f"{number:012d}"
    event[source.time] = at
    return event


def _text(chance: random.Random) -> str:
    return f"value-{chance.randrange(FEW)}"


def _answers(pipeline: Pipeline) -> Callable[[random.Random], Any]:
    """What draws a value for the fields of the label that its rule takes: the first kind that does; one that varies, if any."""
    label, kinds = pipeline.label, (_either, _number, _text)
    found: list[tuple[int, int]] = []
    for place, kind in enumerate(kinds):
        chance, told = random.Random(1), set()
        try:
            for _ in range(TRIES):
                given = {name: kind(chance) for name in label.fields}
                told.add(str(target_of(label.of(given), pipeline.target_kind)))
        except Exception:  # noqa: S112 - the rule is the user's own function, and this kind is not for it
            continue
        found.append((-min(len(told), 2), place))
    return kinds[min(found, default=(0, 0))[1]]


def _either(chance: random.Random) -> bool:
    return chance.random() < 0.5


def _number(chance: random.Random) -> float:
    return round(chance.gauss(0.0, 20.0), 2)
