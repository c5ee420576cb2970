"""What a reader gives of an entity that was never seen is what a sample of it carries."""

from __future__ import annotations

import json

from penstock import (
    View,
    count,
    decayed_count,
    distinct,
    last,
    max,
    mean,
    quantile,
    ratio,
    row,
    since_last,
    sum,
    top_k,
)
from penstock.features.read.client import FeatureReader
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import DELIVERED, SENT, START_MS, parcels
from tests.stream.naive_flow import everything

VIEW = View(
    "depot",
    DELIVERED,
    key="depot",
    features={
        "n": count("1h"),
        "total": sum("late", "1d"),
        "late": mean("late", "1h"),
        "worst": max("late", default=-1),
        "street": last("street", holds="text", default="none"),
        "idle": since_last(),
        "often": top_k("street", 2),
        "share": ratio(count("1h"), count("1d"), default=0.5),
        "fading": decayed_count("1h"),
        "kinds": distinct("street", "1d"),
        "p95": quantile("late", 0.95, "7d"),
        "size": row("log1p(late)"),
    },
)
EMPTY = {
    "n": 0.0, "total": 0.0, "late": None, "worst": -1.0, "street": "none", "idle": None, "often": None, "share": 0.5,
    "fading": 0.0, "kinds": 0.0, "p95": None, "size": None,
}  # fmt: skip


def test_a_missing_entity_has_the_values_that_a_sample_of_it_carries() -> None:
    pipeline = parcels(views=[VIEW])
    flow = MemoryFlow(pipeline, partitions=1)
    event = {"parcel": "p", "sent_at": START_MS, "van": "v", "depot": "nowhere", "weight": 1.0}
    flow.feed([Out(SENT.name, b"v", json.dumps(event).encode())])
    flow.settle()
    log = (decode_entry(record.value or b"") for record in everything(flow.log, "parcels.samples"))
    (sample,) = (entry for entry in log if isinstance(entry, Sample))
    reader = FeatureReader(flow.server, "parcels", pipeline.views)
    (found,) = reader.read([("depot", "nowhere")])
    assert found.values == EMPTY
    assert sample.x[1:] == [found.values[name] for name in VIEW.numeric]
    assert set(found.status.values()) == {"missing"} and not found.found
    assert (reader.served.missing, reader.served.defaults) == (1, len(EMPTY))


def test_without_definitions_a_missing_entity_has_no_values() -> None:
    flow = MemoryFlow(parcels(views=[VIEW]), partitions=1)
    reader = FeatureReader(flow.server, "parcels")
    (found,) = reader.read([("depot", "nowhere")])
    assert (found.values, found.status, reader.served.defaults) == ({}, {}, 0)
