"""The console over a real broker: its numbers are the command line's, and whoever reads again knows the same."""

from __future__ import annotations

import contextlib
import html
import http.client
import io
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from starlette.testclient import TestClient

from penstock.stream import cli, topology
from penstock.stream.console.app import Console
from penstock.stream.console.guard import host_names
from penstock.stream.console.reading.follow import Follower
from penstock.stream.definition_file import load
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LiveModel, encode_json
from penstock.stream.process.health_page import Health
from tests.integration.test_looking import Place, place, run_roles, say_bad_news
from tests.patience import PATIENCE_S, eventually
from tests.stream.console.test_state import seen

__all__ = ["place"]


@pytest.fixture
def ran(place: Place) -> Iterator[Place]:
    """The cards, learned, with featurize and learn in their groups, and bad news told."""
    cli.main(["publish", place.topic, str(place.write(900)), "--file", str(place.file)])
    with client(KafkaProducer, place.settings) as producer:
        producer.send(place.topic, key=b"k", value=b"no JSON 17")
    log = KafkaLog(place.settings.bootstrap)
    featurize, learn = run_roles(place, log)
    say_bad_news(place, log)
    yield place
    featurize.close()
    learn.close()
    log.close()


def followed(place: Place) -> Follower:
    """What follows the place's topics, once it has read them and looked."""
    found = Follower(["cards"], place.settings, Health("console")).start()
    states = found.reading
    assert eventually(lambda: states.states.caught_up and states.states.pipelines["cards"].status is not None)
    return found


def console_of(place: Place, follower: Follower) -> Console:
    definitions = {"cards": load(place.file)}
    return Console(
        follower.reading, definitions, host_names("127.0.0.1", ["testserver"]), prefix=place.settings.prefix
    )


def words(page: str) -> str:
    page = re.sub(r"<script.*?</script>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def status_of(place: Place) -> list[str]:
    """What the command line says, but for ages, which are of another moment."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        cli.main(["status", "cards"])
    lines = [re.sub(r"\s+", " ", line) for line in said.getvalue().splitlines()]
    return [line for line in lines if line and not line.startswith("time ")]


def test_the_page_says_what_the_command_line_says_and_who_reads_again_knows_the_same(ran: Place) -> None:
    first = followed(ran)
    page = TestClient(console_of(ran, first)).get("/pipelines/cards?span=all").text
    said = words(page)
    assert status_of(ran) and [line for line in status_of(ran) if line not in said] == []
    assert "waits for a person" in said and "learning is held" in said
    before = seen(first.reading.states.pipelines["cards"])
    assert before["points"][1] or before["blocks"], "history came from the topic"
    first.close()
    second = followed(ran)
    assert seen(second.reading.states.pipelines["cards"]) == before
    assert second.reading.states.positions == first.reading.states.positions
    second.close()


def test_what_is_told_reaches_the_state_and_a_topic_made_anew_is_read_anew(ran: Place) -> None:
    follower = followed(ran)
    state = follower.reading.states.pipelines["cards"]
    before = state.revision
    live = LiveModel(pipeline="cards", version="v9", why="it won", at=7, position=9, recipe="")
    models = ran.settings.prefix + topology.CONTROL_MODELS
    log = KafkaLog(ran.settings.bootstrap)
    log.append([Out(models, b"cards", encode_json(live))])
    assert eventually(lambda: follower.reading.states.pipelines["cards"].revision > before)
    assert eventually(lambda: follower.reading.states.pipelines["cards"].live == live)
    alerts = ran.settings.prefix + topology.CONTROL_ALERTS
    with client(KafkaAdminClient, ran.settings) as admin:
        admin.delete_topics([alerts])
    assert follower.reading.states.pipelines["cards"].events
    assert cli.main(["topics", str(ran.file)]) == 0
    assert eventually(
        lambda: follower.reading.states.caught_up and not follower.reading.states.pipelines["cards"].events
    )
    assert (
        follower.reading.states.pipelines["cards"].blocks
        or follower.reading.states.pipelines["cards"].past.hours
    )
    follower.close()
    log.close()


def test_the_command_serves_pages_and_streams_until_it_is_told_to_stop(ran: Place) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.stream.cli", "console", str(ran.file), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = next(
            filter(None, (re.search(r"http://(127\.0\.0\.1:\d+)/", line) for line in process.stderr))
        )
        address = found[1]

        def get(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE_S) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        assert eventually(lambda: get("/readyz")[0] == 200)
        assert eventually(lambda: "learning is held" in get("/")[1])
        metrics = get("/metrics")[1]
        assert (
            'role="console"' in metrics
            and "penstock_turns_total" in metrics
            and "penstock_role_ready 1.0" in metrics
        )
        event = first_event(address, "/live/pipelines/cards?span=all")
        assert "live_said" in event["parts"] and "losses" in event["charts"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def first_event(address: str, path: str) -> dict[str, Any]:
    """The first event of a stream."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no" and answer.headers["cache-control"] == "no-store"
    while not (line := answer.readline()).startswith(b"data: "):
        assert line, "the stream ended"
    connection.close()
    found: dict[str, Any] = json.loads(line[6:])
    return found
