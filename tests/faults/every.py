"""Every fault, in the order of importance."""

from __future__ import annotations

from tests.faults import brokers, clocks_and_topics, kills, pauses, points, stores
from tests.faults.fault import Fault

FAULTS: list[Fault] = [
    *kills.FAULTS,
    *points.FAULTS,
    *pauses.FAULTS,
    *brokers.FAULTS,
    *stores.FAULTS,
    *clocks_and_topics.FAULTS,
]
