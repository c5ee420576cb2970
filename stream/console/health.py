"""Is a pipeline running and current, is its model all right, is anything open: the three answers of the overview.

Laws of this file:
- Pure. What is wrong is what `penstock status` says is wrong, in its words; the band is made of the history alone.
- `usual` is where the middle four fifths of the days before lay (loss against the base rate's, of the same labels): at least
  `LEAST_DAYS` of them, at most `USUAL_DAYS`. The newest value is that of the last hours with `LEAST_LABELS` labels.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.stream.console.past import DAY_MS, Point, merged
from penstock.stream.console.state import PipelineState
from penstock.stream.console.words import Word, word
from penstock.stream.messages import ControlEvent
from penstock.stream.operate.status_found import LEAST_LABELS, Status

USUAL_DAYS = 28
LEAST_DAYS = 5
NEWEST_HOURS = 24
SEVERITIES = ("info", "warning", "critical")


class Judged(NamedTuple):
    """The newest loss against the base rate's, and where it usually lies. `said` is a word and a shape for it."""

    said: Word
    loss: float | None = None
    base: float | None = None
    low: float | None = None
    high: float | None = None
    labels: int = 0
    position: int = 0

    @property
    def ratio(self) -> float | None:
        """The live prediction's loss as a share of the base rate's; 1 is no better than the base rate."""
        return _ratio(self.loss, self.base)


def _ratio(loss: float | None, base: float | None) -> float | None:
    """None where a share says nothing: a number's loss is that of a density, and may be below 0."""
    return loss / base if loss is not None and base is not None and base > 0 <= loss else None


def judged(state: PipelineState) -> Judged:
    """How good the model is now, against the base rate and against its own days before."""
    points = state.past.hours
    if not points:
        return Judged(Word("no labels yet", "○", "unknown"))
    newest = _newest(points)
    now = merged(newest)
    ratio = _ratio(now.loss, now.base)
    since = now.at - (USUAL_DAYS + 1) * DAY_MS
    before = [one for one in state.past.hours_since(since) if one.at <= newest[0].since]
    known = sorted(_by_day(before))
    low, high = (None, None) if len(known) < LEAST_DAYS else (_quantile(known, 0.1), _quantile(known, 0.9))
    found = Judged(Word("", "", ""), now.loss, now.base, low, high, now.labels, now.position)
    if ratio is None and now.loss is not None and now.base is not None:
        low, high = None, None
        ratio = 2.0 if now.loss >= now.base else 0.0
    return found._replace(said=_said(ratio, low, high, now.labels))


def _by_day(points: list[Point]) -> list[float]:
    """The ratios of whole days: of sums, which one pass over the hours gives, since the overview asks it of every pipeline."""
    sums: dict[int, tuple[float, float]] = {}
    for one in points:
        if one.loss is not None and one.base is not None:
            number = (one.at - 1) // DAY_MS
            loss, base = sums.get(number, (0.0, 0.0))
            sums[number] = loss + one.loss * one.labels, base + one.base * one.labels
    return [found for loss, base in sums.values() if (found := _ratio(loss, base)) is not None]


def _newest(points: list[Point]) -> list[Point]:
    """The last hours that have labels enough, at most a day of them."""
    taken: list[Point] = []
    for one in reversed(points[-NEWEST_HOURS:]):
        taken.append(one)
        if sum(each.labels for each in taken) >= LEAST_LABELS:
            break
    return taken[::-1]


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _said(ratio: float | None, low: float | None, high: float | None, labels: int) -> Word:
    if ratio is None or labels < LEAST_LABELS // 10:
        return Word("too few labels", "○", "unknown")
    if ratio >= 1.0:
        return Word("worse than the base rate", "■", "critical")
    if high is not None and ratio > high:
        return Word("worse than usual", "▲", "warning")
    if low is not None and ratio < low:
        return Word("better than usual", "●", "well")
    return Word("as usual" if high is not None else "better than the base rate", "●", "well")


def overall(state: PipelineState) -> Word:
    """One word for a pipeline: what is worst of what `penstock status` found."""
    if state.look_failed:
        return Word("cannot be asked", "○", "unknown")
    status = state.status
    if status is None:
        return word("unknown")
    if not status.wrong:
        return word("well")
    return word("wrong")


class Open(NamedTuple):
    """A finding that is not over: its newest event, its first, and the gravest severity that was told of it."""

    newest: ControlEvent
    first: ControlEvent
    severity: str


def open_findings(state: PipelineState) -> list[Open]:
    """What is open by `penstock status`, the gravest first, each with how it began."""
    found = []
    told = state.events
    for newest in state.open:
        data = newest.data
        same = [
            event
            for event in told
            if (event.data.episode, event.data.kind, event.subject)
            == (data.episode, data.kind, newest.subject)
        ]
        severity = max((event.data.severity for event in same), key=SEVERITIES.index)
        found.append(Open(newest, same[0], severity))
    return sorted(found, key=lambda one: -SEVERITIES.index(one.severity))


def lag(status: Status | None) -> int | None:
    """Records that the roles have still to read, in all; None where no role's is known."""
    known = [role.lag for role in status.roles.values() if role.lag is not None] if status else []
    return sum(known) if known else None
