"""Ticks: lines of event time, told where events pass them, and the wall clock's, which move nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.featurize.ticks import MOST_LINE_MS, Ticks
from penstock.stream.messages import Tick
from tests.stream.generated import HOUR, MINUTE, START_MS, parcels

PIPELINE = parcels()  # waits 6 h: a line every 675 s
LINE_MS = 6 * HOUR // 32


def ticks_of(ats: list[int], every: int | None = None) -> list[tuple[int, dict[str, int]]]:
    """(place among the events, times) of the ticks of lines; the wall clock ticks after every so many events."""
    ticks, found = Ticks(PIPELINE, 2), []
    ticks.add(["sent/0", "done/0"], -1)
    for place, at in enumerate(ats):
        if at >= ticks.line.next_at:
            found.append((place, ticks.reach(at, 0).times))
        if every is not None and place % every == 0:
            told = ticks.after((place + 1) * 1_000, [])
            assert told is not None and told.times == found[-1][1], "the wall clock's moves nothing"
    return found


def test_a_line_is_told_right_before_the_first_event_behind_it_and_once() -> None:
    start = START_MS // LINE_MS * LINE_MS
    events = [start, start + 1, start + LINE_MS - 1, start + LINE_MS, start + 5 * LINE_MS + 7]
    told = ticks_of(events)
    assert [place for place, _ in told] == [0, 3, 4]
    assert [times["sent/0"] - start for _, times in told] == [-LINE_MS, 0, 4 * LINE_MS]


@given(st.lists(st.integers(0, 3 * HOUR), min_size=1, max_size=60), st.integers(1, 20))
def test_lines_are_a_function_of_the_events_whenever_the_wall_clock_ticks(
    steps: list[int], every: int
) -> None:
    ats = [START_MS + sum(steps[:n]) - (n % 3) * MINUTE for n in range(len(steps))]
    told = ticks_of(ats)
    assert told == ticks_of(ats, every)
    reached = [times["done/0"] for _, times in told]
    assert reached == sorted(reached)
    for place, times in told:
        assert times["sent/0"] <= ats[place] - LINE_MS, "what comes behind a tick is at least a line newer"
    assert max(ats) - reached[-1] < 2 * LINE_MS, "and the last tick is less than two lines behind"


def test_the_wall_clock_ticks_once_a_second_and_names_who_is_idle() -> None:
    ticks = Ticks(PIPELINE, 4)
    ticks.add(["sent/0", "done/0"], -1)
    assert ticks.after(10_000, ["done/0"]) == Tick({"sent/0": -1, "done/0": -1}, ["done/0"], 10_000, 4)
    assert ticks.after(10_999, []) is None
    assert ticks.after(11_000, []) is not None


def test_it_goes_on_where_the_task_that_is_furthest_behind_stands() -> None:
    """After a restart, and when a task joins those that are stepped together."""
    ticks = Ticks(PIPELINE, 4)
    ticks.add(["sent/0", "done/0"], START_MS + HOUR)
    ticks.add(["sent/1", "done/1"], START_MS)
    ticks.add(["sent/2", "done/2"], -1)
    told = ticks.after(1_000, [])
    assert told is not None
    assert set(told.times.values()) == {START_MS // LINE_MS * LINE_MS - LINE_MS}
    assert ticks.line.next_at == (START_MS // LINE_MS + 1) * LINE_MS


@pytest.mark.parametrize(("wait", "line_ms"), [("1s", 1_000), ("64s", 2_000), ("30d", MOST_LINE_MS)])
def test_lines_lie_a_second_to_an_hour_apart(wait: str, line_ms: int) -> None:
    assert Ticks(replace(PIPELINE, label=replace(PIPELINE.label, wait=wait)), 1).line_ms == line_ms
