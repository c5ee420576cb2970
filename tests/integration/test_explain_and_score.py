"""`penstock explain` and `penstock score` on a real broker and a real Redis, beside what was published and exported."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from penstock.features.redis.store import connect
from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.prediction import decode_prediction
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from tests.integration.test_export import all_of
from tests.integration.test_kill import PARCELS
from tests.patience import PATIENCE_S
from tests.stream.generated import outs, parcel_events

EVENTS = 400


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.long
def test_past_predictions_are_explained_and_rows_scored_as_the_samples_were(
    kafka_bootstrap: str,
    kafka_log: KafkaLog,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    name, file = unique("explain"), str(tmp_path / "definition.py")
    Path(file).write_text(PARCELS.replace("NAME", name))
    for variable, value in (
        ("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap),
        ("REDIS_URL", valkey_url),
        ("PENSTOCK_SECRET", SECRET),
    ):
        monkeypatch.setenv(variable, value)
    assert cli.main(["topics", file, "--create-sources", "--partitions", "2"]) == 0
    events = [out._replace(topic=out.topic.replace("parcels", name)) for out in outs(parcel_events(EVENTS))]
    kafka_log.append(events)
    log, wall = kafka_log, count(1_700_000_000_000, 10)
    flow = MemoryFlow(load(file), client=connect(valkey_url), log=log, clock=lambda: next(wall))  # type: ignore[arg-type]
    until_s = time.monotonic() + PATIENCE_S
    while flow.learn.fold is None or flow.learn.fold.counts.labels + EVENTS < len(events):
        assert time.monotonic() < until_s, "the flow did not read all"
        flow.featurize.process_batch(0.05)
        flow.learn.process_batch(0.05)
    flow.close()
    told = [decode_prediction(value) for value in all_of(kafka_log, topology.predictions(name))]
    capsys.readouterr()
    for one in (told[3], told[-1]):
        assert cli.main(["explain", file, one.id, "--json"]) == 0
        why = json.loads(capsys.readouterr().out)
        assert why["same_as_published"] is True and why["margin"] == one.prediction

    rows, live = tmp_path / "rows.parquet", ["--json"]
    assert cli.main(["export", name, "--out", str(rows)]) == 0
    assert cli.main(["score", file, "--in", str(rows), "--out", str(tmp_path / "one.jsonl"), *live]) == 0
    asked = [json.loads(out.value or b"") for out in events if out.topic.endswith(".sent")]
    (tmp_path / "sent.jsonl").write_text("".join(json.dumps(event) + "\n" for event in asked))
    sent, two = str(tmp_path / "sent.jsonl"), tmp_path / "two.jsonl"
    asked_for = ["score", file, "--in", sent, "--out", str(two), "--features", "history"]
    assert cli.main([*asked_for, "--models", "live-now"]) == 0
    scored = [read(tmp_path / f"{n}.jsonl") for n in ("one", "two")]
    by_sample = {row["event_id"]: row["prediction"] for row in scored[0]}
    assert {row["parcel"]: row["prediction"] for row in scored[1]} == by_sample and len(by_sample) == EVENTS
    assert [row["parcel"] for row in scored[1]] == [event["parcel"] for event in asked]

    assert cli.main(asked_for) == 0
    then = {row["parcel"]: (row["prediction"], row["model_version"]) for row in read(two)}
    assert then == {one.id: (one.prediction, one.model.version) for one in told}
    log_itself = ["score", file, "--topic", topology.samples(name), "--out", str(two)]
    assert cli.main(log_itself) == 0
    for row in read(two):
        assert (row["published"], row["published_version"]) == then[row["event_id"]]
        assert row["prediction"] == by_sample[row["event_id"]]

    three = str(tmp_path / "three.csv")
    assert cli.main(["score", file, "--in", sent, "--out", three, "--features", "now"]) == 0
    assert len(Path(three).read_text().splitlines()) == EVENTS + 1
