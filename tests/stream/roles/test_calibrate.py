"""How often a history would have alarmed, over logs that the real roles left behind."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from river.drift import ADWIN

from penstock.monitors.losses.drift import log_loss
from penstock.stream import cli
from penstock.stream.cli.calibrate import lines
from penstock.stream.definitions import Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.messages import Command, decode_entry
from penstock.stream.operate.attended import Attended
from penstock.stream.operate.calibrating.calibration import Calibration
from penstock.stream.operate.control_topics import Told
from penstock.stream.operate.reporting.incidents import incidents
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.roles.calibrate import CannotCalibrate, calibrate
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.report import report
from tests.stream.generated import DAY, SENT, outs, parcel_events, parcels
from tests.stream.naive_flow import everything
from tests.stream.roles.test_report import log_of
from tests.stream.roles.test_stories import CHANGED_AT, EVENTS, flowed, pumps


@pytest.fixture(scope="module")
def turned() -> MemoryFlow:
    return flowed(1, CHANGED_AT)


def asked(flow: MemoryFlow, of: Pipeline | None = None, **options: Any) -> Calibration:
    return calibrate(of or pumps(), log=log_of(flow), settings=Settings(), **options)


@pytest.mark.long
def test_each_budget_finds_what_a_fold_with_it_would_have_told(turned: MemoryFlow) -> None:
    found = asked(turned, budgets=(1.0, 12.0))
    for budget in (1.0, 12.0):
        attended = Attended(replace(pumps(), alarms_per_year=budget))
        attended.fold.trace = []
        for record in everything(log_of(turned), "pumps.samples"):
            entry = decode_entry(record.value or b"")
            if not isinstance(entry, Command):
                attended.step(entry)
        expected = {one.id for one in incidents([Told(event, 0) for event in attended.told])}
        rows = [row for row in found.rows if budget in row.budgets]
        assert len(rows) == len(expected) == sum(found.tally(budget).values())
        if budget == 1.0:
            assert {row.incident.id for row in rows} == expected != set()
            trace = attended.fold.trace
            assert trace is not None and found.stream.labels == len(trace)
            adwin, alarms = ADWIN(), 0
            for _, y, p, _, _ in trace:
                adwin.update(log_loss(p, y))
                alarms += adwin.drift_detected
            assert found.naive.adwin_alarms == alarms


def test_at_its_own_budget_it_finds_what_the_roles_found(turned: MemoryFlow) -> None:
    lived = report(pumps(), log=log_of(turned), settings=Settings()).incidents
    rows = asked(turned, budgets=(1.0,)).rows
    assert [row.incident.since for row in rows] == [one.since for one in lived]
    assert [row.incident.name for row in rows] == [one.name for one in lived]
    assert rows[0].worth == "a better model was found" and rows[0].cost is not None


def test_a_quiet_stream_alarms_at_no_budget_and_is_told_what_the_tests_need() -> None:
    found = asked(flowed(1, EVENTS), budgets=(1.0,))
    assert found.rows == [] and found.tally(1.0) == {"loss": 0, "inputs": 0, "data": 0, "others": 0}
    said = lines(found)
    assert "nobody would have been told of anything" in said
    assert any("learns from 10,000 samples before it speaks" in line for line in said)


@pytest.mark.long
def test_a_range_counts_what_was_found_in_it_and_teaches_what_came_before(turned: MemoryFlow) -> None:
    [whole] = asked(turned, budgets=(1.0,)).rows
    found = whole.incident.found
    inside = asked(turned, budgets=(1.0,), start=found - DAY, stop=found + DAY // 4)
    assert [row.incident.id for row in inside.rows] == [whole.incident.id]
    assert inside.stream.days < 2 and inside.stream.labels < 3_000
    assert asked(turned, budgets=(1.0,), stop=found).rows == []
    assert asked(turned, budgets=(1.0,), start=found + 1).rows == []


@pytest.mark.long
def test_the_field_of_the_events_that_carries_the_damage_is_suggested_as_a_segment() -> None:
    """One depot weighs in grams and delivers at random; the depot stands in the events, not in the samples log."""
    events, chance = list(parcel_events(14_000, depots=6)), random.Random(5)
    broken_at = events[len(events) * 4 // 5][2].get("sent_at") or events[len(events) * 4 // 5][2]["done_at"]
    for _, _, event in events:
        if event["depot"] == "d2" and event.get("done_at", 0) >= broken_at:
            event["late"] = chance.choice([0.0, 30.0])
        elif event["depot"] == "d2" and event.get("sent_at", 0) >= broken_at:
            event["weight"] *= 1_000
    flow = MemoryFlow(parcels(), partitions=2)
    flow.feed(outs(events))
    flow.settle()
    found = asked(flow, parcels(), budgets=(1.0,))
    [row] = found.rows
    assert (row.incident.name, row.worth, row.family) == ("range weight", "broken data", "data")
    [part] = row.carried
    assert (part.field, part.value) == ("depot", "d2") and part.excess > 0.8 and part.labels < 0.25
    assert ("segments", "depot") in [(one.setting, one.value) for one in found.advice]
    log_of(flow).trim(SENT.name, 0, 1)
    assert all(one.setting != "segments" for one in asked(flow, parcels(), budgets=(1.0,)).advice)


def test_a_history_that_is_not_there_is_said(turned: MemoryFlow) -> None:
    with pytest.raises(CannotCalibrate, match=r"topic 'parcels.samples' does not exist"):
        calibrate(parcels(), log=MemoryLog(), settings=Settings())
    with pytest.raises(CannotCalibrate, match="no sample in this range"):
        asked(turned, stop=1)


@pytest.mark.long
def test_the_command_tells_and_prints_json(
    turned: MemoryFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "open_log", lambda settings: log_of(turned))
    monkeypatch.setattr(MemoryLog, "close", lambda log: None, raising=False)
    file = tmp_path / "pumps.py"
    file.write_text("from tests.stream.roles.test_stories import pumps\n\npipeline = pumps()\n")
    assert cli.main(["calibrate", str(file), "--budgets", "1,4"]) == 0
    printed = capsys.readouterr()
    assert "suggested\n  alarms_per_year=1.0: 5 days are too few to choose by" in printed.out
    assert "lead loss" in printed.out and "ADWIN on every loss" in printed.out
    assert "folding with 4 alarms a year: " in printed.err
    assert cli.main(["calibrate", str(file), "--budgets", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["incidents"][0]["budgets"] == [1.0] and shown["advice"][0]["setting"] == "alarms_per_year"
    with pytest.raises(SystemExit):
        cli.main(["calibrate", str(file), "--budgets", "1,none"])
    assert "numbers above 0 and at most 366" in capsys.readouterr().err
