"""What a stored version is called in another registry: what it is found by, its aliases, its lineage as tags, its losses.

Laws of this file:
- Pure. A named copy is what was named, there: the same version under one more alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.stream.messages import rfc3339
from penstock.stream.models.version import CHAMPION, NAMED, PREVIOUS, Version

MOST_TAG_CHARACTERS = 4_000


class Key(NamedTuple):
    """What a registered version is found by."""

    version: str
    digest: str


def order(version: Version) -> tuple[int, bool, str]:
    """Oldest first, and what was named before its named copy, which is registered as the same."""
    return (version.position, version.id.startswith(NAMED), version.id)


def key_of(version: Version) -> Key:
    """The id and digest that it is registered under; a named copy under those of what was named."""
    is_copy = version.id.startswith(NAMED) and version.parent is not None
    return Key((version.parent if is_copy else None) or version.id, version.digest)


def wanted_aliases(stored: Mapping[str, Version], live: Mapping[str, Any]) -> dict[str, Key]:
    """Every alias that Penstock sets, with the version it means; one that means nothing stored is left out."""
    ids = {CHAMPION: live.get("committed"), PREVIOUS: live.get("previous")}
    found = {alias: key_of(stored[meant]) for alias, meant in ids.items() if meant and meant in stored}
    names = {one.id.removeprefix(NAMED): key_of(one) for one in stored.values() if one.id.startswith(NAMED)}
    return {**names, **found}


def tags_of(version: Version) -> dict[str, str]:
    """A version's lineage as tags."""
    key = key_of(version)
    given = {
        "version": key.version,
        "digest": key.digest,
        "pipeline": version.pipeline,
        "kind": version.kind,
        "reason": version.why,
        "author": version.author,
        "recipe": version.recipe,
        "parent": version.parent if key.version == version.id else None,
        "position": version.position,
        "learned_from": version.learned_from,
        "join_from": version.join_from,
        "born": rfc3339(version.at),
        "labels_learned": version.labels,
        "python": version.python,
        "river": version.river,
        "penstock": version.penstock,
    }
    return {
        f"penstock.{name}": str(value)[:MOST_TAG_CHARACTERS]
        for name, value in given.items()
        if value is not None and value != ""
    }


def metrics_of(version: Version) -> dict[str, float]:
    """A version's losses, in nats, and the number of labels they are means over; none where none was judged."""
    measured = version.measured
    if measured is None:
        return {}
    numbers = {
        "log_loss": measured.loss,
        "base_log_loss": measured.base_loss,
        "labels": float(measured.labels),
    }
    return numbers if measured.live_loss is None else {**numbers, "live_log_loss": measured.live_loss}
