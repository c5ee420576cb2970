"""The benchmark of planted incidents: what would have been told anyway is taken away, causes and segments are read."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.incident_runs import Told, interval
from benchmarks.incidents import counted, row_of, shown
from penstock.stream.messages import ControlData, ControlEvent
from penstock.stream.segment_blamed import SegmentBlamed
from penstock.stream.story_records import Deed, EpisodeSummary

DAY = 86_400_000
FROM = interval("unit")[0]


def event(
    kind: str, state: str, episode: str, at: int, position: int, subject: str = "dep_delay", **more: Any
) -> ControlEvent:
    data = ControlData(
        pipeline="flights", episode=episode, kind=kind, state=state, severity=more.pop("severity", "warning"), reason="why",
        detector={}, since=more.pop("since", {"at": at, "position": position}), detected_at={"at": at, "position": position},
        suggested_action="none", **more,
    )  # fmt: skip
    return ControlEvent(
        id=f"{episode}-{kind}-{state}", source="s", type="t", subject=subject, time="", data=data
    )


def told(*events: ControlEvent) -> Told:
    return Told(list(events), 1_000, FROM, 9_000, 0.3)


USUAL = event("psi", "firing", "anyway", FROM + 2 * DAY, 2_500, "hour")


def test_an_incident_told_as_one_story_is_counted_with_what_it_says() -> None:
    summary = EpisodeSummary(
        until={"at": FROM + DAY, "position": 1_900}, length_ms=DAY, records=895, labels=400, excess_nats=30.0, error_nats=9.0,
        done=[Deed(what="v3 was kept", by="penstock")],
    )  # fmt: skip
    segment = SegmentBlamed(field="carrier", value="UA", share=1.0, labels=40, usual=0.2)
    row = row_of(
        "unit",
        told(
            event(
                "range", "firing", "e", FROM + 5, 1_040, causes=["dep_delay left its range"], segment=segment,
                severity="critical",
            ),
            USUAL,
            event(
                "summary", "over", "e", FROM + 2 * DAY, 2_600, since={"at": FROM + 1, "position": 1_005}, summary=summary,
                severity="info",
            ),
        ),
        told(USUAL),
    )  # fmt: skip
    assert (row["episodes"], row["found_after_records"], row["onset_error_records"]) == (1, 40, 5)
    assert (row["cause_named"], row["segment_named"], row["severity"]) == (True, True, "critical")
    assert row["actions"] == ["v3 was kept (penstock)"] and row["excess_nats"] == 30.0
    assert "+30 ± 9" in shown(row) and " yes " in shown(row)
    assert counted([row], 1.0)["one_story"] == 1


def test_what_is_told_without_an_incident_as_well_is_not_told_of_it() -> None:
    row = row_of("unit", told(USUAL), told(USUAL))
    assert row["episodes"] == 0 and "NOT FOUND" in shown(row)


@pytest.mark.parametrize("days", [-5, 40])
def test_what_is_found_long_before_or_after_is_not_of_it(days: int) -> None:
    other = event("range", "firing", "e", FROM + days * DAY, 10)
    assert row_of("unit", told(other), told(USUAL))["episodes"] == 0


def test_two_stories_are_two_and_a_cause_that_is_another_is_not_named() -> None:
    row = row_of(
        "renamed",
        told(event("range", "firing", "e", FROM + 5, 1_040, causes=["dep_delay left its range"]), USUAL),
        told(),
    )
    assert (row["episodes"], row["cause_named"], row["segment_named"]) == (2, False, False)
