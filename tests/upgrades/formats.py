"""What a store's things look like: which fields of which types, whatever the values are; so that a change of a writer shows.

Laws of this file:
- The same for every Python that runs here: pickled state is told by its classes and their attributes, never by its bytes.
- States of features are the exception: their bytes are what is promised, so a digest of all of them is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.features.redis.keys import versions_key
from penstock.features.redis.memory import MemoryStateStore
from penstock.stream.learn.replica_snapshot import stored_replica
from penstock.stream.learn.snapshot import SnapshotHeader, StateUnpickler, Taken
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import BadEnvelope, open_version, unseal
from penstock.stream.roles.in_memory import SECRET
from tests.upgrades.kept import Kept, meant, opened, read
from tests.upgrades.living import Hashes, definition

Skeleton = Any
_NAME = re.compile(r"[A-Za-z_]+")


def skeleton(value: Any) -> Skeleton:
    """A decoded value without what it says: a type for what is plain, and the same of all that is in it."""
    if isinstance(value, Mapping):
        named: dict[str, list[Skeleton]] = {}
        # A key that is no name is data: the id of something, or a topic's partition.
        for key, one in value.items():
            named.setdefault(str(key) if _NAME.fullmatch(str(key)) else "*", []).append(skeleton(one))
        return {key: merged(found) for key, found in named.items()}
    if isinstance(value, list | tuple):
        return [merged([skeleton(one) for one in value])] if value else []
    return type(value).__name__


def positional(value: Any) -> Skeleton:
    """The same of a record whose fields are told by their place."""
    return (
        {f"{number}": skeleton(one) for number, one in enumerate(value)}
        if isinstance(value, list)
        else skeleton(value)
    )


def merged(found: list[Skeleton]) -> Skeleton:
    """One skeleton that has what any of these has."""
    found = [part for one in found for part in (one["any of"] if _several(one) else [one])]
    kinds = sorted({one for one in found if isinstance(one, str)})
    for_all = [one for one in found if isinstance(one, dict)]
    lists = [part for one in found if isinstance(one, list) for part in one]
    several: list[Skeleton] = list(kinds)
    if for_all:
        names = sorted({name for one in for_all for name in one})
        several.append({name: merged([one[name] for one in for_all if name in one]) for name in names})
    if lists or any(isinstance(one, list) for one in found):
        several.append([merged(lists)] if lists else [])
    return several[0] if len(several) == 1 else {"any of": several}


def _several(one: Skeleton) -> bool:
    return isinstance(one, dict) and list(one) == ["any of"]


def of_store(folder: Path) -> dict[str, Skeleton]:
    """Everything in a store."""
    found: dict[str, list[Skeleton]] = {}
    for one in sorted(folder.iterdir()):
        if one.is_dir():
            kept = opened(one, lambda: 0.0)
            for kind, told in (*_of_topics(kept), *_of_redis(one, kept)):
                found.setdefault(kind, []).append(told)
    for line in read(folder / "messages.jsonl"):
        value = meant(line["value"]) or b""
        told = {value.hex(): "bytes"} if line["kind"].endswith("avro") else _decoded(value)
        found.setdefault(f"message {line['kind']}", []).append(told)
    return {kind: merged(told) for kind, told in found.items()}


def _decoded(value: bytes) -> Skeleton:
    """Bytes that are JSON, or MessagePack."""
    if value[:1] in (b"{", b"["):
        return skeleton(json.loads(value))
    found = msgspec.msgpack.decode(value)
    return positional(found)


def _of_topics(kept: Kept) -> Iterator[tuple[str, Skeleton]]:
    """What stands in the topics that Penstock writes: by message, and the names of headers."""
    for topic, count in kept.log.topics().items():
        part = topic.partition(".")[2]
        if part in ("sent", "delivered", "paid"):
            continue
        for record in (one for number in range(count) for one in kept.log.part((topic, number)).records):
            kind = f"topic {part if not topic.startswith('control') else topic}"
            yield f"{kind}, headers", {name: type(value).__name__ for name, value in record.headers}
            if part == "dead-letters" or record.value is None:
                continue
            told = _decoded(record.value)
            if part == "samples":
                kind += f" {msgspec.msgpack.decode(record.value)[0]}"
            yield kind, told


def _of_redis(folder: Path, kept: Kept) -> Iterator[tuple[str, Skeleton]]:
    """What lies in Redis: the names of keys, documents, states by their digest, and pickles by what is in them."""
    states = hashlib.sha256()
    for key, value in sorted(kept.server.data.items()):
        name = key.rsplit(":", 1)[0] if ":state:" in key or key.startswith("features:") else key
        if ":learn:" in key and ":state:" in key:
            continue  # pieces of what is told below
        yield f"keys of {folder.name}", {name: "key"}
        if ":state:" in key:
            states.update(key.encode() + b"\0" + value)
        elif key.endswith(":position") and ":learn:" not in key:
            yield (
                f"position{' of a bootstrap' * (':bootstrap:' in key)}",
                positional(msgspec.msgpack.decode(value)),
            )
        elif value[:1] == b"{":
            first, _, rest = key.partition(":")
            kind = (
                first if first != "features" else "features of an entity" if ":" in rest else "what is served"
            )
            kind = key.rsplit(":", 1)[1] if first == "penstock" else kind
            yield f"document: {kind}", skeleton(json.loads(value))
    yield f"states of {folder.name}", {states.hexdigest(): "digest"}
    yield from _of_pickles(folder, kept)


def _of_pickles(folder: Path, kept: Kept) -> Iterator[tuple[str, Skeleton]]:
    pipeline = definition(folder)
    names = (
        [pipeline.name] if pipeline.shards == 1 else [f"{pipeline.name}.{n}" for n in range(pipeline.shards)]
    )
    for name in names:
        store = MemoryStateStore(kept.server, name, "learn")
        for kind, stored in (
            ("snapshot", StoredSnapshot(store, name, SECRET)),
            ("replica", stored_replica(store, name, SECRET)),
        ):
            taken = stored.load()
            if taken is not None:
                sealed = store.load([stored.key])[0]
                yield f"{kind}, header", _of_sealed(sealed, SnapshotHeader)
                yield f"{kind}, what is in it", shapes_of(taken)
        client: Any = Hashes(kept.server)
        models = RedisModelStore(client, name, SECRET)
        for sealed in kept.server.hashes.get(versions_key(name), {}).values():
            yield "model version", _of_sealed(sealed, None)
        for version in models.versions():
            stored_version = models.get(version.id)
            assert stored_version is not None
            try:
                open_version(*stored_version)
            except BadEnvelope:
                continue


def _of_sealed(sealed: bytes | None, kind: Any) -> Skeleton:
    """The header of an envelope, as it stands there."""
    header, _ = unseal(sealed or b"", SECRET, kind or msgspec.Raw)
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(header))
    return skeleton({**raw, "parts": {}} if "parts" in raw else raw)


def shapes_of(taken: Taken) -> dict[str, Skeleton]:
    """The classes of Penstock's own that are in a snapshot, with their attributes."""
    found: dict[str, set[str]] = {}
    _walk(StateUnpickler(taken.parts).load(), found, {})
    return {name: dict.fromkeys(sorted(attributes), "attribute") for name, attributes in found.items()}


def _walk(value: Any, found: dict[str, set[str]], seen: dict[int, Any]) -> None:
    """Follow everything that a pickle of `value` would hold."""
    if isinstance(value, str | bytes | int | float | bool | type(None)) or id(value) in seen:
        return
    seen[id(value)] = value  # kept, so that no other gets its id
    if isinstance(value, Mapping):
        for key, one in value.items():
            _walk(key, found, seen)
            _walk(one, found, seen)
        return
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, list | set | frozenset) or (
        isinstance(value, tuple) and not hasattr(value, "_fields")
    ):
        for one in value:
            _walk(one, found, seen)
    elif kind.__module__.startswith("penstock"):
        parts = _parts(value)
        found.setdefault(name, set()).update(parts)
        for one in parts.values():
            _walk(one, found, seen)
    elif kind.__module__ == "collections":
        for one in value:
            _walk(one, found, seen)
    else:
        found.setdefault(name, set())


def _parts(value: Any) -> dict[str, Any]:
    """An object's attributes by name, as pickle takes them."""
    if hasattr(value, "_fields"):
        return value._asdict()  # type: ignore[no-any-return]
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    reduced = value.__reduce_ex__(5)
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    both = state if isinstance(state, tuple) else (state,)
    found: dict[str, Any] = {}
    for part in both:
        found.update(part if isinstance(part, dict) else {})
    if not found and isinstance(reduced, tuple):
        found = {f"argument {number}": one for number, one in enumerate(reduced[1])}
    return found
