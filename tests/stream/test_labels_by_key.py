"""Labels by key and time through the whole flow: from events to what is learned, replayed, trained and exported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from river import linear_model, preprocessing

from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn.entries import entries
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import at_once, training
from penstock.stream.learn.replay import replay
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.messages import Entry, LabelRecord, Recipe, Sample
from penstock.stream.models.digest import digest
from penstock.stream.operate.training_set import Span, label_rule, rows
from penstock.stream.recipes import RecipeHistory, changes, definition_document, readable, recipe_of
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.targets import Target
from tests.stream.generated import MINUTE, PAID, cards
from tests.stream.plant import BY_KEY, HOT_LATER, READ, Happened, happenings, hot_later, outcomes, plant

HAPPENED = list(happenings(1_200))
SLICE = 100


def flowed(pipeline: Pipeline, found: Sequence[Happened] = HAPPENED, step: int = SLICE) -> MemoryFlow:
    """The flow after all of it, given in slices."""
    flow = MemoryFlow(pipeline, guard=False)
    topics = {source.name for source in pipeline.sources}
    for start in range(0, len(found), step):
        outs = [one.out for one in found[start : start + step]]
        flow.feed([out for out in outs if out.topic in topics])
        flow.settle()
    return flow


def entries_of(flow: MemoryFlow) -> list[tuple[int, Entry]]:
    topic = flow.learn.topic
    return list(entries(flow.log, topic, 0, flow.log.bounds([(topic, 0)])[(topic, 0)][1]))


def learned(flow: MemoryFlow) -> dict[str, Target]:
    """What a fold of the log learned of each sample, by id."""
    log = entries_of(flow)
    fold = Fold(flow.pipeline, guard=False)
    fold.trace = []
    for position, entry in log:
        fold.step(position, entry)
    ids = {position: entry.id for position, entry in log if isinstance(entry, Sample)}
    return {ids[position]: y for _, y, _, _, position in fold.trace}


@pytest.fixture(scope="module", params=["after it", "later value"])
def world(request: pytest.FixtureRequest) -> tuple[MemoryFlow, Mapping[str, bool | None]]:
    if request.param == "after it":
        return flowed(plant()), outcomes(HAPPENED)
    return flowed(plant(label=HOT_LATER)), hot_later(HAPPENED)


def test_every_sample_whose_time_is_over_learned_what_a_naive_look_at_the_events_says(
    world: tuple[MemoryFlow, Mapping[str, bool | None]],
) -> None:
    flow, wanted = world
    found = learned(flow)
    assert flow.learn.fold is not None
    waiting = flow.learn.fold.pending.keys()
    assert 0 < len(waiting) < 60
    assert found == {
        event_id: y for event_id, y in wanted.items() if y is not None and event_id not in waiting
    }
    assert min(Counter(found.values()).values()) > 60


def test_a_replay_a_fold_restored_in_the_middle_and_the_live_fold_are_one(
    world: tuple[MemoryFlow, Mapping[str, bool | None]],
) -> None:
    flow, _ = world
    topic, pipeline = flow.learn.topic, flow.pipeline
    live = flow.learn.fold
    assert live is not None
    assert replay(pipeline, flow.log, topic, guard=False).digest() == live.digest()
    fold = Fold(pipeline, guard=False)
    for position, entry in entries_of(flow):
        if position % 300 == 150:
            fold = restore_fold(pipeline, take(fold, flow.log.topic_id(topic)), flow.log, topic, guard=False)
            assert fold.pending
        fold.step(position, entry)
    assert fold.digest() == live.digest() and vars(fold.counts) == vars(live.counts)


def test_training_on_the_log_learns_what_the_fold_learns_and_two_halves_are_the_whole(
    world: tuple[MemoryFlow, Mapping[str, bool | None]],
) -> None:
    flow, _ = world
    pipeline, log = flow.pipeline, entries_of(flow)
    assert flow.learn.fold is not None

    def trained(
        found: Sequence[tuple[int, Entry]], model: object = None, learn_from: int = 0
    ) -> tuple[object, int, int | None]:
        recipes = RecipeHistory(pipeline.digest, pipeline.vector_names)
        start = pipeline.model.clone() if model is None else model
        made = at_once(training(start, recipes, pipeline, found, learn_from=learn_from))
        return made.model, made.labels, made.join_from

    whole, labels, _ = trained(log)
    assert labels == flow.learn.fold.counts.learned
    assert digest(whole) == digest(flow.learn.fold.experts.first.model)
    half = len(log) // 2
    first, before, join_from = trained(log[:half])
    assert join_from is not None and 0 < join_from < half
    second, after, _ = trained([one for one in log if one[0] >= join_from], first, half)
    assert (before + after, digest(second)) == (labels, digest(whole))


def test_a_training_set_has_the_same_labels_by_the_rule_that_stands_in_the_log(
    world: tuple[MemoryFlow, Mapping[str, bool | None]],
) -> None:
    flow, wanted = world
    opening = recipe_of(flow.pipeline)
    assert label_rule(opening) == flow.pipeline.label_rule
    found = list(
        rows(
            entries_of(flow), Span(), lambda recipe: label_rule(recipe or opening) or (1 / 0), opening=opening
        )
    )
    assert flow.learn.fold is not None
    waiting = flow.learn.fold.pending.keys()
    assert {row.event_id for row in found if not row.settled} == waiting
    assert {row.event_id: row.label for row in found if row.settled} == {
        event_id: y for event_id, y in wanted.items() if event_id not in waiting
    }


def test_another_pace_and_other_batches_give_the_same_labels() -> None:
    few = HAPPENED[:300]
    assert learned(flowed(plant(), few, 7)) == learned(flowed(plant(), few, 300))


def test_an_event_whose_key_is_null_labels_nothing_and_is_labelled_by_nothing() -> None:
    few = [one._replace(site=None) if n % 5 == 0 else one for n, one in enumerate(HAPPENED[:300])]  # type: ignore[arg-type]
    flow = flowed(plant(views=[]), few)
    records = [entry for _, entry in entries_of(flow)]
    assert {entry.label_key is None for entry in records if isinstance(entry, Sample)} == {True, False}
    assert all(entry.key is not None for entry in records if isinstance(entry, LabelRecord))
    found = learned(flow)
    assert not {one.id for one in few if one.site is None} & found.keys()
    assert found.items() <= outcomes([one for one in few if one.site is not None]).items()
    assert flow.learn.fold is not None and flow.learn.fold.counts.expired == sum(
        one.site is None and one.heat is not None for one in few
    )


def test_a_late_event_corrects_what_was_learned_as_absent_live_in_training_and_in_the_training_set() -> None:
    """A failure that its producer reports an hour late: its partition had nothing newer meanwhile."""
    label = Label(BY_KEY.source, key=BY_KEY.key, within="30m", absent=False, corrected_for="2h")
    pipeline = plant(label=label)
    few = HAPPENED[:300]
    on_time = [one for one in few if one.heat is not None]
    late = [one for one in few if one.heat is None and one.at < few[200].at][-3:]
    order = sorted(on_time) + late
    flow = flowed(pipeline, order, len(on_time))
    fold = flow.learn.fold
    assert fold is not None
    wanted = {event_id for event_id, y in outcomes(order).items() if y}
    assert fold.counts.corrected > 0 and fold.counts.absent > 0
    made = at_once(
        training(
            pipeline.model.clone(),
            RecipeHistory(pipeline.digest, pipeline.vector_names),
            pipeline,
            entries_of(flow),
            learn_from=0,
        )
    )
    assert made.labels == fold.counts.learned == fold.counts.joined + fold.counts.corrected
    assert digest(made.model) == digest(fold.experts.first.model)
    found = rows(entries_of(flow), Span(), lambda recipe: pipeline.label_rule)
    assert {row.event_id for row in found if row.label} == wanted


# -- another definition ------------------------------------------------------------------------------------------------------


def said(pipeline: Pipeline) -> dict[str, Any]:
    """A stored definition."""
    found: dict[str, Any] = json.loads(definition_document(pipeline))
    return found


def test_whose_label_it_is_changes_with_a_backfill_and_when_it_counts_with_a_restart() -> None:
    now = plant()
    other = plant(label=Label(BY_KEY.source, key="machine", within="30m", absent=False))
    assert changes(said(other), now).others == ["what a label means"]
    for label in (
        Label(BY_KEY.source, key=BY_KEY.key, within="1h"),
        Label(BY_KEY.source, key=BY_KEY.key, within="20m", after="10m", absent=True, corrected_for="1d"),
    ):
        assert changes(said(plant(label=label)), now).others == []


def test_a_definition_stored_by_a_former_version_means_the_same() -> None:
    now = cards()
    former = said(now)
    former["label"] = {
        "source": PAID.name, "wait": "1h", "default": None, "outcome": former["label"]["outcome"],
    }  # fmt: skip
    assert changes(former, now).others == []
    assert readable(Recipe("former", now.vector_names, json.dumps(former)), now) == now.vector_names


# -- numbers -----------------------------------------------------------------------------------------------------------------


def test_a_regression_learns_a_later_value_of_the_same_stream() -> None:
    label = Label(READ, "heat", key=("site", "machine"), after="28m", within="4m")
    model = preprocessing.StandardScaler() | linear_model.LinearRegression()
    flow = flowed(plant(label=label, model=model), HAPPENED[:600])
    fold = flow.learn.fold
    assert fold is not None and fold.counts.joined > 150
    found = learned(flow)
    readings = [one for one in HAPPENED[:600] if one.heat is not None]
    by_id = {one.id: one for one in readings}
    for event_id, y in found.items():
        one = by_id[event_id]
        later = next(
            other.heat
            for other in readings
            if (other.site, other.machine) == (one.site, one.machine)
            and one.at + 28 * MINUTE <= other.at <= one.at + 32 * MINUTE
        )
        assert y == later and type(y) is float
    assert replay(flow.pipeline, flow.log, flow.learn.topic, guard=False).digest() == fold.digest()
