"""The topics Penstock owns, as data: name, partitions, retention, message. Users own their source topics.

Laws of this file:
- A pipeline's topics are `<prefix><pipeline>.<part>`; control topics are shared by all pipelines and keyed by pipeline name.
- Everything that belongs to one pipeline of one deployment (its topics, groups, members, keys in Redis, version files) is named
  by `deployed`: two deployments with different prefixes share nothing.
- The samples log has one partition, or one for each shard: its order is the order in which a model changed.
- A shard of a pipeline is named as a pipeline is, by the pipeline's name, a dot and its number (`flights.3`), which no pipeline
  can have. Keys in Redis, versions and control events are the shard's own, by that name; topics and groups are the pipeline's.
"""

from __future__ import annotations

from typing import NamedTuple

KEEP_ALL = "-1"
DAYS_30 = str(30 * 86_400_000)


class Topic(NamedTuple):
    """One topic to create: `config` holds Kafka's own names and values."""

    name: str
    partitions: int
    config: dict[str, str]
    holds: str


CONTROL_RETRAIN = "control.retrain"
CONTROL_ROLLBACK = "control.rollback"
CONTROL_ALERTS = "control.alerts"
CONTROL_MODELS = "control.models"
CONTROL_COMMANDS = "control.commands"
CONTROL_DECISIONS = "control.decisions"
CONTROL_READS = (CONTROL_MODELS, CONTROL_COMMANDS, CONTROL_RETRAIN, CONTROL_ROLLBACK, CONTROL_ALERTS)
CONTROL_ALL = (*CONTROL_READS, CONTROL_DECISIONS)
EVENT_TOPICS = {
    "retrain": CONTROL_RETRAIN,
    "rollback": CONTROL_ROLLBACK,
    "promote": CONTROL_ALERTS,
    "hold": CONTROL_ALERTS,
    "alert": CONTROL_ALERTS,
    "warn": CONTROL_ALERTS,
    "note": CONTROL_ALERTS,
    "summary": CONTROL_ALERTS,
}
"""Where an event is told, by what was found to be done."""
ACTION_TOPICS: dict[str, tuple[str, ...]] = {
    "retrain": (CONTROL_RETRAIN,),
    "rollback": (CONTROL_ROLLBACK,),
    "promote": (CONTROL_RETRAIN, CONTROL_ALERTS),
}
"""Where control takes an action from. A retrain whose model is there already is a promotion."""

ROLES = ("featurize", "learn", "control", "challenge")
"""The roles that have a consumer group."""

EVENT_HEADERS = (("content-type", b"application/cloudevents+json"),)
"""What a record with a control event carries, so that any CloudEvents client knows it for structured mode."""


def deployed(pipeline: str, prefix: str = "") -> str:
    """The name of a pipeline where several deployments share servers: the deployment's prefix before its own name."""
    return f"{prefix}{pipeline}"


def shard_name(pipeline: str, number: int) -> str:
    """The name of one shard of a pipeline that has several.

    >>> shard_name("flights", 3)
    'flights.3'
    """
    return f"{pipeline}.{number}"


def whole(name: str) -> str:
    """The pipeline that a name is of, which may be one of its shards.

    >>> whole("flights.3"), whole("flights")
    ('flights', 'flights')
    """
    return name.partition(".")[0]


def shard_of(name: str) -> int:
    """The partition of the samples log that belongs to a pipeline, or to a shard of one; 0 for a name that nobody has.

    >>> shard_of("flights.3"), shard_of("flights")
    (3, 0)
    """
    number = name.partition(".")[2]
    return int(number) if number.isdecimal() and number.isascii() else 0


def samples(pipeline: str, prefix: str = "") -> str:
    """The ordered log of everything that ever changed the model."""
    return f"{deployed(whole(pipeline), prefix)}.samples"


def predictions(pipeline: str, prefix: str = "") -> str:
    """One JSON prediction per sample."""
    return f"{deployed(whole(pipeline), prefix)}.predictions"


def history(pipeline: str, prefix: str = "") -> str:
    """How the pipeline did: a record per block of labels, and per hour of event time."""
    return f"{deployed(whole(pipeline), prefix)}.history"


def dead_letters(pipeline: str, prefix: str = "") -> str:
    """Records that could not be used, with their original bytes and the reason in headers."""
    return f"{deployed(whole(pipeline), prefix)}.dead-letters"


def policy_changelog(pipeline: str, prefix: str = "") -> Topic:
    """What the control role remembers; it makes the topic itself, by Faust's naming."""
    name = f"{consumer_group(pipeline, 'control', prefix)}-policy-changelog"
    return Topic(name, 1, {"cleanup.policy": "compact"}, "PolicyState, JSON")


def consumer_group(pipeline: str, role: str, prefix: str = "") -> str:
    """The consumer group of a role: `featurize`, `learn` or `control`."""
    return f"{prefix}{whole(pipeline)}.{role}"


def flink_transactions(pipeline: str, prefix: str = "") -> str:
    """What the transactional ids of a job on Flink begin with."""
    return f"{deployed(pipeline, prefix)}.flink"


def shared_out(pipeline: str, prefix: str = "") -> tuple[str, str]:
    """The topics with a partition for each shard, the samples log first."""
    return samples(pipeline, prefix), predictions(pipeline, prefix)


def reader_groups(client_id: str) -> str:
    """What the names of groups begin with that readers ask under who belong to none."""
    return f"{client_id}-reader-"


def owned(pipeline: str, prefix: str = "", shards: int = 1) -> list[Topic]:
    """Every topic Penstock writes for one pipeline, the shared control topics among them."""
    kept = {"retention.ms": KEEP_ALL, "cleanup.policy": "delete"}
    audit = {"retention.ms": KEEP_ALL, "cleanup.policy": "delete"}
    month = {"retention.ms": DAYS_30, "cleanup.policy": "delete"}
    compacted = {"cleanup.policy": "compact"}
    return [
        Topic(
            samples(pipeline, prefix), shards, kept, "Recipe | Sample | Label | Tick | Command, MessagePack"
        ),
        Topic(predictions(pipeline, prefix), shards, month, "Prediction, JSON, keyed by entity"),
        Topic(
            history(pipeline, prefix),
            1,
            kept,
            "HistoryRecord: losses, weights, episodes and counts by block of labels and by hour",
        ),
        Topic(
            dead_letters(pipeline, prefix),
            1,
            month,
            "the original bytes; reason, topic, partition, offset in headers",
        ),
        Topic(
            prefix + CONTROL_RETRAIN,
            1,
            audit,
            "CloudEvents: a retrain is asked for, or that a fresh model be committed",
        ),
        Topic(
            prefix + CONTROL_ROLLBACK,
            1,
            audit,
            "CloudEvents: it is asked for that a model of before be committed",
        ),
        Topic(
            prefix + CONTROL_ALERTS,
            1,
            audit,
            "CloudEvents: broken data, holds, promotions, notes, sources that are mostly dead letters",
        ),
        Topic(
            prefix + CONTROL_MODELS,
            1,
            compacted,
            "LiveModel: which models are live, with their weights, and why",
        ),
        Topic(prefix + CONTROL_COMMANDS, 1, audit, "OperatorRequest: what people ask for"),
        Topic(prefix + CONTROL_DECISIONS, 1, audit, "Decision: what was decided on each request, and why"),
    ]
