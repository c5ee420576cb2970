"""The producers of the benchmark of formats write the same events in each."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.formats import flights_in
from benchmarks.formats_written import FORMATS, written
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.registry import Schema
from penstock.stream.formats.schemas import Schemas
from penstock.stream.log.protocol import Record

EVENTS: list[tuple[str, str | None, dict[str, Any], int]] = [
    (
        "flights.departures",
        tail,
        {"flight_id": f"f{n}", "departs_at": 1_357_035_420_000 + n, "tail": tail, "carrier": "UA", "origin": "EWR",
         "dest": "IAH", "hour": n, "distance": 1400, "dep_delay": None if n == 2 else n - 1},
        1_357_035_420_000 + n,
    )
    for n, tail in enumerate(["N1", None, "N2", "N3"])
]  # fmt: skip


class Known:
    def __init__(self) -> None:
        self.schemas: list[Schema] = []

    def register(self, subject: str, kind: str, text: str) -> int:
        self.schemas.append(Schema(len(self.schemas) + 1, kind, text, {}))
        return len(self.schemas)

    def schema(self, number: int) -> Schema | None:
        return self.schemas[number - 1]


def events_in(form: str) -> tuple[list[Any], int]:
    known, pipeline = Known(), flights_in(form)
    made = written(form, EVENTS, known)
    decoder = SourceDecoder(pipeline, pipeline.predict, reader_of(pipeline.predict, Schemas(known)))
    records = [
        Record(out.topic, 0, offset, 1_400_000_000_000, out.key, out.value, ())
        for offset, out in enumerate(made.records)
    ]
    return [item.event for item in decoder.items(records, -1)], made.schemas


@pytest.mark.parametrize(("form", "schemas"), [*zip(FORMATS, (0, 2, 1, 1), strict=True)])
def test_each_format_holds_the_same_flights(form: str, schemas: int) -> None:
    found, count = events_in(form)
    assert found == events_in("json")[0] and None not in found and count == schemas
