"""What the winner of a paired test gained since the onset: all of it, wherever its blocks were kept."""

from __future__ import annotations

import pickle
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


@pytest.mark.parametrize("reference_blocks", [30, 100])
def test_the_columns_are_the_reference_s_blocks_whatever_joined_left_or_was_stored(
    reference_blocks: int,
) -> None:
    chance = random.Random(5)
    test = PairedTest(
        "harm", estimate_ratio=True, base_labels=BLOCK, reference_blocks=reference_blocks, min_blocks=24
    )
    phases = set()
    for number in range(400):
        worse = 0.3 if 150 <= number < 200 or number >= 320 else 0.0
        first, second = 0.4 + worse + chance.gauss(0.0, 0.05), 0.5 + chance.gauss(0.0, 0.05)
        test.update(BaseBlock(first, second, number, number, number + 1, number + 1), 0.01, 10_000.0)
        phases.add(test.phase)
        if number == 130:
            test.exclude_since(120, 0.01)
        if number == 380:
            test.accept_level(0.01)
        if number % 7 == 0:
            test = pickle.loads(pickle.dumps(test))
        columns = [column.tolist() for column in test._pairs()]
        assert columns == [[b.first for b in test._reference], [b.second for b in test._reference]]
    assert "firing" in phases
