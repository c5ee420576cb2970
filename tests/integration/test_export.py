"""`penstock export` on a real broker: whoever trains on the file learns what the live model learned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.learn.engine import probability
from penstock.stream.learn.learner import vector
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.operate.training_files import arrow
from penstock.stream.prediction import decode_prediction
from penstock.stream.roles.in_memory import MemoryFlow
from tests.integration.test_kill import PARCELS
from tests.patience import PATIENCE_S
from tests.stream.generated import outs, parcel_events

EVENTS = 600


def all_of(log: KafkaLog, topic: str) -> list[bytes]:
    end = log.bounds([(topic, 0)])[(topic, 0)][1]
    reader = log.reader({(topic, 0): 0})
    found: list[bytes] = []
    while len(found) < end:
        found += [record.value or b"" for record in reader.poll(1_000, 1.0)]
    reader.close()
    return found


@pytest.fixture
def lived(
    kafka_bootstrap: str,
    kafka_log: KafkaLog,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Path, str, dict[str, float]]:
    """A pipeline that lived through a stream: its definition file, its name and its predictions by event id."""
    name, file = unique("export"), tmp_path / "definition.py"
    # with approval the first model alone predicts, as river's own loop over the rows does
    file.write_text(PARCELS.replace("NAME", name).replace("inputs=", "approval=True, inputs=", 1))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    assert cli.main(["topics", str(file), "--create-sources", "--partitions", "2"]) == 0
    stream = [Out(out.topic.replace("parcels", name), *out[1:]) for out in outs(parcel_events(EVENTS))]
    kafka_log.append(stream)
    log: Any = kafka_log
    flow = MemoryFlow(load(file), guard=False, log=log)
    topic = topology.predictions(name)
    until_s = time.monotonic() + PATIENCE_S
    while flow.learn.fold is None or flow.learn.fold.counts.labels + EVENTS < len(stream):
        assert time.monotonic() < until_s, "the flow did not read all"
        flow.featurize.process_batch(0.05)
        flow.learn.process_batch(0.05)
    flow.featurize.close()
    flow.learn.close()
    found = [decode_prediction(value) for value in all_of(kafka_log, topic)]
    assert len(found) == EVENTS
    return file, name, {one.id: one.prediction for one in found}


def test_predictions_made_anew_from_the_rows_are_those_that_were_served(
    lived: tuple[Path, str, dict[str, float]], tmp_path: Path, capsys: Any
) -> None:
    file, name, served = lived
    out = tmp_path / "rows.jsonl"
    capsys.readouterr()
    assert cli.main(["export", name, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert told["rows"] == len(rows) == EVENTS and told["labelled"] > 0.8 * EVENTS
    assert [row["position"] for row in rows] == sorted(row["position"] for row in rows)
    pipeline = load(file)
    names, model = pipeline.vector_names, pipeline.model.clone()
    happened = [(row["at"], 0, row) for row in rows]
    happened += [(row["label_at"], 1, row) for row in rows if row["label"] is not None]
    made = {}
    for _, is_label, row in sorted(happened, key=lambda one: one[:2]):
        x = vector(names, [row[name] for name in names])
        if is_label:
            model.learn_one(x, row["label"])
        else:
            made[row["event_id"]] = probability(model, x)
    assert made == served
    assert len(set(made.values())) > EVENTS // 2, "the model moved"


def test_a_range_in_any_format_holds_the_same_rows(
    lived: tuple[Path, str, dict[str, float]], tmp_path: Path, capsys: Any
) -> None:
    file, name, _ = lived
    assert cli.main(["export", name, "--out", str(tmp_path / "all.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    start, stop = rows[200]["at"], rows[500]["at"]
    span = ["--from", str(start), "--to", str(stop), "--labelled"]
    wanted = [row for row in rows if start <= row["at"] < stop and row["label"] is not None]
    assert any(row["label_at"] >= stop for row in wanted), "some labels come after the range"
    assert cli.main(["export", str(file), "--out", str(tmp_path / "some.jsonl"), *span]) == 0
    assert [json.loads(line) for line in (tmp_path / "some.jsonl").read_text().splitlines()] == wanted
    nothing = ["--out", str(tmp_path / "none.csv"), "--from", "1", "--to", "2"]
    assert cli.main(["export", name, *nothing]) == 1 and not (tmp_path / "none.csv").exists()
    pytest.importorskip("pyarrow")
    assert cli.main(["export", name, "--out", str(tmp_path / "some.parquet"), *span]) == 0
    table = arrow()[1].read_table(tmp_path / "some.parquet")
    names = [one for one in rows[0] if one not in ("at", "label_at")]
    assert table.select(names).to_pylist() == [{name: row[name] for name in names} for row in wanted]
    assert "labelled  " in capsys.readouterr().out


def test_an_unknown_pipeline_is_one_line_with_those_there_are(
    lived: tuple[Path, str, dict[str, float]], tmp_path: Path, capsys: Any
) -> None:
    assert cli.main(["export", "flihgts", "--out", str(tmp_path / "x.csv")]) == 2
    told = capsys.readouterr().err
    assert "no pipeline 'flihgts'" in told and lived[1] in told
