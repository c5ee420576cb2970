"""Apache Kafka on this machine's Java: the jars resolved once by Maven, one KRaft node, its own folder.

Laws that hold here:

- The cache (`$XDG_CACHE_HOME/penstock/kafka-<version>`) is made once, under a file lock, and appears whole or not at all;
  with it there, nothing touches the network.
- A start copies a formatted, empty log folder and uses a class-data archive: about 1.5 s instead of 4 s.
- Topics are never created by accident (`auto.create.topics.enable=false`).
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from penstock.stream.stack.server import Server, StackError, free_ports, last_lines, same_ports

POM = Path(__file__).with_name("pom.xml")
KAFKA_VERSION = re.findall(r"<kafka.version>(.+?)</kafka.version>", POM.read_text())[0]
JAVA_MAJOR = 17
KEPT_GRACE_S = 20.0
KEPT_START_S = 180.0  # after a hard end it reads its logs again

_SILENT = logging.getLogger(f"{__name__}.probe")  # a broker that is not up yet is no news
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False

_CLUSTER_ID = "cGVuc3RvY2stbG9jYWwtMQ"  # any 16 bytes, base64: only this one node ever sees it
_JAVA_FLAGS = ["-XX:+UseSerialGC", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# One node, few clients: rebalance at once, and let tests use short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A killed broker may register again only when its last session has ended.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
num.network.threads=2
num.io.threads=2
# The default of 128 MB would be a quarter of the heap.
log.cleaner.dedupe.buffer.size=8388608
"""


def java_missing() -> str | None:
    """Why Kafka cannot run on this machine's Java, or None if it can."""
    java = shutil.which("java")
    if java is None:
        return "no java on the PATH"
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    version = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    if version is None or int(version[1]) < JAVA_MAJOR:
        return f"java is older than {JAVA_MAJOR}"
    if shutil.which("mvn") is None and not (cache_folder() / "libs").is_dir():
        return "no mvn (Maven) on the PATH to fetch Kafka's jars with"
    return None


def cache_folder() -> Path:
    """Where the jars are kept, for every project of this user."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "penstock" / f"kafka-{KAFKA_VERSION}"


def kafka_server(
    progress: Callable[[str], None], *, heap_mb: int = 768, kept: Path | None = None, more: str = ""
) -> tuple[Server, str]:
    """Start a broker; gives the server and its bootstrap address.

    Its data go with it, or stay in the folder `kept` and are found there again, at the same address if it is free.
    `more` are further lines of its settings, which win; in them `{broker}` and `{controller}` stand for its ports.
    """
    cache = prepare(progress)
    folder = kept or Path(tempfile.mkdtemp(prefix="penstock-kafka-"))
    folder.mkdir(parents=True, exist_ok=True)
    former = _former_ports(folder / "server.properties")
    broker, controller = same_ports(former) if former else free_ports(2)
    command = [
        "java",
        f"-Xms{heap_mb // 2}m",
        f"-Xmx{heap_mb}m",
        f"-XX:SharedArchiveFile={_archive(cache)}",
        *_JAVA_FLAGS,
        *("-cp", _classpath(cache), "kafka.Kafka", str(_configure(cache, folder, broker, controller, more))),
    ]
    address = f"127.0.0.1:{broker}"
    lasting: dict[str, Any] = {"keep": True, "grace_s": KEPT_GRACE_S, "start_s": KEPT_START_S} if kept else {}
    server = Server("kafka", command, folder, lambda: answers(address), advice=_ADVICE, **lasting)
    server.start()
    return server, address


def _former_ports(config: Path) -> list[int]:
    """The ports of broker and controller that a kept folder was last served at."""
    if not config.exists():
        return []
    return [
        int(port)
        for port in re.findall(r"^listeners=\S+?:(\d+),\S+:(\d+)$", config.read_text(), re.MULTILINE)[0]
    ]


_ADVICE = (
    "If a port was taken or memory is short, try again; otherwise set KAFKA_BOOTSTRAP_SERVERS to a running broker "
    "or use the in-memory log."
)


def answers(address: str) -> bool:
    """Whether a broker gives its metadata at this address within about a second.

    It also asks once where a group's coordinator is, without waiting for the answer: the first such question creates the
    topic of the offsets, and a client that joined a group meanwhile would lose 3 s.
    """
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    # Not AdminClient.list_consumer_group_offsets: confluent-kafka 2.16 can crash the process in it.
    client = Consumer({"bootstrap.servers": address, "group.id": "penstock-ready"}, logger=_SILENT)
    try:
        if not client.list_topics(timeout=1).brokers:
            return False
        with suppress(KafkaException):
            client.committed([TopicPartition("any", 0)], timeout=0.1)
    except KafkaException:
        return False
    finally:
        client.close()
    return True


def prepare(progress: Callable[[str], None] = lambda line: None) -> Path:
    """Fill the cache: jars, a formatted log folder, a class-data archive. Gives its folder."""
    cache = cache_folder()
    with _locked(cache):
        if not (cache / "libs").is_dir():
            progress(f"fetching Apache Kafka {KAFKA_VERSION} with Maven (about 60 MB, once) into {cache}")
            _make(cache / "libs", _fetch)
        if not (cache / "formatted").is_dir():
            _make(cache / "formatted", lambda folder: _format(cache, folder))
        if not _archive(cache).exists():
            progress("preparing Kafka for quick starts (once)")
            _make(_archive(cache), lambda file: _dump_classes(cache, file))
    return cache


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StackError(
            f"cannot use the cache {cache}: {error}. Set XDG_CACHE_HOME to a writable folder"
        ) from error


def _make(target: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` make a file or folder beside `target`, then rename it into place."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=target.parent) as scratch:
        new = Path(scratch) / target.name
        fill(new)
        new.rename(target)


def _fetch(folder: Path) -> None:
    pom = folder.parent / "pom.xml"
    shutil.copy(POM, pom)
    command = [
        "mvn",
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={folder}",
    ]
    _run(command, 900, "Maven could not fetch Kafka's jars. Check the network and Maven's settings")
    if not any(folder.glob("kafka_*.jar")):
        raise StackError(f"Maven ended well but {folder} holds no Kafka jar")


def _format(cache: Path, folder: Path) -> None:
    config = folder.with_suffix(".properties")
    config.write_text(_PROPERTIES.format(broker=1, controller=2, data=folder))
    command = ["java", "-Xmx256m", *_JAVA_FLAGS, "-cp", _classpath(cache), "kafka.tools.StorageTool"]
    _run(
        [*command, "format", "-t", _CLUSTER_ID, "-c", str(config)],
        120,
        "Kafka's log folder could not be formatted",
    )


def _dump_classes(cache: Path, file: Path) -> None:
    """Run a broker once and have the JVM write down the classes it loaded. Without it Kafka works, only slower."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-kafka-"))
    broker, controller = free_ports(2)
    command = ["java", "-Xmx256m", *_JAVA_FLAGS, f"-XX:ArchiveClassesAtExit={file}", "-cp", _classpath(cache)]
    command += ["kafka.Kafka", str(_configure(cache, folder, broker, controller))]
    server = Server("kafka", command, folder, lambda: answers(f"127.0.0.1:{broker}"), advice=_ADVICE)
    server.start()
    server.terminate()
    server.close()
    file.touch()


def _configure(cache: Path, folder: Path, broker: int, controller: int, more: str = "") -> Path:
    if not (folder / "data").is_dir():
        shutil.rmtree(folder / "data.part", ignore_errors=True)  # a copy that was interrupted
        shutil.copytree(cache / "formatted", folder / "data.part")
        (folder / "data.part").rename(folder / "data")
    config = folder / "server.properties"
    given = _PROPERTIES + more
    config.write_text(given.format(broker=broker, controller=controller, data=folder / "data"))
    return config


def _archive(cache: Path) -> Path:
    """The archive fits one JVM and one class path only, so its name depends on the JVM found."""
    java = Path(shutil.which("java") or "java").resolve()
    stamp = java.stat().st_mtime_ns if java.exists() else 0
    return cache / f"classes-{hashlib.sha256(f'{java} {stamp}'.encode()).hexdigest()[:12]}.jsa"


def _classpath(cache: Path) -> str:
    return os.pathsep.join(str(jar) for jar in sorted((cache / "libs").glob("*.jar")))


def _run(command: list[str], timeout_s: float, failure: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{failure}: {error}") from error
    if done.returncode:
        raise StackError(f"{failure}:\n{last_lines(done.stdout + done.stderr)}")
