"""Losses by segment: sums beside a naive oracle, a segment that the whole hides, and how often nothing is found."""

from __future__ import annotations

import math
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.segments import losses as of_losses
from penstock.monitors.segments.blame import blame, entropy
from penstock.monitors.segments.losses import BLOCK_LABELS, KEPT_BLOCKS, LABELS, SegmentLosses
from penstock.monitors.segments.places import WIDTH
from tests.effort import examples

MINUTE = 60_000
YEAR = 365.25 * 1440  # labels: one a minute

Label = tuple[tuple[int, int], float, float, float]


def labels(count: int, seed: int) -> list[Label]:
    """(places, live, base, gap) of two fields; the last third of the first field's place 2 is bad."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        placed = (chance.choice([1, 2, 2, 3, 4]), WIDTH + chance.choice([0, 2]))
        bad = placed[0] == 2 and number > count * 2 // 3
        base = chance.uniform(0.4, 0.8)
        found.append((placed, base * chance.uniform(0.3, 0.6) + 0.5 * bad, base, chance.gauss(0, 0.01) + bad))
    return found


def naive_carrier(rows: list[Label], since: int, block: int) -> tuple[int, float] | None:
    """The harm's segment by plain sums over the whole blocks since the one that holds the onset: its place and its share."""
    first = since // block * block
    before, now = rows[:first], rows[first:]
    if len(before) < of_losses.LEAST_BEFORE or not now:
        return None
    fields = 2
    live_mean = sum(row[1] for row in before) / len(before)
    base_mean = sum(row[2] for row in before) / len(before)
    best: tuple[float, int, float] | None = None
    for field in range(fields):
        damage: dict[int, float] = {}
        for place in {row[0][field] for row in rows}:
            own, late = ([row for row in part if row[0][field] == place] for part in (before, now))
            ratio = (sum(row[1] for row in own) + 200 * live_mean) / (
                sum(row[2] for row in own) + 200 * base_mean
            )
            damage[place] = max(sum(row[1] for row in late) - ratio * sum(row[2] for row in late), 0.0)
        total = sum(damage.values())
        if total <= 0:
            continue
        place = max(damage, key=lambda one: (damage[one], -one))
        share = damage[place] / total
        usual = sum(row[0][field] == place for row in now) / len(now)
        far = entropy(share, usual)
        if share >= 0.5 and share > usual and far >= 0.2 and (best is None or far > best[0]):
            best = far, place, share
    return None if best is None else best[1:]


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 900), st.integers(0, 99), st.floats(0.0, 1.0))
def test_who_carries_a_loss_is_what_plain_sums_say(count: int, seed: int, part: float) -> None:
    rows = labels(count, seed)
    since = int(part * count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_losses, "BLOCK_LABELS", 25)
        patch.setattr(of_losses, "LEAST_BEFORE", 100.0)
        monitor = SegmentLosses(2 * WIDTH, 0.5)
        for position, row in enumerate(rows):
            if monitor.update(position * MINUTE, position, *row):
                monitor.judge(YEAR)
        found = monitor.carries(since, "harm")
        expected = naive_carrier(rows, since, 25) if since < count else None
        if since >= count and count % 25 == 0:
            assert found is None
        elif since < count:
            assert (found is None) == (expected is None)
            if found is not None and expected is not None:
                assert found.blamed.place == expected[0]
                assert found.blamed.share == pytest.approx(expected[1], rel=1e-4)


def test_the_committed_models_loss_is_attributed_by_what_it_lost_more_than_all_together() -> None:
    monitor = SegmentLosses(2 * WIDTH, 0.5)
    for position, row in enumerate(labels(6_000, 3)):
        monitor.update(position * MINUTE, position, *row)
    found = monitor.carries(4_100, "lead")
    assert found is not None and found.blamed.place == 2 and found.blamed.share > 0.9


def test_a_damage_that_spares_nobody_is_nobodys() -> None:
    even = np.array([0.0, 0.0, 30.0, 70.0, *[0.0] * (WIDTH - 4)])
    assert blame(even, even) is None
    assert blame(even * [1, 1, 60, 1, *[1] * (WIDTH - 4)], even) is not None


def test_a_few_records_say_nothing_and_many_do() -> None:
    usual = np.array([0.0, 0.0, 50.0, 50.0, *[0.0] * (WIDTH - 4)])
    damage = np.array([0.0, 0.0, 3.0, 0.0, *[0.0] * (WIDTH - 4)])
    assert blame(damage, usual, 3) is None
    assert blame(damage * 4, usual, 12) is not None


def course(
    monitor: SegmentLosses, count: int, seed: int, bad_from: int | None = None
) -> list[tuple[int, int, str]]:
    """A stream of one label a minute: place 2 has a tenth of the labels. (label, place, state) of what was found."""
    chance = random.Random(seed)
    told = []
    storm = 0.0
    for number in range(count):
        placed = (
            2 if chance.random() < 0.1 else 3 if chance.random() < 0.5 else 4,
            WIDTH + chance.choice([2, 3]),
        )
        if number % 300 == 0:
            storm = 0.5 * storm + chance.gauss(0, 0.1)
        p = min(max(0.5 + storm, 0.1), 0.9)
        y = chance.random() < p
        skilled = not (bad_from is not None and number >= bad_from and placed[0] == 2)
        said = p * 0.2 + 0.8 * (0.8 if y == (chance.random() < 0.9) else 0.2) if skilled else 0.5
        live, base = (-math.log(said if y else 1 - said), -math.log(0.5))
        if monitor.update(number * MINUTE, number, placed, live, base, 0.0):
            told += [(number, place, one.state) for place, one in monitor.judge(YEAR)]
    return told


def test_a_segment_that_lost_its_skill_is_found_though_the_whole_hides_it() -> None:
    monitor = SegmentLosses(2 * WIDTH, 0.5)
    told = course(monitor, 80_000, 1, bad_from=60_000)
    fired = [one for one in told if one[2] == "firing"]
    assert fired and fired[0][1] == 2 and fired[0][0] > 60_000
    assert all(number > 60_000 for number, _, state in told if state == "firing")


def test_a_loss_that_lasts_is_accepted_as_the_new_level() -> None:
    told = course(SegmentLosses(2 * WIDTH, 0.5), 150_000, 1, bad_from=60_000)
    states = [state for _, place, state in told if place == 2 and state != "suspected"]
    assert states[:2] == ["firing", "resolved"] and states.count("firing") == 1


def test_on_streams_on_which_nothing_changes_segments_keep_to_their_budget() -> None:
    """A year of half a million labels, in thirds, at 6 alarms a year."""
    fired = 0
    for seed in range(3):
        told = course(SegmentLosses(2 * WIDTH, 6.0), 175_000, 100 + seed)
        fired += sum(state == "firing" for _, _, state in told)
    assert fired <= 6


def test_a_place_that_is_forgotten_has_no_past() -> None:
    monitor = SegmentLosses(2 * WIDTH, 0.5)
    course(monitor, 5_000, 2)
    monitor.forget([2])
    assert all(block.sums[:, 2].sum() == 0 for block in monitor.blocks)
    assert any(block.sums[:, 3].sum() > 0 for block in monitor.blocks)


def test_the_labels_of_all_kept_blocks_are_those_that_are_counted_as_they_come_and_go() -> None:
    monitor = SegmentLosses(2 * WIDTH, 0.5)
    for position, row in enumerate(labels((KEPT_BLOCKS + 3) * BLOCK_LABELS, 4)):
        if monitor.update(position * MINUTE, position, *row):
            if len(monitor.blocks) == KEPT_BLOCKS // 2:
                monitor.forget([2])
            counted = sum(block.sums[LABELS].astype(float) for block in monitor.blocks)
            assert monitor._labels.tolist() == counted.tolist()
    assert len(monitor.blocks) == KEPT_BLOCKS and monitor._labels[3] > 0


def test_a_monitor_restored_in_the_middle_finds_the_same() -> None:
    whole, first = SegmentLosses(2 * WIDTH, 0.5), SegmentLosses(2 * WIDTH, 0.5)
    rows = labels(40_000, 9)
    found: list[list[object]] = [[], []]
    for position, row in enumerate(rows):
        if position == 20_123:
            first = pickle.loads(pickle.dumps(first))
        for which, monitor in enumerate((whole, first)):
            if monitor.update(position * MINUTE, position, *row):
                found[which] += monitor.judge(YEAR)
    assert found[0] == found[1] and found[0]
    assert whole.carries(30_000, "harm") == first.carries(30_000, "harm")


def test_the_budget_is_shared_by_all_segments_with_a_test_and_a_segment_of_nearly_all_labels_has_none() -> (
    None
):
    monitor, chance, fired = SegmentLosses(2 * WIDTH, 0.5), random.Random(6), []
    for number in range(60_000):
        placed = (chance.choice([2, 3, 4, 5]), WIDTH + 2)
        bad = number > 40_000 and placed[0] == 3
        if monitor.update(number * MINUTE, number, placed, 0.3 + bad + chance.gauss(0, 0.1), 0.7, 0.0):
            fired += [(place, one) for place, one in monitor.judge(YEAR) if one.state == "firing"]
    ((place, first),) = fired
    assert monitor.tests == 4 and place == 3 and first.detail["budget_segments"] == 4
    # a quarter of all labels, two or three blocks of 250 of all for a base block; by what one segment may raise
    assert first.threshold == pytest.approx(YEAR / 4 / 160 * 4 / 0.5, rel=0.3)
