"""The demo's figures of numbers: absolute errors beside every rival, and a rival that begins anew."""

from __future__ import annotations

import math

import pytest

from penstock.stream.demo.measure import Trace, months, weekly_ratio
from penstock.stream.demo.report import Report, as_json, lines
from penstock.stream.demo.restart import BegunAnew, restarted
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import LabelRecord
from tests.stream.generated import START_MS
from tests.stream.learn.task_courses import log_of, pipeline_of

HOUR_MS = 3_600_000


def trace(errors: list[float], base: float = 4.0) -> Trace:
    return Trace.of(
        [(START_MS + n * HOUR_MS, 10.0, 10.0 + one, 10.0 + base, n) for n, one in enumerate(errors)]
    )


def test_losses_of_numbers_are_absolute_errors_by_month() -> None:
    (month,) = months(trace([1.0, -3.0]), trace([2.0, 2.0]), trace([5.0, 7.0]))
    assert (month.live_loss, month.base_loss, month.passive_loss, month.restart_loss) == (2.0, 4.0, 2.0, 6.0)
    assert month.live_auc is None and month.passive_auc is None
    assert weekly_ratio(trace([1.0, -3.0]), trace([4.0, 4.0]), START_MS) == [0.5]


def test_losses_of_true_and_false_are_log_losses_with_auc() -> None:
    live = Trace.of([(START_MS, True, 0.5, 0.25, 0), (START_MS, False, 0.25, 0.5, 1)])
    (month,) = months(live, live)
    assert month.live_loss == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2) and month.live_auc == 1.0


def test_the_report_names_what_it_measures() -> None:
    report = Report("In memory", "Redis", "none", True, "regression", loss=12.5, restart_loss=14.0)
    report.months = months(trace([1.0]), trace([2.0]), trace([5.0]))
    assert as_json(report)["mae"] == 12.5 and as_json(report)["restart_mae"] == 14.0
    text = "\n".join(lines(report))
    assert (
        "mean absolute error: live   base predictor   no actions   begun anew" in text and "AUC" not in text
    )


def test_what_begins_anew_sees_the_labels_that_the_fold_sees_and_forgets_at_an_alarm() -> None:
    pipeline, log = pipeline_of("regression"), log_of("regression", 900)
    half = len(log) // 2
    turned = [
        LabelRecord(e.origin, e.id, e.at, 5_000.0 - float(e.y))
        if isinstance(e, LabelRecord) and n > half
        else e
        for n, e in enumerate(log)
    ]
    fold = Fold(pipeline)
    fold.trace = []
    anew = BegunAnew(pipeline)
    for position, entry in enumerate(turned):
        fold.step(position, entry)
        anew.step(position, entry)
    rows = restarted(pipeline, enumerate(turned))
    assert [(at, y, position) for at, y, _, _, position in rows] == [
        (at, y, position) for at, y, _, _, position in fold.trace
    ]
    assert anew.begun >= 1 and len(anew.experts.models) == 1
