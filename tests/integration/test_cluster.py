"""Roles as processes over a Valkey cluster whose slots move and whose primaries die under load. Nothing is lost or doubled.

Laws of this file are those of `test_kill`: everything is checked against the naive flow and against a fold of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from redis.crc import key_slot

from penstock.features.redis.store import connect
from penstock.stream import cli
from penstock.stream.log.kafka import KafkaLog
from tests.integration.test_kill import CARDS, Place, harm, slowed_no_longer
from tests.patience import eventually
from tests.stream.generated import card_events, outs
from tests.valkey_cluster import ValkeyCluster, valkey_cluster

__all__ = ["slowed_no_longer"]


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    """A cluster that a test may harm."""
    with valkey_cluster() as made:
        yield made


@pytest.fixture
def place(
    kafka_bootstrap: str,
    cluster: ValkeyCluster,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    slowed_no_longer(monkeypatch)
    log = KafkaLog(kafka_bootstrap)
    text = CARDS.replace("NAME", unique("cluster"))
    made = Place(log, kafka_bootstrap, connect(cluster.url), cluster.url, tmp_path, text)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    assert cli.main(["topics", str(made.file), "--create-sources", "--partitions", "4"]) == 0
    yield made
    for role in made.roles:
        role.end()
    log.close()


def moved(place: Place, cluster: ValkeyCluster, task: str, *, whole: bool) -> None:
    """Move a task's slot to another primary."""
    tag = f"{{{place.pipeline.name}:{task}}}"
    source = cluster.owner(tag)
    move = cluster.move_whole if whole else cluster.move
    move(key_slot(tag.encode()), source, cluster.other(source))


def killed(place: Place, cluster: ValkeyCluster, task: str) -> None:
    """Kill the primary that has a task, whose replica has not heard of the newest writes."""
    primary = cluster.owner(f"{{{place.pipeline.name}:{task}}}")
    replica = cluster.cut_off(primary)
    heard = replica.client.info("replication")["slave_repl_offset"]
    assert eventually(lambda: primary.client.info("replication")["master_repl_offset"] > heard + 10_000)
    primary.server.kill()
    assert eventually(lambda: replica.is_primary() and cluster.healthy())


def test_slots_that_move_and_primaries_that_die_under_load_lose_nothing(
    place: Place, cluster: ValkeyCluster
) -> None:
    records = [
        record._replace(topic=place.pipeline.predict.name) for record in outs(card_events(9_000, cards=300))
    ]
    place.produce(records, seed=12)
    featurize, learn = place.role("featurize"), place.role("learn")
    deeds: list[Callable[[], object]] = [
        partial(moved, place, cluster, "0", whole=False),
        partial(killed, place, cluster, "1"),
        partial(moved, place, cluster, "2", whole=True),
        partial(killed, place, cluster, "learn"),
    ]
    harm(place, place.samples, len(records), 3, deeds)
    place.until(
        lambda: place.committed_all("featurize", place.sources()), "featurize did not come to the end"
    )
    assert featurize.stop() == 0, featurize.said()
    place.until(
        lambda: place.live().get("position") == place.end_of(place.samples), "learn did not come to the end"
    )
    assert learn.stop() == 0
    place.check()
    assert "rebuilding state from Kafka" in featurize.output.read_text(), "no loss, so nothing was shown"
