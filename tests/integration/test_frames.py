"""Frames of a pipeline on a real broker and a real server: what the commands write, and nobody notices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient

import penstock.frames as ps
from penstock.features.redis.store import connect
from penstock.stream import cli
from penstock.stream.definition_file import load
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.roles.in_memory import MemoryFlow
from tests.integration.test_kill import PARCELS
from tests.patience import PATIENCE_S
from tests.stream.generated import outs, parcel_events

EVENTS = 300


def in_ms(row: dict[str, Any]) -> dict[str, Any]:
    return {n: round(v.timestamp() * 1000) if isinstance(v, datetime) else v for n, v in row.items()}


def test_frames_of_a_pipeline_that_runs_are_what_the_commands_write(
    kafka_bootstrap: str,
    kafka_log: KafkaLog,
    valkey: redis.Redis,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = unique("frames")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("REDIS_URL", valkey_url)
    Path("it.py").write_text(PARCELS.replace("NAME", name))
    assert cli.main(["topics", "it.py", "--create-sources", "--partitions", "2"]) == 0
    stream = [Out(out.topic.replace("parcels", name), *out[1:]) for out in outs(parcel_events(EVENTS))]
    kafka_log.append(stream)
    log: Any = kafka_log
    flow = MemoryFlow(load("it.py"), log=log, client=connect(valkey_url))
    until_s = time.monotonic() + PATIENCE_S
    while flow.learn.fold is None or flow.learn.fold.counts.labels + EVENTS < len(stream):
        assert time.monotonic() < until_s, "the flow did not read all"
        flow.featurize.process_batch(0.05)
        flow.learn.process_batch(0.05)
    for role in (flow.featurize, flow.learn, flow.control):
        role.close()
    assert cli.main(["export", name, "--out", "rows.jsonl"]) == 0
    wanted = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)

    def stands() -> Any:
        """Groups of this pipeline (other tests use the broker, too), and all that Redis holds."""
        groups = {str(group) for group in admin.list_groups() if name in str(group)}
        return groups, {key: valkey.dump(key) for key in valkey.scan_iter()}

    before = stands()
    with ps.connect("it.py", frames="arrow") as found:
        assert [in_ms(row) for row in found.training_set().to_pylist()] == wanted
        predicted = found.predictions(labels=True).to_pylist()
        served = found.features("depot").to_pylist()
        assert found.history(by="hour").num_rows > 0 and found.episodes().num_rows == 0
    assert [row["event_id"] for row in predicted] == [row["event_id"] for row in wanted]
    assert [row["label"] for row in predicted] == [row["label"] for row in wanted]
    assert [row["entity"] for row in served] == ["d0", "d1", "d2", "d3"]
    assert stands() == before
    admin.close()
