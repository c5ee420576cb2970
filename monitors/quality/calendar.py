"""How many events an hour usually brings: by hour of the week, by hour of the day, or at all hours alike.

Laws of this file
- An hour is an hour of event time since the epoch (UTC), so a hour of the week is the same cell all year; where clocks are moved
  in spring, the profile follows over the next weeks.
- What is expected of an hour rests on hours before it only. Hours that were found odd (`forget_since`) are no part of it.
- The three answers compete: the one that would have been right most often lately (Poisson deviance) is given. So a stream without
  a calendar is not judged by one. The week needs three weeks of the same hour, the day seven days, the plain rate three days.
- Means leave out the highest and the lowest of five or more: one holiday is not the next weeks' normal.
- State is bounded: `WEEKS` weeks of hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

HOUR_MS = 3_600_000
DAY_HOURS, WEEK_HOURS = 24, 168
WEEKS = 6
MOST_HOURS = WEEKS * WEEK_HOURS
DAYS = 14
Kind = Literal["plain", "day", "week"]
KINDS: tuple[Kind, ...] = ("plain", "day", "week")
LEAST_CELLS: dict[Kind, int] = {"plain": 3 * DAY_HOURS, "day": 7, "week": 3}
TRIMMED_FROM = 5
LEAST_EXPECTED = 0.02
"""An hour in which nothing ever came may still bring an event."""
DEVIANCE_MOST = 20.0
"""What one hour may count against an answer: a storm says nothing about calendars."""
FORGETTING = 0.5 ** (1 / (14 * DAY_HOURS))
BETTER = 0.95
"""Another answer is given from when it is better by a twentieth: two that are alike do not take turns."""


class Calendar:
    """What the next hour should bring.

    Example:
        >>> calendar = Calendar()
        >>> for hour in range(28 * 24):
        ...     calendar.add(100 if 8 <= hour % 24 < 20 else 0)
        >>> calendar.kind, calendar.expected, [calendar.ahead(hours) for hours in (7, 8)]
        ('day', 0.02, [0.02, 100.0])
    """

    __slots__ = ("_answers", "_deviance", "_hours", "_total", "expected", "kind")

    def __init__(self) -> None:
        # a list, not a deque: every 24th hour of it is a slice
        self._hours: list[float | None] = []
        self._total = (0.0, 0)
        self._deviance: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._answers: dict[Kind, float | None] = dict.fromkeys(KINDS)
        self.kind: Kind | None = None
        self.expected: float | None = None

    def add(self, count: int | None) -> None:
        """The next hour brought so many events; None leaves it out, as if nobody had looked."""
        if count is not None:
            self._compare(count)
        total, known = self._total
        hours = self._hours
        if len(hours) == MOST_HOURS and (oldest := hours.pop(0)) is not None:
            total, known = total - oldest, known - 1
        hours.append(None if count is None else float(count))
        self._total = (total, known) if count is None else (total + count, known + 1)
        self._answer()

    def forget_since(self, hours: int) -> list[int]:
        """The last so many hours were no usual ones: what they brought (0 where nobody had looked)."""
        places = range(max(0, len(self._hours) - hours), len(self._hours))
        were = [int(self._hours[place] or 0) for place in places]
        for place in places:
            self._hours[place] = None
        known = [hour for hour in self._hours if hour is not None]
        self._total = sum(known), len(known)
        self._answer()
        return were

    def learn_anew(self, counts: Sequence[int]) -> None:
        """These last hours are how it is from now on; what was before them is forgotten."""
        self.__init__()  # type: ignore[misc]
        for count in counts[-MOST_HOURS:]:
            self.add(count)

    def ahead(self, hours: int) -> float | None:
        """What the hour after `hours` more should bring (0: the next one), by the answer that is given now."""
        return None if self.kind is None else self._cell(self.kind, hours)

    def _answer(self) -> None:
        answers, deviances = self._answers, self._deviance
        best: Kind | None = None
        for kind in KINDS:
            answers[kind] = said = self._cell(kind, 0)
            if said is not None and (best is None or deviances[kind] < deviances[best]):
                best = kind
        if best is None:
            self.kind = self.expected = None
            return
        now = self.kind
        if now is None or answers[now] is None or deviances[best] < BETTER * deviances[now]:
            self.kind = now = best
        self.expected = answers[now]

    def _compare(self, count: int) -> None:
        """Charge every answer with what it said of this hour; one that said nothing with what the best of them is."""
        known = [None if said is None else deviance(count, said) for said in self._answers.values()]
        best = min([one for one in known if one is not None], default=0.0)
        deviances = self._deviance
        for kind, one in zip(KINDS, known, strict=True):
            deviances[kind] = FORGETTING * deviances[kind] + (best if one is None else one)

    def _cell(self, kind: Kind, hours: int) -> float | None:
        if kind == "plain":
            total, known = self._total
            return max(total / known, LEAST_EXPECTED) if known >= LEAST_CELLS["plain"] else None
        step, most = (DAY_HOURS, DAYS) if kind == "day" else (WEEK_HOURS, WEEKS)
        last = len(self._hours) + hours % step - step
        if last < 0:
            return None
        stop = last - step * most
        cells = [cell for cell in self._hours[last : stop if stop >= 0 else None : -step] if cell is not None]
        return max(trimmed_mean(cells), LEAST_EXPECTED) if len(cells) >= LEAST_CELLS[kind] else None


def deviance(count: float, expected: float) -> float:
    """How surprising a count is to one who expected a Poisson variable of this mean, at most `DEVIANCE_MOST`.

    >>> deviance(10, 10.0), round(deviance(5, 10.0), 3)
    (0.0, 3.069)
    """
    found = 2 * ((count * math.log(count / expected) if count else 0.0) - (count - expected))
    return min(max(found, 0.0), DEVIANCE_MOST)


def trimmed_mean(values: Sequence[float]) -> float:
    """The mean without the highest and the lowest, if there are `TRIMMED_FROM` or more.

    >>> trimmed_mean([1, 2]), trimmed_mean([0, 10, 11, 12, 99])
    (1.5, 11.0)
    """
    if len(values) < TRIMMED_FROM:
        return sum(values) / len(values)
    return (sum(values) - max(values) - min(values)) / (len(values) - 2)
