"""Servers for the tests. Every server used here was started here: addresses in the environment are ignored.

One broker serves all pytest-xdist workers of a run; each worker has its own Valkey.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from penstock.stream.log.kafka import KafkaLog
from penstock.stream.stack import StackError, local_stack
from penstock.stream.stack.local import Stack
from penstock.stream.stack.valkey import valkey_binary, valkey_server
from tests.effort import examples
from tests.valkey_cluster import valkey_cluster

# No test is about how long an example takes, or how long it takes to draw one.
settings.register_profile(
    "penstock", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("penstock")

SET_IN_PASSING = (
    "penstock.stream.featurize.dead_share",
    "penstock.stream.featurize.worker",
    "penstock.stream.learn.worker",
    "penstock.stream.learn.births",
    "penstock.stream.learn.replica_snapshot",
    "penstock.stream.learn.suspicion",
)
_WAIT_FOR_USERS_S = 3_600.0  # they hold no lock when they are gone, however they went


@pytest.fixture(scope="session", autouse=True)
def _no_given_servers() -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL"):
        os.environ.pop(name, None)


class _Compiled(BytecodeCache):
    """Templates that were compiled once in this process: a test makes a console of its own, as a process does once."""

    def __init__(self) -> None:
        self.by_key: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.by_key:
            bucket.bytecode_from_string(self.by_key[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.by_key[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def _templates_are_compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        made = partial(Environment, bytecode_cache=_Compiled())
        patch.setattr("penstock.stream.console.render.Environment", made)
        yield


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """What definition files, which are Python, and fuzz targets set in the test's own process is set back."""
    places: list[Any] = [sys.modules[name] for name in SET_IN_PASSING if name in sys.modules]
    places += [place.Suspicion for place in places if hasattr(place, "Suspicion")]
    before = [dict(vars(place)) for place in places]
    yield
    for place, was in zip(places, before, strict=True):
        for name, value in was.items():
            if vars(place).get(name) is not value:
                setattr(place, name, value)


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The address of a broker that this test run started. Names must be unique: all workers share it."""
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent
    with _shared(root, _start_kafka) as address:
        if not address:
            reason = "no Kafka: neither Docker nor Java 17 with Maven works here (see `python -m penstock.stream.stack`)"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield address


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The URL of a Valkey server that belongs to this worker alone."""
    try:
        server, url = valkey_server()
    except StackError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield url
    server.close()


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """The URL of a Valkey cluster of three primaries that belongs to this worker alone; no test harms it."""
    try:
        valkey_binary()
    except StackError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with valkey_cluster(replicas=False) as cluster:
        yield cluster.url


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    """A client of this worker's Valkey, empty."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes names nobody else has: `unique("flights")`."""
    return lambda name: f"{name}-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def kafka_log(kafka_bootstrap: str) -> Iterator[KafkaLog]:
    """A `KafkaLog` on the shared broker."""
    log = KafkaLog(kafka_bootstrap)
    yield log
    log.close()


def _start_kafka() -> tuple[str, Callable[[], None]]:
    context = local_stack("auto", env={})
    stack: Stack = context.__enter__()
    return stack.kafka or "", lambda: context.__exit__(None, None, None)


class _shared:
    """A server that several processes use, started by the first and ended by it after the last.

    Users hold a shared lock on a file; a lock goes with its process, so a crashed worker holds up nobody.
    """

    def __init__(self, root: Path, start: Callable[[], tuple[str, Callable[[], None]]]) -> None:
        self._start = start
        self._note = root / "kafka.json"
        self._turn = (root / "kafka.lock").open("w")
        self._users = root
        self._stop: Callable[[], None] | None = None

    def __enter__(self) -> str:
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            if not self._note.exists():
                address, self._stop = self._start()
                note = {"address": address, "users": f"kafka-{uuid.uuid4().hex}.users"}
                self._note.write_text(json.dumps(note))
            note = json.loads(self._note.read_text())
            self._use = (self._users / note["users"]).open("w")
            fcntl.flock(self._use, fcntl.LOCK_SH)
            return str(note["address"])
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            fcntl.flock(self._turn, fcntl.LOCK_EX)  # who comes now starts another one
            self._note.unlink()
            fcntl.flock(self._turn, fcntl.LOCK_UN)
            self._wait_for_users()
            self._stop()
        self._use.close()
        self._turn.close()

    def _wait_for_users(self) -> None:
        deadline = time.monotonic() + _WAIT_FOR_USERS_S
        while time.monotonic() < deadline:
            try:
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.05)
