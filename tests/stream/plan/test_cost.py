"""The arithmetic of a cost, and how it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.features.engine.change import ViewChange
from penstock.stream.plan.cost import Cost, Folded, Stored, Tried, cost_of
from penstock.stream.plan.telling import cost_lines
from penstock.stream.recipes import Changes

NOTHING = Changes([], [])
BUILT = ViewChange("depot", "old", "new", ("kept",), ("built",), ())
LESS = ViewChange("depot", "old", "new", ("kept",), (), ("gone",))
GONE = ViewChange("depot", "old", None, (), (), ("gone",))
ANEW = ViewChange("depot", None, "new", (), ("built",), ())

tries = st.builds(
    Tried,
    records=st.integers(1, 20_000),
    seconds=st.floats(0.001, 10),
    saved=st.integers(0, 20_000),
    state_bytes=st.just({"depot": 300.0}),
    document_bytes=st.just({"depot": 200.0}),
    entities=st.integers(0, 10_000).map(lambda count: {"depot": count}),
)
stored = st.integers(0, 10_000).map(lambda count: {"depot": Stored(count, 250.0, 150.0)})
changes = st.sampled_from([BUILT, LESS, GONE, ANEW]).map(lambda one: Changes([one], []))


@given(tries, stored, st.integers(0, 10**9), st.integers(0, 10**6), st.floats(0, 1_000), st.integers(1, 64))
def test_what_changes_nothing_for_featurize_costs_only_what_learn_folds_again(
    tried: Tried, there: dict[str, Stored], records: int, entries: int, us: float, tasks: int
) -> None:
    found = cost_of(NOTHING, {}, there, tried, Folded(entries, us), tasks)
    assert (found.seconds, found.stands_still_s, found.states, found.bytes_then, found.bytes_meanwhile) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert found.entries == entries and found.fold_s == pytest.approx(entries * us / 1e6)


@given(changes, tries, stored, st.integers(1, 10**8), st.integers(1, 64))
def test_twice_the_records_take_twice_as_long_to_build_and_nothing_else_more(
    found: Changes, tried: Tried, there: dict[str, Stored], records: int, tasks: int
) -> None:
    few, once, twice = (
        cost_of(found, {"t": count}, there, tried, Folded(), tasks)
        for count in (1, records + 1, 2 * records + 1)
    )
    assert twice.seconds - few.seconds == pytest.approx(2 * (once.seconds - few.seconds), abs=1e-6)
    assert once.total == records + 1 and once.seconds >= few.seconds > once.stands_still_s > 0
    assert replace(twice, seconds=0.0, records={}) == replace(once, seconds=0.0, records={})


@given(tries, stored)
def test_entities_are_those_that_are_kept_and_those_that_the_topic_alone_knows(
    tried: Tried, there: dict[str, Stored]
) -> None:
    def of(change: ViewChange) -> Cost:
        return cost_of(Changes([change], []), {}, there, tried, Folded(), 1)

    kept, seen = there["depot"].entities, tried.entities["depot"]
    assert of(BUILT).states == max(kept, seen)
    assert of(LESS).states == kept
    assert of(GONE).states == of(GONE).bytes_then == of(GONE).bytes_meanwhile == 0
    assert of(ANEW).states == seen
    assert of(LESS).bytes_then == kept * (300 + 200 + 150) and of(LESS).bytes_now == kept * (250 + 150 + 150)
    assert of(BUILT).bytes_meanwhile >= of(LESS).bytes_meanwhile


def test_a_cost_is_told_in_whole_lines_and_nothing_of_what_is_not_done() -> None:
    assert cost_lines(None) == cost_lines(Cost()) == []
    told = cost_lines(Cost({"t": 1_200, "u": 0}, 12.3, 0.4, 90, 5_000, 4_000, 6_000, 70_000, 300.0))
    assert told == [
        "backfill: 1,200 of t read again, 90 states converted, about 12 s of CPU; features stand still for about 0.4 s",
        "Redis: about 6 kB of these views, 4 kB now, and up to 5 kB more meanwhile",
        "learn: 70,000 records of the samples log folded again, about 5 min of CPU",
    ]
    assert cost_lines(Cost(seconds=0.2))[0].startswith("backfill: nothing is read again, 0 states converted")
