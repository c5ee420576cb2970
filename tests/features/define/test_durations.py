"""Durations as people write them."""

import pytest

from penstock.features.define.durations import milliseconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1ms", 1),
        ("30s", 30_000),
        ("5m", 300_000),
        ("3h", 10_800_000),
        ("7d", 604_800_000),
        (" 36 h ", 129_600_000),
    ],
)
def test_every_unit_is_read(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3", "no unit"),
        ("3w", "unknown unit"),
        ("3H", "unknown unit"),
        ("", "not a whole number"),
        ("h", "not a whole number"),
        ("-3h", "not a whole number"),
        ("1.5h", "not a whole number"),
        ("3h30m", "not a whole number"),
        ("٣h", "not a whole number"),
        ("0s", "zero"),
        (3, "not text"),
    ],
)
def test_what_is_refused_is_quoted_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        milliseconds(text)
    assert repr(text) in str(raised.value)
