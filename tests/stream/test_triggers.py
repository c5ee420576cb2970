"""The lines of a definition that start a retrain: what they take, when they are due, and what their model learns from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from river import anomaly

from penstock import OnInputs, OnLabels, OnPerformance, OnSchedule
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.triggers import Due, window_of
from tests.stream.generated import DAY, HOUR, parcels

SUNDAYS = "0 3 * * sun"


def utc(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000  # type: ignore[arg-type, misc]


def test_all_of_them_stand_in_one_list_and_leave_the_recipe_as_it_is() -> None:
    lines = [
        OnSchedule("7d"),
        OnSchedule(SUNDAYS, window="30d"),
        OnLabels(20_000),
        OnPerformance(),
        OnInputs(acts=True),
    ]
    given_ = parcels(retrain=lines, retrain_window="60d")
    assert given_.retrain == tuple(lines) and given_.digest == parcels().digest
    assert parcels().retrain == (OnPerformance(),), (
        "what labels prove asks for a retrain unless the definition says otherwise"
    )
    assert parcels(retrain=[]).retrain == ()


def unlabelled(**more: Any) -> Pipeline:
    return parcels(label=None, model=anomaly.HalfSpaceTrees(), **more)


def test_without_labels_no_line_goes_by_labels_and_the_others_do_their_work() -> None:
    assert unlabelled().retrain == ()
    lines = (OnSchedule("7d"), OnInputs())
    assert unlabelled(retrain=lines).retrain == lines


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: OnSchedule("7 days"), "OnSchedule('7 days'): not five fields"),
        (lambda: OnSchedule("7"), "OnSchedule('7'): duration '7' has no unit"),
        (lambda: OnSchedule(7), "OnSchedule(7): duration 7 is not text"),  # type: ignore[arg-type]
        (lambda: OnSchedule("59m"), "at least an hour must lie"),
        (lambda: OnSchedule("*/30 3 * * *"), "at least an hour must lie"),
        (lambda: OnSchedule("61 3 * * *"), "not five fields of cron that ever come"),
        (lambda: OnSchedule("0 3 30 2 *"), "not five fields of cron that ever come"),
        (lambda: OnSchedule("0 3 * * * *"), "not five fields of cron"),
        (lambda: OnSchedule("0 r * * *"), "not five fields of cron"),
        (lambda: OnSchedule("7d", window="since-onset"), "nothing has an onset"),
        (lambda: OnLabels(0), "OnLabels(0): a whole number of labels"),
        (lambda: OnLabels(True), "OnLabels(True): a whole number"),
        (lambda: OnLabels(5, window="30"), "OnLabels(5): window must be"),
        (lambda: OnPerformance(window="0d"), "OnPerformance: window must be"),
        (lambda: OnInputs(acts="yes"), "acts must be True or False"),  # type: ignore[arg-type]
        (lambda: parcels(retrain=OnSchedule("7d")), "retrain must be a list"),
        (lambda: parcels(retrain=[OnPerformance]), "called, not <class"),
        (lambda: parcels(retrain=["7d"]), "retrain must hold OnSchedule"),
        (lambda: parcels(retrain=[OnLabels(5), OnLabels(6)]), "retrain names OnLabels twice"),
        (lambda: parcels(retrain=[OnSchedule("7d"), OnSchedule("7d")]), "names one schedule twice"),
        (lambda: parcels(retrain_window="month"), "retrain_window: window must be"),
        (lambda: unlabelled(retrain=[OnLabels(5)]), "OnLabels goes by labels, and there are none"),
        (lambda: unlabelled(retrain=[OnPerformance()]), "OnPerformance goes by labels, and there are none"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_where_it_stands(made: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        made()
    assert said in str(refused.value)


@given(st.sampled_from([1, 5, 24, 24 * 7]), st.integers(0, 10**13), st.integers(0, 400 * DAY))
def test_a_length_is_due_on_a_grid_that_no_record_begins(hours: int, start: int, ahead: int) -> None:
    rule, every = OnSchedule(f"{hours}h"), hours * HOUR
    assert rule.after(start) % every == 0 and 0 < rule.after(start) - start <= every
    due = [at for at in range((start // every + 1) * every, start + ahead + 1, every)]
    assert rule.passed(start, start + ahead) == (Due(due[-1], len(due) - 1) if due else None)


@pytest.mark.long
@example("15 4 */3 1-6 1,3", 1_325_376_000_000, 5_199_300_000)  # a leap day lies within
@given(
    st.sampled_from([SUNDAYS, "30 */6 * * *", "0 0 1 * *", "15 4 */3 1-6 1,3"]),
    st.integers(utc(2012, 1, 1), utc(2014, 1, 1)),
    st.integers(0, 90 * DAY),
)
def test_cron_is_due_where_somebody_finds_who_looks_at_every_minute(
    fields: str, start: int, ahead: int
) -> None:
    rule, found = OnSchedule(fields), []
    at = rule.after(start)
    while at <= start + ahead:
        found.append(at)
        at = rule.after(at)
    assert rule.passed(start, start + ahead) == (Due(found[-1], len(found) - 1) if found else None)
    assert all(matches(fields, moment) for moment in found)
    minute = start // 60_000 + 1
    assert not any(
        matches(fields, one * 60_000) for one in range(minute, min(minute + 600, rule.after(start) // 60_000))
    )


@pytest.mark.parametrize(
    ("fields", "days"),
    [("15 4 */5 * *", (26, 1, 6)), ("15 4 */3 * 1,3", (28, 29, 1, 4)), ("15 4 8-29/3 * */2", (26, 28, 29, 1))],
)  # fmt: skip
def test_a_leap_day_hides_no_due_time_from_either_side(fields: str, days: tuple[int, ...]) -> None:
    due = [utc(2012, 2 if day > 20 else 3, day, 4, 15) for day in days]
    rule = OnSchedule(fields)
    for before, at in zip(due, due[1:], strict=False):
        assert rule.after(before) == at
        assert rule.passed(before - 1, at - 1) == Due(before, 0) and rule.passed(before, at) == Due(at, 0)


def matches(fields: str, at_ms: int) -> bool:
    """Whether a minute is one of these four, told by hand."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return {
        SUNDAYS: at.isoweekday() == 7 and (at.hour, at.minute) == (3, 0),
        "30 */6 * * *": at.hour % 6 == 0 and at.minute == 30,
        "0 0 1 * *": (at.day, at.hour, at.minute) == (1, 0, 0),
        # cron: with both a day of the month and one of the week, either will do
        "15 4 */3 1-6 1,3": (at.hour, at.minute) == (4, 15)
        and at.month <= 6
        and ((at.day - 1) % 3 == 0 or at.isoweekday() in (1, 3)),
    }[fields] and at.second == 0


@pytest.mark.parametrize(
    ("trigger", "default", "window"),
    [
        (OnSchedule("7d"), None, "all"),
        (OnSchedule("7d"), "30d", "30d"),
        (OnSchedule("7d", window="90d"), "30d", "90d"),
        (OnLabels(5), "since-onset", "all"),
        (OnPerformance(), None, "since-onset"),
        (OnPerformance(), "30d", "30d"),
        (OnPerformance(window="all"), "30d", "all"),
        (OnInputs(), None, "since-onset"),
    ],
)  # fmt: skip
def test_the_window_is_the_triggers_or_the_pipelines_or_the_usual_one(
    trigger: Any, default: Any, window: str
) -> None:
    assert window_of(trigger, default) == window
