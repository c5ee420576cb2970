"""The compiled view against the oracle, and the borders of windows one by one."""

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import View, count, last, max, mean, min, since_last, sum
from penstock.features.define.view import Feature
from penstock.features.engine.compute import CompiledView, StateMismatch
from penstock.features.windows.tiles import tile_hop_ms
from tests.effort import examples
from tests.naive_features import NaiveView

pytestmark = pytest.mark.usefixtures("each_engine")
SOURCE = SimpleNamespace(name="arrivals")
MINUTE, HOUR = 60_000, 3_600_000
WINDOWS = ["12ms", "13ms", "1m", "7m", "1h", "3h", "25h", "14d", None]


def view(**features: Feature) -> View:
    return View("airport", SOURCE, "origin", features)


def compiled(**features: Feature) -> CompiledView:
    return CompiledView(view(**features))


windowed = st.one_of(
    st.builds(count, st.sampled_from(WINDOWS)),
    *(st.builds(f, st.sampled_from(["a", "b"]), st.sampled_from(WINDOWS)) for f in (sum, mean, min, max)),
)
features = st.one_of(windowed, st.builds(last, st.sampled_from(["a", "b"])), st.just(since_last()))
views = st.lists(features, min_size=1, max_size=5).map(
    lambda fs: view(**{f"f{i}": f for i, f in enumerate(fs)})
)
# Whole numbers, so that sums are exact in any order; test_sums_of_any_floats covers the rest.
numbers = st.one_of(st.none(), st.integers(-1000, 1000), st.just(-0.0))
# Steps of every size, forwards and back, so that tiles fill, windows empty and events come late.
scales = st.sampled_from([1, 7, 1000, MINUTE, 5 * MINUTE, HOUR, 24 * HOUR])
steps = st.builds(lambda n, scale: n * scale, st.integers(-4, 15), scales)
actions = st.lists(
    st.tuples(
        st.sampled_from(["update", "own", "read", "restore"]), steps, st.integers(0, 3), numbers, numbers
    ),
    max_size=40,
)


@settings(max_examples=examples(300))
@given(views, st.integers(-(10**9), 10**12), actions)
def test_the_engine_equals_the_oracle_at_every_moment(definition: View, at: int, script: list[Any]) -> None:
    """In any order, with any reads between, restored at any point."""
    engine, oracle = CompiledView(definition), NaiveView(definition)
    state = engine.new()
    for serial, (action, step, tie, a, b) in enumerate(script):
        at += step
        event = {"a": a} if b is None else {"a": a, "b": b}
        order = tie * 1000 + serial
        if action == "update":
            engine.update(state, at, order, event)
            oracle.update(at, order, event)
        elif action == "own":
            assert engine.update_own(state, at, order, event) == oracle.update_own(at, order, event)
        elif action == "restore":
            state = engine.decode(engine.encode(state))
        else:  # ahead of the events that follow, so that caches must be given up, too
            moment = at + tie * MINUTE
            assert engine.values(state, moment) == oracle.values(moment)
            assert engine.until(state, moment) == oracle.until(moment)
    assert engine.values(state, at) == oracle.values(at)


@settings(max_examples=examples(150))
@given(views, st.lists(st.tuples(st.integers(0, 40), numbers, numbers), max_size=25), scales, st.randoms())
def test_the_order_of_events_changes_nothing(
    definition: View, script: list[Any], scale: int, random: Any
) -> None:
    """Whatever order events come in: same values, same bytes."""
    engine = CompiledView(definition)
    events = [(n * scale, tie, {"a": a, "b": b}) for tie, (n, a, b) in enumerate(script)]
    ordered, shuffled = engine.new(), engine.new()
    for event in sorted(events, key=lambda e: e[0]):
        engine.update(ordered, *event)
    random.shuffle(events)
    for event in events:
        engine.update(shuffled, *event)
        engine.values(shuffled, random.randrange(0, 40 * scale + 1))
    assert engine.encode(shuffled) == engine.encode(ordered)
    assert engine.values(shuffled, 0) == engine.values(ordered, 0)


def test_zeros_of_either_sign_are_one_value() -> None:
    """They compare equal, so which one is kept would depend on the order."""
    engine = compiled(lo=min("a", "1h"), hi=max("a"), l=last("a"))
    states = []
    for values in ([0.0, -0.0], [-0.0, 0.0]):
        states.append(engine.new())
        for a in values:
            engine.update(states[-1], 0, 0, {"a": a})
    assert engine.encode(states[0]) == engine.encode(states[1])


def test_an_event_behind_a_reader_is_seen_by_the_next_one() -> None:
    """A reader ahead of the events leaves caches that the next event must not trust."""
    engine = compiled(n=count("1h"))
    state = engine.new()
    engine.update(state, 0, 0, {})
    assert engine.values(state, 40 * MINUTE) == [1.0]
    engine.update(state, 20 * MINUTE, 1, {})
    assert engine.values(state, 50 * MINUTE) == [2.0]


finite = st.floats(-1e9, 1e9)


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(st.integers(0, 5 * MINUTE), finite), max_size=40), st.lists(st.booleans(), min_size=40)
)
def test_sums_of_any_floats_are_bit_equal_however_batches_are_cut(
    script: list[Any], cuts: list[bool]
) -> None:
    """Restoring or reading ahead never moves a bit; the oracle's exact sum is within rounding."""
    definition = view(total=sum("a", "1h"), average=mean("a", "1m"), short=sum("a", "1m"), ever=sum("a"))
    engine, oracle = CompiledView(definition), NaiveView(definition)
    whole, cut, at = engine.new(), engine.new(), 0
    for (step, a), restore in zip(script, cuts, strict=False):
        at += step
        first = engine.update_own(whole, at, 0, {"a": a})
        if restore:
            engine.values(cut, at + 10 * MINUTE)
            cut = engine.decode(engine.encode(cut))
        assert engine.update_own(cut, at, 0, {"a": a}) == first
        assert first == pytest.approx(oracle.update_own(at, 0, {"a": a}), rel=1e-9, abs=1e-5)
    assert engine.encode(cut) == engine.encode(whole)


@given(st.sampled_from([w for w in WINDOWS if w]), st.integers(-(10**6), 10**12))
def test_an_event_stays_at_least_its_window_and_leaves_before_one_more_tile(window: str, at: int) -> None:
    """The border is exact: inside one millisecond before `until`, outside at it."""
    engine = compiled(n=count(window))
    state = engine.new()
    engine.update(state, at, 0, {})
    window_ms = engine.view.features["n"].window_ms
    until = engine.until(state, at)
    assert window_ms is not None and until is not None
    assert window_ms < until - at <= window_ms + tile_hop_ms(window_ms)
    assert until % tile_hop_ms(window_ms) == 0
    assert engine.values(state, until - 1) == [1.0]
    assert engine.values(state, until) == [0.0]
    assert engine.until(state, until) is None


def test_an_event_exactly_one_window_old_is_inside() -> None:
    """The tail is inclusive, even where it falls on the border of a tile."""
    engine = compiled(n=count("1h"))
    state = engine.new()
    engine.update(state, 10 * HOUR, 0, {})
    assert engine.values(state, 11 * HOUR) == [1.0]
    assert engine.values(state, 11 * HOUR + 5 * MINUTE - 1) == [1.0]
    assert engine.values(state, 11 * HOUR + 5 * MINUTE) == [0.0]


def test_an_empty_window_gives_its_default() -> None:
    """Zero for what is counted or added, null for the rest; before any event and after the last has left."""
    engine = compiled(
        n=count("1h"), s=sum("a", "1h"), m=mean("a", "1h"), lo=min("a", "1h"), hi=max("a", "1h"), l=last("a"),
        i=since_last(), ever=count(), total=sum("a"), average=mean("a"), least=min("a"), most=max("a"),
    )  # fmt: skip
    state = engine.new()
    nothing = [0.0, 0.0, None, None, None, None, None, 0.0, 0.0, None, None, None]
    assert engine.values(state, 0) == nothing
    engine.update(state, 0, 0, {"a": 4})
    assert engine.values(state, 0) == [1, 4, 4, 4, 4, 4, 0, 1, 4, 4, 4, 4]
    assert engine.values(state, 2 * HOUR) == [0, 0, None, None, None, 4, 7200, 1, 4, 4, 4, 4]


def test_tiled_windows_give_true_extremes() -> None:
    """Values 10, 20, 5, 7, five minutes apart, windows of ten; Feast gives 35 for the third maximum."""
    engine = compiled(hi=max("x", "10m"), lo=min("x", "10m"), n=count("10m"), total=sum("x", "10m"))
    state, seen = engine.new(), []
    for i, x in enumerate([10, 20, 5, 7]):
        engine.update(state, i * 5 * MINUTE, i, {"x": x})
        seen.append(engine.values(state, (i + 1) * 5 * MINUTE - 1))
    assert seen == [[10, 10, 1, 10], [20, 10, 2, 30], [20, 5, 2, 25], [7, 5, 2, 12]]


def test_an_event_of_its_own_source_sees_last_before_and_counts_after() -> None:
    """Decision 11: what the event itself says about `last` would leak."""
    engine = compiled(previous=last("a"), idle=since_last(), n=count("1h"), total=sum("a", "1h"))
    state = engine.new()
    assert engine.update_own(state, 1000, 0, {"a": 3}) == [None, None, 1.0, 3.0]
    assert engine.update_own(state, 3500, 1, {"a": 5}) == [3.0, 2.5, 2.0, 8.0]
    assert engine.values(state, 4500) == [5.0, 1.0, 2.0, 8.0]


def test_nulls_are_skipped_by_fields_and_counted_by_count() -> None:
    """An absent field is a null one."""
    engine = compiled(n=count("1h"), m=mean("a", "1h"), l=last("a"))
    state = engine.new()
    for tie, event in enumerate([{"a": 2}, {"a": None}, {}, {"a": 4}, {"a": None}]):
        engine.update(state, tie, tie, event)
    assert engine.values(state, 4) == [5.0, 3.0, 4.0]


def test_events_of_equal_time_are_ordered_by_tie() -> None:
    """Whichever is processed first."""
    engine = compiled(l=last("a"))
    state = engine.new()
    engine.update(state, 5, 2, {"a": 2})
    engine.update(state, 5, 1, {"a": 1})
    assert engine.values(state, 5) == [2.0]


def test_an_event_beyond_the_horizon_only_counts_for_all_time() -> None:
    """And one within it goes where it belongs."""
    engine = compiled(n=count("1h"), day=count("1d"), ever=count())
    state = engine.new()
    engine.update(state, 100 * HOUR, 0, {})
    engine.update(state, 99 * HOUR, 0, {})
    engine.update(state, 90 * HOUR, 0, {})
    engine.update(state, 1 * HOUR, 0, {})
    assert engine.values(state, 0) == [2.0, 3.0, 4.0]


def test_state_is_bounded_however_long_it_runs() -> None:
    """Tiles that no window can see are dropped."""
    engine = compiled(a=mean("x", "3h"), b=count("12h"), c=count("12d"))
    state, sizes = engine.new(), []
    for i in range(20_000):
        engine.update(state, i * 200_000, i, {"x": i})
        if i % 1000 == 999:
            sizes.append(len(engine.encode(state)))
    assert sizes[-1] <= sizes[len(sizes) // 2] * 1.01
    rings = msgspec.msgpack.decode(engine.encode(state))[3]
    assert [len(tiles) for _, tiles in rings] == [12 * 12 + 1, 12 * 24 + 1]


def test_a_state_of_another_definition_is_refused() -> None:
    """Columns would be misread; renaming a feature changes nothing but is another recipe all the same."""
    data = (one := compiled(n=count("1h"))).encode(one.new())
    with pytest.raises(StateMismatch, match="another definition"):
        compiled(n=count("2h")).decode(data)
    with pytest.raises(StateMismatch, match="unreadable"):
        one.decode(data[:-1])


def test_the_document_says_when_it_was_true_and_until_when() -> None:
    """Evaluated at the newest event if the moment given is before it."""
    engine = compiled(n=count("1h"), m=mean("a", "1h"))
    state = engine.new()
    engine.update(state, 10 * HOUR + 1, 0, {})
    assert json.loads(engine.document(state, 0, 7)) == {
        "values": {"n": 1.0, "m": None},
        "at": 10 * HOUR + 1,
        "until": 11 * HOUR + 5 * MINUTE,
        "written": 7,
        "recipe": engine.view.version,
    }


def test_field_names_are_data_never_code() -> None:
    """The generated functions quote them."""
    name = "a'] or exit() #\n\""
    engine = compiled(s=sum(name), l=last(name))
    state = engine.new()
    engine.update(state, 0, 0, {name: 3})
    assert engine.values(state, 0) == [3.0, 3.0]
