"""Partitions that are added to a source: keys lie in others from then on, and their state does not. It is refused."""

from __future__ import annotations

import pytest

from penstock.stream.featurize.partitions import PartitionsChanged, tasks_of
from penstock.stream.log.memory import MemoryLog, Partition
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import PAID, card_events, cards, outs


def widen(log: MemoryLog, topic: str) -> None:
    """Add a partition."""
    log._topics[topic][1].append(Partition())


def test_a_worker_that_begins_when_there_are_more_refuses_to() -> None:
    flow = MemoryFlow(cards(), partitions=2)
    flow.feed(outs(card_events(50)))
    flow.settle()
    flow.close()
    widen(flow.log, PAID.name)  # type: ignore[arg-type]
    with pytest.raises(PartitionsChanged, match="state was kept for 2, there are 3 now"):
        flow.featurize.__class__(cards(), flow.log, flow.store, lambda: 0, keyspace=flow.featurize.keyspace)


def test_a_worker_that_is_given_one_that_was_not_there_refuses_it() -> None:
    assert tasks_of([("a", 1), ("b", 1), ("a", 0)], 2) == [0, 1]
    with pytest.raises(PartitionsChanged, match="state was kept for 2, there are 3 now"):
        tasks_of([("a", 2)], 2)
