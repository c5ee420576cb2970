"""What a CSV file's columns are taken for, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.scaffold.answers import BadAnswer
from penstock.stream.scaffold.columns import columns_of, value_of
from penstock.stream.scaffold.guess import Guess, guess


def guessed(header: str, *rows: str, **given: Any) -> Guess:
    return guess(columns_of(header.split(","), [row.split(",") for row in rows]), given)


PAYMENTS = [
    f"p{n},2026-01-01 00:{n:02d}:00,c{n % 3},{n}.5,{n % 2},{'yes' if n % 4 == 0 else 'no'}" for n in range(12)
]


def test_a_file_of_payments_is_what_one_would_take_it_for() -> None:
    found = guessed("payment_id,paid_at,card,amount,online,fraud", *PAYMENTS)
    assert found[:6] == ("payment_id", "paid_at", "card", "fraud", "binary", ("amount", "online"))
    said = "\n".join(found.said)
    assert (
        "without a zone, taken as UTC" in said
        and "card: named like somebody or something, 3 different in 12 rows" in said
    )


def test_what_is_given_is_not_guessed() -> None:
    found = guessed(
        "payment_id,paid_at,card,amount,online,fraud",
        *PAYMENTS,
        key="payment_id",
        label="online",
        inputs=("amount",),
    )
    assert (found.key, found.label, found.inputs) == ("payment_id", "online", ("amount",))
    assert not any(line.startswith(("key", "label", "inputs")) for line in found.said)
    with pytest.raises(BadAnswer, match="no column 'nobody'; there are: payment_id"):
        guessed("payment_id,paid_at,card,amount,online,fraud", *PAYMENTS, key="nobody")


def test_readings_of_sensors_without_an_answer_are_unlabelled_and_get_ids() -> None:
    rows = [f"{1_767_225_600 + 60 * n},s{n % 4},{20 + n % 5}.25,on" for n in range(20)]
    found = guessed("time,sensor,degrees,mode", *rows)
    assert found[:6] == ("row", "time", "sensor", "", "unlabelled", ("degrees",))
    assert "seconds since 1970" in found.said[0] and any("number of its row" in line for line in found.said)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ("01", "binary"),
        (["true", "false"], "binary"),
        (["a", "b", "c"], "multiclass"),
        (["1.5", "2.5", "7.5"], "regression"),
    ],
)
def test_the_answers_column_says_the_task(values: Any, task: str) -> None:
    rows = [f"{n},2026-01-01T00:{n:02d}:00Z,u{n % 2},{values[n % len(values)]}" for n in range(12)]
    assert guessed("id,at,user,outcome", *rows).task == task


def test_the_last_column_of_two_values_is_the_answer_where_none_is_named_like_one() -> None:
    rows = [f"{n},2026-01-01T00:{n:02d}:00Z,u{n % 2},{n % 2}" for n in range(12)]
    assert guessed("id,at,user,hit", *rows).label == "hit"


def test_a_number_with_zeros_in_front_is_text() -> None:
    (column,) = columns_of(["zip"], [["01234"], ["99999"]])
    assert column.kind == "text" and value_of(column, "01234") == "01234"


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("a,b", ["1,2"], "no column holds a time in every row"),
        ("at,at", ["1,2"], "a name of its own"),
        ("at", [], "no rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_said(header: str, rows: list[str], said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        guessed(header, *rows)


@given(
    st.integers(1_000_100_000, 4_000_000_000),
    st.integers(-12, 12),
    st.sampled_from(["s", "ms", "us", "text"]),
)
def test_times_keep_their_moment_however_they_are_written(seconds: int, hours: int, how: str) -> None:
    at = datetime.fromtimestamp(seconds, timezone(timedelta(hours=hours)))
    text = {"s": f"{seconds}", "ms": f"{seconds}000", "us": f"{seconds}000000", "text": at.isoformat()}[how]
    (column,) = columns_of(["time"], [[text]])
    assert column.kind == "time"
    value = value_of(column, text)
    found = (
        datetime.fromtimestamp(value / 1000, UTC) if isinstance(value, int) else datetime.fromisoformat(value)
    )
    assert found == at


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6), st.text(max_size=8))
def test_any_text_becomes_a_value_that_json_has(texts: list[str], later: str) -> None:
    (column,) = columns_of(["c"], [[text] for text in texts])
    for text in [*texts, later]:
        json.loads(json.dumps(value_of(column, text), allow_nan=False))


def test_a_column_that_says_every_answer_is_no_input_unless_it_is_asked_for() -> None:
    rows = [f"{n},2026-01-01T00:{n:02d}:00Z,u{n % 3},{n % 7},{n % 2 * 30 + 1},{n % 2}" for n in range(40)]
    header = "id,at,user,amount,refund,fraud"
    columns = columns_of(header.split(","), [row.split(",") for row in rows])
    found = guess(columns, {}, [row.split(",") for row in rows])
    assert found.inputs == ("amount",)
    assert any("refund: says the answer of every row by itself" in line for line in found.said)
    assert guess(columns, {"inputs": ("refund",)}, [row.split(",") for row in rows]).inputs == ("refund",)
