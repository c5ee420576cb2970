"""Does a sample know what nobody could know when it was predicted? Its vector is computed again where that is otherwise.

Laws of this file:
- Two worlds for each sample. In one, everything is gone that came after its moment. In the other its own answer is another one:
  the fields that the label reads are changed in the event that labels it, wherever that stands, and be it the predicted one
  itself. A vector that differs in either world knows more than it may.
- The moment of a sample is when its own event is processed: the newest event time of its topic up to it.
- What is computed again is computed by featurize's own engine (`Recomputation`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import Sample
from penstock.stream.operate.recompute import Recomputation
from penstock.stream.trial.wire import Fed

MOST_SAMPLES = 100
#: Far from what a field holds, both ways, so that any window, maximum or threshold feels it.
FAR = (1_000_003, -1_000_003)


class Leak(NamedTuple):
    """One feature of one sample that knows too much: `why` says what it knows, `before` and `after` its value in both worlds."""

    sample: str
    line: int
    feature: str
    before: Any
    after: Any
    why: str

    def sentence(self, events_name: str) -> str:
        """In words."""
        where = f" ({events_name}:{self.line})" if self.line else ""
        values = f"from {json.dumps(self.before)} to {json.dumps(self.after)}"
        return f"sample {self.sample}{where}: {self.feature} changes {values} {self.why}"


class Looked(NamedTuple):
    """What a look for leaks found: how many `samples` there are, how many were `tried`, and with other answers (`answered`)."""

    samples: int
    tried: int
    answered: int
    leaks: list[Leak]


class _Known(NamedTuple):
    """A record that can be used: its event and its times in ms."""

    event: dict[str, Any]
    at: int
    newest_at: int


def look(pipeline: Pipeline, fed: Sequence[Fed], most: int = MOST_SAMPLES) -> Looked:
    """Look for leaks in at most `most` samples, spread over all of them."""
    known = _decoded(pipeline, fed)
    truth = vectors(pipeline, fed)
    places = list(truth)
    chosen = places if len(places) <= most else [places[n * len(places) // most] for n in range(most)]
    fields = answer_fields(pipeline, [one.event for n, one in known.items() if _labels(pipeline, fed[n])])
    found: list[Leak] = []
    answered = 0
    for place in chosen:
        one = truth[place]
        then = {n: fed[n] for n in _known_then(fed, known, place)}
        found += _compared(pipeline, one, vectors(pipeline, list(then.values())), place, then, "")
        others = 0
        for name, worlds in _other_answers(pipeline, fed, known, place, fields):
            for world in worlds:
                changed = {n: world.get(n, it) for n, it in then.items()}
                again = vectors(pipeline, list(changed.values()))
                others += list(then).index(place) in again
                found += _compared(pipeline, one, again, place, changed, name)
        answered += others > 0
    once = {(leak.sample, leak.line, leak.feature): leak for leak in reversed(found)}
    return Looked(len(places), len(chosen), answered, list(reversed(once.values())))


def vectors(pipeline: Pipeline, fed: Sequence[Fed]) -> dict[int, Sample]:
    """The samples of these records, by the place of their own among them, in the order in which they were made."""
    stamp_ms = 0
    log = MemoryLog(lambda: (stamp_ms + 0.5) / 1000)
    topics = [*(topology.Topic(source.name, 1, {}, "") for source in pipeline.sources)]
    for topic in (*topics, *topology.owned(pipeline.name, "", pipeline.shards)):
        log.create(topic.name, topic.partitions)
    places: dict[tuple[str, int], int] = {}
    counts: dict[str, int] = {}
    for place, one in enumerate(fed):
        stamp_ms = one.timestamp_ms
        log.append([Out(one.topic, one.key, one.value, (), 0)])
        offset = counts[one.topic] = counts.get(one.topic, -1) + 1
        places[(log.topic_id(one.topic), offset)] = place
    made = (one for one in Recomputation(pipeline, log).entries() if isinstance(one, Sample))
    return {places[(one.origin.topic_id, one.origin.offset)]: one for one in made}


def answer_fields(pipeline: Pipeline, events: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that the label reads: those it declares, or else those that its function is seen to read in these events."""
    seen: dict[str, None] = dict.fromkeys(pipeline.label.fields)
    if pipeline.labelled and not seen:
        for event in events:
            try:
                pipeline.label.of(_Watched(event, seen))
            except Exception:  # a user's function over a user's data: featurize makes a dead letter of it
                continue
    return list(seen)


class _Watched(dict[str, Any]):
    """An event that notes which of its fields are asked for."""

    def __init__(self, event: Mapping[str, Any], seen: dict[str, None]) -> None:
        super().__init__(event)
        self.seen = seen

    def __getitem__(self, name: str) -> Any:
        self.seen[name] = None
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.seen[name] = None
        return super().get(name, default)


def _labels(pipeline: Pipeline, one: Fed) -> bool:
    return pipeline.labelled and one.topic == pipeline.label.source.name


def _decoded(pipeline: Pipeline, fed: Sequence[Fed]) -> dict[int, _Known]:
    """The records that can be used, by their place."""
    decoders = {source.name: SourceDecoder(pipeline, source, rows=True) for source in pipeline.sources}
    newest = dict.fromkeys(decoders, -1)
    found = {}
    for place, one in enumerate(fed):
        record = Record(one.topic, 0, place, one.timestamp_ms, one.key, one.value, ())
        (item,) = decoders[one.topic].items([record], newest[one.topic])
        newest[one.topic] = item.newest_at
        if item.event is not None:
            found[place] = _Known(item.event, item.at, item.newest_at)
    return found


def _known_then(fed: Sequence[Fed], known: Mapping[int, _Known], place: int) -> Iterator[int]:
    """The places of all records that were there at the moment of the sample of `place`."""
    moment = known[place].newest_at
    for n, one in enumerate(fed):
        if one.topic == fed[place].topic:
            if n <= place:
                yield n
        elif n in known and known[n].at <= moment:
            yield n


def _other_answers(
    pipeline: Pipeline, fed: Sequence[Fed], known: Mapping[int, _Known], place: int, fields: Sequence[str]
) -> Iterator[tuple[str, list[dict[int, Fed]]]]:
    """By field of the answer: worlds in which the sample's own answer is another one; none where labels are by key, so later."""
    label, predict = pipeline.label, pipeline.predict
    if not pipeline.labelled or label.key_fields:
        return
    own = known[place].event[predict.id]
    answers = [
        n
        for n, one in known.items()
        if fed[n].topic == label.source.name and str(one.event[label.source.id]) == str(own)
    ]
    protected = {label.source.id, label.source.time, predict.id, predict.time}
    for name in fields:
        if name in protected:
            continue
        values = [one.event.get(name) for n, one in known.items() if fed[n].topic == label.source.name]
        worlds: list[dict[int, Fed]] = []
        for change in _changes(values):
            worlds.append({n: _changed(fed[n], name, change) for n in answers if fed[n].value is not None})
        yield name, [world for world in worlds if world]


def _changes(values: Sequence[Any]) -> list[Callable[[Any], Any]]:
    """Ways to change a field that holds such values."""
    texts = sorted({value for value in values if isinstance(value, str)})
    if any(isinstance(value, bool) for value in values):
        return [lambda value: not value]
    if texts:
        return [lambda value: next((text for text in texts if text != value), f"{value}~")]

    def moved(by: int) -> Callable[[Any], Any]:
        return lambda value: (value or 0) + by

    return [moved(by) for by in FAR]


def _changed(one: Fed, name: str, change: Callable[[Any], Any]) -> Fed:
    event = json.loads(one.value or b"{}")
    return one._replace(value=json.dumps({**event, name: change(event.get(name))}).encode())


def _compared(
    pipeline: Pipeline,
    truth: Sample,
    again: Mapping[int, Sample],
    place: int,
    world: Mapping[int, Fed],
    answer: str,
) -> Iterator[Leak]:
    """What differs between a sample and the same one in another world, in which it may be a dead letter."""
    other = again.get(list(world).index(place))
    if other is None:
        return
    why = (
        f"with another {answer!r} in its own answer: the model would read what it has to predict. Take {answer!r} out of that "
        f"feature, and name it in Label(fields=...), so that the definition itself refuses this"
        if answer
        else "without the records that came later: it reads the future"
    )
    for name, before, after in zip(pipeline.vector_names, truth.x, other.x, strict=True):
        if before != after:
            yield Leak(truth.id, world[place].line, name, before, after, why)
