"""Every fault, in the order of importance, and the few of a short round: some of each kind."""

from __future__ import annotations

from tests.faults import brokers, clocks_and_topics, flink_job, kills, pauses, points, stores
from tests.faults.fault import Fault

FAULTS: list[Fault] = [
    *kills.FAULTS,
    *flink_job.FAULTS,
    *points.FAULTS,
    *pauses.FAULTS,
    *brokers.FAULTS,
    *stores.FAULTS,
    *clocks_and_topics.FAULTS,
]

SHORT = (
    "kill featurize across",
    "kill shards",
    "end learn: half of snapshot",
    "zombie before append",
    "broker's replies lost",
    "redis set back",
    "source trimmed",
)
SHORT_BUGS = ("commit before write", "a request carried out twice")
