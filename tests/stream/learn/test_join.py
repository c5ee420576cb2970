"""Labels and samples find each other: first, late, never, twice, across tasks; and an oracle that never forgets."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.learn.join import Early, Join
from penstock.stream.messages import Recipe, Tick


class Waits(NamedTuple):
    at: int
    id: str = ""


def tick(*idle: str, **times: int) -> Tick:
    return Tick(times, list(idle), 0)


def test_a_label_after_its_sample_finds_it_once() -> None:
    join = Join[Waits](100)
    assert join.sample("a", Waits(0)) is None
    assert join.label("a", 100, True) == Waits(0)
    assert join.label("a", 100, True) is None


def test_a_label_before_its_sample_waits_for_it() -> None:
    join = Join[Waits](100)
    assert join.label("a", 50, True) is None
    assert join.sample("a", Waits(0)) == Early(50, True)
    assert join.pending == {} and join.unmatched == 0


def test_a_label_that_comes_more_than_wait_after_its_sample_does_not_count_whichever_is_read_first() -> None:
    for label_first in (False, True):
        join = Join[Waits](100)
        if label_first:
            assert join.label("a", 101, True) is None
        assert join.sample("a", Waits(0)) is None
        if not label_first:
            assert join.label("a", 101, True) is None
        assert join.unmatched == 1 and list(join.pending) == ["a"]


def test_a_second_label_for_a_sample_to_come_is_counted_and_the_first_counts() -> None:
    join = Join[Waits](100)
    join.label("a", 10, True)
    join.label("a", 11, False)
    assert join.unmatched == 1
    assert join.sample("a", Waits(0)) == Early(10, True)


def test_a_second_sample_of_an_id_that_waits_is_counted_and_the_first_waits_on() -> None:
    join = Join[Waits](100)
    join.sample("a", Waits(0, "first"))
    assert join.sample("a", Waits(5, "second")) is None
    assert join.duplicate_ids == 1
    assert join.label("a", 10, True) == Waits(0, "first")


def test_what_waited_in_vain_expires_when_the_clock_has_passed_its_time() -> None:
    join = Join[Waits](100)
    join.sample("a", Waits(0))
    assert join.tick(tick(s=100)) == []
    assert join.tick(tick(s=101)) == [Waits(0)]
    assert join.label("a", 50, True) is None
    assert join.tick(tick(s=300)) == [] and join.unmatched == 1


def test_a_label_without_a_sample_expires_too() -> None:
    join = Join[Waits](100)
    join.label("a", 0, True)
    join.tick(tick(s=101))
    assert join.unmatched == 1 and join.early == {} and not join.early_waiting


def test_a_label_that_came_again_for_the_same_id_waits_its_own_time() -> None:
    join = Join[Waits](100)
    join.label("a", 0, True)
    join.sample("a", Waits(0))
    join.label("a", 90, False)
    join.tick(tick(s=120))
    assert join.early == {"a": Early(90, False)}


def test_the_clock_is_the_least_of_the_sources_that_are_not_idle() -> None:
    join = Join[Waits](10)
    join.tick(tick(a=500, b=100))
    assert join.clock == 100
    join.tick(tick("b", a=500, b=100))
    assert join.clock == 500


def test_a_source_nothing_was_read_of_yet_does_not_hold_the_clock() -> None:
    join = Join[Waits](10)
    join.tick(tick(a=500, b=-1))
    assert join.clock == 500


def test_when_all_are_idle_the_clock_goes_to_the_newest() -> None:
    join = Join[Waits](10)
    join.tick(tick("a", "b", a=500, b=100))
    assert join.clock == 500


def test_the_clock_never_goes_back() -> None:
    join = Join[Waits](10)
    for times in ({"a": 500}, {"a": 300}, {"a": -1}, {}):
        join.tick(Tick(times, [], 0))
        assert join.clock == 500


def test_a_task_that_runs_ahead_does_not_expire_what_another_has_still_to_bring() -> None:
    """Each task of a partitioned pipeline ticks for its own partitions only."""
    join = Join[Waits](100)
    join.tick(tick(p0=10))
    join.tick(tick(p1=10))
    join.sample("slow", Waits(10))
    join.tick(tick(p0=10_000))
    assert join.clock == 10
    assert join.label("slow", 20, True) == Waits(10)


def test_a_source_that_left_the_definition_does_not_hold_the_clock() -> None:
    join = Join[Waits](10)
    join.tick(Tick({"sent/0": 100, "left/0": 50, "left/1": 60}, ["left/1"], 0))
    join.recipe(Recipe("r2", [], '{"sources": [{"name": "sent"}]}'))
    join.tick(tick(**{"sent/0": 900}))
    assert join.clock == 900 and join.idle == set()


def test_a_recipe_that_does_not_name_its_sources_forgets_none() -> None:
    for text in ("", "?", "[]", "{}", '{"sources": 3}', '{"sources": [{"topic": "sent"}]}'):
        join = Join[Waits](10)
        join.tick(tick(a=500, b=100))
        join.recipe(Recipe("r", [], text))
        join.tick(tick(a=900))
        assert join.clock == 100


def test_the_clock_waits_until_every_partition_of_the_pipeline_has_been_heard_of() -> None:
    """Of two workers that begin on history one is first: the other's samples are older, and not late."""
    join = Join[Waits](10)
    join.tick(Tick({"s/0": 500}, [], 0, 2))
    join.sample("a", Waits(5))
    assert join.tick(Tick({"s/0": 600}, [], 0, 2)) == []
    assert join.clock == 0
    assert join.tick(Tick({"s/1": 7}, [], 0, 2)) == []
    assert join.clock == 7
    assert join.tick(Tick({"s/1": 16}, [], 0, 2)) == [Waits(5)]


def test_beyond_the_most_that_may_wait_the_oldest_go_and_are_counted() -> None:
    gone: list[Waits] = []
    join = Join[Waits](100, most=3, on_drop=gone.append)
    for n in range(5):
        join.sample(f"s{n}", Waits(n))
        join.label("s0", 0, True)  # finds the first; the others' s0 waits for a sample
    assert list(join.pending) == ["s2", "s3", "s4"] and gone == [Waits(1)]
    for n in range(4):
        join.label(f"e{n}", n, True)
    assert list(join.early) == ["e1", "e2", "e3"]
    assert join.dropped == 3


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=200), st.integers(1, 8))
def test_however_long_the_clock_stands_what_waits_is_bounded_and_the_newest_stay(
    arrivals: list[tuple[bool, int]], most: int
) -> None:
    join = Join[Waits](1_000, most=most)
    pending: dict[str, int] = {}
    early: dict[str, int] = {}
    for at, (is_sample, number) in enumerate(arrivals):
        event_id = str(number)
        mine, other = (pending, early) if is_sample else (early, pending)
        if other.pop(event_id, None) is None and event_id not in mine:
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
    join = Join[Waits](10**9)
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
    join = Join[Waits](20)
    taken = joined = expired = labels = 0
    for number, (kind, event_id, at) in enumerate(given_moves):
        if kind == "sample":
            taken += 1
            waits = Waits(at, f"{event_id}{number}")
            early = join.sample(event_id, waits)
            joined += early is not None
            assert early is None or early.at - at <= 20
        elif kind == "label":
            labels += 1
            found = join.label(event_id, at, True)
            joined += found is not None
            assert found is None or at - found.at <= 20
        else:
            gone = join.tick(tick(s=at))
            expired += len(gone)
            assert all(waits.at < join.clock - 20 for waits in gone)
    assert taken == joined + expired + join.duplicate_ids + len(join.pending)
    assert labels == joined + join.unmatched + len(join.early)
