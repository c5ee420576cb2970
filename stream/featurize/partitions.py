"""How many partitions there are, where each of them is a task with a state of its own: their number may not change."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.stream.definitions import DefinitionError
from penstock.stream.log.protocol import TP


class PartitionsChanged(DefinitionError):
    """There are more partitions than state was kept for: keys are in other ones now, and their state is not there."""

    def __init__(self, before: int, now: int) -> None:
        super().__init__(
            f"the sources' partitions changed: state was kept for {before}, there are {now} now; "
            f"`penstock reset` starts over, or restore the partition counts"
        )


def tasks_of(assigned: Iterable[TP], partitions: int) -> list[int]:
    """The partitions that a worker has a task for. Raises `PartitionsChanged` for one that was not there when it began."""
    found = sorted({partition for _, partition in assigned})
    if found and found[-1] >= partitions:
        raise PartitionsChanged(partitions, found[-1] + 1)
    return found
