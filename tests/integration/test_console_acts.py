"""An act made through the console's page, on a real broker: control decides, learn carries it out, and the page says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from penstock.stream import cli, topology
from penstock.stream.console.app import Console
from penstock.stream.console.guard import host_names
from penstock.stream.console.reading.ask import Asker
from penstock.stream.console.reading.follow import Follower
from penstock.stream.console.who.people import People
from penstock.stream.control import role
from penstock.stream.process.health_page import Health
from tests.integration.test_commands import PARTITIONS, Place
from tests.patience import eventually
from tests.stream.console.acting import OURS, PASSWORD, filled, password_file

ACT = "/pipelines/parcels/act"


@pytest.fixture
def place(
    kafka_bootstrap: str, valkey_url: str, valkey: redis.Redis, unique: Callable[[str], str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Iterator[Place]:  # fmt: skip
    made = Place(kafka_bootstrap, valkey_url, unique("acts"), tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("PENSTOCK_PREFIX", made.settings.prefix)
    assert cli.main(["topics", made.file, "--create-sources", "--partitions", str(PARTITIONS)]) == 0
    capsys.readouterr()
    yield made
    made.log.close()
    made.redis.close()


def test_an_act_from_the_page_is_decided_carried_out_and_shown(place: Place, tmp_path: Path) -> None:
    place.publish(60)
    place.run(place.featurize(), place.learn())
    follower = Follower(["parcels"], place.settings, Health("console")).start()
    asker = Asker(place.settings)
    console = Console(
        follower.reading, {"parcels": place.pipeline}, host_names("127.0.0.1", ["testserver"]),
        people=People(password_file(tmp_path)), ask=asker,
    )  # fmt: skip
    try:
        browser = TestClient(console, headers=OURS, follow_redirects=False)
        assert eventually(lambda: follower.reading.states.caught_up)
        assert browser.post(f"{ACT}/hold", data={"reason": "x", "once": "0" * 32}).status_code == 403
        assert asker._producer is None, "who only looks needs no producer"
        assert browser.post("/login", data={"name": "omar", "password": PASSWORD}).status_code == 303
        confirmation = filled(browser, "hold", {"reason": "storm"})
        pages = {browser.post(f"{ACT}/hold", data=confirmation).headers["location"] for _ in range(2)}
        [page] = pages
        [asked] = [
            json.loads(one.value) for one in place.records(place.settings.prefix + topology.CONTROL_COMMANDS)
        ]
        assert (asked["verb"], asked["by"], asked["source"], asked["reason"]) == (
            "hold",
            "omar",
            "console",
            "storm",
        )
        assert eventually(lambda: "omar</strong> asked to hold" in browser.get(page).text)

        decisions = (place.settings.prefix + topology.CONTROL_DECISIONS, 0)
        role.run(place.pipeline, place.settings, lambda: place.log.bounds([decisions])[decisions][1] > 0)
        assert eventually(lambda: "Learn has not shown it as carried out yet" in browser.get(page).text)
        place.run(place.learn())
        assert eventually(lambda: "Carried out: learning held: storm (omar)." in browser.get(page).text)
        assert "is held already since" in browser.get(f"{ACT}/hold").text
        assert "nothing to resume" not in browser.get(f"{ACT}/resume").text
    finally:
        asker.close()
        follower.close()
