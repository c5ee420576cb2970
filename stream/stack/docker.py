"""Kafka and Redis as containers, when a Docker daemon answers: the projects' own images, by the plain `docker` command.

Laws that hold here: ports are published on loopback only; a container is run in the foreground behind a watchdog, so it is
stopped and removed when this process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from penstock.stream.stack.kafka import KAFKA_VERSION, answers
from penstock.stream.stack.server import Server, free_ports
from penstock.stream.stack.valkey import pongs

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
REDIS_IMAGE = "redis:8"

_START_S = 300.0  # the first start pulls the image
_GRACE_S = 10.0


def docker_missing() -> str | None:
    """Why Docker cannot be used, or None if its daemon answers."""
    if shutil.which("docker") is None:
        return "no docker on the PATH"
    try:
        answer = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "docker's daemon did not answer within 10 s"
    return None if answer.returncode == 0 and answer.stdout.strip() else "docker's daemon does not answer"


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
    options = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
    options += _volume("kafka", kept, "/var/lib/kafka/data")
    return _container("kafka", KAFKA_IMAGE, port, 9092, options, [], lambda: answers(address)), address


def docker_redis(kept: Path | None = None) -> tuple[Server, str]:
    """Start Redis in a container; gives the server and its URL. With `kept`, its data stay in a volume."""
    port = free_ports(1)[0]
    command = (
        "redis-server --save  --appendonly yes --appendfsync everysec --maxmemory-policy noeviction".split(
            " "
        )
    )
    server = _container(
        "redis", REDIS_IMAGE, port, 6379, _volume("redis", kept, "/data"), command, lambda: pongs(port)
    )
    return server, f"redis://127.0.0.1:{port}/0"


def _volume(kind: str, kept: Path | None, inside: str) -> list[str]:
    """A named volume for the folder that keeps: the images' own users may write to one, and not to any folder of ours."""
    if kept is None:
        return []
    named = hashlib.sha256(str(kept.absolute()).encode()).hexdigest()[:12]
    return ["-v", f"penstock-{named}-{kind}:{inside}"]


def _container(
    kind: str,
    image: str,
    port: int,
    inner_port: int,
    options: list[str],
    command: list[str],
    is_up: Callable[[], bool],
) -> Server:
    name = f"penstock-{kind}-{uuid.uuid4().hex[:12]}"
    run = [
        "docker",
        "run",
        "--rm",
        "--name",
        name,
        "-p",
        f"127.0.0.1:{port}:{inner_port}",
        *options,
        image,
        *command,
    ]
    server = Server(
        kind,
        run,
        Path(tempfile.mkdtemp(prefix=f"penstock-{kind}-")),
        is_up,
        start_s=_START_S,
        grace_s=_GRACE_S,
        after=["docker", "rm", "-f", name],
        advice=f"Try `docker run --rm {image}` by hand.",
    )
    server.start()
    return server
