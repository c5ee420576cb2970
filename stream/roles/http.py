"""An ASGI application over HTTP, until told to stop: what the serve and console roles have in common.

Laws of this file:
- SIGTERM and Ctrl-C end it with exit code 0, after the requests that it is answering or the grace.
- What a client says of its own address is not believed: uvicorn's own reading of such headers is off.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.process.settings import SettingError

BACKLOG = 2_048
KEEP_ALIVE_S = 75
"""Longer than clients keep a connection that nobody uses: where the server closes it first, the next request on it fails."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on a port (0: any free one)."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        raise SettingError(f"{host}:{port} cannot be listened on ({error}): give another --port") from None
    made.listen(BACKLOG)
    made.set_inheritable(True)
    return made


def check_names(pipelines: Sequence[Pipeline]) -> None:
    """Pipelines are asked for by name: raises `DefinitionError` where two have the same."""
    names = [pipeline.name for pipeline in pipelines]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DefinitionError(f"two of the files define a pipeline named {twice!r}: serve them apart")


def run_http(
    app: Any,
    listens: socket.socket,
    *,
    lifespan: bool,
    grace_s: int,
    cert: str = "",
    key: str = "",
    ending: Callable[[], None] = lambda: None,
) -> None:
    """Answer on this socket. `ending` is called when it was told to stop, before requests under way are waited for.

    With a certificate and its key (PEM files) it speaks TLS.
    """
    import uvicorn  # no other role needs it

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Take them as the end that they ask for; uvicorn's own would raise them once more behind it."""
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)
            yield

        async def shutdown(self, sockets: Any = None) -> None:
            ending()
            await super().shutdown(sockets)

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    Server(config_of(app, lifespan=lifespan, grace_s=grace_s, cert=cert, key=key)).run(sockets=[listens])


def config_of(app: Any, *, lifespan: bool, grace_s: int = 0, cert: str = "", key: str = "") -> Any:
    """How uvicorn is to answer."""
    import uvicorn

    from penstock.stream.roles.http_head import BoundedHead

    return uvicorn.Config(
        app,
        http=BoundedHead,
        loop="uvloop",
        ws="none",
        lifespan="on" if lifespan else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
        ssl_certfile=cert or None,
        ssl_keyfile=key or None,
    )
