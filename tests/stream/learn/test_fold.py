"""The fold: predictions at samples, labels early, late and never, under whichever recipe; alone it is river's own loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import pytest

from penstock import View, mean
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn import join
from penstock.stream.learn.engine import learn
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import at_once, training, vector
from penstock.stream.messages import Command, Entry, LabelRecord, Origin, Recipe, Sample, Tick
from penstock.stream.models.digest import digest
from penstock.stream.recipes import RecipeHistory, recipe_of
from tests.stream.generated import DELIVERED, MINUTE, START_MS, entries, parcels

X: list[Any] = [1.0, 0.5, 2.0, None, 3.0, 1.0, 60.0]


def sample(n: int, event_id: str | None = None, minute: int | None = None) -> Sample:
    at = START_MS + (n if minute is None else minute) * MINUTE
    return Sample(Origin("sent", 0, n), event_id or f"p{n}", "van", at, X)


def label(n: int, event_id: str | None = None, minute: int | None = None, y: bool = True) -> LabelRecord:
    at = START_MS + (n if minute is None else minute) * MINUTE
    return LabelRecord(Origin("done", 0, n, 1), event_id or f"p{n}", at, y)


def tick(minute: int) -> Tick:
    return Tick({"sent/0": START_MS + minute * MINUTE, "done/0": START_MS + minute * MINUTE}, [], 0)


def fold_of(*log: Entry, **options: Any) -> Fold:
    fold = Fold(options.pop("pipeline", parcels()), **options)
    for position, entry in enumerate(log):
        fold.step(position, entry)
    return fold


@cache
def ready() -> list[Entry]:
    return entries(4_000)


@cache
def folded(number: int) -> Fold:
    """A fold of the first `number` records, with copies frozen often. Whoever changes it takes a copy."""
    fold = Fold(parcels())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 250)
        for position, entry in enumerate(ready()[:number]):
            fold.step(position, entry)
    return fold


class Long:
    """A fold over a long log."""

    def __init__(self, number: int) -> None:
        self.made: dict[str, bytes] = {}
        self.log = ready()[number:]
        whole = folded(number)
        self.fold = copy.deepcopy(whole, {id(whole.pipeline): whole.pipeline})
        self.collect()

    def go(self, number: int) -> None:
        for _ in range(number):
            self.give(self.log[0])
            del self.log[0]

    def give(self, entry: Entry, prepared: Any = None) -> None:
        self.fold.step(self.fold.position, entry, prepared)
        self.collect()

    def collect(self) -> None:
        self.made.update({version.id: payload for version, payload in self.fold.outputs.versions})

    def command(self, verb: Any, prepared: Any = None, **fields: Any) -> str | None:
        """Give a command; why it was refused, or None."""
        command = Command(f"c{self.fold.position}", verb, "because", "ann", **fields)
        self.give(command, prepared)
        assert (command.id in self.fold.applied) != (command.id in self.fold.refused)
        return self.fold.refused.get(command.id)


# -- samples and labels ----------------------------------------------------------------------------------------------------


def test_every_sample_is_predicted_once_with_the_version_of_the_moment() -> None:
    fold = fold_of(sample(0), sample(1), label(0), sample(2))
    made = [(p.id, p.position, p.version, p.at) for p in fold.outputs.predictions]
    assert made == [
        ("p0", 0, "v0", START_MS),
        ("p1", 1, "v0", START_MS + MINUTE),
        ("p2", 3, "v0", START_MS + 2 * MINUTE),
    ]
    assert fold.outputs.predictions[0].p == 0.5 and fold.outputs.predictions[2].p != 0.5


def test_a_repeat_of_a_crash_is_neither_predicted_nor_learned_again() -> None:
    log = [sample(0), label(0), sample(1), label(1)]
    fold = fold_of(*log, *log)
    assert (fold.counts.samples, fold.counts.learned, fold.counts.repeats) == (2, 2, 4)
    assert (
        digest(fold.live.model) == digest(fold_of(*log).live.model)
        and fold.digest() == fold_of(*log).digest()
    )


def test_the_label_may_come_before_its_sample() -> None:
    first = fold_of(label(0, minute=5), sample(0))
    second = fold_of(sample(0), label(0, minute=5))
    assert first.counts.learned == second.counts.learned == 1
    assert digest(first.live.model) == digest(second.live.model)


@pytest.mark.parametrize("minute", [6 * 60 + 1, 60 * 24])
def test_a_label_after_wait_does_not_count_in_either_order(minute: int) -> None:
    for log in ([sample(0), label(0, minute=minute)], [label(0, minute=minute), sample(0)]):
        fold = fold_of(*log)
        assert (fold.counts.joined, fold.counts.unmatched, len(fold.pending)) == (0, 1, 1)


def test_a_label_that_never_comes_expires_by_event_time() -> None:
    fold = fold_of(sample(0), tick(6 * 60), tick(6 * 60 + 1))
    assert (fold.counts.expired, fold.counts.learned, len(fold.pending)) == (1, 0, 0)


def test_a_label_that_never_comes_takes_the_default_where_there_is_one() -> None:
    of = Label(DELIVERED, lambda e: e["late"] > 15, wait="6h", fields=("late",), absent=False)
    pipeline = parcels(label=of)
    fold = fold_of(sample(0), tick(6 * 60 + 1), pipeline=pipeline)
    assert (fold.counts.expired, fold.counts.learned) == (0, 1)
    assert digest(fold.live.model) == digest(
        fold_of(sample(0), label(0, y=False), pipeline=pipeline).live.model
    )


CORRECTED = Label(
    DELIVERED, lambda e: e["late"] > 15, wait="6h", fields=("late",), absent=False, corrected_for="2h"
)


def test_a_correction_teaches_the_true_label_once_more_and_charges_nobody_again() -> None:
    pipeline = parcels(label=CORRECTED)
    before = [sample(0), sample(1), label(1), tick(6 * 60 + 1)]
    wrong = fold_of(*before, pipeline=pipeline)
    right = fold_of(*before, label(2, "p0", minute=7 * 60), pipeline=pipeline)
    assert (wrong.counts.absent, wrong.counts.corrected, right.counts.corrected) == (1, 0, 1)
    assert (right.counts.joined, right.counts.learned) == (2, 3)
    assert right.counts.live_loss == wrong.counts.live_loss and right.experts.judged == wrong.experts.judged
    assert right.experts.weights() == wrong.experts.weights()
    taught = fold_of(*before, pipeline=pipeline).experts.first.model
    taught.learn_one(vector(pipeline.vector_names, sample(0).x), True)
    assert digest(right.experts.first.model) == digest(taught) != digest(wrong.experts.first.model)


@pytest.mark.parametrize(("minute", "y"), [(8 * 60 + 1, True), (7 * 60, False)])
def test_what_comes_too_late_or_says_what_was_learned_corrects_nothing(minute: int, y: bool) -> None:
    fold = fold_of(
        sample(0), tick(6 * 60 + 1), label(0, minute=minute, y=y), pipeline=parcels(label=CORRECTED)
    )
    assert (fold.counts.absent, fold.counts.corrected, fold.counts.learned) == (1, 0, 1)


def test_while_learning_is_held_a_correction_teaches_nothing() -> None:
    log = [sample(0), tick(6 * 60 + 1), Command("c", "hold", "because", "ann"), label(0, minute=7 * 60)]
    fold = fold_of(*log, pipeline=parcels(label=CORRECTED))
    assert (fold.counts.corrected, fold.counts.learned) == (0, 1)


def test_a_source_that_left_the_definition_lets_labels_expire_again_live_and_in_training() -> None:
    of = Label(DELIVERED, lambda e: e["late"] > 15, wait="6h", fields=("late",), absent=False)
    pipeline = parcels(label=of)
    left = Tick({"left/0": START_MS - MINUTE}, [], 0)
    log = [recipe_of(pipeline), left, sample(0), tick(6 * 60 + 1), recipe_of(pipeline), tick(6 * 60 + 1)]
    assert fold_of(*log[:4], pipeline=pipeline).counts.learned == 0
    assert fold_of(*log, pipeline=pipeline).counts.learned == 1
    for number, taught in ((4, 0), (6, 1)):
        stretch, history = enumerate(log[:number]), RecipeHistory(pipeline.digest, pipeline.vector_names)
        found = at_once(training(pipeline.model.clone(), history, pipeline, stretch, learn_from=0))
        assert found.labels == taught


def test_more_samples_than_may_wait_lets_the_oldest_go_and_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join, "MOST_WAITING", 3)
    fold = fold_of(*map(sample, range(5)), label(0, "p0"), label(1, "p4"))
    assert (fold.counts.dropped, fold.counts.joined, list(fold.pending)) == (2, 1, ["p2", "p3"])


def test_duplicate_ids_are_counted_and_the_first_sample_gets_the_label() -> None:
    fold = fold_of(sample(0, "same"), sample(1, "same"), label(0, "same"), label(1, "same"))
    assert (fold.counts.samples, fold.counts.duplicate_ids, fold.counts.joined, len(fold.pending)) == (
        2,
        1,
        1,
        0,
    )


def test_the_base_rate_is_read_at_the_sample() -> None:
    fold = Fold(parcels(), actions=False)
    fold.trace = []
    for position, entry in enumerate([sample(0), sample(1), label(0, "p1"), label(1, "p0")]):
        fold.step(position, entry)
    assert [base for _, _, _, base, _ in fold.trace] == [0.5, 0.5]


def test_a_vector_the_model_cannot_take_is_predicted_counted_and_stops_nothing() -> None:
    odd = Sample(Origin("sent", 0, 5), "odd", "van", START_MS, ["heavy", *X[1:]])
    fold = fold_of(
        sample(0), label(0), sample(1), label(1, y=False), odd, label(5, "odd"), sample(6), label(6)
    )
    assert (fold.counts.samples, fold.counts.learned, fold.counts.failed) == (4, 4, 1)
    assert len(fold.outputs.predictions) == 4 and all(0.0 <= p.p <= 1.0 for p in fold.outputs.predictions)


def older(pipeline: Pipeline) -> Pipeline:
    """The definition before: one input more, and one feature defined otherwise."""
    street = View(
        "street", DELIVERED, ("depot", "street"), {**pipeline.views[1].features, "late": mean("late", "6h")}
    )
    assert street.version != pipeline.views[1].version
    return replace(pipeline, inputs=[*pipeline.inputs, "fragile"], views=[pipeline.views[0], street])


def test_watchers_hear_no_clock_while_the_log_stands_under_another_definition() -> None:
    """They do not hear its samples either, and would tell of a silence."""
    now = parcels()
    fold, heard = Fold(now), []
    fold.drift.tick = lambda at, position, look: heard.append(position)  # type: ignore[method-assign]
    tick = Tick({"parcels.sent/0": START_MS}, [], START_MS, 1)
    for position, entry in enumerate(
        [recipe_of(now), tick, recipe_of(older(now)), tick, recipe_of(now), tick]
    ):
        fold.step(position, entry)
    assert heard == [1, 5]


def test_samples_of_an_older_recipe_teach_what_the_newer_one_defines_alike() -> None:
    """Then the newer one's own lineage begins with what was learned, under version ids of its own."""
    now = parcels()
    before = older(now)
    names = before.vector_names
    old = [
        Sample(Origin("sent", 0, n), f"p{n}", "van", START_MS + n, [float(n % 7)] * len(names))
        for n in range(20)
    ]
    fold = Fold(now)
    entries = [recipe_of(before), *(e for n in range(20) for e in (old[n], label(n, y=n % 2 == 0)))]
    for position, entry in enumerate([*entries, Command("c1", "hold")]):
        fold.step(position, entry)
    assert (fold.counts.samples, fold.counts.learned, fold.recipes.foreign) == (20, 20, True)
    assert fold.drift.hold is None, "a command of the older lineage is not for this model"
    twin = now.model.clone()
    for n in range(20):
        read = [name for name in names if name in now.vector_names and not name.startswith("street.late")]
        learn(twin, dict.fromkeys(read, float(n % 7)), n % 2 == 0)
    assert digest(fold.live.model) == digest(twin)
    fold.step(100, recipe_of(now))
    assert not fold.recipes.foreign and fold.version == f"v1.{now.digest[:6]}"
    fold.step(101, Command("c2", "hold"))
    assert fold.drift.hold is not None


def test_what_an_older_recipe_labelled_otherwise_teaches_nothing() -> None:
    other = replace(parcels(), label=replace(parcels().label, outcome=lambda e: e["late"] > 99))
    fold = Fold(parcels())
    for position, entry in enumerate(
        [recipe_of(other), sample(0), label(0), Recipe("nobody", ["a"], "?"), sample(1)]
    ):
        fold.step(position, entry)
    assert (fold.counts.samples, fold.counts.learned, fold.counts.unreadable) == (0, 0, 3)


def test_a_sample_of_another_recipe_is_never_read_under_new_names_though_its_vector_is_as_long() -> None:
    now = parcels()
    other = replace(now, views=[now.views[0], now.views[2], now.views[1]])
    assert len(other.vector_names) == len(now.vector_names) and other.digest != now.digest
    late, right = (msgspec.structs.replace(sample(0), recipe=of.digest) for of in (other, now))
    fold = fold_of(recipe_of(other), recipe_of(now), late, right, label(0))
    assert (fold.counts.unreadable, fold.counts.samples, fold.counts.repeats) == (1, 1, 0)
    assert digest(fold.live.model) == digest(fold_of(recipe_of(now), right, label(0)).live.model)
    log = enumerate([recipe_of(other), recipe_of(now), late, right, label(0)])
    made = at_once(
        training(now.model.clone(), RecipeHistory(now.digest, now.vector_names), now, log, learn_from=0)
    )
    assert made.labels == 1 and digest(made.model) == digest(fold.live.model)


def test_a_sample_of_a_recipe_that_featurizes_alike_is_read() -> None:
    """Another wait or model is taken over worker by worker: those still to restart go on writing under the former recipe."""
    now = parcels()
    former = parcels(label=replace(now.label, wait="9h"))
    assert former.digest != now.digest
    late = msgspec.structs.replace(sample(0), recipe=former.digest)
    fold = fold_of(recipe_of(former), recipe_of(now), late, label(0))
    assert (fold.counts.unreadable, fold.counts.learned) == (0, 1)
    unknown = msgspec.structs.replace(sample(1), recipe="nobody's")
    assert fold_of(recipe_of(now), unknown).counts.unreadable == 1


def test_a_sample_from_before_samples_named_their_recipe_is_read_by_its_length() -> None:
    assert fold_of(recipe_of(parcels()), sample(0), label(0)).counts.learned == 1


def test_with_actions_off_commands_change_nothing() -> None:
    fold = Fold(parcels(), actions=False)
    for position, entry in enumerate([sample(0), Command("c1", "hold"), label(0)]):
        assert fold.needs(entry) is None
        fold.step(position, entry)
    assert fold.counts.learned == 1 and fold.drift.hold is None


# -- alone ---------------------------------------------------------------------------------------------------------------------


def rivers_loop(log: list[Entry]) -> tuple[Any, list[float]]:
    """The model and its predictions where nobody watches: predict at the sample, learn at the label."""
    model, names = parcels().model.clone(), parcels().vector_names
    waiting: dict[str, dict[str, Any]] = {}
    said: list[float] = []
    for entry in log:
        if isinstance(entry, Sample):
            waiting[entry.id] = vector(names, entry.x)
            said.append(model.predict_proba_one(waiting[entry.id])[True])
        elif isinstance(entry, LabelRecord):
            model.learn_one(waiting.pop(entry.id), entry.y)
    return model, said


def test_with_actions_off_it_is_rivers_own_loop_bit_for_bit() -> None:
    log = ready()[:1_500]
    fold = fold_of(*log, actions=False)
    model, said = rivers_loop(log)
    assert [p.p for p in fold.outputs.predictions] == said
    assert digest(fold.experts.first.model) == digest(model)
    assert {(p.version, p.weight) for p in fold.outputs.predictions} == {("v0", 1.0)}
    assert len(fold.experts.models) == 1 and fold.drift.requests == [] == fold.outputs.versions


def test_the_first_model_is_what_it_would_be_had_nobody_watched_whatever_else_is_born() -> None:
    fold = folded(3_000)
    assert len(fold.experts.models) >= 3 and fold.experts.first.version == "v0"
    assert digest(fold.experts.first.model) == digest(rivers_loop(ready()[:3_000])[0])


def test_a_prediction_is_the_mixture_of_what_all_experts_said_at_the_sample() -> None:
    long = Long(3_000)
    while not isinstance(long.log[0], Sample):
        long.go(1)
    entry, experts = long.log[0], long.fold.experts
    assert isinstance(entry, Sample)
    experts.thin = ()
    x = vector(parcels().vector_names, entry.x)
    each = [long.fold.base, *(one.model.predict_proba_one(x)[True] for one in experts.models)]
    mixed = sum(weight * p for weight, p in zip(experts.gate.totals(), each, strict=True))
    long.go(1)
    made = long.fold.outputs.predictions[-1]
    assert made.p == pytest.approx(mixed) and (made.version, made.weight) == (
        experts.leader.version,
        experts.leader_weight,
    )


def test_the_digest_tells_a_fold_from_one_whose_prediction_differed_in_the_past() -> None:
    one, other = fold_of(sample(0), label(0), sample(1)), fold_of(sample(0), label(0, y=False), sample(1))
    assert one.digest() != other.digest()
