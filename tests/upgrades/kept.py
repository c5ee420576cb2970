"""One pipeline's part of a store: what lay in Redis, what stood in topics, and what came of it later, as lines of JSON.

Laws of this file:
- A store is written once and never changed: a newer release reads it, or says why not and what to do.
- Bytes that are text are kept as text, so that people can read them; others are base64.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from penstock.features.redis.memory import MemoryServer
from penstock.stream.log.memory import MemoryLog, Partition
from penstock.stream.log.memory_members import Group
from penstock.stream.log.protocol import Out, Record

STORE = Path(__file__).parent / "store"


def versions() -> list[str]:
    """The stores that there are, oldest first."""
    return sorted((one.name for one in STORE.iterdir() if one.is_dir()), key=int)


def pipelines(version: str) -> list[str]:
    """Whose data a store holds."""
    return sorted(one.name for one in (STORE / version).iterdir() if one.is_dir())


def said(value: bytes | None) -> dict[str, str] | None:
    """Bytes as JSON can hold them."""
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
    return {"text": text} if text.isprintable() else {"base64": b64encode(value).decode()}


def meant(value: dict[str, str] | None) -> bytes | None:
    """The bytes of `said`."""
    if value is None:
        return None
    return value["text"].encode() if "text" in value else b64decode(value["base64"])


class Kept(NamedTuple):
    """A server and a log, as they were left, and the records that came afterwards."""

    server: MemoryServer
    log: MemoryLog
    rest: list[Out]


def keep(folder: Path, server: MemoryServer, log: MemoryLog, rest: Iterable[Out]) -> None:
    """Write a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = [
        {"key": key, "ttl_ms": server.ttl_ms.get(key, 0), "value": said(value)}
        for key, value in sorted(server.data.items())
    ]
    hashes = [
        {"hash": key, "field": field, "value": said(value)}
        for key, fields in sorted(server.hashes.items())
        for field, value in sorted(fields.items())
    ]
    _write(folder / "redis.jsonl", keys + hashes)
    topics, records = {}, []
    for topic, count in sorted(log.topics().items()):
        topics[topic] = {"id": log.topic_id(topic), "partitions": count}
        records += [of_record(one) for number in range(count) for one in log.part((topic, number)).records]
    groups = {
        name: [[topic, partition, offset] for (topic, partition), offset in sorted(group.offsets.items())]
        for name, group in sorted(log._groups.items())
    }
    about = {"cluster": log.cluster_id(), "topics": topics, "groups": groups}
    (folder / "log.json").write_text(json.dumps(about, indent=1) + "\n")
    _write(folder / "topics.jsonl", records)
    _write(
        folder / "rest.jsonl",
        [
            {"topic": o.topic, "partition": o.partition, "key": said(o.key), "value": said(o.value)}
            for o in rest
        ],
    )


def of_record(record: Record) -> dict[str, Any]:
    """A record as a line has it."""
    line = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "at": record.timestamp_ms,
        "key": said(record.key),
        "value": said(record.value),
    }
    headers = [[name, said(value)] for name, value in record.headers]
    return {**line, "headers": headers} if headers else line


def record_of(line: dict[str, Any]) -> Record:
    """The record of a line."""
    headers = tuple((name, meant(value)) for name, value in line.get("headers", []))
    place = (line["topic"], line["partition"], line["offset"], line["at"])
    return Record(*place, meant(line["key"]), meant(line["value"]), headers)


def records_of(version: str, name: str) -> list[Record]:
    """Every record of a pipeline's topics."""
    return [record_of(line) for line in read(STORE / version / name / "topics.jsonl")]


def opened(folder: Path, clock: Any) -> Kept:
    """What a folder holds, as a server and a log that go on."""
    server, log = MemoryServer(), MemoryLog(clock)
    for line in read(folder / "redis.jsonl"):
        value = meant(line["value"]) or b""
        if "hash" in line:
            server.hashes.setdefault(line["hash"], {})[line["field"]] = value
        else:
            server.put(line["key"], value, line["ttl_ms"])
    server._issued = 1_000_000  # no token is given twice
    about = json.loads((folder / "log.json").read_text())
    log._cluster_id = about["cluster"]
    for topic, one in about["topics"].items():
        log._topics[topic] = (one["id"], [Partition() for _ in range(one["partitions"])])
    for line in read(folder / "topics.jsonl"):
        record = record_of(line)
        log.part((record.topic, record.partition)).records.append(record)
    for name, offsets in about["groups"].items():
        group = log._groups.setdefault(name, Group())
        group.offsets = {(topic, partition): offset for topic, partition, offset in offsets}
    rest = [
        Out(line["topic"], meant(line["key"]), meant(line["value"]), (), line["partition"])
        for line in read(folder / "rest.jsonl")
    ]
    return Kept(server, log, rest)


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def _write(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
