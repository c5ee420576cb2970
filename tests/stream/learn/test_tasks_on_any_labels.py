"""Whatever labels come, and however late: every prediction can be used, weights add up to 1, and a replay is the same."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.define.kinds import MOST_FIELD
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample, decode_entry, encode_entry
from tests.stream.generated import MINUTE, START_MS
from tests.stream.learn.task_courses import pipeline_of
from tests.stream.same_log import births_often, go

inputs = st.one_of(st.none(), st.floats(-3.0, 3.0), st.sampled_from([1e200, -1e200, 0.0]))
LABELS: dict[str, st.SearchStrategy[Any]] = {
    "regression": st.one_of(
        st.floats(-MOST_FIELD, MOST_FIELD), st.floats(-5.0, 5.0), st.sampled_from([0.0, 1e300, -1e300])
    ),
    "regression tree": st.one_of(st.floats(-5.0, 5.0), st.just(1e9)),
    "multiclass": st.sampled_from(["a", "b", 1, "1", True, "true", "\ud7ff", "x" * 200]),
    "names only": st.sampled_from(["a", "b", "c"]),
    "anomaly": st.booleans(),
}


@pytest.fixture(scope="module", autouse=True)
def short_log() -> Iterator[None]:
    with births_often(20, lambda labels: labels % 8 == 0):
        yield


def log_of(rows: list[tuple[Any, Any]], delay: int) -> Iterator[Entry]:
    for number in range(len(rows) + delay):
        at = START_MS + number * MINUTE
        if number < len(rows):
            yield Sample(Origin("sent", 0, number), f"p{number}", "", at, [rows[number][0]])
        due = number - delay
        if due >= 0:
            yield LabelRecord(Origin("done", 0, due, 1), f"p{due}", at, rows[due][1])


@pytest.mark.parametrize("name", LABELS)
@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(0, 5))
def test_the_laws_hold(name: str, data: st.DataObject, delay: int) -> None:
    rows = data.draw(st.lists(st.tuples(inputs, LABELS[name]), min_size=30, max_size=60))
    log = [decode_entry(encode_entry(entry)) for entry in log_of(rows, delay)]
    folds = [Fold(pipeline_of(name, views=[])) for _ in range(2)]
    for fold in folds:
        go(fold, log)
    fold = folds[0]
    assert fold.digest() == folds[1].digest()
    assert fold.counts.joined == len(rows)
    for made in fold.outputs.predictions:
        p: Any = made.p
        if isinstance(p, dict):
            assert not p or sum(p.values()) == pytest.approx(1.0)
        else:
            assert isfinite(p)
    for weights in fold.experts.gate.weights:
        assert sum(weights) == pytest.approx(1.0) and min(weights) > 0.0
    assert isfinite(fold.counts.live_loss)
