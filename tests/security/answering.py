"""An application answered on a real socket, as the roles answer it, and clients that say what no client library would."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from penstock.stream.roles.http import config_of, listening
from tests.patience import PATIENCE_S, eventually


@contextmanager
def answered(app: Any, *, lifespan: bool = False) -> Iterator[int]:
    """The port of a server in a thread of this process."""

    class Server(uvicorn.Server):
        def install_signal_handlers(self) -> None:
            """None in a thread."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    listens = listening("127.0.0.1", 0)
    server = Server(config_of(app, lifespan=lifespan))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listens]}, daemon=True)
    thread.start()
    assert eventually(lambda: server.started)
    try:
        yield listens.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listens.close()


def said(port: int, raw: bytes, *, wait_s: float = PATIENCE_S) -> bytes:
    """What comes back for these bytes, until the server closes, or says nothing for a while."""
    with socket.create_connection(("127.0.0.1", port), wait_s) as connection:
        connection.sendall(raw)
        return rest_of(connection, wait_s)


def rest_of(connection: socket.socket, wait_s: float = PATIENCE_S) -> bytes:
    """Everything until the end; a server that keeps the connection is waited for no longer than `wait_s`."""
    connection.settimeout(wait_s)
    found = b""
    try:
        while chunk := connection.recv(65_536):
            found += chunk
    except TimeoutError:
        return found + b"[open]"
    except ConnectionError:
        pass
    return found
