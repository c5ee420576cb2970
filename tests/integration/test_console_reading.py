"""The console's pages that read for themselves, on a real broker and a real Valkey: they say what the commands say."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from penstock.stream import cli
from penstock.stream.console.app import Console
from penstock.stream.console.guard import host_names
from penstock.stream.console.reading.follow import Follower
from penstock.stream.console.reading.servers import servers_of
from penstock.stream.console.who.people import People
from penstock.stream.log.protocol import Out
from penstock.stream.process.health_page import Health
from tests.integration.test_commands import PARTITIONS, SECRET, Place
from tests.patience import eventually
from tests.stream.console.acting import OURS, PASSWORD, hidden, password_file
from tests.stream.console.test_pages import text_of

OF = "/pipelines/parcels"


@pytest.fixture
def place(
    kafka_bootstrap: str, valkey_url: str, valkey: redis.Redis, unique: Callable[[str], str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Iterator[Place]:  # fmt: skip
    made = Place(kafka_bootstrap, valkey_url, unique("reading"), tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("PENSTOCK_SECRET", SECRET)
    monkeypatch.setenv("PENSTOCK_PREFIX", made.settings.prefix)
    assert cli.main(["topics", made.file, "--create-sources", "--partitions", str(PARTITIONS)]) == 0
    capsys.readouterr()
    yield made
    made.log.close()
    made.redis.close()


def test_pages_say_what_the_commands_say(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.publish(900)
    place.log.append(
        [Out(f"{place.name}.sent", b"van1", b"no json"), Out(f"{place.name}.sent", b"van2", b"{}")]
    )
    place.run(place.featurize(), place.learn())
    settings = replace(place.settings, secret=SECRET)
    follower = Follower(["parcels"], settings, Health("console")).start()
    console = Console(
        follower.reading, {"parcels": place.pipeline}, host_names("127.0.0.1", ["testserver"]), prefix=settings.prefix,
        sources=settings, people=People(password_file(tmp_path)), ask=lambda request: None,
    )  # fmt: skip

    def said(*command: str) -> str:
        capsys.readouterr()
        assert cli.main([*command]) in (0, 1)
        return capsys.readouterr().out

    try:
        browser = TestClient(console, headers=OURS, follow_redirects=False)
        assert browser.post("/login", data={"name": "omar", "password": PASSWORD}).status_code == 303
        assert eventually(lambda: follower.reading.states.caught_up)

        page = browser.get(f"{OF}/features?view=depot&k0=d1").text
        found = json.loads(said("features", "get", "depot", "d1", "--file", place.file, "--json"))
        rows = re.findall(
            r'class="small">([^<]*)</th><td class="number"><code>(.*?)</code></td><td>(\w+)', page
        )
        assert rows == [(name, str(value), found["status"][name]) for name, value in found["values"].items()]

        newest = re.findall(r'position=(\d+)">(p\d+)</a>', browser.get(f"{OF}/predictions").text)
        assert len(newest) == 50
        position, event_id = newest[10]
        assert f"Prediction {event_id}" in browser.get(f"{OF}/predictions?id={event_id}").text
        why = f"{OF}/predictions?position={position}"
        assert browser.get(f"{why}&why=yes").status_code == 200
        assert eventually(lambda: "It is what was published." in browser.get(why).text)
        explained = json.loads(said("explain", place.file, "--position", position, "--top", "0", "--json"))
        page = browser.get(why).text
        assert [
            (name, added)
            for name, added in re.findall(
                r'class="small">([^<]*)</th><td class="number"><code>.*?</code></td><td class="number">([^<]*)<',
                page,
            )
        ] == [(one["feature"], f"{one['contribution']:+.4g}") for one in explained["contributions"]]

        record = json.loads(said("history", "parcels", "--json"))["series"]
        page = text_of(browser.get(f"{OF}/time-travel?position={record['positions'][0]}").text)
        assert f"leads {record['leaders'][0]}" in page and f"live {record['losses']['live'][0]:.4f}" in page

        letters = [json.loads(line) for line in said("dead-letters", "parcels", "--json").splitlines()]
        page = html.unescape(browser.get(f"{OF}/dead-letters").text)
        assert len(letters) == 2
        assert all(
            one["reason"] in page and f"{one['topic']}[{one['partition']}]@{one['of']}" in page
            for one in letters
        )
        form = hidden(browser.get(f"{OF}/dead-letters?republish=yes").text)
        answer = browser.post(f"{OF}/dead-letters", data=form)
        assert answer.status_code == 303
        assert "2 records were sent back" in text_of(browser.get(answer.headers["location"]).text)
        values = [one.value for one in place.records(f"{place.name}.sent")]
        assert values.count(b"no json") == values.count(b"{}") == 2
    finally:
        follower.close()
        servers_of(settings).close()
