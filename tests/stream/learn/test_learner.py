"""Training beside the fold equals the fold, label by label; what is quarantined teaches nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, preprocessing, tree

from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn.engine import learn, probability, said
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import Seen, Trained, at_once, training, vector
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample
from penstock.stream.recipes import RecipeHistory
from tests.stream.generated import DELIVERED, START_MS, entries, parcels


def pipeline(default: bool | None = None) -> Pipeline:
    return parcels(
        label=Label(DELIVERED, lambda e: e["late"] > 15, wait="2h", fields=("late",), absent=default)
    )


PIPELINE = pipeline()
LOG = entries(400)


PROBES = [
    vector(PIPELINE.vector_names, entry.x) for entry in entries(40, seed=9) if isinstance(entry, Sample)
]


def says(model: Any) -> list[float]:
    """What a model says, bit by bit. Not its digest: predicting leaves empty entries in some of river's models."""
    return [probability(model, x) for x in PROBES]


def train(
    log: Iterable[tuple[int, Entry]], model: Any = None, default: bool | None = None, **options: Any
) -> Trained:
    of = pipeline(default)
    recipes = RecipeHistory(parcels().digest, of.vector_names)  # the one the log opens with
    given = {"learn_from": 0, **options}
    return at_once(training(of.model.clone() if model is None else model, recipes, of, log, **given))


def trained(log: list[Entry], **options: Any) -> tuple[list[float], int]:
    made = train(enumerate(log), **options)
    return says(made.model), made.labels


def folded(log: list[Entry], default: bool | None = None) -> tuple[list[float], int]:
    fold = Fold(pipeline(default), actions=False)
    fold.recipe = fold.recipes.recipe = parcels().digest  # the one the log opens with
    for position, entry in enumerate(log):
        fold.step(position, entry)
    return says(fold.experts.first.model), fold.counts.learned


@pytest.mark.parametrize("default", [None, False, True])
def test_training_over_the_whole_log_is_the_fold(default: bool | None) -> None:
    assert trained(LOG, default=default) == folded(LOG, default)
    assert trained(LOG)[1] > 300


def test_a_default_label_teaches_what_never_got_one() -> None:
    assert trained(LOG, default=False)[1] > trained(LOG)[1]


@settings(max_examples=20)
@given(st.data())
def test_repeats_of_a_crash_change_neither(data: st.DataObject) -> None:
    start = data.draw(st.integers(1, len(LOG) - 1))
    stop = data.draw(st.integers(start, len(LOG)))
    repeated = [*LOG[:stop], *LOG[start:stop], *LOG[stop:]]
    assert trained(repeated) == folded(repeated) == trained(LOG)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_any_order_of_the_two_sources_is_paired_alike_in_both(chance: Any) -> None:
    """Each source keeps its order, as its partition does; between them anything goes: labels before samples, and hours late."""
    sources = [[e for e in LOG if isinstance(e, Sample)], [e for e in LOG if isinstance(e, LabelRecord)]]
    rest = [e for e in LOG[1:] if not isinstance(e, Sample | LabelRecord)]
    queues = [*sources, rest]
    mixed: list[Entry] = [LOG[0]]
    places = [0, 0, 0]
    while True:
        left = [n for n, queue in enumerate(queues) if places[n] < len(queue)]
        if not left:
            break
        n = chance.choice(left)
        take = chance.randrange(1, 60)
        mixed += queues[n][places[n] : places[n] + take]
        places[n] += take
    for default in (None, False):
        assert trained(mixed, default=default) == folded(mixed, default)


def test_nothing_before_learn_from_is_learned_but_its_samples_are_known() -> None:
    label = next(n for n, entry in enumerate(LOG) if n > 100 and isinstance(entry, LabelRecord))
    _, learned = trained(LOG[: label + 1], learn_from=label)
    assert learned == 1


def test_two_halves_learned_one_after_the_other_are_the_whole() -> None:
    half = len(LOG) // 2
    first = train(enumerate(LOG[:half]))
    assert first.join_from is not None and 0 < first.join_from < half, "only what waits is read again"
    again = [(n, entry) for n, entry in enumerate(LOG) if n >= first.join_from]
    second = train(again, first.model, learn_from=half)
    assert (says(second.model), first.labels + second.labels) == trained(LOG)


def test_a_quarantined_sample_teaches_nothing_whenever_its_label_comes() -> None:
    positions = [n for n, entry in enumerate(LOG) if isinstance(entry, Sample)]
    start, stop = positions[100], positions[150]
    kept = [e for n, e in enumerate(LOG) if not (isinstance(e, Sample) and start <= n < stop)]
    assert trained(LOG, quarantined=[(start, stop)]) == trained(kept)
    assert trained(LOG, quarantined=[(0, len(LOG))])[1] == 0


def test_a_missing_value_is_left_out_of_the_vector() -> None:
    assert vector(["a", "b", "c"], [1.0, None, "x"]) == {"a": 1.0, "c": "x"}


def test_origins_are_seen_once_per_topic_incarnation_and_partition() -> None:
    seen = Seen()
    assert not seen.is_repeat(Origin("t", 0, 5, 0))
    assert seen.is_repeat(Origin("t", 0, 5, 0)) and seen.is_repeat(Origin("t", 0, 4, 1))
    assert not seen.is_repeat(Origin("t", 0, 5, 1)) and not seen.is_repeat(Origin("t", 0, 6, 0))
    assert not seen.is_repeat(Origin("t", 1, 0, 0)) and not seen.is_repeat(Origin("recreated", 0, 0, 0))


class Broken:
    """A model that gives no probability, one way or another."""

    def __init__(self, gives: Any) -> None:
        self.gives = gives

    def predict_proba_one(self, x: dict[str, Any]) -> Any:
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        self.predict_proba_one(x)


@pytest.mark.parametrize(
    "gives",
    [{True: float("nan")}, {True: -0.1}, {True: 1.5}, {False: float("nan")}, ZeroDivisionError(), None],
)
def test_a_model_that_fails_says_a_half_and_that_it_failed(gives: Any) -> None:
    assert probability(Broken(gives), {}) == 0.5
    assert said(Broken(gives), {}) is None


@pytest.mark.parametrize(
    ("gives", "p"), [({}, 0.5), ({False: 1.0}, 0.0), ({False: 0.75}, 0.25), ({True: 1.0 + 1e-15}, 1.0)]
)
def test_a_model_says_what_it_knows(gives: Any, p: float) -> None:
    """One that never saw a true label gives no probability of one: it is the rest of what it gives for false."""
    assert said(Broken(gives), {}) == p


def test_a_tree_before_its_first_true_label_says_it_will_not_be() -> None:
    model = tree.HoeffdingTreeClassifier()
    for n in range(5):
        model.learn_one({"a": float(n)}, False)
    assert probability(model, {"a": 1.0}) == 0.0


def test_a_vector_that_a_model_cannot_learn_is_passed_over() -> None:
    scaled = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    assert learn(scaled, {"a": 1.0}, True) and learn(scaled, {"a": 3.0}, False)
    assert not learn(scaled, {"a": "text"}, True)
    assert probability(scaled, {"a": "text"}) == 0.5
    assert learn(tree.HoeffdingTreeClassifier(), {"a": "text"}, True)


def test_a_vector_that_cannot_be_learned_leaves_fold_and_training_alike() -> None:
    x: list[Any] = ["heavy", None, 1.0, None, None, None, None]
    odd = [
        Sample(Origin("odd", 0, 0), "odd", "v", START_MS, x),
        LabelRecord(Origin("odd", 0, 0, 1), "odd", START_MS, True),
    ]
    log = [*LOG[:300], *odd, *LOG[300:]]
    assert trained(log) == folded(log)
