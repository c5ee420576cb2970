"""Deployments that share one Redis and one log: with different prefixes they share nothing, and whose keys they are is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import count as numbers
from typing import Any

import pytest
import redis

from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import identity_key, public_key
from penstock.features.redis.keyspace import MemoryKeyspace, RedisKeyspace
from penstock.features.redis.store import MemoryServer, connect
from penstock.stream import cli, topology
from penstock.stream.cli.features import tasks
from penstock.stream.control.faust_app import app_id, build, changelog_of
from penstock.stream.learn.learner import Trained
from penstock.stream.learn.replay import replay, retrained_version
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import UnknownTopic
from penstock.stream.models.store import RedisModelStore
from penstock.stream.operate import reset
from penstock.stream.operate.stored_header import snapshot_of
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.roles import start
from penstock.stream.roles.identity import Identity, OtherDeployment, claim
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from tests.stream.generated import card_events, cards, outs, parcel_events, parcels
from tests.stream.naive_flow import NaiveFlow

PREFIXES = ("blue.", "green-", "")


def flow_of(client: redis.Redis, log: MemoryLog, prefix: str, made: Callable[[], Any] = cards) -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    return MemoryFlow(made(), partitions=2, client=client, log=log, prefix=prefix, clock=lambda: next(wall))


@pytest.fixture
def client(valkey: redis.Redis, valkey_url: str) -> Iterator[redis.Redis]:
    with connect(valkey_url) as opened:
        yield opened


def read_own(client: redis.Redis, flow: MemoryFlow) -> Callable[[str], Any]:
    """Reads a document by the name that it has without a prefix."""
    plain, own = f"features:{flow.pipeline.name}:", f"features:{flow.deployed}:"
    return lambda key: client.get(key.replace(plain, own))


def keys_of(client: redis.Redis) -> set[str]:
    found: Any = client.keys("*")
    return {key.decode() for key in found}


def unnumbered(keys: set[str]) -> set[str]:
    """Keys without the digests of a snapshot's pieces, which differ with the topics' ids."""
    return {re.sub(r"(:piece:).*", r"\1", key) for key in keys}


@pytest.mark.parametrize(("made", "events"), [(cards, card_events), (parcels, parcel_events)])
def test_deployments_with_different_prefixes_each_get_every_event(
    client: redis.Redis, valkey_url: str, made: Any, events: Any
) -> None:
    log = MemoryLog()
    flows = [flow_of(client, log, prefix, made) for prefix in PREFIXES]
    name = flows[0].pipeline.name
    flows[0].feed(outs(events(400)))
    while any(flow.process_batches() for flow in flows):
        pass
    for flow in flows:
        flow.settle()
    naive = NaiveFlow(flows[0].pipeline, log)
    digests = set()
    for flow in flows:
        samples = topology.samples(name, flow.prefix)
        assert naive.samples and naive.wrong_samples(log, samples) == [], flow.prefix
        assert naive.wrong_documents(read_own(client, flow)) == []
        assert flow.learn.fold is not None
        digests.add(flow.learn.fold.digest())
        assert flow.learn.fold.digest() == replay(flow.pipeline, log, samples).digest()
    assert len(digests) == 1
    # A reader of each reads its own, with and without the definitions.
    views, documents = flows[0].pipeline.views, naive.documents()
    view, entity = next(iter(documents))
    client.delete(public_key(flows[0].deployed, view, entity))
    for flow in flows:
        public = FeatureReader(valkey_url, name, prefix=flow.prefix)
        of_tasks = tasks(flow.pipeline, Settings(redis_url=valkey_url, prefix=flow.prefix))
        private = FeatureReader(valkey_url, name, views, prefix=flow.prefix, tasks=of_tasks)
        assert public.read([(view, entity)])[0].found == (flow is not flows[0])
        assert private.read([(view, entity)])[0].found
    for flow in flows:
        flow.close()


def test_every_key_of_a_deployment_carries_its_prefix_and_without_one_the_names_are_as_ever(
    client: redis.Redis,
) -> None:
    log = MemoryLog()
    flow = flow_of(client, log, "blue.")
    flow.feed(outs(card_events(300)))
    flow.settle()
    flow.close()
    prefixed = keys_of(client)
    assert all(key.partition(":")[2].startswith("blue.cards") for key in prefixed)
    assert {key.partition(":")[0] for key in prefixed} == {"features", "penstock", "model"}
    client.flushall()
    plain_log = MemoryLog()
    plain = flow_of(client, plain_log, "")
    plain.feed(outs(card_events(300)))
    plain.settle()
    plain.close()
    assert unnumbered(keys_of(client)) == unnumbered(
        {key.replace(":blue.cards", ":cards") for key in prefixed}
    )
    topics = set(plain_log.topics())
    own = {name for name in log.topics() if name.startswith("blue.")}
    assert {name.removeprefix("blue.") for name in own} == topics - {
        source.name for source in plain.pipeline.sources
    }


def test_a_reset_of_one_deployment_leaves_the_others_alone(client: redis.Redis) -> None:
    log = MemoryLog()
    flows = [flow_of(client, log, prefix) for prefix in PREFIXES]
    flows[0].feed(outs(card_events(200)))
    for flow in flows:
        flow.settle()
        flow.close()
    before = keys_of(client)
    reset.delete_keys(client, "cards")
    gone = before - keys_of(client)
    assert gone and gone == {key for key in before if key.partition(":")[2].partition(":")[0] == "cards"}
    reset.delete_keys(client, "blue.cards")
    assert {key.partition(":")[2].partition(":")[0] for key in keys_of(client)} == {"green-cards"}


def test_versions_of_two_deployments_lie_apart(client: redis.Redis, tmp_path: Any) -> None:
    stores = [
        RedisModelStore(client, "cards", SECRET, str(tmp_path), prefix=prefix) for prefix in ("a-", "b-")
    ]
    flow = flow_of(client, MemoryLog(), "")
    version = retrained_version(flow.pipeline, "v1", 0, 10, Trained(None, 5, None, 7), "0a1b2c")
    stores[0].put(version, b"model")
    assert stores[0].versions() == [version] and stores[1].versions() == []
    assert [path.parent.name for path in tmp_path.rglob("*.model")] == ["a-cards"]


def test_groups_members_and_clients_of_kafka_carry_the_prefix(tmp_path: Any) -> None:
    settings = Settings(prefix="blue.")
    assert reset.groups_of("cards", settings) == [
        "blue.cards.featurize",
        "blue.cards.learn",
        "blue.cards.control",
        "blue.cards.challenge",
    ]
    assert app_id("cards", settings) == "blue.cards.control"
    assert changelog_of("cards", settings).startswith("blue.cards.")
    conf = build("cards", settings, str(tmp_path)).conf
    assert conf.id == "blue.cards.control"
    assert str(conf.consumer_group_instance_id).startswith("blue.cards.control")
    assert conf.broker_client_id == settings.client_id == "blue.penstock"
    assert Settings(kafka={"client.id": "mine"}, prefix="blue.").client_id == "mine"
    assert Settings().client_id == "penstock"


@pytest.mark.parametrize("prefix", ["a b", "a:", "a*", "ä", "x" * 101, "a\n"])
def test_a_prefix_that_no_topic_could_have_is_refused(prefix: str) -> None:
    with pytest.raises(SettingError, match="PENSTOCK_PREFIX"):
        Settings.from_env({"PENSTOCK_PREFIX": prefix})


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_the_first_start_says_whose_keys_they_are_and_a_later_one_changes_nothing(
    kind: str, request: pytest.FixtureRequest
) -> None:
    keyspace: Any = (
        MemoryKeyspace(MemoryServer())
        if kind == "memory"
        else RedisKeyspace(request.getfixturevalue("client"))
    )
    first = Identity(pipeline="cards", prefix="blue.", cluster="one", kafka="k1:9092")
    for again in (first, Identity(pipeline="cards", prefix="blue.", cluster="one", kafka="k2:9092")):
        claim(keyspace, again, "here")
    (stored,) = keyspace.read([identity_key("blue.cards")])
    assert json.loads(stored) == {
        "pipeline": "cards",
        "prefix": "blue.",
        "cluster": "one",
        "kafka": "k1:9092",
    }
    claim(keyspace, Identity(pipeline="cards", prefix="green.", cluster="two"), "here")
    claim(keyspace, Identity(pipeline="cards", prefix="blue."), "here")  # a broker that does not say its id
    with pytest.raises(
        OtherDeployment, match=r"here.*cluster: one.*two.*PENSTOCK_PREFIX.*penstock reset FILE"
    ):
        claim(keyspace, Identity(pipeline="cards", prefix="blue.", cluster="two"), "here")


def test_names_that_are_the_same_only_when_joined_are_refused() -> None:
    keyspace = MemoryKeyspace(MemoryServer())
    claim(keyspace, Identity(pipeline="eu-cards", prefix="shop-", cluster="one"), "here")
    with pytest.raises(
        OtherDeployment, match="'shop-eu-cards' as pipeline 'eu-cards'.*Choose another prefix"
    ):
        claim(keyspace, Identity(pipeline="cards", prefix="shop-eu-", cluster="one"), "here")


def test_what_cannot_be_read_there_is_said() -> None:
    server = MemoryServer()
    server.put(identity_key("cards"), b"\xff")
    with pytest.raises(OtherDeployment, match="penstock:cards:identity"):
        claim(MemoryKeyspace(server), Identity(pipeline="cards"), "here")


def test_a_start_on_the_redis_of_another_cluster_is_refused_before_a_key_is_touched(
    client: redis.Redis,
) -> None:
    first = flow_of(client, MemoryLog(), "blue.")
    first.feed(outs(card_events(100)))
    first.settle()
    first.close()
    before = {key: client.dump(key) for key in keys_of(client)}
    with pytest.raises(OtherDeployment, match="another Kafka cluster"):
        flow_of(client, MemoryLog(), "blue.")
    assert {key: client.dump(key) for key in keys_of(client)} == before
    flow_of(client, MemoryLog(), "green.").close()


@pytest.mark.parametrize("role", ["featurize", "learn", "control"])
def test_every_role_looks_whose_keys_they_are_before_anything_else(
    role: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(prefix="blue.", secret=SECRET)
    claim(RedisKeyspace(client), Identity(pipeline="cards", prefix="blue.", cluster="another"), "there")
    monkeypatch.setattr(start, "open_log", lambda *_: MemoryLog())
    monkeypatch.setattr(start, "open_redis", lambda _: client)
    monkeypatch.setattr(start, "until_told", lambda _: lambda: True)
    runs: dict[str, Callable[[], None]] = {
        "featurize": lambda: start.run_featurize(cards(), settings),
        "learn": lambda: start.run_learn(cards(), "cards.py", settings),
        "control": lambda: start.run_control(cards(), settings),
    }
    with pytest.raises(OtherDeployment, match="another Kafka cluster: another"):
        runs[role]()


def test_commands_look_under_their_prefix(
    client: redis.Redis, valkey_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = flow_of(client, MemoryLog(), "blue.")
    flow.feed(outs(card_events(100)))
    flow.settle()
    flow.close()
    view = flow.pipeline.views[0].name
    entity = next(key for key in keys_of(client) if key.startswith(f"features:blue.cards:{view}:")).split(
        ":"
    )[3]
    monkeypatch.setenv("REDIS_URL", valkey_url)
    for prefix, code in (("blue.", 0), ("", 2), ("green.", 2)):
        monkeypatch.setenv("PENSTOCK_PREFIX", prefix)
        assert cli.main(["features", "get", view, entity, "--pipeline", "cards"]) == code
    live, header = snapshot_of(client, "blue.cards")
    assert live["pipeline"] == "cards" and header is not None
    assert snapshot_of(client, "cards") == (None, None)


def test_a_start_at_a_cluster_without_the_topics_claims_nothing(client: redis.Redis) -> None:
    with pytest.raises(UnknownTopic, match="penstock topics FILE"):
        start.check_owner(cards(), Settings(prefix="blue."), MemoryLog(), client)
    assert keys_of(client) == set()
    log = MemoryLog()
    log.create(topology.samples("cards", "blue."))
    start.check_owner(cards(), Settings(prefix="blue."), log, client)
    assert keys_of(client) == {identity_key("blue.cards")}
