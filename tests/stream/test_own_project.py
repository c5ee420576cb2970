"""A project with packages that are named like ours, and modules beside its definition."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count as numbers
from pathlib import Path

import pytest

import penstock
from penstock.stream.definition_file import load
from penstock.stream.learn.records import Job
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_json
from penstock.stream.models.version import dump, restore
from penstock.stream.roles.in_memory import MemoryFlow

ROOT = Path(penstock.__file__).parents[1]
DEFINITION = """\
from river import compose, linear_model, preprocessing
from penstock import View, count, Label, Pipeline, Source

import redis                      # the client, whatever lies beside this file
import scoring
from features import NAME
from features.rules import is_fraud
from stream.steps import clipped
from monitors import LEAST

assert redis.Redis and NAME == "{name}"
paid = Source("paid", id="id", time="at", key="card")
pipeline = Pipeline(
    "shop",
    views=[View("card", paid, key="card", features=dict(n=count("1h")))],
    predict=paid,
    inputs=["amount"],
    label=Label(paid, is_fraud, fields=("fraud",), wait="1h"),
    model=compose.FuncTransformer(clipped) | compose.FuncTransformer(scoring.doubled)
    | preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""


def project(folder: Path, name: str = "first") -> Path:
    for package in ("features", "stream", "monitors", "tests"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(f"NAME, LEAST = {name!r}, 1\n")
    (folder / "features" / "rules.py").write_text(
        "def is_fraud(event):\n    from monitors import LEAST\n    return event['fraud'] >= LEAST\n"
    )
    (folder / "stream" / "steps.py").write_text(
        "def clipped(x):\n    import late\n    return {key: late.least(value) for key, value in x.items()}\n"
    )
    (folder / "late.py").write_text("def least(value):\n    return min(value, 100.0)\n")
    (folder / "scoring.py").write_text(
        "def doubled(x):\n    return {key: 2 * value for key, value in x.items()}\n"
    )
    for taken in ("redis", "kafka", "json", "penstock"):
        (folder / f"{taken}.py").write_text("raise ImportError('the one beside the definition')\n")
    (folder / "definition.py").write_text(DEFINITION.replace("{name}", name))
    return folder / "definition.py"


def run(*line: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A fresh process in `cwd` that knows this checkout and nothing else of this test's."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    env.pop("PYTHONHASHSEED", None)
    return subprocess.run(
        [sys.executable, *line], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def test_check_works_in_a_project_with_packages_named_like_ours(tmp_path: Path) -> None:
    project(tmp_path)
    script = (
        "import sys; from penstock.stream.cli import main; sys.argv[0] = 'penstock'; raise SystemExit(main())"
    )
    for line in (
        ("-P", "-m", "penstock.stream.cli", "check", "definition.py"),
        ("-P", "-c", script, "check", "definition.py"),  # as the console script does
    ):
        ended = run(*line, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("pipeline  shop")


def test_a_process_finds_what_a_model_refers_to_once_it_has_loaded_the_definition(tmp_path: Path) -> None:
    definition = project(tmp_path / "here")
    model = load(definition).model
    for n in range(50):
        model.learn_one({"amount": float(n)}, n > 25)
    (tmp_path / "model").write_bytes(dump(model))
    script = (
        "import sys; from pathlib import Path; from penstock.stream.definition_file import load;"
        "from penstock.stream.models.version import restore; load(sys.argv[1]);"
        "print(restore(Path(sys.argv[2]).read_bytes()).predict_proba_one({'amount': 30.0}))"
    )
    ended = run("-P", "-c", script, str(definition), str(tmp_path / "model"), cwd=tmp_path)
    assert ended.stdout.strip() == str(model.predict_proba_one({"amount": 30.0})), ended.stderr


def test_the_whole_flow_runs_on_it_and_retrains(tmp_path: Path) -> None:
    pipeline = load(project(tmp_path))
    wall = numbers(1_700_000_000_000, 10)
    flow = MemoryFlow(pipeline, clock=lambda: next(wall))
    for n in range(300):
        event = {"id": str(n), "at": 1_600_000_000_000 + n * 60_000, "card": f"c{n % 3}"}
        event |= {"amount": float(n % 200), "fraud": int(n % 200 > 90)}
        flow.feed([Out("paid", event["card"].encode(), encode_json(event))])  # type: ignore[attr-defined]
    flow.settle()
    assert flow.learn.fold is not None
    assert flow.learn.fold.at > 0 and flow.models.versions() == []
    flow.learn.retrainer.start("asked", Job(0, flow.learn.fold.position, []))
    (version,) = [version for version in flow.models.versions() if version.kind == "retrained"]
    found = flow.models.get(version.id)
    assert found is not None
    restore(found[1])
    flow.close()


def test_definitions_do_not_see_each_others_modules(tmp_path: Path) -> None:
    for name in ("first", "second", "first"):
        folder = tmp_path / name
        definition = folder / "definition.py" if folder.exists() else project(folder, name)
        load(definition)
        assert str(folder) in str(sys.modules["features"].__file__)
    (tmp_path / "second" / "scoring.py").unlink()
    with pytest.raises(Exception, match="No module named 'scoring'"):
        load(tmp_path / "second" / "definition.py")


def test_an_edited_neighbour_is_read_again(tmp_path: Path) -> None:
    definition = project(tmp_path)
    before = load(definition).digest
    rules = tmp_path / "features" / "rules.py"
    rules.write_text(rules.read_text().replace(">= LEAST", "<= LEAST + 1"))
    assert load(definition).digest != before


def test_a_project_leaves_our_own_modules_as_they_are(tmp_path: Path) -> None:
    load(project(tmp_path))
    import json

    import kafka
    import redis

    import penstock.features.redis.keys as ours

    assert "site-packages" in str(kafka.__file__) and "site-packages" in str(redis.__file__)
    assert json.dumps and str(ROOT) in str(Path(ours.__file__).resolve())
