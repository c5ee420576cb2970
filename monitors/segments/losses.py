"""The paired losses by segment: what a loss of skill came from, and whether one segment lost what the whole does not show.

Laws of this file
- Per label only its losses and places are kept; sums by segment are made once per block of `BLOCK_LABELS` labels.
- A segment's damage since an onset is the live loss above its own ratio to the base rate's loss, which is that of the kept blocks
  before the onset, drawn to the ratio of all with the weight of `DRAWN_LABELS` labels. Blocks are kept for 28,000 labels.
- Each segment has a harm test of its own (`losses.paired`, with its block rule), on blocks of at least `BASE_LABELS` of its own.
- The budget is shared by Bonferroni: each of T segments with a test may raise budget / T false alarms a year, whatever depends on
  what. A segment of nearly all labels is the whole, and has none.
- A loss that lasts for `NEW_LEVEL_BLOCKS` blocks of its segment is the new level.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.drift import margin_of
from penstock.monitors.losses.paired import BaseBlock, PairedTest
from penstock.monitors.segments.blame import Blamed, Floats, blame
from penstock.monitors.segments.places import WIDTH, Placed, flattened

BLOCK_LABELS = 250
KEPT_BLOCKS = 112
BASE_LABELS = 125
REFERENCE_BLOCKS = 80
LEAST_BLOCKS = 24
DRAWN_LABELS = 200.0
LEAST_BEFORE = 1_000.0
WHOLE = 0.9
NEW_LEVEL_BLOCKS = 40
LABELS, LIVE, BASE, GAP = range(4)
Stored = NDArray[np.float32] | Floats


class Block(NamedTuple):
    """Sums by place of one block of labels (labels, live loss, base loss, committed less all together), and where it lay."""

    start_ms: int
    start_position: int
    end_ms: int
    end_position: int
    sums: Stored


class Carried(NamedTuple):
    """The segment that carries a loss, and how many labels of it that rests on."""

    blamed: Blamed
    labels: int


class SegmentLosses:
    """Sums of losses by segment, in blocks, and a harm test for each segment.

    Args:
        places: how many places there are.
        budget_per_year: false alarms a year, of all segments together.
    """

    __slots__ = (
        "_fired",
        "_labels",
        "_open",
        "_since",
        "_start",
        "_sums",
        "_tests",
        "blocks",
        "budget",
        "places",
    )

    def __init__(self, places: int, budget_per_year: float) -> None:
        self.places = places
        self.budget = budget_per_year
        self.blocks: deque[Block] = deque(maxlen=KEPT_BLOCKS)
        self._open: list[tuple[Placed, float, float, float]] = []
        self._start = (0, 0)
        self._tests: dict[int, PairedTest] = {}
        self._fired: dict[int, int] = {}
        self._sums: Floats = np.zeros((3, places))
        self._since: dict[int, tuple[int, int]] = {}
        # labels by place of all kept blocks: whole numbers, so adding and taking away is exact
        self._labels: Floats = np.zeros(places)

    @property
    def tests(self) -> int:
        """How many segments share the budget."""
        return len(self._tests)

    @property
    def labels(self) -> int:
        """How many labels are kept, by blocks and beside them."""
        return len(self.blocks) * BLOCK_LABELS + len(self._open)

    def update(self, at_ms: int, position: int, placed: Placed, live: float, base: float, gap: float) -> bool:
        """Take one label's losses (nats); whether it completes a block, which is then to be judged.

        Args:
            at_ms: event time of the label.
            position: its position in the log.
            placed: the place of its sample in each field.
            live: loss of the live prediction.
            base: loss of the base rate.
            gap: loss of the committed model less that of all together.
        """
        rows = self._open
        if not rows:
            self._start = (at_ms, position)
        rows.append((placed, live, base, gap))
        if len(rows) < BLOCK_LABELS:
            return False
        block = Block(*self._start, at_ms, position, self._summed().astype(np.float32))
        rows.clear()
        if len(self.blocks) == KEPT_BLOCKS:
            self._labels -= self.blocks[0].sums[LABELS]
        self._labels += block.sums[LABELS]
        self.blocks.append(block)
        return True

    def carries(self, since_position: int, what: Literal["harm", "lead"]) -> Carried | None:
        """The segment that carries a loss of skill, or the committed model's being worse, since an onset; None for no one."""
        kept = list(self.blocks)
        if self._open:
            kept.append(Block(*self._start, self._start[0], 1 << 62, self._summed()))
        after = [block.sums for block in kept if block.end_position >= since_position]
        before = [block.sums for block in kept if block.end_position < since_position]
        if not after:
            return None
        now = sum_of(after)
        if what == "lead":
            found = blame(now[GAP], now[LABELS])
        else:
            usual = sum_of(before) if before else np.zeros_like(now)
            damage = self.excess(usual, now)
            found = None if damage is None else blame(damage, now[LABELS])
        return None if found is None else Carried(found, int(now[LABELS][found.place]))

    @staticmethod
    def excess(before: Floats, now: Floats) -> Floats | None:
        """The live loss by place above its own usual ratio to the base loss (nats); None where too little came before.

        >>> before = np.array([[1000.0, 1000.0], [400.0, 400.0], [800.0, 800.0], [0.0, 0.0]])
        >>> now = np.array([[100.0, 100.0], [40.0, 90.0], [80.0, 80.0], [0.0, 0.0]])
        >>> SegmentLosses.excess(before, now).round(6).tolist()
        [0.0, 50.0]
        """
        # the first field's places have every label once
        labels, live, base = (float(row.sum()) for row in before[:3, :WIDTH])
        if labels < LEAST_BEFORE or base <= 0:
            return None
        ratio = (before[LIVE] + DRAWN_LABELS * live / labels) / (before[BASE] + DRAWN_LABELS * base / labels)
        damage: Floats = now[LIVE] - ratio * now[BASE]
        return damage

    def forget(self, places: Sequence[int]) -> None:
        """These places belong to other values from here on."""
        for place in places:
            for block in self.blocks:
                block.sums[:, place] = 0.0
            self._labels[place] = 0.0
            self._sums[:, place] = 0.0
            self._tests.pop(place, None)
            self._fired.pop(place, None)
            self._since.pop(place, None)

    def restart(self, at_ms: int, position: int, reason: str) -> list[tuple[int, Transition]]:
        """Another model is in place: close what is open, and forget the evidence, not the noise."""
        closed = []
        for place, test in self._tests.items():
            closed += [(place, one) for one in test.closing(at_ms, position, reason)]
            test.restart()
        self._fired.clear()
        self._since.clear()
        self._sums[:] = 0.0
        return closed

    def _summed(self) -> Floats:
        """The open block's sums."""
        placed, *columns = zip(*self._open, strict=True)
        flat, fields = flattened(placed), len(placed[0])
        rows: list[Floats] = [np.bincount(flat, minlength=self.places).astype(np.float64)]
        for losses in columns:
            weights = np.repeat(np.array(losses, dtype=np.float64), fields)
            rows.append(np.bincount(flat, weights, minlength=self.places).astype(np.float64))
        return np.stack(rows)

    def judge(self, per_year: float) -> list[tuple[int, Transition]]:
        """Give every segment with labels enough its base block, once a block is complete.

        Args:
            per_year: labels a year of the whole stream.

        Returns:
            Transitions of the segments' tests, with their places (almost always none).
        """
        block = self.blocks[-1]
        for place in np.flatnonzero(block.sums[LABELS]).tolist():
            if self._sums[LABELS, place] == 0:
                self._since[place] = (block.start_ms, block.start_position)
        self._sums += block.sums[:GAP]
        found: list[tuple[int, Transition]] = []
        ready = np.flatnonzero(self._sums[LABELS] >= BASE_LABELS).tolist()
        if not ready:
            return found
        all_labels = len(self.blocks) * BLOCK_LABELS
        for place in ready:
            labels, live, base = self._sums[:, place].tolist()
            self._sums[:, place] = 0.0
            share = float(self._labels[place]) / all_labels
            if share > WHOLE:
                continue
            test = self._tests.get(place)
            if test is None:
                test = self._tests[place] = PairedTest(
                    "segment", estimate_ratio=True, base_labels=BASE_LABELS, reference_blocks=REFERENCE_BLOCKS,
                    min_blocks=LEAST_BLOCKS,
                )  # fmt: skip
            one = BaseBlock(
                live / labels, base / labels, *self._since[place], block.end_ms, block.end_position
            )
            blocks = max(per_year * share / labels, 1.0) * len(self._tests) / self.budget
            found += [(place, change) for change in self._heard(place, test, one, blocks)]
        return found

    def _heard(self, place: int, test: PairedTest, block: BaseBlock, blocks: float) -> list[Transition]:
        margin = margin_of(*test.reference_means())
        found = test.update(block, margin, blocks)[1]
        if test.phase != "firing":
            self._fired.pop(place, None)
        else:
            self._fired[place] = self._fired.get(place, 0) + 1
            if self._fired[place] > NEW_LEVEL_BLOCKS:
                found += test.closing(block.end_ms, block.end_position, "new level accepted")
                test.accept_level(margin)
                del self._fired[place]
        shared = {"budget_per_year": self.budget, "budget_segments": self.tests}
        return [replace(change, detail={**change.detail, **shared}) for change in found]


def sum_of(sums: Sequence[Stored]) -> Floats:
    """The sum of arrays of one shape, in order; at least one."""
    total = sums[0].astype(np.float64)
    for one in sums[1:]:
        total += one
    return total
