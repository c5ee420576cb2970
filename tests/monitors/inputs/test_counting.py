"""What is counted and compared in C is what Python and numpy find."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.inputs import guard, psi
from penstock.monitors.inputs.histogram import Histogram
from penstock.monitors.inputs.psi import DAY_MS, PsiMonitor
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
