"""`penstock models`: the table says what each version is now, and a pipeline without versions is told so."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import river

from penstock.stream import cli
from penstock.stream.cli.model_registry import looked_up
from penstock.stream.definition_file import load
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.models.digest import digest
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import Measured, Version, dump
from penstock.stream.process.settings import Settings
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
    measured = Measured(labels=500, loss=0.2, base_loss=0.69, start=10, stop=40)
    store.put(made("v3", 40, labels=198_000, parent="v0", author="ann", measured=measured), b"")
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
    assert headings.split() == [
        "version", "state", "kind", "labels", "loss", "base", "born", "position", "parent", "by", "why",
    ]  # fmt: skip
    assert [line.split()[:4] for line in lines[:3]] == [
        ["v1", "frozen", "copy", "7,000"],
        ["retrain-c1", "kept", "retrain", "900"],
        ["v2", "retrained", "adopted", "900"],
    ]
    assert lines[3].split() == [
        "*", "v3", "live", "copy", "198,000", "0.2000", "0.6900", "2023-11-14T22:13", "40", "v0", "ann", "-",
    ]  # fmt: skip
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


def test_champion_previous_and_names_are_shown_and_stand_for_their_versions(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store, committed="v3", previous="v1")
    assert cli.main(["models", "alias", CARDS, "best", "v1", "--reason", "quiet week", "--by", "ann"]) == 0
    assert "best is v1 as it is stored now, digest d" in capsys.readouterr().out
    assert cli.main(["models", CARDS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("v1  " in line and "frozen, previous, best" in line for line in lines)
    assert any("v3  " in line and "live, champion" in line for line in lines)
    assert any("name/best" in line and "ann" in line and "quiet week" in line for line in lines)
    for asked, id_ in (("champion", "v3"), ("previous", "v1"), ("best", "name/best"), ("v2", "v2")):
        assert cli.main(["models", "show", CARDS, asked]) == 0
        assert capsys.readouterr().out.splitlines()[0].split() == ["id", id_]
    assert cli.main(["models", "alias", CARDS]) == 0
    assert capsys.readouterr().out == "best  v1  ann  quiet week\n"
    assert cli.main(["models", "alias", CARDS, "best", "--remove"]) == 0
    assert store.ids() == {"v1", "v2", "v3", "retrain-c1"}
    assert cli.main(["models", "alias", CARDS, "best", "--remove"]) == 1
    assert "no version is named 'best'" in capsys.readouterr().err


def test_a_version_goes_from_one_deployment_to_another_in_a_file_and_can_be_put_in_place_there(
    store: RedisModelStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = load(CARDS)
    model = pipeline.model.clone()
    version = made("v7.1f0c2a", 70, recipe=pipeline.digest, digest=digest(model))
    store.put(version, dump(model))
    file, pickled = tmp_path / "v7.penstock", tmp_path / "v7.pkl"
    assert cli.main(["models", "export", CARDS, "v7", str(file)]) == 0
    assert cli.main(["models", "export", CARDS, "v7", str(pickled), "--river"]) == 0
    assert digest(pickle.loads(pickled.read_bytes())) == version.digest
    told = json.loads((tmp_path / "v7.pkl.json").read_text())
    assert (told["id"], told["river"], told["inputs"]) == (
        version.id,
        river.__version__,
        pipeline.vector_names,
    )
    assert "runs code" in told["warning"] and "runs code" in capsys.readouterr().err
    monkeypatch.setenv("PENSTOCK_PREFIX", "staging.")
    monkeypatch.setenv("PENSTOCK_SECRET", "another")
    assert cli.main(["models", "import", CARDS, str(file)]) == 2
    assert "PENSTOCK_SECRETS_FORMER" in capsys.readouterr().err
    monkeypatch.setenv("PENSTOCK_SECRETS_FORMER", f"older, {SECRET}")
    assert cli.main(["models", "import", CARDS, str(pickled)]) == 1
    assert "without --river" in capsys.readouterr().err
    assert cli.main(["models", "import", CARDS, str(file), "--by", "ann"]) == 0
    name = f"import-v7.1f0c2a.{version.digest[:6]}"
    assert f"--version {name}" in capsys.readouterr().out
    there = RedisModelStore(store.client, "cards", "another", prefix="staging.")
    taken = there.get(name)
    assert taken is not None and taken[1] == dump(model)
    assert (taken[0].kind, taken[0].parent, taken[0].author) == ("imported", version.id, "ann")
    request = OperatorRequest(
        id="r", pipeline="cards", verb="promote", reason="", by="ann", version="import-v7"
    )
    settings = Settings.from_env()
    asked = looked_up(request, settings)
    assert (asked.version, asked.digest) == (name, version.digest)
    plain = msgspec.structs.replace(request, version="v7")
    assert looked_up(plain, settings) == plain, "what learn knows itself is left as it is"


def test_what_a_former_secret_signed_is_read_and_signed_anew(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    monkeypatch.setenv("PENSTOCK_SECRET", "new")
    assert cli.main(["models", CARDS]) == 2
    assert "PENSTOCK_SECRETS_FORMER" in capsys.readouterr().err
    monkeypatch.setenv("PENSTOCK_SECRETS_FORMER", SECRET)
    for line in ("4 of 4", "0 of 4"):
        assert cli.main(["models", "resign", CARDS]) == 0
        assert capsys.readouterr().out == f"{line} versions were signed anew\n"
    monkeypatch.delenv("PENSTOCK_SECRETS_FORMER")
    assert cli.main(["models", CARDS]) == 0


def test_a_version_that_is_not_there_is_said_with_those_that_are(
    store: RedisModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(store)
    assert cli.main(["models", CARDS, "v9"]) == 1
    assert "there are: v1, retrain-c1, v2, v3" in capsys.readouterr().err
