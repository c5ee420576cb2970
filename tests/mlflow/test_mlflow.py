"""Against a real MLflow server on SQLite: its page shows what `penstock models` shows.

`make test-mlflow` installs the server into an environment of its own, and runs this. Without it, or without the client, all of it
is skipped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.stream import cli
from penstock.stream.models.mlflow_registry import COMMITTED, MlflowRegistry, client_of
from penstock.stream.models.publisher import Publisher
from penstock.stream.models.version import Version, unseal
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from tests.patience import PATIENCE_S, eventually
from tests.stream.generated import card_events, cards, outs
from tests.stream.roles.test_in_memory import ask, flow_of

pytest.importorskip("mlflow", reason="MLflow's client is not installed: make test-mlflow")
SERVER = os.environ.get("PENSTOCK_TEST_MLFLOW", "")
CARDS = str(Path(__file__).parents[2] / "examples" / "cards.py")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that keeps everything in a folder of this run."""
    if not SERVER:
        pytest.skip("no MLflow server: PENSTOCK_TEST_MLFLOW names its program, as `make test-mlflow` does")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    line = [
        SERVER, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts",
    ]  # fmt: skip
    with (folder / "output").open("wb") as output:
        server = subprocess.Popen(
            line, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (folder / "output").read_text()
        try:
            urllib.request.urlopen(f"{address}/health", timeout=PATIENCE_S)
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    try:
        assert eventually(answers)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(PATIENCE_S)


@pytest.fixture
def flow(
    valkey: redis.Redis, valkey_url: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MemoryFlow]:
    """A flow whose learn role publishes, told by the tests when; it has learned for a while and stored copies."""
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
    for name, value in (("REDIS_URL", valkey_url), ("PENSTOCK_SECRET", SECRET), ("PENSTOCK_MLFLOW", uri)):
        monkeypatch.setenv(name, value)
    made = flow_of(cards(), client=valkey)
    registry = MlflowRegistry(client_of(uri), "cards", made.models, SECRET, inputs=made.pipeline.vector_names)
    made.learn.publisher = Publisher(registry)
    made.feed(outs(card_events(400)))
    made.settle()
    yield made
    made.close()
    client = client_of(uri)  # each test begins with an empty page
    client.delete_registered_model("penstock.cards")


def published(flow: MemoryFlow) -> Publisher:
    """What the thread would do after the next snapshot."""
    assert flow.learn.fold is not None and flow.learn.publisher is not None
    flow.learn._snapshot(flow.learn.fold)
    flow.learn.publisher.publish()
    return flow.learn.publisher


def shown_by_penstock(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main(["models", CARDS, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def shown_by_mlflow(uri: str) -> dict[str, Any]:
    """What its page is made of: every registered version by Penstock's id, with the aliases."""
    client = client_of(uri)
    model = client.get_registered_model("penstock.cards")
    found = client.search_model_versions("name='penstock.cards'")
    assert len({each.tags["penstock.version"] + each.tags["penstock.digest"] for each in found}) == len(found)
    by_number = {str(each.version): each.tags["penstock.version"] for each in found}
    return {
        "versions": {each.tags["penstock.version"]: each for each in found},
        "aliases": {alias: by_number[str(number)] for alias, number in model.aliases.items()},
    }


def test_mlflows_page_shows_the_versions_that_penstock_models_shows(
    flow: MemoryFlow, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = [one.version for one in flow.learn.fold.experts.models if one.kind == "frozen"]  # type: ignore[union-attr]
    ask(flow, "rollback", version=frozen[-1])
    ask(flow, "rollback", version="previous")
    assert published(flow).failures == 0
    told, page = shown_by_penstock(capsys), shown_by_mlflow(uri)
    assert len(told["versions"]) > 2 and {one["id"] for one in told["versions"]} == page["versions"].keys()
    assert page["aliases"] == {"champion": told["live"]["committed"], "previous": told["live"]["previous"]}
    assert page["aliases"] == {"champion": "v0", "previous": frozen[-1]}
    client = client_of(uri)
    for one in told["versions"]:
        there = page["versions"][one["id"]]
        tags = {name.removeprefix("penstock."): value for name, value in there.tags.items()}
        for name in ("digest", "kind", "author", "recipe", "river", "python"):
            assert tags.get(name, "") == one[name]
        assert (tags["reason"], there.description) == (one["why"], one["why"])
        offsets = ("position", "join_from", "learned_from")
        assert [tags.get(name) for name in offsets] == [
            None if one[name] is None else str(one[name]) for name in offsets
        ]
        assert tags["state"] == one["state"]
        metrics = client.get_run(there.run_id).data.metrics
        measured = one["measured"]
        assert metrics == {
            "log_loss": measured["loss"], "base_log_loss": measured["base_loss"], "live_log_loss": measured["live_loss"],
            "labels": measured["labels"],
        }  # fmt: skip
    champion = page["versions"]["v0"].tags
    assert (champion["penstock.committed_by"], champion["penstock.committed_why"]) == (
        "ann",
        "rollback: told to",
    )


def test_the_artifact_is_the_sealed_version(flow: MemoryFlow, uri: str, tmp_path: Path) -> None:
    published(flow)
    version_id, there = next(iter(shown_by_mlflow(uri)["versions"].items()))
    folder = client_of(uri).download_artifacts(there.run_id, "model", str(tmp_path))
    (file,) = Path(folder).glob("*.penstock")
    assert unseal(file.read_bytes(), SECRET, Version) == flow.models.get(version_id)
    assert {path.name for path in Path(folder).iterdir()} >= {"MLmodel", "card.json"}


def test_a_version_is_registered_once_and_every_commitment_moves_the_aliases(
    flow: MemoryFlow, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = published(flow).registered
    assert first == len(flow.models.ids()) > 0 and "champion" not in shown_by_mlflow(uri)["aliases"]
    frozen = [one.version for one in flow.learn.fold.experts.models if one.kind == "frozen"]  # type: ignore[union-attr]
    for target in (frozen[0], "v0", frozen[0]):
        ask(flow, "rollback", version=target)
        published(flow)
        assert shown_by_mlflow(uri)["aliases"]["champion"] == target
    capsys.readouterr()
    assert cli.main(["models", "sync", CARDS]) == 0
    assert capsys.readouterr().out == "penstock.cards: 0 versions registered, 0 deleted\n"


def test_names_are_aliases_there_and_go_when_they_are_taken_away(flow: MemoryFlow, uri: str) -> None:
    published(flow)
    one, other = sorted(flow.models.ids())[:2]
    client = client_of(uri)
    client.set_registered_model_alias("penstock.cards", "theirs", 1)
    assert cli.main(["models", "alias", CARDS, "best", one]) == 0
    assert cli.main(["models", "sync", CARDS, "--mlflow", uri]) == 0
    theirs = shown_by_mlflow(uri)["aliases"]["theirs"]
    assert shown_by_mlflow(uri)["aliases"] == {"best": one, "theirs": theirs}
    published(flow)
    assert cli.main(["models", "alias", CARDS, "best", other]) == 0
    published(flow)
    assert shown_by_mlflow(uri)["aliases"] == {"best": other, "theirs": theirs}
    assert cli.main(["models", "alias", CARDS, "best", "--remove"]) == 0
    published(flow)
    assert shown_by_mlflow(uri)["aliases"] == {"theirs": theirs}


def test_what_the_store_dropped_goes_unless_it_was_committed_or_somebody_gave_it_an_alias(
    flow: MemoryFlow, uri: str
) -> None:
    frozen = [one.version for one in flow.learn.fold.experts.models if one.kind == "frozen"]  # type: ignore[union-attr]
    ask(flow, "rollback", version=frozen[0])
    published(flow)
    before = shown_by_mlflow(uri)["versions"]
    theirs, *others = [name for name in before if name not in (frozen[0], "v0")]
    assert others
    client_of(uri).set_registered_model_alias("penstock.cards", "theirs", before[theirs].version)
    flow.models.delete(list(before))
    published(flow)
    after = shown_by_mlflow(uri)
    assert after["versions"].keys() == {frozen[0], theirs}
    assert after["versions"][frozen[0]].tags["penstock.state"] == "no longer stored"
    assert COMMITTED in after["versions"][frozen[0]].tags and after["aliases"] == {"theirs": theirs}


def test_a_server_that_is_away_stops_nothing_and_the_command_says_so(
    flow: MemoryFlow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        away = Publisher(MlflowRegistry(client_of(address), "cards", flow.models, SECRET))
        there, flow.learn.publisher = flow.learn.publisher, away
        assert published(flow).failures == 1
        assert cli.main(["models", "sync", CARDS, "--mlflow", address]) == 2
        assert f"MLflow at {address}" in capsys.readouterr().err
    flow.learn.publisher = there
    published(flow)
