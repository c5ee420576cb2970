"""Takes away everything a pipeline ever made, so that it starts over from its sources' start.

Laws of this file:
- The consumer groups go first, and the broker itself refuses that while one has members: nothing is taken from
  under a running role.
- Run again it finishes what an interrupted one began, and on a pipeline that is gone it changes nothing.
- Source topics and the control topics, which all pipelines share, are left alone. The control role's memory is
  replaced by one that knows nothing and reads on where the control topics end: what was asked of the old model
  must not be done to the new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import fsspec
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from penstock.features.redis.keys import live_key, model_key, private_prefix, public_key
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.refused import unusable
from penstock.features.redis.store import address
from penstock.stream.control.state import PolicyState, encode_state
from penstock.stream.control.step import READ_TOPICS
from penstock.stream.log.admin import ensure, existing
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import LogError
from penstock.stream.process.settings import Settings
from penstock.stream.topology import Topic, consumer_group, deployed, owned, policy_changelog

ROLES = ("featurize", "learn", "control", "challenge")
GONE_S = 30.0
_UNKNOWN_TOPIC = 3


def groups_of(pipeline: str, settings: Settings) -> list[str]:
    """The consumer groups of the pipeline's roles."""
    return [consumer_group(pipeline, role, settings.prefix) for role in ROLES]


def live_members(admin: KafkaAdminClient, groups: Sequence[str]) -> list[str]:
    """Who is in these groups, a line each. A worker that was stopped is in its group until its session ends."""
    return [
        f"{group}: {member['group_instance_id'] or member['client_id']} at {member['client_host'].lstrip('/')}"
        for group, found in admin.describe_groups(list(groups)).items()
        for member in found["members"]
    ]


def delete_groups(admin: KafkaAdminClient, groups: Sequence[str]) -> list[str]:
    """Delete these groups with their offsets; those that were there. Raises `LogError` for one with members."""
    deleted: list[str] = []
    for group, answer in admin.delete_groups(list(groups)).items():
        if answer == "OK":
            deleted.append(group)
        elif answer != "GroupIdNotFoundError":
            raise LogError(
                f"the broker did not delete group {group!r} ({answer}): stop the role that is in it"
            )
    return deleted


def delete_keys(client_: redis.Redis, pipeline: str) -> dict[str, int]:
    """Delete the keys of a pipeline (by its deployed name) without blocking Redis; how many there were per pattern.

    Neither a pipeline's name nor a prefix holds a character that a pattern would read as more than itself.

    Raises:
        StoreUnavailable: Redis does not answer.

    """
    server: Any = client_
    keyspace = RedisKeyspace(client_)
    deleted: dict[str, int] = {}
    try:
        for prefix in (public_key(pipeline, "", "").removesuffix(":"), private_prefix(pipeline)):
            deleted[f"{prefix}*"] = sum(keyspace.delete(batch) for batch in keyspace.scan(prefix))
        for key in (model_key(pipeline), live_key(pipeline)):
            deleted[key] = server.unlink(key)
    except redis.RedisError as error:
        raise unusable(error, address(client_), "run this again once Redis answers") from error
    return deleted


def delete_versions(folder: str, pipeline: str) -> int:
    """Delete the versions of a pipeline (by its deployed name) in a folder or fsspec URL; how many files there were."""
    if not folder:
        return 0
    files: Any = fsspec.url_to_fs(folder)[0]
    place = f"{folder.rstrip('/')}/{pipeline}"
    if not files.exists(place):
        return 0
    found = [path for path in files.ls(place, detail=False) if str(path).endswith(".model")]
    for path in found:
        files.rm_file(path)
    return len(found)


def own_topics(pipeline: str, prefix: str) -> list[Topic]:
    """The topics that belong to this pipeline alone."""
    return [
        topic for topic in owned(pipeline, prefix) if topic.name.startswith(f"{deployed(pipeline, prefix)}.")
    ]


def recreate(admin: KafkaAdminClient, wanted: Sequence[Topic]) -> list[str]:
    """Delete these topics and make them anew, empty, as they were or, where one is missing, as wanted.

    Raises:
        LogError: the broker refuses, or somebody makes one of them in between.

    """
    names = [topic.name for topic in wanted]
    asked: dict[str, dict[str, Any]] = {
        topic.name: {"num_partitions": topic.partitions, "configs": dict(topic.config)} for topic in wanted
    }
    there = {one["name"]: one for one in admin.describe_topics(names) if one["error_code"] == 0}
    if there:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
        configs = admin.describe_configs(resources)["topic"]
        for name, found in there.items():
            own = {
                key: one["value"]
                for key, one in configs[name].items()
                if one["config_source"] == "DYNAMIC_TOPIC_CONFIG"
            }
            asked[name] = {
                "num_partitions": len(found["partitions"]),
                "replication_factor": len(found["partitions"][0]["replica_nodes"]),
                "configs": own,
            }
        for one in admin.delete_topics(list(there), raise_errors=False)["topics"]:
            if one["error_code"] not in (0, _UNKNOWN_TOPIC):
                raise LogError(f"the broker did not delete topic {one['name']!r}: {one['error_message']}")
    deadline_s = time.monotonic() + GONE_S
    while existing(admin, names):
        if time.monotonic() > deadline_s:
            raise LogError(
                f"{', '.join(existing(admin, names))}: deleted, and still there after {GONE_S:g} s"
            )
        time.sleep(0.1)
    for one in admin.create_topics(asked, raise_errors=False, wait_for_metadata=True)["topics"]:
        if one["error_code"] != 0:
            raise LogError(
                f"topic {one['name']!r} is deleted and was not made anew: {one['error_message']}; "
                "`penstock topics FILE` makes it"
            )
    return names


def forget_decisions(settings: Settings, pipeline: str) -> bool:
    """Give the control role an empty memory that begins where the control topics end; False without such topics."""
    read = [settings.prefix + topic for topic in READ_TOPICS]
    changelog = policy_changelog(pipeline, settings.prefix)
    more = {"enable_auto_commit": False, "allow_auto_create_topics": False}
    with client(KafkaAdminClient, settings) as admin, client(KafkaConsumer, settings, **more) as consumer:
        there = list(existing(admin, read))
        if not there:
            return False
        ends = consumer.end_offsets([TopicPartition(topic, 0) for topic in there])
        state = PolicyState(pipeline, positions={tp.topic: offset for tp, offset in ends.items()})
        ensure(admin, [changelog])
    with client(KafkaProducer, settings) as producer:
        sent = producer.send(changelog.name, key=pipeline.encode(), value=encode_state(state), partition=0)
        sent.get(settings.connect_timeout_s)
    return True


def record_counts(settings: Settings, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(start, end) offsets summed over the partitions of those of these topics that exist."""
    more = {"enable_auto_commit": False, "allow_auto_create_topics": False}
    with client(KafkaAdminClient, settings) as admin, client(KafkaConsumer, settings, **more) as consumer:
        tps = [
            TopicPartition(name, partition)
            for name, partitions in existing(admin, names).items()
            for partition in range(partitions)
        ]
        low, high = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
    found: dict[str, tuple[int, int]] = {}
    for tp in tps:
        start, end = found.get(tp.topic, (0, 0))
        found[tp.topic] = (start + low[tp], end + high[tp])
    return found


def wait_until_empty(
    admin: KafkaAdminClient, groups: Sequence[str], wait_s: float, say: Callable[[str], None]
) -> None:
    """Wait for stopped workers' sessions to end. Raises `LogError`, naming who is left, after `wait_s`."""
    deadline_s = time.monotonic() + wait_s
    told = False
    while members := live_members(admin, groups):
        if time.monotonic() >= deadline_s:
            raise LogError(
                f"the pipeline runs: {'; '.join(members)}. Stop its roles first "
                "(one that was killed counts until its session ends, about 10 s)"
            )
        if not told:
            say(f"waiting up to {wait_s:g} s for {'; '.join(members)} to leave")
            told = True
        time.sleep(0.2)
