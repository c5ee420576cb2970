"""A plan beside a pipeline that lived, all in memory: what it says is what the change then does, and nobody notices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.features.redis.keys import began_key, position_key
from penstock.features.redis.keyspace import MemoryKeyspace
from penstock.stream import cli, topology
from penstock.stream.backfill.ownership import CannotBackfill
from penstock.stream.backfill.run import Backfill, Report
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.position import decode_position
from penstock.stream.log.memory import MemoryLog
from penstock.stream.plan.live import World, stored_of
from penstock.stream.plan.planned import Plan
from penstock.stream.plan.readers import Finding
from penstock.stream.plan.run import plan, without_time
from penstock.stream.plan.telling import heading, markdown, text
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.what_if import what_if
from tests.places import CARDS, PARCELS
from tests.stream.generated import card_events, outs, parcel_events

EVENTS = 900
FORMER = PARCELS.replace("NAME", "parcels")
MODEL = "model=preprocessing.StandardScaler() | linear_model.LogisticRegression()"


class Lived:
    """A pipeline that lived through a stream, its definition in a file, and its servers."""

    def __init__(self, folder: Path, definition: str, stream: list[Any], **options: Any) -> None:
        self.folder = folder
        self.file = self.written("former.py", definition)
        self.flow = MemoryFlow(load(self.file), partitions=2, **options)
        self.flow.feed(stream)
        self.flow.settle()
        self.flow.close()
        assert isinstance(self.flow.log, MemoryLog)
        self.log = self.flow.log
        self.world = World(self.log, MemoryKeyspace(self.flow.server), self.flow.server)

    def written(self, name: str, definition: str) -> str:
        (self.folder / name).write_text(definition)
        return str(self.folder / name)

    def changed(self, *replaced: tuple[str, str], former: str = FORMER) -> str:
        """A file of the definition with these replacements."""
        for before, after in replaced:
            assert before in former
            former = former.replace(before, after)
        return self.written("changed.py", former)

    def plan(self, file: str, **options: Any) -> Plan:
        return plan(file, world=self.world, settings=Settings(), **options)

    def backfill(self, file: str) -> Report:
        flow = self.flow
        asked = Backfill(load(file), self.log, flow.store, MemoryKeyspace(flow.server), lambda: 7)
        return asked.run()

    def servers(self) -> Any:
        """What opens these servers, as `roles.start` opens real ones."""
        return SimpleNamespace(
            open_redis=lambda settings: self.flow.server,
            open_log=lambda settings: self.log,
            check_owner=lambda *_: None,
            task_partitions=lambda *_: 2,
        )

    def stands(self) -> Any:
        tps = [(name, n) for name, count in self.log.topics().items() for n in range(count)]
        return dict(self.flow.server.data), self.log.bounds(tps)


@pytest.fixture
def lived(tmp_path: Path) -> Lived:
    return Lived(tmp_path, FORMER, outs(parcel_events(EVENTS)))


ADD = ('done_1h=count("1h")', 'done_1h=count("1h"), late_ever=mean("late")')
DROP = (', done_1h=count("1h")', "")
WINDOW = ('mean("late", "3h")', 'mean("late", "2d")')
KEY = ('View("traffic", sent, key="depot"', 'View("traffic", sent, key="street"')
GONE = (
    '        View("traffic", sent, key="depot", features=dict(sent_1h=count("1h"), idle=since_last())),\n',
    "",
)
OTHER_MODEL = ("LogisticRegression()", "LogisticRegression(l2=0.1)")
LABEL = ('e["late"] > 15', 'e["late"] > 25')


@pytest.mark.parametrize(
    "change", [ADD, DROP, WINDOW, KEY, GONE, OTHER_MODEL, LABEL], ids=lambda one: one[1][:20] or "gone"
)
def test_what_a_plan_says_of_state_is_what_the_backfill_then_does(
    lived: Lived, change: tuple[str, str]
) -> None:
    file = lived.changed(change)
    before = lived.stands()
    found = lived.plan(file)
    assert lived.stands() == before, "a plan writes nothing"
    assert found.cost is not None and not found.refused
    done = lived.backfill(file)
    assert done.changes == found.changes
    assert done.records_read == found.cost.total
    assert done.kept_states + done.rebuilt_states == found.cost.states
    assert lived.plan(file).changes == [] and lived.plan(file).verdict() == "nothing"


def _bytes(lived: Lived) -> int:
    """Of states and documents, with what a key takes beside."""
    prefixes = ("features:parcels:", "penstock:parcels:all:state:")
    return sum(
        len(key) + len(value) + 75
        for key, value in lived.flow.server.data.items()
        if key.startswith(prefixes)
    )


@pytest.mark.parametrize(
    "change", [ADD, DROP, WINDOW, KEY, GONE], ids=["add", "drop", "window", "key", "gone"]
)
def test_the_bytes_that_a_plan_tells_are_those_that_come_or_go(lived: Lived, change: tuple[str, str]) -> None:
    file = lived.changed(change)
    found = lived.plan(file)
    assert found.cost is not None
    before = _bytes(lived)
    most = 0

    def look(*_: Any) -> None:
        nonlocal most
        most = max(most, sum(len(key) + len(value) + 75 for key, value in lived.flow.server.data.items()))

    everything = sum(len(key) + len(value) + 75 for key, value in lived.flow.server.data.items())
    asked = Backfill(
        load(file), lived.log, lived.flow.store, MemoryKeyspace(lived.flow.server), lambda: 7, progress=look
    )
    asked.run()
    assert found.cost.bytes_then - found.cost.bytes_now == pytest.approx(
        _bytes(lived) - before, rel=0.2, abs=400
    )
    if most > everything:
        assert most - everything <= 2 * found.cost.bytes_meanwhile
        assert found.cost.bytes_meanwhile <= 2 * (most - everything) + 400


@pytest.mark.parametrize("change", [DROP, OTHER_MODEL], ids=["recomputed", "folded again"])
def test_the_backtest_of_a_plan_is_what_if_over_the_same_stretch(
    lived: Lived, change: tuple[str, str]
) -> None:
    file = lived.changed(change)
    found = lived.plan(file, backtest="6h").backtest
    assert found is not None and found.since is not None
    alike = what_if(file, start=found.since, log=lived.log, settings=Settings())
    assert found.said == without_time(alike) and found.verdict == alike.verdict
    assert 0 < len(alike.columns) < 0.8 * EVENTS
    whole = what_if(file, log=lived.log, settings=Settings())
    assert len(whole.columns) > len(alike.columns), "6 hours are not all of it"
    folded = lived.plan(file, backtest="6h", against=lived.file).backtest
    assert folded is not None
    again = what_if(file, start=folded.since, against=lived.file, log=lived.log, settings=Settings())
    assert folded.said == without_time(again) and folded.said["live"] == "the former definition, folded again"


def test_another_question_has_no_backtest_and_the_plan_says_why(lived: Lived) -> None:
    found = lived.plan(lived.changed(LABEL), backtest="6h")
    assert (
        found.backtest is not None
        and "losses of different questions cannot be compared" in found.backtest.refused
    )
    assert found.exit_code() == 3 and found.exit_code(["readers"]) == 0
    assert "losses of different questions" in text(found) and "losses of different questions" in markdown(
        found
    )
    assert found.as_json()["backtest"].keys() == {"asked", "refused"}


def test_a_model_that_gets_clearly_worse_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    lived = Lived(tmp_path, FORMER, outs(parcel_events(4_000)))
    nothing = lived.changed(
        (MODEL, "model=preprocessing.StandardScaler() | linear_model.LogisticRegression(l2=1e9)")
    )
    found = lived.plan(nothing, backtest="300d")
    assert (
        found.backtest is not None
        and found.backtest.whole is not None
        and found.backtest.whole.compared.clear
    )
    assert found.verdict() == "worse" and found.exit_code() == 4
    assert found.exit_code(["worse"]) == 0 and found.as_json(["worse"])["backtest"]["worse"]
    assert replace(found, tolerance=10.0).exit_code() == 0
    assert "it is worse" in text(found) and text(found).startswith("parcels: the model gets worse\n")
    both = replace(found, readers=[Finding("breaks", "feature documents", "depot.done_1h goes")])
    assert [both.exit_code(known) for known in ((), ["readers"], ["readers", "worse"])] == [3, 4, 0]  # type: ignore[arg-type]
    assert heading(both, ["readers"]) == "the model gets worse; breaks readers, which is accepted"
    assert heading(both, ["readers", "worse"]) == "breaks readers and the model gets worse, which is accepted"
    assert heading(found, ["readers"]) == "the model gets worse"


def test_a_definition_that_is_live_changes_nothing(lived: Lived) -> None:
    found = lived.plan(lived.file)
    assert (found.verdict(), found.exit_code(), found.ships_by) == ("nothing", 0, "nothing")
    assert found.cost is not None and found.cost.seconds == found.cost.fold_s == 0
    assert {one.becomes for one in found.fates} == {"kept"} and not found.readers


def test_a_rule_that_only_learn_judges_by_makes_it_fold_the_log_anew(lived: Lived) -> None:
    found = lived.plan(lived.changed((MODEL, f"{MODEL}, experts=8, cooldown='2d'")))
    assert found.verdict() == "safe" and found.before == found.after and not found.changes
    becomes = {one.thing: one.becomes for one in found.fates}
    assert becomes == dict.fromkeys(becomes, "kept") | {
        "model": "refit",
        "experts": "refit",
        "episodes": "refit",
    }
    assert found.others[0].startswith("rules: ") and found.ships_by == "a restart of all roles with this file"
    assert found.cost is not None and found.cost.entries > EVENTS and not found.cost.seconds
    assert not found.restarts, "what runs does not record it"
    beside = lived.plan(lived.file, against=lived.changed((MODEL, f"{MODEL}, cooldown='2d'")))
    assert beside.restarts == ["cooldown: 2d → 1d"] and beside.verdict() == "safe"


def test_what_is_said_of_a_source_beside_its_keys_needs_no_backfill_and_is_told(lived: Lived) -> None:
    found = lived.plan(lived.changed(('time="sent_at", key="van"', 'time="sent_at", key="van", grace="2d"')))
    assert found.others == ["source parcels.sent: grace 1d → 2d"] and not found.changes
    assert found.verdict() == "safe" and found.ships_by == "a restart of all roles with this file"


def test_what_producers_must_send_is_told_by_their_newest_records(lived: Lived) -> None:
    has = lived.plan(lived.changed(('inputs=["weight"]', 'inputs=["weight", "parcels_before"]')))
    assert has.verdict() == "breaks"
    (dead,) = [one for one in has.readers if one.who == "producers"]
    assert (
        dead.level == "breaks"
        and "of the newest 900 records of parcels.sent would be dead letters" in dead.what
    )
    there = lived.plan(
        lived.changed(('"street", delivered, key=("depot", "street")', '"street", delivered, key="van"'))
    )
    assert not [one for one in there.readers if one.who == "producers"], "the key is read already"
    late = lived.plan(
        lived.changed(('count("1h"), idle=since_last()', 'mean("weight", "1h"), idle=since_last()'))
    )
    assert not [one for one in late.readers if one.who == "producers" and one.level == "breaks"]


def test_a_change_that_backfill_refuses_is_refused_with_its_words(tmp_path: Path) -> None:
    former = CARDS.replace("NAME", "cards")
    lived = Lived(tmp_path, former, outs(card_events(300)))
    file = lived.changed(('key="card", features', 'key="amount_of", features'), former=former)
    found = lived.plan(file)
    with pytest.raises(CannotBackfill) as refused:
        lived.backfill(file)
    assert found.refused == str(refused.value) and found.exit_code(["readers", "worse"]) == 1
    assert found.refused in text(found) and "**Refused:**" in markdown(found)
    beside = plan(file, against=lived.file, offline=True)
    assert beside.refused == found.refused


def test_features_that_look_back_further_than_their_topic_are_told(lived: Lived) -> None:
    for partition in range(2):
        lived.log.trim("parcels.delivered", partition, 100)
    found = lived.plan(lived.changed(ADD))
    assert "whose first 100 records are gone" in found.lacks
    assert "--partial" in found.ships_by and found.cost is not None
    with pytest.raises(CannotBackfill, match="--partial") as refused:
        lived.backfill(str(lived.folder / "changed.py"))
    check_only_partial(found, str(refused.value))


def check_only_partial(found: Plan, refused: str) -> None:
    """The plan is one that a backfill refuses in these words, and goes on with under `--partial`."""
    assert not found.refused and found.lacks == refused
    assert found.verdict(["readers", "worse"]) == "partial" and found.exit_code(["readers", "worse"]) == 1
    assert found.as_json()["refused"] == refused
    assert refused in text(found) and "**Refused:**" in markdown(found)
    assert heading(found, ["readers"]).startswith("cannot be brought over without --partial")
    assert found.exit_code(["readers", "partial"]) == 0 and refused in text(found, ["readers", "partial"])


def test_a_plan_and_a_dry_run_refuse_what_looks_back_to_files_as_the_backfill_does(
    lived: Lived, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As a bootstrap that read everything from files leaves it.
    key = position_key("parcels", "all")
    left = decode_position(lived.flow.server.data[key])
    lived.flow.server.data[key] = left._replace(since=0).encode()
    file = lived.changed(ADD)
    found = lived.plan(file)
    assert "what `penstock bootstrap` read from files" in found.lacks
    with pytest.raises(CannotBackfill, match="--partial") as refused:
        lived.backfill(file)
    check_only_partial(found, str(refused.value))
    command = "penstock.stream.cli.backfill"
    monkeypatch.setattr(f"{command}.start", lived.servers())
    monkeypatch.setattr(f"{command}.RedisKeyspace", MemoryKeyspace)
    assert cli.main(["backfill", file, "--dry-run"]) == 2
    shown = capsys.readouterr()
    assert "late_ever rebuilt" in shown.out and shown.err == f"penstock: {refused.value}\n"
    assert cli.main(["backfill", file, "--dry-run", "--partial"]) == 0
    assert cli.main(["backfill", file]) == 2


def test_a_pipeline_that_never_ran_has_nothing_to_change(lived: Lived) -> None:
    new = lived.written("new.py", FORMER.replace('"parcels"', '"pallets"'))
    for topic in topology.owned("pallets"):
        if topic.name not in lived.log.topics():
            lived.log.create(topic.name, topic.partitions)
    found = lived.plan(new)
    assert (
        found.before == "" and found.exit_code() == 0 and "nothing ran under this name yet" in found.ships_by
    )
    assert "nothing → " in text(found) and found.as_json()["columns"] == []


def test_a_change_that_is_half_done_comes_first(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lived.changed(ADD)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("penstock.stream.backfill.ownership.Owner.open", killed)
    with pytest.raises(KeyboardInterrupt):
        lived.backfill(file)
    with pytest.raises(CannotBackfill, match="is under way: finish it"):
        lived.plan(lived.changed(DROP))


def test_what_is_compared_must_be_one_pipeline_and_offline_asks_for_no_history(lived: Lived) -> None:
    other = lived.written("other.py", CARDS.replace("NAME", "cards"))
    with pytest.raises(DefinitionError, match="a plan is of one pipeline"):
        plan(other, against=lived.file, offline=True)
    for options in ({}, {"against": lived.file, "backtest": "1d"}):
        with pytest.raises(DefinitionError, match="offline there is nothing live"):
            plan(lived.file, offline=True, **options)  # type: ignore[arg-type]


def test_the_command_tells_what_the_plan_says(
    lived: Lived, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("penstock.stream.plan.run.opened", lambda settings, pipeline: lived.world)
    file = lived.changed(DROP)
    assert cli.main(["plan", file, "--backtest", "6h", "--format", "json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "breaks" and said["backtest"]["parts"][0]["part"] == "whole"
    assert said["cost"]["records"] == 0 and said["cost"]["states"] > 0
    assert cli.main(["plan", file, "--accept", "readers"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("parcels: breaks readers, which is accepted\n") and "\ncost\n" in shown
    for wrong in (["--backtest", "30"], ["--format", "xml"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(["plan", file, *wrong])
        assert ended.value.code == 2
    assert cli.main(["plan", file, "--against", "nowhere.py"]) == 2
    assert capsys.readouterr().err.count("penstock: --against nowhere.py: neither a file nor") == 1


def test_a_pipeline_in_shards_is_planned_too(tmp_path: Path) -> None:
    former = CARDS.replace("NAME", "cards").replace(
        'inputs=["amount"],', 'inputs=["amount"], shard_by="card", shards=2,'
    )
    lived = Lived(tmp_path, former, outs(card_events(300)))
    same = lived.plan(lived.file)
    assert same.verdict() == "nothing", same.others
    other = lived.plan(lived.changed(OTHER_MODEL, former=former), backtest="1d")
    assert other.verdict() == "safe" and other.cost is not None and other.cost.entries > 600
    assert other.backtest is not None and "not supported with shards" in other.backtest.refused
    more = lived.plan(lived.changed(("shards=2", "shards=3"), former=former))
    assert more.exit_code() == 1 and "share" not in more.ships_by


def test_a_redis_that_is_too_large_to_be_walked_in_time_is_said_to_be(lived: Lived) -> None:
    file = lived.changed(ADD)
    tasks = Backfill(
        load(file), lived.log, lived.flow.store, MemoryKeyspace(lived.flow.server), lambda: 7
    ).tasks()
    clock = iter([0.0, 1e9])
    assert stored_of(load(file), lived.world, tasks, lambda: next(clock))[1] is False
    found, whole = stored_of(load(file), lived.world, tasks)
    assert whole and found["depot"].entities == 4


def test_what_a_job_of_flinks_keeps_cannot_be_brought_over_and_another_model_needs_no_more_than_a_restart(
    lived: Lived,
) -> None:
    data = lived.flow.server.data
    data[began_key("parcels")] = b"{}"
    del data[position_key("parcels", "all")]
    found = lived.plan(lived.changed(ADD))
    assert found.exit_code() == 1 and "a job of Flink's keeps the state" in found.refused
    assert lived.plan(lived.changed(OTHER_MODEL)).verdict() == "safe"
    assert lived.plan(lived.file).verdict() == "nothing"
