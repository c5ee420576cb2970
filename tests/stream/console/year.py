"""The year of flights in the console, folded in memory: to look at, and for whoever draws its pages.

`python -m tests.stream.console.year --cache FOLDER` folds it once, keeps the records in FOLDER, and serves the console on them at
http://127.0.0.1:8090/. `--days N` is a shorter run, `--behind S` leaves out the last S days and tells them one hour a second, so
that something moves.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from penstock.examples.flights_data import Incident
from penstock.stream import topology
from penstock.stream.console.app import Console
from penstock.stream.console.guard import host_names
from penstock.stream.console.reading.shared import Reading
from penstock.stream.console.state import States
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Entry, encode_json
from penstock.stream.operate.attended import Attended
from penstock.stream.operate.scores import Scores
from penstock.stream.operate.status_found import RoleStatus, Status, wrong

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights.py"
DAY_MS = 86_400_000


class Line(NamedTuple):
    """One record of a topic: (when the broker would have got it, topic without prefix, offset, value)."""

    wall_ms: int
    topic: str
    offset: int
    value: bytes


TOPICS = {"penstock.retrain": topology.CONTROL_RETRAIN, "penstock.rollback": topology.CONTROL_ROLLBACK}


def lines_of(pipeline: Pipeline, entries: Iterable[Entry]) -> list[Line]:
    """What the roles would have written to the history and control topics, in order of event time."""
    attended = Attended(pipeline)
    found: list[tuple[int, str, bytes]] = []
    told, live, history, decided = 0, None, 0, 0
    for entry in entries:
        attended.step(entry)
        at = attended.fold.at
        for event in attended.told[told:]:
            topic = TOPICS.get(event.type, topology.CONTROL_ALERTS)
            found.append((event.data.detected_at["at"], topic, encode_json(event)))
        for decision in attended.decided[decided:]:
            found.append((at, topology.CONTROL_DECISIONS, encode_json(decision)))
        told, decided = len(attended.told), len(attended.decided)
        for record in attended.history[history:]:
            found.append((record.at, topology.history(pipeline.name), encode_json(record)))
        history = len(attended.history)
        if attended._state.live is not None and attended._state.live is not live:
            live = attended._state.live
            found.append((live.at, topology.CONTROL_MODELS, encode_json(live)))
    found.sort(key=lambda one: one[0])
    offsets: dict[str, int] = {}
    lines = []
    for at, topic, value in found:
        offset = offsets.get(topic, 0)
        offsets[topic] = offset + 1
        lines.append(Line(at, topic, offset, value))
    return lines


def year(cache: Path, incident: Incident = "milliseconds", days: int = 367) -> list[Line]:
    """The flights with this incident; kept in a folder, since it takes a minute to fold."""
    from benchmarks.gate_flights import kept

    pipeline = load(FLIGHTS)
    path = cache / f"console-{incident}-{days}d-{pipeline.digest}.msgpack"
    if not path.is_file():
        path.write_bytes(msgspec.msgpack.encode(lines_of(pipeline, kept(incident, cache, days))))
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Line])


def stepped(names: Iterable[str], lines: Iterable[Line]) -> States:
    """The state after these records."""
    states = States(names)
    for line in lines:
        states.step(line.topic, line.offset, line.wall_ms, line.value)
    states.caught_up = True
    return states


def status_of(states: States, name: str) -> Status:
    """What `penstock status` would find, as far as the state knows it, of roles that run."""
    state = states.pipelines[name]
    roles = {role: RoleStatus([f"{role}-0 at 127.0.0.1"], 0) for role in ("featurize", "learn", "control")}
    found = Status(name, roles, tail=20_000, samples=9_900, labels=9_800, pending=140)
    found.live, found.open = state.live, state.open
    found.event_age_s, found.tick_age_s = 1.4, 0.6
    blocks = list(state.blocks)[-19:]
    if blocks:
        labels = sum(one.counts.joined for one in blocks)
        loss = sum((one.loss or 0.0) * one.counts.joined for one in blocks) / labels
        base = sum((one.base_loss or 0.0) * one.counts.joined for one in blocks) / labels
        found.scores = Scores(labels, loss, base, blocks[-1].means.get("auc"))
    found.wrong = wrong(found)
    return found


def console_of(states: States, definitions: dict[str, Pipeline], **options: Any) -> Console:
    """A console on this state, asked by local names."""
    return Console(Reading(states), definitions, host_names("127.0.0.1", ["testserver"]), **options)


def go_on(console: Console, lines: list[Line], name: str, every_s: float) -> None:
    """Tell the rest, one history record in `every_s`."""
    for line in lines:
        with console.reading.lock:
            console.reading.states.step(line.topic, line.offset, line.wall_ms, line.value)
        if line.topic == topology.history(name):
            look(console, name)
            time.sleep(every_s)


def look(console: Console, name: str) -> None:
    """Look, as the console does every ten seconds."""
    with console.reading.lock:
        states = console.reading.states
        states.looked(name, status_of(states, name), time.time_ns() // 1_000_000)


def main(serve: Callable[[Console, int], None] | None = None) -> None:
    """Serve it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cache", type=Path, required=True)
    asked.add_argument("--days", type=int, default=367)
    asked.add_argument("--incident", default="milliseconds")
    asked.add_argument(
        "--until", default="", help="end at this event time, such as 2013-05-13T18:00:00+00:00"
    )
    asked.add_argument("--behind", type=float, default=0.0, metavar="DAYS")
    asked.add_argument("--every-s", type=float, default=1.0)
    asked.add_argument("--port", type=int, default=8090)
    args = asked.parse_args()
    pipeline = load(FLIGHTS)
    lines = year(args.cache, args.incident, args.days)
    if args.until:
        from datetime import datetime

        stop = int(datetime.fromisoformat(args.until).timestamp() * 1000)
        lines = [one for one in lines if one.wall_ms <= stop]
    rest_from = lines[-1].wall_ms - int(args.behind * DAY_MS)
    states = stepped([pipeline.name], [one for one in lines if one.wall_ms <= rest_from])
    console = console_of(states, {pipeline.name: pipeline})
    look(console, pipeline.name)
    rest = [one for one in lines if one.wall_ms > rest_from]
    threading.Thread(target=go_on, args=(console, rest, pipeline.name, args.every_s), daemon=True).start()
    import uvicorn

    uvicorn.run(console, port=args.port, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
