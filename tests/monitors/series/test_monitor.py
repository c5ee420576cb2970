"""Episodes of a detector's alarms, and the units that dependent values are given in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from penstock import Adwin, PageHinkley, RateRise
from penstock.monitors.series.monitor import QUIET_VALUES, SeriesMonitor


def hear(word: Any, values: list[float]) -> list[tuple[int, str, str]]:
    """(position, state, reason) of all that is told."""
    one = SeriesMonitor(word.watched(), word.make())
    return [
        (at, found.transition.state, found.reason)
        for at, value in enumerate(values)
        for found in one.update(at, at, value)
    ]


def usual(count: int) -> list[float]:
    return [float(n % 5 == 0) for n in range(count)]


def test_a_burst_ends_after_a_quarter_of_the_quiet_updates_and_a_change_that_stays_after_all() -> None:
    (_, _, _), (ended, _, reason) = hear(RateRise("error"), usual(500) + [1.0] * 20 + usual(600))
    assert ended < 500 + 20 + QUIET_VALUES // 2 and "is as before" in reason
    (begun, _, _), (ended, _, reason) = hear(RateRise("error"), usual(500) + [1.0, 1.0, 0.0] * 300)
    assert ended - begun == QUIET_VALUES and "has not changed again" in reason


def test_a_change_after_a_burst_is_an_episode_of_its_own() -> None:
    told = hear(RateRise("error"), usual(500) + [1.0] * 20 + usual(300) + [1.0, 1.0, 0.0] * 30)
    assert [state for _, state, _ in told] == ["firing", "resolved", "firing"]


@pytest.mark.parametrize("word", [Adwin("amount", block=5), PageHinkley("amount", block=5)])
def test_one_absurd_value_is_no_alarm_and_blinds_nobody(word: Any) -> None:
    values = np.random.default_rng(4).standard_normal(2_000)
    values[700] = 1e12
    assert hear(word, values[:1_500].tolist()) == []
    values[1_500:] += 4.0
    (at, _, _), *_ = hear(word, values.tolist())
    assert at >= 1_500


def test_values_that_hang_together_make_no_alarms_as_blocks_and_many_as_they_come() -> None:
    """The reason for blocks: nothing changes here, and a storm lasts hundreds of values."""
    shocks = np.random.default_rng(5).standard_normal(100_000)
    values = 0.3 + 0.1 * lfilter([0.1], [1.0, -0.995], shocks)
    assert hear(Adwin("loss", rises=False), values.tolist()) == []
    assert len(hear(Adwin("loss", block=None, rises=False), values.tolist())) > 20
