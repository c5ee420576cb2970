"""Servers in containers, as far as it can be seen without Docker: against a daemon of the tests' own.

It speaks the part of Docker's interface that is used, notes what it is asked, and its containers are processes: for Redis a real
Valkey on the published port. No image is pulled and nothing is run by a real daemon here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pytest
import redis

from penstock.stream.stack import StackError, docker, local_stack
from penstock.stream.stack.server import Server
from penstock.stream.stack.valkey import valkey_binary
from tests.patience import PATIENCE_S, eventually

pytest.importorskip("testcontainers", reason="testcontainers is not installed")

ROOT = Path(__file__).parents[3]


class Container:
    """What the daemon was asked to create, and the process that stands for it."""

    def __init__(self, name: str, wanted: dict[str, Any], folder: Path) -> None:
        self.name, self.wanted, self.folder = name, wanted, folder
        self.process: subprocess.Popen[bytes] | None = None
        self.said = folder / f"{name}.said"

    def start(self) -> None:
        ((published,),) = self.wanted["HostConfig"]["PortBindings"].values()
        command = ["sleep", "1000"]
        if self.wanted.get("Cmd"):
            command = [
                valkey_binary(),
                *self.wanted["Cmd"][1:],
                "--port",
                published["HostPort"],
                "--dir",
                str(self.folder),
            ]
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class Daemon(ThreadingHTTPServer):
    """A daemon with these images; it can get others unless it is offline."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder = folder
        self.images = {docker.KAFKA_IMAGE, docker.REDIS_IMAGE}
        self.pulled: list[str] = []
        self.offline = False
        self.containers: dict[str, Container] = {}
        self.calls: list[str] = []

    def answer(self, verb: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.calls.append(f"{verb} {path}")
        match path.strip("/").split("/"):
            case ["version"]:
                return 200, {"ApiVersion": "1.44", "Version": "28.0"}
            case ["images", "create"]:
                if self.offline:
                    return 404, {"message": "pull access denied"}
                self.pulled.append(f"{query['fromImage'][0]}:{query['tag'][0]}")
                self.images.add(self.pulled[-1])
                return 200, {}
            case ["images", *name, "json"]:
                there = "/".join(name) in self.images
                return (
                    (200, {"Id": "sha256:1", "RepoTags": name})
                    if there
                    else (404, {"message": "no such image"})
                )
            case ["containers", "create"]:
                made = Container(query["name"][0], body, self.folder)
                self.containers[made.name] = made
                return 201, {"Id": made.name, "Warnings": []}
            case ["containers", name, *what]:
                if name not in self.containers:
                    return 404, {"message": "no such container"}
                return self.of_container(verb, self.containers[name], what[0] if what else "", query)
        return 404, {"message": f"not played: {path}"}

    def of_container(
        self, verb: str, it: Container, what: str, query: dict[str, list[str]]
    ) -> tuple[int, Any]:
        if what == "json":
            return 200, {
                "Id": it.name,
                "Name": "/" + it.name,
                "Config": {"Tty": True},
                "State": {"Status": "running"},
            }
        if what == "start":
            it.start()
        elif what in ("pause", "unpause"):
            it.signal(signal.SIGSTOP if what == "pause" else signal.SIGCONT)
        elif what == "kill":
            it.signal(signal.Signals[query["signal"][0]])
        elif what == "wait":
            assert it.process is not None
            return 200, {"StatusCode": abs(it.process.wait(PATIENCE_S))}
        elif verb == "DELETE":
            self.remove(it.name)
        return 204, None

    def remove(self, name: str) -> None:
        process = self.containers.pop(name).process
        if process is not None:
            process.kill()
            process.wait(PATIENCE_S)


class Answers(BaseHTTPRequestHandler):
    server: Daemon

    def do_GET(self) -> None:
        url = urlparse(self.path)
        path = unquote(re.sub(r"^/v1\.\d+", "", url.path))
        if path.endswith("/logs"):
            self.follow(self.server.containers[path.split("/")[2]])
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        code, answer = self.server.answer(self.command, path, parse_qs(url.query), body)
        said = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_DELETE = do_GET

    def follow(self, it: Container) -> None:
        """What the process said, once it has ended."""
        self.send_response(200)
        self.end_headers()
        assert it.process is not None
        it.process.wait(PATIENCE_S)
        self.wfile.write(it.said.read_bytes())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    serving = threading.Thread(target=made.serve_forever, daemon=True)
    serving.start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{made.server_port}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-config"))
    yield made
    for name in list(made.containers):
        made.remove(name)
    made.shutdown()
    made.server_close()


@pytest.fixture
def in_a_container(daemon: Daemon) -> Iterator[tuple[Server, redis.Redis, Container]]:
    server, url = docker.docker_redis()
    with redis.Redis.from_url(url) as client:
        yield server, client, next(iter(daemon.containers.values()))
    server.close()


def test_a_daemon_that_answers_is_used_and_one_that_does_not_is_named(daemon: Daemon) -> None:
    assert docker.docker_missing() is None
    os.environ["DOCKER_HOST"] = "tcp://127.0.0.1:1"  # the fixture puts it back
    assert docker.docker_missing() == "docker's daemon does not answer"


def test_a_daemon_of_another_machine_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ports would be published on a loopback that is not ours."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    assert "is on another machine (tcp://10.0.0.1:2375)" in (docker.docker_missing() or "")


def test_without_the_package_the_stack_says_which_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "testcontainers.core.docker_client", None)
    missing = docker.docker_missing()
    assert missing is not None and re.fullmatch(
        r"the Python package testcontainers\S* is not installed", missing
    )


def test_the_ports_of_both_are_published_on_loopback_only(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "answers", lambda address: bool(daemon.containers))
    with local_stack("docker", env={}) as stack:
        kafka, redis_ = daemon.containers.values()
        assert [one.wanted["Image"] for one in (kafka, redis_)] == [docker.KAFKA_IMAGE, docker.REDIS_IMAGE]
        for one, inner, address in ((kafka, "9092/tcp", stack.kafka), (redis_, "6379/tcp", stack.redis_url)):
            (bound,) = one.wanted["HostConfig"]["PortBindings"][inner]
            assert bound["HostIp"] == "127.0.0.1" and f"127.0.0.1:{bound['HostPort']}" in str(address)
            assert not one.wanted["HostConfig"].get("Privileged") and not one.wanted["HostConfig"].get(
                "Binds"
            )
        assert f"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://{stack.kafka}" in kafka.wanted["Env"]
        assert "KAFKA_AUTO_CREATE_TOPICS_ENABLE=false" in kafka.wanted["Env"]
        assert len(daemon.containers) == 2, "no reaper, whose port would be open to everyone"
    assert not daemon.containers


def test_redis_in_a_container_keeps_every_key(in_a_container: tuple[Server, redis.Redis, Container]) -> None:
    _, client, _ = in_a_container
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("appendonly") == {"appendonly": "yes"} and client.config_get("save") == {
        "save": ""
    }


def test_a_killed_container_comes_back_at_its_address_and_is_removed(
    daemon: Daemon,
    in_a_container: tuple[Server, redis.Redis, Container],
) -> None:
    server, client, container = in_a_container
    client.config_set("appendfsync", "always")
    client.set("k", "v")
    server.kill()
    assert (
        container.process is not None and container.process.poll() == -signal.SIGKILL and not server.running
    )
    server.start()
    assert client.get("k") == b"v"
    server.terminate()
    assert container.process.poll() == 0
    server.close()
    assert not daemon.containers, "nothing of one that had ended stays behind"


def test_a_paused_container_answers_only_when_it_goes_on(
    in_a_container: tuple[Server, redis.Redis, Container],
) -> None:
    server, client, _ = in_a_container
    hasty = redis.Redis.from_url(
        f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}", socket_timeout=0.2
    )
    server.pause()
    with pytest.raises(redis.TimeoutError):
        hasty.ping()
    server.resume()
    assert client.ping()


def test_an_image_that_is_not_there_is_fetched_and_one_that_cannot_be_is_reported(daemon: Daemon) -> None:
    daemon.images.clear()
    docker.docker_redis()[0].close()
    assert daemon.pulled == [docker.REDIS_IMAGE]
    daemon.images.clear()
    daemon.offline = True
    before = len(daemon.calls)
    expected = r"redis ended while starting(.|\n)*pull access denied(.|\n)*docker run --rm redis:8"
    with pytest.raises(StackError, match=expected):
        docker.docker_redis()
    assert not daemon.containers and not [
        call for call in daemon.calls[before:] if "create" in call and "images" not in call
    ]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_container_is_removed_however_its_owner_ends(daemon: Daemon, end: signal.Signals) -> None:
    program = (
        "from penstock.stream.stack.docker import docker_redis; import signal\n"
        "server, url = docker_redis(); print(url, flush=True); signal.pause()"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None and owner.stdout.readline().startswith("redis://127.0.0.1:")
    assert len(daemon.containers) == 1
    owner.send_signal(end)
    owner.communicate(timeout=PATIENCE_S)
    assert eventually(lambda: not daemon.containers)
