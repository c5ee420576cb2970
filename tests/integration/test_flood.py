"""A flood of spoilt records on a real broker: nothing good is lost, everything bad is put aside, and nobody stops."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Record
from penstock.stream.stack.kafka import java_missing
from tests.patience import PATIENCE_S
from tests.places import ROOT

MANY = 300


@pytest.mark.long
@pytest.mark.parametrize("form", ["json", "avro", "protobuf"])
def test_every_good_record_counts_and_every_bad_one_is_a_dead_letter_once(form: str, tmp_path: Path) -> None:
    if missing := java_missing():
        pytest.skip(missing)
    file = tmp_path / "flood.json"
    line = ["-m", "tests.flood", "--records", "20000", "--bad", "4000", "--format", form, "--json", str(file)]
    done = subprocess.run([sys.executable, *line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert (found["lost"], found["repeated"], found["wrong"]) == (0, 0, 0)
    assert found["good"] + found["dead_letters"] == 20_000 and found["dead_letters"] > 2_000
    assert found["kinds"]["bomb"]["records"] > 5


class Bytes(str):
    """A header's name that is no text, as producers in other languages can send it."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe name"


def test_a_header_whose_name_is_no_text_stops_no_reader(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    topic = unique("headers")
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_topics({topic: {"num_partitions": 1}}, wait_for_metadata=True)
    admin.close()
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
    # Behind so many that the interpreter has taken its own short way through the loop that reads.
    fine: list[Any] = [("fine", b"3")]
    for headers in (*[fine] * MANY, [(Bytes("x"), b"1"), ("kept", b"2")], fine):
        sent = producer.send(topic, key=b"k", value=b"v", headers=headers)
    sent.get(PATIENCE_S)
    producer.close()
    log = KafkaLog(kafka_bootstrap)
    reader = log.reader({(topic, 0): 0})
    found: list[Record] = []
    while len(found) < MANY + 2:
        found += reader.poll(10 * MANY, 1.0)
    reader.close()
    here = (("fine", b"3"),)
    assert [(one.value, one.headers) for one in found] == [(b"v", here)] * MANY + [(b"v", ()), (b"v", here)]
    log.close()
