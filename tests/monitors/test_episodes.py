"""Transitions become episodes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.episodes import EpisodeLog, State, Transition, episode_id

HOUR_MS = 3_600_000


def transition(
    state: State, at_ms: int, since: int = 5, monitor: str = "harm", subject: str = "loss"
) -> Transition:
    return Transition(monitor, subject, state, 2.0, 1.0, 0.1, since, since, at_ms, at_ms)


def test_one_incident_has_one_id_from_suspicion_to_end() -> None:
    log = EpisodeLog("flights")
    changes = log.apply_all(
        [transition("suspected", 10), transition("firing", 20), transition("resolved", 30)]
    )
    assert {change.episode.id for change in changes} == {episode_id("flights", "harm", "loss", 5)}
    assert [change.event_id[-2:] for change in changes] == ["-1", "-2", "-3"]
    assert log.open == []


def test_a_repeated_state_is_not_published_again() -> None:
    log = EpisodeLog("flights")
    assert log.apply(transition("firing", 10)) is not None
    assert log.apply(transition("firing", 20)) is None


def test_the_end_of_what_never_began_is_not_published() -> None:
    assert EpisodeLog("flights").apply(transition("resolved", 10)) is None


def test_a_return_within_the_cooldown_reopens_the_same_episode() -> None:
    log = EpisodeLog("flights", cooldown_ms=HOUR_MS)
    first = log.apply(transition("firing", 0))
    log.apply(transition("resolved", 10))
    again = log.apply(transition("firing", HOUR_MS, since=HOUR_MS))
    assert first is not None
    assert again is not None
    assert again.reopened
    assert again.episode.id == first.episode.id
    assert again.episode.since_ms == 5


def test_a_return_after_the_cooldown_is_a_new_episode() -> None:
    log = EpisodeLog("flights", cooldown_ms=HOUR_MS)
    log.apply(transition("firing", 0))
    log.apply(transition("resolved", 10))
    again = log.apply(transition("firing", HOUR_MS + 10, since=HOUR_MS))
    assert again is not None
    assert not again.reopened
    assert again.episode.id == episode_id("flights", "harm", "loss", HOUR_MS)


def test_a_withdrawn_suspicion_needs_no_cooldown() -> None:
    log = EpisodeLog("flights")
    log.apply(transition("suspected", 0))
    log.apply(transition("resolved", 10))
    again = log.apply(transition("suspected", 20, since=15))
    assert again is not None
    assert again.episode.since_position == 15


def test_a_suspicion_that_comes_back_with_the_onset_it_had_is_the_same_episode_and_goes_on_counting() -> None:
    log = EpisodeLog("flights")
    changes = log.apply_all(
        [
            transition(state, at, since=5)
            for at, state in enumerate(("suspected", "resolved", "suspected"), 10)
        ]
    )
    assert len({change.event_id for change in changes}) == 3
    assert changes[2].reopened and changes[2].episode.id == changes[0].episode.id


def test_the_onset_follows_the_latest_estimate_until_it_fires() -> None:
    log = EpisodeLog("flights")
    log.apply(transition("suspected", 10, since=5))
    change = log.apply(transition("firing", 20, since=8))
    assert change is not None
    assert change.episode.since_position == 8
    assert change.episode.id == episode_id("flights", "harm", "loss", 5)


def test_subjects_are_kept_apart_and_open_ones_come_oldest_first() -> None:
    log = EpisodeLog("flights")
    log.apply(transition("firing", 10, since=9, subject="b", monitor="psi"))
    log.apply(transition("suspected", 11, since=3))
    assert [episode.subject for episode in log.open] == ["loss", "b"]
    assert [episode.subject for episode in log.firing] == ["b"]


@given(
    st.lists(st.tuples(st.sampled_from(["suspected", "firing", "resolved"]), st.integers(0, 9)), max_size=40)
)
def test_event_ids_never_repeat_and_a_replay_gives_the_same(steps: list[tuple[State, int]]) -> None:
    def run() -> list[str]:
        log = EpisodeLog("p", cooldown_ms=3)
        at, ids = 0, []
        for state, gap in steps:
            at += gap + 1
            change = log.apply(transition(state, at, since=at))
            if change is not None:
                ids.append(change.event_id)
        return ids

    first = run()
    assert len(set(first)) == len(first)
    assert run() == first


def test_a_transition_is_plain_json_inside() -> None:
    detail = transition("firing", 1).detail
    assert json.loads(json.dumps(detail)) == detail
