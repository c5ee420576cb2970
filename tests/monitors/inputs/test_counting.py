"""What is counted and compared in C is what Python and numpy find."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.inputs import guard, psi
from penstock.monitors.inputs.histogram import Histogram
from penstock.monitors.inputs.psi import DAY_MS, PsiMonitor
from penstock.monitors.segments import stability
from penstock.monitors.segments.bins import BINS, Bins
from penstock.monitors.segments.stability import SegmentStability
from tests.effort import examples

counting = pytest.importorskip("penstock.monitors.inputs.counting", reason="the extension was not built")

special = st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 5e-324, 2**53 + 1, True, None])
number = st.one_of(special, st.floats(), st.integers(-4, 4))
odd = st.one_of(number, st.just(10**400), st.text(max_size=2))
edge = st.one_of(st.integers(-4, 4).map(float), st.floats(allow_nan=False, allow_infinity=False))
edges = st.lists(edge, min_size=1, max_size=140, unique=True).map(sorted)


@settings(max_examples=examples(300))
@given(edges, st.lists(st.tuples(number, number), max_size=60), st.data())
def test_a_column_is_counted_as_by_sorting_it(own: list[float], rows: list[Any], data: st.DataObject) -> None:
    near = st.one_of(number, st.sampled_from(own))
    rows = [*rows, *data.draw(st.lists(st.tuples(near, near), max_size=60))]
    bins = Histogram(own, None)
    before = bins.count([0.5, None, 1e300])
    found = counting.count(rows, [own, None], [before.tobytes(), b""])
    assert found == [(before + bins.count([row[0] for row in rows])).tobytes(), None]


def test_what_is_no_ordinary_number_is_left_to_python() -> None:
    empty = Histogram([0.0, 1.0], None).empty().tobytes()
    for strange in ("text", 10**400, 1j):
        found = counting.count([(strange, 0.5)], [[0.0, 1.0]] * 2, [empty] * 2)
        assert found[0] is None and found[1] is not None
    assert counting.count([(0.5,), (0.5, 0.5)], [[0.0]], [Histogram([0.0], None).empty().tobytes()]) is None
    assert counting.count([(0.5,)], [[0.0]], [b"too short"]) == [None]


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_windows_are_judged_alike_with_and_without_it(seed: int, strange: bool) -> None:
    import random

    def told(native: bool) -> list[Any]:
        chance, monitor, found = random.Random(seed), PsiMonitor(["a", "b", "c"], 1e4), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(psi, "NATIVE", native)
            for number in range(2_400):
                moved = 3.0 if number > 2_000 else 0.0
                text = chance.choice("xyz")
                second = chance.choice([None, 1, text if strange else 2.5])
                values = (chance.gauss(moved, 1.0), second, text)
                found += monitor.update(number * DAY_MS // 100, number, values)
        return [found, monitor._counts, [list(past) for past in monitor._past]]

    assert told(True) == told(False)


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(odd, odd, odd), max_size=5))
def test_values_are_held_against_their_ranges_alike(columns: list[tuple[Any, Any, Any]]) -> None:
    def outcome(inside: Any) -> Any:
        low, values, high = ([column[i] for column in columns] for i in range(3))
        try:
            return inside(low, values, high)
        except TypeError:
            return "no order"

    assert outcome(counting.inside) == outcome(guard._inside)


text = st.one_of(st.sampled_from(["", "a", "b", "c"]), st.text(max_size=2))
column_edges = st.one_of(
    st.lists(edge, max_size=7, unique=True).map(sorted),
    st.lists(text, max_size=7, unique=True).map(
        lambda texts: {one: place for place, one in enumerate(texts)}
    ),
)


@settings(max_examples=examples(300))
@given(
    st.lists(column_edges, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 3), st.integers(4, 6))),
    st.data(),
)
def test_columns_are_counted_by_place_as_by_their_bins(
    own: list[Any], placed: list[Any], data: st.DataObject
) -> None:
    columns = []
    for edges in own:
        usual = st.one_of(text, st.none()) if isinstance(edges, dict) else number
        if data.draw(st.integers(0, 9)) == 0:
            usual = st.one_of(usual, odd)
        columns.append([data.draw(usual) for _ in placed])
    rows = [(place, list(values[:-1]), values[-1]) for place, *values in zip(placed, *columns, strict=True)]
    counts = np.arange(7.0 * len(own) * BINS).reshape(7, len(own), BINS)
    expected, left = counts.copy(), counting.count_by_place(rows, own, 7, BINS, counts)
    for index, edges in enumerate(own):
        values = [[*x, last][index] for _, x, last in rows]
        kinds = (str,) if isinstance(edges, dict) else (float, int, bool)
        if any(value is not None and (type(value) not in kinds or value == 10**400) for value in values):
            assert index in left
            continue
        assert index not in left
        bins = Bins([])
        bins.values, bins.edges = (edges, []) if isinstance(edges, dict) else (None, edges)
        for place, found in zip(placed, bins.of(values).tolist(), strict=True):
            for one in place:
                expected[one, index, found] += 1
    assert counts.tolist() == expected.tolist()


def test_rows_of_other_shapes_and_places_that_are_none_are_left_to_python() -> None:
    counts = np.zeros((2, 2, BINS))
    for rows in (
        [((0,), [1.0], 1.0), ((0,), [], 1.0)],
        [((0,), [1.0], 1.0), ((0, 1), [1.0], 1.0)],
        [((0,), [1.0], 1.0), ((2,), [1.0], 1.0)],
        [((-1,), [1.0], 1.0)],
        [((0,), (1.0,), 1.0)],
    ):
        assert counting.count_by_place(rows, [[], [0.5]], 2, BINS, counts) is None
        assert not counts.any()
    with pytest.raises(ValueError, match="not of the shape"):
        counting.count_by_place([], [[]], 2, BINS, counts)
    with pytest.raises(ValueError, match="is none of"):
        counting.count_by_place([], [[], {"a": BINS}], 2, BINS, counts)
    with pytest.raises(ValueError, match="at most 7 numbers"):
        counting.count_by_place([], [[], [0.0] * 8], 2, BINS, counts)


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_windows_of_segments_are_judged_alike_with_and_without_it(seed: int, strange: bool) -> None:
    import random

    def told(native: bool) -> list[Any]:
        chance, found = random.Random(seed), []
        monitor = SegmentStability(["a", "b", "c", "prediction"], 4, 1e4)
        with pytest.MonkeyPatch.context() as patch:
            if not native:
                patch.setattr(stability, "counting", None)
            for number in range(4_600):
                moved = 3.0 if number > 4_200 else 0.0
                texts = chance.choice("xyz")
                second = chance.choice([None, 1, texts if strange else 2.5])
                values = [chance.gauss(moved, 1.0), second, texts]
                placed = (chance.randrange(2), 2 + chance.randrange(2))
                found += monitor.update(number * DAY_MS // 300, number, placed, values, chance.random())
        return [found, monitor._counts.tolist(), monitor._reference.tolist(), repr(monitor._past.tolist())]

    assert told(True) == told(False)
