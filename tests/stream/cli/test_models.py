"""`penstock models`: the table says what each version is now, and a pipeline without versions is told so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.stream import cli
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import Version

CARDS = str(Path(__file__).parents[3] / "examples" / "cards.py")
SECRET = "secret"


@pytest.fixture
def store(valkey: redis.Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> RedisModelStore:
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("PENSTOCK_SECRET", SECRET)
    return RedisModelStore(valkey, "cards", SECRET)


def made(version_id: str, position: int, **given: Any) -> Version:
    known: dict[str, Any] = {
        "pipeline": "cards", "parent": None, "kind": "copy", "join_from": 0, "at": 1_700_000_000_000, "labels": 0, "recipe": "r",
        "digest": "d", **given,
    }  # fmt: skip
    return Version(id=version_id, position=position, **known)


def filled(store: RedisModelStore) -> None:
    store.put(made("v1", 10, labels=7_000, why="a copy"), b"")
    store.put(made("retrain-c1", 20, kind="retrained", labels=900, why="retrained on [0, 20)"), b"")
    store.put(made("v2", 30, kind="candidate", parent="retrain-c1", why="drift"), b"")
    store.put(made("v3", 40, labels=198_000, parent="v0"), b"")
    store.client.set(
        "model:cards",
        json.dumps(
            {
                "version": "v3", "position": 50, "why": "promoted", "labels": 198_000,
                "states": {"v1": "anchor", "v2": "candidate", "v3": "live"},
            }
        ),
    )  # fmt: skip


def test_without_versions_it_says_so_and_what_makes_them(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", CARDS]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "no versions yet" in line and "penstock retrain cards" in line


def test_each_version_has_its_state_kind_labels_birth_and_reason(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store)
    assert cli.main(["models", CARDS]) == 0
    headings, *lines, live = capsys.readouterr().out.splitlines()
    assert headings.split() == ["version", "state", "kind", "labels", "born", "position", "parent", "why"]
    assert [line.split()[:4] for line in lines[:3]] == [
        ["v1", "anchor", "copy", "7,000"],
        ["retrain-c1", "kept", "retrain", "900"],
        ["v2", "candidate", "candidate", "900"],
    ]
    assert lines[3].split() == ["*", "v3", "live", "copy", "198,000", "2023-11-14T22:13", "40", "v0", "-"]
    assert "drift" in lines[2] and "retrained on [0, 20)" in lines[1]
    assert live == "live: v3, 198,000 labels learned, at position 50: promoted"


def test_one_version_in_full_and_as_json(store: RedisModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store)
    assert cli.main(["models", CARDS, "v2"]) == 0
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (shown["state"], shown["labels"], shown["parent"]) == ("candidate", "900", "retrain-c1")
    assert cli.main(["models", CARDS, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["id"]: one["state"] for one in told["versions"]} == {
        "v1": "anchor", "retrain-c1": "kept", "v2": "candidate", "v3": "live",
    }  # fmt: skip


def test_a_version_that_is_not_there_is_said_with_those_that_are(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store)
    assert cli.main(["models", CARDS, "v9"]) == 1
    assert "there are: v1, retrain-c1, v2, v3" in capsys.readouterr().err
