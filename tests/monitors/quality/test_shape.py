"""The shape of events: new fields, lost ones and other types are found; what is there now and then may be absent as it was."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.rare import Rare
from penstock.monitors.quality.shape import (
    ABSENT_MOST,
    ACCEPTED_LOOKS,
    EPOCH_LOOKS,
    MOST_FIELDS,
    Shape,
)
from tests.effort import examples

MINUTE_MS = 60_000
Fields = dict[str, str]
KIND_NAMES = ["text", "number", "null", "object"]
USUAL: Fields = {"note": "text", "price": "number", "tags": "list"}


def told(
    looks: list[Fields], step: Callable[[Shape], Shape] = lambda one: one, shape: Shape | None = None
) -> list[Transition]:
    """All that was found; a look a minute, at positions ten times the look's number."""
    shape = shape or Shape("sent", 0.05)
    found: list[Transition] = []
    for number, fields in enumerate(looks, 1):
        found += shape.look(number * MINUTE_MS, 10 * number, fields)
        if number % 70 == 0:
            shape = step(shape)
    return found


def usual(number: int, seed: int = 1, optional: float = 0.3) -> list[Fields]:
    chance = random.Random(seed)
    return [USUAL | ({"gift": "text"} if chance.random() < optional else {}) for _ in range(number)]


def without(name: str) -> Fields:
    return {field: kind for field, kind in USUAL.items() if field != name}


CHANGES: dict[str, tuple[Fields, Any]] = {
    "new": (USUAL | {"x": "text"}, {"x": ["text"]}),
    "lost": (without("price"), {"price": ["number", "absent"]}),
    "type": (USUAL | {"price": "text"}, {"price": ["number", "text"]}),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_of_the_shape_is_found_from_its_first_look_and_over_when_it_is_taken_back(kind: str) -> None:
    changed, named = CHANGES[kind]
    fired, over = told([*[USUAL] * 2_100, *[changed] * 300, *[USUAL] * 300])
    assert (fired.monitor, fired.subject, fired.state) == ("schema", f"sent: {kind}", "firing")
    assert (fired.since_ms, fired.since_position) == (2_101 * MINUTE_MS, 21_010)
    assert fired.position <= 10 * (2_100 + 8)
    assert fired.detail["fields"] == named
    assert (over.subject, over.state) == (fired.subject, "resolved")
    assert 24_000 < over.position < 27_000


def test_a_field_that_becomes_null_is_lost_and_says_so() -> None:
    (fired,) = told([*[USUAL] * 1_500, *[USUAL | {"tags": "null"}] * 100])
    assert (fired.subject, fired.detail["fields"]) == ("sent: lost", {"tags": ["list", "null"]})


def test_fields_lost_together_are_one_episode_and_it_is_over_when_all_are_back() -> None:
    looks = [*[USUAL] * 1_500, *[{"note": "text"}] * 100, *[without("tags")] * 400, *[USUAL] * 400]
    fired, over = told(looks)
    assert fired.detail["fields"] == {"price": ["number", "absent"], "tags": ["list", "absent"]}
    assert over.state == "resolved" and over.position > 20_000


def test_a_field_that_is_there_now_and_then_may_be_absent_as_it_was_and_is_missed_when_it_stays_away() -> (
    None
):
    for share in (0.5, 0.7, 0.97):
        before = usual(6_000, optional=share)
        assert told(before) == []
        (fired,) = told([*before, *[USUAL] * 240])
        assert fired.detail["fields"] == {"gift": ["text", "absent"]}
    rare = usual(6_000, optional=0.2)
    assert told([*rare, *[USUAL] * 900]) == []


def test_what_lasts_is_usual_and_a_later_change_is_found_again() -> None:
    renamed = without("price") | {"amount": "number"}
    again = renamed | {"y": "object"}
    lasts = ACCEPTED_LOOKS + 5 * EPOCH_LOOKS
    found = told([*[USUAL] * 1_500, *[renamed] * lasts, *[again] * 100, *[USUAL | again] * 20])
    assert [(one.subject[6:], one.state) for one in found] == [
        ("new", "firing"), ("lost", "firing"), ("new", "resolved"), ("lost", "resolved"), ("new", "firing"),
    ]  # fmt: skip
    assert {one.detail["reason"] for one in found if one.state == "resolved"} == {
        "it lasts: this is usual now"
    }
    # what stayed away for so long was forgotten: it is as new as any
    assert found[-1].detail["fields"] == {"y": ["object"]}


def test_while_it_learns_nothing_is_told_and_names_that_are_data_are_not_judged() -> None:
    assert told([*[USUAL] * 200, *[{"a": "text"}] * 200, *[{"b": "list"}] * 100]) == []
    shape = Shape("sent", 0.05)
    assert told([{f"id {n}": "number"} for n in range(2_000)], shape=shape) == []
    assert shape.open and not shape.fields and len(pickle.dumps(shape)) < 3_000
    flood = [*[USUAL] * 1_500, *[{f"id {n}": "number"} for n in range(MOST_FIELDS)]]
    found = told(flood)
    assert {(one.subject, one.state) for one in found} == {
        (f"sent: {kind}", state) for kind in ("new", "lost") for state in ("firing", "resolved")
    }


def test_where_every_field_is_declared_a_new_one_is_found() -> None:
    (fired,) = told([*[{}] * 1_500, *[{"x": "true/false"}] * 100])
    assert (fired.subject, fired.detail["fields"]) == ("sent: new", {"x": ["true/false"]})


def test_of_an_event_that_was_cut_nothing_is_absent() -> None:
    shape = Shape("sent", 0.05)
    told([USUAL] * 1_500, shape=shape)
    for number in range(1_501, 1_601):
        assert shape.look(number * MINUTE_MS, 10 * number, {"note": "text"}, whole=False) == []


def naive(looks: list[Fields]) -> list[tuple[str, str, int]]:
    """The kinds told, from the whole history: at every look it is asked anew what was known, and which tests were hit."""
    third = 0.05 / 3
    rares = {
        kind: Rare("m", kind, third, epoch=EPOCH_LOOKS, accepted=ACCEPTED_LOOKS) for kind in ("new", "type")
    }
    fields: dict[str, Rare] = {}
    known: dict[str, set[str]] = {}
    pending: dict[str, set[tuple[str, str]]] = {"new": set(), "type": set()}
    lost: set[str] = set()
    found: list[tuple[str, str, int]] = []
    for number, look in enumerate(looks, 1):
        at, was = number * MINUTE_MS, set(lost)
        hits = {
            "new": {(name, kind) for name, kind in look.items() if name not in known},
            "type": {
                (name, kind) for name, kind in look.items() if kind not in known.get(name, {kind}) | {"null"}
            },
        }
        for kind, hit in hits.items():
            pending[kind] |= hit
            rare = rares[kind]
            moves = (
                rare.hit(number, at, number) if hit else rare.clean(number, at, number) if rare.firing else []
            )
            found += [(kind, one.state, number) for one in moves]
        for name, rare in fields.items():
            gone = look.get(name, "null") == "null"
            moves = (
                rare.hit(number, at, number)
                if gone
                else rare.clean(number, at, number)
                if rare.firing
                else []
            )
            lost = (lost | {name}) if rare.firing else (lost - {name})
        found += [("lost", "firing" if lost else "resolved", number)] * (bool(was) != bool(lost))
        if number % EPOCH_LOOKS:
            continue
        was = set(lost)
        for kind, rare in rares.items():
            found += [(kind, one.state, number) for one in rare.turn(number, at, number)]
        for name, rare in list(fields.items()):
            if rare.turn(number, at, number):
                lost.discard(name)
                if all(name not in one for one in looks[number - EPOCH_LOOKS : number]):
                    del fields[name], known[name]
                    pending["type"] = {one for one in pending["type"] if one[0] != name}
        found += [("lost", "resolved", number)] * (bool(was) != bool(lost))
        if not rares["type"].firing:
            for name, kind in pending["type"] & {(name, kind) for name in known for kind in KIND_NAMES}:
                known[name].add(kind)
            pending["type"] = set()
        if not rares["new"].firing:
            for name in sorted({name for name, _ in pending["new"]}):
                known[name] = {kind for one, kind in pending["new"] if one == name} - {"null"}
                fields[name] = Rare(
                    "m", "lost", third, epoch=EPOCH_LOOKS, most=ABSENT_MOST, accepted=ACCEPTED_LOOKS
                )
            pending["new"] = set()
        for rare in fields.values():
            rare.alarms_per_year = third / len(fields)
    return found


kinds = st.sampled_from(KIND_NAMES)
stretch = st.tuples(
    st.dictionaries(st.sampled_from("abcde"), kinds, max_size=4),  # what is there
    st.dictionaries(st.sampled_from("abcdef"), kinds, max_size=2),  # and now and then
    st.floats(0, 1),
    st.sampled_from([5, 60, 400, 1_300]),
)


@settings(max_examples=examples(60))
@given(st.lists(stretch, min_size=1, max_size=5), st.integers(0, 99))
def test_any_stream_is_told_as_the_naive_reading_tells_it_also_when_stored_in_between(
    stretches: list[tuple[Fields, Fields, float, int]], seed: int
) -> None:
    chance = random.Random(seed)
    looks = [
        always | (sometimes if chance.random() < share else {})
        for always, sometimes, share, many in [({"a": "text"}, {}, 0.0, 1_100), *stretches]
        for _ in range(many)
    ]
    found = told(looks)
    assert sorted((one.subject[6:], one.state, one.position // 10) for one in found) == sorted(naive(looks))
    assert told(looks, lambda one: pickle.loads(pickle.dumps(one))) == found
