"""Labels by key and time on a real broker: what is learned and exported is what a naive look at the events says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.stream import cli
from penstock.stream.definition_file import load
from penstock.stream.learn.replay import replay
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.roles.in_memory import MemoryFlow
from tests.patience import PATIENCE_S
from tests.stream.plant import happenings, outcomes

DEFINITION = """
from river import linear_model, preprocessing
from penstock import Label, Pipeline, Source, View, count

read = Source("NAME.read", id="reading", time="at", key="machine")
failed = Source("NAME.failed", id="failure", time="failed_at", key="machine")
pipeline = Pipeline(
    "NAME", views=[View("machine", read, key="machine", features=dict(read_1h=count("1h")))], predict=read,
    inputs=["heat", "flow"], label=Label(failed, key=("site", "machine"), within="30m", absent=False),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""
HAPPENED = list(happenings(600))


def test_a_label_by_key_and_time_from_kafka_to_the_training_set(
    kafka_bootstrap: str,
    kafka_log: KafkaLog,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    name, file = unique("plant"), tmp_path / "definition.py"
    file.write_text(DEFINITION.replace("NAME", name))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    assert cli.main(["topics", str(file), "--create-sources", "--partitions", "2"]) == 0
    kafka_log.append([Out(one.out.topic.replace("plant", name), *one.out[1:]) for one in HAPPENED])
    log: Any = kafka_log
    flow = MemoryFlow(load(file), guard=False, log=log)
    until_s = time.monotonic() + PATIENCE_S
    while flow.learn.fold is None or flow.learn.fold.counts.samples + flow.learn.fold.counts.labels < len(
        HAPPENED
    ):
        assert time.monotonic() < until_s, "the flow did not read all"
        flow.featurize.process_batch(0.05)
        flow.learn.process_batch(0.05)
    flow.featurize.close()
    fold = flow.learn.fold
    stop, waiting = fold.position, len(fold.pending)
    assert (
        replay(flow.pipeline, kafka_log, flow.learn.topic, stop=stop, guard=False).digest() == fold.digest()
    )
    flow.learn.close()
    capsys.readouterr()

    out = tmp_path / "rows.jsonl"
    assert cli.main(["export", name, "--out", str(out), "--labelled", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    wanted = outcomes(HAPPENED)
    assert {row["event_id"]: row["label"] for row in rows}.items() <= wanted.items()
    assert fold.counts.joined >= len(wanted) - waiting > 500
    assert (told["rows"], told["true"], told["defaults"]) == (
        fold.counts.joined,
        fold.counts.joined - fold.counts.absent,
        fold.counts.absent,
    )
    assert cli.main(["status", name, "--json"]) in (0, 1)
    status = json.loads(capsys.readouterr().out)
    assert status["pending"] == waiting and status["scores"]["labels"] == fold.counts.joined
