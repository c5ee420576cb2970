"""Roles as processes on a real broker and a real Valkey: killed, stopped, robbed of their store. Nothing is lost or doubled.

Laws of this file: those of `tests/places.py`; a stream is produced whole before a role starts, so that the naive flow knows the
order.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from penstock.stream import cli
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.learn import worker as learn_worker
from penstock.stream.log.kafka import KafkaLog
from tests.places import CARDS, PARCELS, ROOT, SMALL, Place, Role, again, harm
from tests.stream.generated import card_events, outs, parcel_events

__all__ = ["CARDS", "PARCELS", "ROOT", "SMALL", "Making", "Place", "Role", "again", "harm", "place"]

Making = Callable[[str, int], Place]


def slowed_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a definition file asks for is meant for the roles, and ends with the test in the process that reads it, too."""
    for module, name in (
        (featurize_worker, "BATCH_RECORDS"),
        (learn_worker, "BATCH_RECORDS"),
        (learn_worker, "SNAPSHOT_EVERY_MS"),
        (featurize_worker.FeaturizeWorker, "process_batch"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))


@pytest.fixture
def place(
    kafka_bootstrap: str,
    valkey: redis.Redis,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Making]:
    slowed_no_longer(monkeypatch)
    log = KafkaLog(kafka_bootstrap)
    made: list[Place] = []

    def make(text: str, partitions: int) -> Place:
        found = Place(
            log, kafka_bootstrap, valkey, valkey_url, tmp_path, text.replace("NAME", unique("kill"))
        )
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
        assert cli.main(["topics", str(found.file), "--create-sources", "--partitions", str(partitions)]) == 0
        made.append(found)
        return found

    yield make
    for found in made:
        for role in found.roles:
            role.end()
    log.close()


@pytest.mark.long
def test_killed_again_and_again_with_the_store_lost_in_between_it_ends_as_if_nothing_had_been(
    place: Making,
) -> None:
    here = place(PARCELS, 2)
    names = {
        "parcels.sent": here.pipeline.sources[0].name,
        "parcels.delivered": here.pipeline.sources[1].name,
    }
    records = outs(parcel_events(7_000, depots=150))
    here.produce([record._replace(topic=names[record.topic]) for record in records], seed=11)
    featurize, learn = here.role("featurize"), here.role("learn")
    deeds = [
        again(featurize),
        again(learn),
        here.client.flushall,
        again(featurize),
        again(learn),
        again(featurize),
        again(learn),
    ]
    harm(here, here.samples, len(records), 1, deeds)
    here.until(lambda: here.committed_all("featurize", here.sources()), "featurize did not come to the end")
    assert featurize.stop() == 0, featurize.said()
    here.until(
        lambda: here.live().get("position") == here.end_of(here.samples), "learn did not come to the end"
    )
    here.check()


@pytest.mark.long
def test_a_stopped_worker_is_overtaken_and_does_no_harm_when_it_wakes(place: Making) -> None:
    here = place(CARDS, 4)
    records = [
        record._replace(topic=here.pipeline.predict.name) for record in outs(card_events(9_000, cards=300))
    ]
    here.produce(records, seed=12)
    first, learning = here.role("featurize", 0), here.role("learn", 0)
    here.until_progress(here.samples, 1_500)
    first.send(signal.SIGSTOP)
    learning.send(signal.SIGSTOP)
    second, spare = here.role("featurize", 1), here.role("learn", 1)
    here.until(lambda: here.committed_all("featurize", here.sources()), "nobody took over featurize")
    first.send(signal.SIGCONT)
    here.until(lambda: here.committed_all("learn", [(here.samples, 0)]), "nobody took over learn")
    learning.send(signal.SIGCONT)
    # More work, for whoever holds it now.
    more = [
        record._replace(topic=here.pipeline.predict.name) for record in outs(card_events(9_500, cards=300))
    ][9_000:]
    here.log.append(more)
    here.until(lambda: here.committed_all("featurize", here.sources()), "featurize did not come to the end")
    for role in (first, second):
        assert role.stop() == 0, role.said()
    here.until(lambda: here.committed_all("learn", [(here.samples, 0)]), "learn did not come to the end")
    for role in (learning, spare):
        assert role.stop() == 0, role.said()
    here.check()
