"""ADWIN as a witness, on MOA's Bernoulli streams and on single traps."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.monitors.losses.adwin import AdwinRise


def alarms(witness: AdwinRise, values: list[float]) -> list[int]:
    return [step for step, value in enumerate(values) if witness.update(value) == "firing"]


def test_an_abrupt_change_is_one_alarm_after_it_and_none_before() -> None:
    before, after, delays = 0, [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        values = np.concatenate([rng.random(1_000) < 0.2, rng.random(999) < 0.8]).astype(float).tolist()
        found = alarms(AdwinRise(), values)
        before += sum(step < 1_000 for step in found)
        late = [step - 1_000 for step in found if step >= 1_000]
        after.append(len(late))
        delays.append(late[0])
    assert before == 0
    assert set(after) == {1}
    assert np.mean(delays) <= 30


def test_a_gradual_change_is_found_within_three_hundred_events() -> None:
    delays = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        share = np.concatenate([np.full(2_000, 0.2), 0.2 + 0.001 * np.arange(1_000)])
        found = alarms(AdwinRise(), (rng.random(3_000) < np.minimum(share, 1)).astype(float).tolist())
        assert len(found) == 1
        delays.append(found[0] - 2_000)
    assert 0 < np.mean(delays) <= 300


def test_a_fall_is_no_alarm() -> None:
    assert alarms(AdwinRise(), [1.0] * 200 + [0.0] * 200) == []


def test_a_rise_that_stays_below_the_floor_is_no_alarm() -> None:
    assert alarms(AdwinRise(floor=0.5), [-2.0] * 200 + [0.4] * 200) == []


def test_a_rise_on_a_rise_is_the_same_alarm_until_the_level_is_back() -> None:
    steps = [0.0] * 100 + [3.0] * 100 + [6.0] * 100
    witness = AdwinRise(floor=1.0)
    assert len(alarms(witness, steps)) == 1
    assert "resolved" in [witness.update(0.0) for _ in range(100)]
    assert len(alarms(witness, [5.0] * 100)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_independent_noise_gives_no_alarm_in_ten_thousand_values(seed: int) -> None:
    assert alarms(AdwinRise(), np.random.default_rng(seed).standard_normal(10_000).tolist()) == []


def test_an_alarm_tells_its_confidence_and_how_many_values_its_window_held() -> None:
    witness = AdwinRise()
    (at,) = alarms(witness, [0.0] * 100 + [1.0] * 16)
    assert witness.figures == {"delta": 0.002, "clock": 1, "window": at + 1}
