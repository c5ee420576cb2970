"""A time in another unit than milliseconds is said, wherever such a record is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.featurize.decode import LATE, SourceDecoder
from penstock.stream.featurize.units_of_time import hint, other_unit
from penstock.stream.log.protocol import Record
from tests.stream.generated import PAID, START_MS, cards


def reject(paid_at: Any) -> str:
    event = {"payment": "p", "paid_at": paid_at, "card": "c", "amount": 1.0, "fraud": False}
    record = Record(PAID.name, 0, 0, START_MS + 1_000, b"c", json.dumps(event).encode(), ())
    (item,) = SourceDecoder(cards(), PAID).items([record], START_MS)
    return item.reject or ""


@pytest.mark.parametrize(
    ("paid_at", "unit"),
    [
        (START_MS // 1_000, "seconds"),
        (START_MS / 1_000, "seconds"),
        (START_MS * 1_000, "microseconds"),
        (START_MS * 1_000_000, "nanoseconds"),
    ],
)
def test_the_reason_of_the_dead_letter_names_the_unit_and_the_time_that_was_meant(
    paid_at: Any, unit: str
) -> None:
    assert f"is it in {unit}? Then it means 2023-11-14T22:13:20Z: write milliseconds" in reject(paid_at)


def test_a_late_event_that_is_in_milliseconds_gets_no_hint_and_is_counted_as_late() -> None:
    late = reject(START_MS - 3 * 86_400_000)
    assert LATE in late and "is it in" not in late
    assert LATE in reject(START_MS // 1_000)


@given(st.integers(631_152_000_000, 4_102_444_799_999))
def test_a_time_of_our_days_is_known_in_every_unit(at: int) -> None:
    assert other_unit(at) == ""
    assert other_unit(at * 1_000) == "microseconds"
    assert other_unit(at * 1_000_000) == "nanoseconds"
    assert other_unit(-(-at // 1_000)) == ("seconds" if at <= 4_102_444_799_000 else "")


@given(st.integers())
def test_any_number_has_a_hint_or_none_and_the_hint_names_the_unit(at: int) -> None:
    assert (other_unit(at) in hint(at)) and bool(hint(at)) == bool(other_unit(at))


def test_now_is_no_other_unit() -> None:
    assert other_unit(time.time_ns() // 1_000_000) == ""
