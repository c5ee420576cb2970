"""Which values are a target, by kind: what is taken, what it becomes, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.messages import LabelRecord, Origin, decode_entry, encode_entry
from penstock.stream.targets import TAKEN, Kind, target_of

KINDS: list[Kind] = list(TAKEN)


@pytest.mark.parametrize(
    ("kind", "value", "target"),
    [
        ("boolean", True, True),
        ("boolean", 0, False),
        ("boolean", 1.0, True),
        ("boolean", np.bool_(True), True),
        ("class", "gold", "gold"),
        ("class", 3, 3),
        ("class", np.int64(3), 3),
        ("class", True, True),
        ("class", np.bool_(False), False),
        ("number", 3, 3.0),
        ("number", -0.5, -0.5),
        ("number", np.float64(0.5), 0.5),
        ("number", np.int64(7), 7.0),
    ],
)
def test_a_value_of_its_kind_becomes_a_plain_target(kind: Kind, value: Any, target: Any) -> None:
    found = target_of(value, kind)
    assert found == target and type(found) is type(target)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", "no"),
        ("boolean", 2),
        ("boolean", float("nan")),
        ("boolean", []),
        ("class", ""),
        ("class", "x" * 201),
        ("class", 1.0),
        ("class", 2**63),
        ("class", ["gold"]),
        ("number", "12"),
        ("number", True),
        ("number", np.bool_(True)),
        ("number", float("nan")),
        ("number", float("inf")),
        ("number", 10**400),
        ("number", 1e76),
    ],
)
def test_a_value_of_another_kind_is_refused_in_words(kind: Kind, value: Any) -> None:
    with pytest.raises(ValueError, match="it must be"):
        target_of(value, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_null_is_no_target_whatever_the_kind(kind: Kind) -> None:
    assert target_of(None, kind) is None


anything = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=210))


@given(anything, st.sampled_from(KINDS))
def test_whatever_is_taken_stands_in_the_log_as_it_is_and_is_taken_again(value: Any, kind: Kind) -> None:
    try:
        found = target_of(value, kind)
    except ValueError:
        return
    assert found is not None
    try:
        written = encode_entry(LabelRecord(Origin("t", 0, 0, 1), "a", 5, found))
    except UnicodeEncodeError:  # half of a surrogate pair: no JSON of Kafka's decodes to one
        return
    read = decode_entry(written)
    assert isinstance(read, LabelRecord) and read.y == found and type(read.y) is type(found)
    assert target_of(read.y, kind) == found


def test_a_label_without_a_key_of_a_former_version_reads() -> None:
    former = msgspec.msgpack.encode(["label", ["t", 0, 0, 1], "a", 5, True])
    assert decode_entry(former) == LabelRecord(Origin("t", 0, 0, 1), "a", 5, True, None)
