"""A pipeline that learns in shards on one screen: a line for each shard, and one story of what several of them found."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.stream.operate.scores import Scores
from penstock.stream.operate.status_found import RoleStatus, Status, sum_up, told_once, wrong
from penstock.stream.operate.status_lines import as_json, as_text
from tests.stream.operate.test_status import event, status


def found_at(at: int, state: str = "firing", **changes: Any) -> Any:
    one = event(state)
    return msgspec.structs.replace(one, data=msgspec.structs.replace(one.data, since={"at": at}, **changes))


def shard(number: int, **changes: Any) -> Status:
    found = Status(f"cards.{number}", {}, tail=300, samples=100, labels=80, pending=20)
    for name, value in changes.items():
        setattr(found, name, value)
    found.wrong = wrong(found)
    return found


def whole(*shards: Status) -> Status:
    roles = {name: RoleStatus([f"{name}-0 at 10.0.0.1"], 0) for name in ("featurize", "learn", "control")}
    found = Status("cards", roles, scores=Scores(400, 0.2, 0.3, 0.81), shards=list(shards))
    sum_up(found)
    found.wrong = wrong(found)
    return found


def test_each_shard_is_one_line_and_counts_are_of_all() -> None:
    live = status().live
    lines = as_text(whole(shard(0, live=live, scores=Scores(80, 0.1, 0.3, 0.9)), shard(1), shard(2)))
    assert lines[0] == "cards: all is well"
    of_shards = [line for line in lines if line.startswith("shard ")]
    assert len(of_shards) == 3
    assert of_shards[0].startswith("shard 0    v3; ") and "0.1000 nats against 0.3000" in of_shards[0]
    assert (
        of_shards[1]
        == "shard 1    nothing was said yet: the fresh model; 100 samples, 20 without a label yet"
    )
    assert any(
        "900 records of the samples log: 300 samples, 240 labels, 60 samples" in line for line in lines
    )
    assert "open       no episode" in lines and not any(line.startswith("live ") for line in lines)


def test_what_several_shards_found_is_one_story_that_says_where_it_came_first() -> None:
    found = whole(
        shard(0, open=[found_at(50)]), shard(1), shard(2, open=[found_at(20), found_at(70, kind="harm")])
    )
    assert told_once(found.shards, ("firing",)) == [
        "psi of amount in shards 0, 2, first in 2",
        "harm of amount in shard 2",
    ]
    lines = as_text(found)
    assert sum("psi of amount" in line for line in lines if line.startswith("open ")) == 1
    assert found.wrong == [
        "psi of amount in shards 0, 2, first in 2 is firing",
        "harm of amount in shard 2 is firing",
    ]
    assert "open       no episode" not in lines


def test_what_is_wrong_with_one_shard_names_it() -> None:
    live = msgspec.structs.replace(status().live, held=True)
    found = whole(shard(0), shard(1, live=live, waiting={"r1": "retrain: moved inputs"}))
    assert [line[:26] for line in found.wrong] == ["shard 1: learning is held:", "shard 1: waits for a perso"]
    assert "waits      retrain: moved inputs  (request r1)" in as_text(found)


def test_programs_get_every_shard_and_one_shard_stays_as_it_was() -> None:
    said = as_json(whole(shard(0), shard(1)))
    assert [one["pipeline"] for one in said["shards"]] == ["cards.0", "cards.1"]
    assert all("roles" not in one and one["samples"] == 100 for one in said["shards"])
    assert "shards" not in as_json(status())
