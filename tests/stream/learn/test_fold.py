"""The fold: predictions at samples, labels early, late and never, and every command carried out or refused with a reason."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from penstock import View, mean
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.join import Join
from penstock.stream.learn.learner import learn, train
from penstock.stream.learn.records import Replay
from penstock.stream.messages import Command, Entry, LabelRecord, Origin, Recipe, Sample, Tick
from penstock.stream.models.digest import digest
from penstock.stream.models.version import restore
from penstock.stream.recipes import recipe_of
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
    """A fold of the first `number` records. Whoever changes it takes a copy."""
    fold = Fold(parcels())
    fold.drift.anchors.probation_labels = 300
    for position, entry in enumerate(ready()[:number]):
        fold.step(position, entry)
    return fold


class Long:
    """A fold over a long log, with probations short enough for a test."""

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
    assert digest(fold.champion) == digest(fold_of(*log).champion) and fold.digest() == fold_of(*log).digest()


def test_the_label_may_come_before_its_sample() -> None:
    first = fold_of(label(0, minute=5), sample(0))
    second = fold_of(sample(0), label(0, minute=5))
    assert first.counts.learned == second.counts.learned == 1
    assert digest(first.champion) == digest(second.champion)


@pytest.mark.parametrize("minute", [6 * 60 + 1, 60 * 24])
def test_a_label_after_wait_does_not_count_in_either_order(minute: int) -> None:
    for log in ([sample(0), label(0, minute=minute)], [label(0, minute=minute), sample(0)]):
        fold = fold_of(*log)
        assert (fold.counts.joined, fold.counts.unmatched, len(fold.pending)) == (0, 1, 1)


def test_a_label_that_never_comes_expires_by_event_time() -> None:
    fold = fold_of(sample(0), tick(6 * 60), tick(6 * 60 + 1))
    assert (fold.counts.expired, fold.counts.learned, len(fold.pending)) == (1, 0, 0)


def test_a_label_that_never_comes_takes_the_default_where_there_is_one() -> None:
    of = Label(DELIVERED, lambda e: e["late"] > 15, wait="6h", fields=("late",), default=False)
    pipeline = parcels(label=of)
    fold = fold_of(sample(0), tick(6 * 60 + 1), pipeline=pipeline)
    assert (fold.counts.expired, fold.counts.learned) == (0, 1)
    assert digest(fold.champion) == digest(fold_of(sample(0), label(0, y=False), pipeline=pipeline).champion)


def test_a_source_that_left_the_definition_lets_labels_expire_again_live_and_in_training() -> None:
    of = Label(DELIVERED, lambda e: e["late"] > 15, wait="6h", fields=("late",), default=False)
    pipeline = parcels(label=of)
    left = Tick({"left/0": START_MS - MINUTE}, [], 0)
    log = [recipe_of(pipeline), left, sample(0), tick(6 * 60 + 1), recipe_of(pipeline), tick(6 * 60 + 1)]
    assert fold_of(*log[:4], pipeline=pipeline).counts.learned == 0
    assert fold_of(*log, pipeline=pipeline).counts.learned == 1
    names, wait_ms = pipeline.vector_names, of.wait_ms
    for number, taught in ((4, 0), (6, 1)):
        stretch = enumerate(log[:number])
        found = train(pipeline.model.clone(), names, stretch, learn_from=0, expire_ms=wait_ms, default=False)
        assert found[1] == taught


def test_more_samples_than_may_wait_lets_the_oldest_go_and_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Join.__init__, "__defaults__", (3, None))
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


def test_a_vector_the_model_cannot_take_is_predicted_as_a_half_counted_and_stops_nothing() -> None:
    odd = Sample(Origin("sent", 0, 5), "odd", "van", START_MS, ["heavy", *X[1:]])
    fold = fold_of(
        sample(0), label(0), sample(1), label(1, y=False), odd, label(5, "odd"), sample(6), label(6)
    )
    assert (fold.counts.samples, fold.counts.learned, fold.counts.failed) == (4, 4, 1)


def older(pipeline: Pipeline) -> Pipeline:
    """The definition before: one input more, and one feature defined otherwise."""
    street = View(
        "street", DELIVERED, ("depot", "street"), {**pipeline.views[1].features, "late": mean("late", "6h")}
    )
    assert street.version != pipeline.views[1].version
    return replace(pipeline, inputs=[*pipeline.inputs, "fragile"], views=[pipeline.views[0], street])


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
    assert digest(fold.champion) == digest(twin)
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


def test_with_actions_off_commands_change_nothing() -> None:
    fold = Fold(parcels(), actions=False)
    for position, entry in enumerate([sample(0), Command("c1", "hold"), label(0)]):
        assert fold.needs(entry) is None
        fold.step(position, entry)
    assert fold.counts.learned == 1 and fold.drift.hold is None


# -- hold and resume ---------------------------------------------------------------------------------------------------------


def test_a_hold_stops_learning_and_a_resume_goes_on() -> None:
    long = Long(1_000)
    learned = long.fold.counts.learned
    assert long.command("hold") is None
    long.go(400)
    assert long.fold.counts.learned == learned
    assert long.fold.counts.held_back > 100
    assert long.fold.outputs.live[-1].held
    assert long.command("resume") is None
    long.go(400)
    assert long.fold.counts.learned > learned and not long.fold.outputs.live[-1].held


def test_what_was_sampled_during_a_hold_is_not_learned_after_it() -> None:
    fold = fold_of(Command("h", "hold"), sample(0), Command("r", "resume"), label(0), sample(1), label(1))
    assert (fold.counts.held_back, fold.counts.learned) == (1, 1)


def test_nor_when_another_hold_came_in_between() -> None:
    holds = [
        Command("h1", "hold"),
        sample(0),
        Command("r1", "resume"),
        Command("h2", "hold"),
        Command("r2", "resume"),
    ]
    fold = fold_of(*holds, label(0))
    assert (fold.counts.held_back, fold.counts.learned) == (1, 0)


def test_a_second_hold_and_a_resume_of_nothing_are_refused() -> None:
    long = Long(10)
    assert long.command("resume") == "nothing is held"
    assert long.command("hold") is None
    assert "held already" in (long.command("hold") or "")


# -- versions, rollback, retrain -----------------------------------------------------------------------------------------------


def test_a_version_stands_probation_and_becomes_the_anchor() -> None:
    long = Long(6_000)
    anchors = long.fold.drift.anchors
    assert anchors.current is not None and anchors.current.version in long.made
    assert digest(anchors.current.frozen.model) == digest(restore(long.made[anchors.current.version]))


def test_a_rollback_puts_the_anchor_back_as_it_was() -> None:
    long = Long(6_000)
    anchor = long.fold.drift.anchors.current
    assert anchor is not None
    assert digest(long.fold.champion) != digest(restore(anchor.payload))
    assert long.command("rollback", version=anchor.version) is None
    assert digest(long.fold.champion) == digest(restore(anchor.payload))
    assert long.fold.version == anchor.version
    long.go(200)
    assert digest(long.fold.champion) != digest(restore(anchor.payload))
    assert digest(anchor.frozen.model) == digest(restore(anchor.payload)), "a frozen anchor does not learn"


def test_a_rollback_by_onset_takes_the_newest_version_before_it_and_drops_those_since() -> None:
    long = Long(7_000)
    anchors = long.fold.drift.anchors
    assert len(anchors.kept) >= 3
    onset = anchors.kept[1].position
    target = anchors.kept[1].version
    assert long.command("rollback", from_position=onset) is None
    assert long.fold.version == target
    assert [anchor.version for anchor in anchors.kept][-1] == target and anchors.probation is None


def test_a_rollback_to_nothing_known_is_refused() -> None:
    long = Long(100)
    assert long.command("rollback", version="v77") == "version 'v77' is not known"
    assert long.command("rollback", from_position=5) == "no version was born before the onset"
    assert long.fold.outputs.live[-1].refused == long.fold.refused


def test_a_rollback_out_of_a_hold_asks_for_the_labels_since_to_be_replayed() -> None:
    long = Long(6_000)
    anchor = long.fold.drift.anchors.current
    assert anchor is not None
    rollback = Command("r", "rollback", version=anchor.version)
    assert long.fold.needs(rollback) is None
    long.command("hold")
    assert long.fold.needs(rollback) == Replay(
        anchor.version, anchor.payload, anchor.join_from, anchor.position
    )
    replayed = restore(anchor.payload)
    long.give(rollback, replayed)
    assert long.fold.champion is replayed and long.fold.drift.hold is None


def test_a_retrain_opens_a_job_its_product_competes_and_wins_by_a_promotion() -> None:
    long = Long(6_000)
    assert long.command("retrain", from_position=100) is None
    job = f"c{long.fold.position - 1}"
    assert long.fold.open_jobs == {job: (100, [])}
    assert "under way" in (long.command("retrain") or "")
    adopt = Command(
        f"adopt-{job}", "adopt", version="retrain-x", from_position=100, trained_to=5_000, digest="d"
    )
    assert long.fold.needs(adopt) == Replay("retrain-x", None, 100, 5_000)
    product = long.fold.pipeline.model.clone()
    long.give(adopt, product)
    assert long.fold.open_jobs == {} and long.fold.candidate is not None
    learned = digest(product)
    long.go(300)
    assert digest(product) != learned, "the candidate learns beside the champion"
    name = long.fold.candidate.version
    assert long.command("promote", version="v999") == f"the candidate is {name}, not v999"
    assert long.command("promote", version=name) is None
    assert long.fold.champion is product and long.fold.version == name
    assert long.command("promote") == "there is no candidate"


def test_an_adoption_of_what_cannot_be_had_is_refused() -> None:
    long = Long(6_000)
    long.command("retrain")
    job = f"c{long.fold.position - 1}"
    long.give(Command(f"adopt-{job}", "adopt", version="gone"), None)
    assert "could not be fetched" in long.fold.refused[f"adopt-{job}"]
    assert long.fold.open_jobs == {} and long.fold.candidate is None


def test_a_rollback_overtakes_a_retrain() -> None:
    long = Long(6_000)
    long.command("retrain")
    job = f"c{long.fold.position - 1}"
    long.command("rollback")
    assert long.fold.open_jobs == {}
    long.give(Command(f"adopt-{job}", "adopt", version="late"), long.fold.pipeline.model.clone())
    assert "overtook" in long.fold.refused[f"adopt-{job}"]


def test_a_command_is_carried_out_once_however_often_it_is_sent() -> None:
    long = Long(6_000)
    long.command("rollback")
    applied = Command(f"c{long.fold.position - 1}", "rollback")
    champion = digest(long.fold.champion)
    chain = long.fold.chain
    long.give(applied)
    assert (digest(long.fold.champion), long.fold.chain) == (champion, chain)


def test_a_refused_command_stays_refused_when_it_is_sent_again() -> None:
    long = Long(100)
    assert long.command("resume") is not None
    long.command("hold")
    long.give(Command("c100", "resume"))
    assert long.fold.drift.hold is not None


def test_a_command_that_answers_an_episode_that_is_over_is_refused() -> None:
    long = Long(6_000)
    for verb in ("retrain", "rollback"):
        assert long.command(verb, episode="parcels-harm-1") == "the episode it answers is over"


def test_accept_takes_todays_level_as_the_new_normal() -> None:
    assert Long(3_000).command("accept") is None


@pytest.mark.parametrize("verb", ["hold", "rollback", "retrain", "accept"])
def test_every_command_shows_in_the_chain_and_in_what_is_live(verb: Any) -> None:
    with_command, without = Long(6_000), Long(6_000)
    with_command.command(verb)
    assert with_command.fold.chain != without.fold.chain
    assert with_command.fold.outputs.live[-1].applied == list(with_command.fold.applied)


def test_the_digest_tells_a_fold_from_one_whose_prediction_differed_in_the_past() -> None:
    one, other = fold_of(sample(0), label(0), sample(1)), fold_of(sample(0), label(0, y=False), sample(1))
    assert one.digest() != other.digest()
