"""A golden log: the same digests anywhere, and another one for each thing that a change changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.stream import cli
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.plan import golden
from penstock.stream.roles.in_memory import MemoryFlow
from tests.integration.test_kill import CARDS, PARCELS
from tests.stream.generated import outs, parcel_events

ROOT = Path(penstock.__file__).parents[1]
FORMER = PARCELS.replace("NAME", "parcels")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A golden log in the working directory, `golden.ndjson`, and its definition, `parcels.py`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parcels.py").write_text(FORMER)
    log = filled(outs(parcel_events(400)))
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: log)
    assert cli.main(["golden", "parcels.py", "golden.ndjson", "--keep", "100000"]) == 0
    return tmp_path


def filled(stream: list[Out], partitions: int = 2) -> MemoryLog:
    log = MemoryLog(lambda: 1_800_000_000.0)
    for name in ("parcels.sent", "parcels.delivered"):
        log.create(name, partitions)
    log.append(stream)
    return log


def changed(folder: Path, before: str, after: str) -> None:
    assert before in FORMER
    (folder / "parcels.py").write_text(FORMER.replace(before, after))


def compared(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = cli.main(["golden", "parcels.py", "golden.ndjson", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_same_definition_gives_the_same_digests_in_another_process(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = compared(capsys)
    assert (
        code == 0 and found["equal"] and found["counts"]["samples"] == 400 and found["counts"]["labels"] > 300
    )
    line = [sys.executable, "-P", "-m", "penstock.stream.cli", "golden", "parcels.py", "golden.ndjson"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_ENGINE": "python"}
    done = subprocess.run(line, cwd=kept, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.endswith("equal\n"), (done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("before", "after", "different"),
    [
        ('done_1h=count("1h")', 'done_1h=count("2h")', {"view depot", "samples", "predictions", "model"}),
        ('key="depot", features=dict(sent_1h', 'key="street", features=dict(sent_1h',
         {"view traffic", "samples", "predictions", "model"}),
        ("LogisticRegression()", "LogisticRegression(l2=0.1)", {"predictions", "model"}),
        ('e["late"] > 15', 'e["late"] > 25', {"labels", "predictions", "model"}),
        ('inputs=["weight"]', "inputs=[]", {"samples", "predictions", "model"}),
    ],
)  # fmt: skip
def test_a_change_has_other_digests_of_what_it_changes(
    kept: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, different: set[str]
) -> None:
    changed(kept, before, after)
    code, found = compared(capsys)
    assert code == 1 and {one.partition(":")[0] for one in found["different"]} == different
    assert cli.main(["golden", "parcels.py", "golden.ndjson", "--record"]) == 0
    assert compared(capsys)[0] == 0


def test_the_samples_are_those_that_the_roles_make_of_these_records(kept: Path) -> None:
    flow = MemoryFlow(load("parcels.py"), partitions=1)
    for line in golden.read(Path("golden.ndjson")):
        flow.feed([Out(line.topic, line.key, line.data, (), 0)])
    flow.settle()
    flow.close()
    assert flow.learn.fold is not None
    made = golden.made(load("parcels.py"), golden.read(Path("golden.ndjson")))
    counts = flow.learn.fold.counts
    assert (made.counts["samples"], made.counts["labels"]) == (counts.samples, counts.labels)


def test_some_records_are_kept_of_each_topic_its_share_in_the_order_of_time(kept: Path) -> None:
    pipeline = load("parcels.py")
    log = filled(outs(parcel_events(400)), partitions=3)
    records = list(golden.newest_of(pipeline, log, 200))
    assert abs(len(records) - 200) <= 6
    times = [
        json.loads(one.value or b"")["sent_at" if one.topic == "parcels.sent" else "done_at"]
        for one in records
    ]
    assert times == sorted(times)
    everything = list(golden.newest_of(pipeline, log, 10**6))
    assert len(everything) == len(outs(parcel_events(400)))


def test_what_is_no_json_is_kept_as_it_is_and_stays_a_dead_letter(kept: Path) -> None:
    wrong = [b"{nonsense", b"[1]", b"", b"\xff\x00", b'{"weight": 1e999}', None]
    log = filled([*outs(parcel_events(20)), *(Out("parcels.sent", b"van1", one, (), 0) for one in wrong)])
    path = Path("golden.ndjson.gz")
    golden.write(path, golden.newest_of(load("parcels.py"), log, 10**6))
    assert golden.made(load("parcels.py"), golden.read(path)).counts["dead letters"] == len(wrong)
    assert {line.data for line in golden.read(path)} >= set(wrong)


def test_models_made_elsewhere_cannot_be_compared_and_all_else_can(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = golden.kept_at(Path("golden.ndjson"))
    said = json.loads(beside.read_text())
    said["under"]["river"], said["digests"]["model"] = "0.1", "another"
    beside.write_text(json.dumps(said))
    code, found = compared(capsys)
    assert code == 2 and found["different"] == [] and "river 0.1, here" in found["incomparable"]
    assert cli.main(["golden", "parcels.py", "golden.ndjson"]) == 2
    assert "keep them anew with --record" in capsys.readouterr().err
    said["digests"]["samples"] = "another"
    beside.write_text(json.dumps(said))
    assert compared(capsys)[0] == 1


def test_what_cannot_be_said_is_said_in_one_line(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line, words in (
        (["golden", "parcels.py", "nothing.ndjson"], "--keep 5000` makes one"),
        (["golden", "parcels.py", "golden.ndjson", "--keep", "0"], "at least 1"),
    ):
        assert cli.main(line) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    Path("bad.ndjson").write_text('{"topic": "parcels.sent"}\n')
    assert cli.main(["golden", "parcels.py", "bad.ndjson"]) == 2
    assert "bad.ndjson, line 1: not a record" in capsys.readouterr().err
    Path("cards.py").write_text(CARDS.replace("NAME", "cards"))
    with pytest.raises(DefinitionError, match="which is no source of 'cards'"):
        golden.made(load("cards.py"), golden.read(Path("golden.ndjson")))
    golden.kept_at(Path("golden.ndjson")).unlink()
    assert cli.main(["golden", "parcels.py", "golden.ndjson"]) == 2
    assert "--record keeps them" in capsys.readouterr().err
