"""`python -m tests.upgrades.write NUMBER`: what this release writes, as a store that every later one has to read.

Give the next number (`tests/upgrades/store/1`, then `2`). `--again` writes one anew that no release has written yet.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import pytest
import river

from penstock.features.define.view import STATE_LAYOUT
from penstock.features.redis.keyspace import MemoryKeyspace
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.stream import prediction_avro
from penstock.stream.backfill.run import Backfill
from penstock.stream.bootstrap import run as bootstrap_run
from penstock.stream.control.state import encode_state
from penstock.stream.learn.records import LAYOUT
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_entry, encode_json
from penstock.stream.models.version import PENSTOCK
from penstock.stream.prediction import ModelRef, Prediction
from penstock.stream.topology import policy_changelog
from tests.stream.bootstrap.in_files import opened, plan_of
from tests.stream.test_event_contracts import examples
from tests.stream.test_messages import ENTRIES, FORMER, JSON
from tests.upgrades import formats
from tests.upgrades.kept import STORE, keep, said
from tests.upgrades.kept import opened as opened_store
from tests.upgrades.living import definition, flow_of, half, lived, seconds, stream_of, told, values_of

DEFINITIONS = Path(__file__).parent / "definitions"
WHOLE = ("parcels", "delay", "classes", "shards", "kinds")
"""The pipelines that run, and go on."""
STOPPED_AFTER = 12
"""So many writes of a backfill, or a bootstrap, are done when it is stopped."""


class Stopped(Exception):
    """As if the process were killed here."""


@contextmanager
def seeded(seed: str) -> Iterator[None]:
    """Nothing is drawn but from here: two runs write the same."""
    chance = random.Random(seed)
    with (
        mock.patch("secrets.token_hex", lambda count: chance.randbytes(count).hex()),
        mock.patch("uuid.uuid4", lambda: uuid.UUID(bytes=chance.randbytes(16), version=4)),
    ):
        yield


def write_store(folder: Path) -> None:
    """The whole store of today."""
    folder.mkdir(parents=True)
    for name in WHOLE:
        with seeded(name):
            whole(name, folder / name)
    with seeded("moved"):
        moved(folder / "moved")
    with seeded("files"):
        files(folder / "files")
    messages(folder / "messages.jsonl")
    about = {
        "penstock": PENSTOCK,
        "python": platform.python_version(),
        "river": river.__version__,
        "state_layout": STATE_LAYOUT,
        "snapshot_layout": LAYOUT,
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    (folder / "formats.json").write_text(
        json.dumps(formats.of_store(folder), indent=1, sort_keys=True) + "\n"
    )


def copied(folder: Path, name: str, file: str = "definition") -> Any:
    """A definition, as a file of the store."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEFINITIONS / f"{name}.py", folder / f"{file}.py")
    return definition(folder, file)


def whole(name: str, folder: Path) -> None:
    """A pipeline that ran, was stopped in the middle of its stream, and went on."""
    pipeline = copied(folder, name)
    server, log = MemoryServer(), MemoryLog(seconds())
    stream, rest = half(stream_of(pipeline))
    flow = flow_of(pipeline, log, server)
    lived(flow, stream, asks=pipeline.shards == 1 and pipeline.labelled)
    for state in flow.control.states.values():
        topic = policy_changelog(state.pipeline)
        if topic.name not in log.topics():
            log.create(topic.name, 1)
        log.append([Out(topic.name, state.pipeline.encode(), encode_state(state))])
    flow.close()
    keep(folder, server, log, rest)
    after = flow_of(pipeline, log, server)
    after.settle()
    before = told(after)
    lived(after, rest, asks=False)
    expected = {"before": before, "after": told(after)}
    after.close()
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


class Dying(MemoryServer):
    """A server whose client dies at one of its writes."""

    left = -1

    def put(self, key: str, value: bytes, ttl_ms: int = 0) -> None:
        if self.left == 0:
            raise Stopped
        self.left -= 1
        super().put(key, value, ttl_ms)


def moved(folder: Path) -> None:
    """A changed definition that is being brought over: the backfill was stopped in the middle."""
    pipeline, following = copied(folder, "moved"), None
    server, log = Dying(), MemoryLog(seconds())
    stream, rest = half(stream_of(pipeline))
    flow = flow_of(pipeline, log, server)
    lived(flow, stream, asks=False)
    flow.close()
    following = copied(folder, "moved_to", "following")
    server.left = STOPPED_AFTER
    with pytest.raises(Stopped):
        backfill(following, log, server)
    server.left = -1
    keep(folder, server, log, rest)
    backfill(following, log, server)
    after = flow_of(following, log, server)
    lived(after, rest, asks=False)
    expected = {"after": {"values": values_of(following, server)}}
    after.close()
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


def backfill(pipeline: Any, log: MemoryLog, server: MemoryServer) -> None:
    """Bring a definition over, or end what was begun."""

    def store_of(task: str) -> MemoryStateStore:
        return MemoryStateStore(server, pipeline.name, task)

    Backfill(pipeline, log, store_of, MemoryKeyspace(server), lambda: 7).run()


def files(folder: Path) -> None:
    """History in files: the bootstrap was stopped in the middle."""
    pipeline = copied(folder, "files")
    stream = [one for one in stream_of(pipeline) if one.value and one.value.startswith(b'{"payment')]
    history, rest = half(stream)
    events = b"\n".join(one.value or b"" for one in history)
    (folder / "history.jsonl").write_bytes(events + b"\n")
    server, log = MemoryServer(), MemoryLog(seconds())
    flow = flow_of(pipeline, log, server)
    flow.feed(rest)
    plan = plan_of_files(flow, folder)
    left = STOPPED_AFTER

    def store(task: str, name: str = "") -> Any:
        found = type(flow).store(flow, task, name)
        save = found.save

        def one_by_one(units: Any) -> None:
            nonlocal left
            for unit in units:
                left -= 1
                if left == 0:
                    raise Stopped
                save([unit])

        found.save = one_by_one  # type: ignore[method-assign]
        return found

    flow.store = store  # type: ignore[method-assign]
    with quick_bootstrap():
        with pytest.raises(Stopped):
            opened(flow, plan).read()
        keep(folder, server, log, [])
        kept = opened_store(folder, seconds())  # who died is a member no more
        after = flow_of(pipeline, kept.log, kept.server)
        run = opened(after, plan)
        run.read()
        run.give()
    after.settle()
    (folder / "expected.json").write_text(json.dumps({"after": told(after)}, separators=(",", ":")) + "\n")
    after.close()


@contextmanager
def quick_bootstrap() -> Iterator[None]:
    """State is kept after every few rows."""
    with (
        mock.patch.object(bootstrap_run, "BATCH_ROWS", 16),
        mock.patch.object(bootstrap_run, "KEEP_EVERY_S", 0.0),
        mock.patch.object(bootstrap_run, "KEEP_SPACING", 0),
    ):
        yield


def plan_of_files(flow: Any, folder: Path) -> Any:
    """The plan of the bootstrap of a folder's history, at an address that is the same everywhere."""
    with fsspec.open("memory://upgrades/history.jsonl", "wb") as file:
        file.write((folder / "history.jsonl").read_bytes())
    source = flow.pipeline.predict.name
    return plan_of(flow, [f"{source}=memory://upgrades/history.jsonl"])


def messages(file: Path) -> None:
    """A message of every kind that is written today, whether or not a pipeline of the store happens to write one."""
    found: list[tuple[str, bytes]] = []
    encoders: list[tuple[str, dict[str, Any], Callable[[Any], bytes]]] = [
        ("samples", ENTRIES, encode_entry),  # type: ignore[list-item]
        ("json", JSON, encode_json),
    ]
    for kind, values, encode in encoders:
        found += [(f"{kind} {name}", encode(one)) for name, one in values.items() if name not in FORMER]
    whole = Prediction(
        "p1", 1_700_000_000_000, "late", ModelRef("v2", 0.875), "0123456789ab", 812, {"late": 0.75, "early": 0.25}, 0.99, True,
        0.625, ["late"], (None, 12.5),
    )  # fmt: skip
    found += [("prediction json", encode_json(whole)), ("prediction avro", prediction_avro.encoded(7, whole))]
    found += [(f"event {verb}", encode_json(event)) for verb, event in sorted(examples().items())]
    lines = (json.dumps({"kind": kind, "value": said(value)}, separators=(",", ":")) for kind, value in found)
    file.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Write a store; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.upgrades.write", description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("--again", action="store_true", help="over one that no release has written yet")
    args = parser.parse_args()
    folder = STORE / str(args.number)
    if folder.exists() and not args.again:
        print(
            f"{folder} is there: what was released is never written again. Give the next number.",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory() as made:
        write_store(Path(made) / "store")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Path(made) / "store", folder)
    print(
        f"written: {folder}, {sum(one.stat().st_size for one in folder.rglob('*') if one.is_file()) / 1e3:.0f} kB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
