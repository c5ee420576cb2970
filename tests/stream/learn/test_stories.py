"""Under whose name a finding is told: what began together, or in the course of another, is one story."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.monitors.episodes import EpisodeLog, Transition
from penstock.stream.learn.causes import followers_of
from penstock.stream.learn.stories import KEPT, Stories
from penstock.stream.story_records import Deed
from tests.stream.generated import HOUR, parcels

SECOND = 1_000


class Told:
    """Findings told one after the other, one position a second."""

    def __init__(self) -> None:
        self.log = EpisodeLog("pumps")
        self.stories = Stories(
            {"flow": ("valve.flow_1h", "valve.flow_1d"), "valves": ("valve.flow_1h", "valve.flow_1d")}
        )

    def tell(
        self, monitor: str, state: Any, since: int, at: int, *, to: int | None = None, subject: str = "loss"
    ) -> str:
        """The id of the story it is told in; `to` is the last position at which it may have begun."""
        detail: dict[str, object] = {} if to is None else {"onset_to_position": to}
        found = Transition(
            monitor, subject, state, 9.0, 8.0, 0.1, since * SECOND, since, at * SECOND, at, detail
        )
        (change,) = self.log.apply_all([found])
        return self.stories.of(change, f"{subject} is odd: the leading model is kept").id

    def over(self, at: int) -> list[tuple[str, int]]:
        """The stories that are over at a second, each with how many summaries it has had."""
        return [(story.id, story.summaries) for story in self.stories.over(at * SECOND)]


def test_what_may_have_begun_with_the_guards_finding_is_told_in_its_story() -> None:
    """The estimated onset of a loss lies a day before the guard's, and that is no more than the estimate is worth."""
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    assert told.tell("lead", "firing", 400, 2_000, to=1_200) == story
    assert told.tell("harm", "firing", 300, 3_000, to=1_001) == story
    assert told.tell("adwin", "firing", 1_500, 3_100) == story


def test_what_surely_began_before_the_guards_finding_is_a_story_of_its_own() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    assert told.tell("harm", "firing", 300, 1_500, to=999) != story


def test_a_story_goes_on_while_anything_told_in_it_does_and_a_cooldown_longer() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    told.tell("harm", "firing", 1_100, 2_000)
    told.tell("range", "resolved", 1_000, 3_000, subject="flow")
    after = 3_000 + 48 * HOUR // SECOND
    assert told.tell("lead", "firing", after, after + 100) == story, "harm is still open"
    told.tell("lead", "resolved", after, after + 200)
    told.tell("harm", "resolved", 1_100, after + 300)
    soon, late = after + 300 + HOUR // SECOND, after + 300 + 7 * HOUR // SECOND
    assert told.tell("adwin", "firing", soon, late + 5_000) == story, (
        "it began before the end, whenever found"
    )
    told.tell("adwin", "resolved", soon, late + 5_001)
    assert told.tell("harm", "firing", late + 90_000, late + 90_100) != story


def test_a_story_goes_on_until_the_model_committed_in_it_has_proven_itself() -> None:
    told = Told()
    story = told.tell("lead", "firing", 1_000, 1_200)
    told.stories.prove(("lead", "loss"))
    told.tell("lead", "resolved", 1_000, 1_200)
    back = 1_200 + 90 * HOUR // SECOND
    assert told.tell("lead", "firing", back, back + 100) == story
    told.tell("lead", "resolved", back, back + 100)
    told.stories.proven((back + 200) * SECOND)
    later = back + 90 * HOUR // SECOND
    assert told.tell("lead", "firing", later, later + 100) != story


def test_a_guard_that_fires_while_an_old_loss_is_open_is_a_story_of_its_own_and_the_next_loss_is_the_guards() -> (
    None
):
    told = Told()
    old = told.tell("harm", "firing", 100, 900, to=300)
    new = told.tell("range", "firing", 5_000, 5_010, subject="flow")
    assert new != old
    assert told.tell("lead", "firing", 4_800, 6_000, to=5_200) == new


def test_a_guard_that_fires_after_the_loss_that_began_with_it_joins_that_story() -> None:
    told = Told()
    story = told.tell("harm", "firing", 100, 900, to=300)
    assert told.tell("range", "firing", 250, 950, subject="flow") == story


def test_two_inputs_broken_together_are_one_story_and_both_are_its_causes() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    assert told.tell("nulls", "firing", 1_002, 1_020, subject="heat") == story
    assert told.tell("range", "firing", 9_000, 9_010, subject="heat") != story
    (first, second) = told.stories._stories
    assert (list(first.causes.values()), list(second.causes.values())) == (
        ["flow left its range (2 features follow it)", "heat has nulls"],
        ["heat left its range"],
    )


def test_distributions_that_moved_together_are_one_story_and_explain_no_loss() -> None:
    told = Told()
    story = told.tell("psi", "firing", 1_000, 1_100, subject="flow")
    assert told.tell("psi", "firing", 1_050, 1_150, subject="heat") == story
    assert told.tell("harm", "firing", 1_000, 1_200) != story
    assert told.tell("range", "firing", 1_060, 1_070, subject="heat") != story
    assert told.tell("psi", "firing", 5_000, 5_100, subject="prediction") not in (story, None)


@pytest.mark.parametrize("monitor", ["failures", "skill"])
def test_what_is_about_the_model_alone_is_told_by_itself(monitor: str) -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    assert told.tell(monitor, "firing", 1_000, 1_010, subject="model") != story


def test_what_comes_back_as_the_same_episode_is_told_in_the_same_story() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    told.tell("lead", "firing", 1_000, 1_200)
    told.tell("lead", "resolved", 1_000, 1_300)
    told.tell("range", "resolved", 1_000, 1_400, subject="flow")
    back = 1_300 + 5 * HOUR // SECOND
    assert told.tell("lead", "firing", back, back + 100) == story


def test_the_end_of_what_was_never_told_draws_nothing_to_it() -> None:
    told = Told()
    told.log.apply_all(
        [Transition("harm", "loss", "suspected", 9.0, 8.0, 0.1, 1_000 * SECOND, 1_000, 1_100 * SECOND, 1_100)]
    )
    withdrawn = told.tell("harm", "resolved", 1_000, 1_200)
    assert told.tell("lead", "firing", 1_150, 1_300) != withdrawn


def test_everything_that_one_broken_field_sets_off_is_one_story_with_one_list_of_causes() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_030, subject="flow")
    for monitor, since, at, subject in (
        ("nulls", 1_010, 1_060, "flow"),
        ("stuck", 900, 1_500, "flow"),
        ("volume", 950, 1_400, "valves"),
        ("psi", 1_000, 2_440, "valve.flow_1h"),
        ("psi", 2_000, 3_440, "valve.flow_1d"),  # a day later, while the field is broken
        ("harm", 700, 4_000, "loss"),
    ):
        assert told.tell(monitor, "firing", since, at, subject=subject) == story, (monitor, subject)
    (only,) = told.stories._stories
    assert list(only.causes.values()) == [
        "flow left its range (2 features follow it)",
        "flow has nulls (2 features follow it)",
        "flow is odd",
        "valves is odd",
    ]
    assert only.since == (1_000 * SECOND, 1_000), "what was seen before what was estimated"
    assert len(only.findings) == 7


def test_what_follows_no_broken_field_and_began_later_is_a_story_of_its_own() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_030, subject="flow")
    assert told.tell("psi", "firing", 2_000, 3_440, subject="heat") != story
    told.tell("range", "resolved", 1_000, 3_000, subject="flow")
    late = 3_000 + 8 * HOUR // SECOND
    assert told.tell("psi", "firing", late, late + 100, subject="valve.flow_1h") != story


def test_a_field_found_broken_after_what_follows_it_had_moved_is_the_cause_and_the_onset() -> None:
    told = Told()
    story = told.tell("psi", "firing", 1_000, 2_440, subject="valve.flow_1h")
    assert told.tell("nulls", "firing", 1_100, 2_450, to=1_120, subject="heat") != story, "it follows nothing"
    assert told.tell("nulls", "firing", 1_600, 2_500, subject="flow") == story
    assert told.tell("harm", "firing", 1_500, 4_000) == story, "now there is something that explains a loss"
    assert told.stories._stories[-1].since == (1_600 * SECOND, 1_600)


def test_features_of_a_source_that_brings_less_follow_it_whenever_they_move() -> None:
    told = Told()
    story = told.tell("volume", "firing", 1_000, 1_300, to=1_050, subject="valves")
    assert told.tell("psi", "firing", 1_400, 2_840, subject="valve.flow_1d") == story
    assert told.tell("psi", "firing", 1_400, 2_840, subject="heat") != story
    assert told.tell("psi", "firing", 9_000, 10_440, subject="valve.flow_1h") == story
    late = 20_000 + 30 * HOUR // SECOND
    for monitor, subject in (
        ("volume", "valves"),
        ("psi", "valve.flow_1d"),
        ("psi", "valve.flow_1h"),
        ("psi", "heat"),
    ):
        told.tell(monitor, "resolved", 1_000, 20_000, subject=subject)
    moved = told.tell("psi", "firing", late, late + 1_440, subject="valve.flow_1h")
    assert moved != story
    assert told.tell("label_delay", "firing", late + 100, late + 2_000, subject="valves") == moved


def test_which_features_follow_a_field_or_a_source_is_read_off_the_definition() -> None:
    pipeline = parcels()
    followers = followers_of(pipeline)
    assert followers["late"] == ("depot.late_3h", "street.late")
    assert followers["street"] == ("street.late", "street.idle")
    assert followers["parcels.delivered"] == ("depot.late_3h", "depot.done_1h", "street.late", "street.idle")
    assert followers["parcels.sent"] == (*pipeline.vector_names, "prediction")


def test_a_story_is_over_once_after_the_cooldown_of_what_ended_last() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    told.tell("harm", "firing", 1_100, 2_000)
    told.tell("range", "resolved", 1_000, 3_000, subject="flow")
    cooldown = 6 * HOUR // SECOND
    assert told.over(3_000 + cooldown) == [], "harm is still open"
    told.tell("harm", "resolved", 1_100, 5_000)
    assert told.stories.due_ms == (5_000 + cooldown) * SECOND
    assert told.over(5_000 + cooldown - 1) == []
    assert told.over(5_000 + cooldown) == [(story, 1)]
    assert told.over(9_000 + cooldown) == [] and told.stories.due_ms > 1 << 60


def test_a_story_that_is_over_is_opened_again_by_what_began_in_it_and_is_over_again() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    told.tell("range", "resolved", 1_000, 3_000, subject="flow")
    end = 3_000 + 6 * HOUR // SECOND
    assert told.over(end) == [(story, 1)]
    assert told.tell("harm", "firing", 2_500, end + 100) == story
    assert told.over(end + 100) == []
    told.tell("harm", "resolved", 2_500, end + 200)
    assert told.over(2 * end) == [(story, 2)]


def test_a_suspicion_that_nothing_came_of_is_not_summed_up() -> None:
    told = Told()
    story = told.tell("lead", "suspected", 1_000, 1_010)
    told.tell("lead", "resolved", 1_000, 2_000)
    assert told.over(2_000 + 7 * HOUR // SECOND) == []
    assert told.tell("harm", "firing", 1_500, 40_000) == story, "it began in it after all"
    told.tell("harm", "resolved", 1_500, 50_000)
    assert told.over(50_000 + 7 * HOUR // SECOND) == [(story, 1)], "the first summary of it"


def test_what_breaks_anew_after_its_story_is_over_is_another_story() -> None:
    told = Told()
    story = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    told.tell("range", "resolved", 1_000, 3_000, subject="flow")
    end = 3_000 + 6 * HOUR // SECOND
    told.over(end)
    assert told.tell("range", "firing", end + 10, end + 20, subject="flow") != story


def test_what_was_done_stands_in_the_story_it_answers_and_a_product_where_its_retrain_stands() -> None:
    told = Told()
    first = told.tell("range", "firing", 1_000, 1_010, subject="flow")
    second = told.tell("range", "firing", 5_000, 5_010, subject="heat")

    def did(what: str, said: str | None, command: str) -> list[list[str]]:
        told.stories.did(Deed(what=what, by="ann", at=0, position=6_000), said, command)
        return [[deed.what for deed in story.deeds] for story in told.stories._stories]

    assert did("retrain", f"episode {first}: look", "c1") == [["retrain"], []]
    assert did("adopt", "made by a job", "adopt-c1") == [["retrain", "adopt"], []]
    assert did("rollback", second, "c2")[1] == ["rollback"]
    assert did("hold", "pager", "c3") == [["retrain", "adopt", "hold"], ["rollback", "hold"]], (
        "whatever is open"
    )


def test_only_so_many_stories_are_remembered() -> None:
    told = Told()
    for number in range(3 * KEPT):
        told.tell("range", "firing", 1_000 * number, 1_000 * number + 10, subject=f"input {number}")
    assert len(told.stories._stories) == KEPT
