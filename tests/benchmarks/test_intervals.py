"""The benchmark of sets and intervals: it judges what the fold published, and its figures are those of their definitions."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from random import Random

import pytest

from benchmarks import intervals, learn
from benchmarks.intervals import (
    EXAMPLES,
    FIXED_LABELS,
    INCIDENT_MS,
    Fixed,
    Held,
    calibration_error,
    periods_of,
    run,
)
from penstock.examples.flights_data import data_folder
from penstock.stream.definition_file import load
from penstock.stream.learn.uncertainty import Uncertainty


@pytest.fixture
def flights() -> None:
    try:
        data_folder()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


def test_calibration_error_is_the_distance_and_chance_alone_is_none():
    chance = Random(7)
    honest = [(p, chance.random() < p) for p in (chance.random() for _ in range(30_000))]
    assert (calibration_error(honest) or 0.0) < 0.01
    boastful = [(min(p + 0.2, 1.0), y) for p, y in honest if p < 0.8]
    assert calibration_error(boastful) == pytest.approx(0.2, abs=0.01)
    assert calibration_error(honest[:29]) is None


def test_fixed_bounds_are_the_quantile_of_the_first_labels_and_never_move():
    fixed = Fixed(0.1)
    for number in range(FIXED_LABELS):
        assert fixed.bounds is None, number
        fixed.add({"end": float(number)})
    fixed.add({"end": 1e9})
    assert fixed.bounds == {"end": 4_500.0}


def test_a_set_or_interval_holds_a_label_that_is_no_odder_than_its_bound():
    sets, numbers = Held(), Held()
    sets.add("binary", {"true": 0.5, "false": 0.4}, {"true": 0.5}, {"true": 0.5, "false": 0.5})
    sets.add("binary", {"true": 0.2, "false": 0.2}, {"true": 0.5}, {"true": 0.5, "false": 0.5})
    assert sets.figures() == {"held": 0.5, "size": 0.5, "odd": 0.5}
    numbers.add("regression", {"below": 3.0, "above": 5.0}, {"below": -4.0, "above": 4.0}, {})
    numbers.add("regression", {"below": inf, "above": 5.0}, {"below": -6.0, "above": 6.0}, {})
    assert numbers.figures() == {"held": 0.5, "size": 8.0, "odd": 0.5}


def test_a_label_of_the_incident_counts_for_its_week_its_month_and_the_year():
    assert periods_of(INCIDENT_MS) == ["year", "2013-05", "incident"]
    assert periods_of(INCIDENT_MS - 1) == ["year", "2013-05"]


@pytest.mark.long
@pytest.mark.parametrize("task", list(EXAMPLES))
@pytest.mark.usefixtures("flights")
def test_what_is_judged_is_what_the_fold_issued(task: str, monkeypatch: pytest.MonkeyPatch):
    pipeline = replace(load(EXAMPLES[task]), interval=0.9, calibrate=task == "binary")
    read = intervals.kept("none", None, 1, EXAMPLES[task])
    (one,) = run(read, pipeline, [0.9])
    year = one.periods["year"].own
    own = one.uncertainty
    assert year.labels > 500 and year.held / year.labels > 0.8
    assert (own.judged - own.open, own.size) == (year.sized, pytest.approx(year.size))
    assert (own.judged, own.held) == (year.labels, year.held)
    issue = Uncertainty.issue
    monkeypatch.setattr(
        intervals, "Uncertainty",
        type("Other", (Uncertainty,), {"issue": lambda self, p: issue(self, p)._replace(bounds=())}),
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="did not"):
        run(read, pipeline, [0.9])


@pytest.mark.long
@pytest.mark.usefixtures("flights")
def test_learning_is_measured_for_every_number_of_experts(tmp_path: Path):
    path = tmp_path / "learn.json"
    asked = [
        "--days",
        "1",
        "--rounds",
        "1",
        "--model",
        "lr",
        "--experts",
        "1",
        "--experts",
        "6",
        "--json",
        str(path),
    ]
    assert learn.main(asked) == 0
    rows = json.loads(path.read_text())
    assert [row["experts"] for row in rows] == [1, 6]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["entries_per_cpu_s"] / row["river_per_cpu_s"], rel=0.01)
    assert rows[0]["asked"] == 1.0 < rows[1]["asked"]
