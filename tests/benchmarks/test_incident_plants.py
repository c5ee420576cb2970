"""Planted incidents: who is hit, from where on, and that nothing else is touched."""

from __future__ import annotations

import copy
from datetime import date
from functools import cache

import pytest

from benchmarks.incident_plants import AIRPORT, CARRIER, KINDS, RENAMED, Kind, onset_position, plant
from penstock.examples.flights_data import ARRIVALS, DEPARTURES, Event, events, new_york_ms
from penstock.stream.messages import LabelRecord, Origin, Sample, Tick

FROM_MS, TO_MS = new_york_ms(date(2013, 1, 3)), new_york_ms(date(2013, 1, 5))


@cache
def week() -> tuple[Event, ...]:
    return tuple(Event(*one) for one in events("none", None, date(2013, 1, 8)))


def of(topic: str, among: list[Event]) -> list[Event]:
    return [event for event in among if event.topic == topic and FROM_MS <= event.at_ms < TO_MS]


@pytest.mark.parametrize("kind", KINDS)
def test_an_incident_begins_where_it_says_in_order_and_leaves_what_it_was_given_as_it_was(kind: Kind) -> None:
    given = copy.deepcopy(week())
    planted = plant(kind, given, FROM_MS, TO_MS)
    assert given == week()
    assert planted == plant(kind, given, FROM_MS, TO_MS)
    times = [event.at_ms for event in planted.events]
    assert times == sorted(times)
    assert FROM_MS <= planted.onset_ms < FROM_MS + 12 * 3_600_000
    assert planted.hit > 100
    assert planted.onset_id
    same = next(n for n, (one, other) in enumerate(zip(given, planted.events, strict=False)) if one != other)
    # of what comes twice, the second one is too many
    assert given[same - (kind == "duplicated")].at_ms == planted.onset_ms
    before = [event for event in week() if event.at_ms < FROM_MS]
    assert planted.events[: len(before)] == before
    departures = [event for event in planted.events if event.topic == DEPARTURES and event.at_ms >= TO_MS]
    assert departures == [event for event in week() if event.topic == DEPARTURES and event.at_ms >= TO_MS]


def test_each_kind_changes_what_its_name_says() -> None:
    left, landed = of(DEPARTURES, list(week())), of(ARRIVALS, list(week()))

    def planted(kind: Kind, topic: str = DEPARTURES) -> list[Event]:
        return of(topic, plant(kind, week(), FROM_MS, TO_MS).events)

    ours = [event.fields for event in left if event.fields["carrier"] == CARRIER]
    minutes = [fields["dep_delay"] for fields in ours]
    same = [e.fields for e in planted("unit") if e.fields["carrier"] == CARRIER]
    assert [fields["dep_delay"] for fields in same] == [60 * one for one in minutes]
    assert sum(e.fields["carrier"] == RENAMED for e in planted("renamed")) == len(ours)
    nulls = [e.fields["carrier"] for e in planted("nulls_one_carrier") if e.fields["dep_delay"] is None]
    assert nulls == [CARRIER] * len(ours)
    assert planted("labels_stop", ARRIVALS) == []
    assert planted("labels_stop") == left
    assert 0.45 < len(planted("volume_halved")) / len(left) < 0.55
    assert len(planted("duplicated")) == 2 * len(left)
    assert planted("duplicated", ARRIVALS) == landed
    assert not any(e.fields["origin"] == AIRPORT for e in planted("airport_closed"))
    stuck = {e.fields["dep_delay"] for e in planted("stuck") if e.fields["origin"] == AIRPORT}
    assert len(stuck) == 1
    delayed = plant("label_delay_doubled", week(), FROM_MS, TO_MS).events
    at = {e.fields["flight_id"]: e.at_ms for e in left}
    came = {e.fields["flight_id"]: e.at_ms for e in week() if e.topic == ARRIVALS}
    for event in delayed:
        if event.topic == ARRIVALS and (since := at.get(event.fields["flight_id"])) is not None:
            assert event.at_ms == event.fields["landed_at"] == 2 * came[event.fields["flight_id"]] - since


def test_an_unknown_incident_is_refused_and_an_empty_interval_hits_nothing() -> None:
    with pytest.raises(ValueError, match="'flood' is unknown: use one of unit renamed"):
        plant("flood", week(), FROM_MS, TO_MS)  # type: ignore[arg-type]
    planted = plant("renamed", week(), FROM_MS, FROM_MS)
    assert planted.events == list(week())
    assert (planted.onset_ms, planted.onset_id, planted.hit) == (FROM_MS, "", 0)


def test_the_onset_has_its_place_in_a_samples_log() -> None:
    log = [
        Sample(Origin("t", 0, 0), "a", "k", 10, [1.0]),
        Tick({"t/0": 30}, [], 0),
        LabelRecord(Origin("t", 0, 1), "a", 30, True),
        Sample(Origin("t", 0, 2), "b", "k", 20, [1.0]),
    ]
    assert [onset_position(log, at) for at in (5, 11, 31)] == [0, 2, 4]
