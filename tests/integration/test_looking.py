"""Commands that look and change nothing, on a real broker: check --sample, status, and names that are not there."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient, KafkaProducer

from penstock.features.redis.store import MemoryServer, MemoryStateStore, connect
from penstock.stream import cli, topology
from penstock.stream.control.state import PolicyState, encode_state
from penstock.stream.definition_file import load
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.retrain import InlineRetrainer
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Out
from penstock.stream.messages import ControlData, ControlEvent, LiveModel, encode_json
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import card_events, cards

DEFINITION = """
from river import linear_model, preprocessing
from penstock import Label, Pipeline, Source, View, count
paid = Source("{0}.paid", id="payment", time="paid_at", key="card")
pipeline = Pipeline(
    "cards", [View("card", paid, key="card", features=dict(paid_1h=count("1h")))], paid,
    Label(paid, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    preprocessing.StandardScaler() | linear_model.LogisticRegression(), ["amount"],
)
"""
PARTITIONS = 3


class Place:
    """A pipeline of its own on the broker."""

    def __init__(self, bootstrap: str, name: str, folder: Path) -> None:
        self.name, self.file, self.folder = name, folder / "definition.py", folder
        self.file.write_text(DEFINITION.format(name))
        self.settings = Settings(bootstrap=bootstrap, prefix=name + ".")
        self.topic = f"{name}.paid"

    def write(self, number: int) -> Path:
        path = self.folder / "paid.ndjson"
        path.write_text("".join(json.dumps(event) + "\n" for _, _, event in card_events(number)))
        return path


@pytest.fixture
def place(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    made = Place(kafka_bootstrap, unique("looking"), tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("PENSTOCK_PREFIX", made.settings.prefix)
    assert cli.main(["topics", str(made.file), "--create-sources", "--partitions", str(PARTITIONS)]) == 0
    yield made


def test_a_sample_of_what_publish_wrote_by_the_definition_is_all_right(place, capsys):
    lines = str(place.write(200))
    assert cli.main(["publish", place.topic, lines, "--file", str(place.file)]) == 0
    assert cli.main(["check", str(place.file), "--sample", "--records", "90"]) == 0
    told = capsys.readouterr().out
    assert "all right: types, times, keys and partitions" in told and f"{PARTITIONS} partitions" in told
    assert cli.main(["check", str(place.file), "--sample", place.topic, "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["sampled"]
    assert found["records"] == 200 and found["wrong"] is False


def test_a_producer_with_another_partitioner_and_seconds_is_told_so(place, capsys):
    with client(KafkaProducer, place.settings) as producer:
        for number, (_, key, event) in enumerate(card_events(60)):
            if number % 2:
                event["paid_at"] //= 1_000
            part = zlib.crc32(key.encode()) % PARTITIONS
            producer.send(place.topic, key=key.encode(), value=json.dumps(event).encode(), partition=part)
    assert cli.main(["check", str(place.file), "--sample"]) == 1
    told = capsys.readouterr().out
    assert "set partitioner=murmur2_random" in told
    assert "is it in seconds? Then it means 2023-11-1" in told


def test_a_sample_of_no_source_or_of_a_missing_topic_is_one_line(place, capsys):
    assert cli.main(["check", str(place.file), "--sample", "other"]) == 2
    assert f"no source 'other'; there are: {place.topic}" in capsys.readouterr().err
    gone = place.folder / "gone.py"
    gone.write_text(DEFINITION.format(place.name + ".gone"))
    assert cli.main(["check", str(gone), "--sample"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_records_without_keys_are_refused_where_records_have_keys(place, capsys):
    lines = str(place.write(20))
    assert cli.main(["publish", place.topic, lines]) == 0  # nothing to compare with yet
    assert cli.main(["publish", place.topic, lines, "--key", "card"]) == 0
    assert cli.main(["publish", place.topic, lines]) == 2
    told = capsys.readouterr().err
    assert f"the records of {place.topic} have keys, such as 'c" in told and "--no-key" in told
    assert cli.main(["publish", place.topic, lines, "--no-key"]) == 0
    assert cli.main(["publish", "other", lines, "--file", str(place.file)]) == 2
    assert f"has no source 'other'; it has: {place.topic}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "watch"])
def test_a_pipeline_that_is_not_there_is_one_line_with_those_there_are(command, place, capsys):
    assert cli.main([command, "crads"]) == 2
    told = capsys.readouterr().err
    assert "no pipeline 'crads'" in told and "there are: cards (did you mean 'cards'?)" in told
    assert cli.main(["status", "cards.py"]) == 2
    assert (
        "'cards.py' is a file, and a pipeline's name is wanted here; there are: cards"
        in capsys.readouterr().err
    )


def run_roles(place: Place, log: KafkaLog) -> tuple[FeaturizeWorker, LearnWorker]:
    """featurize and learn, with all of the topic worked on, still in their groups."""
    pipeline, server, prefix = load(place.file), MemoryServer(), place.settings.prefix
    featurize = FeaturizeWorker(
        pipeline,
        log,
        lambda task: MemoryStateStore(server, "cards", task),
        wall_ms,
        prefix=prefix,
        instance_id="f0",
    )
    models = MemoryModelStore()
    retrainer = InlineRetrainer(pipeline, log, models, prefix)
    store = MemoryStateStore(server, "cards", "learn")
    learn = LearnWorker(
        pipeline, log, store, models, retrainer, "s", wall_ms, prefix=prefix, instance_id="l0"
    )
    until_s = time.monotonic() + 120
    turns_after = 0
    while turns_after < 5:
        assert time.monotonic() < until_s, "not done"
        featurize.process_batch(0.05)
        learn.process_batch(0.05)
        turns_after += learn.fold is not None and learn.fold.counts.joined == 900
    return featurize, learn


def test_status_says_who_runs_how_good_the_model_is_and_what_is_wrong(place, capsys):
    lines = str(place.write(900))
    cli.main(["publish", place.topic, lines, "--file", str(place.file)])
    with client(KafkaProducer, place.settings) as producer:
        producer.send(place.topic, key=b"k", value=b"no JSON 17")
    log = KafkaLog(place.settings.bootstrap)
    featurize, learn = run_roles(place, log)
    capsys.readouterr()
    asked_s = time.time()
    assert cli.main(["status", "cards", "--json"]) == 1
    answered_s = time.time()
    found = json.loads(capsys.readouterr().out)
    assert found["wrong"] == ["nobody runs control: penstock run FILE --role control"]
    assert found["roles"]["featurize"] == {"members": [f"f0 at {_host(found, 'featurize')}"], "lag": 0}
    assert found["roles"]["learn"]["members"][0].startswith("l0 at ") and found["roles"]["learn"]["lag"] == 0
    assert (found["samples"], found["labels"], found["pending"]) == (900, 900, 0)
    assert found["scores"]["labels"] == 900 and found["scores"]["loss"] < found["scores"]["base_loss"]
    assert 0.6 < found["scores"]["auc"] <= 1.0
    assert found["dead_letters"] == 1 and found["newest_dead_letters"][0]["topic"] == place.topic
    assert learn.fold is not None and found["tick_age_s"] < 600
    assert asked_s - 1 <= learn.fold.at / 1000 + found["event_age_s"] <= answered_s + 1

    say_bad_news(place, log)
    assert cli.main(["status", "cards"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("cards: something is wrong\n!! nobody runs control")
    assert "!! learning is held: penstock resume cards" in told
    assert "!! harm of loss is firing" in told
    assert "psi of amount" not in told.split("open ")[0]
    assert "live       v7: because" in told
    assert "!! waits for a person: rollback" in told and "(request r9)" in told
    featurize.close()
    learn.close()
    log.close()


def _host(found: dict, role: str) -> str:
    return found["roles"][role]["members"][0].partition(" at ")[2]


def say_bad_news(place: Place, log: KafkaLog) -> None:
    """What learn would publish of a hold, of an episode that fires, and of one that is over."""
    live = LiveModel(pipeline="cards", version="v7", why="because", at=0, position=0, recipe="", held=True)
    outs = [Out(place.settings.prefix + topology.CONTROL_MODELS, b"cards", encode_json(live))]
    told = [
        ("e1", "harm", "loss", "firing"),
        ("e2", "psi", "amount", "firing"),
        ("e2", "psi", "amount", "resolved"),
    ]
    for number, (episode, kind, subject, state) in enumerate(told):
        data = ControlData(
            pipeline="cards", episode=episode, kind=kind, state=state, severity="info", reason="r", detector={},
            since={"at": 0}, detected_at={"at": 0}, suggested_action="note",
        )  # fmt: skip
        event = ControlEvent(
            id=f"{episode}-{number}",
            source="penstock/cards",
            type="penstock.note",
            subject=subject,
            time="",
            data=data,
        )
        outs.append(Out(place.settings.prefix + topology.CONTROL_ALERTS, b"cards", encode_json(event)))
    changelog = topology.policy_changelog("cards", place.settings.prefix)
    with client(KafkaAdminClient, place.settings) as admin:
        ensure(admin, [changelog])
    state = PolicyState("cards", waiting={"r9": "rollback"})
    log.append([*outs, Out(changelog.name, b"cards", encode_state(state), (), 0)])


def test_features_of_a_pipeline_or_view_that_is_not_served_name_those_that_are(
    valkey: redis.Redis, valkey_url: str, monkeypatch, capsys
):
    monkeypatch.setenv("REDIS_URL", valkey_url)
    assert cli.main(["features", "get", "card", "c1", "--pipeline", "cards"]) == 2
    assert "there are: none" in capsys.readouterr().err
    flow = MemoryFlow(cards(), client=connect(valkey_url))
    flow.feed([Out(topic, key.encode(), json.dumps(event).encode()) for topic, key, event in card_events(50)])
    flow.settle()
    flow.close()
    assert cli.main(["features", "get", "card", "c1", "--pipeline", "crads"]) == 2
    told = capsys.readouterr().err
    assert "no pipeline 'crads'" in told and "there are: cards (did you mean 'cards'?)" in told
    assert cli.main(["features", "get", "crad", "c1", "--pipeline", "cards"]) == 2
    assert "serves no view 'crad'; its views: card" in capsys.readouterr().err
    assert cli.main(["features", "get", "card", "nobody", "--pipeline", "cards"]) == 1
    assert "nobody: not found" in capsys.readouterr().out
