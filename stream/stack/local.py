"""Finds or starts Kafka and Redis for one machine: `penstock demo`, `penstock up` and the tests.

Laws that hold here:

- The order is: addresses given in the environment, Docker, Java with Maven, memory. An address that is given is used,
  whatever else there is. `kind` other than "auto" allows that one way only and raises `StackError` if it fails.
- What was chosen, and why what stands before it was not, is in `Stack.description`.
- Whatever was started here ends here, and only that.
- With `keep`, servers started here find what an earlier one left in that folder, and one process at a time uses it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from penstock.features.redis.connecting import without_secrets
from penstock.stream.stack.docker import KAFKA_IMAGE, REDIS_IMAGE, docker_kafka, docker_missing, docker_redis
from penstock.stream.stack.kafka import KAFKA_VERSION, java_missing, kafka_server
from penstock.stream.stack.server import Server, StackError
from penstock.stream.stack.valkey import valkey_server

Kind = Literal["auto", "given", "docker", "java", "memory"]


@dataclass
class Stack:
    """Addresses of a running stack.

    `kafka` is a bootstrap address, or None: use a `MemoryLog`, with all roles in one process. `servers` holds those started
    here, by the names `kafka` and `redis`, for tests that kill, pause and restart them.
    """

    redis_url: str = ""
    kafka: str | None = None
    description: list[str] = field(default_factory=list)
    servers: dict[str, Server] = field(default_factory=dict)
    keep: Path | None = None

    def folder(self, name: str) -> Path | None:
        """Where a server's data are kept, if they are."""
        return None if self.keep is None else self.keep / name


@contextmanager
def local_stack(
    kind: Kind = "auto",
    *,
    env: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    keep: Path | None = None,
) -> Iterator[Stack]:
    """Give a running stack, and end what was started when the block ends.

    `progress` gets a line before each slow step. With `keep` the data of what is started here stay in that folder (of
    containers: in volumes named after it), and are found there again. Raises `StackError`.
    """
    env = os.environ if env is None else env
    stack = Stack(keep=keep)
    with ExitStack() as closing:
        if keep is not None:
            closing.enter_context(kept_for_us(keep))
        _find_kafka(kept_kind(keep, kind, env.get("KAFKA_BOOTSTRAP_SERVERS")), env, stack, progress)
        for server in stack.servers.values():
            closing.callback(server.close)
        before = set(stack.servers)
        _find_redis(kept_kind(keep, kind, env.get("REDIS_URL")), env, stack, progress)
        for name in stack.servers.keys() - before:
            closing.callback(stack.servers[name].close)
        if keep is not None:
            _note_kind(keep, stack)
        yield stack


@contextmanager
def kept_for_us(keep: Path) -> Iterator[None]:
    """Hold a folder's lock. Raises `StackError` while another process does, and when it cannot be written to."""
    with ExitStack() as closing:
        try:
            keep.mkdir(parents=True, exist_ok=True)
            lock = closing.enter_context((keep / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"{keep} is in use: stop the other `penstock up --keep`, or name another folder"
            ) from None
        except OSError as error:
            raise StackError(
                f"{keep} cannot be used: {error}. Name a folder that can be written to"
            ) from None
        yield


def kept_kind(keep: Path | None, kind: Kind, given: str | None) -> Kind:
    """The way that a folder's servers were started in: another would not find their data. A `given` address comes first."""
    if keep is None or kind != "auto" or given or not (keep / "kind").exists():
        return kind
    note = keep / "kind"
    return "docker" if note.read_text().strip() == "docker" else "java"


def _note_kind(keep: Path, stack: Stack) -> None:
    if "kafka" in stack.servers:
        (keep / "kind").write_text("docker" if "docker" in stack.servers["kafka"].started_by else "java")


def _find_kafka(kind: Kind, env: Mapping[str, str], stack: Stack, progress: Callable[[str], None]) -> None:
    given = env.get("KAFKA_BOOTSTRAP_SERVERS")
    if kind in ("auto", "given") and given:
        stack.kafka = given
        stack.description.append(f"Kafka: {given} (KAFKA_BOOTSTRAP_SERVERS)")
        return
    if kind == "given":
        raise StackError("KAFKA_BOOTSTRAP_SERVERS is not set: set it, or let the stack be found (auto)")
    refused: list[str] = []
    ways: list[tuple[Kind, Callable[[], str | None], Callable[[], tuple[Server, str]], str]] = [
        (
            "docker",
            docker_missing,
            lambda: docker_kafka(kept=stack.folder("kafka")),
            f"a container of {KAFKA_IMAGE}",
        ),
        (
            "java",
            java_missing,
            lambda: kafka_server(progress, kept=stack.folder("kafka")),
            f"Apache Kafka {KAFKA_VERSION} on this Java",
        ),
    ]
    for way, missing, start, what in ways:
        if kind not in ("auto", way):
            continue
        why = missing()
        if why is None:
            try:
                progress(f"starting Kafka: {what}")
                stack.servers["kafka"], stack.kafka = start()
                stack.description.append(f"Kafka: {stack.kafka}, {what}")
                break
            except StackError as error:
                why = str(error)
        if kind == way:
            raise StackError(f"no Kafka: {why}")
        refused.append(f"  not {way}: {why}")
    else:
        stack.description.append(
            "Kafka: none, the log is in this process's memory and nothing outlives the process"
        )
    stack.description += refused


def _find_redis(kind: Kind, env: Mapping[str, str], stack: Stack, progress: Callable[[str], None]) -> None:
    given = env.get("REDIS_URL")
    if kind in ("auto", "given") and given:
        stack.redis_url = given
        stack.description.append(f"Redis: {without_secrets(given)} (REDIS_URL)")
        return
    if kind == "given":
        raise StackError("REDIS_URL is not set: set it, or let the stack be found (auto)")
    if kind == "docker" or (kind == "auto" and docker_missing() is None):
        try:
            progress(f"starting Redis: a container of {REDIS_IMAGE}")
            stack.servers["redis"], stack.redis_url = docker_redis(stack.folder("redis"))
            stack.description.append(f"Redis: {stack.redis_url}, a container of {REDIS_IMAGE}")
            return
        except StackError as error:
            if kind == "docker":
                raise
            stack.description.append(f"  docker: {error}")
    stack.servers["redis"], stack.redis_url = valkey_server(kept=stack.folder("redis"))
    stack.description.append(f"Redis: {stack.redis_url}, a Valkey server of its own")
