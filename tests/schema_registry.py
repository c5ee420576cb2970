"""A schema registry for tests: Confluent's API over real HTTP, its schemas in memory. It can be told to fail in many ways."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

ANSWERS = {
    "error": (500, b'{"error_code": 50001, "message": "the store is away"}'),
    "page": (404, b"<html>no such page</html>"),
    "elsewhere": (302, b""),
    "garbage": (200, b"<html>sign in</html>"),
}


class RegistryServer:
    """Runs inside a `with` block. `mode` is "well", or one of `ANSWERS`; `asked` are the paths that were asked for."""

    def __init__(self, authorization: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.mode, self.authorization, self.tls = "well", authorization, tls
        self.asked: list[str] = []
        self.server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    def register(
        self, subject: str, text: str, kind: str = "AVRO", references: list[dict[str, Any]] | None = None
    ) -> int:
        """The id of a schema under a subject."""
        said = {"schema": text, "schemaType": kind, **({"references": references} if references else {})}
        if said not in self.schemas:
            self.schemas.append(said)
        number = self.schemas.index(said) + 1
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def answer(self, verb: str, path: str, body: bytes) -> tuple[int, bytes]:
        """What is answered."""
        parts = path.split("?", maxsplit=1)[0].strip("/").split("/")
        if verb == "POST" and parts[0] == "subjects" and parts[2:] == ["versions"]:
            said = json.loads(body)
            number = self.register(parts[1], said["schema"], said.get("schemaType", "AVRO"))
            return 200, json.dumps({"id": number}).encode()
        if parts[:2] == ["schemas", "ids"]:
            number = int(parts[2])
            if not 0 < number <= len(self.schemas):
                return 404, b'{"error_code": 40403, "message": "Schema not found"}'
            found = {**self.schemas[number - 1]}
            if found["schemaType"] == "AVRO":  # as Confluent's leaves it out
                del found["schemaType"]
            return 200, json.dumps(found).encode()
        if parts[0] == "subjects" and len(parts) == 4:
            versions = self.subjects.get(parts[1], [])
            version = len(versions) if parts[3] == "latest" else int(parts[3])
            if 0 < version <= len(versions):
                number = versions[version - 1]
                said = {**self.schemas[number - 1], "id": number, "version": version, "subject": parts[1]}
                return 200, json.dumps(said).encode()
        return 404, b'{"error_code": 40401, "message": "Subject not found"}'

    def __enter__(self) -> Self:
        registry = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply("GET")

            def do_POST(self) -> None:
                self.reply("POST")

            def reply(self, verb: str) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                registry.asked.append(self.path)
                if registry.mode != "well":
                    status, answer = ANSWERS[registry.mode]
                elif registry.authorization and self.headers.get("Authorization") != registry.authorization:
                    status, answer = 401, b'{"error_code": 401, "message": "Unauthorized"}'
                else:
                    status, answer = registry.answer(verb, self.path, body)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Page)
        self.server.daemon_threads = True
        if self.tls is not None:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()
