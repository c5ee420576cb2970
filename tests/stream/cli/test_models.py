"""`penstock models`: the table says what each version is now, and a pipeline without versions is told so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.stream import cli
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import encode_json
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import Version
from tests.stream.generated import cards

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


def filled(store: RedisModelStore, **more: Any) -> None:
    store.put(made("v1", 10, labels=7_000, why="a copy"), b"")
    store.put(made("retrain-c1", 20, kind="retrained", labels=900, why="retrained on [0, 20)"), b"")
    store.put(made("v2", 30, kind="adopted", parent="retrain-c1", why="drift"), b"")
    store.put(made("v3", 40, labels=198_000, parent="v0"), b"")
    store.client.set(
        "model:cards",
        json.dumps(
            {
                "version": "v3", "position": 50, "why": "promoted", "labels": 198_000,
                "states": {"v1": "frozen", "v2": "retrained", "v3": "live"}, **more,
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
    live, _, headings, *lines = capsys.readouterr().out.splitlines()
    assert headings.split() == ["version", "state", "kind", "labels", "born", "position", "parent", "why"]
    assert [line.split()[:4] for line in lines[:3]] == [
        ["v1", "frozen", "copy", "7,000"],
        ["retrain-c1", "kept", "retrain", "900"],
        ["v2", "retrained", "adopted", "900"],
    ]
    assert lines[3].split() == ["*", "v3", "live", "copy", "198,000", "2023-11-14T22:13", "40", "v0", "-"]
    assert "drift" in lines[2] and "retrained on [0, 20)" in lines[1]
    assert live == "live: v3, 198,000 labels learned, at position 50: promoted"


def test_one_version_in_full_and_as_json(store: RedisModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    filled(store)
    assert cli.main(["models", CARDS, "v2"]) == 0
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert (shown["state"], shown["labels"], shown["parent"]) == ("retrained", "900", "retrain-c1")
    assert cli.main(["models", CARDS, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["id"]: one["state"] for one in told["versions"]} == {
        "v1": "frozen", "retrain-c1": "kept", "v2": "retrained", "v3": "live",
    }  # fmt: skip


EXPERTS: list[dict[str, Any]] = [
    {"version": "base", "kind": "base", "weight": 0.004, "judged": 90_000, "loss": 0.69314, "live_loss": 0.3},
    {"version": "v0", "kind": "first", "weight": 0.096, "learned": 90_000, "judged": 90_000, "loss": 0.31, "live_loss": 0.3},
    {"version": "v3", "kind": "new", "weight": 0.9, "born_at": 1_700_000_000_000, "learned": 900, "judged": 850, "loss": 0.25,
     "live_loss": 0.26},
    {"version": "v4", "kind": "careful", "weight": 0.0},
]  # fmt: skip


def test_the_models_of_now_come_first_with_their_weights_and_losses_the_leader_and_the_committed_one_marked(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store, experts=EXPERTS, committed="v0", weight=0.9)
    assert cli.main(["models", CARDS]) == 0
    lines = capsys.readouterr().out.splitlines()
    headings, v3, v0, base, v4, empty, live, second, stored, *_ = lines
    words = [[cell for cell in line.split("  ") if cell] for line in (headings, v3, v0, base, v4)]
    assert [[cell.strip() for cell in line] for line in words] == [
        ["version", "what it is", "now", "weight", "born", "labels", "judged", "loss", "live's"],
        ["v3", "a fresh model", "leads", "90.0%", "2023-11-14T22:13", "900", "850", "0.2500", "0.2600"],
        [
            "v0",
            "the first model, never touched",
            "committed",
            "9.6%",
            "-",
            "90,000",
            "90,000",
            "0.3100",
            "0.3000",
        ],
        ["base", "the base rate", "0.4%", "-", "-", "90,000", "0.6931", "0.3000"],
        ["v4", "a copy that leaves out values outside their range", "0.0%", "-", "-", "-", "-", "-"],
    ]
    assert empty == second == "" and live.startswith("live: v3, 198,000 labels") and "position" in stored


def test_a_pinned_version_is_marked_as_alone(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store, experts=EXPERTS, committed="v3", weight=0.9, pinned=True, alone=True)
    assert cli.main(["models", CARDS]) == 0
    assert "a fresh model                                      alone, pinned  " in capsys.readouterr().out
    assert cli.main(["models", CARDS, "--json"]) == 0
    live = json.loads(capsys.readouterr().out)["live"]
    assert live["experts"] == EXPERTS and live["committed"] == "v3" and live["pinned"] is True


def test_a_document_that_cannot_be_read_is_one_line_and_the_versions_are_shown(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store, experts=[{"version": "v3", "weight": "heavy"}])
    assert cli.main(["models", CARDS]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("the models of now cannot be read: ") and "$.experts[0]" in first
    assert any(line.startswith("*  v3") for line in rest)


def test_what_learn_stores_is_what_is_shown(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    fold = Fold(cards())
    fold.at = 1_700_000_000_000
    store.client.set("model:cards", encode_json(fold.document()))
    assert cli.main(["models", CARDS]) == 0
    told = capsys.readouterr().out
    assert (
        f"the first model, never touched  leads, committed   {fold.live_model().weight:.1%}" in told
        and "live: v0, 0 labels learned" in told
    )
    former = {"pipeline", "version", "why", "at", "position", "digest", "labels", "states"}
    assert former <= fold.document().keys(), "a former version's readers find their keys"


def test_a_version_that_is_not_there_is_said_with_those_that_are(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store)
    assert cli.main(["models", CARDS, "v9"]) == 1
    assert "there are: v1, retrain-c1, v2, v3" in capsys.readouterr().err
