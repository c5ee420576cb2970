"""The thread beside the fold: what it publishes when, what it does when the registry is away, and that nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from penstock.stream.models.publisher import EVERY_S, LOOK_S, Publisher
from tests.patience import PATIENCE_S

LIVE: dict[str, Any] = {
    "commit": {"version": "v1"},
    "committed": "v1",
    "previous": "",
    "states": {"v1": "live"},
    "position": 5,
}


class Told:
    """A registry that notes what it was told, or is away."""

    def __init__(self) -> None:
        self.calls: list[tuple[Mapping[str, Any], list[str]]] = []
        self.away = False
        self.reached = threading.Event()

    def sync(self, live: Mapping[str, Any], stored_again: Sequence[str] = ()) -> Any:
        self.reached.set()
        if self.away:
            raise ConnectionError("refused")
        self.calls.append((live, list(stored_again)))
        return SimpleNamespace(registered=list(stored_again))


def publisher(clock: list[float]) -> tuple[Publisher, Told]:
    told = Told()
    return Publisher(told, lambda: clock[0]), told


def test_what_is_the_same_as_before_is_not_published_again() -> None:
    clock = [0.0]
    made, told = publisher(clock)
    assert not made.due()
    made.tell(LIVE, ["v1"])
    assert made.due()
    made.publish()
    clock[0] = EVERY_S + LOOK_S - 1
    made.tell({**LIVE, "position": 900}, [])
    assert not made.due() and told.calls == [(LIVE, ["v1"])] and made.registered == 1
    clock[0] += 1
    assert made.due(), "somebody may have given a name"


def test_a_commitment_is_published_at_once_and_everything_else_after_a_while() -> None:
    clock = [0.0]
    made, told = publisher(clock)
    made.tell(LIVE, [])
    made.publish()
    made.tell(LIVE, ["v2"])
    assert not made.due()
    made.tell({**LIVE, "commit": {"version": "v2"}}, ["v3"])
    assert made.due()
    made.publish()
    made.tell({**LIVE, "commit": {"version": "v2"}}, ["v4"])
    assert told.calls[-1][1] == ["v2", "v3"] and not made.due()
    clock[0] = EVERY_S
    assert made.due()


def test_what_failed_is_counted_and_tried_again_later_with_nothing_forgotten() -> None:
    clock = [0.0]
    made, told = publisher(clock)
    told.away = True
    made.tell(LIVE, ["v1"])
    made.publish()
    assert made.failures == 1 and made.registered == 0
    made.tell(LIVE, ["v2"])
    assert not made.due(), "a server that is away is left alone for a while"
    clock[0], told.away = EVERY_S, False
    assert made.due()
    made.publish()
    assert told.calls == [(LIVE, ["v1", "v2"])] and made.failures == 1


def test_the_thread_publishes_beside_whoever_tells_it_and_ends() -> None:
    told = Told()
    made = Publisher(told).start()
    made.tell(LIVE, ["v1"])
    assert told.reached.wait(PATIENCE_S)
    made.close()
    assert made.thread is not None and not made.thread.is_alive()


def test_the_thread_outlives_a_registry_that_is_away() -> None:
    told = Told()
    told.away = True
    made = Publisher(told).start()
    made.tell(LIVE, ["v1"])
    assert told.reached.wait(PATIENCE_S)
    assert made.thread is not None and made.thread.is_alive()
    made.close()
    assert told.calls == [] and made.failures == 1
