"""The local stack: what it finds, what it starts, and that nothing of it survives us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import LogUnavailable, Out
from penstock.stream.stack import Server, StackError, kafka, local_stack
from penstock.stream.stack.kafka import java_missing
from penstock.stream.stack.server import free_ports
from penstock.stream.stack.valkey import valkey_server
from tests.patience import PATIENCE_S, eventually

ROOT = Path(__file__).parent.parent.parent


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # it went between the two looks
        return True


@pytest.fixture
def server() -> Iterator[tuple[Server, redis.Redis]]:
    running, url = valkey_server()
    client = redis.Redis.from_url(url)
    yield running, client
    client.close()
    running.close()


# -- what is chosen


def test_given_addresses_are_used_as_they_are() -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": "broker:1", "REDIS_URL": "redis://store:2/0"}
    for kind in ("auto", "given"):
        with local_stack(kind, env=env) as stack:
            assert (stack.kafka, stack.redis_url, stack.servers) == ("broker:1", "redis://store:2/0", {})
            assert stack.description == [
                "Kafka: broker:1 (KAFKA_BOOTSTRAP_SERVERS)",
                "Redis: redis://store:2/0 (REDIS_URL)",
            ]


@pytest.mark.parametrize("name", ["KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL"])
def test_asking_for_a_given_stack_needs_both_addresses(name: str) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": "broker:1", "REDIS_URL": "redis://store:2/0"}
    del env[name]
    with pytest.raises(StackError, match=f"{name} is not set"), local_stack("given", env=env):
        pass


def test_without_docker_and_java_the_log_is_in_memory_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with local_stack("auto", env={}) as stack:
        assert stack.kafka is None
        assert list(stack.servers) == ["redis"]
        assert redis.Redis.from_url(stack.redis_url).ping()
        text = "\n".join(stack.description)
        assert "nothing outlives the process" in text
        assert "not docker: " in text
        assert "not java: no java on the PATH" in text


def test_asking_for_what_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(StackError, match="no Kafka: no java on the PATH"), local_stack("java", env={}):
        pass
    with (
        pytest.raises(StackError, match="no Kafka: (docker's daemon does not answer|the Python package)"),
        local_stack("docker", env={}),
    ):
        pass


@pytest.mark.parametrize(
    ("version", "refused"), [('openjdk version "11.0.2"', True), ('openjdk version "21.0.1"', False)]
)
def test_java_must_be_recent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, refused: bool
) -> None:
    for name, script in (("java", f"#!/bin/sh\necho '{version}' >&2\n"), ("mvn", "#!/bin/sh\n")):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert java_missing() == ("java is older than 17" if refused else None)


def test_a_cache_that_cannot_be_filled_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mvn").write_text("#!/bin/sh\necho 'no route to the repository'\nexit 1\n")
    (tmp_path / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        StackError, match=r"Maven could not fetch Kafka's jars(.|\n)*no route to the repository"
    ):
        kafka.prepare()
    assert [path.name for path in kafka.cache_folder().iterdir()] == ["lock"]


# -- servers


def test_our_valkey_keeps_every_key(server: tuple[Server, redis.Redis]) -> None:
    _, client = server
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_killed_server_comes_back_with_its_data_at_its_address(server: tuple[Server, redis.Redis]) -> None:
    running, client = server
    client.config_set("appendfsync", "always")  # of the default it may lose a second
    client.set("k", "v")
    before = running.pid
    running.kill()
    assert gone(before)
    assert not running.running
    with pytest.raises(redis.ConnectionError):
        client.ping()
    running.start()
    assert running.pid != before
    assert client.get("k") == b"v"


def test_a_paused_server_answers_only_when_it_goes_on(server: tuple[Server, redis.Redis]) -> None:
    running, client = server
    hasty = redis.Redis.from_url(
        f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}", socket_timeout=0.2
    )
    running.pause()
    with pytest.raises(redis.TimeoutError):
        hasty.ping()
    running.resume()
    assert client.ping()
    running.pause()
    running.close()  # also from a pause
    assert gone(running.pid)


def test_closing_removes_the_folder_and_closing_twice_is_harmless(server: tuple[Server, redis.Redis]) -> None:
    running, _ = server
    assert running.folder.is_dir()
    running.close()
    running.close()
    assert not running.folder.exists()
    assert gone(running.pid)


def test_a_server_that_ends_while_starting_shows_the_end_of_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    program = "print('line 1'); print('port 5 is taken'); raise SystemExit(3)"
    failing = Server("thing", [sys.executable, "-c", program], folder, lambda: False, advice="Free the port.")
    with pytest.raises(StackError) as caught:
        failing.start()
    assert str(caught.value) == (
        "thing ended while starting. The end of its log:\n  | line 1\n  | port 5 is taken\nFree the port."
    )
    assert not folder.exists()


def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    silent = Server("thing", ["sleep", "1000"], tmp_path / "f", lambda: False, start_s=0.2)
    silent.folder.mkdir()
    with pytest.raises(StackError, match="thing did not answer within 0.2 s"):
        silent.start()
    assert gone(silent.pid)


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(StackError, match=r"thing could not be run(.|\n)*no-such-program"):
        Server("thing", ["no-such-program"], tmp_path / "f", lambda: True).start()


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", ports[0]))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_parent_however_it_ends(end: signal.Signals) -> None:
    program = (
        "from penstock.stream.stack.valkey import valkey_server; import signal\n"
        # what a shell starts in the background inherits that SIGINT is ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "server, url = valkey_server(); print(server.pid, server.folder, flush=True); signal.pause()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    assert not gone(int(pid))
    parent.send_signal(end)
    parent.communicate(timeout=PATIENCE_S)
    assert eventually(lambda: gone(int(pid)))
    assert eventually(lambda: not Path(folder).exists())


def test_a_server_dies_with_its_watchdog() -> None:
    running, _ = valkey_server()
    assert running._watchdog is not None
    running._watchdog.kill()
    assert eventually(lambda: gone(running.pid))
    running.close()


def test_ctrl_c_does_not_reach_a_server_before_us() -> None:
    running, _ = valkey_server()
    assert os.getpgid(running.pid) != os.getpgid(0)
    assert os.getsid(running.pid) != os.getsid(0)
    running.close()


def test_the_module_prints_addresses_and_ends_cleanly_when_interrupted() -> None:
    command = [sys.executable, "-m", "penstock.stream.stack", "memory"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("export REDIS_URL=redis://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "nothing outlives the process" in messages
    assert "Traceback" not in messages


# -- Kafka


@pytest.fixture
def own_kafka(kafka_bootstrap: str) -> Iterator[tuple[Server, str]]:
    """A broker for one test alone. `kafka_bootstrap` says first whether there is any."""
    with local_stack("auto", env={}) as stack:
        assert stack.kafka is not None
        yield stack.servers["kafka"], stack.kafka


def test_a_broker_creates_no_topic_by_being_asked(
    kafka_log: KafkaLog, kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    from confluent_kafka.admin import AdminClient

    topic = unique("t")
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.list_topics(topic, timeout=PATIENCE_S)
    assert topic not in admin.list_topics(timeout=PATIENCE_S).topics


@pytest.mark.long
def test_the_log_outlives_a_killed_broker(own_kafka: tuple[Server, str]) -> None:
    from kafka import KafkaAdminClient

    broker, address = own_kafka
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics({"t": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    waits: list[int] = []
    log = KafkaLog(address, append_timeout_s=PATIENCE_S, on_wait=lambda unacked, _: waits.append(unacked))
    log.append([Out("t", b"k", b"before")])
    reader = log.reader({("t", 0): 0})
    member = log.member("g", ["t"])
    broker.kill()
    with pytest.raises(LogUnavailable, match=f"Kafka at {address} did not answer"):
        KafkaLog(address, request_timeout_s=0.5).partitions("t")
    broker.start()
    log.append([Out("t", b"k", b"after")])
    records = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < 2 and time.monotonic() < deadline:
        records += reader.poll(10, 0.2)
    assert [r.value for r in records] == [b"before", b"after"]
    while member.take_assignment() is None and time.monotonic() < deadline:
        member.poll(1, 0.1)
    member.start_at({("t", 0): 2})
    member.commit({("t", 0): 2})
    assert log.committed("g", [("t", 0)]) == {("t", 0): 2}
    for each in (member, reader, log):
        each.close()


@pytest.mark.long
def test_an_append_that_is_not_acknowledged_in_time_fails_and_is_not_sent_later(
    own_kafka: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kafka import KafkaAdminClient

    from penstock.stream.log.protocol import AppendFailed

    broker, address = own_kafka
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics({"t": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    log = KafkaLog(address, append_timeout_s=PATIENCE_S)
    log.append([Out("t", b"k", b"before")])
    broker.kill()
    monkeypatch.setattr(log._appender, "_timeout_s", 1.5)  # only now: nothing can be acknowledged any more
    with pytest.raises(
        AppendFailed, match="2 of 2 records were not acknowledged: no acknowledgement within 1.5 s"
    ):
        log.append([Out("t", b"k", b"lost"), Out("t", b"k", b"lost")])
    broker.start()
    patient = KafkaLog(address)
    patient.append([Out("t", b"k", b"after")])
    reader = patient.reader({("t", 0): 0})
    records = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < 2 and time.monotonic() < deadline:
        records += reader.poll(10, 0.2)
    assert [r.value for r in records] == [b"before", b"after"]
    for each in (reader, patient, log):
        each.close()
