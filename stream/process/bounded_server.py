"""A small HTTP server with a thread for each connection, of which nobody can take them all or keep one.

Laws of this file:
- A connection ends after `MOST_S`, however slowly somebody sends or reads; beyond `MOST_CONNECTIONS` a new one is closed at once.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

MOST_CONNECTIONS = 128
MOST_S = 10.0


class BoundedServer(ThreadingHTTPServer):
    """See the laws of this file."""

    daemon_threads = True

    def __init__(self, *given: Any) -> None:
        self.places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(*given)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to answer, if there is a place."""
        if not self.places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, within the time."""

        def end() -> None:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

        deadline = threading.Timer(MOST_S, end)
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever went away, or was sent away, is no news."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handle_error(request, client_address)
