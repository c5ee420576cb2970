"""Before a job: which partitions there are, whether it may run, where it goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import View, count
from penstock.features.redis.keys import definition_key, position_key
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.position import TopicRecreated
from penstock.stream.flink import opening
from penstock.stream.flink.settings import java_properties
from penstock.stream.log.memory import MemoryLog
from penstock.stream.messages import Recipe, decode_entry
from penstock.stream.process.settings import SettingError
from tests.stream.flink.one_task import PARTITIONS, empty
from tests.stream.generated import SENT, parcels
from tests.stream.naive_flow import everything

BEGAN = opening.Began(4, 3, "file:///x", {"parcels.sent": "1", "parcels.delivered": "1"})


class Keys(dict[str, bytes]):
    """As much of a Redis client, and of its keyspace, as a beginning asks of them."""

    def read(self, names: list[str]) -> list[bytes | None]:
        return [self.get(name) for name in names]

    def mset(self, values: dict[str, bytes]) -> None:
        self.update(values)


def test_a_job_reads_every_partition_of_every_source() -> None:
    heads = opening.heads_of(parcels(), empty(parcels()))
    assert heads == tuple((source, n) for source in range(2) for n in range(PARTITIONS))


def test_sources_with_unequal_partitions_are_refused() -> None:
    log = MemoryLog()
    for number, source in enumerate(parcels().sources, 1):
        log.create(source.name, number)
    with pytest.raises(DefinitionError, match="equal partition counts"):
        opening.heads_of(parcels(), log)


@pytest.mark.parametrize("task", ["all", "2"])
def test_no_job_begins_where_featurize_workers_keep_state(task: str) -> None:
    heads = opening.heads_of(parcels(), empty(parcels()))
    opening.check(parcels(), {}, heads, "")
    with pytest.raises(DefinitionError, match="featurize workers keep the state of 'parcels'"):
        opening.check(parcels(), {position_key("parcels", task): b"x"}, heads, "")


def test_no_featurize_worker_begins_where_a_job_keeps_state() -> None:
    log, keys = empty(parcels()), Keys()
    opening.check_no_job(keys, "parcels")
    opening.open_lineage(parcels(), log, keys, BEGAN, "")
    with pytest.raises(DefinitionError, match="'parcels' is featurized by a Flink job"):
        opening.check_no_job(keys, "parcels")


def test_the_recipe_is_said_once_and_again_only_where_it_changed() -> None:
    log, keys, began = empty(parcels()), Keys(), BEGAN
    for pipeline in (parcels(), parcels(), parcels(cooldown="5d"), parcels(inputs=[])):
        opening.open_lineage(pipeline, log, keys, began, "")
    recipes = [decode_entry(record.value or b"") for record in everything(log, "parcels.samples")]
    assert [type(one) for one in recipes] == [Recipe, Recipe]
    assert recipes[0] != recipes[1]


def test_a_definition_that_featurizes_otherwise_is_refused_and_told_what_changed() -> None:
    log, keys = empty(parcels()), Keys()
    opening.open_lineage(parcels(), log, keys, BEGAN, "")
    heads = opening.heads_of(parcels(), log)
    assert definition_key("parcels", "all") in keys
    opening.check(parcels(cooldown="5d"), keys, heads, "")
    changed: Any = parcels(views=[View("van", SENT, key="van", features={"sent_1h": count("1h")})])
    with pytest.raises(DefinitionError, match=r"view depot goes.*new view van"):
        opening.check(changed, keys, heads, "")


def test_the_number_of_shards_stays_while_state_is_kept() -> None:
    said = msgspec.json.encode(BEGAN)
    eight = opening.Began(8, 3, "file:///x", BEGAN.topic_ids)
    opening.check_going_on(None, eight, "", asked=False)
    opening.check_going_on(said, BEGAN, "file:///x/chk-1", asked=False)
    opening.check_going_on(said, eight, "", asked=False)
    with pytest.raises(DefinitionError, match="say --shards 4"):
        opening.check_going_on(said, eight, "file:///x/chk-1", asked=False)


def test_no_job_goes_on_by_itself_from_a_checkpoint_that_redis_knows_nothing_of() -> None:
    opening.check_going_on(None, BEGAN, "file:///x/chk-1", asked=True)
    with pytest.raises(DefinitionError, match="it was reset, or Redis lost it"):
        opening.check_going_on(None, BEGAN, "file:///x/chk-1", asked=False)


def test_no_job_goes_on_with_other_partitions() -> None:
    more = opening.Began(4, 6, "file:///x", BEGAN.topic_ids)
    opening.check_going_on(msgspec.json.encode(BEGAN), more, "", asked=False)
    with pytest.raises(DefinitionError, match="have 6 partitions each, and had 3"):
        opening.check_going_on(msgspec.json.encode(BEGAN), more, "file:///x/chk-1", asked=True)


def test_no_job_goes_on_with_a_topic_that_is_another_one_by_now() -> None:
    other = opening.Began(4, 3, "file:///x", {"parcels.sent": "2", "parcels.delivered": "1"})
    opening.check_going_on(msgspec.json.encode(BEGAN), other, "", asked=False)
    with pytest.raises(TopicRecreated, match=r"parcels\.sent"):
        opening.check_going_on(msgspec.json.encode(BEGAN), other, "file:///x/chk-1", asked=True)


def test_a_job_goes_on_from_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    assert opening.newest_checkpoint(tmp_path) == ""
    for name, moment in (("a/chk-9", 100), ("b/chk-2", 300), ("a/chk-10", 200)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "_metadata").touch()
        os.utime(folder / "_metadata", (moment, moment))
    (tmp_path / "b" / "chk-3").mkdir()
    assert opening.newest_checkpoint(tmp_path) == (tmp_path / "b" / "chk-2").as_uri()


def test_kafkas_java_client_is_told_the_same_in_its_own_words() -> None:
    given = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": 'a"b\\',
        "ssl.ca.location": "/ca.pem",
    }
    assert java_properties(given) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            'username="me" password="a\\"b\\\\";'
        ),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/ca.pem",
    }


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"sasl.mechanism": "GSSAPI"}, "PENSTOCK_KAFKA_SASL_MECHANISM='GSSAPI'"),
        ({"queue.buffering.max.ms": "5"}, "PENSTOCK_KAFKA_QUEUE_BUFFERING_MAX_MS"),
    ],
)
def test_a_setting_that_java_has_no_word_for_is_refused_by_its_name(
    given: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingError, match=named):
        java_properties(given)
