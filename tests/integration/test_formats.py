"""Avro of two schemas through a real broker, by the command line and a featurize process whose registry comes late."""

from __future__ import annotations

import json
import os
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaProducer

from penstock.features.read.client import FeatureReader
from penstock.stream import cli, topology
from penstock.stream.demo.processes import Role
from penstock.stream.formats.wire import framed
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.process.clock import wall_ms
from penstock.stream.stack.server import free_ports
from tests.patience import PATIENCE_S, eventually
from tests.schema_registry import RegistryServer
from tests.stream.formats.paid import V1, V2, as_avro

DEFINITION = """
from river import linear_model, preprocessing
from penstock import Label, Pipeline, Source, View, count, mean
paid = Source("NAME.paid", id="id", time="at", key="card", format="avro")
pipeline = Pipeline(
    "NAME", [View("card", paid, key="card", features=dict(paid=count("7d"), mean=mean("amount", "7d")))], paid,
    Label(paid, "fraud", wait="1h"), preprocessing.StandardScaler() | linear_model.LogisticRegression(), ["amount"],
)
"""
ROOT = Path(__file__).parents[2]


class Place:
    """A pipeline of its own on the broker; its registry has a port and does not run."""

    def __init__(self, bootstrap: str, redis_url: str, name: str, folder: Path) -> None:
        self.name, self.topic, self.folder = name, f"{name}.paid", folder
        self.file = folder / "definition.py"
        self.file.write_text(DEFINITION.replace("NAME", name))
        self.registry = RegistryServer()
        self.registry.port = free_ports(1)[0]
        self.env = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "REDIS_URL": redis_url,
            "PENSTOCK_SCHEMA_REGISTRY_URL": self.registry.url,
        }
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)
        self.start_ms = wall_ms() - 3_600_000

    def publish(self, count: int) -> list[dict[str, Any]]:
        """Payments in the first schema, then in the second, then what nobody can read."""
        chance, events = random.Random(5), []
        for n in range(count):
            card, amount = f"c{chance.randrange(5)}", round(chance.random() * 90, 2)
            event = {"id": f"p{n}", "at": self.start_ms + n * 100, "card": card, "amount": amount}
            events.append({**event, "online": True, "fraud": n % 7 == 0})
        for n, event in enumerate(events):
            value = as_avro(event, 1 if n < count // 2 else 2)
            self.producer.send(self.topic, key=event["card"].encode(), value=value)
        for value in (framed(9, b"no such schema"), as_avro(events[0])[:-3], b"{}      "):
            self.producer.send(self.topic, key=b"c0", value=value)
        self.producer.flush()
        return events


@pytest.fixture
def place(
    kafka_bootstrap: str,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    made = Place(kafka_bootstrap, valkey_url, unique("formats"), tmp_path)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["topics", str(made.file), "--create-sources", "--partitions", "2"]) == 0
    yield made
    made.producer.close()


def ready(role: Role) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{role.port}/readyz", timeout=PATIENCE_S) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_avro_of_two_schemas_becomes_features_once_its_registry_is_there(
    place: Place, kafka_log: KafkaLog, valkey: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", str(place.file)]) == 0
    told = capsys.readouterr().out
    assert "Avro behind the id of their schema in the registry" in told and place.registry.url in told
    events = place.publish(600)
    assert cli.main(["check", str(place.file), "--sample"]) == 2
    assert "start it, or correct PENSTOCK_SCHEMA_REGISTRY_URL" in capsys.readouterr().err

    env = {**os.environ, **place.env, "PENSTOCK_SECRET": "here", "PYTHONPATH": str(ROOT)}
    role = Role("featurize", str(place.file), env, place.folder)
    try:
        assert eventually(lambda: "not in touch with the schema registry" in ready(role)[1]), (
            role.last_lines()
        )
        place.registry.register("paid-value", json.dumps(V1))
        place.registry.register("paid-value", json.dumps(V2))
        with place.registry:
            samples = (topology.samples(place.name), 0)
            dead = (topology.dead_letters(place.name), 0)
            assert eventually(lambda: kafka_log.bounds([dead])[dead][1] == 3), role.last_lines()
            assert eventually(lambda: ready(role)[0] == 200), role.last_lines()
            assert eventually(lambda: len(found(kafka_log, samples)) == 600), role.last_lines()
            asked = [path for path in place.registry.asked if path.startswith("/schemas/ids/")]
            assert len(asked) == len(set(asked)) == 3
            assert cli.main(["check", str(place.file), "--sample", "--json"]) == 1
            [judged] = json.loads(capsys.readouterr().out.splitlines()[-1])["sampled"]
            assert judged["schemas"] == {"1": 301, "2": 300, "9": 1} and sum(judged["dead"].values()) == 3
    finally:
        role.stop()
    assert {one.id for one in found(kafka_log, samples)} == {event["id"] for event in events}
    reader = FeatureReader(valkey, place.name)
    for card in {event["card"] for event in events}:
        own = [event["amount"] for event in events if event["card"] == card]
        [features] = reader.read([("card", card)])
        assert features.values["paid"] == len(own)
        assert features.values["mean"] == pytest.approx(sum(own) / len(own), rel=1e-9)
    log = role.path.read_text()
    assert "does not answer" in log and "Traceback" not in log


def found(log: KafkaLog, tp: tuple[str, int]) -> list[Sample]:
    end, reader, samples = log.bounds([tp])[tp][1], log.reader({tp: 0}), []
    try:
        while reader.positions()[tp] < end:
            for record in reader.poll(1_000, 1.0):
                entry = decode_entry(record.value or b"")
                samples += [entry] if isinstance(entry, Sample) else []
    finally:
        reader.close()
    return samples
