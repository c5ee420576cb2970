"""What a connection may do before its request is known: bounds on the head, which uvicorn leaves to a proxy in front of it.

Laws of this file:
- A head (request line and headers) comes whole within `HEAD_S` and `MOST_HEAD_BYTES`, or the connection ends. One on which
  nothing ever came ends like one that nobody uses any more, and so does one whose body goes on after it was answered.
- What comes after the head is no header: trailers of a chunked body are dropped, so that none says who asks.
- Beyond `MOST_CONNECTIONS` a new connection is closed at once.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
MOST_HEAD_BYTES = 64 * 1024
MOST_CONNECTIONS = 4_096
SPARE_FILES = 128
"""File handles that are not for connections."""


def most_connections() -> int:
    """How many connections a process takes: fewer where it may not open so many files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft < 0 else max(16, min(MOST_CONNECTIONS, soft - SPARE_FILES))


class BoundedHead(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, within these bounds."""

    most = 0
    in_head = in_body = False
    head_bytes = 0
    due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take it, or close it."""
        super().connection_made(transport)
        if not BoundedHead.most:
            BoundedHead.most = most_connections()
        if len(self.connections) > BoundedHead.most:
            transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._met()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that has begun and not ended is waited for until `HEAD_S` after it began."""
        super().data_received(data)
        if not self.in_head and self.cycle is not None and not self.cycle.response_complete:
            if self.due is not None:
                self._met()
            return
        if self.in_body:  # of a request that was answered before it was whole
            if self.due is None:
                self.due = self.loop.call_later(HEAD_S, self.transport.close)
            return
        # In a head, or between two requests, where empty lines are no beginning of one.
        self.head_bytes += len(data)
        if self.head_bytes > MOST_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", b"The head of the request is too long.\n")
        elif self.due is None:
            said = (b"408 Request Timeout", b"The head of the request did not come in time.\n")
            self.due = self.loop.call_later(HEAD_S, self._refuse, *said)

    def _met(self) -> None:
        if self.due is not None:
            self.due.cancel()
            self.due = None

    def _refuse(self, status: bytes, said: bytes) -> None:
        self._met()
        if not self.transport.is_closing():
            head = b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % (status, len(said)) + said)
            self.transport.close()

    # -- what the parser says ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A head begins."""
        self.in_head, self.in_body, self.head_bytes = True, False, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        if self.in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head ends."""
        self.in_head, self.in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body ends."""
        self.in_body = False
        super().on_message_complete()
