"""On a real Flink and a real broker: killed, rescaled, and still what a single featurize worker gives, to the bit.

`make test-flink` makes Flink's environment and runs this; without it all of it is skipped.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from tests.flink.session_cluster import SessionCluster
from tests.integration.test_kill import PARCELS
from tests.patience import PATIENCE_S, eventually
from tests.stream.flink.one_task import by_one_task, copied, told, untidy

PYTHON = os.environ.get("PENSTOCK_TEST_FLINK", "")
ROOT = Path(__file__).parents[2]
PARTITIONS = 3
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="PENSTOCK_TEST_FLINK names the Python of Flink's environment: make test-flink"
)


class Place:
    """A pipeline of its own name, its topics, and the job, started again and again."""

    def __init__(self, log: KafkaLog, bootstrap: str, url: str, folder: Path, name: str) -> None:
        self.log, self.folder = log, folder
        self.file = folder / "definition.py"
        self.file.write_text(PARCELS.replace("NAME", name))
        self.pipeline = load(self.file)
        self.samples = topology.samples(name)
        self.env = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "REDIS_URL": url,
            "PYTHONPATH": str(ROOT),
            "JVM_ARGS": "-Xmx768m",
            "FLINK_LOG_DIR": str(folder),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, parallelism: int, *more: str) -> None:
        """Run the job in a session of its own, so that nothing of it outlives `kill`."""
        line = [
            PYTHON,
            "-m",
            "penstock.stream.cli",
            "flink",
            str(self.file),
            "--parallelism",
            str(parallelism),
        ]
        line += [
            "--shards",
            "4",
            "--checkpoint-every",
            "300ms",
            "--checkpoints",
            str(self.folder / "kept"),
            *more,
        ]
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                line, env=self.env, stdout=output, stderr=output, start_new_session=True, cwd=self.folder
            )

    def kill(self) -> None:
        """`kill -9`, Java and Python and all."""
        assert self.process is not None and self.process.poll() is None, self.said()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        assert self.process is not None and self.process.poll() is None, self.said()
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE_S)

    def said(self) -> str:
        return (self.folder / "output").read_text()[-3000:]

    def end_of_samples(self) -> int:
        return self.log.bounds([(self.samples, 0)])[(self.samples, 0)][1]

    def until(self, done: Callable[[], bool]) -> None:
        def done_or_over() -> bool:
            assert self.process is not None and self.process.poll() is None, self.said()
            return done()

        assert eventually(done_or_over), self.said()


@pytest.fixture
def place(
    kafka_bootstrap: str,
    valkey: redis.Redis,
    valkey_url: str,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Place]:
    with_log = KafkaLog(kafka_bootstrap)
    one = Place(with_log, kafka_bootstrap, valkey_url, tmp_path, unique("parcels"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    assert cli.main(["topics", str(one.file), "--create-sources", "--partitions", str(PARTITIONS)]) == 0
    yield one
    one.end()
    with_log.close()


def produced(place: Place, number: int) -> list[Out]:
    """The stream, produced whole."""
    name = place.pipeline.name
    records = [out._replace(topic=out.topic.replace("parcels", name, 1)) for out in untidy(number, 1)]
    place.log.append(records)
    return records


def same_as_one_task(
    place: Place, expected: dict[str, list[Any]], stored: dict[str, bytes], url: str
) -> None:
    """Every topic record for record, and every state byte for byte."""
    found: dict[str, list[Any]] = {}

    def read_whole() -> bool:
        found.update(told(place.log, place.pipeline))
        return all(len(found[topic]) >= len(rows) for topic, rows in expected.items())

    assert eventually(read_whole)
    for topic, rows in expected.items():
        assert found[topic] == rows, topic
    states = {key: value for key, value in stored.items() if ":state:" in key}
    with redis.Redis.from_url(url) as client:
        assert {key: client.get(key) for key in states} == states


def all_told(place: Place, expected: dict[str, list[Any]]) -> Callable[[], bool]:
    wanted = len(expected[place.samples])
    return lambda: (
        place.end_of_samples() > wanted and len(told(place.log, place.pipeline)[place.samples]) >= wanted
    )


def test_killed_and_rescaled_it_appends_what_one_task_appends_and_nothing_twice(
    place: Place, valkey_url: str
) -> None:
    produced(place, 6_000)
    expected, stored = by_one_task(place.pipeline, copied(place.log, place.pipeline))
    place.start(1)
    place.until(lambda: place.end_of_samples() > 1_000)
    place.kill()
    before = len(told(place.log, place.pipeline)[place.samples])
    assert before < len(expected[place.samples])
    place.start(2)
    place.until(all_told(place, expected))
    assert place.stop() == 0
    same_as_one_task(place, expected, stored, valkey_url)


def test_on_a_cluster_whose_worker_is_killed_it_is_as_if_nothing_had_happened(
    place: Place, valkey_url: str
) -> None:
    produced(place, 6_000)
    expected, stored = by_one_task(place.pipeline, copied(place.log, place.pipeline))
    cluster = SessionCluster(PYTHON, place.folder, [ROOT]).start()
    try:
        victim, _ = cluster.run("taskmanager.sh"), cluster.run("taskmanager.sh")
        place.start(2, "--cluster", cluster.rest)
        assert place.process is not None and place.process.wait(PATIENCE_S) == 0, place.said()
        assert eventually(lambda: place.end_of_samples() > 1_000), cluster.said()
        cluster.kill(victim)
        cluster.run("taskmanager.sh")
        assert eventually(all_told(place, expected)), cluster.said()
    finally:
        cluster.end()
    same_as_one_task(place, expected, stored, valkey_url)
