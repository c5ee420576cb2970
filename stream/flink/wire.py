"""What the operators of a job say to each other, as MessagePack.

Laws of this file:
- Whoever reads a partition says everything about it in order on every way, and with every batch how far it is: what stands behind
  that has not yet been said.
- An item's values are numbers, text, lists and null: what an engine gives, bit for bit.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.stream.flink.order import Head, Place
from penstock.stream.log.protocol import Headers

Letter = tuple[str, bytes | None, bytes | None, Headers]
"""A dead letter: topic, key, value and headers."""


class Fed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event for the views of one shard: which, by place in the definition, with the entity of each in it.

    `event` has the fields that these views compute with.
    """

    place: Place
    at: int
    tie: int
    event: dict[str, Any]
    views: list[tuple[int, str]]


class Announced(msgspec.Struct, frozen=True, array_like=True, gc=False):
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
    letter: Letter | None = None


class ToShard(msgspec.Struct, frozen=True, array_like=True):
    """A batch of one partition, for one shard; then how far the partition is read, and whether nothing more was there."""

    head: Head
    newest_at: int
    at_end: bool
    items: list[Fed]


class ToSamples(msgspec.Struct, frozen=True, array_like=True, tag="items"):
    """The same batch, for the samples."""

    head: Head
    newest_at: int
    at_end: bool
    items: list[Announced]


class Parts(msgspec.Struct, frozen=True, array_like=True, tag="parts"):
    """The parts of samples' vectors that one shard computed: the item's place and, by view, its values."""

    shard: int
    parts: list[tuple[Place, list[tuple[int, list[Any]]]]]


class Heard(msgspec.Struct, array_like=True):
    """How far one partition was heard of, as an operator keeps it; what is before offset `done` went on already."""

    newest_at: int = -1
    at_end: bool = False
    done: int = -1


encode = msgspec.msgpack.Encoder().encode
decode_to_shard = msgspec.msgpack.Decoder(ToShard).decode
decode_to_samples = msgspec.msgpack.Decoder(ToSamples | Parts).decode
decode_heard = msgspec.msgpack.Decoder(Heard).decode
