"""How the pipelines of a store live: their streams, what people ask meanwhile, and what is to come of it.

Laws of this file:
- Everything is drawn from seeds, and clocks are counted: whoever writes a store again writes the same one, but for what Python
  and river themselves say.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import wanted_key
from penstock.features.redis.memory import MemoryServer
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.models.store import ModelStore, RedisModelStore
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from tests.stream.generated import HOUR, START_MS, card_events, outs, parcel_events

WALL_MS = START_MS + 400 * 24 * HOUR
RECORDS, REST = 140, 40
FEW_RECORDS, FEW_REST = 60, 20
"""Where a task has partitions: its entities are fewer, too."""
ASKED = {
    60: ("retrain", None),
    90: ("hold", None),
    100: ("accept", None),
    110: ("rollback", "v0"),
    120: ("resume", None),
    130: ("promote", "v0"),
}
"""What a person asks for after so many records, of which version."""
LATER_MS = (0, HOUR // 2, 25 * HOUR)
"""How long after a state's newest event its values are told."""


class Hashes:
    """The client of a Redis, as far as a store of model versions needs one."""

    def __init__(self, server: MemoryServer) -> None:
        self.hashes = server.hashes

    def hget(self, key: str, field: str) -> bytes | None:
        return self.hashes.get(key, {}).get(field)

    def hset(self, key: str, field: str, value: bytes) -> None:
        self.hashes.setdefault(key, {})[field] = value

    def hkeys(self, key: str) -> list[bytes]:
        return [field.encode() for field in self.hashes.get(key, {})]

    def hdel(self, key: str, *fields: str) -> None:
        for field in fields:
            self.hashes.get(key, {}).pop(field, None)


class Living(MemoryFlow):
    """The flow whose versions lie in the server as well, signed."""

    def _models_of(self, name: str) -> ModelStore:
        client: Any = Hashes(self.server)
        return RedisModelStore(client, name, SECRET)


def seconds() -> Callable[[], float]:
    """A clock for records: each is a hundredth of a second later."""
    ticks = count()
    return lambda: WALL_MS / 1000 + next(ticks) / 100


def flow_of(pipeline: Pipeline, log: MemoryLog, server: MemoryServer) -> Living:
    """The roles over a log and a server; somebody serves predictions."""
    server.put(wanted_key(pipeline.name), b"1")
    clock = count(WALL_MS, 7)
    return Living(pipeline, log=log, server=server, clock=lambda: next(clock))


def stream_of(pipeline: Pipeline) -> list[Out]:
    """Its events, a few of which cannot be used."""
    chance = random.Random(pipeline.name)
    number = RECORDS + REST if not pipeline.partitioned else FEW_RECORDS + FEW_REST
    short = {source.name.partition(".")[2]: source.name for source in pipeline.sources}
    made = card_events(number, cards=4) if len(short) == 1 else parcel_events(number)
    found = []
    for topic, key, of_made in list(made)[:number]:
        event = {**of_made, "shop": f"s{chance.randrange(9)}"} if len(short) == 1 else of_made
        found += outs([(short[topic.partition(".")[2]], key, event)])
        if chance.random() < 0.03:
            value = chance.choice([b"", b"\xff", b"[1]", b'{"van": "v"}'])
            found.append(found[-1]._replace(value=value, headers=(("trace", b"\x00\x01"), ("none", None))))
    return found[:number]


def half(stream: list[Out]) -> tuple[list[Out], list[Out]]:
    """What comes before a store is written, and what comes after it."""
    at = len(stream) * RECORDS // (RECORDS + REST)
    return stream[:at], stream[at:]


def requests_of(pipeline: Pipeline, number: int) -> list[Out]:
    """What is asked after the record of this number."""
    if number not in ASKED:
        return []
    verb, version = ASKED[number]
    asked = OperatorRequest(
        id=f"r{number}", pipeline=pipeline.name, verb=verb, reason="a person thought so", by="ann",  # type: ignore[arg-type]
        version=version, wall_ms=WALL_MS, pin=verb == "rollback", source="cli",
    )  # fmt: skip
    return [Out(topology.CONTROL_COMMANDS, pipeline.name.encode(), encode_json(asked))]


def lived(flow: Living, records: Sequence[Out], *, asks: bool) -> None:
    """Feed a stream a few records at a time, and what is asked between them."""
    for number in range(0, len(records), 10):
        flow.feed(records[number : number + 10])
        for one in range(number, number + 10):
            flow.feed(requests_of(flow.pipeline, one) if asks else [])
        flow.settle()


def told(flow: Living) -> dict[str, Any]:
    """What is to come of it: values of every state at some moments, and of every fold its digest and counts."""
    folds = {}
    for number in range(flow.pipeline.shards):
        worker = flow.learn if flow.pipeline.shards == 1 else flow.shard(number)
        fold = worker.fold
        assert fold is not None
        folds[str(number)] = {
            "digest": fold.digest(),
            "position": fold.position,
            "version": fold.version.partition(".")[0],
            "samples": fold.counts.samples,
            "joined": fold.counts.joined,
            "applied": list(fold.applied),
        }
    return {"folds": folds, "values": values_of(flow.pipeline, flow.server)}


def values_of(pipeline: Pipeline, server: MemoryServer) -> dict[str, Any]:
    """Of each stored state of this definition, by key: its values at its newest event and later."""
    found = {}
    for view in pipeline.views:
        compiled = CompiledView(view)
        for key, value in sorted(server.data.items()):
            if f":state:{view.name}@{view.version}:" in key and "+" not in key:
                state = compiled.decode(value)
                newest = compiled.newest_ms(state) or 0
                found[key] = [compiled.values(state, newest + later) for later in LATER_MS]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def definition(folder: Path, name: str = "definition") -> Pipeline:
    """The definition file of a folder."""
    return load(folder / f"{name}.py")


def without_tokens(server: MemoryServer, but: Collection[str] = ()) -> dict[str, bytes]:
    """What lies in a server but for what each owner draws."""
    ends = (":token", ":generation", ":position", *but)
    return {key: value for key, value in server.data.items() if not key.endswith(ends)}
