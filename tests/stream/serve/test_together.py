"""Requests that come together get what each would get alone, from one read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.engine.compute import StateMismatch
from penstock.stream.serve.asking import Asking, Refusal
from penstock.stream.serve.served import ServedPipeline
from penstock.stream.serve.together import Together
from tests.effort import examples
from tests.stream.generated import card_events, cards, outs
from tests.stream.serve.served_flow import Keys, as_asked, flow_of, served_of

WALL_MS = 1_800_000_000_000
BROKEN = (b"no event", b'{"payment": "p"}')


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[ServedPipeline, Keys, list[bytes]]]:
    flow = flow_of(cards())
    served, keys = served_of(flow)
    course = list(card_events(120, cards=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_SPACING", 0)
        flow.settle()
        served.refresh()
        flow.feed(outs(course[:80]))
        flow.settle()
        served.refresh()
    assert served.replica is not None
    yield served, keys, [*(as_asked(flow, event) for _, _, event in course[80:]), *BROKEN]


def plain(said: Any) -> Any:
    """What was answered, or raised, as text."""
    if isinstance(said, list):
        return [plain(one) for one in said]
    return (type(said).__name__, getattr(said, "status", None), str(said))


def alone(served: ServedPipeline, events: list[bytes], asking: Asking) -> Any:
    try:
        return plain(served.answers(events, asking, WALL_MS))
    except Refusal as error:
        return plain(error)


def asked_together(served: ServedPipeline, requests: list[tuple[list[bytes], Asking]]) -> list[Any]:
    async def ask() -> list[Any]:
        together = Together(served, lambda: WALL_MS)
        return await asyncio.gather(*(together.answers(*one) for one in requests), return_exceptions=True)

    return [plain(one) for one in asyncio.run(ask())]


ASKING = st.sampled_from(
    [
        Asking(),
        Asking(vector=True),
        Asking(min_position=10**9),
        Asking(max_age_ms=1),
        Asking(as_of_ms=WALL_MS),
    ]
)


@settings(max_examples=examples(60))
@given(
    chosen=st.lists(
        st.tuples(st.lists(st.integers(0, 41), min_size=1, max_size=30), ASKING), min_size=1, max_size=8
    )
)
def test_each_gets_what_it_would_get_alone(
    made: tuple[ServedPipeline, Keys, list[bytes]], chosen: list[tuple[list[int], Asking]]
) -> None:
    served, _, events = made
    requests = [([events[n] for n in numbers], asking) for numbers, asking in chosen]
    assert asked_together(served, requests) == [alone(served, *one) for one in requests]


def test_one_read_is_enough_for_all(made: tuple[ServedPipeline, Keys, list[bytes]]) -> None:
    served, keys, events = made
    before = keys.calls
    asked_together(served, [([event], Asking()) for event in events[:20]])
    assert keys.calls == before + 1


def test_a_list_is_read_for_by_itself_so_that_nobody_waits_for_it(
    made: tuple[ServedPipeline, Keys, list[bytes]],
) -> None:
    served, keys, events = made
    before = keys.calls
    asked_together(served, [([events[0]], Asking()), (events[:40] * 2, Asking()), ([events[1]], Asking())])
    assert keys.calls == before + 3


def test_a_state_that_does_not_open_is_its_own_requests_failure(
    made: tuple[ServedPipeline, Keys, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, _, events = made
    bad = json.loads(events[0])["card"]
    read = served.reads.states

    def states(wanted: Any) -> Any:
        if any(entity == bad for _, entity in wanted):
            raise StateMismatch("this state does not open")
        return read(wanted)

    monkeypatch.setattr(served.reads, "states", states)
    requests = [([event], Asking()) for event in events[:12]]
    found = asked_together(served, requests)
    assert found == [alone(served, *one) for one in requests]
    assert {one[0] == "Refusal" for one in found} == {True, False}


def test_who_went_away_keeps_nobody_from_an_answer(made: tuple[ServedPipeline, Keys, list[bytes]]) -> None:
    served, _, events = made

    async def ask() -> Any:
        together = Together(served, lambda: WALL_MS)
        first, second = (asyncio.create_task(together.answers([event], Asking())) for event in events[:2])
        await asyncio.sleep(0)
        first.cancel()
        return plain(await second)

    assert asyncio.run(ask()) == alone(served, [events[1]], Asking())
