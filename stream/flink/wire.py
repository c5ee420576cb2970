"""What the operators of a job say to each other, as MessagePack.

Laws of this file:
- Whoever reads a partition says everything about it in order on every way, so what stands behind a `Moved` has not yet been said.
- An item's values are numbers, text, lists and null: what an engine gives, bit for bit.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.stream.flink.order import Head, Place
from penstock.stream.log.protocol import Headers, Out


class Moved(msgspec.Struct, frozen=True, array_like=True, tag="moved"):
    """How far one partition was read: its newest event time, and whether nothing more was there."""

    head: Head
    newest_at: int
    at_end: bool


class Fed(msgspec.Struct, frozen=True, array_like=True, tag="fed"):
    """One event for the views of one shard: which, by place in the definition, with the entity of each in it.

    `event` has the fields that these views compute with.
    """

    place: Place
    at: int
    tie: int
    event: dict[str, Any]
    views: list[tuple[int, str]]


class Announced(msgspec.Struct, frozen=True, array_like=True, tag="announced"):
    """What one item gives besides its features: the outputs, and from how many shards parts of its sample's vector come.

    Where `sampled`, the first of `entries` is the sample, its vector holding the event's own inputs. `reason` is why the record
    was buried, `letter` then its dead letter; `recorded_ms` is the record's own time in Kafka.
    """

    place: Place
    at: int
    recorded_ms: int
    entries: list[bytes]
    sampled: bool = False
    parts: int = 0
    reason: str | None = None
    letter: tuple[str, bytes | None, bytes | None, Headers] | None = None


class Parts(msgspec.Struct, frozen=True, array_like=True, tag="parts"):
    """The parts of samples' vectors that one shard computed: the item's place and, by view, its values."""

    parts: list[tuple[Place, list[tuple[int, list[Any]]]]]


ToShard = Fed | Moved
ToSamples = Announced | Parts | Moved
encode = msgspec.msgpack.Encoder().encode
decode_to_shard = msgspec.msgpack.Decoder(ToShard).decode
decode_to_samples = msgspec.msgpack.Decoder(ToSamples).decode


def letter_of(out: Out) -> tuple[str, bytes | None, bytes | None, Headers]:
    """A dead letter as an `Announced` has it; it goes to partition 0."""
    return out.topic, out.key, out.value, out.headers
