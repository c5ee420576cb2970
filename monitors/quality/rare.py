"""Is something that seldom happens to a sample happening far more often than it used to?

Laws of this file
- The usual share is the largest of the last epochs' shares, and not below the fullest run of 50 samples less two: what comes in
  runs was usual, and is no news. What is usual for more than `most` of all samples is not judged.
- The first epoch counts for nothing: who remembers has nothing to remember yet. An epoch with a finding is not learned from.
- What lasts is the new normal: after `accepted` samples the episode ends, and the epochs are learned anew.
- A sample to which nothing happens costs nothing, unless an episode is open. The caller counts samples from 1.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.ranges import EPOCH_SAMPLES, RUN_SAMPLES
from penstock.monitors.inputs.violations import Violations
from penstock.monitors.losses.rate_of_labels import YEAR_MS

KEPT_EPOCHS = 14
LEARN_EPOCHS = 2
ACCEPTED_SAMPLES = 14 * EPOCH_SAMPLES
USUAL_SHARE_LEAST = 0.001
USUAL_SHARE_MOST = 0.3
THRESHOLD_LEAST = 1e4


class Rare:
    """Tell when far more samples than usual are hit.

    Transitions carry as effect the share of hits since the onset, which is the first of them.

    Args:
        monitor, subject: what its transitions carry.
        alarms_per_year: the share of the budget.
        epoch: how many samples one has.
        most: what is usual for more than this share is not judged.
        accepted: after how many samples what lasts is the new normal.
    """

    __slots__ = (
        "_accepted", "_epoch", "_first_ms", "_hits", "_last", "_most", "_run", "_run_at", "_runs", "_shares", "_since",
        "_test", "_threshold", "_turned", "alarms_per_year", "monitor", "subject",
    )  # fmt: skip

    def __init__(
        self,
        monitor: str,
        subject: str,
        alarms_per_year: float,
        *,
        epoch: int = EPOCH_SAMPLES,
        most: float = USUAL_SHARE_MOST,
        accepted: int = ACCEPTED_SAMPLES,
    ) -> None:
        self.monitor, self.subject = monitor, subject
        self.alarms_per_year = alarms_per_year
        self._epoch, self._most, self._accepted = epoch, most, accepted
        self._first_ms: int | None = None
        self._turned = 0
        self._hits = self._run = self._run_at = self._runs = 0
        self._shares: deque[float] = deque(maxlen=KEPT_EPOCHS)
        self._test: Violations | None = None
        self._threshold = THRESHOLD_LEAST
        self._since = self._last = (0, 0)

    @property
    def firing(self) -> bool:
        """Whether it is told of now."""
        return self._test is not None and self._test.firing

    def hit(self, number: int, at_ms: int, position: int) -> list[Transition]:
        """It happened to sample `number`."""
        self._hits += 1
        run = number // RUN_SAMPLES
        self._run = self._run + 1 if run == self._run_at else 1
        self._run_at, self._runs = run, max(self._runs, self._run)
        test = self._test
        if test is None:
            return []
        fired = test.hit(number, self._threshold)
        if test.onset == number:
            self._since = (at_ms, position)
        self._last = (at_ms, position)
        return [self._transition("firing", test, number, at_ms, position)] if fired else []

    def clean(self, number: int, at_ms: int, position: int) -> list[Transition]:
        """It did not happen to sample `number`; needs to be said only while `firing`."""
        test = self._test
        if test is None or not test.firing:
            return []
        ended = self._transition("resolved", test, number, at_ms, position)
        return [ended] if test.clean(self._threshold) else []

    def turn(self, number: int, at_ms: int, position: int) -> list[Transition]:
        """Sample `number` was the last of an epoch: judge the next by the usual share of those before."""
        test = self._test
        found: list[Transition] = []
        if test is not None and test.firing and number - test.onset >= self._accepted:
            found = [self._transition("resolved", test, number, at_ms, position)]
            found[0].detail["reason"] = "it lasts: this is usual now"
            self._test, self._first_ms = None, None
            self._shares.clear()
        elif test is None or not test.firing:
            self._learn(number, at_ms)
        self._hits = self._runs = 0
        return found

    def _learn(self, number: int, at_ms: int) -> None:
        if self._first_ms is None:
            self._first_ms, self._turned = at_ms, number
            return
        self._shares.append(max(self._hits / self._epoch, (self._runs - 2) / RUN_SAMPLES))
        usual = max(USUAL_SHARE_LEAST, *self._shares)
        if usual > self._most or len(self._shares) < LEARN_EPOCHS:
            self._test = None
            return
        if self._test is None:
            self._test = Violations(usual)
            self._test.last_hit = number
        else:
            self._test.set_base_rate(usual)
        per_year = (number - self._turned) * YEAR_MS / max(at_ms - self._first_ms, 1)
        self._threshold = max(THRESHOLD_LEAST, per_year / self.alarms_per_year)

    def _transition(
        self, state: Literal["firing", "resolved"], test: Violations, number: int, at_ms: int, position: int
    ) -> Transition:
        samples = number - test.onset + 1
        detail: dict[str, object] = {
            "hits": test.hits, "samples": samples, "usual_share": test.base_rate, "last_ms": self._last[0],
            "last_position": self._last[1], "alarms_per_year": self.alarms_per_year,
        }  # fmt: skip
        return Transition(
            self.monitor, self.subject, state, test.statistic, self._threshold, test.hits / samples, *self._since,
            at_ms, position, detail,
        )  # fmt: skip
