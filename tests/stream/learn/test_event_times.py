"""Where an event time was reached: never behind a sample that belongs to it, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.learn import event_times
from penstock.stream.learn.event_times import EventTimes
from tests.stream.generated import HOUR


@given(st.lists(st.tuples(st.integers(0, 3 * HOUR), st.booleans()), max_size=300), st.integers(0, 300 * HOUR))
def test_no_sample_at_or_behind_a_time_stands_before_its_place(
    steps: list[tuple[int, bool]], wanted: int
) -> None:
    times, samples, newest = EventTimes(), [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_times, "MOST", 16)
        for position, (step, back) in enumerate(steps):
            at = max(0, newest - step) if back else newest + step
            newest = max(newest, at)
            times.note(newest, position + 1)
            samples.append(at)
    place = times.position_of(wanted)
    assert all(at < wanted for at in samples[:place])
    assert len(times.newest) <= 16


def test_the_place_is_near_where_the_time_was_reached() -> None:
    times = EventTimes()
    for position in range(10_000):
        times.note(position * HOUR, position)
    assert len(times.newest) <= event_times.MOST
    assert 9_000 - times.position_of(9_000 * HOUR) <= 20
    assert times.position_of(0) == 0 and EventTimes().position_of(5) == 0
