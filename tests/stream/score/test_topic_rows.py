"""Ranges of topics as rows: what another version says of what was logged, beside what was published then."""

from __future__ import annotations

import json
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from penstock.stream import cli, topology
from penstock.stream.log.protocol import Out
from penstock.stream.messages import rfc3339
from penstock.stream.models.version import Version
from penstock.stream.prediction import decode_prediction
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from penstock.stream.score.models import One, scorer
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.run import Job, Summary, score
from penstock.stream.score.then import Then
from penstock.stream.score.topic_rows import EventRows, Range, Samples, range_of
from tests.stream.generated import SENT, outs, parcel_events, parcels
from tests.stream.learn.task_courses import pipeline_of
from tests.stream.naive_flow import everything
from tests.stream.score.test_score import Heard, live, read, samples, stored
from tests.stream.score.test_then import label_of

TOPICS = (topology.samples("parcels"), topology.predictions("parcels"))


def flow_of(partitions: int = 2, pipeline: Any = None) -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(pipeline or parcels(), partitions=partitions, clock=lambda: next(wall))
    flow.feed(outs(parcel_events(300)))
    flow.settle()
    return flow


@pytest.fixture(scope="module")
def flow() -> MemoryFlow:
    return flow_of()


def published(flow: MemoryFlow) -> dict[str, Any]:
    said = [decode_prediction(record.value or b"") for record in everything(flow.log, TOPICS[1])]
    return {one.id: one for one in said}


def run(flow: MemoryFlow, rows: Any, out: Path, features: Any, by: Any) -> Summary:
    job = Job(flow.pipeline, rows, str(out), features)
    return score(job, by, log=flow.log, reads=None, progress=lambda what, done, total: None)


def logged(flow: MemoryFlow, of: Range) -> Samples:
    return Samples(flow.pipeline, flow.log, TOPICS, of)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_samples_are_scored_by_another_model_beside_what_was_published(
    flow: MemoryFlow, tmp_path: Path, form: str
) -> None:
    every, told, models = samples(flow), published(flow), live(flow)
    first, last = every[100].at, every[200].at
    of, out = range_of(rfc3339(first), str(last)), tmp_path / f"out.{form}"
    done = run(flow, logged(flow, of), out, "logged", models)
    found = read(str(out))
    wanted = [one for one in every if first <= one.at < last]
    assert (done.rows, done.predicted) == (len(wanted), len(wanted)) and 90 < len(wanted) < 110
    assert list(found[0]) == [
        "event_id", "key", "at", "position", "published", "published_version",
        "prediction", "model_version", "scored.position", "recipe", "error",
    ]  # fmt: skip
    for row, one in zip(found, wanted, strict=True):
        then = told[one.id]
        assert (row["event_id"], int(row["at"]), int(row["position"])) == (one.id, one.at, then.position)
        assert (float(row["published"]), row["published_version"]) == (then.prediction, then.model.version)
        assert float(row["prediction"]) == models.answer(one.id, one.at, one.x).prediction
        assert int(row["scored.position"]) == models.replica.position
    assert any(float(row["prediction"]) != float(row["published"]) for row in found)
    if form == "parquet":
        types = {field.name: str(field.type) for field in pyarrow.parquet.read_schema(out)}
        assert (types["position"], types["published"], types["event_id"]) == ("int64", "double", "string")


def test_by_the_models_of_then_the_log_says_what_was_published(flow: MemoryFlow, tmp_path: Path) -> None:
    by = Then(flow.pipeline, flow.log, TOPICS[0])
    run(flow, logged(flow, range_of("@50", "@400")), tmp_path / "out.jsonl", "logged", by)
    found = read(str(tmp_path / "out.jsonl"))
    assert len(found) > 100 and all(50 <= row["position"] < 400 for row in found)
    for row in found:
        assert (row["prediction"], row["model_version"]) == (row["published"], row["published_version"])
        assert row["position"] == row["scored.position"]


def test_classes_are_published_as_text(tmp_path: Path) -> None:
    flow = flow_of(pipeline=pipeline_of("multiclass", **label_of("multiclass")))
    by = Then(flow.pipeline, flow.log, TOPICS[0])
    run(flow, logged(flow, range_of(None, None)), tmp_path / "out.parquet", "logged", by)
    found = read(str(tmp_path / "out.parquet"))
    assert len(found) == 300 and all(row["prediction"] == row["published"] for row in found)
    assert {type(row["published"]) for row in found[-50:]} == {str}


def test_repeats_are_no_rows_and_samples_of_another_definition_say_so(tmp_path: Path) -> None:
    flow = flow_of()
    log = everything(flow.log, TOPICS[0])
    flow.log.append([Out(TOPICS[0], record.key, record.value) for record in log[-20:]])
    rows = Samples(flow.pipeline, flow.log, TOPICS, range_of(None, None))
    assert sum(len(batch.rows) for batch in rows.batches([])) == 300
    other = parcels(inputs=[])
    found = Samples(other, flow.log, TOPICS, range_of(None, None))
    done = run(flow, found, tmp_path / "out.jsonl", "logged", live(flow))
    assert (done.rows, done.predicted) == (300, 0)
    assert f"was written under definition {flow.pipeline.digest}" in done.errors[0]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_events_of_the_topic_are_rows_as_they_stand_and_get_the_vectors_of_their_samples(
    flow: MemoryFlow, tmp_path: Path, form: str
) -> None:
    every, told, heard = samples(flow), published(flow), Heard(flow.pipeline)
    first, last = every[50].at, every[150].at
    rows = EventRows(flow.pipeline, flow.log, TOPICS[1], range_of(str(first), rfc3339(last)))
    out = tmp_path / f"out.{form}"
    run(flow, rows, out, "history", heard)
    found = read(str(out))
    assert heard.vectors == {one.id: one.x for one in every if first <= one.at < last}
    records = {
        json.loads(record.value or b"")["parcel"]: record for record in everything(flow.log, SENT.name)
    }
    places = [(int(row["partition"]), int(row["offset"])) for row in found]
    assert places == sorted(places) and {place for place, _ in places} == {0, 1}
    for row in found:
        record = records[row["parcel"]]
        assert (int(row["partition"]), int(row["offset"])) == (record.partition, record.offset)
        assert float(row["published"]) == told[row["parcel"]].prediction
        if form == "jsonl":
            event = json.loads(record.value or b"")
            assert {name: row[name] for name in event} == event
    again = tmp_path / f"again.{form}"
    run(flow, EventRows(flow.pipeline, flow.log, TOPICS[1], rows.of), again, "history", Heard(flow.pipeline))
    assert again.read_bytes() == out.read_bytes()


def test_what_is_no_event_is_a_row_with_an_error_unless_times_are_asked_for(tmp_path: Path) -> None:
    flow = flow_of(partitions=1)
    flow.log.append(
        [
            Out(SENT.name, b"k", b"not json"),
            Out(SENT.name, b"k", None),
            Out(SENT.name, b"k", b'{"parcel":\n "x",\n "sent_at": "never"}'),
        ]
    )
    high = flow.log.bounds([(SENT.name, 0)])[(SENT.name, 0)][1]
    rows = EventRows(flow.pipeline, flow.log, TOPICS[1], range_of(f"@{high - 5}", None))
    done = run(flow, rows, tmp_path / "out.jsonl", "history", Heard(flow.pipeline))
    found = read(str(tmp_path / "out.jsonl"))
    assert (done.rows, done.predicted) == (5, 2)
    assert [row["offset"] for row in found] == list(range(high - 5, high))
    assert [row["error"] for row in found[2:4]] == ["the record is no JSON object"] * 2
    assert "sent_at" in found[4]["error"] or "required field" in found[4]["error"]
    timed = EventRows(flow.pipeline, flow.log, TOPICS[1], range_of("0", None))
    assert timed.count == 300


def test_ranges_are_of_times_or_of_offsets(flow: MemoryFlow) -> None:
    for ends, why in (
        (("@5", "@5"), "nothing lies between @5 and @5"),
        (("@x", None), "--from @x: an offset is written as @59010"),
        (("yesterday", None), "RFC 3339"),
        (("10", "5"), "nothing lies between 10 and 5"),
    ):
        with pytest.raises(CannotScore, match=why):
            range_of(*ends)
    with pytest.raises(CannotScore, match="2 partitions, each with its own offsets"):
        EventRows(flow.pipeline, flow.log, TOPICS[1], range_of("@1", None))
    with pytest.raises(CannotScore, match="--topic: .*does not exist"):
        Samples(flow.pipeline, flow.log, ("no.samples", "no.predictions"), range_of(None, None))
    without = Samples(flow.pipeline, flow.log, (TOPICS[0], "no.predictions"), range_of(None, "@30"))
    (batch,) = without.batches([])
    assert set(batch.beside["published"]) == {None}


# -- the command -----------------------------------------------------------------------------------------------------------------


def test_the_command_scores_the_log_with_another_version(
    tmp_path: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as often:
        often.setattr("penstock.stream.learn.births.FREEZE_EVERY", 60)
        flow = flow_of()
        flow.close()
    version: Version = flow.models.versions()[-1]
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("PENSTOCK_SECRET", SECRET)
    monkeypatch.setattr("penstock.stream.cli.score.load", lambda file: parcels())
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: flow.log)
    monkeypatch.setattr(
        "penstock.stream.cli.score.scorer",
        lambda pipeline, found, wanted: scorer(pipeline, stored(flow), wanted),
    )
    out = str(tmp_path / "out.parquet")
    line = ["score", "x.py", "--topic", TOPICS[0], "--from", "@20", "--out", out]
    assert cli.main([*line, "--models", version.id, "--json"]) == 0
    said, found = json.loads(capsys.readouterr().out), read(out)
    assert (said["in"], said["features"], said["model_version"]) == (TOPICS[0], "logged", version.id)
    by, every = scorer(flow.pipeline, stored(flow), version.id), {one.id: one for one in samples(flow)}
    assert isinstance(by, One)
    for row in found:
        one = every[row["event_id"]]
        assert row["prediction"] == by.answer(one.id, one.at, one.x).prediction
        assert row["model_version"] == version.id and row["published"] is not None
    events = [
        "score",
        "x.py",
        "--topic",
        SENT.name,
        "--out",
        str(tmp_path / "out.jsonl"),
        "--models",
        "live-now",
    ]
    assert cli.main(events) == 0
    assert "rows      300, 300 predicted" in capsys.readouterr().out
    for more, why in (
        (
            ["--topic", "other"],
            "--topic is the samples log, parcels.samples, or the predicted events, parcels.sent",
        ),
        (["--topic", TOPICS[0], "--features", "history"], "leave --features out"),
        (["--topic", SENT.name, "--features", "columns"], "have no features"),
        (["--in", "x.csv", "--from", "@1"], "--from and --to are of a --topic"),
    ):
        assert cli.main(["score", "x.py", "--out", str(tmp_path / "no.csv"), *more]) == 2
        assert why in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()
