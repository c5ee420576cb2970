"""Which place a value has: first come, one for null, one for all the others, and room again for new ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.segments.places import FORGOTTEN_MS, MOST_VALUES, OTHER, WIDTH, Places

VALUES = st.one_of(st.none(), st.booleans(), st.integers(-3, 3).map(float), st.text(max_size=2))


@given(st.lists(st.tuples(VALUES, VALUES), max_size=200))
def test_each_value_has_one_place_of_its_field_and_the_same_one_ever_after(
    rows: list[tuple[object, object]],
) -> None:
    places = Places(["a", "b"])
    first: dict[tuple[int, object], int] = {}
    for row in rows:
        placed = places.take(row, 0)  # type: ignore[arg-type]
        assert placed == places.of(row)  # type: ignore[arg-type]
        for number, (value, place) in enumerate(zip(row, placed, strict=True)):
            assert place // WIDTH == number
            assert first.setdefault((number, value), place) == place
            if place % WIDTH:
                field, named = places.named(place)
                assert field == "ab"[number] and named == value
    taken = [place for place in first.values() if place % WIDTH]
    assert len(set(taken)) == len(taken)


def test_values_beyond_the_most_are_others_until_one_did_not_come_for_long() -> None:
    places = Places(["a"])
    for number in range(MOST_VALUES):
        places.take((f"v{number}",), 0)
    assert places.take(("new",), 0) == (0,) and places.named(0) == ("a", OTHER)
    places.seen(range(2, WIDTH - 1), FORGOTTEN_MS + 1)
    (gone,) = places.forgotten
    assert places.of((f"v{MOST_VALUES - 1}",)) == (0,)
    assert places.take(("new",), FORGOTTEN_MS + 1) == (gone,) and places.named(gone) == ("a", "new")


def test_a_field_with_room_forgets_nothing() -> None:
    places = Places(["a"])
    placed = places.take(("old",), 0)
    places.seen([], 9 * FORGOTTEN_MS)
    assert places.forgotten == [] and places.of(("old",)) == placed
