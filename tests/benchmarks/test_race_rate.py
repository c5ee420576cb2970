"""What the benchmark of a race beside the demo says of its runs."""

from __future__ import annotations

import os
from typing import Any

import pytest

from benchmarks.race import configurations
from benchmarks.race_rate import ALONE, RACED, figures, line, summary, value
from penstock.stream.definition_file import load
from penstock.stream.demo.processes import cpu_of
from penstock.stream.demo.run import Run
from penstock.stream.messages import ExpertShown, LiveModel

LEARN = (
    "# HELP penstock_log_loss_nats_total of\npenstock_log_loss_nats_total 30.0\n"
    'penstock_base_log_loss_nats_total 50.0\npenstock_labels_total{outcome="joined"} 100.0\n'
)
RACE = (
    'penstock_challengers{state="running"} 9.0\npenstock_challengers{state="waiting"} 3.0\n'
    'penstock_challengers_entered_total 2.0\npenstock_lag_records{topic="flights.samples"} 1500.0\n'
)


def expert(parent: str | None) -> ExpertShown:
    return ExpertShown(version="v7", kind="challenger", weight=0.5, born_at=0, parent=parent)


def finished(**pages: str) -> Run:
    experts = [expert(None), expert("challenger-tree-12.abcdef")]
    live = LiveModel(pipeline="flights", version="v7", why="", at=0, position=0, recipe="r", experts=experts)
    given: dict[str, Any] = {"log": None, "client": None, "settings": None, "malformed": 0, "digest": ""}
    return Run(seconds=5.0, records=100, live=[live], cpu_s={"learn": 2.0}, pages=pages, **given)


def test_a_run_is_told_with_its_rate_its_cpu_and_what_the_roles_pages_said() -> None:
    alone, raced = figures(finished(learn=LEARN)), figures(finished(learn=LEARN, challenge=RACE))
    assert (alone["records_per_s"], alone["learn_cpu_s"], alone["log_loss"]) == (20.0, 2.0, 0.3)
    assert "race_lag_records" not in alone
    assert raced["challengers_inside"] == ["tree"] and raced["challengers_running"] == 9.0
    assert (raced["challengers_entered"], raced["race_lag_records"]) == (2.0, 1500.0)
    said = line({**raced, "race": True, "load": 1.0})
    assert "9 run" in said and "inside: tree" in said and "1,500 records behind" in said


def test_a_metric_whose_name_begins_another_is_not_taken_for_it() -> None:
    page = 'a{x="1",y="2"} 3.0\na{x="2"} 4.0\nab 5.0\n'
    assert (value(page, "a"), value(page, "a", 'x="2"'), value(page, "b")) == (7.0, 4.0, None)


def test_pairs_are_compared_with_each_other_and_what_one_kind_lacks_is_not() -> None:
    def run(race: bool, rate: float, **more: float) -> dict[str, Any]:
        return {"race": race, "records_per_s": rate, "seconds": 1.0, **more}

    runs = [
        run(False, 10.0),
        run(True, 5.0, challenge_cpu_s=2.0),
        run(True, 8.0, challenge_cpu_s=4.0),
        run(False, 8.0),
    ]
    found = summary(runs)
    assert found["pair_ratios"]["records_per_s"] == [0.5, 1.0] and found["ratio"]["records_per_s"] == 0.75
    assert "challenge_cpu_s" not in found["ratio"] and found["race"]["challenge_cpu_s"] == 3.0


def test_both_definitions_are_the_demos_and_one_has_the_twelve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACE_CPU", "0.25")
    alone, raced = load(ALONE), load(RACED)
    assert (raced.name, raced.vector_names, raced.race_cpu) == (alone.name, alone.vector_names, 0.25)
    assert not alone.challengers and set(raced.challengers) == set(configurations())


def test_the_cpu_of_a_process_is_that_of_its_clock() -> None:
    found, before = cpu_of(os.getpid()), sum(os.times()[:4])
    if found is None:
        pytest.skip("no /proc")
    assert found[0].startswith(("python", "pytest")) and abs(found[1] - before) < 0.5
    assert cpu_of(2**22 + 1) is None
