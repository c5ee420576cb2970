"""How a pipeline is, asked of Kafka alone: who runs, how far, how good, what is open, what waits for a person.

Laws of this file:
- It reads the ends of topics and the groups' offsets, joins nothing and changes nothing; two looks at one moment say the same.
- What was found is plain data (`status_found`); nothing of it is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from penstock.stream import topology
from penstock.stream.control.state import decode_state
from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.entries import entry_of
from penstock.stream.log.protocol import Record, UnknownTopic
from penstock.stream.messages import (
    ControlEvent,
    LabelRecord,
    Recipe,
    Sample,
    Tick,
    decode_control_event,
    decode_live_model,
)
from penstock.stream.operate.scores import scores_of
from penstock.stream.operate.status_found import LETTERS, RoleStatus, Status, still_open, sum_up, wrong
from penstock.stream.operate.tail_labels import TailLabels, tail_labels
from penstock.stream.operate.tails import newest, oldest
from penstock.stream.operate.training_set import label_rule
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.process.health_page import kind_of

ROLES = ("featurize", "learn", "control", "challenge")
TAIL = 20_000  # records of the samples log looked at
EVENTS = (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)


def look(
    consumer: KafkaConsumer, admin: KafkaAdminClient, pipeline: str, prefix: str, wall_ms: int
) -> Status:
    """Ask Kafka how the pipeline is, or the shard of this name; a pipeline that learns in shards is told of with all of them."""
    topic = topology.samples(pipeline, prefix)
    tail = _tail(consumer, topic, TAIL)
    names = models_of(consumer, pipeline, prefix)
    by_shard: dict[int, list[Any]] = {topology.shard_of(name): [] for name in names}
    for record in tail:
        if record.partition in by_shard and (decoded := entry_of(record.value)):
            by_shard[record.partition].append(decoded)
    entries = [entry for of_one in by_shard.values() for entry in of_one]
    ticks = ticks_of_time(entries)
    times = ticks[-1].times if ticks else {}
    found = Status(pipeline, _roles(consumer, admin, pipeline, prefix, times), tail=len(entries))
    if ticks:
        found.tick_age_s = (wall_ms - ticks[-1].wall_ms) / 1000
    # A tick tells event time a line late: the newest event itself stands beside it.
    moments = [entry.at for entry in entries if isinstance(entry, Sample | LabelRecord)]
    if moments:
        found.event_age_s = (wall_ms - max(moments)) / 1000
    rule = _rule(consumer, topic, entries)
    first = _first_predictions(_tail(consumer, topology.predictions(pipeline, prefix), TAIL))
    found.shards = [] if len(names) == 1 else [Status(name, {}) for name in names]
    labels = {number: tail_labels(of_one, rule) for number, of_one in by_shard.items()}
    for one in found.shards or [found]:
        of_one = labels[topology.shard_of(one.pipeline)]
        one.tail = len(by_shard[topology.shard_of(one.pipeline)])
        _quality(one, of_one, first)
    if found.shards:
        sum_up(found)
        found.scores = scores_of(first.values(), {k: v for one in labels.values() for k, v in one.of.items()})
    _dead_letters(found, consumer, topology.dead_letters(pipeline, prefix))
    _control(found.shards or [found], consumer, prefix)
    for one in found.shards:
        one.wrong = wrong(one)
    found.wrong = wrong(found)
    return found


def models_of(consumer: KafkaConsumer, pipeline: str, prefix: str) -> list[str]:
    """The names of a pipeline's models, asked of Kafka: its own, or those of its shards; of a shard its name."""
    if pipeline != topology.whole(pipeline):
        return [pipeline]
    shards = len(consumer.partitions_for_topic(topology.samples(pipeline, prefix)) or ())
    return [pipeline] if shards <= 1 else [topology.shard_name(pipeline, number) for number in range(shards)]


def ticks_of_time(entries: list[Any]) -> list[Tick]:
    """The ticks that say how far event time has come; a look at one event is a tick that does not."""
    return [entry for entry in entries if isinstance(entry, Tick) and entry.look is None]


def _tail(consumer: KafkaConsumer, topic: str, most: int) -> list[Record]:
    """The newest records of a topic; none of one that is not there."""
    try:
        return newest(consumer, topic, most)[0]
    except UnknownTopic:
        return []


def _roles(
    consumer: KafkaConsumer, admin: KafkaAdminClient, pipeline: str, prefix: str, times: Iterable[str]
) -> dict[str, RoleStatus]:
    """Members and lag of each role. What featurize reads is what its newest tick names.

    Only a pipeline with challengers has a challenge role, which commits nothing: it is told of while it runs, without a lag.
    """
    groups = {role: topology.consumer_group(pipeline, role, prefix) for role in ROLES}
    described = admin.describe_groups(list(groups.values()))
    reads = {
        "featurize": [
            TopicPartition(name, int(part)) for name, _, part in (t.rpartition("/") for t in times)
        ],
        "learn": [
            TopicPartition(topology.samples(pipeline, prefix), topology.shard_of(name))
            for name in models_of(consumer, pipeline, prefix)
        ],
        "control": [TopicPartition(prefix + topic, 0) for topic in topology.CONTROL_READS],
    }
    found: dict[str, RoleStatus] = {}
    for role, group in groups.items():
        status = found[role] = RoleStatus()
        for member in described.get(group, {}).get("members", []):
            name = member["group_instance_id"] or member["client_id"]
            status.members.append(f"{name} at {member['client_host'].lstrip('/')}")
        if role == "challenge":
            if not status.members:
                del found[role]
            continue
        there = [tp for tp in reads[role] if consumer.partitions_for_topic(tp.topic)]
        if there and described.get(group, {}).get("group_state") not in (None, "Dead"):
            offsets = admin.list_group_offsets({group: there}).get(group, {})
            low, high = consumer.beginning_offsets(there), consumer.end_offsets(there)
            at = {tp: offsets[tp].offset if tp in offsets else -1 for tp in there}
            status.lag = sum(high[tp] - max(at[tp], low[tp]) for tp in there)
    return found


def _rule(consumer: KafkaConsumer, topic: str, entries: list[Any]) -> LabelRule | None:
    """The rule of the newest recipe among these, or else of the one that the log opens with."""
    known = [entry for entry in entries if isinstance(entry, Recipe)]
    if not known and entries:
        known = [
            entry for record in oldest(consumer, topic) if isinstance(entry := entry_of(record.value), Recipe)
        ]
    return label_rule(known[-1]) if known else None


def _first_predictions(predicted: list[Record]) -> dict[str, Prediction]:
    """The first prediction of each event."""
    first: dict[str, Prediction] = {}
    for record in predicted:
        prediction = _decoded(decode_prediction, record)
        if prediction is not None:
            first.setdefault(prediction.id, prediction)
    return first


def _quality(found: Status, labels: TailLabels, first: Mapping[str, Prediction]) -> None:
    """Labels, waiting samples and scores of the tails."""
    found.samples, found.labels, found.pending = len(labels.samples), labels.records, labels.pending
    found.duplicates, found.contradictions = labels.duplicates, labels.contradictions
    found.scores = scores_of(first.values(), labels.of)


def _dead_letters(found: Status, consumer: KafkaConsumer, topic: str) -> None:
    tp = TopicPartition(topic, 0)
    if not consumer.partitions_for_topic(topic):
        return
    low, high = consumer.beginning_offsets([tp]), consumer.end_offsets([tp])
    found.dead_total = high[tp] - low[tp]
    for record in newest(consumer, topic, LETTERS, headers=True)[0]:
        notes = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
        found.dead[notes.get("penstock-topic", ""), kind_of(notes.get("penstock-reason", ""))] += 1


def _control(models: Sequence[Status], consumer: KafkaConsumer, prefix: str) -> None:
    """What is live, what is open, and what waits for a person, of each of a pipeline's models."""
    by_name = {one.pipeline: one for one in models}
    for record in _tail(consumer, prefix + topology.CONTROL_MODELS, 1_000_000):
        live = _decoded(decode_live_model, record)
        if live is not None and live.pipeline in by_name:
            by_name[live.pipeline].live = live
    events: dict[str, list[ControlEvent]] = {name: [] for name in by_name}
    told = [r for topic in EVENTS for r in _tail(consumer, prefix + topic, 5_000)]
    for record in sorted(told, key=lambda record: record.timestamp_ms):
        event = _decoded(decode_control_event, record)
        if event is not None and event.data.pipeline in by_name:
            events[event.data.pipeline].append(event)
    for name, of_one in events.items():
        by_name[name].open = still_open(of_one)
    for record in _tail(consumer, topology.policy_changelog(models[0].pipeline, prefix).name, 1_000):
        state = _decoded(decode_state, record)
        if state is not None and state.pipeline in by_name:
            by_name[state.pipeline].policy = state
    for one in models:
        for request, verb in (one.policy.waiting if one.policy else {}).items():
            decision = one.policy.decisions.get(request) if one.policy else None
            one.waiting[request] = f"{verb}: {decision.why}" if decision else verb


def _decoded(decode: Any, record: Record) -> Any:
    try:
        return decode(record.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
