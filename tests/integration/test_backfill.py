"""`penstock backfill` beside roles that run, on a real broker and a real Valkey, killed at points of every stage of its work.

Laws of this file: those of `test_kill`; points are drawn from a seed, counted in the run's own writes, and printed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import redis

from penstock.features.read.client import FeatureReader
from penstock.stream import cli, topology
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.messages import LabelRecord, Recipe, Sample, decode_entry
from tests.integration.test_kill import PARCELS, Place, Role, slowed_no_longer
from tests.patience import PATIENCE_S
from tests.stream.generated import outs, parcel_events
from tests.stream.naive_flow import NaiveFlow, alike, everything

# `KILL_AT=convert:7` ends the process at the seventh moment of converting; every write has one before it and one after it.
MORTAL = """
import functools, os, signal
from penstock.features.redis import keyspace
from penstock.features.redis import store
from penstock.stream.backfill import ownership
stage_at, _, moment = os.environ.get("KILL_AT", "").partition(":")
moments = []
def passed(stage):
    moments.append(stage)
    if stage == stage_at and moments.count(stage) == int(moment):
        os.kill(os.getpid(), signal.SIGKILL)
def mortal(owner, name, stage_of):
    inner = getattr(owner, name)
    @functools.wraps(inner)
    def outer(self, *args):
        stage = stage_of(self)
        passed(stage)
        found = inner(self, *args)
        passed(stage)
        return found
    setattr(owner, name, outer)
if moment:
    mortal(store.RedisStateStore, "save", lambda store: "build" if "+" in store._task else "convert")
    mortal(ownership.Owner, "open", lambda _: "switch")
    for name in ("replace", "delete"):
        mortal(keyspace.RedisKeyspace, name, lambda _: "settle")
"""

# So slow that the change finds the former worker in the middle of its backlog, however slow the machine makes the change: from
# the middle on, a record at a time.
SLOW = """
import time
from penstock.stream.featurize import worker
done = []
def process_batch(self, timeout_s, inner=worker.FeaturizeWorker.process_batch):
    time.sleep(0.05)
    found = inner(self, timeout_s)
    done.append(found)
    if sum(done) > 9_000:
        worker.BATCH_RECORDS = 1
    return found
worker.FeaturizeWorker.process_batch = process_batch
"""

CHANGES = {
    'done_1h=count("1h")': 'done_6h=count("6h"), late_ever=sum("late")',
    'late=last("late"), idle=since_last()': "late=last('late'), idle=since_last(), most=max('late')",
    "count, last, mean, since_last": "count, last, max, mean, since_last, sum",
    '        View("traffic"': '        View("van", sent, key="van", features=dict(sent_1d=count("1d"))),\n        View("traffic"',
}


def changed(text: str) -> str:
    """One view loses and gains features, one gains one, one is new, one stays as it is."""
    for former, new in CHANGES.items():
        assert former in text
        text = text.replace(former, new)
    return text


class Change:
    """One pipeline under two definitions, each with its own file, on the same topics and the same Redis."""

    def __init__(self, old: Place, new: Place) -> None:
        self.old, self.new = old, new

    def killed(self, at: str) -> None:
        """A run of `penstock backfill` that is killed at this point."""
        line = [sys.executable, "-m", "penstock.stream.cli", "backfill", str(self.new.file)]
        env = {**self.new.env, "KILL_AT": at}
        run = subprocess.run(line, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert run.returncode == -signal.SIGKILL, (at, run.stdout, run.stderr)

    def keys(self, pattern: str) -> list[str]:
        return [key.decode() for key in self.new.client.scan_iter(match=pattern, count=1_000)]


@pytest.fixture
def change(
    kafka_bootstrap: str,
    valkey: redis.Redis,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Change]:
    slowed_no_longer(monkeypatch)
    log = KafkaLog(kafka_bootstrap)
    text = PARCELS.replace("NAME", unique("change"))
    places = []
    for folder, definition in (("old", text + SLOW), ("new", changed(text) + MORTAL)):
        (tmp_path / folder).mkdir()
        places.append(Place(log, kafka_bootstrap, valkey, valkey_url, tmp_path / folder, definition))
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "PENSTOCK_SECRET"):
        monkeypatch.setenv(name, places[0].env[name])
    assert cli.main(["topics", str(places[0].file), "--create-sources", "--partitions", "2"]) == 0
    yield Change(*places)
    for place in places:
        for role in place.roles:
            role.end()
    log.close()


def exit_of(role: Role) -> int:
    """The exit code of a role that ends by itself."""
    assert role.process is not None
    try:
        return role.process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(role.said()) from None


def up(place: Place, role: Role) -> Role:
    """The role, once it can be told to stop."""
    before = len(role.output.read_text()) if role.output.exists() else 0
    role.start()
    place.until(lambda: "health page" in role.output.read_text()[before:], "it does not start")
    return role


def kill_points(seed: int) -> list[str]:
    """One moment or more of each stage, in the order in which a run gets to them."""
    chance = random.Random(seed)
    convert = sorted(chance.sample(range(3, 16), 2))
    settle = chance.randrange(1, 9)
    points = [f"build:{chance.randrange(1, 8)}", *(f"convert:{n}" for n in convert)]
    return [*points, "switch:1", "switch:2", f"settle:{settle}"]


def wrong_samples(change: Change, old: NaiveFlow, new: NaiveFlow) -> list[str]:
    """What is wrong in the samples log: each record's sample and label once, as its own lineage's definition gives them."""
    place = change.new
    names = {place.log.topic_id(source.name): source.name for source in place.pipeline.sources}
    left, wrong, under = {(*at, 0) for at in new.samples} | {(*at, 1) for at in new.labels}, [], new
    newest: dict[tuple[str, int], tuple[int, int]] = {}
    for record in everything(place.log, place.samples):
        entry = decode_entry(record.value or b"")
        if isinstance(entry, Recipe):
            under = new if entry.digest == new.pipeline.digest else old
        if not isinstance(entry, Sample | LabelRecord):
            continue
        origin = entry.origin
        if newest.get((origin.topic_id, origin.partition), (-1, 0)) >= (origin.offset, origin.sub):
            continue  # a repeat, which learn passes over
        newest[origin.topic_id, origin.partition] = origin.offset, origin.sub
        at = (names[origin.topic_id], origin.partition, origin.offset)
        left.discard((*at, origin.sub))
        if isinstance(entry, LabelRecord):
            right = under.labels[at] == (entry.id, entry.at, entry.y)
        else:
            wanted = under.samples[at]
            right = wanted[:2] == (entry.id, entry.at) and alike(wanted[2], entry.x)
        if not right:
            wrong.append(f"{at} gave {entry}")
    return wrong + [f"{at} gave nothing" for at in left]


def wrong_states(change: Change, new: NaiveFlow) -> list[str]:
    """Entities whose stored state does not give what the naive flow gives, at one moment for all."""
    views = {view.name: view for view in new.pipeline.views}
    reader = FeatureReader(change.new.env["REDIS_URL"], new.pipeline.name, new.pipeline.views)
    at_ms = max(event.at_ms for view in new.documents().values() for event in view.events)
    wrong = []
    wanted = [(view, tuple(map(unquote, entity.split("|")))) for view, entity in new.documents()]
    for found, naive in zip(reader.read(wanted, at_ms), new.documents().values(), strict=True):
        assert list(found.values) == list(views[found.view].features)
        if not found.found or not alike([*found.values.values()], naive.values(at_ms)):
            wrong.append(f"{found.view} {found.entity} is {found.values}, not {naive.values(at_ms)}")
    return wrong


@pytest.mark.long
@pytest.mark.parametrize("seed", [1])
def test_killed_at_points_of_every_stage_a_change_ends_as_if_it_had_always_been_defined_so(
    change: Change, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = change.old, change.new
    topic_of = {f"parcels.{end}": f"{old.pipeline.name}.{end}" for end in ("sent", "delivered")}
    made = [
        record._replace(topic=topic_of[record.topic]) for record in outs(parcel_events(10_500, depots=300))
    ]
    first, more = made[: len(made) * 4 // 5], made[len(made) * 4 // 5 :]
    old.produce(first, seed=11)
    featurize, learn = old.role("featurize"), old.role("learn")
    old.until_progress(old.samples, 2_000)

    assert cli.main(["backfill", str(new.file), "--dry-run"]) == 0
    assert "view depot: late_3h kept, done_6h, late_ever rebuilt, done_1h removed" in capsys.readouterr().out

    for point in kill_points(seed):
        print("killed at", point, "of seed", seed, file=sys.stderr)
        change.killed(point)
        if point == "switch:1":
            early = new.role("featurize")
            assert exit_of(featurize) == exit_of(early) == 2
            assert "is under way: finish it with" in early.said()
    said = featurize.said().splitlines()[-1]
    assert said.startswith("penstock: a change of") and "is under way" in said
    assert cli.main(["backfill", str(new.file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["before"] == report["after"] == new.pipeline.digest
    assert cli.main(["backfill", str(new.file)]) == 0
    assert "nothing to bring over" in capsys.readouterr().out

    # Readers with the former definition are told, those with none get what is live.
    assert cli.main(["features", "get", "depot", "d0", "--file", str(old.file)]) == 2
    assert "is read as version" in capsys.readouterr().err
    assert cli.main(["features", "get", "depot", "d0", "--pipeline", new.pipeline.name, "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["recipe"] == new.pipeline.views[0].version and "late_ever" in shown["values"]
    late = old.role("featurize")
    assert exit_of(late) == 2
    assert "`penstock backfill FILE` brings state and features over" in late.said()

    old.until(
        lambda: old.committed_all("learn", [(old.samples, 0)]), "the former learn did not come to the end"
    )
    assert learn.stop() == 0, learn.said()
    assert "goes on under recipe" in learn.output.read_text()
    featurize, learn = Role(new, "featurize"), Role(new, "learn")
    new.roles += [featurize, learn]
    assert not new.committed_all("featurize", new.sources()), "the change came after the backlog's end"
    up(new, featurize), up(new, learn)
    new.until(lambda: new.committed_all("featurize", new.sources()), "featurize did not come to the end")
    assert featurize.stop() == 0, featurize.said()
    new.produce(more, seed=12)
    up(new, featurize)
    new.until(lambda: new.committed_all("featurize", new.sources()), "featurize did not go on")
    assert featurize.stop() == 0, featurize.said()
    new.until(lambda: new.committed_all("learn", [(new.samples, 0)]), "learn did not come to the end")
    assert learn.stop() == 0, learn.said()

    naive = NaiveFlow(new.pipeline, new.log)
    assert wrong_samples(change, NaiveFlow(old.pipeline, old.log), naive) == []
    assert naive.wrong_documents(new.client.get) == []  # type: ignore[arg-type]
    assert wrong_states(change, naive) == []
    assert naive.wrong_dead_letters(new.log, topology.dead_letters(new.pipeline.name)) == set()
    name = new.pipeline.name
    documents = change.keys(f"features:{name}:*")
    assert len(documents) == len(naive.documents())
    assert not [key for key in documents if b'"next"' in (new.client.get(key) or b"")]  # type: ignore[operator]
    assert len(change.keys(f"penstock:{name}:all:state:*")) == len(naive.documents())
    assert change.keys(f"penstock:{name}:*+*") == []
    assert cli.main(["replay", str(new.file)]) == 0, capsys.readouterr()


def test_what_cannot_be_brought_over_is_said_in_one_line(
    change: Change, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["backfill", str(change.new.file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("penstock: ") and "has no state yet: start its featurize role" in said
    assert said.count("\n") == 1
    bad = tmp_path / "bad.py"
    bad.write_text("pipeline = 1\n")
    assert cli.main(["backfill", str(bad)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"  # the fixture puts it back
    assert cli.main(["backfill", str(change.new.file), "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
