"""The reader: one round trip, and a status for every value."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from penstock import View, count, last, mean, since_last
from penstock.features.engine.compute import CompiledView
from penstock.features.read.client import FeatureReader, MomentPassed, OtherDefinition
from penstock.features.redis.keys import entity_key, live_key, public_key, state_key
from penstock.features.redis.memory import MemoryServer
from penstock.features.units import StoreUnavailable
from tests.patience import PATIENCE_S

SOURCE = SimpleNamespace(name="arrivals")
MINUTE, HOUR = 60_000, 3_600_000
AIRPORT = View("airport", SOURCE, "origin", dict(n=count("1h"), delay=mean("delay", "1h")))
LEG = View("leg", SOURCE, ("origin", "dest"), dict(delay=last("delay"), idle=since_last()))
VIEWS = [AIRPORT, LEG]


class CountingServer(MemoryServer):
    """Counts the round trips."""

    trips = 0

    def mget(self, names: Iterable[str]) -> list[bytes | None]:
        self.trips += 1
        return super().mget(names)


@pytest.fixture
def server() -> CountingServer:
    """JFK had an event at 10:00 without a delay, the leg JFK-LAX one with."""
    server = CountingServer()
    for view, entity, event in ((AIRPORT, ("JFK",), {}), (LEG, ("JFK", "L|X"), {"delay": 7})):
        compiled = CompiledView(view)
        state = compiled.new()
        compiled.update(state, 10 * HOUR, 0, event)
        name = entity_key(entity)
        server.put(state_key("flights", "3", view.name, view.version, name), compiled.encode(state))
        document = compiled.document(state, 10 * HOUR, 10 * HOUR + 5)
        server.put(public_key("flights", view.name, name), document)
    return server


WANTED: list[Any] = [("airport", "JFK"), ("leg", ("JFK", "L|X")), ("airport", "none"), ("airport", "JFK")]


def test_documents_are_read_in_one_round_trip_in_the_order_asked(server: CountingServer) -> None:
    found = FeatureReader(server, "flights").read(WANTED, at_ms=10 * HOUR + MINUTE)
    assert server.trips == 1
    assert [f.values for f in found] == [
        {"n": 1, "delay": None},
        {"delay": 7, "idle": 0},
        {},
        {"n": 1, "delay": None},
    ]
    assert [f.status for f in found[:3]] == [
        {"n": "present", "delay": "null"},
        {"delay": "present", "idle": "present"},
        {},
    ]
    assert [f.found for f in found] == [True, True, False, True]
    first = found[0]
    assert (first.at_ms, first.age_ms, first.until_ms, first.recipe) == (
        10 * HOUR, MINUTE, 11 * HOUR + 5 * MINUTE, AIRPORT.version,
    )  # fmt: skip


def test_a_document_is_stale_from_the_moment_a_window_may_have_changed(server: CountingServer) -> None:
    """Not one millisecond before; a null stays null."""
    reader = FeatureReader(server, "flights")
    until = 11 * HOUR + 5 * MINUTE
    assert reader.read(WANTED[:1], until - 1)[0].status == {"n": "present", "delay": "null"}
    assert reader.read(WANTED[:1], until)[0].status == {"n": "stale", "delay": "null"}
    assert reader.read(WANTED[1:2], until)[0].status == {"delay": "present", "idle": "present"}


def test_with_definitions_windows_are_evaluated_at_the_readers_moment(server: CountingServer) -> None:
    """In one round trip too, whichever task owns the entity."""
    reader = FeatureReader(server, "flights", VIEWS, tasks=("1", "2", "3"))
    found = reader.read(WANTED, at_ms=12 * HOUR)
    assert server.trips == 1
    assert [f.values for f in found] == [
        {"n": 0, "delay": None},
        {"delay": 7, "idle": 7200},
        {"n": 0, "delay": None},
        {"n": 0, "delay": None},
    ]
    assert [f.status for f in found[:3]] == [
        {"n": "present", "delay": "null"},
        {"delay": "present", "idle": "present"},
        {"n": "missing", "delay": "missing"},
    ]
    assert (found[0].at_ms, found[0].age_ms, found[0].until_ms) == (12 * HOUR, 2 * HOUR, None)


@pytest.mark.parametrize("views", [None, VIEWS])
def test_a_moment_before_what_is_stored_is_refused(server: CountingServer, views: list[View] | None) -> None:
    reader = FeatureReader(server, "flights", views, tasks=("3",))
    with pytest.raises(MomentPassed, match="airport 'JFK'"):
        reader.read(WANTED[:1], at_ms=10 * HOUR - 1)


@pytest.mark.parametrize("views", [None, VIEWS])
def test_now_is_never_before_what_is_stored(server: CountingServer, views: list[View] | None) -> None:
    """An event time may be ahead of the reader's clock."""
    compiled = CompiledView(AIRPORT)
    state = compiled.new()
    future = 10**14
    compiled.update(state, future, 0, {})
    server.put(state_key("flights", "all", "airport", AIRPORT.version, "LAX"), compiled.encode(state))
    server.put(public_key("flights", "airport", "LAX"), compiled.document(state, future, 0))
    (found,) = FeatureReader(server, "flights", views).read([("airport", "LAX")])
    assert (found.values["n"], found.age_ms, found.at_ms) == (1, 0, future)


def test_an_unknown_view_or_another_definition_is_an_error(server: CountingServer) -> None:
    with pytest.raises(KeyError, match="runway"):
        FeatureReader(server, "flights", VIEWS).read([("runway", "1")])
    other = View("airport", SOURCE, "origin", dict(n=count("2h")))
    server.put(live_key("flights"), json.dumps({"views": {"airport": AIRPORT.version}}).encode())
    with pytest.raises(OtherDefinition, match=f"airport.*{other.version}.*serves {AIRPORT.version}"):
        FeatureReader(server, "flights", [other], tasks=("3",)).read(WANTED[:1])
    with pytest.raises(OtherDefinition, match="leg.*serves no such view"):
        FeatureReader(server, "flights", VIEWS, tasks=("3",)).read(WANTED[1:2])


def test_the_live_key_switches_every_document_at_once(server: CountingServer) -> None:
    """A document that holds the next version's values too is read as the version that is live."""
    key = public_key("flights", "airport", "JFK")
    document = json.loads(server.data[key])
    after = {**document, "values": {"n": 9.0}, "recipe": "0a1b2c3d"}
    server.put(key, json.dumps({**document, "next": after}).encode())
    reader = FeatureReader(server, "flights")
    (before_the_switch,) = reader.read(WANTED[:1], 10 * HOUR)
    server.put(live_key("flights"), json.dumps({"views": {"airport": "0a1b2c3d"}}).encode())
    airport, leg = reader.read(WANTED[:2], 10 * HOUR)
    assert (before_the_switch.values["n"], before_the_switch.recipe) == (1, AIRPORT.version)
    assert (airport.values, airport.recipe) == ({"n": 9.0}, "0a1b2c3d")
    assert not leg.found, "a view that is no longer served is missing"


def test_nothing_asked_is_nothing_answered(server: CountingServer) -> None:
    assert FeatureReader(server, "flights").read([]) == []
    assert server.trips == 0


def test_a_server_that_does_not_answer_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{free.getsockname()[1]}/0"
    with pytest.raises(StoreUnavailable, match=url):
        FeatureReader(url, "flights").read([("airport", "JFK")])


def test_a_real_server_answers_like_the_twin(
    server: CountingServer, valkey: redis.Redis, valkey_url: str
) -> None:
    """By URL or by client; also after the server dropped the connection."""
    for name, value in server.data.items():
        valkey.set(name, value)
    expected = FeatureReader(server, "flights").read(WANTED, 12 * HOUR)
    reader = FeatureReader(valkey_url, "flights")
    assert reader.read(WANTED, 12 * HOUR) == expected
    valkey.client_kill_filter(_type="normal", skipme=True)
    assert reader.read(WANTED, 12 * HOUR) == expected
    assert FeatureReader(valkey, "flights").read(WANTED, 12 * HOUR) == expected


def test_a_value_older_than_its_max_age_is_stale(server: CountingServer) -> None:
    """By feature, by view or for all; one that is null stays null."""
    now = 10 * HOUR + 2 * MINUTE
    for max_age, idle, delay in (
        ("1m", "stale", "stale"), ("2m", "present", "present"), ({"leg.idle": "1m"}, "stale", "present"),
        ({"leg": "1m", "leg.delay": "1h"}, "stale", "present"), ({"airport": "1m"}, "present", "present"),
    ):  # fmt: skip
        for views in (None, VIEWS):
            reader = FeatureReader(server, "flights", views, tasks=("3",), max_age=max_age)  # type: ignore[arg-type]
            leg, airport = reader.read([WANTED[1], WANTED[0]], now)
            assert leg.status == {"idle": idle, "delay": delay}
            assert airport.status["delay"] == "null"
    with pytest.raises(ValueError, match="no unit"):
        FeatureReader(server, "flights", max_age="10")


def test_a_reader_counts_what_it_serves(server: CountingServer) -> None:
    reader = FeatureReader(server, "flights", max_age={"leg": "30s"})
    reader.read(WANTED, at_ms=10 * HOUR + MINUTE)
    assert (reader.served.entities, reader.served.missing, reader.served.stale) == (4, 1, 1)
    assert reader.served.age_ms == 3 * MINUTE and reader.served.defaults == 0


def test_options_reach_the_connection() -> None:
    reader = FeatureReader(
        "rediss://h:1/0", "p", timeout_s=0.5, username="u", ssl_ca_certs="ca.pem", max_connections=3
    )
    given = reader._client.connection_pool.connection_kwargs
    assert (given["username"], given["ssl_ca_certs"], given["socket_timeout"]) == ("u", "ca.pem", 0.5)
    assert reader._client.connection_pool.max_connections == 3


NODE = Path(__file__).with_name("read_features.js")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on the PATH")
def test_another_language_reads_a_document_in_five_lines(
    server: CountingServer, valkey: redis.Redis, valkey_url: str
) -> None:
    """Node, without a library: its own example, against a real server."""
    key = public_key("flights", "leg", entity_key(("JFK", "L|X")))
    valkey.set(key, server.data[key])
    done = subprocess.run(
        ["node", NODE, valkey_url, key], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout == "delay=7 idle=0 stale=false\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on the PATH")
def test_another_language_ends_and_says_so_when_there_is_no_such_entity(
    valkey: redis.Redis, valkey_url: str
) -> None:
    key = public_key("flights", "leg", "nobody")
    done = subprocess.run(
        ["node", NODE, valkey_url, key], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout == "no such entity\n"
