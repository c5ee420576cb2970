"""What was put aside and what was told, against what was sent and against itself: in the same words whenever it is said again.

Laws of this file: a repeat that differs is torn; a dead letter holds its record as it was.
"""

from __future__ import annotations

import json
from typing import Any

from tests.faults.counts import Counts
from tests.faults.reference import OrderedFlow
from tests.stream.naive_flow import dead_place


def check_dead_letters(world: Any, flow: OrderedFlow, counts: Counts) -> None:
    """Every record that could not be used was put aside as it was, and no other; a repeat says the same under the same id."""
    found: dict[tuple[str, int, int], Any] = {}
    for record in (one for records in world.raw.whole(f"{world.name}.dead-letters") for one in records):
        place = dead_place(record)
        says = (record.key, record.value, record.headers)
        counts.known_repeats += found.get(place) == says
        if found.setdefault(place, says) != says:
            counts.add("torn", f"{place} was put aside as {found[place]} and as {says}")
    sources = {source.name: world.raw.whole(source.name) for source in world.pipeline.sources}
    for place in flow.dead - found.keys():
        counts.add("lost", f"{place} is no dead letter")
    for place, (key, value, headers) in found.items():
        topic, partition, offset = place
        if place not in flow.dead:
            counts.add("wrong", f"{place} is a dead letter")
            continue
        source = next(one for one in sources[topic][partition] if one.offset == offset)
        number = f"{world.raw.topic_id(topic)}-{partition}-{offset}".encode()
        told = dict(headers)
        if (key, value, told["penstock-id"]) != (source.key, source.value, number) or not told[
            "penstock-reason"
        ]:
            counts.add("wrong", f"the dead letter of {place} is not what was sent: {value!r}, {headers}")


def check_events(world: Any, counts: Counts) -> None:
    """What was told on the control topics and of the model's history is told again in the same words under its id, if at all."""
    for topic in ("control.alerts", "control.retrain", "control.rollback", f"{world.name}.history"):
        said: dict[str, Any] = {}
        for records in world.raw.whole(topic):
            for record in records:
                event = json.loads(record.value or b"{}")
                if (record.key or b"").decode() != world.name:
                    continue
                says = {name: value for name, value in event.items() if name != "time"}
                counts.known_repeats += said.get(event["id"]) == says
                if said.setdefault(event["id"], says) != says:
                    counts.add("torn", f"{topic}: {event['id']} says {said[event['id']]} and {says}")
