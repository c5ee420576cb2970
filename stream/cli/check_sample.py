"""What `penstock check --sample` says about a topic's newest records, for people and for programs.

Laws of this file:
- Pure. Every line that calls something wrong says what to do about it.
"""

from __future__ import annotations

from typing import Any

from penstock.stream.messages import rfc3339
from penstock.stream.operate.sampling import Judged
from penstock.stream.process.terminal import printable

MOST_REASONS = 8


def as_json(found: Judged) -> dict[str, Any]:
    """One topic for programs."""
    counted = {name: dict(getattr(found, name)) for name in ("dead", "units", "schemas")}
    return {**vars(found), **counted, "wrong": found.wrong}


def as_text(found: Judged, key: str, *, partitioned: bool) -> list[str]:
    """One topic in lines; `key` names the declared key field."""
    head = f"sample    {found.topic}: the newest {found.records:,} records of {found.partitions} partitions"
    if not found.records:
        return [f"{head}: it is empty"]
    times = ""
    if found.first_at is not None and found.last_at is not None:
        times = f", event times {rfc3339(found.first_at)} to {rfc3339(found.last_at)}"
    lines = [head + times]
    if found.schemas:
        said = ", ".join(f"{number} × {count:,}" for number, count in sorted(found.schemas.items()))
        lines.append(f"  schemas by id: {said}")
    if found.ignored:
        lines.append(
            f"  {found.ignored:,} say nothing, by agreement: tombstones, or changes that are about no row"
        )
    lines += _dead(found) + _places(found, key, partitioned=partitioned) + _times(found)
    if not found.wrong:
        lines.append("  all right: types, times, keys and partitions")
    return lines


def _dead(found: Judged) -> list[str]:
    if not found.dead:
        return []
    count = found.dead.total()
    lines = [f"  WRONG  {count:,} of {found.records:,} ({count / found.records:.1%}) would be dead letters:"]
    for kind, number in found.dead.most_common(MOST_REASONS):
        lines.append(f"         {number:,} ×  {printable(found.examples[kind])}")
    return lines


def _places(found: Judged, key: str, *, partitioned: bool) -> list[str]:
    lines = []
    if found.other_key:
        none = f" ({found.keyless:,} have none)" if found.keyless else ""
        lines.append(
            f"  WRONG  the key of {found.other_key:,} records is not their {key!r}{none}: "
            "publish with that field as the record's key"
        )
    if found.other_partition:
        why = "partition by key with murmur2 (partitioner=murmur2_random in librdkafka and its wrappers)"
        if found.by_crc32 == found.other_partition:
            why = "they lie where librdkafka's default, crc32, puts them: set partitioner=murmur2_random"
        lines.append(
            f"  WRONG  {found.other_partition:,} records lie in another partition than murmur2 of {key!r} gives: {why}"
        )
        matters = (
            "one entity's events are counted apart"
            if partitioned
            else "their order within an entity is chance"
        )
        lines.append(f"         until then {matters}")
    return lines


def _times(found: Judged) -> list[str]:
    return [
        f"  WRONG  {count:,} event times look like {unit}: write milliseconds since 1970, or RFC 3339"
        for unit, count in found.units.items()
    ]
