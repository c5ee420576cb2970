"""What-if over histories that the real roles lived: the same definition differs by nothing, another as it would have run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count as numbers
from typing import Any
from xml.etree import ElementTree

import pytest
from river import linear_model, preprocessing, stream, tree

import penstock
from penstock import View, count
from penstock.stream import topology
from penstock.stream.cli.what_if import Progress, lines
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn.engine import probability
from penstock.stream.learn.learner import vector
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, Sample, decode_entry, encode_entry
from penstock.stream.operate.recipe_change import CannotCompare
from penstock.stream.prediction import decode_prediction
from penstock.stream.process.settings import Settings
from penstock.stream.roles.what_if import WhatIf, what_if
from tests.stream.generated import (
    DELIVERED,
    HOUR,
    PAID,
    START_MS,
    card_events,
    cards,
    outs,
    parcel_events,
    parcels,
)
from tests.stream.lived import lived
from tests.stream.naive_flow import everything

EVENTS = 900


def late(event: Any) -> bool:
    """Named, and not a lambda of one place: every pipeline here means the same by its label."""
    return bool(event["late"] > 15)


def fraud(event: Any) -> bool:
    return bool(event["fraud"])


LATE = Label(DELIVERED, late, wait="6h", fields=("late",))
FRAUD = Label(PAID, fraud, wait="1h", fields=("fraud",))


def parcels_with(**changes: Any) -> Pipeline:
    return parcels(**{"label": LATE, **changes})


def in_turn(pipeline: Pipeline, events: list[Out], log: MemoryLog | None = None) -> MemoryLog:
    """The log that the roles leave behind, every look at the clock ten milliseconds later."""
    wall = numbers(1_700_000_000_000, 10)
    return lived(pipeline, events, clock=lambda: next(wall), log=log)


PARCELS = outs(parcel_events(EVENTS))


@pytest.fixture(scope="module")
def history() -> MemoryLog:
    return in_turn(parcels_with(), PARCELS)


def asked(changed: Any, log: Any, **options: Any) -> WhatIf:
    return what_if(changed, log=log, settings=Settings(), **options)


def predictions(log: MemoryLog, name: str = "parcels") -> dict[str, float]:
    made = [decode_prediction(record.value or b"") for record in everything(log, topology.predictions(name))]
    return {one.id: one.prediction for one in made}


def changed_side(found: WhatIf) -> dict[str, float]:
    of = found.labels()
    return dict(zip(of["event_id"], of["changed"], strict=True))


def compared(made: dict[str, float], found: WhatIf) -> dict[str, float]:
    return {event_id: made[event_id] for event_id in found.labels()["event_id"]}


# -- the two sides ---------------------------------------------------------------------------------------------------------


def test_the_same_definition_differs_by_exactly_nothing(history: MemoryLog) -> None:
    found = asked(parcels_with(), history)
    assert found.changes == [] and not found.recomputed
    assert len(found.columns) > 0.8 * EVENTS and found.labels()["live"] == found.labels()["changed"]
    assert all(row["difference"] == 0 and row["low"] == row["high"] == 0 for row in found.rows)
    assert found.verdict.endswith("there is no difference.")


@pytest.mark.parametrize("partitioned", [False, True])
def test_samples_that_are_computed_anew_are_those_that_were_logged(partitioned: bool) -> None:
    """A card whose payments lie in both partitions is two cards to tasks that own one each, then and now."""
    of = cards(label=FRAUD) if partitioned else parcels_with()
    payments = [out._replace(partition=place % 2) for place, out in enumerate(outs(card_events(EVENTS)))]
    log = in_turn(of, payments if partitioned else PARCELS)
    found = asked(of, log, recompute=True)
    assert found.recomputed and len(found.columns) > 0.8 * EVENTS
    assert found.labels()["live"] == found.labels()["changed"]


ANOTHER = {
    "another model": {"model": preprocessing.StandardScaler() | linear_model.Perceptron()},
    "a tree": {"model": tree.HoeffdingTreeClassifier(grace_period=50)},
    "a view removed": {"views": parcels().views[1:]},
    "a view added": {
        "views": [*parcels().views, View("van", DELIVERED, key="van", features={"done": count("2h")})]
    },
    "an input removed": {"inputs": []},
    "another wait": {"label": replace(LATE, wait="1h")},
}


@pytest.mark.parametrize("what", ANOTHER)
def test_a_changed_definition_says_what_it_says_when_it_runs(what: str, history: MemoryLog) -> None:
    changed = parcels_with(**ANOTHER[what])
    found = asked(changed, history)
    made = predictions(in_turn(changed, PARCELS))
    assert len(found.columns) > 0.8 * EVENTS and changed_side(found) == compared(made, found)
    assert found.labels()["live"] == list(compared(predictions(history), found).values())
    assert found.labels()["live"] != found.labels()["changed"] and found.changes
    assert found.recomputed == (what in ("a view removed", "a view added", "an input removed"))


def test_an_input_that_is_added_is_read_from_the_events() -> None:
    log = in_turn(parcels_with(inputs=[]), PARCELS)
    found = asked(parcels_with(), log)
    assert found.recomputed and "inputs" in found.changes[0]
    assert changed_side(found) == compared(predictions(in_turn(parcels_with(), PARCELS)), found)
    assert found.rows[0]["difference"] < -0.02, "weight is what makes a parcel late"


def test_what_is_better_is_said_to_be_and_what_is_worse() -> None:
    poor, good = cards(label=FRAUD, inputs=[]), cards(label=FRAUD)
    events = outs(card_events(2_500))
    for live, changed, word, side in ((poor, good, "better", "less"), (good, poor, "worse", "more")):
        found = asked(changed, in_turn(live, events))
        assert found.rows[0]["clear"], found.verdict
        assert f"nats a label {side}" in found.verdict and f"it is {word}" in found.verdict


def test_a_model_alone_is_what_river_makes_of_it(history: MemoryLog) -> None:
    """River's own question and answer loop, with the delays that the labels had."""
    changed = parcels_with(model=preprocessing.StandardScaler() | linear_model.LogisticRegression(l2=0.01))
    found = asked(changed, history, alone=True)
    samples, done = {}, {}
    for record in everything(history, topology.samples("parcels")):
        entry = decode_entry(record.value or b"")
        if isinstance(entry, Sample):
            samples[entry.id] = entry
        elif hasattr(entry, "y"):
            done[entry.id] = entry
    never = timedelta(days=1_000)
    rows = [({"id": one.id}, id_ in done and done[id_].y) for id_, one in samples.items()]

    def delay(x: dict[str, Any], _: Any) -> timedelta:
        label = done.get(x["id"])
        return never if label is None else timedelta(milliseconds=label.at - samples[x["id"]].at)

    def moment(x: dict[str, Any]) -> datetime:
        return datetime.fromtimestamp(samples[x["id"]].at / 1000, UTC)

    model, made = changed.model.clone(), {}
    names = changed.vector_names
    for _, x, y in stream.simulate_qa(rows, moment, delay):
        told = vector(names, samples[x["id"]].x)
        if y is None:
            made[x["id"]] = probability(model, told)
        elif x["id"] in done:
            model.learn_one(told, y)
    assert changed_side(found) == compared(made, found)


def test_against_a_former_definition_both_sides_are_folded_again(history: MemoryLog) -> None:
    former, changed = parcels_with(), parcels_with(**ANOTHER["a view removed"])
    found = asked(changed, history, against=former)
    as_made = asked(changed, history)
    assert found.labels() == as_made.labels() and found.live != as_made.live
    alone = asked(former, history, against=former, alone=True)
    assert (
        alone.labels()["live"]
        == alone.labels()["changed"]
        == list(compared(changed_side(asked(former, history, alone=True)), alone).values())
    )


# -- histories as they are --------------------------------------------------------------------------------------------------


def test_nothing_is_written_and_no_group_hears_of_it(history: MemoryLog) -> None:
    def stands() -> Any:
        ends = {
            name: history.bounds([(name, n) for n in range(size)]) for name, size in history.topics().items()
        }
        return ends, {name: dict(group.offsets) for name, group in history._groups.items()}

    before = stands()
    asked(parcels_with(**ANOTHER["a view removed"]), history, by="depot")
    asked(parcels_with(**ANOTHER["a tree"]), history, alone=True)
    assert stands() == before


def test_predictions_that_are_gone_are_counted_and_folded_again_on_request() -> None:
    log = in_turn(parcels_with(), PARCELS)
    whole = asked(parcels_with(**ANOTHER["a tree"]), log)
    log.trim(topology.predictions("parcels"), 0, EVENTS // 2)
    found = asked(parcels_with(**ANOTHER["a tree"]), log)
    assert found.left.not_live == EVENTS // 2
    assert found.labels()["event_id"] == whole.labels()["event_id"][-len(found.columns) :]
    assert asked(parcels_with(**ANOTHER["a tree"]), log, against=parcels_with()).labels() == whole.labels()


def test_a_range_is_the_whole_cut_out(history: MemoryLog) -> None:
    whole = asked(parcels_with(**ANOTHER["a view removed"]), history)
    at = whole.labels()["at"]
    start, stop = at[200], at[500]
    wanted = [n for n, one in enumerate(at) if start <= one < stop]
    for options in ({}, {"recompute": True}):
        found = asked(parcels_with(**ANOTHER["a view removed"]), history, start=start, stop=stop, **options)
        assert found.labels() == {name: [of[n] for n in wanted] for name, of in whole.labels().items()}
    model = asked(parcels_with(**ANOTHER["a tree"]), history)
    cut = asked(
        parcels_with(**ANOTHER["a tree"]), history, start=datetime.fromtimestamp(start / 1000, UTC), stop=stop
    )
    assert cut.labels()["changed"] == [model.labels()["changed"][n] for n in wanted]


def test_a_range_has_the_events_that_came_out_of_order() -> None:
    shuffled = list(PARCELS)
    for place in range(0, len(shuffled) - 60, 60):
        shuffled[place], shuffled[place + 50] = shuffled[place + 50], shuffled[place]
    log, changed = in_turn(parcels_with(), shuffled), parcels_with(**ANOTHER["a view removed"])
    whole = asked(changed, log).labels()
    for stop in whole["at"][100::75]:
        found = asked(changed, log, stop=stop)
        assert found.left.not_changed == 0
        assert found.labels()["event_id"] == [
            event_id for event_id, at in zip(whole["event_id"], whole["at"], strict=True) if at < stop
        ]


def test_commands_of_the_former_models_are_passed_over() -> None:
    log = in_turn(parcels_with(), PARCELS)
    hold = Command(id="c1", verb="hold", reason="told to", by="ann")
    log.append([Out(topology.samples("parcels"), None, encode_entry(hold))])
    more = [out for out in outs(parcel_events(EVENTS + 300)) if out not in PARCELS]
    log = in_turn(parcels_with(), more, log)
    changed = parcels_with(**ANOTHER["a tree"])
    found = asked(changed, log)
    made = predictions(in_turn(changed, more, in_turn(changed, PARCELS)))
    assert len(found.columns) > EVENTS and changed_side(found) == compared(made, found)
    same = asked(parcels_with(), log)
    assert same.labels()["live"] == same.labels()["changed"], "its own commands it follows"
    again = asked(parcels_with(), log, against=parcels_with())
    assert again.labels()["live"] == again.labels()["changed"] != same.labels()["live"], (
        "neither side follows them"
    )


def test_a_history_of_several_recipes_is_read_on_as_the_changed_definition() -> None:
    tree_ = parcels_with(**ANOTHER["a tree"])
    more = [out for out in outs(parcel_events(EVENTS + 300)) if out not in PARCELS]
    log = in_turn(tree_, more, in_turn(parcels_with(), PARCELS))
    changed = parcels_with(model=preprocessing.StandardScaler() | linear_model.LogisticRegression(l2=0.01))
    found = asked(changed, log)
    assert "2 recipes" in found.notes[0] and not found.recomputed
    assert changed_side(found) == compared(
        predictions(in_turn(changed, more, in_turn(changed, PARCELS))), found
    )


def test_a_definition_that_came_back_is_the_one_that_its_history_ended_with() -> None:
    tree_, more = parcels_with(**ANOTHER["a tree"]), outs(parcel_events(EVENTS + 300))[len(PARCELS) - 60 :]
    log = in_turn(parcels_with(), more, in_turn(tree_, more[:200], in_turn(parcels_with(), PARCELS)))
    assert asked(parcels_with(), log).changes == [] and asked(tree_, log).changes != []
    assert asked(tree_, log, stop=asked(tree_, log).labels()["at"][100]).changes != []


def test_a_trimmed_samples_log_is_said_and_needs_its_recipe() -> None:
    log = in_turn(parcels_with(), PARCELS)
    log.trim(topology.samples("parcels"), 0, 500)
    changed = parcels_with(**ANOTHER["a tree"])
    with pytest.raises(CannotCompare, match="--against"):
        asked(changed, log)
    found = asked(changed, log, against=parcels_with())
    assert "records 0 to 499" in found.notes[0] and len(found.columns) > 100
    assert found.labels()["live"] != found.labels()["changed"]
    assert len(set(found.labels()["changed"])) > 50, "it learns"


@pytest.mark.parametrize(
    ("changed", "options", "words"),
    [
        (
            parcels_with(label=replace(LATE, outcome=lambda event: event["late"] > 30)),
            {},
            "different questions",
        ),
        (parcels_with(), {"start": 5, "stop": 5}, "nothing lies between"),
        (parcels_with(), {"stop": START_MS - 1}, "no sample in this range"),
        (parcels_with(), {"start": "yesterday"}, "neither milliseconds"),
        (parcels_with(), {"against": cards()}, "belongs to one pipeline"),
        (parcels_with(), {"by": "colour"}, "neither an input"),
    ],
)
def test_what_cannot_be_compared_is_said(changed: Any, options: Any, words: str, history: MemoryLog) -> None:
    with pytest.raises(CannotCompare, match=words):
        asked(changed, history, **options)


# -- what comes of it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["weight", "key", "depot", "traffic.sent_1h"])
def test_months_and_segments_sum_to_the_whole(by: str) -> None:
    log = in_turn(parcels_with(), outs(parcel_events(1_500, depots=3)), None)
    found = asked(parcels_with(**ANOTHER["a view removed"]), log, by=by)
    whole, *rest = found.rows
    of = found.labels()
    assert set(of["segment"]) >= ({"d0", "d1", "d2"} if by == "depot" else set())
    for part in ("month", by):
        rows = [row for row in rest if row["part"] == part]
        assert sum(row["labels"] for row in rows) == whole["labels"] == len(found.columns)
        for name in ("difference", "live_loss", "changed_loss"):
            total = math.fsum(row[name] * row["labels"] for row in rows)
            assert math.isclose(total, whole[name] * whole["labels"], abs_tol=1e-6)
    gaps = [after - before for before, after in zip(of["live_loss"], of["changed_loss"], strict=True)]
    assert math.isclose(whole["difference"], math.fsum(gaps) / len(gaps), abs_tol=1e-12)
    assert (len({row["value"] for row in rest if row["part"] == "month"}) > 1) == (
        of["at"][-1] > START_MS + 17 * 24 * HOUR
    )


def test_json_rows_frame_and_picture_say_the_same(history: MemoryLog) -> None:
    found = asked(parcels_with(**ANOTHER["a tree"]), history, by="depot")
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["parts"] == found.rows and told["verdict"] == found.verdict
    assert (
        sum(told["left"][name] for name in ("not_live", "not_changed", "unlabelled", "waiting"))
        + len(found.columns)
        == told["left"]["samples"]
        == EVENTS
    )
    drawn = ElementTree.fromstring(found.svg())
    assert drawn.tag.endswith("svg") and found.svg() == found._repr_svg_()
    shown = "\n".join(lines(found))
    assert found.verdict in shown and "depot d0" in shown and f"{len(found.columns):,} of {EVENTS}" in shown
    pytest.importorskip("pyarrow")
    frame = found.frame()
    rows = frame.to_pylist() if hasattr(frame, "to_pylist") else frame.to_dict("records")
    assert rows == found.rows
    assert len(found.frame(labels=True)) == len(found.columns)


def test_nothing_in_common_is_said_and_drawn_too() -> None:
    log = in_turn(parcels_with(), PARCELS)
    log.trim(topology.predictions("parcels"), 0, EVENTS)
    found = asked(parcels_with(**ANOTHER["a tree"]), log)
    assert found.rows == [] and "nothing to compare" in found.verdict and found.left.not_live == EVENTS
    assert ElementTree.fromstring(found.svg()) is not None and lines(found)[0] == found.verdict
    assert "penstock bootstrap" in found.verdict and "--against FILE" in found.verdict
    assert "computed anew from the topics" not in found.verdict
    anew = asked(parcels_with(**ANOTHER["a tree"]), log, recompute=True)
    assert anew.rows == [] and "computed anew from the topics" in anew.verdict
    folded = asked(parcels_with(**ANOTHER["a tree"]), log, against=parcels_with())
    assert folded.rows and "penstock bootstrap" not in folded.verdict, "what it says to do helps"


def test_it_is_a_word_of_the_package_that_brings_nothing_until_it_is_used() -> None:
    assert penstock.what_if is what_if and "what_if" in penstock.__all__
    with pytest.raises(AttributeError, match="no attribute 'what_of'"):
        _ = penstock.what_of


def test_progress_is_told_of_every_stage(history: MemoryLog, capsys: Any) -> None:
    asked(parcels_with(**ANOTHER["a view removed"]), history, progress=Progress().say)
    told = capsys.readouterr().err
    for stage in (
        "reading the samples log",
        "reading predictions",
        "computing samples of the changed one",
        "joining labels",
    ):
        assert f"{stage}: " in told
