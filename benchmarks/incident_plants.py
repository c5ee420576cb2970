"""Incidents planted into the flights: pure functions over the events of `examples.flights_data`, before featurizing.

Laws of this file:
- The same events, kind and interval give the same events: who is hit is chosen by a hash of the flight's id.
- The events given are not changed. What comes back is in event-time order, and outside the interval it is what was given (but for
  the arrivals of flights that the interval took or delayed).
- A flight is hit where it departs within [from_ms, to_ms), except with `labels_stop`: there it is hit where it lands within it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args
from zlib import crc32

from penstock.examples.flights_data import ARRIVALS, DEPARTURES, Event
from penstock.stream.messages import Entry, LabelRecord, Sample

Kind = Literal[
    "unit", "renamed", "nulls_one_carrier", "labels_stop", "volume_halved", "duplicated", "airport_closed", "stuck",
    "label_delay_doubled",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
CARRIER, RENAMED, AIRPORT = "UA", "UAL", "EWR"

Changed = list[Event]
Change = Callable[[Event], Changed]


class Planted(NamedTuple):
    """What is published, and where the incident truly begins: at the first event that is otherwise, or lacking.

    `onset_ms` is that event's time (of a delayed label: when it should have come), `onset_id` its flight; `hit` counts the
    events changed, added or taken away. `onset_ms` is `to_ms`, and `onset_id` empty, where nothing was hit.
    """

    events: list[Event]
    onset_ms: int
    onset_id: str
    hit: int


def plant(kind: Kind, events: Sequence[Event], from_ms: int, to_ms: int) -> Planted:
    """The events with an incident of this kind in the event times [from_ms, to_ms).

    `unit`: one carrier's `dep_delay` in seconds. `renamed`: that carrier is called otherwise in departures. `nulls_one_carrier`:
    its `dep_delay` is null. `labels_stop`: no arrivals. `volume_halved`: half of the flights are never published.
    `duplicated`: every departure comes twice. `airport_closed`: no flights from one airport. `stuck`: that airport's `dep_delay`
    stays what it last was. `label_delay_doubled`: aircraft are twice as long under way.

    Raises:
        ValueError: a kind of another name.
    """
    if kind not in KINDS:
        raise ValueError(f"incident {kind!r} is unknown: use one of {' '.join(KINDS)}")
    left = {e.fields["flight_id"]: e.at_ms for e in events if e.topic == DEPARTURES}
    change = _change(kind, events, from_ms, left)
    published: Changed = []
    onset_ms, onset_id, hit = to_ms, "", 0
    for event in events:
        at = event.at_ms if kind == "labels_stop" else left.get(event.fields["flight_id"], -1)
        found = change(event) if from_ms <= at < to_ms else [event]
        if found != [event]:
            hit += 1
            if event.at_ms < onset_ms or not onset_id:
                onset_ms, onset_id = event.at_ms, event.fields["flight_id"]
        published += found
    published.sort(key=lambda event: event.at_ms)  # stable: what is of one time stays in its order
    return Planted(published, onset_ms, onset_id, hit)


def onset_position(entries: Sequence[Entry], onset_ms: int) -> int:
    """The place of the first sample or label at or after `onset_ms` in a samples log; its length if there is none."""
    timed = (
        place
        for place, one in enumerate(entries)
        if isinstance(one, Sample | LabelRecord) and one.at >= onset_ms
    )
    return next(timed, len(entries))


def _change(kind: Kind, events: Sequence[Event], from_ms: int, left: dict[str, int]) -> Change:
    """What becomes of one event of a flight that is hit."""

    def departs(field: str, make: Callable[[Any], Any], of: str, value: str) -> Change:
        """Change one field of the departures whose field `of` has this value."""

        def changed(event: Event) -> Changed:
            fields = event.fields
            if event.topic != DEPARTURES or fields[of] != value:
                return [event]
            return [event._replace(fields={**fields, field: make(fields[field])})]

        return changed

    def lost(condition: Callable[[Event], bool]) -> Change:
        return lambda event: [] if condition(event) else [event]

    def again(event: Event) -> Changed:
        return [event, event] if event.topic == DEPARTURES else [event]

    def delayed(event: Event) -> Changed:
        if event.topic != ARRIVALS:
            return [event]
        late = 2 * event.at_ms - left[event.fields["flight_id"]]
        return [event._replace(fields={**event.fields, "landed_at": late}, at_ms=late)]

    before = (e.fields["dep_delay"] for e in reversed(events) if e.at_ms < from_ms and _leaves(e, AIRPORT))
    last = next(before, 0) if kind == "stuck" else 0
    changes: dict[Kind, Change] = {
        "unit": departs("dep_delay", lambda minutes: minutes * 60, "carrier", CARRIER),
        "renamed": departs("carrier", lambda _: RENAMED, "carrier", CARRIER),
        "nulls_one_carrier": departs("dep_delay", lambda _: None, "carrier", CARRIER),
        "labels_stop": lost(lambda event: event.topic == ARRIVALS),
        "volume_halved": lost(lambda event: crc32(event.fields["flight_id"].encode()) % 2 == 0),
        "duplicated": again,
        "airport_closed": lost(lambda event: event.fields["origin"] == AIRPORT),
        "stuck": departs("dep_delay", lambda _: last, "origin", AIRPORT),
        "label_delay_doubled": delayed,
    }
    return changes[kind]


def _leaves(event: Event, airport: str) -> bool:
    return event.topic == DEPARTURES and bool(event.fields["origin"] == airport)
