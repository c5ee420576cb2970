"""Featurize waits for a learn role that moves, and for no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.stream.featurize import backpressure
from penstock.stream.featurize.backpressure import Backpressure
from penstock.stream.log.protocol import Out

SAMPLES = ("p.samples", 0)


class Learn:
    """A log in which learn's commits follow a script, 10 ms of a clock of its own apart; the last one stays."""

    def __init__(self, end: int, commits: list[int]) -> None:
        self.end, self.commits, self.asked, self.now = end, iter(commits), 0, 1_000_000
        self.last = 0

    def bounds(self, tps: Any) -> dict[Any, tuple[int, int]]:
        return {SAMPLES: (0, self.end)}

    def committed(self, group: str, tps: Any) -> dict[Any, int]:
        self.asked += 1
        self.now += 10
        self.last = next(self.commits, self.last)
        return {SAMPLES: self.last}

    def wait(self, records: int) -> Backpressure:
        waiting = Backpressure(self, "p.learn", SAMPLES, records, lambda: self.now)  # type: ignore[arg-type]
        waiting.start()
        waiting.wait()
        return waiting


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure.time, "sleep", lambda _: None)


def counting(start: int, step: int) -> Iterator[int]:
    while True:
        yield start
        start += step


def test_a_learn_role_that_moves_is_waited_for_until_it_is_near() -> None:
    learn = Learn(5_000, [100, 1_000, 2_000, 3_100, 4_000])
    learn.wait(2_000)
    assert learn.last == 3_100


def test_one_that_is_near_is_not_even_asked() -> None:
    learn = Learn(1_500, [0])
    learn.wait(2_000)
    assert learn.asked == 0


def test_one_that_stands_still_is_waited_for_no_longer_than_that_and_asked_again_only_later() -> None:
    learn = Learn(9_000, [100, 200])
    waiting = learn.wait(2_000)
    assert backpressure.STALLED_MS < learn.asked * 10 < backpressure.STALLED_MS + 100
    before = learn.asked
    waiting.wait()
    assert learn.asked == before
    learn.now += backpressure.ASKED_EVERY_MS
    waiting.wait()
    assert learn.asked == before + 1


def test_one_that_is_slow_holds_features_back_no_longer_than_so_long() -> None:
    learn = Learn(10**9, [])
    learn.commits = counting(1, 1)
    learn.wait(2_000)
    assert learn.asked * 10 < backpressure.LONGEST_WAIT_MS + 100


class LearnInShards(Learn):
    """The same with two shards: `commits` are pairs."""

    def bounds(self, tps: Any) -> dict[Any, tuple[int, int]]:
        return dict.fromkeys(tps, (0, self.end))

    def committed(self, group: str, tps: Any) -> dict[Any, int]:
        self.asked += 1
        self.now += 10
        self.last = next(self.commits, self.last)
        return dict(zip(tps, self.last, strict=True))  # type: ignore[call-overload]

    def wait(self, records: int) -> Backpressure:
        waiting = Backpressure(self, "p.learn", SAMPLES, records, lambda: self.now, shards=2)  # type: ignore[arg-type]
        waiting.start()
        waiting.wait()
        return waiting


def test_the_shard_that_is_furthest_behind_is_waited_for() -> None:
    learn = LearnInShards(5_000, [(5_000, 100), (5_000, 2_000), (5_000, 3_100), (5_000, 4_000)])  # type: ignore[list-item]
    learn.wait(2_000)
    assert learn.last == (5_000, 3_100)


def test_a_shard_that_is_far_behind_is_waited_for_though_the_first_has_little_to_learn() -> None:
    waiting = (learn := LearnInShards(10, [(10, 10), (10, 2_000), (10, 3_100)])).wait(2_000)  # type: ignore[list-item]
    waiting.appended([Out("p.samples", None, b"", (), 1)] * 4_990)
    waiting.wait()
    assert learn.last == (10, 3_100)


def test_a_shard_that_nobody_learns_is_not_waited_for_once_the_others_are_near() -> None:
    moving = [(0, at) for at in range(100, 3_001, 10)]
    learn = LearnInShards(5_000, moving)  # type: ignore[arg-type]
    learn.wait(2_000)
    assert learn.last == (0, 3_000)


def test_records_count_for_the_shard_that_they_are_appended_to() -> None:
    waiting = LearnInShards(10, [(10, 10)]).wait(2_000)  # type: ignore[list-item]
    waiting.appended(
        [Out("p.samples", None, b"", (), 1), Out("p.samples", None, b"", (), 1), Out("x", None, b"", (), 0)]
    )
    assert [lead.end for lead in waiting.leads.values()] == [10, 12]


def test_what_other_workers_append_counts_too() -> None:
    learn = Learn(100, [10, 20, 6_000])
    waiting = learn.wait(2_000)
    assert learn.asked == 0
    learn.end = 7_000  # none of it was appended here
    learn.now += backpressure.ASKED_EVERY_MS
    waiting.wait()
    assert learn.last == 6_000
