"""Data quality as it is told: what is found of a stream of samples, labels and ticks, and what is done about it."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from river import anomaly

from penstock import Quality
from penstock.stream.definitions import DefinitionError, Label, Pipeline
from penstock.stream.detectors.check import RESERVED
from penstock.stream.learn.drift import DriftRules
from penstock.stream.learn.expert import Answer
from penstock.stream.learn.join_by_id import JoinById
from penstock.stream.learn.records import Pending, rules
from penstock.stream.learn.watching.quality import DataQuality
from penstock.stream.learn.watching.watcher import Finding
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample, Tick
from penstock.stream.quality import OFF, SHARES
from tests.stream.generated import DAY, DELIVERED, HOUR, MINUTE, START_MS, parcels

DAYS = 35
FROM, TO = START_MS + 31 * DAY, START_MS + 34 * DAY


def pipeline(**changes: Any) -> Pipeline:
    return parcels(**{"inputs": ["weight", "depot"], "alarms_per_year": 1.0, **changes})


Change = Callable[[int, str, int, list[Any]], list[tuple[str, int, list[Any]]]]


def unchanged(at: int, event_id: str, came: int, x: list[Any]) -> list[tuple[str, int, list[Any]]]:
    """What becomes of a sample: (its id, the time of its label or -1, its inputs), as often as it is sent."""
    return [(event_id, came, x)]


def log(change: Change = unchanged, days: int = DAYS) -> list[Entry]:
    """A parcel every two minutes, delivered after two or three hours, and a tick an hour."""
    chance = random.Random(5)
    timed: list[tuple[int, int, Entry]] = []
    origin = Origin("t", 0, 0)
    for n in range(days * 720):
        at = START_MS + n * 2 * MINUTE + chance.randrange(MINUTE)
        came = at + chance.randrange(2 * HOUR, 3 * HOUR)
        x = [round(chance.gauss(5, 2), 1), f"d{chance.randrange(5)}"]
        sent = change(at, f"p{n}", came, x) if FROM <= at < TO else unchanged(at, f"p{n}", came, x)
        for event_id, label_at, inputs in sent:
            timed.append((at, len(timed), Sample(origin, event_id, "k", at, inputs)))
            if label_at >= 0:
                timed.append((label_at, len(timed), LabelRecord(origin, event_id, label_at, True)))
    for hour in range(days * 24):
        at = START_MS + hour * HOUR
        timed.append((at, -1, Tick({"parcels.sent/0": at}, [], at, 1)))
    return [entry for _, _, entry in sorted(timed, key=lambda one: one[:2])]


def found(
    entries: list[Entry], asked: Pipeline, step: Callable[[DataQuality], DataQuality] = lambda one: one
) -> Iterator[Finding]:
    """What the watcher finds, driven as the fold drives it."""
    watch, join = DataQuality(asked), JoinById[Pending](asked.label_rule)
    for position, entry in enumerate(entries):
        if isinstance(entry, Sample):
            yield from watch.sample(entry.at, position, entry, 0.5)
            waits = Pending({}, entry.at, position, position, 0.5, 0.5, Answer((), (), 0.5))  # type: ignore[arg-type]
            settled = join.sample(entry.id, waits)
        elif isinstance(entry, LabelRecord):
            yield from watch.arrived(entry.at, position, entry)
            settled = join.label(position, entry)
        elif isinstance(entry, Tick):
            settled = join.tick(entry)
            yield from watch.tick(join.clock, position)
        for one in settled:
            if one.y is not None:
                yield from watch.label(max(one.at, one.waits.at), position, one.waits, one.y, 0.1, 0.1)
        if position % 5_000 == 0:
            watch = step(watch)


@cache
def told(name: str) -> list[Finding]:
    return list(found(log(CHANGES[name]), pipeline()))


CHANGES: dict[str, Change] = {
    "none": unchanged,
    "unseen": lambda at, name, came, x: [(name, came, [x[0], "D1" if x[1] == "d1" else x[1]])],
    "stuck": lambda at, name, came, x: [(name, came, [4.2, x[1]])],
    "duplicates": lambda at, name, came, x: [(name, came, x), (name, -1, x)],
    "volume": lambda at, name, came, x: [],
    "label_rate": lambda at, name, came, x: [(name, -1, x)],
    "label_delay": lambda at, name, came, x: [(name, at + 2 * (came - at), x)],
}


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "none"])
def test_each_kind_is_found_alone_from_where_it_began(name: str) -> None:
    first, *others = [one for one in told(name) if one.transition.monitor == name]
    transition = first.transition
    beside = {one.transition.monitor for one in told(name)} - {name}
    # for as long as labels take longer than they did, none come
    assert beside <= ({"label_rate"} if name == "label_delay" else set())
    assert transition.state == "firing"
    late = 3 * HOUR if name == "label_rate" else 0  # the labels that do not come would have come by then
    assert abs(transition.since_ms - FROM - late) <= 5 * HOUR
    assert transition.at_ms < FROM + 2 * DAY
    if name != "volume":  # where nothing comes, the log stands still
        assert told("none") == [] and transition.since_position > 0.8 * len(log())
    fork = name in ("unseen", "stuck")
    silent = transition.detail.get("side") == "silent"
    assert first.forks == fork
    assert first.verb == ("alert" if fork or silent else "warn")
    assert ("labels decide which is believed" in first.reason) == fork
    assert all(one.verb == "note" and not one.forks for one in others if one.transition.state == "resolved")


@pytest.mark.parametrize("name", ["unseen", "duplicates"])
def test_samples_whose_values_are_known_are_passed_over_with_the_same_findings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, follow = told(name), DataQuality._follow

    def suspicious(watch: DataQuality) -> None:
        follow(watch)
        watch.alarmed = True

    monkeypatch.setattr(DataQuality, "_follow", suspicious)
    assert list(found(log(CHANGES[name]), pipeline())) == expected
    assert {one.transition.state for one in expected} == {"firing", "resolved"}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert told("none") == []


def test_the_sentences_say_what_how_much_and_what_is_usual() -> None:
    reasons = {one.transition.monitor: one.reason for name in CHANGES for one in reversed(told(name))}
    assert (
        reasons["unseen"].startswith("depot has values never seen before, in ")
        and "'D1'" in reasons["unseen"]
    )
    assert reasons["stuck"].startswith("weight is 4.2 in ") and ", usually in " in reasons["stuck"]
    assert reasons["duplicates"].startswith("parcels.sent sends events twice: ")
    assert (
        reasons["volume"].startswith("parcels.sent is silent: 3")
        and "should have come since" in reasons["volume"]
    )
    assert reasons["label_rate"].startswith("no labels come from parcels.delivered: ")
    assert "come later: half of them after" in reasons["label_delay"]
    assert ", usually 2 h " in reasons["label_delay"]
    assert told("duplicates")[-1].reason == "parcels.sent no longer sends events twice"


@pytest.mark.parametrize("name", ["unseen", "volume", "label_delay", "duplicates"])
def test_a_watcher_stored_in_the_middle_and_a_second_reading_find_the_same(name: str) -> None:
    stored = found(log(CHANGES[name]), pipeline(), lambda one: pickle.loads(pickle.dumps(one)))
    assert list(stored) == told(name) != []


def test_a_detector_of_ones_own_may_not_take_these_names() -> None:
    assert set(SHARES) <= RESERVED


def test_what_is_asked_is_done() -> None:
    entries = log(CHANGES["unseen"])
    told_only = list(found(entries, pipeline(quality=Quality(unseen="tell"))))
    assert [(one.verb, one.forks) for one in told_only][:1] == [("warn", False)]
    assert list(found(entries, pipeline(quality=Quality(unseen="off")))) == []
    twice = log(CHANGES["duplicates"])
    doubled = list(found(twice, pipeline(quality=Quality(duplicates="off", volume="fork"))))
    assert [one.forks for one in doubled if one.transition.monitor == "volume"][:1] == [True]


def test_a_fork_keeps_the_leader_and_telling_does_not() -> None:
    for asked, fired in ((Quality(), True), (Quality(unseen="tell"), False)):
        definition = pipeline(quality=asked)
        watch = DriftRules(definition, definition.vector_names, guard=False)
        for position, entry in enumerate(log(CHANGES["unseen"])):
            if isinstance(entry, Sample):
                for watcher in watch.watchers.of_samples:
                    watch.hear(watcher.sample(entry.at, position, entry, 0.5))
        first = next(one.event for one in watch.requests if one.event.data.kind == "unseen")
        assert watch.fired is fired
        assert first.type == ("penstock.alert" if fired else "penstock.warn")
        assert first.data.suggested_action == "none" and first.data.detector["subject"] == "depot"
        assert first.data.detector["params"]["alarms_per_year"] == pytest.approx(0.05)


def test_labels_by_key_have_a_volume_and_no_delay_and_without_labels_neither_is_watched() -> None:
    by_key = DataQuality(pipeline(label=Label(DELIVERED, key="van", within="6h", absent=False)))
    assert by_key.by_id is None and by_key.delay is None and by_key.by_key is not None
    none = DataQuality(pipeline(label=None, inputs=["weight"], model=anomaly.HalfSpaceTrees()))
    assert none.by_id is None and none.by_key is None and none.delay is None and none.volume is not None


def test_what_a_definition_says_of_quality_is_checked_and_is_a_rule_of_the_fold() -> None:
    with pytest.raises(DefinitionError, match='Quality: volume must be "tell", "fork" or "off", not True'):
        Quality(volume=True)  # type: ignore[arg-type]
    with pytest.raises(
        DefinitionError, match=r"Pipeline 'parcels': quality must be True, False, or which kinds"
    ):
        pipeline(quality="tell")
    assert pipeline().digest == pipeline(quality=False).digest
    said = {rules(pipeline(quality=one), guard=True) for one in (True, False, Quality(stuck="off"))}
    assert len(said) == 3
    assert rules(pipeline(quality=Quality()), guard=True) == rules(pipeline(), guard=True)
    assert pipeline(quality=False).asked_quality == OFF
    watch = DriftRules(pipeline(quality=False), pipeline().vector_names, guard=False)
    assert not any(isinstance(one, DataQuality) for one in watch.watchers.all)
