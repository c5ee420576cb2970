"""What was lost between two places of the log, and what would have been expected of clean data.

Laws of this file
- Sums are kept once per base block of labels, so that what an incident cost can be said from an onset in the past.
- Expected is the base predictor's loss on the same labels, times the ratio of the two losses over clean blocks
  before the onset: what makes a day harder for everybody is no cost of the incident.
- State is bounded: the newest `MARKS` blocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

MARKS = 512
LEAST_BLOCKS = 24
"""With fewer clean blocks nothing is expected."""
GROUP = 8
"""Blocks whose residuals are summed before their spread is taken: neighbours depend on each other."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What was judged up to a place of the log: labels, the losses of the live and of the base prediction (nats)."""

    position: int
    labels: int = 0
    live: float = 0.0
    base: float = 0.0
    clean: bool = True


@dataclass(frozen=True, slots=True)
class Clean:
    """How the live loss is to the base loss on clean data, and the spread of a group of `group_labels` about it (nats)."""

    ratio: float
    spread: float
    group_labels: float
    groups: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What the live prediction lost over so many labels, beyond what was expected; None where nothing could be."""

    labels: int
    live: float
    excess: float | None = None
    error: float | None = None


class Ledger:
    """Cumulative sums at the ends of base blocks. While `clean` is false, blocks are not taken for clean ones later.

    >>> ledger = Ledger()
    >>> for block in range(48):
    ...     ledger.add(100 * block + 100, 10, 2.0 if block < 40 else 5.0, 4.0)
    >>> start = ledger.before(4001)
    >>> cost = ledger.cost(start, ledger.now, ledger.clean_before(start))
    >>> cost.labels, cost.excess
    (80, 24.0)
    """

    __slots__ = ("_marks", "clean")

    def __init__(self) -> None:
        self.clean = True
        self._marks: deque[Sums] = deque([Sums(0)], maxlen=MARKS)

    @property
    def now(self) -> Sums:
        """Up to the end of the newest block."""
        return self._marks[-1]

    def add(self, position: int, labels: int, live: float, base: float) -> None:
        """Take one block: the position of its last label, and its summed losses."""
        last = self._marks[-1]
        self._marks.append(
            Sums(position, last.labels + labels, last.live + live, last.base + base, self.clean)
        )

    def before(self, position: int) -> Sums:
        """The sums at the last block that ended before a position; the oldest kept if none did."""
        found = self._marks[0]
        for mark in self._marks:
            if mark.position >= position:
                break
            found = mark
        return found

    def clean_before(self, start: Sums) -> Clean | None:
        """What clean blocks up to `start` say; None where there are too few."""
        blocks = [
            (end.labels - begin.labels, end.live - begin.live, end.base - begin.base)
            for begin, end in pairwise(self._marks)
            if end.clean and end.position <= start.position
        ]
        base = sum(block[2] for block in blocks)
        if len(blocks) < LEAST_BLOCKS or base <= 0.0:
            return None
        ratio = sum(block[1] for block in blocks) / base
        residuals = [live - ratio * of_base for _, live, of_base in blocks]
        groups = [sum(residuals[at : at + GROUP]) for at in range(0, len(blocks) - GROUP + 1, GROUP)]
        spread = sqrt(sum(one * one for one in groups) / (len(groups) - 1))
        labels = sum(block[0] for block in blocks)
        return Clean(ratio, spread, GROUP * labels / len(blocks), len(blocks) / GROUP)

    def cost(self, start: Sums, end: Sums, clean: Clean | None) -> Cost:
        """What was lost between two places, against what `clean` has one expect."""
        labels, live = end.labels - start.labels, end.live - start.live
        if clean is None or labels <= 0:
            return Cost(max(labels, 0), live)
        groups = labels / clean.group_labels
        error = clean.spread * sqrt(groups + groups * groups / clean.groups)
        return Cost(labels, live, live - clean.ratio * (end.base - start.base), error)
