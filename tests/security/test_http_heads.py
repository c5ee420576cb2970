"""Requests that two servers would read differently, that never end, or that are endless: on real sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.stream.process import bounded_server
from penstock.stream.process.health_page import Health
from penstock.stream.roles import http_head
from tests.patience import PATIENCE_S, eventually
from tests.security.answering import answered, rest_of, said

CLOSE = b"Connection: close\r\n"


class Echo:
    """An ASGI application that says what it understood of each request."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        names = [name.decode() for name, _ in scope["headers"]]
        self.seen.append({"path": scope["path"], "body": body.decode("latin-1"), "names": names})
        told = json.dumps(self.seen[-1]).encode()
        head = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": told})


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Echo, int]]:
    app = Echo()
    with answered(app) as port:
        yield app, port


@pytest.fixture
def echo(server: tuple[Echo, int]) -> tuple[Echo, int]:
    server[0].seen.clear()
    return server


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: 99999999999999999999999999\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"X: a\r\n Content-Length: 5\r\n",
        b"X: a\nContent-Length: 5\n",
        b"X: a\rContent-Length: 5\r\n",
        b"X\x00: a\r\n",
        b"X: a\x00b\r\n",
        b": a\r\n",
        b"(X): a\r\n",
    ],
    ids=repr,
)
def test_a_request_whose_end_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_answered(
    head: bytes, echo: tuple[Echo, int]
) -> None:
    app, port = echo
    raw = (
        b"POST /first HTTP/1.1\r\nHost: a\r\n"
        + head
        + b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    found = said(port, raw)
    assert not any(one["path"] == "/smuggled" for one in app.seen), (found, app.seen)
    assert found.startswith(b"HTTP/1.1 400") and b"[open]" not in found


def test_what_a_chunked_body_ends_with_is_no_header(echo: tuple[Echo, int]) -> None:
    """A proxy that takes such a header away from a request may let it pass as a trailer."""
    app, port = echo
    raw = (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"\r\n"
        b"3\r\nabc\r\n0\r\nX-Forwarded-User: ada\r\nAuthorization: Bearer t\r\n\r\n"
    )
    assert b"200 OK" in said(port, raw)
    assert app.seen[0]["body"] == "abc"
    assert app.seen[0]["names"] == ["host", "transfer-encoding", "connection"]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 400_000,
        b"GET /" + b"a" * 400_000,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 80_000,
        b"\r\n" * 200_000,
    ],
    ids=["one header", "the address", "many headers", "empty lines"],
)
def test_a_head_without_an_end_is_refused_and_not_kept(raw: bytes, echo: tuple[Echo, int]) -> None:
    app, port = echo
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        try:
            connection.sendall(raw)
        except ConnectionError:
            return
        assert b"[open]" not in rest_of(connection)
    assert not app.seen


@pytest.mark.parametrize("drip", [b"X: a\r\n", b"\r\n", b"a"], ids=repr)
def test_a_head_that_comes_too_slowly_ends_with_its_connection(
    drip: bytes, echo: tuple[Echo, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time runs from the head's first byte: a byte now and then does not prolong it."""
    monkeypatch.setattr(http_head, "HEAD_S", 0.3)
    app, port = echo
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(b"" if drip == b"\r\n" else b"GET / HTTP/1.1\r\nX: ")
        connection.settimeout(0.05)

        def ended() -> bool:
            try:
                connection.sendall(drip)
                found = connection.recv(1_000)
            except TimeoutError:
                return False
            except OSError:
                return True
            return found == b"" or b"408" in found

        assert eventually(ended)
    assert not app.seen


def test_a_connection_that_is_answered_in_time_goes_on(
    echo: tuple[Echo, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many requests one after the other, in pieces and in one piece, and none is cut off by the time of another."""
    monkeypatch.setattr(http_head, "HEAD_S", 30.0)
    app, port = echo
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        for number in range(5):
            whole = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" % number
            for piece in (whole[:9], whole[9:30], whole[30:]):
                connection.sendall(piece)
            assert b"/%d" % number in connection.recv(10_000)
        connection.sendall(
            b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n"
        )
        assert b"/y" in rest_of(connection)
    assert [one["path"] for one in app.seen] == ["/0", "/1", "/2", "/3", "/4", "/x", "/y"]


def test_a_body_that_goes_on_after_its_answer_gets_no_second_answer_and_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody may take what was left for the answer to the next request."""
    monkeypatch.setattr(http_head, "HEAD_S", 0.3)

    async def at_once(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    with (
        answered(at_once) as port,
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection,
    ):
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
        assert connection.recv(10_000).startswith(b"HTTP/1.1 413")
        connection.sendall(b"a" * 200_000)
        assert rest_of(connection) == b"", "closed, and nothing more was said"


def test_more_connections_than_there_are_places_for_are_closed_at_once(
    echo: tuple[Echo, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_head.BoundedHead, "most", 5)
    _, port = echo
    held = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(12)]
    try:
        ended = [one for one in held if b"[open]" not in rest_of(one, 0.3)]
        assert len(ended) == 7
    finally:
        for one in held:
            one.close()
    assert eventually(lambda: b"200 OK" in said(port, b"GET / HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n"))


# -- the page beside each role ---------------------------------------------------------------------------------------------


def test_the_health_page_answers_while_others_hold_connections_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each for so long and no longer, though it says something now and then; and no more of them than there are places."""
    monkeypatch.setattr(bounded_server, "MOST_S", 1.0)
    monkeypatch.setattr(bounded_server, "MOST_CONNECTIONS", 6)
    with Health("learn", "127.0.0.1", 0) as health:
        held = [socket.create_connection(("127.0.0.1", health.port), PATIENCE_S) for _ in range(20)]
        left = list(held)

        def all_ended() -> bool:
            for one in list(left):
                one.settimeout(0.001)
                try:
                    one.sendall(b"GET /metrics HT" if len(left) == 20 else b"X")
                    ended = one.recv(1_000) == b""
                except TimeoutError:
                    ended = False
                except OSError:
                    ended = True
                if ended:
                    left.remove(one)
            return not left

        assert eventually(all_ended)
        assert b"penstock_build_info" in said(health.port, b"GET /metrics HTTP/1.0\r\n\r\n")
        for one in held:
            one.close()


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT"])
def test_the_health_page_takes_no_other_verb_and_names_no_version(verb: str) -> None:
    with Health("learn", "127.0.0.1", 0) as health:
        found = said(health.port, f"{verb} /metrics HTTP/1.0\r\n\r\n".encode())
        assert found.startswith(b"HTTP/1.0 501") and b"Python" not in found
        assert b"Python" not in said(health.port, b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"nosniff" in said(health.port, b"GET /healthz HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/%2e%2e/etc/passwd", "/metrics/", "/etc/passwd", "/\x00"]
)
def test_the_health_page_reads_no_file(path: str) -> None:
    with Health("learn", "127.0.0.1", 0) as health:
        found = said(health.port, f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert b"root:" not in found and not found.startswith(b"HTTP/1.0 200")
