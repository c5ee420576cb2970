"""What holds for every detector on a series, Penstock's, river's or one's own."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import binary

from penstock import Adwin, Detector, Kswin, PageHinkley, RateRise
from penstock.monitors.series.monitor import SeriesMonitor
from penstock.stream.detectors import Monitor
from tests.monitors.series.own_detector import ThreeAbove

WORDS: dict[str, Callable[[], Monitor]] = {
    "Adwin": lambda: Adwin("loss", block=4, rises=False),
    "Adwin, values as they come": lambda: Adwin("loss", block=None, rises=False),
    "PageHinkley": lambda: PageHinkley("loss", block=4, rises=False),
    "PageHinkley, values as they come": lambda: PageHinkley("loss", block=None, rises=False, quiet=40),
    "Kswin": lambda: Kswin("loss", block=4, rises=False, window=40, newest=15, quiet=6),
    "Kswin, values as they come": lambda: Kswin("loss", block=None, rises=False, window=40, newest=15),
    "RateRise": lambda: RateRise("error", threshold=500.0, quiet=60),
    "DDM": lambda: Detector("error", binary.DDM(), block=None),
    "EDDM": lambda: Detector("error", binary.EDDM(), block=None),
    "HDDM_A": lambda: Detector("error", binary.HDDMA(), block=None),
    "HDDM_W": lambda: Detector("error", binary.HDDMW(), block=None),
    "one's own": lambda: Detector("loss", ThreeAbove(), block=2),
    "one's own, values as they come": lambda: Detector("loss", ThreeAbove(0.5), block=None),
}
SLOW = {name for name in WORDS if name.startswith("Kswin")}
SLOWEST = "Kswin, values as they come"
every_word = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == SLOWEST else name for name in WORDS]
)
Told = tuple[int, str, float, int, str]


def monitor(name: str) -> SeriesMonitor:
    word = WORDS[name]()
    return SeriesMonitor(word.watched(), word.make())


def hear(one: SeriesMonitor, values: Sequence[Any], first: int = 0) -> list[Told]:
    """(position, state, effect, onset, reason) of all that is told."""
    return [
        (at, found.state, found.effect, found.since_position, heard.reason)
        for at, value in enumerate(values, first)
        for heard in one.update(10 * at, at, value)
        for found in [heard.transition]
    ]


def ones(seed: int, *parts: tuple[int, float]) -> list[float]:
    """Values of 0 and 1: so many with such a share of ones, then so many with another."""
    chance = np.random.default_rng(seed)
    return [float(one) for count, share in parts for one in chance.random(count) < share]


def shifts(name: str, seed: int = 1) -> list[float]:
    """Much that changes and changes back."""
    if name in SLOW:  # which take a thousand times as long
        return ones(seed, (150, 0.1), (120, 0.9), (100, 0.2))
    parts = ((300, 0.1), (200, 0.9), (300, 0.1), (300, 0.6))
    return ones(seed, *parts, *parts)


@every_word
def test_a_change_is_found_and_dated(name: str) -> None:
    told = hear(monitor(name), shifts(name))
    firing = [one for one in told if one[1] == "firing"]
    assert firing, "nothing was found in a share that went from 0.1 to 0.9"
    for at, _, _, since, _ in firing:
        assert 0 <= since <= at


@every_word
def test_states_take_turns_and_an_episode_keeps_its_onset(name: str) -> None:
    told = hear(monitor(name), shifts(name))
    assert [one[1] for one in told] == ["firing", "resolved"] * (len(told) // 2) + ["firing"] * (
        len(told) % 2
    )
    for begun, ended in zip(told[::2], told[1::2], strict=False):
        assert begun[3] == ended[3] <= begun[0] < ended[0]


@every_word
@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, 1_099), seed=st.integers(0, 99))
def test_one_that_was_stored_in_the_middle_goes_on_as_if_nothing_had_been(
    name: str, cut: int, seed: int
) -> None:
    values = shifts(name, seed)
    straight, before = monitor(name), monitor(name)
    whole = hear(straight, values)
    first = hear(before, values[:cut])
    after = pickle.loads(pickle.dumps(before))
    assert first + hear(after, values[cut:], cut) == whole


@every_word
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 999))
def test_the_same_values_give_the_same_alarms_whatever_else_ran(name: str, seed: int) -> None:
    values = shifts(name, seed)
    one = hear(monitor(name), values)
    hear(monitor(name), values[::-1])
    assert hear(monitor(name), values) == one


@every_word
@settings(max_examples=20, deadline=None)
@given(value=st.floats(-1e300, 1e300), small=st.floats(0.0, 1.0))
def test_equal_values_never_alarm(name: str, value: float, small: float) -> None:
    shares = name == "RateRise" or name in ("DDM", "EDDM", "HDDM_A", "HDDM_W")
    assert hear(monitor(name), [small if shares else value] * 400) == []


NO_NUMBERS = [None, math.nan, math.inf, -math.inf, "late", "1.0", [1.0], {}]


@every_word
@settings(max_examples=8, deadline=None)
@given(
    gaps=st.lists(
        st.tuples(st.integers(0, 1_099), st.sampled_from(NO_NUMBERS), st.integers(1, 30)), max_size=20
    )
)
def test_what_is_no_number_is_passed_over_without_a_trace(name: str, gaps: list[Any]) -> None:
    values: list[Any] = list(shifts(name))
    whole = [(state, effect, reason) for _, state, effect, _, reason in hear(monitor(name), values)]
    for place, value, times in sorted(gaps, key=lambda gap: -gap[0]):
        values[place:place] = [value] * times
    told = [(state, effect, reason) for _, state, effect, _, reason in hear(monitor(name), values)]
    assert told == whole


@every_word
def test_one_that_vanishes_for_long_goes_on_where_it_was(name: str) -> None:
    values = shifts(name)
    one = monitor(name)
    first = hear(one, values[:250])
    size = len(pickle.dumps(one))
    assert hear(one, [None] * 5_000, 250) == [] and len(pickle.dumps(one)) <= size
    after = [told[1:3] for told in hear(one, values[250:], 5_250)]
    assert [told[1:3] for told in first] + after == [told[1:3] for told in hear(monitor(name), values)]


@every_word
def test_memory_is_bounded(name: str) -> None:
    one, parts = monitor(name), ((200, 0.1), (100, 0.8))
    times = 4 if name in SLOW else 60
    for seed in range(times):
        hear(one, [*ones(seed, *parts), *ones(seed, (300, 0.3))], 600 * seed)
        assert len(pickle.dumps(one)) <= 24_000


@every_word
@settings(max_examples=15, deadline=None)
@given(
    values=st.lists(
        st.one_of(
            st.floats(allow_nan=True, allow_infinity=True),
            st.booleans(),
            st.integers(-(10**400), 10**400),
            st.none(),
            st.text(max_size=3),
        ),
        min_size=1,
        max_size=60,
    ),
    times=st.integers(1, 6),
)
def test_nothing_that_may_come_ends_the_fold(name: str, values: list[Any], times: int) -> None:
    """A detector that raises is told of once. What is told can be written as an event: its figures are numbers."""
    one = monitor(name)
    told = hear(one, (values * times)[:200])
    assert sum("raised" in reason for *_, reason in told) <= 1
    for _, _, effect, _, _ in told:
        assert isinstance(effect, float)
    pickle.loads(pickle.dumps(one))
