"""A pipeline that learns in shards in the console: each shard is shown as a pipeline is, by its name, with its own samples."""

from __future__ import annotations

from itertools import count as numbers

import pytest
from starlette.testclient import TestClient

from penstock.stream import topology
from penstock.stream.console.reading.servers import Servers
from penstock.stream.console.state import States
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.shards import names_of, of_shard
from tests.stream.console.year import console_of
from tests.stream.generated import outs, parcel_events, parcels
from tests.stream.naive_flow import everything

SHARDS = 3


@pytest.fixture(scope="module")
def flow() -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(parcels(shard_by="van", shards=SHARDS), clock=lambda: next(wall))
    flow.feed(outs(parcel_events(900)))
    flow.settle()
    return flow


@pytest.fixture(scope="module")
def client(flow: MemoryFlow) -> TestClient:
    states = States(names_of(flow.pipeline))
    for topic in states.topics:
        for record in everything(flow.log, topic):
            states.step(topic, record.offset, record.timestamp_ms, record.value)
    states.caught_up = True
    models = {one.name: one for one in (of_shard(flow.pipeline, shard) for shard in range(SHARDS))}
    sources = Servers(Settings(), log=flow.log, client=None)
    return TestClient(console_of(states, models, sources=sources))


def samples_of(flow: MemoryFlow, shard: int) -> dict[int, Sample]:
    found = {
        record.offset: decode_entry(record.value or b"")
        for record in everything(flow.log, topology.samples("parcels"))
        if record.partition == shard
    }
    return {offset: entry for offset, entry in found.items() if isinstance(entry, Sample)}


def test_every_shard_has_its_pages_and_the_overview_names_all(client: TestClient) -> None:
    overview = client.get("/")
    assert overview.status_code == 200
    for shard in range(SHARDS):
        assert f"parcels.{shard}" in overview.text
        for page in ("", "/versions", "/predictions", "/features"):
            answer = client.get(f"/pipelines/parcels.{shard}{page}")
            assert answer.status_code == 200, page
    assert client.get("/pipelines/parcels").status_code == 404


def test_a_prediction_is_looked_up_in_its_own_shard(flow: MemoryFlow, client: TestClient) -> None:
    for shard in range(SHARDS):
        samples = samples_of(flow, shard)
        position, sample = max(samples.items())
        page = client.get(f"/pipelines/parcels.{shard}/predictions?position={position}").text
        assert sample.id in page and sample.key in page
        newest = client.get(f"/pipelines/parcels.{shard}/predictions").text
        mine = {one.id for one in samples.values()}
        others = {
            one.id for other in range(SHARDS) if other != shard for one in samples_of(flow, other).values()
        }
        listed = {one for one in mine | others if f">{one}<" in newest}
        assert listed and listed <= mine
