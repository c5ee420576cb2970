"""What bringing a changed definition over takes: the real offsets and entities, times what a slice of the real records took.

Laws of this file:
- Arithmetic alone. Records are those that `penstock backfill` will read, views those that it will build and convert.
- Seconds are of CPU on the machine that asks, of the process and of both servers: so much by the clock where nobody else works.
  Bytes are Redis' before replicas and its append-only file, with its own overhead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from penstock.features.engine.change import ViewChange
from penstock.stream.plan import constants as one
from penstock.stream.recipes import Changes
from penstock.stream.sizing.constants import REDIS_KEY_BYTES

MIB = 2**20


class Stored(NamedTuple):
    """What Redis holds of one view now: its entities, and the mean bytes of a state and of a document, names included."""

    entities: int = 0
    state_bytes: float = 0.0
    document_bytes: float = 0.0


@dataclass(frozen=True)
class Tried:
    """What a slice of the real records took when it was built as a backfill builds it, in memory.

    `seconds` of CPU for `records`, and `saved` states sent. By view: bytes of a state and a document with the names of their
    keys, and how many entities there seem to be in all. `rejected` counts by reason what would be dead letters.
    """

    records: int = 0
    seconds: float = 0.0
    saved: int = 0
    state_bytes: Mapping[str, float] = field(default_factory=dict)
    document_bytes: Mapping[str, float] = field(default_factory=dict)
    entities: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)


class Folded(NamedTuple):
    """What learn would fold again: `entries` of the samples log, and the CPU us of one, tried on the first of them."""

    entries: int = 0
    us: float = 0.0


@dataclass(frozen=True)
class Cost:
    """What a change takes.

    `records` by topic are read again in about `seconds`, while features go on but for `stands_still_s`. `states` are converted or
    built. Of the changed views Redis holds `bytes_now`, will hold `bytes_then`, and at most `bytes_meanwhile` more until the
    former ones are deleted. Learn folds `entries` again in about `fold_s`. `tried` records were tried for this; `rejected` of
    them are dead letters under the new definition, by reason.
    """

    records: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stands_still_s: float = 0.0
    states: int = 0
    bytes_meanwhile: int = 0
    bytes_now: int = 0
    bytes_then: int = 0
    entries: int = 0
    fold_s: float = 0.0
    tried: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Records of all topics."""
        return sum(self.records.values())

    def as_json(self) -> dict[str, Any]:
        """As a flat object."""
        return {
            "records": self.total,
            "records_by_topic": dict(self.records),
            "seconds": round(self.seconds, 2),
            "stands_still_seconds": round(self.stands_still_s, 2),
            "states": self.states,
            "redis_bytes_meanwhile": self.bytes_meanwhile,
            "redis_bytes_now": self.bytes_now,
            "redis_bytes_then": self.bytes_then,
            "samples_folded_again": self.entries,
            "fold_seconds": round(self.fold_s, 2),
            "records_tried": self.tried,
            "dead_letters_of_tried": dict(self.rejected),
        }


def cost_of(
    found: Changes,
    records: Mapping[str, int],
    stored: Mapping[str, Stored],
    tried: Tried,
    folded: Folded,
    tasks: int,
) -> Cost:
    """What these changes take: so many `records` by topic to build from, in so many `tasks`, beside what is `stored` by view."""
    reads = sum(records.values())
    build_s = 0.0
    if tried.records and reads:
        each_us = 1e6 * tried.seconds / tried.records + one.SAVED_US * tried.saved / tried.records
        build_s = reads * each_us / 1e6 + tasks * one.BUILT_S
    states = sum(_states(change, stored, tried) for change in found.views)
    convert_s = states * one.CONVERTED_US / 1e6
    moves = bool(found.views or found.others)
    return Cost(
        dict(records),
        one.ONCE_S + build_s + convert_s if moves else 0.0,
        one.ONCE_S + convert_s if moves else 0.0,
        states,
        round(sum(_meanwhile(change, stored, tried) for change in found.views)),
        round(sum(_now(change, stored) for change in found.views)),
        round(sum(_then(change, stored, tried) for change in found.views)),
        folded.entries,
        folded.entries * folded.us / 1e6,
        tried.records,
        dict(tried.rejected),
    )


def _states(change: ViewChange, stored: Mapping[str, Stored], tried: Tried) -> int:
    """How many entities the view has under its new version: those that are kept, and those that the topic alone knows."""
    if change.new is None:
        return 0
    there = stored.get(change.name, Stored()).entities if change.old is not None else 0
    return max(there, tried.entities.get(change.name, 0) if change.rebuilt else 0, 0)


def _meanwhile(change: ViewChange, stored: Mapping[str, Stored], tried: Tried) -> float:
    """Bytes beside the former ones at the moment of the switch: what was built, next states, and documents that hold both."""
    states = _states(change, stored, tried)
    if change.new is None:
        return 0.0
    state = tried.state_bytes.get(change.name, 0.0) + REDIS_KEY_BYTES
    document = tried.document_bytes.get(change.name, 0.0) + (REDIS_KEY_BYTES if change.old is None else 0)
    return states * (state * (2 if change.rebuilt else 1) + document)


def _now(change: ViewChange, stored: Mapping[str, Stored]) -> float:
    """Bytes of the former version."""
    was = stored.get(change.name, Stored())
    return was.entities * (was.state_bytes + was.document_bytes + 2 * REDIS_KEY_BYTES)


def _then(change: ViewChange, stored: Mapping[str, Stored], tried: Tried) -> float:
    """Bytes of the new version."""
    if change.new is None:
        return 0.0
    each = tried.state_bytes.get(change.name, 0.0) + tried.document_bytes.get(change.name, 0.0)
    return _states(change, stored, tried) * (each + 2 * REDIS_KEY_BYTES)
