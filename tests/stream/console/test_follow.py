"""What follows the topics: one pipeline that cannot be looked at keeps nobody from looking at the others."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.stream.console.app import Console
from penstock.stream.console.guard import host_names
from penstock.stream.console.reading import follow
from penstock.stream.log.protocol import LogUnavailable
from penstock.stream.operate.status_found import Status
from penstock.stream.process.health_page import Health
from penstock.stream.process.settings import Settings


def test_a_pipeline_that_cannot_be_looked_at_is_said_and_the_others_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails = {"one"}

    def look(consumer: Any, admin: Any, name: str, prefix: str, now: int) -> Status:
        if name in fails:
            raise LogUnavailable("nothing came")
        return Status(name, {})

    monkeypatch.setattr(follow, "look", look)
    follower = follow.Follower(["one", "two"], Settings(), Health("console"))
    console = Console(follower.reading, {}, host_names("127.0.0.1", ["testserver"]))
    client = TestClient(console)
    for name in ("one", "two"):
        follower._look_at(None, None, name)  # type: ignore[arg-type]
    said = client.get("/").text
    assert (
        said.count("cannot be asked") == 1 and "it cannot be looked at (LogUnavailable: nothing came)" in said
    )
    assert said.count("all is well") == 1
    fails.clear()
    follower._look_at(None, None, "one")  # type: ignore[arg-type]
    assert "cannot be asked" not in client.get("/").text
