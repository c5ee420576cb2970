"""Keys separate what they join."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.features.redis import keys

parts = st.lists(st.one_of(st.text(), st.integers()), min_size=1, max_size=3)


@given(parts, parts)
def test_different_entities_have_different_names(a: list[Any], b: list[Any]) -> None:
    """Numbers are their decimals; all else that differs stays different, separators and surrogates too."""
    one, other = keys.entity_key(a), keys.entity_key(b)
    assert (one == other) == ([str(p) for p in a] == [str(p) for p in b])
    assert ":" not in one and one.count("|") == len(a) - 1 and one.isascii()


@given(parts)
def test_an_event_names_its_entity_as_its_values_do(values: list[Any]) -> None:
    fields = [f"k{i}" for i in range(len(values))]
    assert keys.entity_of(dict(zip(fields, values, strict=True)), fields) == keys.entity_key(values)


def test_a_null_or_absent_part_names_no_entity() -> None:
    assert keys.entity_of({"a": None}, ("a",)) is None
    assert keys.entity_of({}, ("a",)) is None
    assert keys.entity_of({"a": "x", "b": None}, ("a", "b")) is None
    assert keys.entity_of({"a": ""}, ("a",)) == ""


@pytest.mark.parametrize("part", [1.0, True, ["x"], b"x"])
def test_a_key_is_text_or_an_integer(part: object) -> None:
    with pytest.raises(TypeError, match="key field 'a'"):
        keys.entity_of({"a": part}, ("a",))


def test_the_names_are_the_documented_ones() -> None:
    entity = keys.entity_of(
        {"carrier": "B6", "flight": 7, "route": "JFK|LAX é"}, ("carrier", "flight", "route")
    )
    assert entity == "B6|7|JFK%7CLAX%20%C3%A9"
    assert keys.public_key("flights", "leg", entity) == "features:flights:leg:B6|7|JFK%7CLAX%20%C3%A9"
    assert keys.state_key("flights", "all", "leg", "0a1b2c3d", "7") == (
        "penstock:flights:all:state:leg@0a1b2c3d:7"
    )
    assert keys.definition_key("flights", "all") == "penstock:flights:all:definition"
    assert keys.live_key("flights") == "features:flights"
    assert keys.token_key("flights", "all") == "penstock:flights:all:token"
    assert keys.generation_key("flights", "all") == "penstock:flights:all:generation"
    assert keys.position_key("flights", "all") == "penstock:flights:all:position"


def test_the_pattern_of_a_task_matches_only_its_states() -> None:
    pattern = keys.pattern(keys.states_prefix("flights", "1"))
    assert fnmatchcase(keys.state_key("flights", "1", "leg", "0a", "7"), pattern)
    assert not fnmatchcase(keys.state_key("flights", "11", "leg", "0a", "7"), pattern)
    assert not fnmatchcase(keys.token_key("flights", "1"), pattern)
    assert keys.pattern(keys.states_prefix("fl*", "a[1]")) == r"penstock:fl\*:a\[1\]:state:*"
