"""Labels by key and time: an oracle over the records in event-time order, any interleaving that ticks allow, and bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.join import Settled
from penstock.stream.learn.join_by_key import JoinByKey
from penstock.stream.messages import LabelRecord, Origin, Tick
from penstock.stream.targets import Target
from tests.effort import examples

FAILS = LabelRule(30, False, 0, keyed=True)
LATER = LabelRule(12, None, 0, keyed=True, after_ms=10)


class Waits(NamedTuple):
    at: int
    position: int
    key: str = "k"


class Course:
    """A join, and what became of each sample, by id: the label that it has now."""

    def __init__(self, rule: LabelRule = FAILS, **options: Any) -> None:
        self.join = JoinByKey[Waits](rule, **options)
        self.position = 0
        self.became: dict[str, list[tuple[str, Target | None]]] = {}

    def _take(self, settled: Iterable[Settled]) -> None:
        for one in settled:
            self.became.setdefault(f"s{one.waits.position}", []).append((one.how, one.y))

    def sample(self, at: int, key: str | None = "k") -> str:
        """Its id."""
        self.position += 1
        event_id = f"s{self.position}"
        self._take(self.join.sample(event_id, Waits(at, self.position, key or ""), key))
        return event_id

    def label(self, at: int, y: Target = True, key: str | None = "k", offset: int | None = None) -> None:
        self.position += 1
        origin = Origin("t", 0, self.position if offset is None else offset, 1)
        self._take(self.join.label(self.position, LabelRecord(origin, f"e{self.position}", at, y, key)))

    def tick(self, at: int) -> None:
        self.position += 1
        self._take(self.join.tick(Tick({"s": at}, [], 0)))


# -- one by one --------------------------------------------------------------------------------------------------------------


def test_an_event_labels_every_sample_that_waits_under_its_key_and_no_other() -> None:
    course = Course()
    one, two, other = course.sample(0), course.sample(5), course.sample(5, "other")
    course.label(20)
    course.tick(21)
    assert course.became == {one: [("label", True)], two: [("label", True)]}
    course.tick(36)
    assert course.became[other] == [("absent", False)]


def test_a_span_begins_after_the_sample_and_ends_with_it_included() -> None:
    for at, became in (
        (0, ("absent", False)),
        (1, ("label", True)),
        (30, ("label", True)),
        (31, ("absent", False)),
    ):
        course = Course()
        one = course.sample(0)
        course.label(at)
        course.tick(100)
        assert course.became == {one: [became]}, at


def test_a_later_value_is_the_first_one_in_its_span() -> None:
    for times, became in (
        ((9, 10, 11), ("label", 10.0)),
        ((9, 12), ("label", 12.0)),
        ((9, 13), ("expired", None)),
    ):
        course = Course(LATER)
        one = course.sample(0)
        for at in reversed(times):  # whatever the order in the log
            course.label(at, float(at))
        course.tick(100)
        assert course.became == {one: [became]}, times


def test_of_several_events_the_first_by_event_time_counts_and_of_equal_times_the_first_of_the_source() -> (
    None
):
    course = Course()
    one = course.sample(0)
    course.label(20, "third")
    course.label(10, "second", offset=8)
    course.label(10, "first", offset=7)
    course.tick(100)
    assert course.became == {one: [("label", "first")]}


def test_a_label_of_the_clocks_own_time_waits_for_others_of_that_time() -> None:
    """What comes after a tick may be as old as it says."""
    for ticked_first in (False, True):
        course = Course()
        one = course.sample(0)
        if ticked_first:
            course.tick(20)
        course.label(20, "second", offset=8)
        course.tick(20)
        course.label(20, "first", offset=7)
        course.tick(21)
        assert course.became == {one: [("label", "first")]}


def test_nothing_is_absent_before_the_clock_has_passed_the_span() -> None:
    course = Course()
    one = course.sample(0)
    course.tick(30)
    assert course.became == {}
    course.label(30)
    course.tick(31)
    assert course.became == {one: [("label", True)]}


def test_a_label_that_stands_in_the_log_before_its_sample_labels_it() -> None:
    course = Course()
    course.label(20)
    one = course.sample(10)
    course.tick(21)
    late = course.sample(15)  # older than the clock, and its label has passed
    assert course.became == {one: [("label", True)], late: [("label", True)]}


def test_a_late_sample_waits_for_what_its_span_may_still_bring() -> None:
    course = Course()
    course.tick(20)
    one = course.sample(10)
    course.label(15)  # late as well
    assert course.became == {one: [("label", True)]}
    two = course.sample(10)
    assert course.became[two] == [("label", True)]


def test_a_sample_that_comes_behind_the_clock_waits_as_long_as_any_and_its_label_behind_it_is_its_own() -> (
    None
):
    course = Course()
    course.tick(100)
    waits, others, over = course.sample(105), course.sample(60, "other"), course.sample(60)
    late = course.sample(62)
    check_index(course.join)
    course.label(91)  # in the span of the fourth alone, which ended at 92
    assert course.became == {late: [("label", True)]}
    course.tick(130)
    assert over not in course.became and others not in course.became
    course.label(80, key="other")
    assert course.became[others] == [("label", True)]
    course.tick(131)
    assert course.became[over] == [("absent", False)] and waits in course.join.pending
    check_index(course.join)


def test_late_samples_go_first_where_too_many_wait_since_the_clock_has_passed_them() -> None:
    gone: list[Waits] = []
    course = Course(most=2, on_gone=gone.append)
    course.tick(100)
    course.sample(10)
    course.sample(101)
    course.sample(20)
    assert [waits.at for waits in gone] == [10]
    check_index(course.join)


def test_a_sample_without_a_key_has_no_label_and_a_label_without_one_is_counted() -> None:
    course = Course()
    one = course.sample(0, None)
    course.label(10, key=None)
    assert course.became == {one: [("expired", None)]} and course.join.counts.unmatched == 1


def test_a_late_label_corrects_those_that_took_absent_in_whose_span_it_lies() -> None:
    gone: list[Waits] = []
    course = Course(FAILS._replace(corrected_ms=50), on_gone=gone.append)
    one, two = course.sample(0), course.sample(8)
    course.sample(0, "other")
    course.tick(40)
    course.label(35)  # after the first one's span
    assert course.became[one] == [("absent", False)]
    assert course.became[two] == [("absent", False), ("corrected", True)]
    course.tick(80)
    course.label(25)
    assert course.became[one] == [("absent", False), ("corrected", True)]
    course.tick(81)
    course.label(25, key="other")
    assert [waits.key for waits in gone] == ["other"]
    assert not course.join.defaulted and not course.join.corrigible


def test_a_late_label_that_says_what_absent_said_corrects_nothing() -> None:
    course = Course(FAILS._replace(corrected_ms=50))
    one = course.sample(0)
    course.tick(40)
    course.label(10, False)
    course.label(10, True)
    assert course.became == {one: [("absent", False)]}


def test_labels_that_no_sample_waited_for_are_counted() -> None:
    course = Course()
    course.sample(0)
    course.label(10)
    course.label(11)
    course.label(11, key="nobody")
    course.tick(12)
    assert course.join.counts.unmatched == 2


def test_beyond_the_most_that_may_wait_the_oldest_go_and_the_index_holds_what_waits() -> None:
    gone: list[Waits] = []
    course = Course(most=3, on_gone=gone.append)
    for n in range(6):
        course.sample(10 - n, f"k{n % 2}")
    assert [waits.at for waits in gone] == [8, 7, 6][::-1] or len(gone) == 3
    assert course.join.counts.dropped == 3
    check_index(course.join)
    for n in range(6):
        course.label(50 + n)
    assert len(course.join.ahead) == 3 and min(course.join.ahead).at == 53
    assert course.join.counts.dropped == 6


def test_settled_samples_do_not_stay_in_the_heap_and_old_labels_are_forgotten() -> None:
    course = Course()
    for n in range(20_000):
        course.sample(n)
        course.label(n + 1)
        if n % 10 == 0:
            course.tick(n)
    assert len(course.join.waiting) < 2_000
    assert len(course.join.passed_queue) + len(course.join.ahead) < 60
    check_index(course.join)


def check_index(join: JoinByKey[Waits]) -> None:
    """The index by key is what waits, each key's in order, and nothing else; so are the labels'."""
    placed = [place for queue in (*join.under.values(), *join.late.values()) for place in queue]
    assert all(
        place.since > join.pending[place.event_id].at for queue in join.late.values() for place in queue
    )
    assert {place.event_id for place in placed} == join.pending.keys() and len(placed) == len(join.pending)
    assert all(list(queue) == sorted(queue) and queue for queue in join.under.values())
    assert {place.event_id for place in join.waiting} >= join.pending.keys()
    kept = sorted(label for queue in join.passed.values() for label in queue)
    assert kept == sorted(join.passed_queue)
    corrigible = [place.event_id for queue in join.corrigible.values() for place in queue]
    assert sorted(corrigible) == sorted(join.defaulted)


# -- an oracle ---------------------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    at: int
    key: str
    y: Target | None  # None: a sample


def oracle(rule: LabelRule, records: Sequence[Record]) -> list[Target | None]:
    """The label of each sample: the first by event time in its span, of equal times by place, else `absent`."""
    labels = sorted((one.at, n, one.key, one.y) for n, one in enumerate(records) if one.y is not None)
    found = []
    for one in records:
        if one.y is None:
            opens, closes = rule.opens(one.at), rule.closes(one.at)
            its = [y for at, _, key, y in labels if key == one.key and opens <= at <= closes]
            found.append(its[0] if its else rule.absent)
    return found


rules = st.builds(
    lambda after, within, absent, corrected: LabelRule(
        after + within, absent, corrected if absent is not None else 0, keyed=True, after_ms=after
    ),
    st.sampled_from([0, 0, 3, 10]),
    st.integers(1, 15),
    st.sampled_from([None, False]),
    st.sampled_from([0, 20]),
)
records = st.lists(
    st.builds(Record, st.integers(0, 60), st.sampled_from("ab"), st.sampled_from([None, None, True, False])),
    max_size=40,
)


@settings(max_examples=examples(400))
@given(rules, records, st.data())
def test_whatever_order_the_ticks_allow_every_sample_has_the_label_of_the_oracle(
    rule: LabelRule, given_records: list[Record], data: st.DataObject
) -> None:
    """A tick may say any time that nothing still to come is older than; records between two ticks come in any order."""
    wanted = oracle(rule, given_records)
    course = Course(rule)
    numbers = {n: k for k, n in enumerate(n for n, one in enumerate(given_records) if one.y is None)}
    ids: dict[int, str] = {}
    for n in (order := data.draw(st.permutations(range(len(given_records))))):
        one = given_records[n]
        if one.y is None:
            ids[n] = course.sample(one.at, one.key)
        else:
            course.label(one.at, one.y, one.key, offset=n)
        left = [given_records[m].at for m in order[order.index(n) + 1 :]]
        if left and data.draw(st.booleans()):
            course.tick(data.draw(st.integers(0, min(left))))
        check_index(course.join)
    course.tick(1_000)
    for n, event_id in ids.items():
        label = wanted[numbers[n]]
        told = course.became[event_id]
        assert [y for _, y in told] == [label]
        assert told[0][0] in ("label", "absent", "expired")
    assert not course.join.pending and not course.join.under
    check_index(course.join)


@settings(max_examples=examples(200))
@given(rules, records, st.lists(st.integers(0, 120), max_size=10), st.data())
def test_however_late_records_are_nothing_is_settled_twice_but_by_a_correction(
    rule: LabelRule, given_records: list[Record], ticks: list[int], data: st.DataObject
) -> None:
    course = Course(rule)
    places: list[Any] = [*given_records, *ticks]
    for one in data.draw(st.permutations(places)):
        if isinstance(one, int):
            course.tick(one)
        elif one.y is None:
            course.sample(one.at, one.key)
        else:
            course.label(one.at, one.y, one.key)
        check_index(course.join)
    course.tick(1_000)
    allowed = {("label",), ("absent",), ("expired",), ("absent", "corrected")}
    assert len(course.became) == sum(one.y is None for one in given_records)
    assert {tuple(how for how, _ in told) for told in course.became.values()} <= allowed
    assert course.join.oldest() is None or course.join.defaulted


@pytest.mark.parametrize("rule", [FAILS, LATER, FAILS._replace(corrected_ms=10)])
def test_the_oldest_record_that_still_matters_is_known(rule: LabelRule) -> None:
    course = Course(rule)
    assert course.join.oldest() is None
    course.sample(50)
    course.label(40)
    assert course.join.oldest() == 1
    course.tick(200)
    assert course.join.oldest() is None
