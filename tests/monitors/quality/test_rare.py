"""Unseen values and repeated ids: the usual share is learned, a change is found from its first hit, and what lasts is usual."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.ranges import EPOCH_SAMPLES
from penstock.monitors.quality import repeats as module
from penstock.monitors.quality.rare import ACCEPTED_SAMPLES, Rare
from penstock.monitors.quality.repeats import MOST_IDS, Repeats
from penstock.monitors.quality.unseen import MOST_VALUES, Unseen

MINUTE_MS = 60_000


def told(one: Any, values: list[Any], start: int = 0) -> list[Transition]:
    """All that was found; one value a minute, at positions ten times the sample's number."""
    found: list[Transition] = []
    for number, value in enumerate(values, start + 1):
        found += one.update(number, number * MINUTE_MS, 10 * number, value)
        if number % EPOCH_SAMPLES == 0:
            found += one.turn(number, number * MINUTE_MS, 10 * number)
    return found


def carriers(number: int, seed: int = 1, new: float = 0.0) -> list[str]:
    chance = random.Random(seed)
    return [
        f"new {n}" if chance.random() < new else chance.choice(["AA", "B6", "DL", "EV", "UA"])
        for n in range(number)
    ]


def test_a_renamed_category_is_found_from_its_first_sample_on_and_over_when_it_is_named_as_before() -> None:
    before, during, after = carriers(20_000), carriers(3_000, 2), carriers(1_000, 3)
    renamed = ["UAL" if one == "UA" else one for one in during]
    first = renamed.index("UAL") + len(before) + 1
    fired, over = told(Unseen("carrier", 0.1), [*before, *renamed, *after])
    assert (fired.monitor, fired.subject, fired.state) == ("unseen", "carrier", "firing")
    assert (fired.since_position, fired.since_ms) == (10 * first, first * MINUTE_MS)
    assert fired.position < 10 * (first + 50)
    assert list(fired.detail["values"]) == ["UAL"]  # type: ignore[call-overload]
    assert over.state == "resolved" and over.position > 10 * 23_000


def test_new_values_now_and_then_are_usual_and_an_input_of_ids_is_not_judged() -> None:
    assert told(Unseen("dest", 0.1), carriers(60_000, new=0.01)) == []
    ids = Unseen("tail", 0.1)
    assert told(ids, [f"id {n}" for n in range(20_000)]) == []
    assert ids.open and len(pickle.dumps(ids)) < 10_000
    assert MOST_VALUES == 10_000
    assert told(Unseen("size", 0.1), [1.5, None, True, 7] * 5_000) == []


def test_what_lasts_is_known_after_some_epochs_and_a_later_change_is_found_again() -> None:
    unseen = Unseen("carrier", 0.1)
    names = [one.lower() for one in carriers(ACCEPTED_SAMPLES + 10 * EPOCH_SAMPLES, 4)]
    found = told(unseen, [*carriers(20_000), *names, *["XX"] * 100])
    assert [one.state for one in found] == ["firing", "resolved", "firing"]
    assert found[1].detail["reason"] == "it lasts: this is usual now"
    assert found[2].since_position == 10 * (20_000 + len(names) + 1)


def test_hits_as_usual_are_no_news() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        rare = Rare("duplicates", "x", 0.1)
        for number in range(1, 12_001):
            if chance.random() < 0.02 * seed / 60:
                assert rare.hit(number, number * MINUTE_MS, number) == []
            if number % EPOCH_SAMPLES == 0:
                assert rare.turn(number, number * MINUTE_MS, number) == []


@given(st.integers(0, 1_000), st.floats(0.0, 0.02), st.sampled_from([1, 3]))
def test_half_of_all_samples_hit_is_found_whatever_was_usual_and_snapshots_in_the_middle_change_nothing(
    seed: int, share: float, cut: int
) -> None:
    chance = random.Random(seed)
    hits = [chance.random() < share for _ in range(12_000)]
    hits += [chance.random() < 0.5 for _ in range(600)] + hits[:3_000]

    def run(step: Callable[[Rare], Rare]) -> list[tuple[Any, ...]]:
        rare = Rare("duplicates", "x", 0.1)
        found: list[Transition] = []
        for number, hit in enumerate(hits, 1):
            if hit:
                found += rare.hit(number, number * MINUTE_MS, number)
            elif rare.firing:
                found += rare.clean(number, number * MINUTE_MS, number)
            if number % EPOCH_SAMPLES == 0:
                found += rare.turn(number, number * MINUTE_MS, number)
            if number % (1_000 * cut) == 0:
                rare = step(rare)
        return [(one.state, one.since_position, one.position, one.statistic) for one in found]

    found = run(lambda rare: rare)
    assert found == run(lambda rare: pickle.loads(pickle.dumps(rare)))
    # the budget allows an alarm before it, once in some ten years: one example may have it
    planted = [one for one in found if one[1] >= 11_900]
    assert [one[0] for one in planted] == ["firing", "resolved"]
    assert planted[0][1] <= 12_020 and planted[0][2] < 12_100


def test_a_producer_that_sends_twice_is_found_at_once() -> None:
    once = [f"id {n}" for n in range(10_000)]
    twice = [f"id {n // 2}" for n in range(20_000, 22_000)]
    after = [f"id {n}" for n in range(30_000, 33_000)]
    repeats = Repeats("payments", 0.1)
    fired, over = told(repeats, [*once, *twice, *after])
    assert (fired.monitor, fired.since_position) == ("duplicates", 10 * 10_002)
    assert fired.position <= 10 * 10_020
    assert over.state == "resolved" and over.position > 10 * 12_000
    assert fired.effect > 0.4


def test_some_repeats_are_usual_and_many_ids_are_forgotten(monkeypatch: Any) -> None:
    chance = random.Random(1)
    assert told(Repeats("payments", 0.1), [str(chance.randrange(400_000)) for _ in range(30_000)]) == []
    assert MOST_IDS == 100_000
    monkeypatch.setattr(module, "MOST_IDS", 1_000)
    repeats = Repeats("payments", 0.1)
    told(repeats, [f"id {n}" for n in range(100_000)])
    assert len(pickle.dumps(repeats)) < 12_000
    repeats.update(1, 1, 1, "id 99800")
    assert repeats.again
    repeats.update(1, 1, 1, "id 10")
    assert not repeats.again


@given(st.lists(st.integers(0, 60), max_size=300))
def test_an_id_is_known_again_exactly_when_it_was_there(ids: list[int]) -> None:
    repeats, seen = Repeats("x", 0.1), set()
    for number, one in enumerate(ids, 1):
        repeats.update(number, number, number, str(one))
        assert repeats.again == (one in seen)
        seen.add(one)
