"""The parts of a calibration, each against the plainest way to say the same."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from river.drift import ADWIN

from penstock.stream.messages import ControlData, ControlEvent, Origin, Sample
from penstock.stream.operate.calibrating.advice import Stream, advice, budget_of, too_few
from penstock.stream.operate.calibrating.carried import Carried, Codes, carried
from penstock.stream.operate.calibrating.fields import Column
from penstock.stream.operate.calibrating.naive import REFERENCE_DAYS, AdwinOfLosses, FixedPsi
from penstock.stream.operate.calibrating.tallies import Row, side_by_side, unusual
from penstock.stream.operate.control_topics import Told
from penstock.stream.operate.reporting.course import Losses
from penstock.stream.operate.reporting.incidents import Cost, Incident, cost_of, incidents
from penstock.stream.story_records import EpisodeSummary
from tests.stream.generated import DAY, HOUR, START_MS

BEGAN = START_MS // DAY * DAY
STREAM = Stream(samples=300_000, labels=290_000, days=365.0, labelled=True)


def told(kind: str, subject: str, state: str, since: int, at: int, **more: Any) -> ControlEvent:
    data = ControlData(
        pipeline="p", episode=more.pop("episode", f"{kind}-{subject}-{since}"), kind=kind, state=state, severity="info",
        reason=f"{kind} of {subject}", detector={}, since={"at": since, "position": since}, suggested_action="none",
        detected_at={"at": at, "position": at}, **more,
    )  # fmt: skip
    return ControlEvent(
        id=f"{kind}{at}{state}", source="p", type="penstock.note", subject=subject, time="", data=data
    )


def incident(kind: str, subject: str, since: int, over: int, **more: Any) -> Incident:
    events = [
        told(kind, subject, "firing", since, since + HOUR, **more),
        told(kind, subject, "resolved", since, over),
    ]
    [found] = incidents([Told(event, 0) for event in events])
    return found


def flat(days: int, level: Any = 0.3) -> Losses:
    """A label an hour, all losing the same, or what `level` says of each hour."""
    at = BEGAN + np.arange(days * 24, dtype=np.int64) * HOUR
    live = np.array([level(n) if callable(level) else level for n in range(len(at))])
    return Losses(at, live, np.full(len(at), 0.6), live)


# -- naive detectors ------------------------------------------------------------------------------------------------------------


def test_adwin_is_rivers_own_on_every_loss() -> None:
    chance = random.Random(1)
    losses = [chance.random() + (n > 3_000) for n in range(6_000)]
    naive, adwin, expected = AdwinOfLosses(1_000, 5_000), ADWIN(), []
    for n, loss in enumerate(losses):
        waits: Any = None
        naive.label(n, n, waits, True, loss, 0.0)
        adwin.update(loss)
        expected += [n] if adwin.drift_detected and 1_000 <= n < 5_000 else []
    assert naive.alarms == expected != []


def test_the_fixed_index_is_that_of_each_day_against_the_first_weeks() -> None:
    chance = random.Random(2)
    days = REFERENCE_DAYS + 12
    rows = [
        (BEGAN + n * HOUR // 2, chance.gauss(0.0 if n < (days - 5) * 48 else 2.0, 1.0), chance.random())
        for n in range(days * 48)
    ]
    watcher = FixedPsi(["x", "prediction"], BEGAN, BEGAN + days * DAY)
    for n, (at, x, said) in enumerate(rows):
        watcher.sample(at, n, Sample(Origin("t", 0, n), str(n), "k", at, [x]), said)
    watcher.end()
    first = np.array([row[1] for row in rows if row[0] < BEGAN + REFERENCE_DAYS * DAY])
    alarms = 0
    for day in range(REFERENCE_DAYS, days):
        values = np.array([x for at, x, _ in rows if (at - BEGAN) // DAY == day])
        edges = np.quantile(first, np.arange(1, 10) / 10)
        p, q = (
            (np.bincount(np.searchsorted(edges, side), minlength=10) + 0.5) / (len(side) + 5)
            for side in (first, values)
        )
        alarms += float(((q - p) * np.log(q / p)).sum()) > 0.25
    assert watcher.days == days - REFERENCE_DAYS
    # the monitor's bins are quantiles of its own fine bins, so a day at the brink may fall on the other side
    assert abs(watcher.alarms["x"] - alarms) <= 1 and watcher.alarms["x"] >= 5
    assert max(watcher.alarms.values()) <= watcher.alarm_days <= watcher.days


# -- incidents side by side -----------------------------------------------------------------------------------------------------


def test_what_several_budgets_found_is_one_row_and_what_is_apart_is_not() -> None:
    losses, span = flat(60), (BEGAN, BEGAN + 60 * DAY)

    def at(day: float) -> int:
        return BEGAN + int(day * DAY)

    one: list[tuple[Incident, Cost | None]] = [(incident("lead", "loss", at(20), at(25)), None)]
    four: list[tuple[Incident, Cost | None]] = [
        (incident("harm", "loss", at(19), at(24)), None),
        (incident("psi", "x", at(40), at(42)), None),
    ]
    twelve: list[tuple[Incident, Cost | None]] = [
        (incident("lead", "loss", at(21), at(22)), None),
        (incident("psi", "y", at(40), at(43)), None),
        (incident("psi", "x", at(50), at(52)), None),
    ]
    rows = side_by_side({12.0: twelve, 1.0: one, 4.0: four}, losses, span, 0.05)
    assert [(row.incident.name, row.budgets) for row in rows] == [
        ("lead loss", [1.0, 4.0, 12.0]),
        ("psi x", [4.0, 12.0]),
        ("psi x", [12.0]),
    ]
    twice = side_by_side({1.0: [*twelve[1:2], *four[1:]]}, losses, span, 0.05)
    assert len(twice) == 2, "two incidents of one budget stay two"


def test_a_bad_day_in_a_stream_of_bad_days_is_not_worth_knowing_and_in_a_quiet_one_it_is() -> None:
    span = (BEGAN, BEGAN + 120 * DAY)
    since, over = BEGAN + 60 * DAY, BEGAN + 61 * DAY

    def worth(losses: Losses, **more: Any) -> str:
        one = incident("psi", "x", since, over, **more)
        [row] = side_by_side({1.0: [(one, cost_of(losses, since, over))]}, losses, span, 0.05)
        return row.worth

    bad = range(60 * 24, 61 * 24)
    assert worth(flat(120, lambda n: 0.6 if n in bad else 0.3)).startswith(
        "+0.300 nats a label, more than in"
    )
    assert worth(flat(120, lambda n: 0.6 if n in bad or n // 24 % 3 == 0 else 0.3)) == ""
    assert worth(flat(120, lambda n: 0.32 if n in bad else 0.3)) == "", "less than the margin"
    assert worth(flat(120)) == ""
    found = incident("range", "x", since, over)
    [row] = side_by_side({1.0: [(found, None)]}, flat(120), span, 0.05)
    assert row.worth == "broken data" and row.family == "data"


def test_what_the_summary_measured_counts_for_more_than_what_the_days_were_like() -> None:
    span = (BEGAN, BEGAN + 120 * DAY)
    since, over = BEGAN + 60 * DAY, BEGAN + 61 * DAY
    bad = flat(120, lambda n: 0.6 if n in range(60 * 24, 61 * 24) else 0.3)

    def worth(excess: float, error: float) -> str:
        summed = EpisodeSummary(
            until={},
            length_ms=DAY,
            records=50,
            labels=24,
            excess_nats=excess,
            excess_per_label=excess / 24,
            error_nats=error,
        )
        events = incident("psi", "x", since, over).events
        over_ = told(
            "summary", "x", "over", since, over + HOUR, summary=summed, episode=events[0].data.episode
        )
        [one] = incidents([Told(event, 0) for event in [*events, over_]])
        assert one.measured == (excess, error) and one.over == over
        [row] = side_by_side({1.0: [(one, cost_of(bad, since, over))]}, bad, span, 0.05)
        return row.worth

    assert worth(7.2, 1.0) == "+0.300 nats a label beyond clean data"
    assert worth(7.2, 5.0) == "" and worth(0.5, 0.1) == "" and worth(-7.2, 1.0) == ""


def test_how_unusual_a_rise_is_is_counted_over_all_stretches_as_long() -> None:
    chance = random.Random(3)
    losses, span = flat(100, lambda n: chance.random() + n // 24 % 7 / 10), (BEGAN, BEGAN + 100 * DAY)
    rises = []
    for day in range(7, 99):
        days = [losses.live[24 * one : 24 * one + 24] for one in range(day - 7, day + 1)]
        rises.append(float(days[-1].mean() - np.concatenate(days[:-1]).mean()))
    for excess in (-0.2, 0.0, 0.1, 0.3):
        expected = sum(rise < excess for rise in rises) / len(rises)
        assert unusual(losses, span, DAY, excess) == pytest.approx(expected)
    assert unusual(flat(10), (BEGAN, BEGAN + 10 * DAY), DAY, 0.0) == 1.0, "too few to say"


# -- who carried it --------------------------------------------------------------------------------------------------------------


def test_the_value_that_carries_the_cost_is_named_with_its_part() -> None:
    chance = np.random.default_rng(4)
    size = 20_000
    carrier, hour = chance.integers(0, 10, size), chance.integers(0, 4, size)
    inside = np.arange(size) >= 15_000
    losses = 0.3 + 0.05 * chance.standard_normal(size) + 0.8 * (inside & (carrier == 3))
    fields = {"carrier": Codes([f"c{n}" for n in range(10)], carrier), "hour": Codes(list(range(4)), hour)}
    [found] = carried(fields, losses, ~inside, inside)
    assert (found.field, found.value) == ("carrier", "c3") and found.excess > 0.9
    assert found.labels == pytest.approx(0.1, abs=0.02)
    everywhere = 0.3 + 0.5 * inside
    fields["most"] = Codes(["a", "b"], np.asarray(carrier == 9, np.int64))
    assert carried(fields, everywhere, ~inside, inside) == [], (
        "most of the labels have most of a damage that spares nobody"
    )
    assert carried(fields, losses, np.zeros(size, np.bool_), inside) == []


def test_a_field_of_many_values_or_of_fractions_is_no_segment() -> None:
    def coded(values: list[Any]) -> Codes | None:
        column = Column()
        for value in values:
            if not column.given_up:
                column.add(value)
        return column.coded()

    found = coded(["a", None, "a", True])
    assert found is not None and [found.values[code] for code in found.codes] == ["a", None, "a", True]
    assert coded(list(range(40))) is None and coded([0.5, 1.0]) is None and coded(["a", "a"]) is None
    assert coded([1.0, 2.0]) is not None


# -- advice ------------------------------------------------------------------------------------------------------------------


def row(kind: str, worth: str, *budgets: float, parts: list[Carried] | None = None) -> Row:
    one = incident(kind, "x", BEGAN, BEGAN + DAY)
    return Row(one, None, list(budgets), worth, parts or [])


def test_the_budget_rises_as_long_as_what_it_adds_is_mostly_worth_knowing() -> None:
    both, high = (1.0, 4.0, 12.0), (4.0, 12.0)
    rows = [row("lead", "yes", *both), row("psi", "yes", *high), row("psi", "", *high), row("psi", "", 12.0)]
    found = budget_of(rows, both, STREAM)
    assert found.value == 4.0
    assert found.why == (
        "at 1 a year there is 1 alarm, 1 worth knowing; 4 a year add 2 alarms, 1 worth knowing; 12 a year add 1 alarm, 0 worth "
        "knowing"
    )
    assert budget_of([], both, STREAM).value == 1.0
    short = budget_of(rows, both, STREAM._replace(days=20.0))
    assert short.value == 1.0 and "20 days are too few" in short.why


def test_segments_are_named_by_the_incident_that_they_would_have_told_of() -> None:
    part = Carried("carrier", "UA", 0.8, 0.12)
    rows = [row("lead", "yes", 1.0, parts=[part]), row("psi", "", 1.0, parts=[Carried("hour", 5, 0.9, 0.1)])]
    found = {one.setting: one for one in advice(rows, (1.0,), STREAM, (), True)}
    assert found["segments"].value == "carrier"
    assert found["segments"].why.startswith(
        "carrier UA carried 80% of what lead x of 14 Nov 2023 00:00 cost, with 12% of"
    )
    assert "segments" not in {one.setting for one in advice(rows, (1.0,), STREAM, ("carrier",), True)}


def test_the_guard_is_kept_unless_odd_values_are_usual_or_no_label_can_decide() -> None:
    def guard(rows: list[Row], stream: Stream = STREAM) -> Any:
        return next(one.value for one in advice(rows, (1.0,), stream, (), True) if one.setting == "guard")

    assert guard([]) is True and guard([row("range", "broken data", 1.0)]) is True
    assert guard([row("range", "broken data", 1.0)] * 20) is False
    assert guard([], STREAM._replace(labelled=False)) == "hold"


def test_where_too_few_labels_come_it_is_said_how_many_a_test_needs() -> None:
    few = Stream(samples=900, labels=800, days=80.0, labelled=True)
    said = " ".join(one.why for one in too_few(few))
    assert "need 3,000 labels before they speak, 300 days at 10.0 labels a day" in said
    assert (
        "at least 30 samples; there are 11.2 a day" in said
        and "10,000 samples before it speaks; here are 900" in said
    )
    slow = Stream(samples=12_000, labels=3_500, days=365.0, labelled=True)
    assert "blocks of 125 labels: 13 days of labels" in " ".join(one.why for one in too_few(slow))
    assert too_few(STREAM) == []
