"""Has a level moved, up or down? The block means of `paired`, against their own past, on both sides.

Laws of this file
- Values are logarithms (of a ratio, a delay, odds), one for each block. A change within the margin is not worth telling.
- Each side has half of the budget: threshold = blocks a year / (share / 2), over judged blocks (`PairedTest`).
- The centre is the median of past blocks outside episodes, learned before anything is judged, and stands still during an episode.
- A level that lasts for `ACCEPTED_MS` and `ACCEPTED_BLOCKS` is the new normal: the episode ends, and its blocks are the past.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Literal, NamedTuple

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.blocks import CORRELATION_ALLOWED, calibrate, merge
from penstock.monitors.losses.edetector import EDetector
from penstock.monitors.losses.paired import THRESHOLD_LEAST, BaseBlock, PairedTest
from penstock.monitors.losses.rate_of_labels import LabelRate

DAY_MS = 86_400_000
ACCEPTED_MS = 14 * DAY_MS
ACCEPTED_BLOCKS = 24
REFERENCE_BLOCKS = 512
LEAST_BLOCKS = 24
CALIBRATED_EVERY = 16
"""Blocks between two calibrations: scales move slowly, and finding one takes longer than judging a block."""

LAMBDAS = (0.3, 0.9)
"""No bet against small changes: they are within the margin, and such a bet takes days to forget an episode that is over."""

Side = Literal["high", "low"]


class Place(NamedTuple):
    """Event time and log position."""

    ms: int
    position: int


def allowed(slack: float) -> float:
    """How correlated neighbouring judged blocks may be, where the margin is so many scales.

    Up to a correlation of a half this is `blocks.calibrate`'s rule. Beyond it that rule allows too much where whole days are
    above or below what is usual: measured on such streams (`tests/monitors/quality`), this one keeps to the budget.

    >>> allowed(0.1), allowed(1.0)
    (0.30000000000000004, 0.75)
    """
    return min(CORRELATION_ALLOWED + slack, 0.5 + slack / 4)


class OneSided(PairedTest):
    """`PairedTest` of one column of values, calibrated once in `CALIBRATED_EVERY` blocks."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        super().__init__(
            "level", estimate_ratio=False, base_labels=1, reference_blocks=REFERENCE_BLOCKS, min_blocks=LEAST_BLOCKS
        )  # fmt: skip
        self.detector = EDetector(THRESHOLD_LEAST, LAMBDAS)
        self._blocks = 0

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """With the slot of this class, too."""
        nothing, kept = super().__getstate__()
        names = [*PairedTest.__slots__, *self.__slots__]
        return nothing, {**{name: getattr(self, name) for name in names}, "_columns": kept["_columns"]}

    def _calibrate(self, margin: float) -> None:
        self._blocks += 1
        if self.calibration is not None and self._blocks % CALIBRATED_EVERY:
            return
        values, multiple = self._pairs()[0], 1
        while (found := calibrate(merge(values, multiple), margin, self.min_blocks, 1)) is not None:
            self.calibration = replace(found, multiple=multiple)
            if found.correlation <= allowed(margin / found.scale):
                break
            multiple *= 2

    def _extend_reference(self) -> None:
        """The columns are found again when they are needed: seldom."""
        self._reference.extend(self._pending)
        self._columns = None

    def learn(self, block: BaseBlock, margin: float) -> None:
        """Take a block into the reference without judging it."""
        self._pending.append(block)
        self._absorb(True, margin)


class Level:
    """Tell when the mean of block values has moved from their past by more than a margin.

    Args:
        monitor, subject: what its transitions carry.
        margin: in the unit of the values.
        alarms_per_year: the share of the budget, for both sides together.
        sides: which changes count.
        centred: False where the values are about 0 already, because who makes them learns what is usual; then nothing is
            accepted here either.
    """

    __slots__ = (
        "_allowed",
        "_blocks",
        "_centre",
        "_centred",
        "_onset",
        "_past",
        "_rate",
        "_sides",
        "alarms_per_year",
        "firing",
        "margin",
        "monitor",
        "subject",
    )

    def __init__(
        self,
        monitor: str,
        subject: str,
        margin: float,
        alarms_per_year: float,
        sides: Sequence[Side] = ("high", "low"),
        *,
        centred: bool = True,
    ) -> None:  # fmt: skip
        self.monitor, self.subject = monitor, subject
        self.margin, self.alarms_per_year = margin, alarms_per_year
        self._sides: dict[Side, OneSided] = {side: OneSided() for side in sides}
        self._centred = centred
        self._past: deque[tuple[int, float]] = deque(maxlen=REFERENCE_BLOCKS)
        self._centre: float | None = None if centred else 0.0
        self._rate = LabelRate()
        self._blocks = 0
        self._allowed = 0.0
        self._onset: Place | None = None
        self.firing: Side | None = None

    @property
    def centre(self) -> float | None:
        """The usual value; None until it is known."""
        return self._centre

    @property
    def onset(self) -> Place | None:
        """Where what fires began."""
        return self._onset

    def learn(self, value: float, start: Place, end: Place) -> None:
        """Take the value of a block that is not judged yet, where this is not `centred`."""
        self._rate.count(1, start.ms, end.ms)
        for side, test in self._sides.items():
            test.learn(BaseBlock(value if side == "high" else -value, 0.0, *start, *end), self.margin)

    def update(self, value: float, start: Place, end: Place) -> list[Transition]:
        """Take the value of one block that lies between these places; the transitions it caused (firing or resolved)."""
        self._rate.count(1, start.ms, end.ms)
        self._past.append((start.position, value))
        self._blocks += 1
        if self._centred and self.firing is None:
            self._learn()
        if self._centre is None:
            return []
        found: list[Transition] = []
        if self._blocks % CALIBRATED_EVERY == 0 or self._allowed == 0.0:
            self._allowed = self._rate.per_year / (self.alarms_per_year / len(self._sides))
        for side, test in self._sides.items():
            signed = value - self._centre if side == "high" else self._centre - value
            block = BaseBlock(signed, 0.0, *start, *end)
            keep = self.firing in (None, side)
            for change in test.update(block, self.margin, self._allowed, keep)[1]:
                found += self._changed(side, test, change)
        return found + self._accepted(end)

    def close(self, end: Place, why: str) -> list[Transition]:
        """End what fires, if anything does: what was found odd is usual from now on."""
        if self.firing is None or self._onset is None:
            return []
        detail: dict[str, object] = {"reason": why}
        over = Transition(
            self.monitor, self.subject, "resolved", 0.0, 0.0, 0.0, *self._onset, *end, detail
        )  # fmt: skip
        for test in self._sides.values():
            test.restart()
        self.firing = self._onset = None
        return [over]

    def _changed(self, side: Side, test: OneSided, change: Transition) -> list[Transition]:
        if change.state == "firing" and self.firing is None:
            self.firing = side
            self._onset = Place(change.since_ms, change.since_position)
            for other in self._sides.values():
                if other is not test:
                    other.exclude_since(change.since_position, self.margin)
        elif change.state == "resolved" and self.firing == side and self._onset is not None:
            change = replace(change, since_ms=self._onset.ms, since_position=self._onset.position)
            self.firing = None
            since = self._onset.position
            self._past = deque((one for one in self._past if one[0] < since), maxlen=self._past.maxlen)
            self._onset = None
        else:
            return []
        detail = {
            name: said for name, said in change.detail.items() if name not in ("loss", "against", "ratio")
        }
        detail |= {"side": side, "centre": self._centre, "alarms_per_year": self.alarms_per_year}
        if change.state == "firing":  # how far off it has been since the onset
            since_then = [one for place, one in self._past if place >= change.since_position] or [
                self._past[-1][1]
            ]
            effect = sum(since_then) / len(since_then) - (self._centre or 0.0)
        else:
            effect = change.effect if side == "high" else -change.effect
        return [replace(change, monitor=self.monitor, subject=self.subject, effect=effect, detail=detail)]

    def _learn(self) -> None:
        """Find the centre again now and then."""
        if len(self._past) >= LEAST_BLOCKS and (self._centre is None or self._blocks % CALIBRATED_EVERY == 0):
            self._centre = median(one for _, one in self._past)

    def _accepted(self, end: Place) -> list[Transition]:
        past, onset = self._past, self._onset
        if not self._centred or onset is None or end.ms - onset.ms < ACCEPTED_MS:
            return []
        since = [one for one in past if one[0] >= onset.position]
        if len(since) < ACCEPTED_BLOCKS:
            return []
        self._past = deque(since, maxlen=past.maxlen)
        self._centre = median(one for _, one in since)
        return self.close(end, "it lasts: this is the new level")
