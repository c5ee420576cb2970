"""Before a job is submitted: may it run, and does the samples log say under which definition?

Laws of this file:
- A pipeline is featurized by one kind of worker: where featurize workers keep state, no job begins.
- The recipe stands in the samples log before anything that was computed under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.features.redis.keys import began_key, definition_key, live_key, position_key
from penstock.features.redis.keyspace import Keyspace
from penstock.stream import topology
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize.position import TopicRecreated
from penstock.stream.flink.order import Head
from penstock.stream.log.protocol import Log, Out
from penstock.stream.messages import encode_entry
from penstock.stream.recipes import changes, definition_document, live_document, recipe_of


class Began(msgspec.Struct):
    """What a job that keeps state was begun with, as Redis has it."""

    shards: int
    partitions: int
    checkpoints: str
    topic_ids: dict[str, str]


def check_no_job(keyspace: Keyspace, deployed: str) -> None:
    """Refuse featurize workers of a pipeline that a job keeps the state of: both would append its samples."""
    if keyspace.read([began_key(deployed)]) != [None]:
        raise DefinitionError(
            f"{deployed!r} is featurized by a Flink job: stop it, and `penstock reset FILE` starts over with featurize workers"
        )


def heads_of(pipeline: Pipeline, log: Log) -> tuple[Head, ...]:
    """Every source partition. Raises `DefinitionError` where the sources have not equally many."""
    counts = {source.name: log.partitions(source.name) for source in pipeline.sources}
    if len(set(counts.values())) > 1:
        raise DefinitionError(
            f"sources must have equal partition counts, these have {counts}: recreate the smaller topic"
        )
    return tuple((s, n) for s, source in enumerate(pipeline.sources) for n in range(counts[source.name]))


def check(pipeline: Pipeline, stored: Mapping[str, Any], heads: tuple[Head, ...], prefix: str) -> None:
    """Refuse a pipeline that featurize workers keep state of, or that Flink keeps under another definition.

    `stored` gives what Redis has by key.
    """
    name = topology.deployed(pipeline.name, prefix)
    tasks = ["all", *(str(partition) for source, partition in heads if source == 0)]
    if any(stored.get(position_key(name, task)) is not None for task in tasks):
        raise DefinitionError(
            f"featurize workers keep the state of {name!r} in Redis: stop them, and `penstock reset FILE` starts over with Flink"
        )
    said = stored.get(definition_key(name, "all"))
    if said is not None:
        found = changes(msgspec.json.decode(said), pipeline)
        if found.views or found.others:
            raise DefinitionError(
                f"the definition of {name!r} changed since its job began ({'; '.join(found.lines())}): give it the former "
                f"one, or stop the job, `penstock reset FILE`, remove its checkpoints and start over"
            )


def check_going_on(said: bytes | None, now: Began, start_from: str, *, asked: bool) -> None:
    """Refuse to go on from a checkpoint of another life. `said` is the stored `Began`, `asked` whether that one was asked for."""
    if not start_from:
        return
    if said is None:
        if not asked:
            raise DefinitionError(
                f"Redis knows nothing of the job that the checkpoint {start_from} is of: it was reset, or Redis lost it. Remove "
                f"the checkpoints to start over, or say --start-from to go on all the same"
            )
        return
    began = msgspec.json.decode(said, type=Began)
    if began.shards != now.shards:
        raise DefinitionError(
            f"the checkpoint {start_from} has its state in {began.shards} shards: say --shards {began.shards}, or start over "
            f"without that checkpoint"
        )
    if began.partitions != now.partitions:
        raise DefinitionError(
            f"the sources have {now.partitions} partitions each, and had {began.partitions} when the job of the checkpoint "
            f"{start_from} began: their keys lie elsewhere now. Start over: `penstock reset FILE`, without that checkpoint"
        )
    for topic, topic_id in began.topic_ids.items():
        if now.topic_ids.get(topic) != topic_id:
            raise TopicRecreated(topic)


def open_lineage(pipeline: Pipeline, log: Log, client: Any, began: Began, prefix: str) -> None:
    """Say under which definition samples and features come, where that is not said yet."""
    name, topic = topology.deployed(pipeline.name, prefix), topology.samples(pipeline.name, prefix)
    document, said = definition_document(pipeline), client.get(definition_key(name, "all"))
    if said != document or log.bounds([(topic, 0)])[(topic, 0)][1] == 0:
        log.append([Out(topic, None, encode_entry(recipe_of(pipeline)), (), 0)])
    client.mset(
        {
            definition_key(name, "all"): document,
            live_key(name): live_document(pipeline),
            began_key(name): msgspec.json.encode(began),
        }
    )


def keys_of(pipeline: Pipeline, heads: tuple[Head, ...], prefix: str) -> list[str]:
    """What `check` asks of Redis."""
    name = topology.deployed(pipeline.name, prefix)
    tasks = ["all", *(str(partition) for source, partition in heads if source == 0)]
    return [*(position_key(name, task) for task in tasks), definition_key(name, "all"), began_key(name)]


def newest_checkpoint(folder: Path) -> str:
    """The newest whole checkpoint under a job's folder of checkpoints, as a URI; empty if there is none."""
    whole = [path.parent for path in folder.glob("*/chk-*/_metadata")]
    newest = max(whole, key=lambda path: (path / "_metadata").stat().st_mtime, default=None)
    return "" if newest is None else newest.absolute().as_uri()
