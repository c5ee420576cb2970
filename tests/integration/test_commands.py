"""The commands that look back or start over, on a real broker and a real Redis, against a pipeline that really ran."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from river import tree

from penstock.features.redis.store import RedisStateStore, connect
from penstock.stream import cli, topology
from penstock.stream.challenge.worker import ChallengeWorker
from penstock.stream.control import role
from penstock.stream.definition_file import load
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.retrain import InlineRetrainer
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, LabelRecord, OperatorRequest, Sample, encode_entry, encode_json
from penstock.stream.models.store import RedisModelStore
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.settings import Settings
from tests.patience import PATIENCE_S
from tests.stream.generated import parcel_events

SECRET, PARTITIONS = "for these tests", 2
DEFINITION = """
from river import linear_model, preprocessing
from penstock import View, count, mean
from penstock import Label, Pipeline, Source
sent = Source("{0}.sent", id="parcel", time="sent_at", key="van")
delivered = Source("{0}.delivered", id="parcel", time="done_at", key="van")
pipeline = Pipeline(
    "parcels",
    [View("depot", delivered, key="depot", features=dict(late_3h=mean("late", "3h"), done_1h=count("1h")))],
    sent,
    Label(delivered, lambda e: e["late"] > 15, wait="6h", fields=("late",)),
    preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    ["weight"],
)
"""


class Place:
    """A pipeline's definition, topics, folder and Redis, and its roles whenever they are wanted."""

    def __init__(self, bootstrap: str, redis_url: str, name: str, folder: Path) -> None:
        self.name, self.file, self.folder = name, str(folder / "definition.py"), folder / "versions"
        Path(self.file).write_text(DEFINITION.format(name))
        self.settings = Settings(bootstrap=bootstrap, redis_url=redis_url, prefix=name + ".")
        self.log, self.redis = KafkaLog(bootstrap), connect(redis_url)
        self.pipeline = load(self.file)
        self.samples = topology.samples("parcels", self.settings.prefix)
        self.deployed = topology.deployed("parcels", self.settings.prefix)

    def publish(self, number: int) -> None:
        self.log.append(
            [
                Out(topic.replace("parcels", self.name), key.encode(), json.dumps(event).encode())
                for topic, key, event in parcel_events(number)
            ]
        )

    def featurize(self) -> FeaturizeWorker:
        store_of = lambda task: RedisStateStore(self.redis, self.deployed, task)  # noqa: E731
        return FeaturizeWorker(self.pipeline, self.log, store_of, wall_ms, prefix=self.settings.prefix)

    def learn(self, *, guard: bool = True) -> LearnWorker:
        models = RedisModelStore(self.redis, "parcels", SECRET, str(self.folder), self.settings.prefix)
        prefix = self.settings.prefix
        retrainer = InlineRetrainer(self.pipeline, self.log, models, prefix)
        store = RedisStateStore(self.redis, self.deployed, "learn")
        given = (self.pipeline, self.log, store, models, retrainer, SECRET, wall_ms)
        return LearnWorker(*given, prefix=prefix, guard=guard)

    def run(self, *workers: FeaturizeWorker | LearnWorker) -> None:
        """Turn these until everything there is has been worked on, and end them."""
        sources = [(source.name, part) for source in self.pipeline.sources for part in range(PARTITIONS)]
        until = time.monotonic() + PATIENCE_S
        quiet = 0
        while quiet < 3:
            assert time.monotonic() < until, "not done"
            worked = sum(worker.process_batch(0.02) for worker in workers)
            ends = {tp: bounds[1] for tp, bounds in self.log.bounds([*sources, (self.samples, 0)]).items()}
            done = all(
                worker.fold is not None and worker.fold.position == ends[self.samples, 0]
                if isinstance(worker, LearnWorker)
                else all(worker.committed.get(tp, 0) == ends[tp] for tp in sources if ends[tp])
                for worker in workers
            )
            quiet = quiet + 1 if done and not worked else 0
        for worker in workers:
            worker.close()

    def entries(self) -> list[Any]:
        """The samples and labels of the log."""
        from penstock.stream.learn.entries import entries

        stop = self.log.bounds([(self.samples, 0)])[self.samples, 0][1]
        found = [entry for _, entry in entries(self.log, self.samples, 0, stop)]
        return [entry for entry in found if isinstance(entry, Sample | LabelRecord)]

    def documents(self) -> dict[bytes, Any]:
        """The values of the public features."""
        found: Any = self.redis.keys(f"features:{self.deployed}:*")
        values: Any = self.redis.mget(found)
        return {key: json.loads(value)["values"] for key, value in zip(found, values, strict=True)}

    def records(self, topic: str) -> list[Any]:
        """Everything on a topic, as another client reads it."""
        more = {"enable_auto_commit": False}
        with client(KafkaConsumer, self.settings, **more) as consumer:
            tps = [TopicPartition(topic, part) for part in sorted(consumer.partitions_for_topic(topic))]
            consumer.assign(tps)
            consumer.seek_to_beginning(*tps)
            ends = consumer.end_offsets(tps)
            found: list[Any] = []
            while any(consumer.position(tp) < ends[tp] for tp in tps):
                for records in consumer.poll(timeout_ms=200).values():
                    found += records
        return found


@pytest.fixture
def place(
    kafka_bootstrap: str,
    valkey_url: str,
    valkey: redis.Redis,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Place]:
    made = Place(kafka_bootstrap, valkey_url, unique("commands"), tmp_path)
    for name, value in (
        ("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap),
        ("REDIS_URL", valkey_url),
        ("PENSTOCK_PREFIX", made.settings.prefix),
        ("PENSTOCK_SECRET", SECRET),
        ("PENSTOCK_MODELS", str(made.folder)),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 60)
    assert cli.main(["topics", made.file, "--create-sources", "--partitions", str(PARTITIONS)]) == 0
    capsys.readouterr()
    yield made
    made.log.close()
    made.redis.close()


# -- replay ------------------------------------------------------------------------------------------------------------


def with_a_retrain(place: Place) -> None:
    """Learned from 250 parcels, a retrain among them."""
    place.publish(250)
    place.run(place.featurize(), place.learn())
    retrain = Command("c1", "retrain", "test", "test", from_position=5)
    place.log.append([Out(place.samples, b"parcels", encode_entry(retrain), (), 0)])
    place.run(place.learn())


def test_a_replay_gives_the_live_model_and_every_stored_version(place, capsys):
    with_a_retrain(place)
    assert cli.main(["replay", place.file, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] and found["stored"] == found["replayed"]
    assert found["records"] == found["position"] == len(place.records(place.samples))
    assert cli.main(["models", place.file, "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    assert {version["kind"] for version in versions} == {"copy", "adopted", "retrained"}
    for version in versions:
        assert cli.main(["replay", place.file, "--version", version["id"]]) == 0, version
        told = capsys.readouterr()
        assert told.out.count(version["digest"]) == 2 and told.out.endswith("equal\n")
        assert "folding" in told.err


def test_a_replay_says_what_differs_and_when_it_cannot_be_said(place, capsys):
    assert cli.main(["replay", place.file]) == 2
    assert "no snapshot of 'parcels'" in capsys.readouterr().err
    place.publish(120)
    place.run(place.featurize(), place.learn())
    document = json.loads(place.redis.get(f"model:{place.deployed}") or b"")
    place.redis.set(f"model:{place.deployed}", json.dumps({**document, "digest": "another"}))
    assert cli.main(["replay", place.file]) == 1
    assert "NOT EQUAL" in (told := capsys.readouterr().out) and "another" in told
    place.redis.set(
        f"model:{place.deployed}", json.dumps({**document, "position": document["position"] - 40})
    )
    assert cli.main(["replay", place.file, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["equal"] is False
    assert cli.main(["replay", place.file, "--version", "v99"]) == 2
    assert "no version 'v99'; there are: v1" in capsys.readouterr().err
    place.redis.set(f"model:{place.deployed}", json.dumps(document))
    with client(KafkaAdminClient, place.settings) as admin:
        admin.delete_records({TopicPartition(place.samples, 0): 3})
    for more in ([], ["--version", "v1"]):
        assert cli.main(["replay", place.file, *more]) == 2
        assert "records 0 to 2 of" in capsys.readouterr().err


def test_a_replay_runs_under_the_rules_that_learn_ran_under(place, capsys):
    place.publish(120)
    place.run(place.featurize(), place.learn(guard=False))
    for more in ([], ["--guard", "off"], ["--version", "v1"]):
        assert cli.main(["replay", place.file, *more]) == 0
    capsys.readouterr()
    assert cli.main(["replay", place.file, "--guard", "on"]) == 2
    assert "guard off, 6 experts, 1 alarms a year" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["python", "river"])
def test_another_python_or_river_promises_nothing(place, capsys, monkeypatch, what):
    place.publish(120)
    place.run(place.featurize(), place.learn())
    if what == "python":
        monkeypatch.setattr("platform.python_version", lambda: "3.99")
    else:
        monkeypatch.setattr("river.__version__", "9.9")
    for more in ([], ["--version", "v1"]):
        assert cli.main(["replay", place.file, *more]) == 2
        assert f"was made under {what}" in capsys.readouterr().err


def test_a_snapshot_of_a_log_that_was_made_anew_is_not_compared(place, capsys):
    place.publish(30)
    place.run(place.featurize(), place.learn())
    with client(KafkaAdminClient, place.settings) as admin:
        admin.delete_topics([place.samples])
    assert cli.main(["topics", place.file]) == 0
    capsys.readouterr()
    assert cli.main(["replay", place.file]) == 2
    assert "made anew" in capsys.readouterr().err


# -- reset -------------------------------------------------------------------------------------------------------------


def test_after_a_reset_the_pipeline_makes_the_same_again(place, capsys):
    with_a_retrain(place)
    samples, documents = place.entries(), place.documents()
    stored = len(list((place.folder / place.deployed).iterdir()))
    assert len(samples) > 400 and documents and stored
    near = place.deployed + "2"
    strangers = [f"features:{near}:depot:d1", f"penstock:{near}:all:token", f"model:{near}", "other"]
    place.redis.mset(dict.fromkeys(strangers, b"1"))
    topic_id = place.log.topic_id(place.samples)
    assert cli.main(["reset", place.file, "--yes", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["keys"][f"features:{place.deployed}:*"] == len(documents)
    assert done["keys"][f"model:{place.deployed}"] == 1
    assert done["version_files"] == stored and list((place.folder / place.deployed).iterdir()) == []
    assert sorted(done["groups"]) == [
        place.settings.prefix + f"parcels.{role}" for role in ("featurize", "learn")
    ]
    left: Any = place.redis.keys("*")
    assert sorted(left) == sorted(name.encode() for name in strangers)
    assert place.log.topic_id(place.samples) != topic_id
    assert all(place.records(topic) == [] for topic in done["topics"]) and len(done["topics"]) == 4
    place.run(place.featurize(), place.learn())
    assert place.entries() == samples and place.documents() == documents
    assert cli.main(["replay", place.file]) == 0
    assert cli.main(["topics", place.file]) == 0, "the topics were not made anew as they must be"


def test_a_reset_keeps_what_the_topics_were_set_to(place, capsys):
    prefix = place.settings.prefix
    predictions = topology.predictions("parcels", prefix)
    with client(KafkaAdminClient, place.settings) as admin:
        admin.delete_topics([predictions])
        mine = {"num_partitions": 3, "configs": {"retention.ms": "5000000", "cleanup.policy": "delete"}}
        admin.create_topics({predictions: mine}, wait_for_metadata=True)
        admin.delete_topics([topology.dead_letters("parcels", prefix)])
    assert cli.main(["reset", place.file, "--yes"]) == 0
    capsys.readouterr()
    assert cli.main(["topics", place.file, "--dry-run", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["differences"]
    assert found == [
        f"{predictions}: has 3 partitions, wanted are 1",
        f"{predictions}: retention.ms is 5000000, wanted is 2592000000",
    ]


def test_a_reset_of_a_running_pipeline_is_refused_and_takes_nothing(place, capsys):
    place.publish(20)
    running = place.learn()
    place.run(place.featurize())
    until = time.monotonic() + PATIENCE_S
    while running.fold is None and time.monotonic() < until:
        running.process_batch(0.05)
    before = place.redis.dbsize()
    assert cli.main(["reset", place.file, "--yes", "--wait", "0"]) == 2
    refused = capsys.readouterr().err
    assert f"{place.settings.prefix}parcels.learn: penstock at 127.0.0.1" in refused
    assert place.redis.dbsize() == before and len(place.entries()) > 20
    assert cli.main(["reset", place.file, "--dry-run"]) == 0
    assert "still running" in (told := capsys.readouterr().err) and "records of " + place.samples in told
    running.close()


def test_a_race_in_a_process_beside_it_is_told_of_and_keeps_a_reset_from_beginning(place, capsys):
    place.publish(20)
    place.run(place.featurize(), place.learn())
    challengers = {"tree": tree.HoeffdingTreeClassifier()}
    models = RedisModelStore(place.redis, "parcels", SECRET, str(place.folder), place.settings.prefix)
    group = f"{place.settings.prefix}parcels.challenge"
    race = ChallengeWorker(
        replace(place.pipeline, challengers=challengers), place.log, models, time.process_time, time.monotonic, time.sleep,
        prefix=place.settings.prefix, instance_id=f"{place.deployed}-challenge-0",
    )  # fmt: skip
    until = time.monotonic() + PATIENCE_S
    while not race.positioned and time.monotonic() < until:
        race.process_batch(0.05)
    assert race.positioned
    assert cli.main(["reset", place.file, "--yes", "--wait", "0"]) == 2
    assert f"{group}: {place.deployed}-challenge-0 at 127.0.0.1" in capsys.readouterr().err
    assert len(place.entries()) > 20
    cli.main(["status", "parcels"])
    assert f"challenge  {place.deployed}-challenge-0 at 127.0.0.1" in capsys.readouterr().out
    race.close()
    # a static member counts until its session ends
    assert cli.main(["reset", place.file, "--yes", "--wait", str(PATIENCE_S), "--json"]) == 0
    assert group in json.loads(capsys.readouterr().out)["groups"]
    cli.main(["status", "parcels"])
    assert "challenge" not in capsys.readouterr().out


def test_a_reset_asks_for_the_name_and_takes_no_other_answer(place, capsys, monkeypatch):
    place.publish(20)
    place.run(place.featurize())
    before = place.redis.dbsize()
    for answer in ("", "y\n", "parcel\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert cli.main(["reset", place.file]) == 1
        assert "nothing was deleted" in capsys.readouterr().err and place.redis.dbsize() == before
    monkeypatch.setattr("sys.stdin", io.StringIO("parcels\n"))
    assert cli.main(["reset", place.file]) == 0
    assert place.redis.dbsize() == 0
    assert cli.main(["reset", place.file, "--yes"]) == 0, "a second reset has nothing to do"


def test_what_was_asked_before_a_reset_is_not_done_after_it(place):
    def asked(name: str) -> None:
        request = OperatorRequest(id=name, pipeline="parcels", verb="hold", reason="x", by="mia")
        place.log.append(
            [Out(place.settings.prefix + topology.CONTROL_COMMANDS, b"parcels", encode_json(request))]
        )

    asked("before")
    assert cli.main(["reset", place.file, "--yes"]) == 0
    asked("after")
    until = time.monotonic() + PATIENCE_S
    decisions = place.settings.prefix + topology.CONTROL_DECISIONS
    role.run(
        place.pipeline,
        place.settings,
        lambda: place.log.bounds([(decisions, 0)])[decisions, 0][1] > 0 or time.monotonic() > until,
    )
    assert [json.loads(record.value)["request"] for record in place.records(decisions)] == ["after"]


# -- dead letters ------------------------------------------------------------------------------------------------------


def bury(place: Place) -> list[tuple[int, bytes | None, bytes]]:
    """Three records that cannot be used, between such that can: (partition, key, value)."""
    place.publish(20)
    broken = [(0, b"van1", b"not JSON\x1b[2J"), (1, None, b'{"parcel": 7}'), (1, b"van2", b"x" * 500)]
    with client(KafkaProducer, place.settings) as producer:
        for partition, key, value in broken:
            trace = [("trace", b"t1"), ("penstock-reason", b"somebody else's")]
            sent = producer.send(
                f"{place.name}.sent", value=value, key=key, partition=partition, headers=trace
            )
            sent.get(PATIENCE_S)
    place.run(place.featurize())
    return broken


def test_dead_letters_are_listed_with_their_place_and_reason(place, capsys):
    assert cli.main(["dead-letters", "parcels"]) == 0
    assert capsys.readouterr().out == "0 dead letters\n"
    broken = bury(place)
    assert cli.main(["dead-letters", "parcels", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["offset"] for one in found] == [0, 1, 2] and all(one["sendable"] for one in found)
    places = {(one["partition"], one["key"], one["bytes"]) for one in found}
    assert places == {(part, key.decode() if key else None, len(value)) for part, key, value in broken}
    source = {
        (record.partition, record.offset): record.value for record in place.records(f"{place.name}.sent")
    }
    for one in found:
        original = source[one["partition"], one["of"]].decode()
        assert one["topic"] == f"{place.name}.sent" and original.startswith(one["first"])
        assert one["reason"] and one["reason"] != "somebody else's"
    assert cli.main(["dead-letters", "parcels", "--limit", "1"]) == 0
    told = capsys.readouterr().out
    assert "3 dead letters, the newest 1 shown" in told and told.count(f"{place.name}.sent[") == 1
    assert cli.main(["dead-letters", "parcels", "--limit", "0"]) == 0
    told = capsys.readouterr().out
    assert "not JSON\\x1b[2J" in told and "\x1b" not in told and "(500 bytes)" in told
    text = next(one["reason"] for one in found if one["bytes"] == 13)
    assert cli.main(["dead-letters", "parcels", "--reason", text.upper(), "--json"]) == 0
    assert [json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()] == [text]
    assert cli.main(["dead-letters", "parcels", "--since", "2", "--json"]) == 0
    assert [json.loads(line)["offset"] for line in capsys.readouterr().out.splitlines()] == [2]


def test_dead_letters_go_back_as_they_came_each_time_they_are_sent(place, capsys, monkeypatch):
    broken = bury(place)
    before = len(place.records(f"{place.name}.sent"))
    for answer in ("", "n\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert cli.main(["dead-letters", "parcels", "--republish"]) == 1
        told = capsys.readouterr().err
        assert f"send 3 records back, to {place.name}.sent (3)?" in told and "nothing was sent" in told
    assert len(place.records(f"{place.name}.sent")) == before
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert cli.main(["dead-letters", "parcels", "--republish"]) == 0
    assert f"sent 3 records: {place.name}.sent (3)" in (told := capsys.readouterr().out)
    assert "go on with --since 3" in told
    again = [record for record in place.records(f"{place.name}.sent") if dict(record.headers).get("trace")]
    found = [(record.partition, record.key, record.value) for record in again]
    assert sorted(found, key=repr) == sorted(broken * 2, key=repr)
    # the producers' own
    assert [name for record in again for name, _ in record.headers].count("penstock-reason") == 3
    assert cli.main(["dead-letters", "parcels", "--republish", "--yes", "--limit", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "pipeline": "parcels",
        "sent": 1,
        "topics": {f"{place.name}.sent": 1},
        "left": 0,
        "next": 3,
    }
    place.run(place.featurize())
    assert cli.main(["dead-letters", "parcels", "--since", "3", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4  # still of no use, so buried again
    assert cli.main(["dead-letters", "parcels", "--republish", "--since", "99"]) == 0
    assert capsys.readouterr().out == "no dead letters to send\n"


def test_a_letter_that_was_cut_or_is_none_is_not_sent(place, capsys):
    dead = topology.dead_letters("parcels", place.settings.prefix)
    notes = (
        ("penstock-reason", b"broken"),
        ("penstock-topic", f"{place.name}.sent".encode()),
        ("penstock-partition", b"0"),
        ("penstock-offset", b"5"),
    )
    place.log.append(
        [Out(dead, None, b"y" * 880_000, notes), Out(dead, None, b"hello"), Out(dead, b"k", None, notes)]
    )
    assert cli.main(["dead-letters", "parcels", "--republish", "--yes"]) == 0
    told = capsys.readouterr()
    assert "sent 1 records" in told.out and "2 of them are left out" in told.err
    [record] = place.records(f"{place.name}.sent")
    assert (record.key, record.value, record.headers) == (b"k", None, [])


def test_dead_letters_of_a_topic_that_is_gone_are_one_line(place, capsys):
    dead = topology.dead_letters("parcels", place.settings.prefix)
    notes = (("penstock-topic", b"nowhere-at-all"), ("penstock-partition", b"0"), ("penstock-offset", b"5"))
    place.log.append([Out(dead, None, b"y", notes)])
    assert cli.main(["dead-letters", "parcels", "--republish", "--yes"]) == 2
    assert (
        "topic 'nowhere-at-all' does not exist" in (told := capsys.readouterr().err) and told.count("\n") == 1
    )
    assert cli.main(["dead-letters", "parcel"]) == 2
    assert "no pipeline 'parcel'" in capsys.readouterr().err
    assert cli.main(["dead-letters", "parcels", "--limit", "-1"]) == 2
