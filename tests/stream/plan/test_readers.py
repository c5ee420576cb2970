"""Who breaks: every way in which what is read can change, and laws over generated definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import anomaly, linear_model, preprocessing

from penstock import View, count, last, last_n, max, mean, since_last, sum
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.plan.columns import columns_of
from penstock.stream.plan.entities import entities_in_all
from penstock.stream.plan.fates import fates_of
from penstock.stream.plan.former import former_of, rules_by, said_by
from penstock.stream.plan.readers import Finding, breaks, inputs_of, needed, readers_of
from penstock.stream.recipes import changes
from tests.effort import examples
from tests.stream.generated import DELIVERED, cards, parcels


def found(before: Pipeline, after: Pipeline) -> list[Finding]:
    return readers_of(former_of("former", before), after, rules_by(after))


def levels(before: Pipeline, after: Pipeline) -> set[tuple[str, str]]:
    return {(one.level, one.who) for one in found(before, after)}


def late(event: Any) -> bool:
    return bool(event["late"] > 15)


def very_late(event: Any) -> bool:
    return bool(event["late"] > 60)


def lateness(event: Any) -> float:
    return float(event["late"])


BASE = parcels(label=Label(DELIVERED, late, wait="6h", fields=("late",)))
DEPOT, STREET, TRAFFIC = BASE.views


def with_depot(**features: Any) -> Pipeline:
    return replace(
        BASE, views=[View("depot", DELIVERED, "depot", {**DEPOT.features, **features}), STREET, TRAFFIC]
    )


@pytest.mark.parametrize(
    ("after", "level", "who", "words"),
    [
        (replace(BASE, views=[DEPOT, STREET]), "breaks", "feature documents", "view traffic goes"),
        (with_depot(done_1h=count("2h")), "breaks", "feature documents", "something else under its old name: count over 1h"),
        (with_depot(done_1h=last("street", holds="text")), "breaks", "feature documents", "is text, it was a number"),
        (with_depot(done_1h=last_n("late", 3)), "breaks", "feature documents", "is a list, it was a number"),
        (with_depot(late_3h=mean("late", "3h", default=0)), "breaks", "feature documents", "without events is 0, it was null"),
        (
            replace(BASE, views=[View("depot", DELIVERED, ("depot", "street"), DEPOT.features), STREET, TRAFFIC]),
            "breaks", "feature documents", "view depot is keyed by depot|street, it was by depot",
        ),
        (replace(BASE, views=[DEPOT, STREET, View("traffic", DELIVERED, "depot", TRAFFIC.features)]), "breaks",
         "feature documents", "computed from another topic: parcels.sent → parcels.delivered"),
        (replace(BASE, views=[View("depot", DELIVERED, "depot", DEPOT.features, ttl="7d"), STREET, TRAFFIC]), "look",
         "feature documents", "live for 7d after their last write, they did for 30d"),
        (with_depot(most=max("late", "1d")), "adds", "feature documents", "depot.most is new: max of late over 1d"),
        (with_depot(most=max("late", "1d")), "reload", "readers with definitions", "OtherDefinition for depot"),
        (replace(BASE, inputs=[]), "breaks", "models from outside, training sets", "inputs go: weight"),
        (replace(BASE, inputs=["weight", "hour"]), "breaks", "serving over HTTP", "a request without hour is refused"),
        (replace(BASE, inputs=["weight", "hour"]), "look", "producers", "events of parcels.sent must hold hour"),
        (replace(BASE, views=[TRAFFIC, DEPOT, STREET]), "look", "models from outside, training sets", "in another order"),
        (replace(BASE, label=Label(DELIVERED, very_late, wait="6h", fields=("late",))), "breaks", "predictions",
         "another question"),
        (replace(BASE, label=Label(DELIVERED, lateness, wait="6h", fields=("late",)),
                 model=preprocessing.StandardScaler() | linear_model.LinearRegression()), "breaks", "predictions",
         "another task, so the fields of a prediction mean something else: binary → regression"),
        (replace(BASE, interval=0.9), "adds", "predictions", "they gain `interval` or `set`"),
        (replace(BASE, output_format="avro"), "breaks", "predictions", "they are written in avro, it was json"),
        (replace(BASE, calibrate=True), "adds", "predictions", "they gain `calibrated`"),
    ],
)  # fmt: skip
def test_a_change_of_what_is_read_is_told_to_whoever_reads_it(
    after: Pipeline, level: str, who: str, words: str
) -> None:
    told = [one for one in found(BASE, after) if words in one.what]
    assert [(one.level, one.who) for one in told] == [(level, who)], found(BASE, after)


def test_what_predictions_say_beside_is_missed_when_it_goes() -> None:
    sure = replace(BASE, interval=0.9, calibrate=True)
    assert levels(sure, BASE) == {("breaks", "predictions")}
    (wider,) = found(sure, replace(sure, interval=0.8))
    assert wider.level == "look" and "hold 0.8 of the labels, it was 0.9" in wider.what


def test_predictions_are_keyed_by_the_predicted_source() -> None:
    keyed = Source("parcels.sent", id="parcel", time="sent_at", key="depot")
    after = replace(BASE, predict=keyed, views=[DEPOT, STREET, replace(TRAFFIC, source=keyed)])
    assert "records are keyed by depot, they were by van" in [one.what for one in found(BASE, after)]


def test_no_labels_any_more_is_another_question() -> None:
    before = cards()
    after = cards(label=None, model=anomaly.HalfSpaceTrees(seed=1))
    assert ("breaks", "predictions") in levels(before, after)


def test_what_only_learn_goes_by_breaks_nobody() -> None:
    for after in (
        replace(BASE, experts=9),
        replace(BASE, label=Label(DELIVERED, late, wait="9h", fields=("late",))),
    ):
        assert found(BASE, after) == []
        assert {one.thing: one.becomes for one in fates_of(former_of("", BASE), after, rules_by(after))}[
            "model"
        ] == "refit"


def test_a_stored_description_says_the_same_names_as_the_definition() -> None:
    for pipeline in (BASE, cards(), replace(BASE, segments=["van", "weight"])):
        said = said_by(pipeline)
        assert inputs_of(said) == pipeline.vector_names
        fields = needed(said)
        assert set(fields) == {source.name for source in pipeline.sources}
        assert {"sent_at", "parcel", "van"} <= set(fields.get("parcels.sent", ["sent_at", "parcel", "van"]))


# -- laws ---------------------------------------------------------------------------------------------------------------------

KINDS = st.sampled_from(
    [
        count("1h"),
        count("6h"),
        mean("late", "3h"),
        mean("late", "1d"),
        sum("late"),
        last("late"),
        since_last(),
        max("late", "12h"),
    ]
)
NAMES = st.sampled_from(["a", "b", "c", "d"])
FEATURES = st.dictionaries(NAMES, KINDS, min_size=1)
VIEWS = st.dictionaries(
    st.sampled_from(["one", "two"]), st.tuples(FEATURES, st.sampled_from(["depot", "van"])), min_size=1
)


def defined(views: dict[str, tuple[dict[str, Any], str]]) -> Pipeline:
    return replace(
        BASE, views=[View(name, DELIVERED, key, features) for name, (features, key) in views.items()]
    )


@given(VIEWS, VIEWS)
@settings(max_examples=examples(150))
def test_every_column_has_one_fate_and_it_is_that_of_the_change(before: Any, after: Any) -> None:
    old, new = defined(before), defined(after)
    said, change = said_by(old), changes(said_by(old), new)
    columns = columns_of(said, new, change)
    by_name = {one.name: one.fate for one in columns}
    assert len(by_name) == len(columns)
    was = {f"{view.name}.{name}" for view in old.views for name in view.features}
    will = {f"{view.name}.{name}" for view in new.views for name in view.features}
    assert {name for name, fate in by_name.items() if fate != "dropped"} == will
    assert {name for name, fate in by_name.items() if fate == "dropped"} == was - will
    rebuilt = {f"{view.name}.{name}" for view in change.views for name in view.rebuilt}
    assert {name for name, fate in by_name.items() if fate == "rebuilt"} == rebuilt
    assert all(one.why for one in columns if one.fate == "rebuilt")


@given(VIEWS, VIEWS)
@settings(max_examples=examples(150))
def test_readers_break_exactly_if_something_they_had_is_gone_or_something_else_or_they_are_asked_for_more(
    before: Any, after: Any
) -> None:
    old, new = defined(before), defined(after)
    told = found(old, new)
    is_more = all(
        name in after
        and after[name][1] == key
        and all(after[name][0].get(one) is not None and after[name][0][one].describe() == feature.describe()
                for one, feature in features.items())
        for name, (features, key) in before.items()
    )  # fmt: skip
    keys, now = ({key for _, key in views.values()} for views in (before, after))
    # Who asks for a prediction names each view's key; the van is the topic's own.
    asks_more = bool(now - keys - {"van"})
    assert breaks(told) is (asks_more or not is_more)
    if not changes(said_by(old), new).views:
        assert not breaks(told) and not any(one.level == "reload" for one in told)


@given(VIEWS)
@settings(max_examples=examples(50))
def test_the_same_definition_changes_nothing_for_anybody(views: Any) -> None:
    one, again = defined(views), defined(views)
    assert found(one, again) == []
    assert {fate.becomes for fate in fates_of(former_of("", one), again, rules_by(again))} == {"kept"}


@given(st.sets(st.integers(0, 40).map(str)), st.sets(st.integers(0, 40).map(str)), st.integers(0, 200))
def test_there_are_never_fewer_entities_than_were_seen(first: set[str], second: set[str], more: int) -> None:
    seen = len(first | second)
    estimate = entities_in_all(first, second, seen + more)
    assert seen <= estimate <= seen + more
    assert entities_in_all(first, first, seen + more) == len(first)


def test_the_number_of_entities_that_come_alike_is_met() -> None:
    import random

    chance = random.Random(1)
    halves = [{str(chance.randrange(4_000)) for _ in range(3_000)} for _ in range(2)]
    assert 3_600 < entities_in_all(halves[0], halves[1], 10**9) < 4_400
