"""Finds or starts Kafka and Redis for one machine: `penstock demo`, `penstock up` and the tests.

Laws that hold here:

- The order is: addresses given in the environment, Docker, Java with Maven, memory. An address that is given is used,
  whatever else there is. `kind` other than "auto" allows that one way only and raises `StackError` if it fails.
- What was chosen, and why what stands before it was not, is in `Stack.description`.
- Whatever was started here ends here, and only that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

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


@contextmanager
def local_stack(
    kind: Kind = "auto",
    *,
    env: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[Stack]:
    """Give a running stack, and end what was started when the block ends.

    `progress` gets a line before each slow step. Raises `StackError`.
    """
    env = os.environ if env is None else env
    stack = Stack()
    with ExitStack() as closing:
        _find_kafka(kind, env, stack, progress)
        for server in stack.servers.values():
            closing.callback(server.close)
        before = set(stack.servers)
        _find_redis(kind, env, stack, progress)
        for name in stack.servers.keys() - before:
            closing.callback(stack.servers[name].close)
        yield stack


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
        ("docker", docker_missing, docker_kafka, f"a container of {KAFKA_IMAGE}"),
        ("java", java_missing, lambda: kafka_server(progress), f"Apache Kafka {KAFKA_VERSION} on this Java"),
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
        stack.description.append(f"Redis: {given} (REDIS_URL)")
        return
    if kind == "given":
        raise StackError("REDIS_URL is not set: set it, or let the stack be found (auto)")
    if kind == "docker" or (kind == "auto" and docker_missing() is None):
        try:
            progress(f"starting Redis: a container of {REDIS_IMAGE}")
            stack.servers["redis"], stack.redis_url = docker_redis()
            stack.description.append(f"Redis: {stack.redis_url}, a container of {REDIS_IMAGE}")
            return
        except StackError as error:
            if kind == "docker":
                raise
            stack.description.append(f"  docker: {error}")
    stack.servers["redis"], stack.redis_url = valkey_server()
    stack.description.append(f"Redis: {stack.redis_url}, a Valkey server of its own")
