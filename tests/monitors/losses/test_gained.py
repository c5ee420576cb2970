"""What the winner of a paired test gained since the onset: all of it, wherever its blocks were kept."""

from __future__ import annotations

import random

import pytest

from penstock.monitors.losses.paired import BaseBlock, PairedTest

BLOCK = 50


@pytest.mark.parametrize("keep", [True, False])
def test_what_was_gained_counts_every_label_since_the_onset_also_those_kept_out_of_the_reference(
    keep: bool,
) -> None:
    chance = random.Random(4)
    test = PairedTest("lead", estimate_ratio=False, base_labels=BLOCK, reference_blocks=100, min_blocks=24)
    lost: list[float] = []
    onset = 0
    for number in range(80):
        worse = 0.1 if number >= 60 else 0.0
        first, second = 0.4 + worse + chance.gauss(0.0, 0.02), 0.4 + chance.gauss(0.0, 0.02)
        lost.append((first - second) * BLOCK)
        block = BaseBlock(first, second, number, number, number + 1, number + 1)
        for one in test.update(block, 0.01, 10_000.0, keep or number < 60)[1]:
            onset = one.since_position
        if test.phase == "firing":
            break
    nats, labels = test.gained()
    assert 58 <= onset <= 62 and labels == (number + 1 - onset) * BLOCK > BLOCK
    assert nats == pytest.approx(sum(lost[onset:]))
