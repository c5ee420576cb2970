"""What people read of retrains: the definition's triggers, one that fired, when the next is due, and a person's window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import OnInputs, OnLabels, OnPerformance, OnSchedule
from penstock.stream import cli
from penstock.stream.cli.check import retrains
from penstock.stream.cli.check_request import check_request
from penstock.stream.messages import OperatorRequest
from penstock.stream.operate.control_lines import tell
from penstock.stream.process.settings import SettingError
from penstock.stream.trigger_records import TriggerFired, TriggerShown
from tests.stream.control.test_policy import event
from tests.stream.generated import DAY, parcels
from tests.stream.operate.test_control_lines import asked_for
from tests.stream.operate.test_status import as_json, as_text, status

FLIGHTS = str(Path(__file__).parents[3] / "examples" / "flights.py")


def test_check_says_each_trigger_in_a_sentence_a_persons_first() -> None:
    lines = [
        OnSchedule("7d"),
        OnSchedule("0 3 * * sun", window="90d"),
        OnLabels(20_000),
        OnPerformance(),
        OnInputs(),
    ]
    assert retrains(parcels(retrain=lines, retrain_window="30d")) == [
        "on demand (penstock retrain parcels); from the samples of the last 30d",
        "every 7d, by event time; from the samples of the last 30d",
        "at '0 3 * * sun' (cron, UTC), by event time; from the samples of the last 90d",
        "on every 20,000 labels learned since the last retrain began; from the samples of the last 30d",
        "when labels say that skill over the base rate was lost; from the samples of the last 30d",
        "when the distribution of an input has moved; it only proposes, and a person says yes; from the samples of the last 30d",
    ]
    assert retrains(parcels(retrain=[OnPerformance()], retrain_window="since-onset")) == [
        "on demand (penstock retrain parcels); from all samples",
        "when labels say that skill over the base rate was lost; from the samples since the onset",
    ]


def test_check_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", FLIGHTS]) == 0
    assert "\nretrain   on demand (penstock retrain flights)" in capsys.readouterr().out
    assert cli.main(["check", FLIGHTS, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["retrain"][1].startswith("when labels say")


def fired(**fields: Any) -> list[str]:
    trigger = TriggerFired(
        **{"kind": "schedule", "rule": "OnSchedule('7d')", "window": "30d", "labels": 1_200, **fields}
    )
    action = "none" if trigger.joins else "retrain"
    return tell(event("a", action, trigger=trigger, severity="info"), 0)


def test_a_trigger_that_fired_tells_its_evidence() -> None:
    [line] = [one for one in fired(due_at=DAY, missed=2) if "trigger" in one]
    assert line.strip() == (
        "trigger OnSchedule('7d'); due 02 Jan 1970 00:00:00 (event time), 2 missed before it; 1,200 labels since the beginning; "
        "learns from the samples of the last 30d"
    )
    assert "since the last retrain (command-x)" in "\n".join(fired(after="command-x"))
    assert "RETRAIN wanted" in fired()[0] and "RETRAIN proposed" in fired(proposes=True)[0]
    assert "note: " in fired(joins="command-x")[0]


def test_status_says_what_is_under_way_and_when_the_next_is_due() -> None:
    live = status().live
    assert live is not None and "retrain" not in "\n".join(as_text(status()))
    shown = [
        TriggerShown(kind="schedule", rule="every 7d, by event time", window="from all samples", due_at=DAY),
        TriggerShown(
            kind="labels", rule="on every 9 labels", window="from all samples", labels_missing=7_000
        ),
        TriggerShown(kind="inputs", rule="when an input moved", window="from all samples", proposes=True),
    ]
    found = status(live=msgspec.structs.replace(live, triggers=shown, retraining=["command-x"], at=DAY))
    first = next(place for place, line in enumerate(as_text(found)) if line.startswith("retrain"))
    assert as_text(found)[first : first + 4] == [
        "retrain    under way: command-x",
        "           every 7d, by event time; from all samples; next at 02 Jan 1970 00:00:00 (event time)",
        "           on every 9 labels; from all samples; 7,000 labels were missing at 02 Jan 1970 00:00:00 (event time)",
        "           when an input moved; from all samples",
    ]
    assert found.wrong == [] and as_json(found)["live"]["triggers"][1]["labels_missing"] == 7_000


def test_a_window_is_asked_for_by_an_option_and_a_wrong_one_is_refused_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = asked_for(monkeypatch, "retrain", "flights", "--window", "30d", "--reason", "night")
    assert (request.window, request.from_position) == ("30d", None)
    assert "learning from the samples of the last 30d" in "\n".join(tell(request, 0))
    for fields, says in (
        ({"window": "month"}, "--window 'month' is none"),
        ({"from_position": 5}, "give one of them"),
    ):
        with pytest.raises(SettingError, match=says):
            check_request(OperatorRequest(**{**msgspec.structs.asdict(request), **fields}))
