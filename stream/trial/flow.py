"""A pipeline in this process's memory, for tests: events in, and what came of them as plain lines.

Laws of this file:
- It is the flow itself (`MemoryFlow`): the decoder, the engine, the join and the fold are those of the roles.
- Nothing depends on the wall clock: a record has the timestamp that it is given, and the roles' clock stands still. So the same
  events in the same order give the same lines.
- Each source has one partition, so that order within it is the order of the events.
- Events are given by their fields, as JSON, whatever format their topics have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import public_key
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.formats.plain import plain_json
from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.entries import entries
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Log, Out, Record
from penstock.stream.messages import Recipe, Sample, Tick, encode_entry
from penstock.stream.operate.control_topics import whole_topic
from penstock.stream.operate.training_set import Row, Span, rows
from penstock.stream.prediction import decode_prediction
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.shards import log_of, of_shard, to_every_shard
from penstock.stream.trial.compare import Got
from penstock.stream.trial.wire import BadLine, Fed, Feeding, TimePasses

WALL_MS = 1_700_000_000_000
QUIET_TURNS = 4
#: Of a prediction these say which model made it and where it stands, not what was predicted.
NOT_COMPARED = ("model", "recipe", "position", "id")
Line = dict[str, Any]


class TrialFlow:
    """One pipeline, fed by a test.

    `send` and `pass_time` feed it; the other methods say what has come of everything fed so far. Lines are plain dicts: a sample
    is `{"sample": id, "at": ms, "key": text, "features": {name: value}, "label": value or None, "label_at": ms or None}`.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline = plain_json(pipeline)
        self.feeding = Feeding(pipeline)
        self.fed: list[Fed] = []
        self.now_ms = 0
        self._lines: dict[tuple[str, int], int] = {}
        self._offsets: dict[str, int] = {}
        self._stamp_ms = 0
        # Half a millisecond more, so that no rounding of seconds takes one away.
        self.log = MemoryLog(lambda: (self._stamp_ms + 0.5) / 1000)
        self.flow = MemoryFlow(pipeline, partitions=1, log=self.log, clock=lambda: WALL_MS)

    # -- events in ---------------------------------------------------------------------------------------------------------

    def send(self, value: Any, topic: str | None = None, **more: Any) -> None:
        """Publish one event: `value` is its fields. `topic` may be left out where there is one source.

        `key` (text or None) and `timestamp` (ms or RFC 3339) are what a producer would give unless they are named: the text
        of the declared key field, and the event's own time. `raw=TEXT` publishes that text as it stands. Raises `BadLine`, which
        is a ValueError.
        """
        given = {"topic": topic, "value": value, **more}
        strange = sorted(given.keys() - {"topic", "value", "key", "timestamp", "raw"})
        if strange:
            raise BadLine(f"send takes topic, key, timestamp and raw, not {', '.join(strange)}")
        self.feed([self.feeding.record({name: it for name, it in given.items() if name != "topic" or it})])

    def pass_time(self, at: int | str) -> None:
        """Say that every source has reached this event time (ms or RFC 3339), with no event that says so.

        Labels that did not come in their time will not come; what has a default takes it.
        """
        try:
            self.feed([TimePasses(event_time(at, "at"))])
        except Rejected as error:
            raise BadLine(str(error)) from None

    def feed(self, lines: Iterable[Fed | TimePasses]) -> None:
        """Feed records and times, in their order."""
        for one in lines:
            if isinstance(one, TimePasses):
                self._turn()
                self._tick(one.at)
                continue
            self._stamp_ms = one.timestamp_ms
            self.log.append([Out(one.topic, one.key, one.value, (), 0)])
            offset = self._offsets.get(one.topic, 0)
            self._offsets[one.topic] = offset + 1
            self._lines[(one.topic, offset)] = one.line
            self.fed.append(one)

    def _tick(self, at: int) -> None:
        """Tell the join that time has passed."""
        self.now_ms = max(self.now_ms, at)
        names = [f"{source.name}/0" for source in self.pipeline.sources]
        tick = Tick(dict.fromkeys(names, at), [], WALL_MS, len(names))
        self.log.append(to_every_shard(self.pipeline, encode_entry(tick)))

    def _turn(self) -> None:
        """Let featurize work until it has nothing left to do; learn has its turn when predictions are asked for."""
        quiet = 0
        while quiet < QUIET_TURNS:
            quiet = 0 if self.flow.featurize.process_batch(0.0) else quiet + 1
        reached = [task.reached for task in self.flow.featurize.tasks.values()]
        self.now_ms = max([self.now_ms, *reached])

    # -- what came of them -------------------------------------------------------------------------------------------------

    def samples(self) -> list[Line]:
        """Every sample, with the label it got, in the order of the samples log. One whose label may yet come says `waits`."""
        return [one.line for one in self.got("sample")]

    def sample(self, event_id: str | int) -> Line:
        """The first sample of the event with this id. Raises `KeyError`, which says why where the event was refused."""
        for one in self.samples():
            if one["sample"] == str(event_id):
                return one
        refused = [one for one in self.dead_letters() if one["dead_letter"] == str(event_id)]
        why = f": its event became a dead letter ({refused[0]['reason']})" if refused else ""
        raise KeyError(f"no sample of event {event_id!r}{why}")

    def dead_letters(self) -> list[Line]:
        """Every record that could not be used: `{"dead_letter": the event's id or None, "topic": ..., "reason": ...}`."""
        return [one.line for one in self.got("dead_letter")]

    def predictions(self) -> list[Line]:
        """Every prediction, with what it says and not by which model; this lets learn have its turn, too."""
        return [one.line for one in self.got("prediction_of")]

    def documents(self) -> list[Line]:
        """The features of every entity that events came of, as of the newest event time: what a reader is served."""
        return [one.line for one in self.got("document")]

    def features(self, view: str, *entity: str | int, at: int | str | None = None) -> dict[str, Any]:
        """The features of one entity (of a compound key, its parts), as of the newest event time, or of `at`.

        An entity that no event came of has the values of one without events.
        """
        self._turn()
        moment = self.now_ms if at is None else event_time(at, "at")
        (found,) = self._reader().read([(view, entity if len(entity) != 1 else entity[0])], moment)
        return dict(found.values)

    def got(self, *kinds: str) -> list[Got]:
        """What has come so far, of these kinds."""
        self._turn()
        made = {
            "sample": self._samples,
            "dead_letter": self._dead_letters,
            "prediction_of": self._predictions,
            "document": self._documents,
        }
        return [one for kind in kinds for one in made[kind]()]

    def close(self) -> None:
        """End every role."""
        self.flow.close()

    # -- reading -----------------------------------------------------------------------------------------------------------

    def shards(self) -> Iterator[tuple[Pipeline, Log]]:
        """The pipeline as each of its shards has it, with the log as that shard sees it; one, for a pipeline in one piece."""
        for number in range(self.pipeline.shards):
            one = of_shard(self.pipeline, number)
            yield one, log_of(self.log, one)

    def _samples(self) -> Iterator[Got]:
        names = {self.log.topic_id(source.name): source.name for source in self.pipeline.sources}
        for one, log in self.shards():
            topic = topology.samples(one.name)
            _, stop = log.bounds([(topic, 0)])[(topic, 0)]
            found = list(entries(log, topic, 0, stop))
            made = {position: entry for position, entry in found if isinstance(entry, Sample)}

            def rule(_: Recipe | None) -> LabelRule:
                return self.pipeline.label_rule

            for row in rows(found, Span(), rule):
                origin = made[row.position].origin
                yield Got("sample", self._sample(row), self._lines[(names[origin.topic_id], origin.offset)])

    def _sample(self, row: Row) -> Line:
        features = dict(zip(row.recipe.inputs, row.x, strict=True))
        found: Line = {"sample": row.event_id, "at": row.at, "key": row.key, "features": features}
        if not self.pipeline.labelled:
            return found
        found |= {"label": row.label, "label_at": row.label_at}
        return found if row.settled else {**found, "waits": True}

    def _dead_letters(self) -> Iterator[Got]:
        ids = {source.name: source.id for source in self.pipeline.sources}
        for record, value in self._records(topology.dead_letters(self.pipeline.name)):
            headers = {name: said or b"" for name, said in record.headers}
            topic = headers["penstock-topic"].decode()
            line = {
                "dead_letter": _id_of(value, ids[topic]),
                "topic": topic,
                "reason": headers["penstock-reason"].decode(),
            }
            yield Got("dead_letter", line, self._lines[(topic, int(headers["penstock-offset"]))])

    def _predictions(self) -> Iterator[Got]:
        self.flow.settle()
        for one, log in self.shards():
            for _, value in whole_topic(log, topology.predictions(one.name)):
                made = decode_prediction(value)
                said = {
                    name: it for name, it in msgspec.to_builtins(made).items() if name not in NOT_COMPARED
                }
                yield Got("prediction_of", {"prediction_of": made.id, **said})

    def _documents(self) -> Iterator[Got]:
        wanted: list[tuple[str, tuple[str, ...]]] = []
        for view in self.pipeline.views:
            begin = public_key(self.flow.deployed, view.name, "")
            named = sorted(key.removeprefix(begin) for key in self.flow.server.data if key.startswith(begin))
            wanted += [(view.name, tuple(unquote(part) for part in name.split("|"))) for name in named]
        for found in self._reader().read(wanted, self.now_ms):
            parts = found.entity if isinstance(found.entity, tuple) else (found.entity,)
            entity = "|".join(map(str, parts))
            yield Got("document", {"document": found.view, "entity": entity, "values": dict(found.values)})

    def _reader(self) -> FeatureReader:
        tasks = ("0",) if self.pipeline.partitioned else ("all",)
        return FeatureReader(self.flow.server, self.pipeline.name, self.pipeline.views, tasks=tasks)

    def _records(self, topic: str) -> Iterator[tuple[Record, bytes]]:
        """Every record of a topic, tombstones as empty."""
        position, stop = self.log.bounds([(topic, 0)])[(topic, 0)]
        reader = self.log.reader({(topic, 0): position})
        while position < stop:
            for record in reader.poll(10_000, 0.0):
                position = record.offset + 1
                yield record, record.value or b""
        reader.close()


def _id_of(value: bytes, name: str) -> str | None:
    """The id of a record that could not be used, as text; None where it cannot be told."""
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    given = found.get(name) if isinstance(found, Mapping) else None
    return str(given) if type(given) in (str, int) else None
