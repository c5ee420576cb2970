"""Where keys lie in a Redis Cluster: what stands in `{…}` within a key is all that its slot is computed from.

Laws of this file:
- Everything above speaks of keys by their names on a single server (`keys`); only here and in `cluster` are there others.
- What one task owns carries `{pipeline:task}`, so that the script of a unit finds all of it in one slot, and a node that loses
  its newest writes loses them all alike. What belongs to a whole pipeline is named as on a single server.
- An entity's document lies with the task that writes it. Where that is a partition, any client computes it as Kafka's producers
  do: murmur2 of the record's key, modulo the partitions that the document `features:<pipeline>` names.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from penstock.features.partitions import partition_for

LEARN, ALL = "learn", "all"
_FOUND = re.compile(r"(penstock|features|model):\{([^{}]+)\}(?::(.*))?", re.DOTALL)


class Found(str):
    """A name as on a single server, of a key that was found `placed` in a cluster."""

    __slots__ = ("placed",)
    placed: str


def task_of(entity: str, partitions: int) -> str:
    """The task that keeps an entity (named as `keys.entity_of` does) of a pipeline with so many; 0: it has the one, `all`.

    The key of its records is the text of the key field, and of a compound key the entity's name.

    >>> task_of("N14228", 12), task_of("JFK", 0)
    ('8', 'all')
    """
    if not partitions:
        return ALL
    key = entity.encode() if "|" in entity else unquote_to_bytes(entity)
    return str(partition_for(key, partitions))


def document_of(name: str) -> tuple[str, str] | None:
    """The pipeline and the entity of a public document's name; None for any other key.

    >>> document_of("features:flights:airport:JFK"), document_of("features:flights")
    (('flights', 'JFK'), None)
    """
    parts = name.split(":", 3)
    return (parts[1], parts[3]) if len(parts) == 4 and parts[0] == "features" else None


def is_live(name: str) -> bool:
    """Whether a name is that of a pipeline's document of what is served (`keys.live_key`)."""
    return name.startswith("features:") and name.count(":") == 1


def placed(name: str, task: str = ALL) -> str:
    """The key in a cluster of what has this name on a single server; `task` is who writes an entity's document.

    >>> placed("penstock:flights:3:state:airport@0a:JFK"), placed("features:flights:airport:JFK", "3")
    ('penstock:{flights:3}:state:airport@0a:JFK', 'features:{flights:3}:airport:JFK')
    >>> placed("model:flights"), placed("features:flights"), placed("penstock:flights:versions")
    ('model:{flights:learn}', 'features:flights', 'penstock:flights:versions')
    """
    if isinstance(name, Found):
        return name.placed
    parts = name.split(":", 3)
    if parts[0] == "penstock" and len(parts) == 4:
        return f"penstock:{{{parts[1]}:{parts[2]}}}:{parts[3]}"
    if parts[0] == "features" and len(parts) == 4:
        return f"features:{{{parts[1]}:{task}}}:{parts[2]}:{parts[3]}"
    if parts[0] == "model" and len(parts) == 2 and parts[1]:
        return f"model:{{{parts[1]}:{LEARN}}}"
    return name


def found(key: str) -> str:
    """The name on a single server of what was found under this key in a cluster.

    >>> found("features:{flights:3}:airport:JFK"), found("features:{flights:3}:airport:JFK").placed
    ('features:flights:airport:JFK', 'features:{flights:3}:airport:JFK')
    """
    match = _FOUND.fullmatch(key)
    if match is None:
        return key
    head, tag, rest = match.groups()
    whole = f"{head}:{tag if head == 'penstock' else tag.rpartition(':')[0]}"
    name = Found(whole if rest is None else f"{whole}:{rest}")
    name.placed = key
    return name


def patterns(prefix: str) -> list[str]:
    """Globs of keys that together match whatever has a name with this prefix, and more: `found` says which have.

    >>> patterns("penstock:flights:3:state:"), patterns("features:flights:airport:")
    (['penstock:{flights:3}:state:*'], ['features:{flights:*}:airport:*'])
    >>> patterns("features:fl")
    ['features:fl*', 'features:{fl*']
    """
    parts = [_escaped(part) for part in prefix.split(":", 3)]
    head = parts[0]
    if head == "penstock" and len(parts) == 4:
        return [f"penstock:{{{parts[1]}:{parts[2]}}}:{parts[3]}*"]
    if head == "features" and len(parts) == 4:
        return [f"features:{{{parts[1]}:*}}:{parts[2]}:{parts[3]}*"]
    if head == "features" and len(parts) == 3:
        return [f"features:{{{parts[1]}:*}}:{parts[2]}*"]
    if head in ("penstock", "features", "model") and len(parts) > 1:
        rest = ":".join(parts[1:])
        return [f"{head}:{rest}*", f"{head}:{{{rest}*"]
    return [_escaped(prefix) + "*"]


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
