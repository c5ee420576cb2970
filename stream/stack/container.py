"""Holds one container: starts it, repeats what it says, and ends when it ends. Run as a program, by `docker.py` only.

`container.py hold '{"name": ..., "image": ..., ...}'` creates the container, or starts the one of that name again;
`container.py remove NAME` removes it, running or not. Laws that hold here:

- The container's port is published on 127.0.0.1 alone, and no other container is started.
- SIGTERM never comes between creating a container and knowing of it: whoever removes it by its name afterwards finds it.
- What the daemon refuses is one line on stderr and exit code 1.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import docker.errors
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient


def hold(wanted: dict[str, Any]) -> int:
    """Run the container and repeat its output; its exit code."""
    testcontainers_config.ryuk_disabled = True
    client = DockerClient().client
    try:
        container = client.containers.get(wanted["name"])
    except docker.errors.NotFound:
        container = _create(client, wanted)
    else:
        container.start()
    for said in container.logs(stream=True, follow=True, tail=100):
        sys.stdout.buffer.write(said)
        sys.stdout.buffer.flush()
    return int(container.wait()["StatusCode"])


def _create(client: Any, wanted: dict[str, Any]) -> Any:
    try:
        client.images.get(wanted["image"])
    except docker.errors.ImageNotFound:
        client.images.pull(wanted["image"])  # this takes long, so it may be interrupted
    made = DockerContainer(wanted["image"], env=wanted["environment"], name=wanted["name"])
    ports: Any = made.ports  # typed as numbers; Docker takes an address with it
    ports[f"{wanted['inner']}/tcp"] = ("127.0.0.1", wanted["outer"])
    for volume, inside in wanted["volumes"].items():
        made.with_volume_mapping(volume, inside, "rw")
    if wanted["command"]:
        made.with_command(wanted["command"])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    made.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return made.get_wrapped_container()


def remove(name: str) -> int:
    """Remove the container, if there is one."""
    client = DockerClient().client
    try:
        client.containers.get(name).remove(force=True, v=True)
    except docker.errors.NotFound:
        pass
    return 0


if __name__ == "__main__":
    try:
        verb, what = sys.argv[1:]
        sys.exit(hold(json.loads(what)) if verb == "hold" else remove(what))
    except docker.errors.DockerException as refusal:
        print(f"docker: {refusal}", file=sys.stderr)
        sys.exit(1)
