"""Expressions: what they compute, and what they refuse."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import View, count, distinct, last, max, row
from penstock.features.define.expressions import expression
from tests.naive_features import evaluated


def value(text: str, **fields: object) -> float | None:
    known = expression(text)
    return known.function(*(fields[name] for name in known.fields))


def test_an_expression_is_normal_text_and_reads_its_fields_in_order() -> None:
    known = expression(" (b+ a)*2.0 ")
    assert (known.text, known.fields) == ("(b + a) * 2.0", {"b": "number", "a": "number"})
    assert expression("c in ('x',) and a > 1").fields == {"c": "text", "a": "number"}


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_an_expression_computes_what_python_does(a: float, b: float) -> None:
    for text in (
        "a + b * 2 - a / 4",
        "a if a > b else -b",
        "a < b and b < 5",
        "not a == b",
        "a % 7 + b // 3",
    ):
        assert value(text, a=a, b=b) == evaluated(text, {"a": a, "b": b})


def test_what_is_no_finite_number_is_null() -> None:
    for text in (
        "1 / (a - a)",
        "a ** 9999",
        "(0 - a) ** 0.5",
        "log(a - a)",
        "exp(a * 1e9)",
        "1e300 * a * 1e300",
    ):
        assert value(text, a=2.0) is None
    assert value("sqrt(a) + log(exp(1)) + min(a, 3)", a=4.0) == pytest.approx(6)
    assert value("a ** a ** a", a=1000.0) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("__import__('os')", "not allowed"), ("a.b", "not allowed"), ("a[0]", "not allowed"), ("(lambda: a)()", "not"),
        ("[a for a in b]", "not allowed"), ("a @ b", "operator MatMult"), ("a << 2", "operator LShift"), ("", "read"),
        ("a +", "cannot be read"), ("1 + 2", "reads no field"), ("a + 'x'", "not allowed"), ("a == 'x' + 'y'", "not allowed"),
        ("a == 'x' and a > 1", "as a number and as text"), ("c in 'xy'", "list of literals"), ("c in ()", "list"),
        ("c in ('x', 1)", "text with numbers"), ("abs(a, key=b)", "no named"), ("a == 1e999", "not allowed"),
        ("-" * 50 + "a", "nested"), ("a := 1", "cannot be read"), ("f'{a}'", "not allowed"), ("~a", "operator Invert"),
        ("a if None else 1", "not allowed"), ("a == null", "null is not a value"), ("true", "reads no field"),
        ("a == 'x' or a == true", "as a number and as text"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_and_quoted(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        expression(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("failed", [True, False, 1.0, 0.0])
def test_true_and_false_are_one_and_zero(failed: bool | float) -> None:
    for text in (
        "failed",
        "failed == true",
        "failed == True",
        "failed == 1",
        "failed != false",
        "failed in (True, 1)",
    ):
        assert value(text, failed=failed) == float(failed), text
    for text in ("not failed", "failed == false", "failed < true"):
        assert value(text, failed=failed) == 1 - failed, text
    assert expression("failed == true").text == expression("failed == True").text
    assert expression("failed == true").fields == {"failed": "number"}
    assert expression(expression("failed == true").text).text == "failed == True"


def test_a_definition_says_what_its_fields_must_hold() -> None:
    source = SimpleNamespace(name="payments")
    view = View("card", source, "card", dict(
        n=count("1h", where="country == 'US' and amount > 5"), hi=max("amount"), d=distinct("merchant"),
        r=row("amount / items"), home=last("country", holds="text"),
    ))  # fmt: skip
    assert view.field_types == {
        "country": "text", "amount": "number", "merchant": "any", "items": "number",
    }  # fmt: skip
    assert view.numeric == ("n", "hi", "d", "r")
    with pytest.raises(ValueError, match="view 'card': field 'country' is used as a number and as text"):
        View("card", source, "card", dict(n=count(where="country == 'US'"), hi=max("country")))
    with pytest.raises(ValueError, match=r"count\('1h', where='a >'\): expression 'a >' cannot be read"):
        count("1h", where="a >")
