"""The client of the serving benchmark: a stall is everybody's who was due meanwhile, and the search finds the bound."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.open_loop import drive, most

ASK = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


class Stalling:
    """Answers at once, but for one stop of half a second at the tenth request; and every hundredth with an error."""

    def __init__(self) -> None:
        self.listens = socket.create_server(("127.0.0.1", 0))
        self.port = self.listens.getsockname()[1]
        self.asked, self.turn = 0, threading.Lock()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listens.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(65_536):
                with self.turn:
                    self.asked += 1
                    number = self.asked
                    if number == 10:
                        time.sleep(0.5)
                status = b"500 no" if number % 100 == 0 else b"200 OK"
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture
def stalling() -> Iterator[Stalling]:
    made = Stalling()
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield made
    made.listens.shutdown(socket.SHUT_RDWR)
    made.listens.close()
    thread.join()


def test_a_stall_counts_for_every_request_that_was_due_meanwhile(stalling: Stalling) -> None:
    found = drive(stalling.port, [ASK], 200, 1.0)
    assert found["errors"] == 2  # numbers 100 and 200
    # About half of the 200 were due while it stood still: a client that waits for answers would have seen one that is slow.
    assert found["p99_ms"] >= 400


@given(bound=st.floats(10, 50_000), first=st.floats(10, 5_000))
def test_the_most_is_found_to_a_tenth(bound: float, first: float) -> None:
    def ask(per_s: float) -> dict[str, Any]:
        return {"p99_ms": 5.0 if per_s <= bound else 50.0, "errors": 0, "answered_per_s": min(per_s, bound)}

    found = most(ask, first)
    assert found["max_per_s_at_p99_10ms"] <= bound
    if found["max_per_s_at_p99_10ms"]:
        assert found["max_per_s_at_p99_10ms"] >= bound / 1.11
    else:
        assert bound < 20
