"""The whole job's benchmark, as far as it needs no other engine."""

from __future__ import annotations

import json
from statistics import mean

from benchmarks.features_job import whole_records
from benchmarks.job import of_all
from benchmarks.peer_model import Learner


def test_figures_are_medians_of_the_runs_and_roles_are_told_apart() -> None:
    runs = [
        {"wall_s": wall_s, "cpu_s": cpu_s, "roles": {"learn": cpu_s - 1.0, "featurize": 1.0}}
        for wall_s, cpu_s in ((2.0, 3.0), (1.0, 5.0), (4.0, 4.0))
    ]
    assert of_all(runs, 1_000_000) == {
        "events_per_s": 500_000, "events_per_cpu_s": 250_000, "cpu_us_per_event": 4.0,
        "roles": {"learn": {"cpu_us_per_event": 3.0}, "featurize": {"cpu_us_per_event": 1.0}},
    }  # fmt: skip


def test_the_job_can_be_learned() -> None:
    events = [json.loads(record.value or b"") for record in whole_records(4_000, 50)]
    learner, said = Learner(), []
    for event in events:
        said.append((event["amount"] > 60.0, learner.step({}, event)["p"]))
    large, small = ([p for is_large, p in said[2_000:] if is_large is which] for which in (True, False))
    assert min(len(large), len(small)) > 100 and mean(large) > 1.5 * mean(small)
