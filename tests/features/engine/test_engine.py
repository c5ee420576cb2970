"""Every aggregate in every window against the oracle: any order, any cut, any moment, merged and restored."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.features as f
from penstock import View
from penstock.features.define.view import Feature
from penstock.features.engine.compute import CompiledView, State
from tests.effort import examples
from tests.naive_features import NaiveView

pytestmark = pytest.mark.usefixtures("each_engine")
SOURCE = SimpleNamespace(name="payments", grace_ms=86_400_000)
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

windows = st.sampled_from(
    [
        None, "12ms", "1m", "7m", "1h", "3h", "25h", "14d", f.sliding("1h", "1m"), f.sliding("40m", "1m"),
        f.tumbling("1h"), f.tumbling("1d"), f.hopping("10m", "5m"), f.hopping("2h", "1m"), f.hopping("15ms", "5ms"),
        f.session("5ms"), f.session("1m"), f.session("1h"),
    ]
)  # fmt: skip
conditions = st.sampled_from([None, "a > 0", "c == 'x'", "a > 0 and c in ('x', 'y')", "a < b", "not a > 5"])
options = st.fixed_dictionaries(
    {}, optional={"where": conditions, "default": st.sampled_from([None, 0.0, -1.0, 7])}
)
numbered = st.sampled_from(["a", "b"])
fields = st.sampled_from(["a", "b", "c"])
half_lives = st.sampled_from(["20s", "1h", "7d"])


def made(build: Any, *arguments: Any) -> Any:
    return st.builds(lambda *a: build(*a[:-1], **a[-1]), *arguments, options)


def listed(build: Any, *arguments: Any) -> Any:
    return st.builds(lambda *a: build(*a[:-1], where=a[-1]), *arguments, conditions)


numbers = st.one_of(
    made(f.count, windows),
    made(f.rate, windows.filter(lambda w: w is not None)),
    *(made(g, numbered, windows) for g in (f.sum, f.mean, f.variance, f.std, f.min, f.max, f.first, f.last)),
    made(f.distinct, fields, windows),
    made(f.quantile, numbered, st.sampled_from([0.0, 0.25, 0.5, 0.99, 1.0]), windows),
    made(f.decayed_count, half_lives),
    made(f.decayed_sum, numbered, half_lives),
    made(f.decayed_mean, numbered, half_lives),
    made(f.since_last),
    made(f.row, st.sampled_from(["a / b", "a * 2 + b", "(a > b) - 1.5", "a ** 2 if b > 0 else -a"])),
)
features = st.one_of(
    numbers,
    numbers,
    st.builds(f.ratio, numbers, numbers, default=st.sampled_from([None, 3.0])),
    listed(lambda field, w, where: f.last(field, w, where=where, holds="text"), st.just("c"), windows),
    listed(lambda field, w, where: f.first(field, w, where=where, holds="text"), st.just("c"), windows),
    listed(f.last_n, numbered, st.integers(1, 4), windows),
    listed(f.top_k, fields, st.integers(1, 3), windows),
    listed(f.histogram, numbered, st.sampled_from([(0,), (-5, 0, 3.5), (1, 2, 100)]), windows),
)
views = st.lists(features, min_size=1, max_size=6).map(
    lambda fs: View("card", SOURCE, "card", {f"f{i}": g for i, g in enumerate(fs)})
)
values = st.one_of(st.none(), st.integers(-20, 20))
texts = st.sampled_from([None, "x", "y", "ß|"])
events = st.fixed_dictionaries({"a": values, "b": values, "c": texts})
scales = st.sampled_from([1, 7, SECOND, MINUTE, 5 * MINUTE, HOUR, DAY])
steps = st.builds(lambda n, scale: n * scale, st.integers(-4, 15), scales)
script_of = st.lists(
    st.tuples(st.sampled_from(["update", "own", "read", "restore"]), steps, st.integers(0, 3), events),
    max_size=40,
)
greatest = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 20),
    st.sampled_from([1.7e308, -1.7e308, 1e200, -1e160, 1e149, 1e-300, 5e-324]),
)
greatest_events = st.fixed_dictionaries({"a": greatest, "b": greatest, "c": texts})
overflowing = st.sampled_from(
    [
        f.sum("a"), f.sum("a", "1h"), f.mean("a", "1h"), f.mean("a", f.session("1h"), default=7),
        f.decayed_sum("a", "1h"), f.decayed_mean("a", "1h"), f.row("a * b"), f.row("a / b", default=3), f.row("a"),
        f.ratio(f.sum("a"), f.sum("b")), f.ratio(f.sum("a"), f.count(), default=5), f.ratio(f.max("a"), f.min("b")),
        f.variance("a"), f.std("a", "1h"),
    ]
)  # fmt: skip
SAME = {"variance": 1e-6, "std": 1e-4, "decayed_count": 1e-6, "decayed_sum": 1e-6, "decayed_mean": 1e-6}


def close(feature: Feature, found: Any, expected: Any) -> bool:
    """Say if a value is right: bit by bit, but for what rounds or approximates by definition."""
    if found is None or expected is None:
        return found is expected
    if feature.kind == "quantile":
        return bool(found == pytest.approx(expected, rel=0.010001, abs=1e-9))
    if feature.kind in SAME:
        return bool(found == pytest.approx(expected, rel=1e-6, abs=SAME[feature.kind]))
    return bool(found == expected)


def check(engine: CompiledView, found: list[Any], expected: list[Any], names: Any) -> None:
    for name, one, other in zip(names, found, expected, strict=True):
        feature = engine.view.features[name]
        # A ratio of approximations may flip between a value and its default where its divisor is nearly zero.
        if any(part.kind in SAME or part.kind == "quantile" for part in feature.parts):
            continue
        if feature.kind.startswith("decayed") and other is not None and abs(other) < 1e-200:
            continue
        assert close(feature, one, other), f"{name} {feature.describe()}: {one} is not {other}"


@settings(max_examples=examples(600))
@given(views, st.integers(-(10**9), 10**12), script_of)
def test_every_feature_equals_the_oracle_at_every_moment(
    definition: View, at: int, script: list[Any]
) -> None:
    """In any order, with any reads between, restored at any point."""
    engine, oracle = CompiledView(definition), NaiveView(definition)
    state = engine.new()
    for serial, (action, step, tie, event) in enumerate(script):
        at += step
        order = tie * 1000 + serial
        if action == "update":
            engine.update(state, at, order, event)
            oracle.update(at, order, event)
        elif action == "own":
            found = engine.update_own(state, at, order, event)
            check(engine, found, oracle.update_own(at, order, event), engine.numeric)
        elif action == "restore":
            state = engine.decode(engine.encode(state))
        else:  # ahead of the events that follow, so that caches must be given up, too
            moment = at + tie * MINUTE
            check(engine, engine.values(state, moment), oracle.values(moment), engine.names)
            assert engine.until(state, moment) == oracle.until(moment)
    check(engine, engine.values(state, at), oracle.values(at), engine.names)
    numeric = [
        v for name, v in zip(engine.names, engine.values(state, at), strict=True) if name in engine.numeric
    ]
    assert engine.vector(state, at) == numeric


EXACT_IN_ANY_ORDER = {
    "count", "rate", "sum", "mean", "min", "max", "first", "last", "last_n", "distinct", "quantile", "top_k",
    "histogram", "since_last", "row",
}  # fmt: skip


@settings(max_examples=examples(200))
@given(views, st.lists(st.tuples(st.integers(0, 40), events), max_size=30), scales, st.randoms())
def test_any_order_within_the_grace_gives_the_same_state(
    definition: View, script: list[Any], scale: int, random: Any
) -> None:
    """The very same bytes for what does not round."""
    engine = CompiledView(definition)
    dated = [(n * scale % DAY, tie, event) for tie, (n, event) in enumerate(script)]
    ordered, shuffled = engine.new(), engine.new()
    for one in sorted(dated, key=lambda e: e[0]):
        engine.update(ordered, *one)
    random.shuffle(dated)
    for one in dated:
        engine.update(shuffled, *one)
        engine.values(shuffled, random.randrange(0, 40 * scale + 1))
    if {p.kind for g in definition.features.values() for p in (g.parts or (g,))} <= EXACT_IN_ANY_ORDER:
        assert engine.encode(shuffled) == engine.encode(ordered)
    check(engine, engine.values(shuffled, DAY), engine.values(ordered, DAY), engine.names)


@settings(max_examples=examples(200))
@given(views, st.lists(st.tuples(st.integers(0, 40), events, st.booleans()), max_size=30), scales)
def test_two_states_merge_into_that_of_all_events(definition: View, script: list[Any], scale: int) -> None:
    """As a backfill of a topic in parts would."""
    engine = CompiledView(definition)
    whole, parts = engine.new(), (engine.new(), engine.new())
    for tie, (n, event, left) in enumerate(script):
        engine.update(whole, n * scale % DAY, tie, event)
        engine.update(parts[left], n * scale % DAY, tie, event)
    merged = engine.merge(*parts)
    for moment in (0, DAY, 2 * DAY):
        check(engine, engine.values(merged, moment), engine.values(whole, moment), engine.names)
    restored = engine.decode(engine.encode(merged))
    assert engine.values(restored, DAY) == engine.values(merged, DAY)


@settings(max_examples=examples(60))
@given(
    st.sampled_from([12, 16, 17, 40, 200]),
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 400)), min_size=60, max_size=200),
)
def test_dense_and_sparse_windows_equal_the_oracle_bit_by_bit(
    span: int, script: list[tuple[int, int]]
) -> None:
    """Many tiles, few tiles and everything between; a read ahead or a restart moves no bit of a float sum."""
    view = View("card", SOURCE, "card", dict(
        s=f.sum("a", f.hopping(f"{span}ms", "1ms")), n=f.count(f.hopping(f"{span}ms", "1ms")),
        t=f.sum("a", f.hopping("17ms", "1ms")), hi=f.max("a", f.hopping(f"{span * 2}ms", "1ms")),
    ))  # fmt: skip
    engine, oracle = CompiledView(view), NaiveView(view)
    state, at = engine.new(), 0
    for tie, (gap, further) in enumerate(script):
        at += gap % 5 if gap < 55 else gap
        event = {"a": 0.1 * gap}
        found = engine.update_own(state, at, tie, event)
        expected = oracle.update_own(at, tie, event)
        assert found == pytest.approx(expected, rel=1e-12)
        restored = engine.decode(engine.encode(state))
        assert engine.values(restored, at) == found
        ahead = at + further % (2 * span + 1)
        assert (
            engine.values(state, ahead)
            == engine.values(restored, ahead)
            == pytest.approx(oracle.values(ahead))
        )
        assert engine.until(state, ahead) == oracle.until(ahead)


def folded(definition: View, numbers: list[float]) -> tuple[CompiledView, State]:
    engine = CompiledView(definition)
    state = engine.new()
    for i, a in enumerate(numbers):
        engine.update(state, i * 1000, i, {"a": a})
    return engine, state


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=60), st.sampled_from([0.0, 1e6, 1e9, -1e9]))
def test_variance_keeps_its_digits_far_from_zero(noise: list[float], offset: float) -> None:
    """Error at most 1e-15 of offset * deviation a value and tile; sums of squares would lose all digits at 1e9."""
    numbers = [offset + x for x in noise]
    definition = View("card", SOURCE, "card", dict(v=f.variance("a"), w=f.variance("a", "2m")))
    engine, state = folded(definition, numbers)
    oracle = NaiveView(definition)
    for i, a in enumerate(numbers):
        oracle.update(i * 1000, i, {"a": a})
    bound = 2e-15 * len(numbers) * (abs(offset) + 1) + 1e-15
    for found, exact in zip(engine.values(state, 0), oracle.values(0), strict=True):
        assert abs(found - exact) <= bound
        assert found >= 0


def test_feasts_own_tiling_example_is_right() -> None:
    """10, 20, 5, 7 in windows of ten minutes that hop by five; Feast gives 35, 35 and 12.5 for the third."""
    window = f.hopping("10m", "5m")
    definition = View("card", SOURCE, "card", dict(
        hi=f.max("x", window), lo=f.min("x", window), std=f.std("x", window), mean=f.mean("x", window)
    ))  # fmt: skip
    engine = CompiledView(definition)
    state, seen = engine.new(), []
    for i, x in enumerate([10, 20, 5, 7]):
        engine.update(state, i * 5 * MINUTE, i, {"x": x})
        seen.append(engine.values(state, (i + 1) * 5 * MINUTE - 1))
    assert seen[2] == [20, 5, pytest.approx(10.6066, abs=1e-4), 12.5]
    assert [row[:2] for row in seen] == [[10, 10], [20, 10], [20, 5], [7, 5]]


def test_an_event_on_a_border_belongs_to_the_window_that_it_opens() -> None:
    definition = View("card", SOURCE, "card", dict(
        tumbling=f.count(f.tumbling("1h")), hopping=f.count(f.hopping("1h", "30m")), session=f.count(f.session("10m"))
    ))  # fmt: skip
    engine = CompiledView(definition)
    state = engine.new()
    engine.update(state, 2 * HOUR, 0, {})
    assert engine.values(state, 2 * HOUR) == [1, 1, 1]
    assert engine.until(state, 2 * HOUR) == 2 * HOUR + 10 * MINUTE + 1
    assert engine.values(state, 2 * HOUR + 10 * MINUTE) == [1, 1, 1]
    assert engine.values(state, 2 * HOUR + 10 * MINUTE + 1) == [1, 1, 0]
    assert engine.values(state, 3 * HOUR - 1) == [1, 1, 0]
    assert engine.values(state, 3 * HOUR) == [0, 0, 0]
    engine.update(state, 3 * HOUR - 1, 1, {})
    engine.update(state, 3 * HOUR, 2, {})
    assert engine.values(state, 3 * HOUR) == [1, 2, 2]
    assert engine.values(state, 3 * HOUR + 30 * MINUTE) == [1, 1, 0]


def test_a_late_event_joins_the_sessions_that_it_lies_between() -> None:
    definition = View(
        "card", SOURCE, "card", dict(n=f.count(f.session("10m")), s=f.sum("a", f.session("10m")))
    )
    engine = CompiledView(definition)
    state = engine.new()
    for tie, (minute, a) in enumerate([(0, 1), (20, 2), (40, 4)]):
        engine.update(state, minute * MINUTE, tie, {"a": a})
    assert engine.values(state, 40 * MINUTE) == [1, 4]
    engine.update(state, 30 * MINUTE, 3, {"a": 8})
    assert engine.values(state, 40 * MINUTE) == [3, 14]
    engine.update(state, 10 * MINUTE, 4, {"a": 16})
    assert engine.values(state, 40 * MINUTE) == [5, 31]
    engine.update(state, 40 * MINUTE - DAY - 1, 5, {"a": 32})
    assert engine.values(state, 40 * MINUTE) == [5, 31]


def test_state_is_bounded_whatever_the_number_of_events() -> None:
    """Sets become registers, candidates are dropped, sessions and tiles leave."""
    definition = View("card", SOURCE, "card", dict(
        d=f.distinct("x", "1h"), q=f.quantile("x", 0.5, "1h"), k=f.top_k("x", 3, "1h"), n=f.last_n("x", 5),
        s=f.count(f.session("5m")), v=f.std("x", "1h"), h=f.histogram("x", [100, 1000]),
    ))  # fmt: skip
    engine = CompiledView(definition)
    state, sizes = engine.new(), []
    for i in range(24_000):
        engine.update(state, i * 1000 + i // 100 * 6 * MINUTE, i, {"x": i * 7919 % 10007})
        if i % 2000 == 1999:
            sizes.append(len(engine.encode(state)))
    assert max(sizes[6:]) <= max(sizes[:6]) * 1.1
    sessions = msgspec.msgpack.decode(engine.encode(state))[4]
    assert len(sessions[0]) <= DAY // (5 * MINUTE) + 2


@pytest.mark.parametrize("n", [200, 256, 257, 3000, 40_000])
def test_distinct_is_exact_up_to_its_bound_and_close_beyond(n: int) -> None:
    """The registers' standard error is 2.3 %; these counts are far within three of them, whatever the order."""
    engine = CompiledView(View("card", SOURCE, "card", dict(d=f.distinct("x"), w=f.distinct("x", "1h"))))
    one, other = engine.new(), engine.new()
    for i in range(n):
        engine.update(one, i * HOUR // n, i, {"x": f"user{i}"})
    for i in reversed(range(n)):
        engine.update(other, i * HOUR // n, i, {"x": f"user{i}"})
    found = engine.values(one, HOUR)
    assert engine.encode(one) == engine.encode(other)
    assert found[0] == found[1]
    assert found[0] == n if n <= 256 else abs(found[0] / n - 1) < 0.07


def test_frequent_values_are_found_beyond_the_capacity() -> None:
    """A count is at most n / capacity too low."""
    engine = CompiledView(View("card", SOURCE, "card", dict(k=f.top_k("x", 2))))
    state = engine.new()
    for i in range(9000):
        engine.update(state, i, i, {"x": "often" if i % 3 == 0 else "also" if i % 5 == 0 else f"rare{i}"})
    (found,) = engine.values(state, 0)
    assert [value for value, _ in found] == ["often", "also"]
    assert 3000 - 90 <= found[0][1] <= 3000


def test_what_decays_halves_every_half_life() -> None:
    engine = CompiledView(View("card", SOURCE, "card", dict(
        n=f.decayed_count("1h"), s=f.decayed_sum("a", "1h"), m=f.decayed_mean("a", "1h", default=-1)
    )))  # fmt: skip
    state = engine.new()
    assert engine.values(state, 0) == [0, 0, -1]
    engine.update(state, 0, 0, {"a": 8})
    engine.update(state, HOUR, 1, {"a": 2})
    assert engine.values(state, HOUR) == [1.5, 6.0, 4.0]
    assert engine.values(state, 3 * HOUR) == [0.375, 1.5, 4.0]
    engine.update(state, 2 * HOUR, 2, {})
    engine.update(state, 0, 3, {"a": 8})
    assert engine.values(state, 2 * HOUR) == [2.0, 5.0, 5.0]


def test_lists_and_texts_are_in_documents_and_not_in_vectors() -> None:
    definition = View("card", SOURCE, "card", dict(
        where=f.last("c", holds="text"), n=f.count("1h"), lately=f.last_n("a", 2), often=f.top_k("c", 1)
    ))  # fmt: skip
    engine = CompiledView(definition)
    assert definition.numeric == engine.numeric == ("n",)
    state = engine.new()
    assert engine.update_own(state, 0, 0, {"a": 1, "c": "x"}) == [1.0]
    engine.update(state, 1, 1, {"a": 2, "c": "y"})
    assert engine.values(state, 1) == ["y", 2.0, [2.0, 1.0], [["x", 1]]]
    assert engine.vector(state, 1) == [2.0]
    assert b'"where":"y"' in engine.document(state, 1, 1)


def finite(values: list[Any]) -> bool:
    return all(value is None or abs(value) <= 1e150 for value in values)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(overflowing, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 40 * MINUTE), greatest_events), max_size=12),
)
def test_what_no_model_can_use_is_null_in_the_vector_and_in_the_document_alike(
    chosen: list[Feature], script: list[Any]
) -> None:
    """Two of the greatest floats sum to infinity; both engines, and the oracle where it computes alike."""
    definition = View("card", SOURCE, "card", {f"f{i}": g for i, g in enumerate(chosen)})
    engine = CompiledView(definition)
    state, at = engine.new(), 0
    for tie, (step, event) in enumerate(script):
        at += step
        own = engine.update_own(state, at, tie, event)
        shown = msgspec.json.decode(engine.document(state, at, 0))["values"]
        values = engine.values(state, at)
        assert finite(own) and finite(values) and finite(engine.vector(state, at))
        assert list(shown.values()) == values == engine.vector(state, at)


def test_a_sum_that_leaves_the_numbers_is_null_and_comes_back_with_its_window() -> None:
    definition = View("card", SOURCE, "card", dict(
        s=f.sum("a", "1h"), m=f.mean("a", "1h"), r=f.ratio(f.sum("a", "1h"), f.count("1h"), default=-1.0), p=f.row("a * a"),
        d=f.sum("a", "1h", default=9.0),
    ))  # fmt: skip
    engine, oracle = CompiledView(definition), NaiveView(definition)
    state = engine.new()
    for tie, (at, a) in enumerate([(0, 1.7e308), (1, 1.7e308), (2 * HOUR, 2.0)]):
        found = engine.update_own(state, at, tie, {"a": a})
        assert found == oracle.update_own(at, tie, {"a": a})
        assert found == ([None, None, -1.0, None, None] if tie < 2 else [2.0, 2.0, 2.0, 4.0, 2.0])


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(st.integers(0, HOUR), st.sampled_from([True, False, None, 1, 0])), max_size=15))
def test_true_and_false_are_one_and_zero_in_conditions_and_values(script: list[Any]) -> None:
    definition = View("host", SOURCE, "host", dict(
        failed=f.count("3h", where="failed"), passed=f.count("3h", where="not failed"), said=f.count(where="failed == true"),
        never=f.count(where="failed != false"), share=f.mean("failed", "3h"), sum=f.sum("failed"), last=f.last("failed"),
        kinds=f.distinct("failed"), often=f.top_k("failed", 2), row=f.row("failed * 2 + 1", where="failed"),
        high=f.max("failed", "3h"), all=f.last_n("failed", 3), bins=f.histogram("failed", [0.5]), q=f.quantile("failed", 0.5),
    ))  # fmt: skip
    engine, oracle = CompiledView(definition), NaiveView(definition)
    state, at = engine.new(), 0
    for tie, (step, failed) in enumerate(script):
        at += step
        own = engine.update_own(state, at, tie, {"failed": failed})
        check(engine, own, oracle.update_own(at, tie, {"failed": failed}), engine.numeric)
        check(engine, engine.values(state, at), oracle.values(at), engine.names)
        state = engine.decode(engine.encode(state))
