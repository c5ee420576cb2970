"""The servers that roles use and faults harm: one broker for a whole run, a Valkey for each round, proxies before both.

Laws of this file: every server was started here and ends here; what a fault breaks, the fault mends or the round ends with it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.stream.stack.kafka import kafka_server
from penstock.stream.stack.server import Server, free_ports
from penstock.stream.stack.valkey import valkey_server
from tests.patience import PATIENCE_S

PROXIED = """
listeners=PLAINTEXT://127.0.0.1:{{broker}},CONTROLLER://127.0.0.1:{{controller}},PROXIED://127.0.0.1:{inside}
advertised.listeners=PLAINTEXT://127.0.0.1:{{broker}},PROXIED://127.0.0.1:{outside}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT
"""


class Proxy:
    """A TCP proxy that is slow, or that loses replies: the request was carried out, and whoever asked does not hear of it.

    `writes` says of what was sent at once whether it asks for a write: the replies of others are not lost.
    """

    def __init__(self, port: int, to: int, writes: Callable[[bytes], bool]) -> None:
        self.port, self.to, self.writes = port, to, writes
        self._asked: set[socket.socket] = set()  # where the reply to a write is awaited
        self.delay_s = 0.0
        self.to_lose = self.lost = 0
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listening = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.to), timeout=PATIENCE_S)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pairs.add((near, far))
                for source, target, reply in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pump, args=(source, target, reply), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, reply: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.delay_s:
                    time.sleep(self.delay_s)
                if reply:
                    if source in self._asked and self._loses():
                        break
                    self._asked.discard(source)
                elif self.writes(data):
                    self._asked.add(target)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _loses(self) -> bool:
        with self._lock:
            if self.to_lose <= 0:
                return False
            self.to_lose -= 1
            self.lost += 1
            return True

    def lose_replies(self, count: int) -> None:
        """Lose the next so many replies to writes."""
        with self._lock:
            self.to_lose += count

    def close(self) -> None:
        """Let nobody in any more, and drop who is."""
        with suppress(OSError):  # else whoever waits in `accept` keeps the port
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for pair in self._pairs:
            for one in pair:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


@dataclass
class Servers:
    """A broker, and how to reach it directly and through a proxy."""

    kafka: Server
    bootstrap: str
    inside: int
    outside: int

    @property
    def proxied(self) -> str:
        """The broker's address behind the proxy's port."""
        return f"127.0.0.1:{self.outside}"


@contextmanager
def servers(kept: Path | None = None) -> Iterator[Servers]:
    """Start the broker, in this folder or one of its own; it ends with the block."""
    inside, outside = free_ports(2)
    more = PROXIED.format(inside=inside, outside=outside)
    kafka, bootstrap = kafka_server(lambda line: None, kept=kept, more=more)
    try:
        yield Servers(kafka, bootstrap, inside, outside)
    finally:
        kafka.close()


@contextmanager
def store(**more: str) -> Iterator[tuple[Server, str, int]]:
    """A Valkey: its server, URL and port."""
    server, url = valkey_server(more={name.replace("_", "-"): value for name, value in more.items()})
    try:
        yield server, url, int(url.rsplit(":", 1)[1].partition("/")[0])
    finally:
        server.close()
