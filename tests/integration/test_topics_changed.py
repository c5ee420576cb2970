"""Source topics that change on a real broker while featurize runs: it ends with exit code 2 and says what became of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from tests.effort import first_here
from tests.integration.test_kill import CARDS, PARCELS, Making, Place, place
from tests.patience import eventually
from tests.stream.generated import card_events, outs, parcel_events

__all__ = ["place"]

STREAMS: dict[str, tuple[str, Callable[[], list[Out]]]] = {
    "a task per partition": (CARDS, lambda: outs(card_events(600, cards=50))),
    "one task": (PARCELS, lambda: outs(parcel_events(400))),
}


@pytest.fixture
def admin(kafka_bootstrap: str) -> Iterator[KafkaAdminClient]:
    """An outside client that administers topics."""
    client = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    yield client
    client.close()


def stream(here: Place, made: list[Out]) -> list[Out]:
    """Records for the sources of this place."""
    names = {source.name.rpartition(".")[2]: source.name for source in here.pipeline.sources}
    return [record._replace(topic=names[record.topic.rpartition(".")[2]]) for record in made]


@pytest.mark.parametrize("kind", first_here(STREAMS))
def test_partitions_that_are_added_while_it_runs_end_it(
    place: Making, admin: KafkaAdminClient, kind: str
) -> None:
    text, made = STREAMS[kind]
    here = place(text, 2)
    records = stream(here, made())
    here.log.append(records[: len(records) // 2])
    featurize = here.role("featurize")
    here.until(lambda: here.committed_all("featurize", here.sources()), "featurize did not come to the end")
    admin.create_partitions({source.name: 4 for source in here.pipeline.sources})
    eventually(lambda: here.ended() == [featurize], 60)
    assert here.ended() == [featurize], "it reads on, and nothing of what lies in the new partitions"
    assert featurize.process is not None and featurize.process.poll() == 2, featurize.said()
    assert "state was kept for 2, there are 4 now; `penstock reset` starts over" in featurize.said()


@pytest.mark.parametrize("kind", first_here(STREAMS))
@pytest.mark.parametrize("fed", first_here(["more than was read", "less than was read"]))
def test_a_source_that_is_made_anew_while_it_runs_ends_it(
    place: Making, admin: KafkaAdminClient, kafka_bootstrap: str, kind: str, fed: str
) -> None:
    """It stands still while the topic is missing: else it may end before there is another one, and say that there is none."""
    text, made = STREAMS[kind]
    here = place(text, 2)
    records = stream(here, made())
    here.log.append(records[: len(records) // 2])
    featurize = here.role("featurize")
    here.until(lambda: here.committed_all("featurize", here.sources()), "featurize did not come to the end")
    name = here.pipeline.predict.name
    featurize.send(signal.SIGSTOP)
    admin.delete_topics([name])
    assert eventually(lambda: name not in admin.list_topics())
    admin.create_topics([NewTopic(name, 2, 1)])
    assert eventually(lambda: name in admin.list_topics())
    log = KafkaLog(kafka_bootstrap)  # one that has never heard of the former
    log.append([one for one in records if one.topic == name][: 4 if fed.startswith("less") else None])
    log.close()
    featurize.send(signal.SIGCONT)
    eventually(lambda: here.ended() == [featurize], 60)
    assert featurize.process is not None and featurize.process.poll() == 2, featurize.said()
    assert f"topic '{name}' was deleted and created again" in featurize.said()
