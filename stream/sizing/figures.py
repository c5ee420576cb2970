"""What was found out about one event and one entity of a definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Measured(NamedTuple):
    """Of one event: `record_bytes` by topic and CPU (µs) by role. Of one entity: `entity_bytes` in Redis by view, and its keys.

    `filled` is how much of the longest window the made-up events covered. `state_bytes` is the encoded state alone, by view,
    `sample_bytes` a sample.
    """

    record_bytes: Mapping[str, float]
    featurize_us: float
    learn_us: float
    entity_bytes: Mapping[str, float]
    state_bytes: Mapping[str, float]
    sample_bytes: float
    filled: float
    kept_bytes: float
