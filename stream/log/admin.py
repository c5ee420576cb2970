"""Creates topics, and says how those that exist differ from what is wanted. It never changes one that exists.

Laws of this file:
- `ensure` run twice creates nothing the second time.
- What differs is a line with the topic, the setting, what is there and what is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from penstock.stream.log.protocol import LogError
from penstock.stream.topology import Topic

_TOPIC_EXISTS = 36
MISSING = "does not exist"


class Ensured(NamedTuple):
    """What became of the wanted topics."""

    created: list[str]
    existed: list[str]
    differences: list[str]


def ensure(admin: KafkaAdminClient, wanted: Sequence[Topic], *, create: bool = True) -> Ensured:
    """Create those of `wanted` that do not exist (without `create`, list them as missing), compare the others.

    Raises `LogError` when the broker refuses to create one.
    """
    found = existing(admin, [topic.name for topic in wanted])
    missing = [topic for topic in wanted if topic.name not in found]
    differences = compare(admin, [topic for topic in wanted if topic.name in found], found)
    created: list[str] = []
    if not create:
        differences += [f"{topic.name}: {MISSING}" for topic in missing]
    elif missing:
        asked = {
            topic.name: {"num_partitions": topic.partitions, "configs": dict(topic.config)}
            for topic in missing
        }
        answer = admin.create_topics(asked, raise_errors=False, wait_for_metadata=True)
        for one in answer["topics"]:
            if one["error_code"] not in (0, _TOPIC_EXISTS):
                raise LogError(f"the broker did not create topic {one['name']!r}: {one['error_message']}")
        created = [one["name"] for one in answer["topics"] if one["error_code"] == 0]
        # Somebody else was quicker: theirs is compared like any other.
        late = existing(admin, [topic.name for topic in missing if topic.name not in created])
        differences += compare(admin, [topic for topic in missing if topic.name in late], late)
        found = {**found, **late}
    return Ensured(created, sorted(found), differences)


def existing(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """The partition counts of those of `names` that exist."""
    return {
        one["name"]: len(one["partitions"])
        for one in admin.describe_topics(list(names))
        if one["error_code"] == 0
    }


def compare(admin: KafkaAdminClient, wanted: Sequence[Topic], found: dict[str, int]) -> list[str]:
    """A line per difference between existing topics and what is wanted of them."""
    lines: list[str] = []
    configured = [topic for topic in wanted if topic.config]
    if configured:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in configured]
        configs: dict[str, dict[str, Any]] = admin.describe_configs(resources, config_filter="all")["topic"]
    for topic in wanted:
        if found[topic.name] != topic.partitions:
            lines.append(f"{topic.name}: has {found[topic.name]} partitions, wanted are {topic.partitions}")
        for name, value in topic.config.items():
            there = configs[topic.name].get(name, {}).get("value")
            if there != value:
                lines.append(f"{topic.name}: {name} is {there}, wanted is {value}")
    return lines
