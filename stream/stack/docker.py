"""Kafka and Redis as containers, when a Docker daemon answers: the projects' own images, started by testcontainers.

Laws that hold here:

- Ports are published on loopback only. So testcontainers' own reaper (Ryuk) is off: its port is published on every interface, and
  it wants the daemon's socket inside a container. What it is for, a watchdog of ours does.
- A container is held by a process of its own (`container.py`) behind that watchdog, so it is removed when this process ends,
  however it ends. Only who kills the watchdog itself leaves one behind.
- `kill`, `terminate`, `pause` and `resume` are done to the container, and `start` brings the same one back at its address.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from penstock.stream.stack.kafka import KAFKA_VERSION, answers
from penstock.stream.stack.server import Server, free_ports
from penstock.stream.stack.valkey import pongs

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
REDIS_IMAGE = "redis:8"

_HOLDER = Path(__file__).with_name("container.py")
_START_S = 300.0  # the first start pulls the image
_GRACE_S = 10.0
_ANSWER_S = 10
_LOOPBACK = (None, "", "localhost", "127.0.0.1", "::1")


def docker_missing() -> str | None:
    """Why Docker cannot be used, or None if a daemon of this machine answers."""
    try:
        from docker.errors import DockerException
        from testcontainers.core.docker_client import DockerClient, get_docker_host
    except ImportError as error:
        return f"the Python package {error.name} is not installed"
    where = get_docker_host() or ""
    if not where.startswith("unix:") and urlparse(where).hostname not in _LOOPBACK:
        return f"docker's daemon is on another machine ({where}), and ports are published on loopback only"
    try:
        DockerClient(timeout=_ANSWER_S).client.close()  # making one asks the daemon for its version
    except DockerException:
        return "docker's daemon does not answer"
    return None


def docker_kafka(heap_mb: int = 768, kept: Path | None = None) -> tuple[Server, str]:
    """Start a broker in a container; gives the server and its bootstrap address. With `kept`, its data stay in a volume."""
    port = free_ports(1)[0]
    address = f"127.0.0.1:{port}"
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{address}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
        "KAFKA_HEAP_OPTS": f"-Xms{heap_mb // 2}m -Xmx{heap_mb}m",
    }
    volumes = _volume("kafka", kept, "/var/lib/kafka/data")
    server = _container(
        "kafka", KAFKA_IMAGE, (9092, port), settings, [], lambda: answers(address), volumes=volumes
    )
    return server, address


def docker_redis(kept: Path | None = None) -> tuple[Server, str]:
    """Start Redis in a container; gives the server and its URL. With `kept`, its data stay in a volume."""
    port = free_ports(1)[0]
    options = {"save": "", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    command = ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))]
    volumes = _volume("redis", kept, "/data")
    server = _container("redis", REDIS_IMAGE, (6379, port), {}, command, lambda: pongs(port), volumes=volumes)
    return server, f"redis://127.0.0.1:{port}/0"


def _volume(kind: str, kept: Path | None, inside: str) -> dict[str, str]:
    """A named volume for the folder that keeps: the images' own users may write to one, and not to any folder of ours."""
    if kept is None:
        return {}
    named = hashlib.sha256(str(kept.absolute()).encode()).hexdigest()[:12]
    return {f"penstock-{named}-{kind}": inside}


class ContainerServer(Server):
    """A server in a container. `pid` is that of the process that holds it."""

    container = ""

    def kill(self) -> None:
        self._of_container("kill", signal="SIGKILL")
        self._gone()

    def terminate(self) -> None:
        self._of_container("kill", signal="SIGTERM")
        self._gone()

    def pause(self) -> None:
        self._of_container("pause")

    def resume(self) -> None:
        self._of_container("unpause")

    def _signal(self, number: int) -> None:
        if number != signal.SIGCONT:  # closing: who removes a container does not mind that it is paused
            super()._signal(number)

    def _of_container(self, verb: str, **options: Any) -> None:
        if self.running:
            from testcontainers.core.docker_client import DockerClient

            client = DockerClient().client
            getattr(client.containers.get(self.container), verb)(**options)
            client.close()


def _container(
    kind: str,
    image: str,
    ports: tuple[int, int],
    environment: Mapping[str, str],
    command: Sequence[str],
    is_up: Callable[[], bool],
    *,
    volumes: Mapping[str, str],
) -> Server:
    name = f"penstock-{kind}-{uuid.uuid4().hex[:12]}"
    inner, outer = ports
    wanted = {
        "name": name,
        "image": image,
        "environment": environment,
        "command": command,
        "volumes": volumes,
    }
    # -P: the folder of that file, with a `docker.py` and a `kafka.py`, is no place to import from
    holder = [sys.executable, "-P", str(_HOLDER)]
    server = ContainerServer(
        kind,
        [*holder, "hold", json.dumps({**wanted, "inner": inner, "outer": outer})],
        Path(tempfile.mkdtemp(prefix=f"penstock-{kind}-")),
        is_up,
        start_s=_START_S,
        grace_s=_GRACE_S,
        after=[*holder, "remove", name],
        advice=f"Try `docker run --rm {image}` by hand.",
    )
    server.container = name
    server.start()
    return server
