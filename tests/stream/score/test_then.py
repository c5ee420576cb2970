"""Rows scored by the models of their own time: what was published then, or what would have been."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.stream import cli, topology
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn.replay import replay
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, Entry, OperatorRequest, decode_entry, encode_entry, encode_json
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from penstock.stream.score.models import columns_of
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.rows import Row
from penstock.stream.score.run import Job, Summary, score
from penstock.stream.score.then import Then, _Course, aside
from tests.stream.generated import DELIVERED, MINUTE, SENT, START_MS, outs, parcel_events, parcels
from tests.stream.learn import task_courses
from tests.stream.learn.courses import Course, quick_guard
from tests.stream.naive_flow import everything
from tests.stream.score.test_score import events_of, read, samples, unlabelled, write

SURE: dict[str, dict[str, Any]] = {
    "parcels": {"interval": 0.9, "calibrate": True},
    "binary": {"approval": True},
    "multiclass": {"interval": 0.9},
    "regression": {"interval": 0.9},
    "anomaly": {"calibrate": True},
}


@pytest.fixture(scope="module", autouse=True)
def frequent_copies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 60)
        yield


def label_of(case: str) -> dict[str, Any]:
    """A label of the case's kind, from what events of parcels hold."""
    if case in ("parcels", "unlabelled"):
        return {}
    found = {
        "regression": lambda e: float(e["late"]),
        "regression tree": lambda e: float(e["late"]),
        "binary": lambda e: e["late"] > 15,
        "anomaly": lambda e: e["late"] > 15,
        "classes that are numbers": lambda e: int(e["late"] > 15),
    }.get(case, lambda e: "late" if e["late"] > 15 else "soon" if e["late"] < 0 else "in time")
    return {"label": Label(DELIVERED, found, wait="6h", fields=("late",))}


def pipeline_of(case: str) -> Pipeline:
    more = {**SURE.get(case, {}), **label_of(case)}
    return parcels(**more) if case == "parcels" else task_courses.pipeline_of(case, **more)


def asked(flow: MemoryFlow, verb: Any, n: int, **more: Any) -> None:
    """A person's command, carried out."""
    request = OperatorRequest(id=f"r{n}", pipeline="parcels", verb=verb, reason="told to", by="ann", **more)
    flow.feed([Out(topology.CONTROL_COMMANDS, b"parcels", encode_json(request))])
    flow.settle()


def lived(pipeline: Pipeline, seed: int = 1, events: int = 360) -> MemoryFlow:
    """A flow with a rollback that is pinned, its release, a retrain and a hold in its log."""
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(pipeline, clock=lambda: next(wall))
    records = outs(parcel_events(events, seed))
    parts = [
        records[place : place + len(records) // 5 + 1]
        for place in range(0, len(records), len(records) // 5 + 1)
    ]
    for n, part in enumerate(parts):
        flow.feed(part)
        flow.settle()
        fold = flow.learn.fold
        assert fold is not None
        if n == 1:
            kept = next((one.version for one in fold.experts.models if one.kind == "frozen"), None)
            if kept is not None:
                asked(flow, "rollback", n, version=kept, pin=True)
        elif n == 2:
            asked(flow, "retrain", n)
        elif n == 3:
            asked(flow, "hold", n)
    return flow


def published(flow: MemoryFlow) -> dict[str, Prediction]:
    told = everything(flow.log, topology.predictions(flow.pipeline.name))
    return {one.id: one for one in (decode_prediction(record.value or b"") for record in told)}


def then(flow: MemoryFlow) -> Then:
    return Then(flow.pipeline, flow.log, topology.samples(flow.pipeline.name), outside=flow.models)


def run(flow: MemoryFlow, source: Any, out: Path, features: Any = "history", by: Any = None) -> Summary:
    job = Job(flow.pipeline, source, str(out), features)
    return score(job, by or then(flow), log=flow.log, reads=None, progress=lambda what, done, total: None)


def same_as_published(flow: MemoryFlow, rows: list[dict[str, Any]], name: str) -> None:
    """Every row has what was published of its event, in all columns, to the bit."""
    told = published(flow)
    assert len(rows) == len(told)
    for row in rows:
        said = told[row[name]]
        assert (row["model_version"], row["error"]) == (said.model.version, None)
        assert row["recipe"] == said.recipe
        for column, of in columns_of(flow.pipeline).items():
            assert row[column] == of.of(said), column


# -- the log's own events --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["parcels", *task_courses.CASES])
def test_the_logs_own_events_get_what_was_published_of_them(case: str, tmp_path: Path) -> None:
    flow = lived(pipeline_of(case))
    told = published(flow)
    assert len({one.prediction for one in told.values()}) > (
        1 if "class" in case or case == "names only" else 50
    )
    done = run(flow, write(tmp_path / "in.jsonl", unlabelled(events_of(flow))[::-1]), tmp_path / "out.jsonl")
    assert (done.rows, done.predicted) == (360, 360)
    found = read(str(tmp_path / "out.jsonl"))
    same_as_published(flow, found, "parcel")
    assert {row["parcel"]: row["position"] for row in found} == {
        one.id: one.position for one in told.values()
    }
    if case == "parcels":
        log = [decode_entry(one.value or b"") for one in everything(flow.log, topology.samples("parcels"))]
        verbs = {entry.verb for entry in log if isinstance(entry, Command)}
        assert (
            verbs >= {"rollback", "retrain", "adopt", "hold"}
            and len({one.model.version for one in told.values()}) > 1
        )


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_so_do_vectors_in_columns_by_the_id_and_time_of_their_events(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    tmp_path, flow = tmp_path_factory.mktemp("then"), lived(pipeline_of("parcels"), seed, 120)
    names = flow.pipeline.vector_names
    rows = [
        {"event_id": one.id, "at": one.at, **dict(zip(names, one.x, strict=True))} for one in samples(flow)
    ]
    for form in ("jsonl", "parquet", "csv"):
        run(flow, write(tmp_path / f"in.{form}", rows), tmp_path / "out.jsonl", "columns")
        found = read(str(tmp_path / "out.jsonl"))
        same_as_published(flow, found, "event_id")


def test_rows_without_id_and_time_are_not_of_any_moment(tmp_path: Path) -> None:
    flow = lived(parcels(), events=40)
    names = flow.pipeline.vector_names
    row = dict(zip(names, samples(flow)[0].x, strict=True))
    with pytest.raises(CannotScore, match="has no column event_id, at: .*--models live-now"):
        run(flow, write(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl", "columns")
    rows = [{**row, "event_id": "p1", "at": at} for at in (None, "yesterday", "2024-01-01T00:00:00Z")]
    done = run(flow, write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", "columns")
    assert done.predicted == 1
    assert "nothing says which models were live then" in done.errors[0] and "RFC 3339" in done.errors[1]
    with pytest.raises(CannotScore, match="features as of now go with models as of now"):
        run(flow, write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", "now")


# -- others ----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    at=st.integers(-MINUTE, 150 * MINUTE), weight=st.floats(-3, 3), seed=st.integers(0, 3), tied=st.booleans()
)
def test_a_row_that_was_never_published_gets_what_it_would_have_got(
    tmp_path_factory: pytest.TempPathFactory, at: int, weight: float, seed: int, tied: bool
) -> None:
    tmp_path = tmp_path_factory.mktemp("then")
    events = list(parcel_events(150, seed))
    sent_at = START_MS + at
    if tied:  # at the very moment of a delivery
        sent_at = [event for topic, _, event in events if topic == DELIVERED.name][at % 100]["done_at"]
    row = {
        "parcel": "asked",
        "sent_at": sent_at,
        "van": "van1",
        "depot": "d1",
        "street": "s 1|",
        "weight": weight,
    }
    flow = lived_once(events)
    run(flow, write(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl")
    (found,) = read(str(tmp_path / "out.jsonl"))
    assume(all(event.get("sent_at") != sent_at for _, _, event in events))
    place = next(
        (n for n, (topic, _, event) in enumerate(events) if event.get("sent_at", event.get("done_at")) > sent_at
         or (topic == DELIVERED.name and event["done_at"] >= sent_at)),
        len(events),
    )  # fmt: skip
    said = published(lived_once([*events[:place], (SENT.name, "van1", row), *events[place:]]))["asked"]
    assert (
        found["prediction"],
        found["model_version"],
        found["interval_low"] if "interval_low" in found else None,
    ) == (
        said.prediction,
        said.model.version,
        None,
    )


def lived_once(events: list[Any]) -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(parcels(), clock=lambda: next(wall))
    flow.feed(outs(events))
    flow.settle()
    return flow


@pytest.mark.parametrize("case", task_courses.CASES)
def test_rows_leave_nothing_behind_in_the_fold(case: str) -> None:
    pipeline, log = task_courses.pipeline_of(case), MemoryLog()
    course: list[Entry] = task_courses.log_of(case, 400)
    log.create("s", 1)
    log.append([Out("s", None, encode_entry(entry)) for entry in course])
    width = len(pipeline.vector_names)
    odd: list[Any] = [[1e6] * width, [None] * width, ["text"] * width, [0.5] * width]
    rows = [Row(n, f"asked {n}", START_MS + n * MINUTE // 2, odd[n % len(odd)]) for n in range(900)]
    told: dict[int, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.experts.THIN_AFTER_LABELS", 20)
        plain = replay(pipeline, log, "s")
        of = _Course(pipeline, rows, told.__setitem__)
        fold = replay(pipeline, log, "s", begun=of.begun, before=of.before, predicted=of.predicted)
        of.end()
    assert len(told) == len(rows)
    assert (fold.digest(), fold.counts) == (plain.digest(), plain.counts)
    assert [one.failures for one in fold.experts.all] == [one.failures for one in plain.experts.all]


def test_what_a_row_makes_fail_is_no_failure_of_the_fold() -> None:
    fold = lived(parcels(), events=60).learn.fold
    assert fold is not None
    for one in fold.experts.models:
        one.failures = 3  # an answer would make it 0
    before = (fold.experts.asked, fold.experts.silent, fold.experts.outside_at)
    with aside(fold, fold.pipeline) as replica:
        replica.ask("a", fold.at, [0.5] * len(fold.pipeline.vector_names))
    assert {one.failures for one in fold.experts.models} == {3}
    assert (fold.experts.asked, fold.experts.silent, fold.experts.outside_at) == before


def test_a_value_far_outside_makes_no_copy_in_the_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course(parcels(views=[]))
    quick_guard(course, monkeypatch)
    course.go(1_200)
    fold = course.fold
    before, models = fold.digest(), len(fold.experts.models)
    with aside(fold, fold.pipeline) as replica:
        found = replica.ask("far", fold.at, [1e6])
        assert found.outside == ("weight",) and "careful" in {one.kind for one in found.experts.models}
    assert (fold.digest(), len(fold.experts.models), fold.experts.careful) == (before, models, None)


def test_a_changed_copy_of_an_event_is_answered_at_its_place_but_with_its_own_vector(tmp_path: Path) -> None:
    flow = lived(parcels(), events=120)
    told = published(flow)
    rows = [{**event, "weight": event["weight"] + (n % 2)} for n, event in enumerate(events_of(flow))]
    run(flow, write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    found = read(str(tmp_path / "out.jsonl"))
    assert all(row["position"] == told[row["parcel"]].position for row in found)
    assert all(row["prediction"] == told[row["parcel"]].prediction for row in found[::2])
    assert sum(row["prediction"] != told[row["parcel"]].prediction for row in found[1::2]) > 40


def test_a_log_whose_start_is_gone_does_not_say_who_was_live() -> None:
    flow = lived(parcels(), events=40)
    flow.log.trim(topology.samples("parcels"), 0, 9)
    with pytest.raises(CannotScore, match="records 0 to 8 of parcels.samples are gone.*--models live-now"):
        then(flow)
    with pytest.raises(CannotScore, match="does not exist"):
        Then(parcels(), flow.log, "no.samples")


def test_what_comes_after_the_last_row_is_not_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = lived(parcels(), events=200)
    steps: list[int] = []
    step = type(flow.learn.fold).step
    monkeypatch.setattr(
        "penstock.stream.learn.fold.Fold.step",
        lambda fold, position, *more: (steps.append(position), step(fold, position, *more))[1],
    )
    one = events_of(flow)[20]
    run(flow, write(tmp_path / "in.jsonl", [one]), tmp_path / "out.jsonl")
    assert max(steps) <= published(flow)[one["parcel"]].position


# -- the command -----------------------------------------------------------------------------------------------------------------


def test_the_command_takes_the_models_of_then_where_features_come_from_history(
    tmp_path: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = lived(parcels())
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("PENSTOCK_SECRET", SECRET)
    monkeypatch.setattr("penstock.stream.cli.score.load", lambda file: parcels())
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: flow.log)
    monkeypatch.setattr("penstock.stream.roles.start.model_store", lambda *given_: flow.models)
    monkeypatch.setattr("penstock.stream.cli.score.snapshot_of", lambda client, name: (None, None))
    source, out = write(tmp_path / "in.jsonl", events_of(flow)), str(tmp_path / "out.jsonl")
    asked_for = ["score", "x.py", "--in", source, "--out", out, "--features", "history", "--json"]
    assert cli.main(asked_for) == 0
    assert json.loads(capsys.readouterr().out)["model_version"] == "live-then"
    same_as_published(flow, read(out), "parcel")
    assert cli.main([*asked_for, "--models", "live-now"]) == 2
    assert "learn has stored no models" in capsys.readouterr().err
