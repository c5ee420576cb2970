"""Feast's own SDK over Penstock's features: the values that Penstock's reader gives, from a real store.

`make test-feast` installs Feast into an environment of its own and runs this. Without it all of it is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock import View, count, histogram, last, last_n, mean, since_last, top_k
from penstock.features.read.client import FeatureReader
from penstock.features.redis.store import connect
from penstock.stream import cli
from penstock.stream.convert.to_feast import to_feast
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.roles.in_memory import MemoryFlow
from tests.patience import PATIENCE_S
from tests.stream.generated import DELIVERED, outs, parcel_events, parcels

PYTHON = os.environ.get("PENSTOCK_TEST_FEAST", "")
ROOT = Path(__file__).parents[2]
ASKING = Path(__file__).with_name("asking.py")
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="PENSTOCK_TEST_FEAST names the Python of Feast's environment: make test-feast"
)
STORE = """\
project: parcels
registry: registry.db
provider: local
entity_key_serialization_version: 3
offline_store: {{type: file}}
online_store:
  type: penstock.stream.feast.online_store.PenstockOnlineStore
  redis_url: {url}
  pipeline: parcels
  stale: {stale}
"""
NOT_FOUND = 3


def pipeline() -> Pipeline:
    """Views of all that a document holds: numbers, text, lists, pairs; one with a compound key."""
    return parcels(
        views=[
            View("depot", DELIVERED, key="depot", features={"late_3h": mean("late", "3h"), "all": count(), "last": last("late")}),
            View("street", DELIVERED, key=("street", "depot"), features={"done": count(), "idle": since_last()}),
            View("van", DELIVERED, key="van", features={
                "late": last_n("late", 3), "bins": histogram("late", (0, 10)), "depots": top_k("depot", 2),
                "depot": last("depot", holds="text"),
            }),
        ],
    )  # fmt: skip


@pytest.fixture
def client(valkey_url: str) -> redis.Redis:
    client: redis.Redis = connect(valkey_url)
    client.flushall()
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(pipeline(), client=client, clock=lambda: next(wall))
    flow.feed(outs(parcel_events(300)))
    flow.settle()
    flow.close()
    return client


def ask(folder: Path, asked: list[Any]) -> list[Any]:
    done = subprocess.run(
        [PYTHON, str(ASKING)], cwd=folder, input=json.dumps(asked), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "FEAST_USAGE": "False"}, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("stale", ["serve", "hide"])
def test_feast_gives_what_penstocks_reader_gives(
    client: redis.Redis, valkey_url: str, tmp_path: Path, stale: str
) -> None:
    (tmp_path / "definitions.py").write_text(to_feast(pipeline()))
    (tmp_path / "feature_store.yaml").write_text(STORE.format(url=valkey_url, stale=stale))
    depots, vans = ["d0", "d1", "nowhere", "d1"], ["van1", "van2"]
    streets = [("s 1|", "d1"), ("s 2|", "d3"), ("none", "d1")]
    asked = [
        [["depot:late_3h", "depot:all", "depot:last"], [{"depot": one} for one in depots]],
        [["street:done"], [{"street": street, "depot": depot} for street, depot in streets]],
        [["van:late", "van:bins", "van:depots", "van:depot"], [{"van": one} for one in vans]],
    ]
    of_depots, of_streets, of_vans, refused = ask(tmp_path, asked)
    reader = FeatureReader(client, "parcels")

    def told(view: str, entities: list[Any], name: str) -> list[Any]:
        found = reader.read([(view, one) for one in entities])
        return [
            None if stale == "hide" and one.status.get(name) == "stale" else one.values.get(name)
            for one in found
        ]

    for name in ("late_3h", "all", "last"):
        assert of_depots["values"][name] == told("depot", depots, name)
        assert [one == NOT_FOUND for one in of_depots["statuses"][name]] == [False, False, True, False]
    assert of_streets["values"]["done"] == told("street", streets, "done")
    assert any(of_streets["values"]["done"])
    for name in ("late", "bins", "depot"):
        assert of_vans["values"][name] == told("van", vans, name)
    pairs = [None if one is None else json.loads(one) for one in of_vans["values"]["depots"]]
    assert pairs == told("van", vans, "depots")
    if stale == "serve":
        assert all(of_depots["values"]["all"][n] for n in (0, 1, 3)) and of_vans["values"]["late"][0]
    assert "features of this store come of events alone" in refused


def test_feasts_own_templates_become_definitions_that_load(tmp_path: Path, capsys: Any) -> None:
    where = "import feast, pathlib; print(pathlib.Path(feast.__file__).parent / 'templates')"
    templates = Path(
        subprocess.run([PYTHON, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    )
    converted = {}
    for folder in sorted(templates.glob("*/feature_repo")):
        if cli.main(["from-feast", str(folder), "--name", folder.parent.name]) < 2:
            made = tmp_path / "made.py"
            made.write_text(capsys.readouterr().out)
            converted[folder.parent.name] = [name.partition(".")[2] for name in load(made).vector_names]
        capsys.readouterr()
    assert {"local", "aws", "gcp", "postgres", "spark", "cassandra"} <= set(converted)
    assert converted["local"] == ["conv_rate", "acc_rate", "avg_daily_trips"] * 2
