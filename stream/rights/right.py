"""Rights as data: on a topic, group or transactional id of Kafka, on keys and commands of Redis.

Laws of this file:
- A name is as the server has it: prefixes are in it, and in a pattern of keys every character stands for itself but for `*` at
  its end (`keys.pattern`) and where a task is named by a partition's number (`names`).
- Kafka's operations that follow from another are left out: Read and Write allow Describe.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

Operation = Literal["Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs"]
Access = Literal["read", "write", "both"]


class KafkaRight(msgspec.Struct, frozen=True):
    """Operations on one topic, group or transactional id; with `prefixed` on all whose names begin with `name`."""

    kind: Literal["topic", "group", "transactional-id"]
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


class KeyRight(msgspec.Struct, frozen=True):
    """Access to the keys of Redis that match a glob."""

    pattern: str
    access: Access = "both"


class Rights(NamedTuple):
    """The least rights of one user: `name` is what follows the principal's prefix, `what` says who it is for.

    `commands` are those of Redis; all are of its strings and hashes, of scripts, of transactions, and of the connection.
    """

    name: str
    what: str
    kafka: tuple[KafkaRight, ...] = ()
    keys: tuple[KeyRight, ...] = ()
    commands: tuple[str, ...] = ()


def topic(name: str, *operations: Operation) -> KafkaRight:
    """Operations on a topic."""
    return KafkaRight("topic", name, operations)


def group(name: str, *operations: Operation, prefixed: bool = False) -> KafkaRight:
    """Operations on a consumer group, or on all whose names begin so."""
    return KafkaRight("group", name, operations, prefixed)


def transactions(prefix: str, *operations: Operation) -> KafkaRight:
    """Operations on all transactional ids that begin so."""
    return KafkaRight("transactional-id", prefix, operations, prefixed=True)


def merged(rights: Iterable[KafkaRight]) -> tuple[KafkaRight, ...]:
    """The same rights, each name once, in the order in which they were first named."""
    found: dict[tuple[str, str, bool], dict[Operation, None]] = {}
    for right in rights:
        operations = found.setdefault((right.kind, right.name, right.prefixed), {})
        operations.update(dict.fromkeys(right.operations))
    return tuple(
        KafkaRight(kind, name, tuple(operations), prefixed)  # type: ignore[arg-type]
        for (kind, name, prefixed), operations in found.items()
    )


def commands(*several: tuple[str, ...]) -> tuple[str, ...]:
    """Each command once, in alphabetical order."""
    return tuple(sorted({command for one in several for command in one}))
