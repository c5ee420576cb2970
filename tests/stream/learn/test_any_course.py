"""Whatever a course brings, and in whatever order: the laws that always hold, and a fold anew that comes to the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.learn import births
from tests.stream.generated import parcels
from tests.stream.learn.courses import Course, heavy_is_late, light_is_late, quick_guard, quick_losses

stretches = st.one_of(
    st.tuples(st.just("go"), st.integers(1, 80), st.sampled_from([heavy_is_late, light_is_late])),
    st.tuples(st.just("late"), st.integers(20, 60), st.integers(1, 40)),
    st.tuples(st.just("outside"), st.integers(1, 50), st.sampled_from([9e4, -9e4, 5e3, 1e200])),
    st.tuples(
        st.just("command"),
        st.integers(0, 20),
        st.sampled_from(["rollback", "pin", "hold", "resume", "accept", "promote", "answer"]),
    ),
)


def give(course: Course, kind: str, number: int, what: Any) -> None:
    experts = course.fold.experts
    if kind == "go":
        course.go(number, what, noise=0.1)
    elif kind == "late":
        course.go(number, light_is_late, late=what)
    elif kind == "outside":
        course.go(number, weight=what)
    elif what in ("rollback", "pin"):
        version = experts.models[number % len(experts.models)].version
        course.command("rollback", version=version, pin=what == "pin")
    elif what == "answer":
        asked = [data for data in course.told(of="lead") if data.target_version]
        if asked and experts.find(asked[-1].target_version or "") is not None:
            verb, episode = asked[-1].suggested_action, asked[-1].episode
            course.command(verb, version=asked[-1].target_version, episode=episode)
    else:
        course.command(what)


def assert_lawful(course: Course) -> None:
    fold, experts = course.fold, course.fold.experts
    assert experts.all[0].kind == "base" and len(experts.models) <= experts.most + 2
    assert all(one in experts.models for one in (experts.first, experts.leader, experts.committed))
    for weights in experts.gate.weights:
        assert len(weights) == len(experts.all) and min(weights) > 0.0
        assert sum(weights) == pytest.approx(1.0)
    assert fold.drift.models == {
        "leader": experts.leader.version,
        "committed": experts.committed.version,
    }
    ids = [request.event.id for request in fold.drift.requests]
    assert len(set(ids)) == len(ids)
    for made in fold.outputs.predictions:
        assert math.isfinite(made.p) and 0.0 <= made.p <= 1.0 and 0.0 <= made.weight <= 1.0 + 1e-9
    frozen = [one for one in experts.models if one.kind == "frozen"]
    assert all(one.version in course.versions for one in frozen), "whatever was frozen is kept"


@settings(max_examples=12)
@given(
    st.lists(stretches, min_size=3, max_size=12),
    st.sampled_from([4, 6, 9]),
    st.booleans(),
    st.sampled_from([True, "hold", False]),
)
def test_the_laws_hold_on_any_course_and_a_fold_of_its_log_is_the_same(
    course_of: list[Any], most: int, approval: bool, guard: Any
) -> None:
    pipeline = parcels(views=[], experts=most, approval=approval, guard=guard)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(births, "FREEZE_EVERY", 96)
        patch.setattr(births, "is_due", lambda labels: labels % 70 == 0)
        course, again = Course(pipeline), Course(pipeline)
        for one in (course, again):
            quick_losses(one)
            if guard:
                quick_guard(one, patch, 200)
        course.go(250)
        for kind, number, what in course_of:
            give(course, kind, number, what)
            assert_lawful(course)
        for entry in course.log:
            again.give(entry)
    assert again.fold.digest() == course.fold.digest() and again.versions.keys() == course.versions.keys()
    assert again.told() == course.told()


def test_the_courses_bring_what_they_are_meant_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that is only held to what never happens says nothing."""
    monkeypatch.setattr(births, "FREEZE_EVERY", 96)
    course = Course(parcels(views=[]))
    quick_losses(course)
    quick_guard(course, monkeypatch, 200)
    course.go(900, noise=0.1)
    for kind, number, what in (("go", 1_500, light_is_late), ("command", 0, "answer"), ("outside", 60, 9e4)):
        give(course, kind, number, what)
        assert_lawful(course)
    assert {"lead", "range"} <= {data.kind for data in course.told()}
    assert {"first", "new", "frozen", "careful"} <= set(course.kinds())
    assert course.fold.applied and course.fold.experts.committed is not course.fold.experts.first
