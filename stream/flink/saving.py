"""What a job has Redis hold: states and documents, as values.

Law of this file: writing the same again changes nothing, so there is no token and no position: the state is Flink's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.features.units import Write

WRITES_AT_ONCE = 100


def save(client: Any, writes: Sequence[Write]) -> None:
    """Write them to Redis, a hundred in one transaction."""
    for first in range(0, len(writes), WRITES_AT_ONCE):
        with client.pipeline(transaction=True) as saving:
            for write in writes[first : first + WRITES_AT_ONCE]:
                saving.set(write.state_key, write.state)
                saving.set(write.public_key, write.document, px=write.ttl_ms or None)
            saving.execute()
