"""What a fold remembers in order to tell how it did: where the last block of labels and the last hour ended.

Laws of this file:
- Nothing is counted here that the fold, its experts and its task count already: a record is the difference of two of their sums.
  Only the area under the ROC curve needs each prediction with its label: the newest of a block are kept.
- Part of the fold's state, and a function of the log: a fold that is restored goes on in the middle of a block.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from penstock.stream.history_record import Counted
from penstock.stream.learn.tasks.task import Task
from penstock.stream.task_kind import TARGETS

BLOCK_LABELS = 500
"""The mean of so many losses is known to about 0.02 nats, which is what the drift rules' margin asks for, and a year of the
flights demo has 650 blocks: what a chart can show."""
LEAST_BLOCK_MS = 600_000
"""A block is at least so long, in event time, and then holds more labels: however many come, a year has 53,000 blocks at most."""
HOUR_MS = 3_600_000
COUNTED = Counted.__struct_fields__
RANKED_LABELS = 2_000
"""The area under the ROC curve is that of the newest so many labels of a block: known to about 0.01, and quick to sort."""


@dataclass
class Mark:
    """Where a record of one kind ended, and every sum as it was there.

    `counts` are those of `COUNTED`, in order; `lost` is what each expert had lost, by number, and `sums` are the task's.
    """

    position: int = 0
    at: int = 0
    counts: tuple[int, ...] = (0,) * len(COUNTED)
    live_loss: float = 0.0
    base_loss: float = 0.0
    judged: int = 0
    mixture_loss: float = 0.0
    lost: dict[int, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)


class History:
    """The marks, and when the next records are due: at `block_over` joined labels, and at the event time `hour_over` (ms).

    `said` is the newest predictions of the block with their labels, where these are true or false; None elsewhere.
    """

    def __init__(self, task: Task) -> None:
        self.block, self.hour = Mark(), Mark()
        self.block_over, self.hour_over = BLOCK_LABELS, 0
        asked = TARGETS[task.kind] == "boolean" and not task.at_once
        self.said: deque[tuple[float, bool]] | None = deque(maxlen=RANKED_LABELS) if asked else None
