"""`penstock bootstrap` and the job on Flink with exactly the rights that are printed for them, and without one of them.

Flink itself is not here: what the job asks before it is submitted and what its operators write to Redis are the job's own code;
what its tables ask of Kafka is asked as they do, by a client that reads in no group and writes in transactions.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from penstock.features.redis.keys import public_key, state_key
from penstock.features.redis.store import StoreRefused, connect
from penstock.features.units import Write
from penstock.stream import topology
from penstock.stream.cli import flink
from penstock.stream.definition_file import load
from penstock.stream.flink.saving import save
from penstock.stream.log.kafka_python import client
from penstock.stream.log.not_allowed import NotAllowed
from penstock.stream.process.settings import Settings
from tests.rights.beginning import ROWS, Beginning
from tests.rights.secured import Secured


def less(beginning: Beginning, lines: str, lost: str, instead: str) -> dict[str, list[str]]:
    """The printed lines without one right: a line of Kafka's, an operation in it, or one rule of Redis'."""
    every = beginning.lines[lines]
    [hit] = [line for line in every if re.search(lost, line)]
    whole_line = lines == "kafka" and not instead
    left = [
        re.sub(lost, instead, line) if line == hit else line
        for line in every
        if line != hit or not whole_line
    ]
    return {**beginning.lines, lines: left}


@pytest.fixture(scope="module")
def files(servers: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beginning]:
    """A pipeline that is to begin with a file."""
    made = Beginning(servers, tmp_path_factory.mktemp("files"), "begun.", "bootstrap")
    yield made
    made.close()


def test_a_pipeline_begins_from_files_goes_on_and_is_made_anew_where_redis_lost_it(files: Beginning) -> None:
    files.start_over()
    with files.allowed():
        for more in (("--dry-run",), (), ()):  # the third finds that it is over
            done = files.bootstrap("--json", *more)
            assert done.returncode == 0, done.stderr
            assert not files.refused_by_redis()
        found = json.loads(done.stdout)
        assert (found["rows"], found["dead_letters"]) == (ROWS, 1)
        lost = files.servers.redis.keys("*begun.cards*")
        assert lost
        files.servers.redis.delete(*lost)
        done = files.bootstrap("--json")
        assert done.returncode == 0 and json.loads(done.stdout)["rows_now"] == ROWS, done.stderr
        assert not files.refused_by_redis()


def test_a_pipeline_of_one_task_begins_from_files_too(
    servers: Secured, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = Beginning(servers, tmp_path_factory.mktemp("files"), "whole.", "bootstrap", one_task=True)
    assert any("penstock:whole.cards:all:*" in line for line in made.lines["valkey"])
    with made.allowed():
        done = made.bootstrap("--json")
        assert done.returncode == 0 and json.loads(done.stdout)["rows"] == ROWS, done.stderr
        assert not made.refused_by_redis()


@pytest.mark.parametrize(
    ("lines", "lost", "instead", "said"),
    [
        ("kafka", r"--topic begun\.payments", "", "begun.payments"),
        ("kafka", r"Read( .*begun\.cards\.samples)", r"Describe\1", "begun.cards.samples"),
        ("kafka", r"Write( .*begun\.cards\.samples)", r"Describe\1", "to write to begun.cards.samples"),
        ("kafka", r"--topic begun\.cards\.dead-letters", "", "begun.cards.dead-letters"),
        ("kafka", r"--topic begun\.control\.alerts", "", "begun.control.alerts"),
        ("kafka", r"Write( .*begun\.cards\.history)", r"Describe\1", "to write to begun.cards.history"),
        ("kafka", r"Write( .*begun\.control\.models)", r"Describe\1", "to write to begun.control.models"),
        ("kafka", r"--group begun\.cards\.learn", "", "Group authorization failed"),
        ("valkey", r" ~penstock:begun\.cards:bootstrap:\*", "", "access a key"),
        ("valkey", r" ~penstock:begun\.cards:\[0-9\]\S*", "", "access a key"),
        ("valkey", r" %R~penstock:begun\.cards:all:position", "", "access a key"),
        ("valkey", r" %R~penstock:begun\.cards:flink", "", "access a key"),
        ("valkey", r" ~penstock:begun\.cards:learn:\*", "", "access a key"),
        ("valkey", r" ~features:begun\.cards:\*", "", "access a key"),
        ("valkey", r" \+evalsha", "", "evalsha"),
    ],
)  # fmt: skip
def test_a_bootstrap_without_one_of_its_rights_ends_and_says_so(
    lines: str, lost: str, instead: str, said: str, files: Beginning
) -> None:
    """It or the process that learns says it; where that one does, the last line says that it ended."""
    files.start_over()
    with files.allowed(less(files, lines, lost, instead)):
        done = files.bootstrap()
    told = [line for line in done.stderr.splitlines() if line.startswith("penstock: ")]
    assert done.returncode == 2 and told, (done.returncode, done.stderr)
    assert said.lower() in told[0].lower() and "`penstock acls FILE`" in told[0], told


# -- Flink -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job(servers: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beginning]:
    """A pipeline that a job on Flink is to featurize."""
    made = Beginning(servers, tmp_path_factory.mktemp("job"), "job.", "flink", one_task=True)
    yield made
    made.close()


def submitted(job: Beginning) -> None:
    """Everything before the job is submitted: by the first start and by one that goes on."""
    settings = Settings.from_env(job.environment("flink"))
    kept = job.file.parent / "checkpoints"
    args = argparse.Namespace(file=str(job.file), checkpoints=str(kept), start_from="", shards=4)
    for _ in range(2):
        flink.begin(args, load(job.file), settings)


def saved(job: Beginning) -> None:
    """A state and its document, as an operator writes them."""
    name, [view] = topology.deployed("cards", job.prefix), load(job.file).views
    state, document = state_key(name, "all", view.name, view.version, "c1"), public_key(name, view.name, "c1")
    with closing(connect(job.servers.redis_of("flink"))) as redis:
        save(
            redis,
            [Write(state, b"state", document, b"{}", 0), Write(state, b"state", document, b"{}", 60_000)],
        )


def streamed(job: Beginning) -> int:
    """What the job's tables do: every source read without a group, every topic written in one transaction."""
    settings, topics = (
        Settings.from_env(job.environment("flink")),
        ("cards.samples", "cards.dead-letters", "control.alerts"),
    )
    with client(
        KafkaConsumer, settings, enable_auto_commit=False, isolation_level="read_committed"
    ) as reader:
        tps = [TopicPartition(job.source, number) for number in range(2)]
        reader.assign(tps)
        reader.seek_to_beginning(*tps)
        ends, read = reader.end_offsets(tps), 0
        while any(reader.position(tp) < ends[tp] for tp in tps):
            read += sum(map(len, reader.poll(timeout_ms=200).values()))
    # A subtask's number and a checkpoint's follow, as the connector names its transactions.
    named: dict[str, Any] = {"transactional_id": f"{topology.flink_transactions('cards', job.prefix)}-0-1"}
    with client(KafkaProducer, settings, **named) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        for topic in topics:
            producer.send(job.prefix + topic, key=b"k", value=b"v").get(60)
        producer.commit_transaction()
    return read


def test_a_job_is_submitted_saves_and_streams_with_the_rights_that_are_printed_for_it(job: Beginning) -> None:
    with job.allowed():
        submitted(job)
        saved(job)
        assert streamed(job) == 20
        assert not job.refused_by_redis()


@pytest.mark.parametrize(
    ("lines", "lost", "instead", "said"),
    [
        ("kafka", r"--topic job\.payments", "", "job.payments"),
        ("kafka", r"Write( .*job\.cards\.samples)", r"Describe\1", "job.cards.samples"),
        ("valkey", r" %R~penstock:job\.cards:\[0-9\]\*:position", "", "access a key"),
        ("valkey", r" ~penstock:job\.cards:flink", "", "access a key"),
        ("valkey", r" %W~features:job\.cards ", " ", "access a key"),
        ("valkey", r" \+mset", "", "mset"),
    ],
)  # fmt: skip
def test_a_job_whose_user_lacks_a_right_is_not_submitted_and_that_is_said(
    lines: str, lost: str, instead: str, said: str, job: Beginning
) -> None:
    job.start_over()
    with job.allowed(less(job, lines, lost, instead)), pytest.raises((NotAllowed, StoreRefused)) as refused:
        submitted(job)
    assert said in str(refused.value) and "`penstock acls FILE`" in str(refused.value)


@pytest.mark.parametrize(
    ("step", "lines", "lost", "instead"),
    [
        (saved, "valkey", r" ~penstock:job\.cards:all:\*", ""),
        (saved, "valkey", r" %W~features:job\.cards:\*", ""),
        (saved, "valkey", r" \+multi", ""),
        (saved, "valkey", r" \+exec", ""),
        (streamed, "kafka", r"Read( .*job\.payments)", r"Describe\1"),
        (streamed, "kafka", r"--transactional-id", ""),
        (streamed, "kafka", r"Write( .*job\.cards\.dead-letters)", r"Describe\1"),
        (streamed, "kafka", r"Write( .*job\.control\.alerts)", r"Describe\1"),
    ],
)  # fmt: skip
def test_a_running_job_fails_without_any_one_of_its_other_rights(
    step: Any, lines: str, lost: str, instead: str, job: Beginning
) -> None:
    with (
        job.allowed(less(job, lines, lost, instead)),
        pytest.raises(Exception, match=r"(?i)authoriz|permission|without MULTI"),
    ):
        step(job)
