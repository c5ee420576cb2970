"""The labels of a log's tail: by id as they stand, by key as the learner joins them."""

from __future__ import annotations

from penstock.stream.label_rule import LabelRule
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample, Tick
from penstock.stream.operate.tail_labels import tail_labels


def sample(n: int, at: int = 0, key: str | None = None) -> Sample:
    return Sample(Origin("s", 0, n), f"s{n}", "k", at, [], "", key)


def label(n: int, event_id: str, y: bool = True, at: int = 0, key: str | None = None) -> LabelRecord:
    return LabelRecord(Origin("l", 0, n, 1), event_id, at, y, key)


def test_by_id_labels_that_say_something_again_are_counted_and_repeats_of_a_crash_are_not() -> None:
    again = label(4, "s1", False)
    log: list[Entry] = [
        sample(1), sample(2), label(1, "s1"), label(2, "s1"), label(3, "gone"), again, again,
    ]  # fmt: skip
    found = tail_labels(log, None)
    assert (found.duplicates, found.contradictions, found.records, found.pending) == (1, 1, 4, 1)
    assert found.of == {"s1": True, "gone": True} and found.samples == {"s1", "s2"}


def test_by_key_a_label_is_that_of_the_samples_in_whose_span_it_lies() -> None:
    rule = LabelRule(30, False, keyed=True)
    log: list[Entry] = [
        sample(1, 0, "a"), sample(2, 5, "b"), sample(3, 9, "b"), label(1, "f1", True, 10, "a"), Tick({"s": 36}, [], 0),
    ]  # fmt: skip
    found = tail_labels(log, rule)
    assert found.of == {"s1": True, "s2": False} and (found.pending, found.records) == (1, 1)


def test_by_id_a_sample_that_waited_in_vain_has_the_label_absent_and_waits_no_more() -> None:
    rule = LabelRule(30, False, corrected_ms=100)
    log: list[Entry] = [
        sample(1, 0), sample(2, 5), sample(3, 6), sample(4, 40), label(1, "s1", True, 10), Tick({"s": 50}, [], 0),
        label(2, "s3", True, 51),
    ]  # fmt: skip
    found = tail_labels(log, rule)
    assert found.of == {"s1": True, "s2": False, "s3": True}, "one that came after all is the label"
    assert (found.pending, found.records, found.contradictions) == (1, 2, 0)
    unsaid = tail_labels(log, LabelRule(30, None))
    assert unsaid.of == {"s1": True, "s3": True} and unsaid.pending == 2
