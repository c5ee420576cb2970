"""Labels and samples find each other: first, late, never, twice, across tasks; and an oracle that never forgets."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.label_rule import LabelRule
from penstock.stream.learn import join_by_id
from penstock.stream.learn.join_by_id import Early, JoinById
from penstock.stream.messages import LabelRecord, Origin, Recipe, Tick
from penstock.stream.targets import Target


class Waits(NamedTuple):
    at: int
    id: str = ""
    position: int = 0


class Join:
    """A join by id that says of each label which sample it is of."""

    def __init__(self, wait_ms: int, **options: Any) -> None:
        absent, corrected_ms = options.pop("absent", None), options.pop("corrected_ms", 0)
        self.join = JoinById[Waits](LabelRule(wait_ms, absent, corrected_ms), **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.join, name)

    def sample(self, event_id: str, waits: Waits) -> tuple[int, Target | None] | None:
        """Time and value of its label, or None."""
        return next(((one.at, one.y) for one in self.join.sample(event_id, waits)), None)

    def label(self, event_id: str, at: int, y: Target) -> Waits | None:
        return next((one.waits for one in self.settled(event_id, at, y)), None)

    def settled(self, event_id: str, at: int, y: Target) -> list[Any]:
        return [*self.join.label(0, LabelRecord(Origin("t", 0, 0, 1), event_id, at, y))]

    def tick(self, tick: Tick) -> list[Waits]:
        """Those that waited in vain."""
        return [one.waits for one in self.join.tick(tick)]


def tick(*idle: str, **times: int) -> Tick:
    return Tick(times, list(idle), 0)


def test_a_label_after_its_sample_finds_it_once() -> None:
    join = Join(100)
    assert join.sample("a", Waits(0)) is None
    assert join.label("a", 100, True) == Waits(0)
    assert join.label("a", 100, True) is None


def test_a_label_before_its_sample_waits_for_it() -> None:
    join = Join(100)
    assert join.label("a", 50, True) is None
    assert join.sample("a", Waits(0)) == (50, True)
    assert join.pending == {} and join.counts.unmatched == 0


def test_a_label_that_comes_more_than_wait_after_its_sample_does_not_count_whichever_is_read_first() -> None:
    for label_first in (False, True):
        join = Join(100)
        if label_first:
            assert join.label("a", 101, True) is None
        assert join.sample("a", Waits(0)) is None
        if not label_first:
            assert join.label("a", 101, True) is None
        assert join.counts.unmatched == 1 and list(join.pending) == ["a"]


def test_a_second_label_for_a_sample_to_come_is_counted_and_the_first_counts() -> None:
    join = Join(100)
    join.label("a", 10, True)
    join.label("a", 11, False)
    join.label("a", 12, True)
    assert (join.counts.contradictions, join.counts.duplicates, join.counts.unmatched) == (1, 1, 0)
    assert join.sample("a", Waits(0)) == (10, True)


def test_another_label_for_an_id_that_has_one_is_counted_by_whether_it_says_the_same() -> None:
    join = Join(100)
    join.sample("a", Waits(0))
    assert join.label("a", 10, "red") == Waits(0)
    for y in ("red", "blue", "red"):
        assert join.label("a", 11, y) is None
    assert (join.counts.duplicates, join.counts.contradictions, join.early) == (2, 1, {})


def test_a_sample_with_an_id_that_was_labelled_gets_a_label_of_its_own() -> None:
    join = Join(100)
    for at in (0, 1_000):
        join.sample("a", Waits(at))
        assert join.label("a", at + 10, True) == Waits(at)
    assert join.counts.duplicates == 0


def test_ids_that_were_labelled_are_remembered_for_the_wait_and_not_for_ever() -> None:
    join = Join(100)
    join.tick(tick(s=1_000))
    join.sample("a", Waits(1_000))
    join.label("a", 1_000, True)
    join.tick(tick(s=1_100))
    join.label("a", 1_100, True)
    assert join.counts.duplicates == 1
    join.tick(tick(s=1_300))
    join.tick(tick(s=1_500))
    join.label("a", 1_500, True)
    assert join.counts.duplicates == 1 and list(join.early) == ["a"]


def test_no_more_ids_than_agreed_are_remembered_however_long_the_clock_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join_by_id, "MOST_REMEMBERED", 10)
    join = Join(100)
    for n in range(100):
        join.sample(f"s{n}", Waits(0))
        join.label(f"s{n}", 0, True)
        assert len(join.labelled) + len(join.labelled_before) <= 10
    join.label("s98", 0, True)
    assert join.counts.duplicates == 1


# -- absent, and its correction ---------------------------------------------------------------------------------------------


def corrigible(**options: Any) -> Join:
    """Of three samples at 0 that wait for 100, one has its label, and the clock is past the wait."""
    join = Join(100, absent=False, corrected_ms=50, **options)
    for n in range(3):
        join.sample(f"s{n}", Waits(0, f"s{n}", n))
    join.label("s0", 10, True)
    assert [one.how for one in join.join.tick(tick(s=101))] == ["absent", "absent"]
    return join


def test_a_label_that_comes_after_absent_was_taught_corrects_it_once() -> None:
    join = corrigible()
    found = join.settled("s1", 150, True)
    assert [(one.waits.id, one.y, one.at, one.how) for one in found] == [("s1", True, 150, "corrected")]
    assert join.settled("s1", 150, True) == [] and join.counts.duplicates == 1
    assert list(join.defaulted) == ["s2"]


def test_a_label_that_only_confirms_absent_is_a_duplicate_and_teaches_nothing() -> None:
    gone: list[Waits] = []
    join = corrigible(on_gone=gone.append)
    assert join.settled("s1", 120, False) == []
    assert (join.counts.duplicates, [one.id for one in gone], list(join.defaulted)) == (1, ["s1"], ["s2"])


def test_after_the_time_for_corrections_nothing_corrects() -> None:
    gone: list[Waits] = []
    join = corrigible(on_gone=gone.append)
    assert join.settled("s1", 151, True) == []
    join.tick(tick(s=150))
    assert list(join.defaulted) == ["s1", "s2"]
    join.tick(tick(s=151))
    assert (join.defaulted, join.defaulted_queue) == ({}, deque())
    assert [one.id for one in gone] == ["s1", "s2"]


def test_a_label_in_the_time_for_corrections_that_comes_before_absent_was_taught_simply_counts() -> None:
    for label_first in (False, True):
        join = Join(100, absent=False, corrected_ms=50)
        if label_first:
            join.label("a", 150, True)
        found = join.sample("a", Waits(0))
        assert found == ((150, True) if label_first else None)
        assert label_first or join.label("a", 150, True) == Waits(0)
        assert join.tick(tick(s=101)) == []


def test_those_that_wait_for_a_correction_make_room_for_those_that_wait_for_a_label() -> None:
    gone: list[Waits] = []
    join = corrigible(most=3, on_gone=gone.append)
    for n in range(3, 6):
        join.sample(f"s{n}", Waits(101, f"s{n}", n))
    assert ([one.id for one in gone], join.counts.dropped) == (["s1", "s2"], 0)
    join.sample("s6", Waits(101, "s6", 6))
    assert (gone[-1].id, join.counts.dropped, list(join.pending)) == ("s3", 1, ["s4", "s5", "s6"])


def test_a_second_sample_of_an_id_that_waits_is_counted_and_the_first_waits_on() -> None:
    join = Join(100)
    join.sample("a", Waits(0, "first"))
    assert join.sample("a", Waits(5, "second")) is None
    assert join.counts.duplicate_ids == 1
    assert join.label("a", 10, True) == Waits(0, "first")


def test_what_waited_in_vain_expires_when_the_clock_has_passed_its_time() -> None:
    join = Join(100)
    join.sample("a", Waits(0))
    assert join.tick(tick(s=100)) == []
    assert join.tick(tick(s=101)) == [Waits(0)]
    assert join.label("a", 50, True) is None
    assert join.tick(tick(s=300)) == [] and join.counts.unmatched == 1


@pytest.mark.parametrize("first", ["sample", "label"])
def test_what_comes_behind_the_clock_is_waited_for_as_long_as_what_comes_in_time(first: str) -> None:
    join = Join(wait_ms=100)
    join.tick(tick(s=1_000))
    if first == "sample":
        assert join.sample("a", Waits(10)) is None
    else:
        assert join.label("a", 10, True) is None
    assert join.tick(tick(s=1_100)) == [], "the clock is no further than the wait since it came"
    if first == "sample":
        assert join.label("a", 10, True) == Waits(10)
    else:
        assert join.sample("a", Waits(10)) == (10, True)
    assert join.sample("b", Waits(10)) is None
    assert join.tick(tick(s=1_200)) == [] and join.tick(tick(s=1_201)) == [Waits(10)]


def test_a_label_without_a_sample_expires_too() -> None:
    join = Join(100)
    join.label("a", 0, True)
    join.tick(tick(s=101))
    assert join.counts.unmatched == 1 and join.early == {} and not join.early_waiting


def test_a_label_for_an_id_that_is_no_longer_remembered_waits_its_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join_by_id, "MOST_REMEMBERED", 2)
    join = Join(100)
    for event_id in "ab":
        join.label(event_id, 0, True)
        join.sample(event_id, Waits(0))
    join.label("a", 90, False)
    join.tick(tick(s=120))
    assert join.early == {"a": Early(90, False, 0)}


def test_the_clock_is_the_least_of_the_sources_that_are_not_idle() -> None:
    join = Join(10)
    join.tick(tick(a=500, b=100))
    assert join.clock == 100
    join.tick(tick("b", a=500, b=100))
    assert join.clock == 500


def test_a_source_nothing_was_read_of_yet_does_not_hold_the_clock() -> None:
    join = Join(10)
    join.tick(tick(a=500, b=-1))
    assert join.clock == 500


def test_when_all_are_idle_the_clock_goes_to_the_newest() -> None:
    join = Join(10)
    join.tick(tick("a", "b", a=500, b=100))
    assert join.clock == 500


def test_the_clock_never_goes_back() -> None:
    join = Join(10)
    for times in ({"a": 500}, {"a": 300}, {"a": -1}, {}):
        join.tick(Tick(times, [], 0))
        assert join.clock == 500


def test_a_task_that_runs_ahead_does_not_expire_what_another_has_still_to_bring() -> None:
    """Each task of a partitioned pipeline ticks for its own partitions only."""
    join = Join(100)
    join.tick(tick(p0=10))
    join.tick(tick(p1=10))
    join.sample("slow", Waits(10))
    join.tick(tick(p0=10_000))
    assert join.clock == 10
    assert join.label("slow", 20, True) == Waits(10)


def test_a_source_that_left_the_definition_does_not_hold_the_clock() -> None:
    join = Join(10)
    join.tick(Tick({"sent/0": 100, "left/0": 50, "left/1": 60}, ["left/1"], 0))
    join.recipe(Recipe("r2", [], '{"sources": [{"name": "sent"}]}'))
    join.tick(tick(**{"sent/0": 900}))
    assert join.clock == 900 and join.idle == set()


def test_a_recipe_that_does_not_name_its_sources_forgets_none() -> None:
    for text in ("", "?", "[]", "{}", '{"sources": 3}', '{"sources": [{"topic": "sent"}]}'):
        join = Join(10)
        join.tick(tick(a=500, b=100))
        join.recipe(Recipe("r", [], text))
        join.tick(tick(a=900))
        assert join.clock == 100


def test_the_clock_waits_until_every_partition_of_the_pipeline_has_been_heard_of() -> None:
    """Of two workers that begin on history one is first: the other's samples are older, and not late."""
    join = Join(10)
    join.tick(Tick({"s/0": 500}, [], 0, 2))
    join.sample("a", Waits(5))
    assert join.tick(Tick({"s/0": 600}, [], 0, 2)) == []
    assert join.clock == 0
    assert join.tick(Tick({"s/1": 7}, [], 0, 2)) == []
    assert join.clock == 7
    assert join.tick(Tick({"s/1": 16}, [], 0, 2)) == [Waits(5)]


def test_beyond_the_most_that_may_wait_the_oldest_go_and_are_counted() -> None:
    gone: list[Waits] = []
    join = Join(100, most=3, on_gone=gone.append)
    for n in range(5):
        join.sample(f"s{n}", Waits(n))
        join.label("s0", 0, True)  # finds the first
    assert list(join.pending) == ["s2", "s3", "s4"] and gone == [Waits(1)]
    for n in range(5):
        join.label(f"e{n}", n, True)
    assert list(join.early) == ["e2", "e3", "e4"]
    assert join.counts.dropped == 3


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=200), st.integers(1, 8))
def test_however_long_the_clock_stands_what_waits_is_bounded_and_the_newest_stay(
    arrivals: list[tuple[bool, int]], most: int
) -> None:
    join = Join(1_000, most=most)
    pending: dict[str, int] = {}
    early: dict[str, int] = {}
    labelled: set[str] = set()
    for at, (is_sample, number) in enumerate(arrivals):
        event_id = str(number)
        mine, other = (pending, early) if is_sample else (early, pending)
        if other.pop(event_id, None) is not None:
            labelled.add(event_id)
        elif event_id not in mine and (is_sample or event_id not in labelled):
            mine[event_id] = at
            if len(mine) > most:
                del mine[next(iter(mine))]
        if is_sample:
            join.sample(event_id, Waits(at))
        else:
            join.label(event_id, at, True)
        assert {key: waits.at for key, waits in join.pending.items()} == pending
        assert {key: one.at for key, one in join.early.items()} == early


def test_what_was_joined_does_not_stay_in_the_queues() -> None:
    join = Join(10**9)
    for n in range(20_000):
        (join.sample(f"a{n}", Waits(n)), join.label(f"a{n}", n, True))
        (join.label(f"b{n}", n, True), join.sample(f"b{n}", Waits(n)))
    assert len(join.waiting) < 2_000 and len(join.early_waiting) < 2_000


moves = st.lists(
    st.one_of(
        st.tuples(st.just("sample"), st.sampled_from("abcd"), st.integers(0, 40)),
        st.tuples(st.just("label"), st.sampled_from("abcd"), st.integers(0, 40)),
        st.tuples(st.just("tick"), st.just(""), st.integers(0, 80)),
    ),
    max_size=40,
)


@given(moves)
def test_no_sample_is_ever_lost_or_joined_twice(given_moves: list[tuple[str, str, int]]) -> None:
    join = Join(20)
    taken = joined = expired = labels = 0
    for number, (kind, event_id, at) in enumerate(given_moves):
        if kind == "sample":
            taken += 1
            waits = Waits(at, f"{event_id}{number}")
            early = join.sample(event_id, waits)
            joined += early is not None
            assert early is None or early[0] - at <= 20
        elif kind == "label":
            labels += 1
            found = join.label(event_id, at, True)
            joined += found is not None
            assert found is None or at - found.at <= 20
        else:
            gone = join.tick(tick(s=at))
            expired += len(gone)
            assert all(waits.at < join.clock - 20 for waits in gone)
    assert taken == joined + expired + join.counts.duplicate_ids + len(join.pending)
    again = join.counts.duplicates + join.counts.contradictions
    assert labels == joined + join.counts.unmatched + again + len(join.early)
