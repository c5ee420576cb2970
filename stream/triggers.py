"""When a pipeline trains a fresh model: each line of `Pipeline(retrain=[...])`, and from where on the model learns.

Laws of this file:
- A trigger is plain data; when it is due is a function of event time, or of the count of labels, and of nothing else.
- A schedule's due times lie on a grid that begins with no record: whoever starts anywhere in the log finds the same ones.
- On demand is always there (`penstock retrain`) and no line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from croniter import croniter  # type: ignore[import-untyped]

from penstock.features.define.durations import milliseconds
from penstock.stream.definition_error import DefinitionError, duration_ms

ALL, SINCE_ONSET = "all", "since-onset"
WINDOWS = f'"{ALL}", "{SINCE_ONSET}", or a length of event time such as "30d"'
LEAST_SCHEDULE_MS = 3_600_000
"""Event time moves in steps of at most so much (`featurize.ticks`): what is due more often would always be missed."""
MOST_MISSED = 10_000
"""Missed runs of cron are counted one by one, up to here."""
_CRON = re.compile(r"[0-9A-Za-z*,/-]+(?: +[0-9A-Za-z*,/-]+){4}")
_CHANCE = re.compile(r"(?:^|[ ,])[hr](?:[ ,/]|$)", re.IGNORECASE)  # croniter's own words for "any, by chance"


def check_window(window: str | None, where: str, *, onset: bool = True) -> None:
    """Refuse a window that is none. `onset` says whether whoever asks for it knows an onset."""
    if window is None or window == ALL or (window == SINCE_ONSET and onset):
        return
    if window == SINCE_ONSET:
        raise DefinitionError(
            f'{where}: nothing is found at such a moment, so nothing has an onset: use "{ALL}" or a length such as "30d"'
        )
    if not isinstance(window, str) or length_ms(window) is None:
        raise DefinitionError(f"{where}: window must be {WINDOWS}, not {window!r}")


def length_ms(window: str) -> int | None:
    """The length of a window in ms of event time; None of one that is no length."""
    try:
        return milliseconds(window)
    except ValueError:
        return None


class Due(NamedTuple):
    """The newest due time that was passed (event time, ms), and how many before it were passed in the same step."""

    at: int
    missed: int


@dataclass(frozen=True)
class OnSchedule:
    """A retrain whenever event time passes a line, at least an hour apart.

    `every` is a length, such as `"7d"`, whose lines are counted from 1970-01-01 (a Thursday), UTC; or five fields of cron in UTC,
    such as `"0 3 * * sun"`. `window` says what the model learns from: `"all"`, or the last so long, such as `"30d"`.
    """

    every: str
    window: str | None = None
    kind = "schedule"

    def __post_init__(self) -> None:
        where = f"OnSchedule({self.every!r})"
        check_window(self.window, where, onset=False)
        if not isinstance(self.every, str) or " " not in self.every.strip():
            if duration_ms(self.every, where) < LEAST_SCHEDULE_MS:
                raise DefinitionError(f"{where}: at least an hour must lie between two runs")
            return
        if not _CRON.fullmatch(self.every.strip()) or _CHANCE.search(self.every):
            raise DefinitionError(f"{where}: not five fields of cron, such as '0 3 * * sun'")
        try:
            times = [self.after(0)]
            while len(times) < 100:
                times.append(self.after(times[-1]))
        except (ValueError, KeyError) as error:
            raise DefinitionError(f"{where}: not five fields of cron that ever come ({error})") from None
        if any(b - a < LEAST_SCHEDULE_MS for a, b in zip(times, times[1:], strict=False)):
            raise DefinitionError(f"{where}: at least an hour must lie between two runs")

    @cached_property
    def _every_ms(self) -> int | None:
        """The length, or None of cron."""
        return None if " " in self.every.strip() else milliseconds(self.every)

    def after(self, at_ms: int) -> int:
        """The first due time behind this event time."""
        every = self._every_ms
        return _cron(self.every, at_ms) if every is None else (at_ms // every + 1) * every

    def passed(self, after_ms: int, until_ms: int) -> Due | None:
        """The due times in (`after_ms`, `until_ms`], or None without one. Of cron at most `MOST_MISSED` are counted."""
        if self.after(after_ms) > until_ms:
            return None
        every = self._every_ms
        if every is not None:
            return Due(until_ms // every * every, until_ms // every - after_ms // every - 1)
        newest = _cron(self.every, until_ms + 1, back=True)
        missed, at = 0, newest
        while missed < MOST_MISSED and (at := _cron(self.every, at, back=True)) > after_ms:
            missed += 1
        return Due(newest, missed)

    def __str__(self) -> str:
        when = f"every {self.every}" if self._every_ms is not None else f"at {self.every!r} (cron, UTC)"
        return f"{when}, by event time"


@dataclass(frozen=True)
class OnLabels:
    """A retrain whenever so many labels were learned since the last retrain began. `window` is as in `OnSchedule`."""

    labels: int
    window: str | None = None
    kind = "labels"

    def __post_init__(self) -> None:
        where = f"OnLabels({self.labels!r})"
        if isinstance(self.labels, bool) or not isinstance(self.labels, int) or self.labels < 1:
            raise DefinitionError(f"{where}: a whole number of labels, 1 or more")
        check_window(self.window, where, onset=False)

    def __str__(self) -> str:
        return f"on every {self.labels:,} labels learned since the last retrain began"


@dataclass(frozen=True)
class OnPerformance:
    """A retrain when the live prediction has lost skill over the base rate, by evidence from labels (`alarms_per_year`).

    `window` is `"since-onset"` (what came since the skill was lost; the default), `"all"` or a length.
    """

    window: str | None = None
    kind = "performance"

    def __post_init__(self) -> None:
        check_window(self.window, "OnPerformance")

    def __str__(self) -> str:
        return "when labels say that skill over the base rate was lost"


@dataclass(frozen=True)
class OnInputs:
    """Propose a retrain when the distribution of an input has moved (population stability index, `alarms_per_year`).

    Moved inputs alone do not say that the model is worse: the proposal waits for a person, unless `acts` says that it is carried
    out like one on performance. `window` is as in `OnPerformance`.
    """

    acts: bool = False
    window: str | None = None
    kind = "inputs"

    def __post_init__(self) -> None:
        if not isinstance(self.acts, bool):
            raise DefinitionError(f"OnInputs: acts must be True or False, not {self.acts!r}")
        check_window(self.window, "OnInputs")

    def __str__(self) -> str:
        then = "" if self.acts else "; it only proposes, and a person says yes"
        return f"when the distribution of an input has moved{then}"


Trigger = OnSchedule | OnLabels | OnPerformance | OnInputs
KINDS = ("demand", "schedule", "labels", "performance", "inputs")
"""Every trigger's name in events, commands and metrics; the first is a person's."""
PACED = frozenset({"schedule", "labels"})
"""Triggers whose pace the definition sets: no cooldown holds them back, since that is for those that evidence sets off."""
DEFAULT: tuple[Trigger, ...] = (OnPerformance(),)


def checked(given: Any, window: str | None, where: str, *, labelled: bool = True) -> tuple[Trigger, ...]:
    """The triggers of a pipeline and its `retrain_window`, or a `DefinitionError`. Without labels none goes by labels."""
    check_window(window, f"{where}, retrain_window")
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise DefinitionError(
            f"{where}: retrain must be a list of triggers, such as [OnSchedule('7d')], not {given!r}"
        )
    for one in given:
        if isinstance(one, type) or not isinstance(one, Trigger):
            raise DefinitionError(
                f"{where}: retrain must hold OnSchedule, OnLabels, OnPerformance or OnInputs, called, not {one!r}"
            )
    if not labelled:
        given = () if given is DEFAULT else given
        if by_labels := next((one for one in given if isinstance(one, OnLabels | OnPerformance)), None):
            raise DefinitionError(
                f"{where}: {type(by_labels).__name__} goes by labels, and there are none (label=None): "
                "use OnSchedule or OnInputs"
            )
    kinds = [one.kind for one in given if one.kind != "schedule"]
    if twice := next((one for one in given if kinds.count(one.kind) > 1), None):
        raise DefinitionError(f"{where}: retrain names {type(twice).__name__} twice")
    if len(set(given)) != len(given):
        raise DefinitionError(f"{where}: retrain names one schedule twice")
    return tuple(given)


def window_of(trigger: Trigger, default: str | None) -> str:
    """What a trigger's model learns from: as it says itself, or as the pipeline says, or as is usual for it."""
    if trigger.window is not None:
        return trigger.window
    finds = trigger.kind not in PACED
    if default is None:
        return SINCE_ONSET if finds else ALL
    return ALL if default == SINCE_ONSET and not finds else default


def in_words(window: str) -> str:
    """A window for people."""
    return {ALL: "from all samples", SINCE_ONSET: "from the samples since the onset"}.get(
        window, f"from the samples of the last {window}"
    )


def _cron(fields: str, at_ms: int, *, back: bool = False) -> int:
    """The first due time behind an event time, or with `back` the last one before it; both exclude it.

    About a leap day croniter passes over some times in one direction, so what it finds is looked at from the other side, too.
    """

    def beside(moment: datetime, *, back: bool) -> datetime:
        times = croniter(fields, moment)
        found: datetime = times.get_prev(datetime) if back else times.get_next(datetime)
        return found

    begin = datetime.fromtimestamp(-(-at_ms // 1000) if back else at_ms // 1000, UTC)
    found = beside(begin, back=back)
    while (nearer := beside(found, back=not back)) != begin and (nearer < begin) == back:
        found = nearer
    return int(found.timestamp()) * 1000
