"""Whose inputs broke or moved, and a segment whose inputs moved alone, beside plain counting."""

from __future__ import annotations

import math
import pickle
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.inputs.stability import psi
from penstock.monitors.segments.bins import BINS, Bins
from penstock.monitors.segments.places import WIDTH, Places
from penstock.monitors.segments.stability import DAY_MS, SegmentStability, contributions, relatives
from penstock.monitors.segments.violations import BLOCK_RECORDS, SegmentRecords

MINUTE = 60_000


@given(
    st.lists(st.one_of(st.none(), st.floats(-9, 9)), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9), st.text(max_size=2)), max_size=40),
)
def test_every_number_has_a_bin_between_its_edges_and_all_else_that_of_nulls(
    sample: Any, column: Any
) -> None:
    bins = Bins(sample)
    assert len(bins.edges) <= BINS - 2
    for value, found in zip(column, bins.of(column).tolist(), strict=True):
        if value is None or isinstance(value, str):
            assert found == BINS - 1
        else:
            assert found == sum(value > edge for edge in bins.edges) < BINS - 1


@given(st.lists(st.sampled_from(["a", "b", "c", None, *"defghijkl"]), min_size=1))
def test_each_frequent_text_has_its_bin(column: Any) -> None:
    bins = Bins(["a", "a", "b", None, *"cdefghijkl"])
    by_value = dict(zip(column, bins.of(column).tolist(), strict=True))
    assert (
        by_value.get("a", 0) == 0 and by_value.get("b", 1) == 1 and by_value.get(None, BINS - 1) == BINS - 1
    )


tables = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 60, (2, 3, 2, BINS)).astype(np.float64)
)


@given(tables)
def test_the_parts_of_a_fields_segments_add_up_to_the_index_of_the_whole(two: Any) -> None:
    counts, reference = two
    parts = contributions(counts, reference).sum(axis=0)
    # what one row of all segments together would give
    whole = contributions(counts.sum(axis=0, keepdims=True), reference.sum(axis=0, keepdims=True))[0]
    n, before = counts[:, 0].sum(), reference[:, 0].sum()
    assert parts[0] == pytest.approx(whole[0])
    p, q = (
        (table.sum(axis=0)[0] + 0.5) / (total + BINS / 2)
        for table, total in ((reference, before), (counts, n))
    )
    assert parts[0] == pytest.approx(psi(reference.sum(axis=0)[0], counts.sum(axis=0)[0]), abs=0.1)
    assert p.sum() == pytest.approx(1.0) and q.sum() == pytest.approx(1.0)


@given(tables)
def test_the_index_of_a_segment_is_that_of_two_count_vectors(two: Any) -> None:
    counts, reference = two[0] + 1, two[1] + 1
    relative, effect = relatives(reference, counts)
    for place in range(3):
        for column in range(2):
            mine, its = counts[place, column], reference[place, column]
            usual = (BINS - 1) * (1 / its.sum() + 1 / mine.sum())
            value = psi(its, mine)
            assert relative[place, column] == pytest.approx(value / usual)
            assert effect[place, column] == pytest.approx(max(value - usual, 0.0), abs=1e-12)


def days(monitor: SegmentStability, places: Places, count: int, seed: int, broken_from: int) -> list[Any]:
    """A sample in two minutes: carrier B's weight moves on one day and stays; B has a fifth of the records."""
    chance = random.Random(seed)
    told = []
    for number in range(count * 720):
        at = number * 2 * MINUTE
        carrier = "B" if chance.random() < 0.2 else chance.choice("AC")
        day = at // DAY_MS
        moved = 1.5 if carrier == "B" and day >= broken_from else 0.0
        x = [chance.gauss(moved, 1.0), chance.gauss(0.3 * math.sin(day), 1.0), chance.choice("xyz")]
        placed = places.take(
            (
                carrier,
                chance.choice("NS"),
            ),
            at,
        )
        told += [(day, place, one) for place, one in monitor.update(at, number, placed, x, chance.random())]
    return told


def test_a_segment_whose_input_moved_is_named_and_the_others_are_not() -> None:
    places = Places(["carrier", "side"])
    monitor = SegmentStability(["weight", "noise", "kind", "prediction"], places.count, 0.5)
    told = [one for one in days(monitor, places, 45, 1, 35) if one[2].state == "firing"]
    ((day, place, transition),) = told
    assert day == 36 and places.named(place) == ("carrier", "B") and transition.subject == "weight"
    assert transition.since_ms == 35 * DAY_MS and transition.detail["budget_per_year"] == 0.5


def test_the_shift_of_the_whole_is_attributed_to_the_segment_it_comes_from() -> None:
    places = Places(["carrier", "side"])
    monitor = SegmentStability(["weight", "noise", "kind", "prediction"], places.count, 0.5)
    days(monitor, places, 37, 2, 35)
    found = monitor.carries("weight")
    assert found is not None and places.named(found[0].place) == ("carrier", "B") and found[0].share > 0.6
    assert monitor.carries("carrier") is None


def test_where_nothing_moves_segments_keep_to_their_budget() -> None:
    """Ten half years at 8 alarms a year, 40 in all; the t-test's tail is what is tried here."""
    fired = 0
    for seed in range(2):
        places = Places(["carrier", "side"])
        monitor = SegmentStability(["weight", "noise", "kind", "prediction"], places.count, 8.0)
        fired += sum(one[2].state == "firing" for one in days(monitor, places, 120, 50 + seed, 999))
    assert fired <= 6


def test_a_monitor_restored_in_the_middle_of_a_window_finds_the_same() -> None:
    places = Places(["carrier", "side"])
    names = ["weight", "noise", "kind", "prediction"]
    one = SegmentStability(names, places.count, 0.5)
    days(one, places, 20, 3, 15)
    other = pickle.loads(pickle.dumps(one))
    chance = random.Random(5)
    for number in range(4_000):
        row = (
            places.take(
                (
                    chance.choice("ABC"),
                    "N",
                ),
                0,
            ),
            [chance.gauss(0, 1), 0.0, "x"],
            0.5,
        )
        at = 20 * DAY_MS + number * MINUTE
        assert one.update(at, number, *row) == other.update(at, number, *row)
    assert (one.contributions == other.contributions).all()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ABCD"), st.booleans(), st.booleans()), max_size=120),
    st.integers(0, 120),
)
def test_violations_are_attributed_as_plain_counting_says(
    rows: list[tuple[str, bool, bool]], since: int
) -> None:
    places = Places(["carrier"])
    records = SegmentRecords(places)
    for position, (carrier, outside, null) in enumerate(rows):
        placed = places.take((carrier,), position)
        records.open.append(placed)
        records.violates(position, "range", ("weight",) if outside else (), placed)
        records.violates(position, "nulls", ("weight",) if null else (), placed)
    found = records.carries("range", "weight", since)
    late = Counter(carrier for carrier, outside, _ in rows[since:] if outside)
    assert records.carries("range", "other", since) is None
    if found is not None:
        (carrier, most), total = late.most_common(1)[0], sum(late.values())
        blamed, count = found
        assert places.named(blamed.place)[1] == carrier and count == most
        assert blamed.share == pytest.approx(most / total)
        usual = sum(one[0] == carrier for one in rows) / len(rows)
        assert blamed.usual == pytest.approx(usual) and blamed.share > usual
        assert total * blamed.share >= 3


def test_records_remember_how_often_a_segment_comes() -> None:
    places = Places(["carrier"])
    records = SegmentRecords(places)
    for number in range(5_000):
        records.open.append(places.take(("A" if number % 4 else "B",), number))
        if len(records.open) >= BLOCK_RECORDS:
            records.close(number)
    usual = records.usual()
    assert usual[3] / usual.sum() == pytest.approx(0.75, abs=0.01) or usual[2] / usual.sum() == pytest.approx(
        0.75, abs=0.01
    )
    records.forget([2])
    assert records.usual()[2] < 1_024
    assert WIDTH == len(usual)
