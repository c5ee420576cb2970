"""Does as much come as is usual? Counts of events in event time against what was expected of the same time.

Laws of this file
- A block is a stretch in which `BLOCK_EVENTS` events were expected: an hour of the day, the whole of a night. Its value is the
  logarithm of what came over what was expected; `level` judges it on both sides, storms and holidays in its scale.
- What came is held against what was expected times the ratio of the two over the last weeks, so an expectation may be wrong by a
  factor.
- Silence is told before a block ends: once as many events were expected since the last one as `SILENT_TIMES` the longest silence
  of the last weeks, and at least `SILENT_EVENTS`.
- Nothing that was found odd becomes what is usual, until it has lasted for two weeks (`level.ACCEPTED_MS`).
"""

from __future__ import annotations

import math
from typing import Literal

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.level import ACCEPTED_MS, DAY_MS, Level, Place

BLOCK_EVENTS = 50.0
MARGIN = math.log(4 / 3)
"""A quarter less, or a third more, is no news."""
SILENT_EVENTS = 30.0
SILENT_TIMES = 2.0
SILENCE_LEARN_MS = 7 * DAY_MS
SCALE_LEARN_MS = 7 * DAY_MS
"""A scale must have seen a weekend."""
RATIO_MS = 7 * DAY_MS
"""Half-life of what the ratio rests on."""
SILENCES_MS = 28 * DAY_MS
"""The longest silence is that of the last one to two such stretches."""


class Flow:
    """Tell when less or more comes than expected, or nothing.

    Args:
        monitor, subject: what its transitions carry; effect is what came over what was expected, in logarithm.
        alarms_per_year: the share of the budget.
        learn_ms: event time before what is expected can be relied on. Blocks are judged `SCALE_LEARN_MS` after it, silence after
            `SILENCE_LEARN_MS`.
    """

    __slots__ = (
        "_began_ms", "_block", "_expected", "_known", "_last", "_learn_ms", "_longest", "_longest_before", "_ratio", "_since",
        "_silent", "_turned_ms", "level",
    )  # fmt: skip

    def __init__(self, monitor: str, subject: str, alarms_per_year: float, learn_ms: int) -> None:
        self.level = Level(monitor, subject, MARGIN, alarms_per_year, centred=False)
        self._learn_ms = learn_ms
        self._began_ms: int | None = None
        self._turned_ms = 0
        self._ratio = [0.0, 0.0]
        self._block = [0.0, 0.0]
        self._since: Place | None = None
        self._last: Place | None = None
        self._silent = 0.0
        self._longest = self._longest_before = 0.0
        self._expected = 0.0
        self._known: Place | None = None

    @property
    def firing(self) -> Literal["high", "low", "silent"] | None:
        """What is odd now, if anything is."""
        return "silent" if self._known is not None else self.level.firing

    @property
    def usual_silence(self) -> float:
        """How many events may be expected since the last one before silence is told."""
        return max(SILENT_EVENTS, SILENT_TIMES * max(self._longest, self._longest_before))

    def update(self, came: int, expected: float, start: Place, end: Place, last: Place) -> list[Transition]:
        """Take one bucket of time: what came in it and what was expected, where it lies, and the newest event until its end."""
        if self._began_ms is None:
            self._began_ms = self._turned_ms = start.ms
        ratio = self._ratio[0] / self._ratio[1] if self._ratio[1] > BLOCK_EVENTS else 1.0
        usual = expected * ratio
        age_ms = start.ms - self._began_ms
        found = self._heard(came, usual, end, last, age_ms >= SILENCE_LEARN_MS)
        if self.firing is None:
            fade = 0.5 ** ((end.ms - start.ms) / RATIO_MS)
            self._ratio = [fade * self._ratio[0] + came, fade * self._ratio[1] + expected]
        if self._since is None:
            self._since = start
        self._block = [self._block[0] + came, self._block[1] + usual]
        if self._block[1] >= BLOCK_EVENTS:
            found += self._judge(end, age_ms - self._learn_ms)
        return found

    def accepts(self, at_ms: int) -> bool:
        """Whether what fires has lasted so long that it is the new normal; the caller then learns anew and calls `accept`."""
        onset = self.onset
        return onset is not None and at_ms - onset.ms >= ACCEPTED_MS

    @property
    def onset(self) -> Place | None:
        """Since when what fires has been so."""
        return self._known or self.level.onset

    def accept(self, end: Place) -> list[Transition]:
        """What fires is usual from now on."""
        found = self.level.close(end, "it lasts: this is the new level")
        if self._known is not None:
            found = [self._transition("resolved", self._known, end, {"reason": "it lasts"})]
            self._known = None
        self._ratio, self._block, self._since, self._silent = [0.0, 0.0], [0.0, 0.0], None, 0.0
        self._longest = self._longest_before = 0.0
        self._began_ms = end.ms
        level = self.level
        self.level = Level(level.monitor, level.subject, MARGIN, level.alarms_per_year, centred=False)
        return found

    def _judge(self, end: Place, since_learned_ms: int) -> list[Transition]:
        """A block is full."""
        assert self._since is not None
        came, usual = self._block
        since, self._since, self._block = self._since, None, [0.0, 0.0]
        value = math.log((came + 0.5) / (usual + 0.5))
        if since_learned_ms < SCALE_LEARN_MS:
            if since_learned_ms >= 0:
                self.level.learn(value, since, end)
            return []
        found = self.level.update(value, since, end)
        for change in found:
            change.detail["expected_per_block"] = BLOCK_EVENTS
        # While silence is told of, the level's own finding is the same news.
        return found if self._known is None else []

    def _heard(self, came: int, usual: float, end: Place, last: Place, learned: bool) -> list[Transition]:
        """Follow silence."""
        if came == 0:
            self._silent += usual
            if self._known is None and learned and self._silent >= self.usual_silence:
                fired = self.level.firing is not None
                self._known, self._expected = last, self._silent
                return [] if fired else [self._transition("firing", last, end, {})]
            return []
        known, self._known = self._known, None
        silent, self._silent = self._silent, 0.0
        if end.ms - self._turned_ms >= SILENCES_MS:
            self._longest_before, self._longest, self._turned_ms = self._longest, 0.0, end.ms
        if known is None:
            self._longest = max(self._longest, silent)
            return []
        # The level may have found it meanwhile, and goes on with what is told.
        return [] if self.level.firing is not None else [self._transition("resolved", known, end, {})]

    def _transition(
        self, state: Literal["firing", "resolved"], since: Place, end: Place, detail: dict[str, object]
    ) -> Transition:
        level = self.level
        detail = {
            "side": "silent", "expected_since": round(self._expected, 1), "usual_silence": round(self.usual_silence, 1),
            "alarms_per_year": level.alarms_per_year, **detail,
        }  # fmt: skip
        statistic = self._silent if state == "firing" else 0.0
        return Transition(
            level.monitor, level.subject, state, statistic, self.usual_silence, -math.log(self._expected + 1),
            *since, *end, detail,
        )  # fmt: skip
