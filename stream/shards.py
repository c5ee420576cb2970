"""Learning in shards: which shard an event belongs to, and what one shard of a pipeline is.

Laws of this file:
- A shard is a partition of the samples log. The value of an event's `shard_by` field says which: Kafka's own hash of its text, so
  whoever partitions a topic by that field agrees. Null belongs to shard 0.
- A label goes where its sample went. It can: the definition was refused otherwise (`definition_checks.check_shards`).
- A shard's pipeline is the pipeline under the shard's name. Its recipe is the whole pipeline's, and its share of the false-alarm
  budget one part in `shards`. Where there is one shard, it is the pipeline itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from penstock.stream import topology
from penstock.stream.definition_checks import shard_field_of_labels
from penstock.stream.definitions import DefinitionError, Pipeline, Source
from penstock.stream.log.protocol import Log, Out, partition_for
from penstock.stream.log.shards import ShardLog


def shard_field(pipeline: Pipeline, source: Source) -> str | None:
    """The field of a source's events that says which shard they belong to; None where they belong to none by themselves."""
    if pipeline.shards == 1 or pipeline.shard_by is None:
        return None
    if source == pipeline.predict:
        return pipeline.shard_by
    if source == pipeline.label.source:
        return shard_field_of_labels(pipeline.shard_by, pipeline.predict, pipeline.label, pipeline.views)
    return None


def shard_of_value(value: Any, shards: int) -> int:
    """The shard of an event with this value in its field, out of so many.

    >>> shard_of_value("UA", 8), shard_of_value(7, 8) == shard_of_value("7", 8), shard_of_value(None, 8)
    (2, True, 0)
    """
    return 0 if value is None else partition_for(str(value).encode(errors="surrogatepass"), shards)


class Shards:
    """Which shard the events of each source of a pipeline belong to, by the source's place among them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.number = pipeline.shards
        self.fields = [shard_field(pipeline, source) for source in pipeline.sources]

    def of(self, source: int, event: Mapping[str, Any]) -> int | None:
        """The shard of an event; None where it belongs to none by itself."""
        field = self.fields[source]
        return None if field is None else shard_of_value(event[field], self.number)


def to_every_shard(pipeline: Pipeline, entry: bytes, prefix: str = "") -> list[Out]:
    """The records of an entry that every fold of a pipeline reads."""
    topic = topology.samples(pipeline.name, prefix)
    return [Out(topic, None, entry, (), shard) for shard in range(pipeline.shards)]


def of_shard(pipeline: Pipeline, number: int) -> Pipeline:
    """The pipeline as one shard of it has it. Raises `DefinitionError` for a shard that there is not."""
    if not 0 <= number < pipeline.shards:
        raise DefinitionError(
            f"{pipeline.name!r} has no shard {number}: its shards are 0 to {pipeline.shards - 1}"
            if pipeline.shards > 1
            else f"{pipeline.name!r} learns in one piece: it has no shard {number}"
        )
    if pipeline.shards == 1:
        return pipeline
    digest, one = pipeline.digest, copy.copy(pipeline)
    changed = {
        "name": topology.shard_name(pipeline.name, number),
        "alarms_per_year": pipeline.alarms_per_year / pipeline.shards,
        "_digest": digest,
    }
    for name, value in changed.items():
        object.__setattr__(one, name, value)
    return one


def log_of(log: Log, pipeline: Pipeline, prefix: str = "") -> Log:
    """The log as this pipeline has it, which may be a shard (`of_shard`): then the samples log is that shard's."""
    if topology.whole(pipeline.name) == pipeline.name:
        return log
    return ShardLog(log, topology.shared_out(pipeline.name, prefix), topology.shard_of(pipeline.name))


def log_by_name(log: Log, name: str, prefix: str = "") -> Log:
    """The log as a pipeline, or a shard of one, of this name has it, whose shards are asked of the log.

    Raises `DefinitionError` for a pipeline that learns in shards, since one of them must be meant, and for a shard it has not.
    """
    whole, topic = topology.whole(name), topology.samples(name, prefix)
    shards = log.partitions(topic)
    if whole == name:
        if shards > 1:
            raise DefinitionError(
                f"{name!r} learns in {shards} shards, each with samples and a model of its own: say which, such as "
                f"{topology.shard_name(name, 0)!r}"
            )
        return log
    number = topology.shard_of(name)
    if shards == 1 or number >= shards:
        raise DefinitionError(f"{whole!r} has no shard {number}: {topic!r} has {shards} partitions")
    return ShardLog(log, topology.shared_out(name, prefix), number)


def names_of(pipeline: Pipeline) -> list[str]:
    """What control events and keys in Redis call the models of a pipeline: its own name, or those of its shards."""
    return [of_shard(pipeline, number).name for number in range(pipeline.shards)]


def check_one(pipeline: Pipeline, what: str) -> None:
    """Refuse a pipeline that learns in shards where one model is meant; `what` begins the sentence."""
    if pipeline.shards > 1:
        raise DefinitionError(
            f"{what} one model, and {pipeline.name!r} has one in each of its {pipeline.shards} shards: that is not supported "
            "with shards"
        )


def check_partitions(pipeline: Pipeline, log: Log, prefix: str = "") -> None:
    """Refuse a samples log with another number of partitions than the definition has shards. Raises `DefinitionError`."""
    for topic in (
        topology.shared_out(pipeline.name, prefix)
        if pipeline.shards > 1
        else (topology.samples(pipeline.name, prefix),)
    ):
        if (found := log.partitions(topic)) == pipeline.shards:
            continue
        raise DefinitionError(
            f"{topic!r} has {found} partition{'s' if found > 1 else ''} and the definition says shards={pipeline.shards}: the "
            f"number of shards cannot change while samples are kept. Restore it, give the changed pipeline another name, or "
            f"start over with `penstock reset FILE`"
        )
