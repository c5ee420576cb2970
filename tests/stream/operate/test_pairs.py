"""Predictions are found by where their event stands, and by nothing that could be another's."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.messages import Origin, Sample
from penstock.stream.operate.pairs import ByOffset, ByOrigin, ByPosition, ClassesByOffset, unsaid
from penstock.stream.operate.parts import MISSING, MOST_SEGMENTS, OTHERS, segments
from tests.effort import examples


def sample(offset: int, at: int = 0, topic: str = "t", partition: int = 0) -> Sample:
    return Sample(Origin(topic, partition, offset), f"e{offset}", "k", at, [])


@settings(max_examples=examples(100))
@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1))), st.integers(0, 10))
def test_numbers_by_offset_are_those_of_a_dictionary(put: list[tuple[int, float]], first: int) -> None:
    kept, naive = ByOffset(first), dict[int, float]()
    for offset, value in put:
        kept.put(offset, value)
        naive[offset] = value
    for offset in range(40):
        expected = naive.get(offset, nan) if offset >= first else nan
        found = kept.get(offset)
        assert found == expected or (isnan(found) and isnan(expected))


def test_a_prediction_of_another_event_at_the_position_is_not_taken() -> None:
    """As where the samples log was made anew, and the predictions of before are still there."""
    made = ByPosition(10)
    made.put(12, 0.3, 1_000)
    assert made.said(12, sample(0, 1_000)) == 0.3
    assert isnan(made.said(12, sample(0, 1_001))) and isnan(made.said(13, sample(0, 1_000)))
    made.put(12, 0.4, 1_000)
    assert made.said(12, sample(0, 1_000)) == 0.4


def test_origins_of_other_topics_and_partitions_are_others() -> None:
    made = ByOrigin()
    made.put(Origin("t", 0, 5), 0.3)
    made.put(Origin("t", 1, 5), 0.6)
    assert (made.said(0, sample(5)), made.said(0, sample(5, partition=1))) == (0.3, 0.6)
    assert isnan(made.said(0, sample(5, topic="u"))) and isnan(made.said(0, sample(4)))


@settings(max_examples=examples(100))
@given(st.lists(st.none() | st.booleans() | st.floats(-1e6, 1e6) | st.sampled_from("abcdef"), min_size=1))
def test_every_value_has_one_of_the_segments(values: list[object]) -> None:
    names, order = segments(values)
    assert len(names) == len(values) and set(names) == set(order) and len(order) == len(set(order))
    assert (MISSING in order) == (None in values) and len(order) <= MOST_SEGMENTS + 2


@pytest.mark.parametrize("many", [40, 400])
def test_many_texts_are_the_most_frequent_and_others_many_numbers_quarters(many: int) -> None:
    texts = [f"t{n}" for n in range(many)] + ["t7"] * 5
    names, order = segments(texts)
    assert order[-1] == OTHERS and len(order) == MOST_SEGMENTS + 1 and names[7] == "t7"
    numbers = np.arange(many).tolist()
    names, order = segments([float(n) for n in numbers])
    counts = [names.count(name) for name in order]
    assert len(order) == 4 and max(counts) - min(counts) <= 1


@settings(max_examples=examples(100))
@given(
    st.lists(st.tuples(st.integers(0, 20), st.dictionaries(st.sampled_from("abc"), st.floats(0, 1)))),
    st.integers(0, 5),
)
def test_classes_by_offset_are_those_of_a_dictionary(
    put: list[tuple[int, dict[str, float]]], first: int
) -> None:
    kept, naive = ClassesByOffset(first), dict[int, dict[str, float]]()
    for offset, value in put:
        kept.put(offset, value)
        naive[offset] = value
    for offset in range(25):
        found = kept.get(offset)
        if offset < first or offset not in naive:
            assert unsaid(found)
        else:
            assert found == naive[offset], "an answer of no class is an answer, too"
