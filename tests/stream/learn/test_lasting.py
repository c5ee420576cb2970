"""Better for good: by its own losses, over labels that had no part in finding the committed model worse."""

from __future__ import annotations

import pytest

from penstock.stream.learn.lasting import LASTS, Lasting


def gains(window: int, better: list[float]) -> list[float | None]:
    """The gain of expert 7 over the committed 1 after each label; it loses so much less by that label."""
    lost = {1: 50.0, 7: 80.0}
    lasting = Lasting(window // LASTS, 1_000, lost)
    made = []
    for number, nats in enumerate(better):
        lost = {1: lost[1] + 0.5, 7: lost[7] + 0.5 - nats}
        made.append(lasting.gain(7, 1, 1_001 + number, lost))
    return made


def test_a_gain_lasts_once_twice_as_many_labels_have_come_as_it_took_to_find_it() -> None:
    made = gains(100, [0.2] * 1_000)
    assert set(made[:99]) == {None} and made[99:] == pytest.approx([0.2] * 901)


def test_what_came_before_does_not_count_and_what_passes_does_not_last() -> None:
    """Had the losses of before counted, expert 7 would be far behind, or far ahead."""
    made = gains(100, [0.2] * 30 + [-0.1] * 170)
    assert made[99] == pytest.approx((30 * 0.2 - 70 * 0.1) / 100) and all(
        gain < 0.0 for gain in made[99:] if gain is not None
    )


def test_what_lasts_later_counts_later_since_only_the_newest_labels_are_looked_at() -> None:
    made = gains(100, [-0.3] * 200 + [0.2] * 200)
    assert made[299] != pytest.approx(0.2) and made[399] == pytest.approx(0.2)


def test_an_expert_born_since_has_to_wait_for_the_next_stretch() -> None:
    lasting = Lasting(10 // LASTS, 0, {1: 0.0})
    found = [lasting.gain(7, 1, number, {1: 0.5 * number, 7: 0.3 * number}) for number in range(1, 41)]
    assert found.index(pytest.approx(0.2)) == 20 and set(found[:20]) == {None}
