"""TLS before a server that has none: the Valkey of these tests is built without it. What comes out is what the server says."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path


class TlsProxy:
    """Listens with a certificate, and passes bytes on to a port of this machine."""

    def __init__(self, certificate: Path, to: int) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.to = to
        self.listens = socket.create_server(("127.0.0.1", 0))
        self.port = self.listens.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listens.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError, ValueError), plain:
            client = self.context.wrap_socket(plain, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.to))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while chunk := one.recv(65_536):
                other.sendall(chunk)
        for each in (one, other):
            with suppress(OSError, ValueError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more."""
        self.listens.close()
