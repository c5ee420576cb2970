"""Promotion of a candidate."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from penstock.monitors.losses.promotion import CandidateTest


def run(test: CandidateTest, differences: list[float]) -> CandidateTest:
    for position, difference in enumerate(differences):
        test.update(position, position, 0.5 + difference, 0.5)
    return test


def test_a_candidate_that_is_better_is_promoted() -> None:
    rng = np.random.default_rng(1)
    test = run(CandidateTest(), rng.normal(0.1, 0.5, 14_000).tolist())
    assert test.verdict == "promote"
    assert test.labels < 8_000
    assert test.effect == pytest.approx(0.1, abs=0.05)


def test_a_candidate_that_is_worse_is_dropped_at_the_limit() -> None:
    test = run(
        CandidateTest(drop_after_labels=5_000), np.random.default_rng(1).normal(-0.1, 0.5, 9_000).tolist()
    )
    assert test.verdict == "drop"
    assert test.labels == 5_000


def test_equal_candidates_are_promoted_at_most_one_time_in_twenty() -> None:
    rng = np.random.default_rng(2)
    verdicts = [
        run(CandidateTest(block_labels=1, drop_after_labels=56), rng.standard_normal(56).tolist()).verdict
        for _ in range(400)
    ]
    assert verdicts.count("promote") <= 20 + 2 * 5


def test_the_verdict_is_said_once() -> None:
    test = CandidateTest(block_labels=10, drop_after_labels=1_000)
    said = [t for i in range(3_000) for t in test.update(i, i, 1.0 + (i % 7) / 100, 0.5)]
    assert [(t.monitor, t.state, t.detail["verdict"]) for t in said] == [("promotion", "firing", "promote")]
    assert said[0].since_position == 0


def test_a_pickled_test_reaches_the_same_verdict() -> None:
    differences = np.random.default_rng(3).normal(0.05, 0.5, 14_000).tolist()
    straight = run(CandidateTest(), differences)
    broken = pickle.loads(pickle.dumps(run(CandidateTest(), differences[:1_234])))
    assert run(broken, differences[1_234:]).statistic == straight.statistic
    assert broken.verdict == straight.verdict


def test_blocks_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="block_labels"):
        CandidateTest(block_labels=0)
