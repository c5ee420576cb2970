"""What a comparison can be split by: an input of the model, the entity, or any other field of the predicted events.

Laws of this file:
- Inputs and the entity stand in the samples log. Other fields are read from the predicted topic, as far as it still holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.stream.formats.as_json import json_of
from penstock.stream.log.protocol import Log
from penstock.stream.operate.pairs import Pair
from penstock.stream.operate.recipe_change import CannotCompare
from penstock.stream.operate.sides import Progress
from penstock.stream.source import Source

KEY = "key"
POLL_RECORDS = 5_000
_PLAIN = (bool, int, float, str)


def of_pair(pair: Pair, by: str) -> Any:
    """The value of the entity or an input; `CannotCompare` for what is neither."""
    if by == KEY:
        return pair.row.key
    inputs = pair.row.recipe.inputs
    return pair.row.x[inputs.index(by)] if by in inputs else None


def in_log(by: str, inputs: Sequence[str]) -> bool:
    """Whether the samples log itself says it."""
    return by == KEY or by in inputs


def of_events(
    log: Log, source: Source, by: str, places: Sequence[tuple[int, int]], progress: Progress
) -> list[Any]:
    """The field `by` of the events at these (partition, offset); None where it is missing or gone.

    Raises `CannotCompare` when no event has it.
    """
    topic, as_json = source.name, json_of(source)
    wanted = {place: number for number, place in enumerate(places)}
    found: list[Any] = [None] * len(places)
    partitions = sorted({partition for partition, _ in places})
    bounds = log.bounds([(topic, partition) for partition in partitions])
    left = {tp: end for tp, (start, end) in bounds.items() if start < end}
    total, done, seen = sum(end - start for start, end in bounds.values()), 0, False
    reader = log.reader({tp: bounds[tp][0] for tp in left})
    try:
        while left:
            for record in reader.poll(POLL_RECORDS, 1.0):
                done += 1
                number = wanted.get((record.partition, record.offset))
                if number is not None and (event := as_json(record)) is not None:
                    value = msgspec.json.decode(event).get(by)
                    seen = seen or value is not None
                    found[number] = value if isinstance(value, _PLAIN) else None
            read_to = reader.positions()
            left = {tp: end for tp, end in left.items() if read_to.get(tp, 0) < end}
            progress(f"reading {by} of {topic}", min(done, total), total)
    finally:
        reader.close()
    if not seen:
        raise CannotCompare(
            f"--by {by}: neither an input, nor {KEY!r} (the entity), nor a field of the events of {topic} that are still there"
        )
    return found
