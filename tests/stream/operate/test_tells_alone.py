"""Which columns tell an answer by themselves."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.operate.tells_alone import tells_alone

PAIRS = st.lists(st.tuples(st.none() | st.integers(-3, 3), st.none() | st.booleans()), max_size=60)


def naive(pairs: list[tuple[Any, Any]]) -> bool:
    """Every threshold is tried, and being null."""
    known = [(value, answer) for value, answer in pairs if answer is not None]
    if len(known) < 20 or min(sum(a for _, a in known), sum(not a for _, a in known)) < 5:
        return False
    if all((value is None) == answer for value, answer in known) or all(
        (value is None) != answer for value, answer in known
    ):
        return True
    if any(value is None for value, _ in known):
        return False
    cuts = [cut + 0.5 for cut in range(-4, 4)]
    return any(all((value > cut) == answer for value, answer in known) for cut in cuts) or any(
        all((value < cut) == answer for value, answer in known) for cut in cuts
    )


@given(PAIRS)
def test_it_says_of_true_and_false_what_every_threshold_says(pairs: list[tuple[Any, Any]]) -> None:
    assert tells_alone([value for value, _ in pairs], [answer for _, answer in pairs]) == naive(pairs)


@given(st.integers(5, 30), st.integers(5, 30), st.booleans(), st.booleans())
def test_a_parting_of_enough_answers_is_found(no: int, yes: int, nulls: bool, turned: bool) -> None:
    values: list[Any] = [None if nulls else 1.0] * no + [7.5] * yes
    answers = [turned] * no + [not turned] * yes
    assert tells_alone(values, answers) == (no + yes >= 20)
    assert not tells_alone([*values, 3.0, 3.0], [*answers, True, False]) or nulls is False


def test_a_number_is_told_by_itself_times_a_number_and_by_nothing_else() -> None:
    answers = [n * n / 7 for n in range(30)]
    assert tells_alone([60 * one for one in answers], answers)
    assert not tells_alone([60 * one + (n == 9) for n, one in enumerate(answers)], answers)
    assert not tells_alone([None, *answers[1:]], answers)


def test_of_classes_and_of_text_nothing_is_said() -> None:
    assert not tells_alone(list("ab" * 20), [True, False] * 20)
    assert not tells_alone([1, 2] * 20, list("ab" * 20))
