"""`check --sample` over records that other clients choke on: it ends, and says of each what featurize really does with it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Record
from penstock.stream.process.clock import wall_ms
from tests.integration.test_flood import Bytes
from tests.integration.test_looking import DEFINITION
from tests.patience import PATIENCE_S
from tests.stream.generated import card_events

DEEP = b"[" * 1_000 + b"]" * 1_000
DIGITS = b"7" * 5_000
#: A field of an event, what stands in it instead, and why it is a dead letter; None where it is none.
FILTH: list[tuple[str, bytes, str | None]] = [
    ("note", DEEP, "not a JSON object: nested more than 400 deep"),
    ("fraud", DEEP, "not a JSON object: nested more than 400 deep"),
    ("amount", DEEP, "Expected `bool | float | null`, got `array` - at `$.amount`"),
    ("amount", DIGITS, "Number out of range - at `$.amount`"),
    ("payment", DIGITS, "Integer value out of range - at `$.payment`"),
    ("paid_at", DIGITS, "Integer value out of range - at `$.paid_at`"),
    ("fraud", DIGITS, "Integer value out of range - at `$.fraud`"),
    ("note", DIGITS, None),
]


def value(event: dict[str, Any], field: str, instead: bytes) -> bytes:
    return json.dumps({**event, field: "@"}).encode().replace(b'"@"', instead)


def featurized(file: Path, bootstrap: str, prefix: str, records: int) -> list[Record]:
    """The dead letters of a featurize worker that has read so many records."""
    log, server = KafkaLog(bootstrap), MemoryServer()
    worker = FeaturizeWorker(
        load(file), log, lambda task: MemoryStateStore(server, "cards", task), wall_ms, prefix=prefix
    )
    until_s, done, found = time.monotonic() + PATIENCE_S, 0, list[Record]()
    while done < records:
        assert time.monotonic() < until_s, "not done"
        done += worker.process_batch(0.05)
    worker.close()
    topic = topology.dead_letters("cards", prefix)
    end = log.bounds([(topic, 0)])[topic, 0][1]
    reader = log.reader({(topic, 0): 0})
    while len(found) < end:
        found += reader.poll(100, 1.0)
    reader.close()
    log.close()
    return found


def test_a_sample_with_records_that_no_other_client_reads_ends_and_says_what_featurize_does_with_them(
    kafka_bootstrap: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, file = unique("filth"), tmp_path / "definition.py"
    file.write_text(DEFINITION.format(name))
    topic, prefix = f"{name}.paid", f"{name}."
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("PENSTOCK_PREFIX", prefix)
    assert cli.main(["topics", str(file), "--create-sources", "--partitions", "2"]) == 0
    events = [event for _, _, event in card_events(len(FILTH) + 2)]
    sent = [value(event, field, instead) for event, (field, instead, _) in zip(events, FILTH, strict=False)]
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
    # The first of its partition, and the newest of all: nothing before it and nothing behind it is left unread.
    unnamed = [(Bytes("x"), b"1"), ("kept", b"2")]
    for body, event, headers in (
        (json.dumps(events[-2]).encode(), events[-2], unnamed),
        *((body, event, []) for body, event in zip(sent, events, strict=False)),
        (json.dumps(events[-1]).encode(), events[-1], unnamed),
    ):
        producer.send(topic, key=event["card"].encode(), value=body, headers=headers).get(PATIENCE_S)
    producer.close()
    capsys.readouterr()

    assert cli.main(["check", str(file), "--sample", "--json"]) == 1
    [found] = json.loads(capsys.readouterr().out)["sampled"]
    assert (found["records"], found["other_key"], found["other_partition"]) == (len(FILTH) + 2, 0, 0)
    assert cli.main(["check", str(file), "--sample"]) == 1
    told = capsys.readouterr().out
    why = Counter(reason for _, _, reason in FILTH if reason is not None)
    assert f"{why.total()} of {found['records']} (70.0%) would be dead letters" in told
    for reason, count in why.items():
        assert any(
            line.split("×")[0].strip() == str(count) and reason in line for line in told.splitlines()
        ), told
    # A topic with such a record can be looked at before one publishes to it, too.
    lines = tmp_path / "more.ndjson"
    lines.write_text(json.dumps(events[0]) + "\n")
    assert cli.main(["publish", topic, str(lines)]) == 2
    assert f"the records of {topic} have keys" in capsys.readouterr().err

    letters = featurized(file, kafka_bootstrap, prefix, found["records"])
    reasons = [dict(letter.headers)["penstock-reason"] for letter in letters]
    assert Counter(reason.decode() for reason in reasons if reason is not None) == why
