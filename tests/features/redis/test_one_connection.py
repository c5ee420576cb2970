"""The kept connection gives what the client gives, and never the answer to another question."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.features.redis.one_connection import OneConnection
from penstock.features.redis.store import address, connect

KEYS = st.lists(st.text(max_size=5), min_size=1, max_size=8)


@pytest.fixture
def kept(valkey: redis.Redis, valkey_url: str) -> Iterator[OneConnection]:
    made = OneConnection(connect(valkey_url, 5.0))
    yield made
    made.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=st.dictionaries(st.text(max_size=5), st.binary(max_size=20), max_size=5), asked=KEYS)
def test_it_gives_what_the_client_gives(
    valkey: redis.Redis, kept: OneConnection, stored: dict[str, bytes], asked: list[str]
) -> None:
    valkey.flushall()
    if stored:
        valkey.mset(stored)
    assert kept.mget(asked) == valkey.mget(asked) == [stored.get(key) for key in asked]


def test_after_a_connection_was_lost_the_next_read_opens_another(
    valkey: redis.Redis, kept: OneConnection
) -> None:
    valkey.set("a", b"1")
    assert kept.mget(["a"]) == [b"1"]
    valkey.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(redis.ConnectionError):
        kept.mget(["a"])
    assert kept.mget(["a"]) == [b"1"]


def test_an_answer_that_came_too_late_is_not_the_next_ones() -> None:
    """A server that answers the first question only when the second is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listens:
        late = threading.Event()

        def serve() -> None:
            slow, _ = listens.accept()
            _answer(slow, b"first", late)
            quick, _ = listens.accept()
            _answer(quick, b"second", None)
            slow.close()
            quick.close()

        thread = threading.Thread(target=serve)
        thread.start()
        kept = OneConnection(connect(f"redis://127.0.0.1:{listens.getsockname()[1]}/0", 0.3, protocol=2))
        with pytest.raises(redis.TimeoutError):
            kept.mget(["a"])
        late.set()
        assert kept.mget(["b"]) == [b"second"]
        kept.close()
        thread.join()


def _answer(connection: socket.socket, value: bytes, wait: threading.Event | None) -> None:
    """Say OK to what a client asks on connecting, and answer one MGET."""
    read = b""
    while b"MGET" not in read:
        new = connection.recv(65_536)
        read += new
        for _ in range(new.count(b"CLIENT\r\n") + new.count(b"HELLO\r\n") + new.count(b"SELECT\r\n")):
            connection.sendall(b"+OK\r\n")
    if wait is not None:
        wait.wait()
    try:
        connection.sendall(b"*1\r\n$%d\r\n%b\r\n" % (len(value), value))
    except OSError:
        pass  # it is gone, as it should be


def test_it_says_where_it_connects(kept: OneConnection, valkey_url: str) -> None:
    assert address(kept) in valkey_url + "/0"  # type: ignore[arg-type]


def test_what_the_server_refuses_is_raised_and_the_connection_goes_on(
    valkey: redis.Redis, kept: OneConnection
) -> None:
    valkey.set("a", b"1")
    with pytest.raises(redis.ResponseError):
        kept.mget([])
    assert kept.mget(["a"]) == [b"1"]
