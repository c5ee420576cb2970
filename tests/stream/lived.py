"""A history as the roles leave it behind."""

from __future__ import annotations

from typing import Any

from penstock.stream.definitions import Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.roles.in_memory import MemoryFlow


def lived(pipeline: Pipeline, events: list[Out], **options: Any) -> MemoryLog:
    """The log after all roles have read these events; `options` are those of `MemoryFlow`."""
    flow = MemoryFlow(pipeline, partitions=2, **options)
    flow.feed(events)
    flow.settle()
    flow.close()
    assert isinstance(flow.log, MemoryLog)
    return flow.log
