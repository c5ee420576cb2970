"""The pipeline that is flooded, and the reference: the naive flow over the events that the naive decoder finds.

Laws of this file:
- As `tests/faults/flows.py`: one model beside the base rate, so that a naive learner knows every prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.stream.log.protocol import Record
from tests.faults.flows import CARDS
from tests.flood.framed import FORMS
from tests.stream.naive_flow import Expected, NaiveFlow


def definition(name: str, form: str = "json") -> str:
    """The text of the definition over a topic in a format."""
    text = CARDS.replace("NAME", name)
    if form == "json":
        return text
    usual = 'id="payment", time="paid_at", key="card"'
    assert usual in text
    return text.replace(usual, f'id="id", time="at", key="card", format="{form}"')


class GoodOnes(NaiveFlow):
    """The naive flow of the good records alone. `kinds` has how each was spoilt, by its place: its header `kind` says."""

    def __init__(self, pipeline: Any, log: Any) -> None:
        self.event_of = FORMS[pipeline.predict.format].event_of
        self.kinds: dict[tuple[str, int, int], str] = {}
        super().__init__(pipeline, log)

    def _checked(self, records: Sequence[Record]) -> list[tuple[int, Expected | None]]:
        newest = -1
        checked: list[tuple[int, Expected | None]] = []
        source = self.pipeline.predict
        for record in records:
            place = (record.topic, record.partition, record.offset)
            for name, value in record.headers:
                if name == "kind" and value is not None:
                    self.kinds[place] = value.decode()
            event = self.event_of(record.value, record.timestamp_ms, newest)
            if event is None:
                self.dead.add(place)
                checked.append((newest, None))
                continue
            newest = max(newest, event.at)
            fields = event.fields
            checked.append((event.at, Expected(event.at, str(fields[source.id]), source, place, fields)))
        return checked
