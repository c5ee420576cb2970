"""A slice of the flights from Parquet, killed ten times at random, and then the topics: the same as the topics alone.

Laws of this file: the moments of the kills are seeded points of progress, not of time; every process is ended by its test.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.parquet
import pytest
import redis

from penstock.examples.flights_data import ARRIVALS, DEPARTURES, Event, events, new_york_ms
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Out, partition_for
from penstock.stream.messages import LabelRecord, Sample, decode_entry
from penstock.stream.process.settings import Settings
from tests.patience import PATIENCE_S, eventually
from tests.stream.naive_flow import everything

ROOT = Path(__file__).parent.parent.parent
PARTITIONS = 3
START, UNTIL, END = date(2013, 1, 1), date(2013, 1, 4), date(2013, 1, 6)
KILLS = 10

# A checkpoint at every turn: a definition file is Python that runs in every process, so a test can ask for it here.
SMALL = """
from penstock.stream.bootstrap import run as bootstrap_run
from penstock.stream.learn import worker as learn_worker
bootstrap_run.BATCH_ROWS, bootstrap_run.KEEP_EVERY_S, bootstrap_run.KEEP_SPACING = 100, 0.0, 0
learn_worker.SNAPSHOT_EVERY_MS = 300
"""


class Runs:
    """The flights on a broker and in files, and one deployment of the pipeline that reads both, and one that reads topics."""

    def __init__(
        self, log: KafkaLog, bootstrap: str, valkey: redis.Redis, url: str, folder: Path, name: str
    ) -> None:
        self.log, self.folder, self.name, self.valkey = log, folder, name, valkey
        text = (ROOT / "examples" / "flights.py").read_text()
        for topic in (DEPARTURES, ARRIVALS):
            text = text.replace(f'"{topic}"', f'"{self.named(topic)}"')
        self.file = folder / "flights.py"
        self.file.write_text(text + SMALL)
        self.pipeline = load(self.file)
        self.env = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "REDIS_URL": url,
            "PENSTOCK_SECRET": "only here",
            "PYTHONPATH": str(ROOT),
        }
        self.children: list[subprocess.Popen[str]] = []
        self.settings = Settings(bootstrap=bootstrap)
        sources = [topology.Topic(source.name, PARTITIONS, {}, "events") for source in self.pipeline.sources]
        with client_of(self.settings) as admin:
            owned = [
                one
                for prefix in ("files.", "live.")
                for one in topology.owned("flights", self.prefix(prefix))
            ]
            ensure(admin, [*sources, *owned])

    def named(self, topic: str) -> str:
        return f"{self.name}.{topic}"

    def prefix(self, of: str) -> str:
        return f"{self.name}.{of}"

    def produce(self, flown: list[Event]) -> None:
        """As producers with Kafka's hash do; flights of unknown aircraft go where rows without a key go."""
        outs = []
        for topic, key, fields, _ in flown:
            partition = 0 if key is None else partition_for(key.encode(), PARTITIONS)
            value = json.dumps(fields).encode()
            outs.append(Out(self.named(topic), None if key is None else key.encode(), value, (), partition))
        self.log.append(outs)

    def write(self, flown: list[Event]) -> list[str]:
        """A Parquet file a day and topic, one day longer than needed."""
        options = []
        for topic in (DEPARTURES, ARRIVALS):
            (self.folder / topic).mkdir()
            by_day: dict[int, list[dict[str, Any]]] = {}
            for of, _, fields, at in flown:
                if of == topic:
                    by_day.setdefault(at // 86_400_000, []).append(fields)
            for day, rows in by_day.items():
                table = pyarrow.Table.from_pylist(rows)
                pyarrow.parquet.write_table(table, self.folder / topic / f"{day}.parquet", row_group_size=500)
            options += ["--source", f"{self.named(topic)}={self.folder / topic}/*.parquet"]
        return options

    def start(self, *line: str, of: str) -> subprocess.Popen[str]:
        env = {**self.env, "PENSTOCK_PREFIX": self.prefix(of)}
        command = [sys.executable, "-m", "penstock.stream.cli", *line]
        self.children.append(
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return self.children[-1]

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.communicate()

    def samples(self, of: str) -> str:
        return topology.samples("flights", self.prefix(of))

    def end_of(self, of: str) -> int:
        return self.log.bounds([(self.samples(of), 0)])[(self.samples(of), 0)][1]

    def live(self, of: str, flown: int) -> None:
        """Run featurize and learn until all is learned, and stop them with their state written."""
        roles = [self.start("run", str(self.file), "--role", role, of=of) for role in ("learn", "featurize")]
        group = topology.consumer_group("flights", "learn", self.prefix(of))

        def done() -> bool:
            assert all(role.poll() is None for role in roles), [
                role.communicate()[0][-3000:] for role in roles
            ]
            if self.log.committed(group, [(self.samples(of), 0)]).get((self.samples(of), 0), 0) < flown:
                return False
            return len(self.entries(of)) >= flown

        assert eventually(done), (len(self.entries(of)), flown)
        for role in reversed(roles):
            role.send_signal(signal.SIGTERM)
            assert role.wait(PATIENCE_S) == 0, role.communicate()[0][-3000:]

    def entries(self, of: str) -> list[Any]:
        """Samples and labels in order, each once, without where their events stood."""
        found, seen = [], set()
        for record in everything(self.log, self.samples(of)):
            entry = decode_entry(record.value or b"")
            if isinstance(entry, Sample | LabelRecord) and (type(entry), entry.id) not in seen:
                seen.add((type(entry), entry.id))
                found.append(msgspec.structs.replace(entry, origin=None))
        return found

    def states(self, of: str) -> dict[str, bytes | None]:
        begin = f"penstock:{self.prefix(of)}flights:all:state:"
        keys = sorted(key.decode() for key in self.valkey.scan_iter(match=f"{begin}*", count=1000))
        found: Any = self.valkey.mget(keys)
        return {key.removeprefix(begin): value for key, value in zip(keys, found, strict=True)}

    def model(self, of: str) -> tuple[str, int]:
        """The digest of the live model and the weights, and how many labels it learned."""
        said = json.loads(self.valkey.get(f"model:{self.prefix(of)}flights") or b"{}")
        return said["digest"].partition("-")[0], said["labels"]


def client_of(settings: Settings) -> Any:
    from kafka import KafkaAdminClient

    return client(KafkaAdminClient, settings)


@pytest.fixture
def runs(
    kafka_log: KafkaLog,
    kafka_bootstrap: str,
    valkey: redis.Redis,
    valkey_url: str,
    tmp_path: Path,
    unique: Callable[[str], str],
) -> Iterator[Runs]:
    made = Runs(kafka_log, kafka_bootstrap, valkey, valkey_url, tmp_path, unique("b"))
    yield made
    made.close()


@pytest.mark.long
def test_killed_ten_times_it_ends_as_the_topics_alone_do(runs: Runs) -> None:
    flown = list(events("none", START, END))
    runs.produce(flown)
    command = ["bootstrap", str(runs.file), "--until", str(new_york_ms(UNTIL)), *runs.write(flown)]
    before = sum(at < new_york_ms(UNTIL) for *_, at in flown)
    chance = random.Random(2013)
    stops = sorted(chance.randrange(before) for _ in range(KILLS))
    killed = 0
    for stop in stops:
        process = runs.start(*command, of="files.")
        assert eventually(
            lambda stop=stop, process=process: runs.end_of("files.") >= stop or process.poll() is not None
        )  # type: ignore[misc]
        if process.poll() is None:
            process.kill()
            killed += 1
        out = process.communicate()[0]
        assert process.returncode in (0, -signal.SIGKILL), out[-3000:]
    assert killed >= KILLS // 2
    featurize = runs.start("run", str(runs.file), "--role", "featurize", of="files.")
    assert featurize.wait(PATIENCE_S) == 2 and "penstock bootstrap" in featurize.communicate()[0]
    done = runs.start(*command, "--json", of="files.")
    said = done.communicate(timeout=PATIENCE_S)[0]
    assert done.returncode == 0, said[-3000:]
    report = json.loads(said.splitlines()[-1])
    assert report["rows"] == before and 0 < report["rows_now"] < before
    again = runs.start(*command, "--json", of="files.")
    assert json.loads(again.communicate(timeout=PATIENCE_S)[0].splitlines()[-1])["rows_now"] == 0
    runs.live("files.", len(flown))
    runs.live("live.", len(flown))
    assert runs.entries("files.") == runs.entries("live.")
    files, live = runs.states("files."), runs.states("live.")
    both = files.keys() & live.keys()
    assert {key: files[key] for key in both} == {key: live[key] for key in both} and len(both) > 1_000
    # A worker looks at a batch of states a second for those that are silent, and deletes them: which, depends on its pace.
    last = max(at for *_, at in flown)
    silent_ms = {f"{view.name}@{view.version}": view.silence_ms or last for view in runs.pipeline.views}
    for key in files.keys() ^ live.keys():
        state = files.get(key) or live[key] or b""
        assert msgspec.msgpack.decode(state)[1] < last - silent_ms[key.partition(":")[0]], key
    assert runs.model("files.") == runs.model("live.")
