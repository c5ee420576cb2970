"""Data quality by segment: one value stops, or gets another name, and what the whole shows is not told of its parts again."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from penstock.monitors.inputs.ranges import EPOCH_SAMPLES
from penstock.monitors.quality.unseen import Unseen
from penstock.stream.learn.watching.chosen import watchers_of
from penstock.stream.learn.watching.segment_flow import SegmentFlow
from penstock.stream.learn.watching.watcher import Finding
from penstock.stream.messages import Origin, Sample
from tests.stream.generated import DAY, HOUR, MINUTE, START_MS, parcels

STEP = 3 * MINUTE
VANS = ("a", "b", "c")


def fed(samples: Sequence[tuple[int, str, str]]) -> list[Finding]:
    """What the watchers of quality find in samples of (event time, id, van), a tick every hour."""
    pipeline = parcels(segments=["van"])
    watchers = watchers_of(pipeline, pipeline.vector_names)
    assert any(isinstance(one, SegmentFlow) for one in watchers.all)
    found: list[Finding] = []
    ticked = START_MS
    for position, (at, event_id, van) in enumerate(samples):
        while at - ticked >= HOUR:
            ticked += HOUR
            for one in watchers.of_ticks:
                found += one.tick(ticked, position)
        x = [1.0] + [None] * (len(pipeline.vector_names) - 1)
        sample = Sample(Origin("sent", 0, position), event_id, van, at, x, "", None, [van])
        for one in watchers.of_samples:
            found += one.sample(at, position, sample, 0.5)
    return [one for one in found if one.transition.monitor in ("volume", "unseen")]


def days(count: int, seed: int = 1) -> list[tuple[int, str, str]]:
    """A sample every three minutes, of one of three vans."""
    chance = random.Random(seed)
    many = count * DAY // STEP
    return [(START_MS + n * STEP, f"p{n}", chance.choice(VANS)) for n in range(many)]


CHANGE = 40


def after(sample: tuple[int, str, str]) -> bool:
    return sample[0] >= START_MS + CHANGE * DAY


def test_a_segment_that_stops_is_told_by_its_name_while_the_whole_goes_on() -> None:
    given = [one for one in days(CHANGE + 3) if not (after(one) and one[2] == "b")]
    found = fed(given)
    assert found, "nothing was told"
    first = found[0].transition
    assert (first.monitor, first.subject, first.state) == ("volume", "parcels.sent where van is b", "firing")
    assert abs(first.since_ms - (START_MS + CHANGE * DAY)) <= 2 * HOUR
    assert "parcels.sent where van is b" in found[0].reason and found[0].verb == "warn"


def test_a_segment_of_another_name_is_told_with_the_name() -> None:
    given = [
        (at, event, "B" if after((at, event, van)) and van == "b" else van)
        for at, event, van in days(CHANGE + 2)
    ]
    found = fed(given)
    unseen = [one for one in found if one.transition.monitor == "unseen"]
    assert unseen and unseen[0].transition.subject == "van" and "'B'" in unseen[0].reason


def test_what_the_whole_shows_is_not_told_of_its_parts() -> None:
    given = [one for number, one in enumerate(days(CHANGE + 3)) if not (after(one) and number % 10)]
    subjects = [one.transition.subject for one in fed(given) if one.transition.state == "firing"]
    assert "parcels.sent" in subjects and len(subjects) <= 2, subjects


def test_on_a_stream_on_which_nothing_changes_nothing_is_told() -> None:
    assert fed(days(60, seed=2)) == []


@pytest.mark.parametrize("number", [40])
def test_a_field_with_many_values_is_watched_where_they_are_frequent(number: int) -> None:
    pipeline = parcels(segments=["van"])
    watcher = next(one for one in watchers_of(pipeline, []).all if isinstance(one, SegmentFlow))
    chance = random.Random(3)
    for n in range(2 * EPOCH_SAMPLES):
        van = "often" if n % 2 else f"v{chance.randrange(number)}"
        x = [1.0] + [None] * (len(pipeline.vector_names) - 1)
        watcher.sample(
            START_MS + n, n, Sample(Origin("sent", 0, n), f"p{n}", van, START_MS + n, x, "", None, [van]), 0.5
        )
    assert list(watcher.volumes[0]) == ["often"]


@pytest.mark.parametrize("seed", range(3))
def test_samples_whose_values_are_known_are_passed_over_with_the_same_findings(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    given = []
    for at, event, van in days(CHANGE + 3, seed):
        # one van has other names for a day, one comes seldom, and some come late
        renamed = van == "b" and CHANGE * DAY <= at - START_MS < (CHANGE + 1) * DAY
        named = f"{van}{chance.randrange(3)}" if renamed else van
        given.append(
            (at - chance.choice([0, 0, 0, 2 * HOUR]), event, "d" if chance.random() < 0.001 else named)
        )
    found = fed(given)
    monkeypatch.setattr(Unseen, "knows", lambda self, value: False)
    assert found == fed(given)
    assert [one.transition.state for one in found if one.transition.monitor == "unseen"] == [
        "firing",
        "resolved",
    ]
