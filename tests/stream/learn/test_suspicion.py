"""The suspicion: river's ADWIN, asked only when it looks."""

from __future__ import annotations

import random

import pytest
from river.drift import ADWIN

from penstock.stream.learn.suspicion import CLOCK, DELTA, LOSS_MOST, Suspicion


@pytest.mark.parametrize("seed", range(6))
def test_it_is_adwin_asked_at_every_loss(seed: int) -> None:
    chance = random.Random(seed)
    suspicion, adwin = Suspicion(), ADWIN(delta=DELTA, clock=CLOCK)
    level, rises, found = 0.3, 0, 0
    for number in range(4_000):
        if chance.random() < 0.003:
            level = chance.random() * 2.0
        loss = abs(chance.gauss(level, 0.5))
        before = adwin.estimation
        adwin.update(min(loss, LOSS_MOST) / LOSS_MOST)
        rose = adwin.drift_detected and adwin.estimation > before
        assert suspicion.rose(loss) == rose, number
        rises, found = rises + rose, found + adwin.drift_detected
    assert 0 < rises < found
