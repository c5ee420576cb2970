"""Roles as processes over a Valkey cluster or sentinels: slots move, primaries die under load. Nothing is lost or doubled.

Laws of this file are those of `test_kill`: everything is checked against the naive flow and against a fold of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from redis.crc import key_slot

from penstock.features.redis.keys import position_key
from penstock.features.redis.placing import placed
from penstock.features.redis.store import connect
from penstock.stream import cli
from penstock.stream.log.kafka import KafkaLog
from tests.integration.test_kill import CARDS, Place, harm, slowed_no_longer
from tests.patience import eventually
from tests.stream.generated import card_events, outs
from tests.valkey_cluster import ValkeyCluster, valkey_cluster
from tests.valkey_sentinel import Watched, valkey_sentinel

pytestmark = pytest.mark.long

__all__ = ["slowed_no_longer"]


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    """A cluster that a test may harm."""
    with valkey_cluster() as made:
        yield made


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Two servers that sentinels watch, which a test may harm."""
    with valkey_sentinel() as made:
        yield made


@pytest.fixture
def place(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Place]]:
    """Makes the place of a pipeline, given the address of its Redis."""
    slowed_no_longer(monkeypatch)
    log = KafkaLog(kafka_bootstrap)
    made: list[Place] = []

    def make(url: str) -> Place:
        text = CARDS.replace("NAME", unique("cluster"))
        found = Place(log, kafka_bootstrap, connect(url), url, tmp_path, text)
        made.append(found)
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
        assert cli.main(["topics", str(found.file), "--create-sources", "--partitions", "4"]) == 0
        return found

    yield make
    for found in made:
        for role in found.roles:
            role.end()
    log.close()


def moved(place: Place, cluster: ValkeyCluster, task: str, *, whole: bool) -> None:
    """Move a task's slot to another primary."""
    tag = f"{{{place.pipeline.name}:{task}}}"
    source = cluster.owner(tag)
    move = cluster.move_whole if whole else cluster.move
    move(key_slot(tag.encode()), source, cluster.other(source))


def killed(place: Place, cluster: ValkeyCluster, task: str) -> None:
    """Kill the primary that has a task, whose replica has not heard of the newest writes. It comes back as a replica."""
    key = placed(position_key(place.pipeline.name, task))
    primary = cluster.owner(key)
    replica = cluster.cut_off(primary)
    heard = primary.client.get(key)
    assert eventually(lambda: primary.client.get(key) not in (heard, None))
    primary.server.kill()
    assert eventually(lambda: replica.is_primary() and cluster.healthy())
    replica.client.config_set("masterauth", "")
    primary.server.start()
    assert eventually(lambda: primary.client.info("replication").get("master_link_status") == "up")


def work_off(place: Place, deeds: list[Callable[[], object]], seed: int) -> None:
    """Work a stream off while things are done to Redis, and compare all that is left with what should be."""
    records = [
        record._replace(topic=place.pipeline.predict.name) for record in outs(card_events(9_000, cards=300))
    ]
    place.produce(records, seed=12)
    featurize, learn = place.role("featurize"), place.role("learn")
    harm(place, place.samples, len(records), seed, deeds)
    place.until(
        lambda: place.committed_all("featurize", place.sources()), "featurize did not come to the end"
    )
    # who dies last may have had what a task wrote that has no more to do: it notices, and reads again what was emitted
    place.until(place.rebuilt, "featurize did not rebuild its state")
    assert featurize.stop() == 0, featurize.said()
    place.until(
        lambda: place.live().get("position") == place.end_of(place.samples), "learn did not come to the end"
    )
    assert learn.stop() == 0, learn.said()
    place.check()
    assert "rebuilding state from Kafka" in featurize.output.read_text(), "no loss, so nothing was shown"


def test_slots_that_move_and_primaries_that_die_under_load_lose_nothing(
    place: Callable[[str], Place], cluster: ValkeyCluster
) -> None:
    here = place(cluster.url)
    deeds: list[Callable[[], object]] = [
        partial(moved, here, cluster, "0", whole=False),
        partial(killed, here, cluster, "1"),
        partial(moved, here, cluster, "2", whole=True),
        partial(killed, here, cluster, "learn"),
    ]
    work_off(here, deeds, seed=3)


def test_a_master_that_dies_under_load_loses_nothing_where_sentinels_name_another(
    place: Callable[[str], Place], watched: Watched
) -> None:
    here = place(watched.url)
    work_off(here, [partial(watched.fail_over, position_key(here.pipeline.name, "1"))], seed=4)
