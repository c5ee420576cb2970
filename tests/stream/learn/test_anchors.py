"""Anchors: who may be rolled back to, and how a frozen version keeps up with the level of the labels."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from penstock.stream.learn.anchors import (
    LEVEL_RATE,
    Anchor,
    Anchors,
    Frozen,
    PairedSum,
    at_level,
    log_odds,
)


class Says:
    """A model that says one probability."""

    def __init__(self, p: float) -> None:
        self.p = p

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        return {True: self.p, False: 1 - self.p}


def anchor(version: str, position: int) -> Anchor:
    return Anchor(version, position, position, 0, 0, b"", Frozen(version, Says(0.5)))


def accepted(anchors: Anchors, version: str, position: int) -> None:
    anchors.enter(anchor(version, position))
    for _ in range(anchors.probation_labels):
        became = anchors.label(0.0 if anchors.kept else None, lambda: 0.0, open_episode=False)
    assert became == "anchor"


def test_a_version_is_an_anchor_after_its_probation_and_not_one_label_sooner() -> None:
    anchors = Anchors(probation_labels=3)
    anchors.enter(anchor("v1", 10))
    told = [anchors.label(None, lambda: 0.0, open_episode=False) for _ in range(4)]
    assert told == [None, None, "anchor", None]
    assert anchors.current is not None and anchors.current.version == "v1" and anchors.probation is None


def test_while_something_is_open_it_waits() -> None:
    anchors = Anchors(probation_labels=2)
    anchors.enter(anchor("v1", 10))
    assert [anchors.label(None, lambda: 0.0, open_episode=True) for _ in range(5)] == [None] * 5
    assert anchors.label(None, lambda: 0.0, open_episode=False) == "anchor"


@pytest.mark.parametrize(
    ("worse_by", "became"), [(0.2, "refused"), (0.0, "anchor"), (-0.2, "anchor"), (0.009, "anchor")]
)
def test_a_version_worse_than_the_anchor_by_more_than_the_margin_is_refused(
    worse_by: float, became: str
) -> None:
    chance = random.Random(1)
    anchors = Anchors(probation_labels=2_000)
    accepted(anchors, "v1", 10)
    anchors.enter(anchor("v2", 20))
    told = [
        anchors.label(worse_by + chance.gauss(0, 0.1), lambda: 0.01, open_episode=False) for _ in range(2_000)
    ]
    assert told[-1] == became
    assert [a.version for a in anchors.kept] == (["v1"] if became == "refused" else ["v1", "v2"])


def test_only_the_newest_anchors_are_kept() -> None:
    anchors = Anchors(probation_labels=1, most_kept=3)
    for number in range(6):
        accepted(anchors, f"v{number}", number)
    assert [a.version for a in anchors.kept] == ["v3", "v4", "v5"]


def book_of(*positions: int, trying: int | None = None) -> Anchors:
    anchors = Anchors(probation_labels=1)
    for position in positions:
        accepted(anchors, f"v{position}", position)
    if trying is not None:
        anchors.enter(anchor(f"v{trying}", trying))
    return anchors


def test_what_was_born_after_an_onset_is_dropped_on_probation_too() -> None:
    anchors = book_of(10, 20, 30, trying=40)
    assert anchors.discard_since(20) == ["v30", "v40"]
    assert anchors.current is not None and anchors.current.version == "v20" and anchors.probation is None
    assert anchors.discard_since(20) == []


@pytest.mark.parametrize(("onset", "target"), [(5, None), (10, "v10"), (25, "v20"), (99, "v20")])
def test_the_target_of_a_rollback_is_the_newest_anchor_born_before_the_onset(
    onset: int, target: str | None
) -> None:
    found = book_of(10, 20, trying=22).before(onset)
    assert (found.version if found else None) == target


def test_without_an_anchor_the_version_on_probation_will_do() -> None:
    anchors = book_of(trying=22)
    assert anchors.before(21) is None
    found = anchors.before(22)
    assert found is not None and found.version == "v22" and anchors.current is None


def test_versions_are_found_by_name_on_probation_too() -> None:
    anchors = book_of(10, trying=20)
    assert [anchors.find(name) is not None for name in ("v10", "v20", "v30")] == [True, True, False]


def test_a_frozen_version_follows_the_level_of_the_labels() -> None:
    """The labels turn from one in two to nine in ten: the odds follow, the order of what it says does not change."""
    chance = random.Random(2)
    frozen = Frozen("v1", Says(0.5))
    for _ in range(5_000):
        frozen.follow(frozen.predict({}), chance.random() < 0.9)
    assert frozen.predict({}) == pytest.approx(0.9, abs=0.05)
    low = Frozen("v1", Says(0.2), frozen.level)
    assert low.predict({}) < frozen.predict({})


def test_one_label_moves_the_level_by_what_was_missed() -> None:
    frozen = Frozen("v1", Says(0.5))
    frozen.follow(0.25, True)
    assert frozen.level == pytest.approx(LEVEL_RATE * 0.75)
    frozen.follow(0.25, False)
    assert frozen.level == pytest.approx(LEVEL_RATE * 0.5)


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-300, float("nan"), 0.5])
@pytest.mark.parametrize("level", [0.0, 5.0, -5.0, 800.0, -800.0])
def test_every_probability_on_every_level_is_a_probability(p: float, level: float) -> None:
    assert 0.0 <= at_level(p, level) <= 1.0
    assert math.isfinite(log_odds(p))


def test_on_no_level_a_probability_is_itself() -> None:
    for p in (0.001, 0.3, 0.5, 0.999):
        assert at_level(p, 0.0) == pytest.approx(p)


def test_paired_differences_are_judged_in_blocks() -> None:
    paired = PairedSum(block=10)
    for number in range(10):
        paired.add(number)
    assert paired.mean_and_error() == (0.0, math.inf), "one block says nothing of its error"
    for _ in range(10):
        paired.add(6.5)
    paired.add(1e9)
    assert paired.mean_and_error() == (5.5, pytest.approx(1.0))
