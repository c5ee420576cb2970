"""Every role and tool that reads or writes Redis, over a cluster: what they give is what they give over one server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from penstock import View, count, last
from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import live_key, private_prefix
from penstock.features.redis.keyspace import MemoryKeyspace, RedisKeyspace
from penstock.features.redis.store import connect
from penstock.stream import cli
from penstock.stream.backfill.run import Backfill
from penstock.stream.console.reading.entity import look_up
from penstock.stream.operate.pipelines import in_redis
from penstock.stream.operate.reset import delete_keys
from penstock.stream.operate.stored_features import tasks_of
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from tests.serving import out, payment, serving
from tests.stream.generated import PAID, card_events, cards, outs, parcel_events, parcels
from tests.stream.roles.test_in_memory import check, flow_of
from tests.stream.serve.served_flow import predictions_of, samples_of


@pytest.fixture
def client(cluster_url: str) -> Iterator[redis.Redis]:
    found = connect(cluster_url)
    delete_keys(found, "cards")
    yield found
    found.close()


def names(client: redis.Redis, pipeline: str) -> list[str]:
    """What there is of a pipeline."""
    keyspace = RedisKeyspace(client)
    prefixes = (private_prefix(pipeline), live_key(pipeline), f"model:{pipeline}")
    return [name for prefix in prefixes for batch in keyspace.scan(prefix) for name in batch]


@pytest.mark.parametrize("made", [parcels, cards])
def test_the_flow_over_a_cluster_is_the_naive_flow_and_nothing_is_left_of_it_after_a_reset(
    client: Any, made: Any
) -> None:
    name = f"p{uuid.uuid4().hex[:8]}"
    flow, memory = flow_of(made(name), partitions=3, client=client), flow_of(made(name), partitions=3)
    for one in (flow, memory):
        one.feed(outs(parcel_events(500) if made is parcels else card_events(500)))
        one.settle()
    check(flow, client.get)
    wanted: list[tuple[str, Any]] = [
        (view.name, tuple(f"{n}" for _ in view.key_fields) if len(view.key_fields) > 1 else f"c{n}")
        for view in flow.pipeline.views
        for n in range(50)
    ]
    tasks = tasks_of(flow.pipeline, client, "")
    assert tasks == (("all",) if made is parcels else ("0", "1", "2"))
    of_cluster = FeatureReader(client, name, flow.pipeline.views, tasks=tasks).read(wanted, 1_900_000_000_000)
    of_memory = FeatureReader(memory.server, name, flow.pipeline.views, tasks=tasks).read(
        wanted, 1_900_000_000_000
    )
    assert of_cluster == of_memory
    assert name in in_redis(client, "") and len(names(client, name)) > 50
    flow.close()
    assert sum(delete_keys(client, name).values()) > 50
    assert names(client, name) == []


def test_requests_are_answered_over_a_cluster_as_the_topic_will(client: redis.Redis) -> None:
    with serving(client) as running:
        asked = {name: value for name, value in payment(200).items() if name != "fraud"}
        status, said = running.ask("POST", "/v1/pipelines/cards:predict?vector=true", asked)
        assert status == 200, said
        running.flow.feed([out(payment(200))])
        running.flow.settle()
        sample, published = samples_of(running.flow)[-1], predictions_of(running.flow)[-1]
        assert (said["prediction"], said["model"]["version"]) == (
            published.prediction,
            published.model.version,
        )
        assert list(said["vector"].values()) == sample.x
        assert running.ask("GET", f"/v1/pipelines/cards/features/card/{payment(200)['card']}")[0] == 200


def test_the_commands_read_a_cluster(
    client: Any, cluster_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"p{uuid.uuid4().hex[:8]}"
    flow = flow_of(cards(name), partitions=4, client=client)
    flow.feed(outs(card_events(300)))
    flow.settle()
    monkeypatch.setenv("REDIS_URL", cluster_url)
    assert cli.main(["features", "get", "card", "c1", "c2", "c3", "--pipeline", name, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [*documents] = FeatureReader(flow.client or "", name).read([("card", f"c{n}") for n in (1, 2, 3)])
    assert [one["values"] for one in told] == [one.values for one in documents] and documents[0].found
    assert cli.main(["features", "get", "card", "c1", "--pipeline", name[:-1] + "x"]) == 2
    assert f"did you mean '{name}'" in capsys.readouterr().err
    assert start.open_redis(Settings(redis_url=cluster_url)).get(f"model:{name}") is None
    flow.close()
    assert json.loads(client.get(f"model:{name}"))["position"] > 300


def test_a_definition_is_changed_over_a_cluster_as_over_one_server(client: Any) -> None:
    """Task by task: the documents of all of them switch, and what belongs to no version goes."""
    name = f"p{uuid.uuid4().hex[:8]}"
    before = cards(name)
    features = {"paid_1h": count("1h"), "paid_2h": count("2h"), "last": last("amount")}
    after = cards(name, views=[View("card", PAID, key="card", features=features)])
    found = []
    for given in (client, None):
        flow = flow_of(before, partitions=3, client=given)
        flow.feed(outs(card_events(400)))
        flow.settle()
        flow.close()
        keyspace = MemoryKeyspace(flow.server) if given is None else RedisKeyspace(given)
        report = Backfill(after, flow.log, flow.store, keyspace, lambda: 7).run()
        assert report.settled_documents > 0 and report.deleted_keys > 0
        reader = FeatureReader(client if given is not None else flow.server, name)
        read = reader.read([("card", f"c{n}") for n in range(50)])
        assert {one.recipe for one in read if one.found} == {after.views[0].version}
        found.append([(one.found, one.values, one.at_ms) for one in read])
    assert found[0] == found[1] and sum(one[0] for one in found[0]) > 10


def test_the_console_looks_entities_up_in_a_cluster(client: Any) -> None:
    name = f"p{uuid.uuid4().hex[:8]}"
    flow = flow_of(cards(name), partitions=4, client=client)
    flow.feed(outs(card_events(300)))
    flow.settle()
    servers: Any = SimpleNamespace(client=client, prefix="")
    found = look_up(servers, flow.pipeline, "card", ("c1",), None)
    assert found.features is not None and found.features.found and not found.said
