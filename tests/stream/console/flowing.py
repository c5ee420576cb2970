"""A flow in memory that ran for a while, and a console over all of it: its log, its features, its control topics."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count as numbers
from pathlib import Path
from typing import Any

from penstock.stream import topology
from penstock.stream.console.reading.servers import Servers
from penstock.stream.console.state import States
from penstock.stream.console.who.people import People
from penstock.stream.definitions import Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Log, Out
from penstock.stream.operate.dead_letters import Letter
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.console.acting import Desk, password_file
from tests.stream.console.year import Line
from tests.stream.generated import SENT, outs, parcel_events, parcels
from tests.stream.naive_flow import everything

EVIL = "<img src=x onerror=alert(1)></pre><script>alert(2)</script>"
WALL_MS = 1_700_000_000_000


def flow_of(events: int = 400, bad: Iterable[bytes] = (), **changes: Any) -> MemoryFlow:
    """A flow that has taken these events, and records that are none."""
    wall = numbers(WALL_MS, 10)
    made = MemoryFlow(parcels(**changes), clock=lambda: next(wall))
    made.feed(outs(parcel_events(events)))
    made.settle()
    made.feed(
        [Out(SENT.name, b"van1", value, (("trace", b"\xff\x01"), ("who", EVIL.encode()))) for value in bad]
    )
    made.settle()
    return made


def states_of(log: Log, names: Iterable[str], prefix: str = "") -> States:
    """The state after all that the topics hold."""
    states = States(names)
    for topic in states.topics:
        for record in everything(log, prefix + topic):
            states.step(topic, record.offset, record.timestamp_ms, record.value)
    states.caught_up = True
    return states


def log_of(lines: Iterable[Line], names: Iterable[str]) -> MemoryLog:
    """A log with these records of history and control topics, stamped as they say."""
    stamps = [0.0]
    log = MemoryLog(lambda: stamps[0])
    for topic in States(names).topics:
        log.create(topic)
    for line in lines:
        stamps[0] = line.wall_ms / 1000
        log.append([Out(line.topic, None, line.value)])
    return log


def send_to(log: Log) -> Any:
    """Sends letters back to a log in memory, as `send_back` does to Kafka."""

    def send(letters: Iterable[Letter]) -> int:
        found = [Out(one.topic, one.key, one.value, tuple(one.headers), one.partition) for one in letters]
        log.append(found)
        return len(found)

    return send


def desk_of(flow: MemoryFlow, folder: Path | None = None, definition: Pipeline | None = None) -> Desk:
    """A console over a flow, where people can log in if there is a folder for their passwords."""
    servers = Servers(Settings(), log=flow.log, client=flow.server, send=send_to(flow.log))
    people = People(None if folder is None else password_file(folder), anonymous=True)
    states = states_of(flow.log, [flow.pipeline.name])
    return Desk(
        states,
        people,
        asks=folder is not None,
        definitions={flow.pipeline.name: definition or flow.pipeline},
        sources=servers,
    )


def letters_topic(flow: MemoryFlow) -> str:
    """Where its dead letters lie."""
    return topology.dead_letters(flow.pipeline.name)
