"""The demo's last word: the prediction that was most wrong, explained by the models that made it."""

from __future__ import annotations

from itertools import count as numbers
from typing import Any

import pytest

from penstock.examples.flights_data import INCIDENT_DAYS, new_york_ms
from penstock.stream import topology
from penstock.stream.demo.explained import explained, explained_lines, most_wrong, of_incident
from penstock.stream.demo.measure import Trace
from penstock.stream.demo.report import Report, as_json, lines
from penstock.stream.learn.replay import replay
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Origin, Sample, encode_entry
from penstock.stream.prediction import decode_prediction
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import outs, parcel_events, parcels
from tests.stream.naive_flow import everything


@pytest.fixture(scope="module")
def flow() -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    made = MemoryFlow(parcels(), clock=lambda: next(wall))
    made.feed(outs(parcel_events(400)))
    made.settle()
    return made


def test_the_most_wrong_is_that_of_the_incident_or_of_all() -> None:
    trace = Trace.of([(10, True, 0.01, 0.5, 0), (20, False, 0.9, 0.5, 1), (30, True, 0.4, 0.5, 2)])
    assert most_wrong(trace, set()) == 0
    assert most_wrong(trace, {1, 2}) == 1
    assert most_wrong(trace, {2}) == 2
    assert most_wrong(trace, {99}) == 0, "no label came of these"
    assert most_wrong(Trace.of([]), {1}) is None


def test_an_incident_is_about_the_flights_of_its_days_and_of_its_carrier() -> None:
    log, day = MemoryLog(), new_york_ms(INCIDENT_DAYS[0])
    log.create("s", 1)
    flights = [(day - 1, "UA1"), (day, "UA2"), (day + 1, "US3"), (new_york_ms(INCIDENT_DAYS[1]), "UA4")]
    for n, (at, flight) in enumerate(flights):
        sample = Sample(Origin("t", 0, n), f"2013-05-13-{flight}-EWR", "k", at, [1.0])
        log.append([Out("s", None, encode_entry(sample))])
    assert of_incident(log, "s", "milliseconds") == {1}
    assert of_incident(log, "s", "labels") == {1, 2}


def test_it_is_explained_as_it_was_published(flow: MemoryFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.demo.explained.load", lambda definition: parcels())
    fold = replay(parcels(), flow.log, topology.samples("parcels"), trace=True)
    trace = Trace.of(fold.trace or [])
    place = most_wrong(trace, set())
    assert place is not None
    row = explained("x.py", None, flow.log, True, int(trace.position[place]), trace.y[place].item())
    assert row is not None and row["same_as_published"] is True
    told = {
        one.position: one
        for one in (
            decode_prediction(r.value or b"") for r in everything(flow.log, topology.predictions("parcels"))
        )
    }[row["position"]]
    assert (row["id"], row["prediction"], row["version"]) == (told.id, told.prediction, told.model.version)
    total = row["base"] + sum(one["contribution"] for one in row["contributions"])
    assert total == pytest.approx(row["prediction"], abs=1e-9)
    report = Report("", "", "none", True, definition="x.py", explained=row)
    assert as_json(report)["explained"] == row
    shown = "\n".join(lines(report))
    assert f"{row['id']}, " in shown and "as it was published" in shown
    assert f"penstock explain x.py --position {row['position']}" in shown
    assert f"position {row['position']:,}, recipe {row['recipe']}" in shown


def test_where_nobody_can_say_nothing_is_said(flow: MemoryFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.demo.explained.load", lambda definition: parcels())
    assert explained("x.py", None, flow.log, True, 10**9, True) is None
    assert "explained" not in "\n".join(lines(Report("", "", "none", True)))


REST = (("c", 1, 0.1), ("dep_delay", 6e6, 0.0))


@pytest.mark.parametrize(
    ("scale", "label", "said"),
    [
        ("number", 31.5, "12.0; 31.5"),
        ("probability", True, "1200% sure that it would be late; it was late"),
    ],
)
def test_it_is_told_in_plain_words(scale: str, label: Any, said: str) -> None:
    row = {
        "id": "UA1", "at": 0, "label": label, "scale": scale, "prediction": 12.0, "base": 10.0, "margin": 12.0, "version": "v3",
        "weight": 0.5, "position": 7, "recipe": "r", "same_as_published": None,
        "contributions": [
            {"feature": name, "value": value, "contribution": part}
            for name, value, part in (("delay", 60.0, 3.0), ("kind", "x", -1.5), ("a", None, 0.25), ("b", 1, 0.25), *REST)
        ],
    }  # fmt: skip
    found = explained_lines(row, "x.py", True)
    assert said in found[2] and "in the incident" in found[1]
    assert "delay = 60" in found[4] and found[4].endswith("#" * 24) and found[5].endswith("#" * 12)
    assert "a = missing" in found[6]
    assert any("dep_delay = 6e+06" in line for line in found), "what was left out is the story"
    assert any("all 1 other inputs together" in line for line in found)
