"""The operators' commands on a real broker, from the command line's own entrance."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from penstock.stream import cli, topology
from penstock.stream.control.step import ControlWorker
from penstock.stream.log.admin import existing
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Out, partition_for
from penstock.stream.messages import Command, LiveModel, decode_entry, encode_json
from penstock.stream.process.settings import Settings
from tests.patience import PATIENCE_S
from tests.stream.control.test_step import pipeline

DEFINITION = """
from river import linear_model
from penstock import Label, Pipeline, Source
left, came = Source("{0}.left", id="id", time="at", key="tail"), Source("{0}.came", id="id", time="at", key="tail")
label = Label(came, lambda e: e["late"], fields=("late",))
pipeline = Pipeline("flights", [], left, label, linear_model.LogisticRegression(), ["hour"])
"""


class Roles:
    """Control, and a learn that takes every command but a rollback without a pin, in a thread."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.log, self.prefix = KafkaLog(bootstrap), prefix
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        samples = topology.samples("flights", self.prefix)
        control = ControlWorker(pipeline(), self.log, lambda: 0, prefix=self.prefix)
        reader = self.log.reader({(samples, 0): 0})
        applied: list[str] = []
        refused: dict[str, str] = {}
        while not self.stop.is_set():
            control.process_batch(0.02)
            for record in reader.poll(100, 0.02):
                entry = decode_entry(record.value or b"")
                assert isinstance(entry, Command)
                if entry.verb == "rollback" and not entry.pin:
                    refused[entry.id] = "no version was born before the onset"
                else:
                    applied.append(entry.id)
                live = LiveModel(
                    pipeline="flights",
                    version="v1",
                    why=entry.verb,
                    at=0,
                    position=0,
                    recipe="",
                    applied=applied,
                    refused=refused,
                    change=f"{entry.verb} done: {entry.reason} ({entry.by})",
                    pinned=entry.pin,
                )
                self.log.append([Out(self.prefix + topology.CONTROL_MODELS, b"flights", encode_json(live))])
        reader.close()
        control.close()

    def close(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        self.log.close()


class Place:
    """A prefix of its own, set in the environment, and a definition file."""

    def __init__(self, bootstrap: str, name: str, file: Path) -> None:
        self.settings, self.name, self.file = Settings(bootstrap=bootstrap, prefix=name + "."), name, file
        file.write_text(DEFINITION.format(name))


@pytest.fixture
def place(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    made = Place(kafka_bootstrap, unique("operators"), tmp_path / "definition.py")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("PENSTOCK_PREFIX", made.settings.prefix)
    return made


@pytest.fixture
def roles(place: Place) -> Iterator[Roles]:
    assert cli.main(["topics", str(place.file), "--create-sources"]) == 0
    made = Roles(place.settings.bootstrap, place.settings.prefix)
    yield made
    made.close()


def test_topics_are_created_once_and_never_changed(place, capsys):
    assert cli.main(["topics", str(place.file)]) == 1
    assert f"DIFFERS  {place.name}.left: does not exist" in capsys.readouterr().out
    assert cli.main(["topics", str(place.file), "--create-sources", "--partitions", "3", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (
        sorted(made["created"]) == [f"{place.name}.came", f"{place.name}.left"] and made["differences"] == []
    )
    assert cli.main(["topics", str(place.file), "--create-sources", "--partitions", "5", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["created"] == [] and len(again["existed"]) == 12
    with client(KafkaAdminClient, place.settings) as admin:
        assert existing(admin, [f"{place.name}.left"]) == {f"{place.name}.left": 3}


def test_a_topic_that_differs_is_said_with_both_values(place, capsys):
    samples = topology.samples("flights", place.settings.prefix)
    with client(KafkaAdminClient, place.settings) as admin:
        admin.create_topics(
            {samples: {"num_partitions": 2, "configs": {"retention.ms": "1000"}}}, wait_for_metadata=True
        )
    assert cli.main(["topics", str(place.file), "--create-sources"]) == 1
    told = capsys.readouterr().out
    assert f"{samples}: has 2 partitions, wanted are 1" in told
    assert f"{samples}: retention.ms is 1000, wanted is -1" in told


def test_sources_of_unequal_partitions_are_said(place, capsys):
    with client(KafkaAdminClient, place.settings) as admin:
        admin.create_topics(
            {f"{place.name}.left": {"num_partitions": 2}, f"{place.name}.came": {"num_partitions": 3}},
            wait_for_metadata=True,
        )
    assert cli.main(["topics", str(place.file)]) == 1
    assert "equal partition counts" in capsys.readouterr().out


def test_a_dry_run_creates_nothing(place, capsys):
    assert cli.main(["topics", str(place.file), "--dry-run", "--create-sources"]) == 1
    with client(KafkaAdminClient, place.settings) as admin:
        assert existing(admin, [topology.samples("flights", place.settings.prefix)]) == {}


def test_a_hold_is_asked_for_decided_carried_out_and_told(place, roles, capsys):
    assert cli.main(["hold", "flights", "--reason", "storm", "--by", "mia", "--id", "h1"]) == 0
    told = capsys.readouterr().out
    assert (
        "decision: accepted: asked by a person" in told
        and "live is v1 (hold)" in told
        and told.endswith("carried out: hold done: storm (mia)\n")
    )
    assert cli.main(["hold", "flights", "--reason", "storm", "--by", "mia", "--id", "h1", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["command"]["id"] == "command-h1" and again["live"]["applied"] == ["command-h1"]
    assert cli.main(["watch", "flights", "--from-start", "--no-follow"]) == 0
    story = capsys.readouterr().out
    assert story.index("mia asks to hold: storm") < story.index("hold accepted") and "live is v1" in story


def test_refusals_have_their_exit_code(place, roles, capsys):
    assert cli.main(["rollback", "flights", "--reason", "worse"]) == 1
    assert "learn refused it: no version was born before the onset" in capsys.readouterr().out
    assert cli.main(["promote", "flights", "--reason", "better"]) == 1
    assert "no product of a retrain takes part" in capsys.readouterr().out


def test_a_pin_reaches_learn(place, roles, capsys):
    assert cli.main(["rollback", "flights", "--reason", "stay", "--by", "mia", "--pin", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["command"]["pin"] is True and answer["live"]["pinned"] is True
    assert cli.main(["watch", "flights", "--from-start", "--no-follow"]) == 0
    assert "pinned: it keeps its place whatever labels say" in capsys.readouterr().out


def test_without_roles_the_answer_is_no_answer_and_which_role_is_missing(place, capsys):
    cli.main(["topics", str(place.file), "--create-sources"])
    assert cli.main(["retrain", "flights", "--reason", "monthly", "--wait", "0.3"]) == 3
    assert "no answer of the control role" in capsys.readouterr().err


def test_an_unknown_pipeline_is_one_line_with_those_there_are(place, capsys):
    cli.main(["topics", str(place.file), "--create-sources"])
    assert cli.main(["hold", "flihgts", "--reason", "typo"]) == 2
    assert "no pipeline 'flihgts'" in (told := capsys.readouterr().err) and "there are: flights" in told


@pytest.mark.parametrize("command", [["watch"], ["hold", "flights", "--reason", "x"], ["publish", "t", "-"]])
def test_a_broker_that_is_not_there_is_one_line_and_exit_code_2(command, capsys, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PENSTOCK_CONNECT_TIMEOUT_S", "0.3")
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        ("penstock: Kafka at 127.0.0.1:1 does not answer", "penstock: Kafka at 127.0.0.1:1 did not answer")
    )
    assert "start it, or set KAFKA_BOOTSTRAP_SERVERS to where it is" in error and error.count("\n") == 1


def test_watch_says_which_topic_is_missing(place, capsys):
    assert cli.main(["watch", "--no-follow"]) == 2
    assert "control.retrain' does not exist" in capsys.readouterr().err


def test_a_file_is_published_to_the_partitions_of_its_keys(place, tmp_path, capsys):
    cli.main(["topics", str(place.file), "--create-sources", "--partitions", "3"])
    file = tmp_path / "left.ndjson"
    file.write_bytes(
        b"".join(b'{"tail": "N%d", "n": %d}\n' % (number % 40, number) for number in range(2_000))
    )
    assert cli.main(["publish", f"{place.name}.left", str(file), "--key", "tail", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["records"] == 2_000
    consumer = KafkaConsumer(bootstrap_servers=place.settings.bootstrap, auto_offset_reset="earliest")
    tps = [TopicPartition(f"{place.name}.left", partition) for partition in range(3)]
    consumer.assign(tps)
    seen: list[int] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(seen) < 2_000 and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=200).values():
            assert all(record.partition == partition_for(record.key, 3) for record in records)
            assert [json.loads(one.value)["n"] for one in records] == sorted(
                json.loads(one.value)["n"] for one in records
            )
            seen += [json.loads(record.value)["n"] for record in records]
    consumer.close()
    assert sorted(seen) == list(range(2_000))


def test_a_bad_line_or_file_is_one_line(place, tmp_path, capsys):
    cli.main(["topics", str(place.file), "--create-sources"])
    file = tmp_path / "bad.ndjson"
    file.write_text('{"tail": "N1"}\nnonsense\n')
    assert cli.main(["publish", f"{place.name}.left", str(file), "--key", "tail"]) == 2
    assert "line 2" in capsys.readouterr().err
    assert cli.main(["publish", f"{place.name}.left", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_topic_that_is_not_there_is_not_created_by_publishing(place, tmp_path, capsys):
    file = tmp_path / "left.ndjson"
    file.write_text("{}\n")
    assert cli.main(["publish", f"{place.name}.nowhere", str(file)]) == 2
    assert f"topic '{place.name}.nowhere' does not exist" in capsys.readouterr().err
    with client(KafkaAdminClient, place.settings) as admin:
        assert existing(admin, [f"{place.name}.nowhere"]) == {}
