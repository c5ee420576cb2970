"""What the winner of a paired test gained since the onset: all of it, wherever its blocks were kept."""

from __future__ import annotations

import pickle
import random

import pytest

from penstock.monitors.losses.paired import BaseBlock, PairedTest

BLOCK = 50


def lasting(rivals: list[float]) -> list[tuple[int, float]]:
    """The blocks since the onset of what fires, and the lasting gain, at each block from the change on.

    `first` is worse than `second` by 0.1 from then on, and than the rival by so much.
    """
    chance = random.Random(4)
    test = PairedTest("lead", estimate_ratio=False, base_labels=BLOCK, reference_blocks=100, min_blocks=24)
    made = []
    for number in range(60 + len(rivals)):
        gain = rivals[number - 60] if number >= 60 else 0.0
        worse = 0.1 if number >= 60 else chance.gauss(0.0, 0.02)
        block = BaseBlock(0.4 + worse, 0.4, number, number, number + 1, number + 1, 0.4 + worse - gain)
        test.update(block, 0.01, 10_000.0)
        made.append((test.gained()[1] // BLOCK, test.lasting_gain))
    return made[60:]


def test_a_gain_lasts_once_as_many_labels_have_come_as_it_took_to_find_it() -> None:
    made = lasting([0.1] * 60)
    found = next(blocks for blocks, _ in made if blocks)
    assert 3 <= found <= 20
    assert {gain for blocks, gain in made if blocks < 2 * found} == {0.0}
    assert all(gain > 0.08 for blocks, gain in made if blocks >= 2 * found)


def test_what_was_gained_only_before_it_was_found_does_not_last() -> None:
    made = lasting([0.1] * 60)
    fired = next(number for number, (blocks, _) in enumerate(made) if blocks) + 1
    passed = lasting([0.1] * fired + [-0.02] * 60)
    assert all(gain <= 0.0 for _, gain in passed) and passed[-1][1] < 0.0
    assert lasting([0.1] * fired + [-0.02] * 20 + [0.1] * 80)[-1][1] > 0.05, "what lasts later counts later"


def test_what_is_gained_only_lately_is_no_more_than_the_mean_since_the_onset() -> None:
    made = lasting([-0.1] * 20 + [0.1] * 20)
    assert all(gain <= 1e-9 for _, gain in made)


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
