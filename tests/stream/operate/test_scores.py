"""AUC and losses against their definitions."""

from __future__ import annotations

from math import isclose, log

from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.operate.scores import auc, scores

pairs = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.booleans()), max_size=30)


@given(pairs)
def test_auc_is_how_often_a_true_event_was_given_more_than_a_false_one(
    found: list[tuple[float, bool]],
) -> None:
    wins = [
        1.0 if p > q else 0.5 if p == q else 0.0
        for p, yes in found if yes
        for q, no in found if not no
    ]  # fmt: skip
    measured = auc(found)
    assert measured is None if not wins else measured is not None and isclose(measured, sum(wins) / len(wins))


@given(pairs)
def test_no_constant_is_better_than_the_base_rate(found: list[tuple[float, bool]]) -> None:
    measured = scores(found)
    if measured is None:
        assert not found
        return
    assert measured.labels == len(found)
    for constant in (0.01, 0.3, 0.5, 0.9):
        other = scores([(constant, y) for _, y in found])
        assert other is not None and other.loss >= measured.base_loss - 1e-9


def test_the_loss_is_in_nats() -> None:
    measured = scores([(0.5, True), (0.5, False)])
    assert measured is not None and isclose(measured.loss, log(2)) and isclose(measured.base_loss, log(2))
