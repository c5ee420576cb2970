"""What a definition says, and every way in which it can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from river import anomaly, linear_model, multioutput, naive_bayes, preprocessing, tree

from penstock import View, count, mean
from penstock.stream.definitions import DefinitionError, Label, Pipeline, Source
from penstock.stream.label_rule import LabelRule, rule_of
from penstock.stream.recipes import changes, recipe_of
from tests.stream.generated import DELIVERED, PAID, SENT, cards, parcels

BY_DEPOT = View("depot", DELIVERED, key="depot", features={"n": count("1h")})


def source(**changes: Any) -> Source:
    return Source(**{"name": "a.b", "id": "id", "time": "at", "key": "key", **changes})


BROKEN: dict[str, tuple[Callable[[], object], str]] = {
    "a topic name with a space": (lambda: source(name="a b"), "'a b': not a Kafka topic name"),
    "an id that is no field": (lambda: source(id=""), "Source 'a.b': id must name a field"),
    "a key that is no name": (lambda: source(key=7), "Source 'a.b': key must name a field"),
    "a grace without a unit": (lambda: source(grace="5"), "Source 'a.b', grace"),
    "an ahead of nonsense": (lambda: source(ahead="soon"), "Source 'a.b', ahead"),
    "an outcome that is a value": (lambda: Label(SENT, True), "outcome must be a function"),  # type: ignore[arg-type]
    "a label of no source": (
        lambda: Label("sent", lambda e: True),
        "Label: source must be a Source, not str",
    ),  # type: ignore[arg-type]
    "label fields in one text": (
        lambda: Label(SENT, lambda e: True, fields="late"),
        "list of field names, such as ('late',)",
    ),
    "a wait without a unit": (lambda: Label(SENT, lambda e: True, wait="36"), "Label, wait"),
    "a pipeline name with a dot": (lambda: parcels("a.b"), "Pipeline 'a.b': a name starts with a letter"),
    "a pipeline without a name": (lambda: parcels(""), "Pipeline '': a name starts with a letter"),
    "two views of one name": (lambda: parcels(views=[BY_DEPOT, BY_DEPOT]), "two views are named 'depot'"),
    "an input twice": (lambda: parcels(inputs=["weight", "weight"]), "an input is listed twice"),
    "inputs in one text": (
        lambda: parcels(inputs="weight"),
        "inputs must be a list of field names, not 'weight'",
    ),
    "views that are none": (lambda: parcels(views=[count("1h")]), "views must be a list of views"),
    "views left out": (lambda: parcels(views=None), "views must be a list of views, not None"),
    "nothing to learn from": (lambda: parcels(views=[], inputs=[]), "nothing to learn from"),
    "a label left out": (lambda: parcels(label=None), "label must be a Label: LogisticRegression learns"),
    "neither a label nor a source": (
        lambda: parcels(label=None, predict="sent"),
        "predict must be a Source, not str",
    ),
    "a topic's name for a source": (lambda: parcels(predict="sent"), "predict must be a Source, not str"),
    "a transformer": (lambda: parcels(model=preprocessing.StandardScaler()), "must be a river classifier"),
    "a pipeline that ends in a transformer": (
        lambda: parcels(model=preprocessing.MinMaxScaler() | preprocessing.StandardScaler()),
        "must be a river classifier",
    ),
    "a task that there is not": (lambda: parcels(task="ranking"), "task must be one of binary, multiclass,"),
    "numbers of a classifier": (
        lambda: parcels(task="regression"),
        "LogisticRegression is for the task 'binary'; take a regressor, such as linear_model.LinearRegression",
    ),
    "classes of a regressor": (
        lambda: parcels(task="multiclass", model=linear_model.LinearRegression()),
        "LinearRegression is for the task 'regression'; take a classifier for several classes",
    ),
    "several classes of a model for two": (
        lambda: parcels(task="multiclass"),
        "wrap it, as multiclass.OneVsRestClassifier(LogisticRegression())",
    ),
    "labels for no task": (
        lambda: parcels(task="unlabelled", model=anomaly.HalfSpaceTrees()),
        "HalfSpaceTrees is for the task 'anomaly'; take a detector, such as anomaly.HalfSpaceTrees, and label=None",
    ),
    "numbers without labels": (
        lambda: parcels(label=None, model=linear_model.LinearRegression()),
        "label must be a Label: LinearRegression learns from labels",
    ),
    "a detector of targets": (
        lambda: parcels(model=anomaly.GaussianScorer()),
        "scores a target that must be known beforehand",
    ),
    "several targets": (
        lambda: parcels(model=multioutput.RegressorChain(linear_model.LinearRegression())),
        "predicts several targets at once",
    ),
    "alerts for all": (lambda: parcels(alert_share=1.0), "alert_share must be above 0 and at most 0.5"),
    "a class in place of a model": (
        lambda: parcels(model=linear_model.LogisticRegression),
        "not the class LogisticRegression; call it",
    ),
    "a budget of zero": (lambda: parcels(alarms_per_year=0), "alarms_per_year must be above 0"),
    "a budget of nan": (lambda: parcels(alarms_per_year=float("nan")), "alarms_per_year must be above 0"),
    "a guard that is no word it knows": (
        lambda: parcels(guard="stop"),
        "Pipeline 'parcels': guard must be True, \"hold\" or False, not 'stop'",
    ),
    "a guard that is a number": (lambda: parcels(guard=1.0), 'guard must be True, "hold" or False, not 1.0'),
    "too few experts": (lambda: parcels(experts=3), "experts must be a whole number from 4 to 16, not 3"),
    "too many experts": (lambda: parcels(experts=17), "from 4 to 16, not 17"),
    "experts that are no whole number": (lambda: parcels(experts=6.0), "from 4 to 16, not 6.0"),
    "experts that are a truth": (lambda: parcels(experts=True), "from 4 to 16, not True"),
    "a cooldown without a unit": (lambda: parcels(cooldown="1"), "Pipeline 'parcels', cooldown"),
    "a topic declared twice": (
        lambda: parcels(label=Label(Source(SENT.name, "parcel", "done_at", "van"), lambda e: True)),
        "topic 'parcels.sent' is declared twice, differently",
    ),
    "the label as an input": (
        lambda: cards(inputs=["amount", "fraud"]),
        "input 'fraud' is the label of the same event",
    ),
    "a view of the label": (
        lambda: cards(views=[View("card", PAID, key="card", features={"x": mean("fraud", "1h")})]),
        "view 'card' reads the label",
    ),
    "no outcome by id": (lambda: Label(PAID), "outcome must be a function of an event"),
    "a label's key of numbers": (lambda: Label(PAID, key=3, within="1h"), "key must name a field"),  # type: ignore[arg-type]
    "a label's key twice the same": (
        lambda: Label(PAID, key=("card", "card"), within="1h"),
        "different fields",
    ),
    "a wait by key": (lambda: Label(PAID, key="card", wait="1h"), "says within= in place of wait="),
    "nothing to wait for": (lambda: Label(PAID, key="card"), "says within= in place of wait="),
    "a span by id": (lambda: Label(PAID, "fraud", within="1h"), "name the fields of the entity"),
    "a span that is none": (lambda: Label(PAID, key="card", within="soon"), "Label, within: duration 'soon'"),
    "a correction of nothing": (lambda: Label(PAID, "fraud", corrected_for="7d"), "give absent="),
    "an absent list": (lambda: Label(PAID, "fraud", absent=[]), "absent must be a label"),  # type: ignore[arg-type]
    "an absent that the model does not learn": (
        lambda: cards(label=Label(PAID, "fraud", absent="no")),
        "it must be true, false, 1 or 0",
    ),
    "a view keyed by the label": (
        lambda: cards(views=[View("answer", PAID, key=("card", "fraud"), features={"n": count("1h")})]),
        "view 'answer' is keyed by the label",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_definition_is_one_line_that_names_the_place(name: str) -> None:
    make, says = BROKEN[name]
    with pytest.raises(DefinitionError) as error:
        make()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_label_of_another_source_may_feed_a_view() -> None:
    assert parcels().vector_names[1] == "depot.late_3h"


@pytest.mark.parametrize(
    "model",
    [
        naive_bayes.GaussianNB(),
        tree.HoeffdingTreeClassifier(),
        preprocessing.MinMaxScaler() | naive_bayes.BernoulliNB(),
    ],
)
def test_classifiers_are_taken_as_they_are_or_at_the_end_of_a_pipeline(model: Any) -> None:
    assert parcels(model=model).model is model


def test_a_field_of_the_event_itself_may_be_an_input_when_the_label_is_a_later_event() -> None:
    """By id it is the answer; by key the label is a later value of it."""
    later = Label(PAID, lambda e: e["amount"] > 40, key="card", after="10m", within="2m", fields=("amount",))
    made = cards(label=later)
    assert made.inputs == ["amount"] and made.label_rule == LabelRule(12 * 60_000, None, 0, True, 10 * 60_000)


def test_absent_is_what_the_model_learns() -> None:
    made = cards(label=Label(PAID, "fraud", absent=0))
    assert made.label_rule.absent is False and '"absent": false' in recipe_of(made).source


def test_a_label_says_its_rule_in_a_sentence() -> None:
    says = [
        (Label(PAID, "fraud"), "'fraud' of 'cards.paid', joined by its id 'payment', up to 1d after the event; "
            "without one there is no label"),
        (
            Label(PAID, key=("card", "shop"), within="30m", absent=False, corrected_for="7d"),
            "True where 'cards.paid' has an event, the first of the same card and shop up to 30m after the event; without one "
            "it is False, which a label up to 7d later corrects",
        ),
        (
            Label(PAID, "amount", key="card", after="10m", within="2m"),
            "'amount' of 'cards.paid', the first of the same card from 10m after the event on, up to 2m later; without one "
            "there is no label",
        ),
    ]  # fmt: skip
    assert [label.sentence for label, _ in says] == [sentence for _, sentence in says]


def test_the_text_of_a_definition_says_the_same_rule() -> None:
    for label in (
        Label(PAID, "fraud"),
        Label(PAID, key="card", within="30m", absent=False, corrected_for="7d"),
        Label(PAID, "fraud", key=["card", "shop"], after="10m", within="2m"),  # type: ignore[arg-type]
    ):
        made = cards(label=label)
        assert rule_of(json.loads(recipe_of(made).source)["label"]) == made.label_rule


@pytest.mark.parametrize(
    ("model", "more", "kind", "target"),
    [
        (linear_model.LogisticRegression(), {}, "binary", "boolean"),
        (tree.HoeffdingTreeClassifier(), {}, "binary", "boolean"),
        (tree.HoeffdingTreeClassifier(), {"task": "multiclass"}, "multiclass", "class"),
        (preprocessing.StandardScaler() | linear_model.LinearRegression(), {}, "regression", "number"),
        (preprocessing.TargetStandardScaler(linear_model.LinearRegression()), {}, "regression", "number"),
        (preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(), {}, "anomaly", "boolean"),
        (anomaly.HalfSpaceTrees(), {"label": None}, "unlabelled", "boolean"),
    ],
)
def test_the_task_is_told_by_the_model(model: Any, more: dict[str, Any], kind: str, target: str) -> None:
    pipeline = parcels(model=model, **more)
    assert (pipeline.kind, pipeline.target_kind, pipeline.labelled) == (kind, target, "label" not in more)
    assert ("task" in pipeline.describe()) == (kind != "binary")
    again = replace(pipeline, inputs=["weight", "age"])
    assert again.kind == kind and again.labelled == pipeline.labelled


def test_without_labels_only_what_is_predicted_and_what_views_read_is_a_source() -> None:
    pipeline = parcels(label=None, model=anomaly.HalfSpaceTrees())
    assert pipeline.sources == [SENT, DELIVERED]
    assert parcels(label=None, views=[], model=anomaly.HalfSpaceTrees()).sources == [SENT]


def test_sources_are_each_named_once_the_predicted_one_first() -> None:
    assert parcels().sources == [SENT, DELIVERED]
    assert cards().sources == [PAID]


def test_the_vector_is_inputs_then_each_views_features() -> None:
    names = [
        "weight",
        "depot.late_3h",
        "depot.done_1h",
        "street.late",
        "street.idle",
        "traffic.sent_1h",
        "traffic.idle",
    ]
    assert parcels().vector_names == names


def test_it_scales_by_partition_only_when_every_view_has_its_sources_key() -> None:
    assert cards().partitioned
    assert not parcels().partitioned
    assert not cards(views=[View("shop", PAID, key="shop", features={"n": count("1h")})]).partitioned
    assert not cards(
        views=[View("both", PAID, key=("card", "shop"), features={"n": count("1h")})]
    ).partitioned
    by_van = [View("van", DELIVERED, key="van", features={"n": count("1h")})]
    assert parcels(views=by_van).partitioned
    other_key = Source(DELIVERED.name, "parcel", "done_at", "depot")
    label = Label(other_key, lambda e: True)
    assert not parcels(
        views=[View("depot", other_key, key="depot", features={"n": count()})], label=label
    ).partitioned


def test_equal_definitions_have_equal_digests() -> None:
    assert parcels().digest == parcels().digest
    assert len(parcels().digest) == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": []},
        {"views": [BY_DEPOT]},
        {"views": [*parcels().views][::-1]},
        {"model": linear_model.LogisticRegression()},
        {"model": preprocessing.StandardScaler() | linear_model.LogisticRegression(l2=0.1)},
        {"label": Label(DELIVERED, lambda e: e["late"] > 16, wait="6h", fields=("late",))},
        {"label": Label(DELIVERED, lambda e: e["late"] > 15, wait="7h", fields=("late",))},
        {"label": Label(DELIVERED, lambda e: e["late"] > 15, wait="6h", fields=("late",), absent=False)},
        {
            "label": Label(
                DELIVERED,
                lambda e: e["late"] > 15,
                wait="6h",
                fields=("late",),
                absent=False,
                corrected_for="1h",
            )
        },
        {"label": Label(DELIVERED, lambda e: e["late"] > 15, within="6h", fields=("late",), key="van")},
        {
            "label": Label(
                DELIVERED, lambda e: e["late"] > 15, within="6h", fields=("late",), key="van", after="1h"
            )
        },
        {"label": Label(DELIVERED, key="van", within="6h")},
        {"label": Label(DELIVERED, "late", wait="6h")},
    ],
)
def test_whatever_changes_a_sample_or_the_model_changes_the_digest(changes: dict[str, Any]) -> None:
    assert parcels(**changes).digest != parcels().digest


def test_what_only_says_how_often_to_alarm_is_not_in_the_digest() -> None:
    assert parcels(alarms_per_year=12, cooldown="2d", approval=True).digest == parcels().digest


@pytest.mark.parametrize(
    "changes", [{"guard": True}, {"guard": "hold"}, {"guard": False}, {"experts": 4}, {"experts": 16}]
)
def test_what_a_guard_does_and_how_many_experts_there_are_is_taken_and_is_not_in_the_digest(
    changes: dict[str, Any],
) -> None:
    made = parcels(**changes)
    assert {name: getattr(made, name) for name in changes} == changes and made.digest == parcels().digest


def test_definitions_are_frozen() -> None:
    for thing, name in ((parcels(), "name"), (SENT, "key"), (parcels().label, "wait")):
        with pytest.raises(AttributeError):
            setattr(thing, name, "other")


def test_a_pipelines_own_fields_say_milliseconds() -> None:
    assert (
        parcels().label.wait_ms,
        SENT.grace_ms,
        SENT.ahead_ms,
        Pipeline.cooldown_ms.__get__(parcels()),
    ) == (
        21_600_000,
        86_400_000,
        3_600_000,
        86_400_000,
    )


@pytest.mark.parametrize(
    ("segments", "why"),
    [
        ("depot", "must be a list of names of fields"),
        ([7], "must be a list of names of fields"),
        (["depot", "depot"], "segment 'depot' is listed twice"),
        (["a", "b", "c", "d", "e"], "5 segments share one budget of alarms; name at most 4"),
        (["parcel"], "segment 'parcel' has another value in every event"),
        (["sent_at"], "segment 'sent_at' has another value in every event"),
    ],
)
def test_segments_that_cannot_be_watched_are_refused_in_a_sentence(segments: Any, why: str) -> None:
    with pytest.raises(DefinitionError, match=f"Pipeline 'parcels': .*{why}"):
        parcels(segments=segments)


def test_a_segment_may_not_be_the_label_of_the_same_event_but_a_field_of_another() -> None:
    with pytest.raises(DefinitionError, match="segment 'fraud' is the label of the same event"):
        cards(segments=["fraud"])
    assert parcels(segments=["late"]).carried == ["late"]


def test_segments_are_part_of_the_digest_and_only_those_beside_the_inputs_need_a_backfill() -> None:
    plain = parcels()
    assert "segments" not in plain.describe()
    said = json.loads(recipe_of(plain).source)
    by_input, by_depot = parcels(segments=["weight"]), parcels(segments=["depot", "weight"])
    assert len({plain.digest, by_input.digest, by_depot.digest}) == 3
    said["partitioned"] = plain.partitioned
    assert changes(said, by_input).others == []
    assert changes(said, by_depot).others == ["segments beside the inputs: [] → ['depot']"]
