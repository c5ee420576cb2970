"""From one definition to another: what is kept, and that the result is what a view always defined so would hold."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.features as f
from penstock import View
from penstock.features.engine.change import Conversion, change, feature_of, view_of
from penstock.features.engine.compute import CompiledView, StateMismatch
from tests.effort import examples
from tests.features.engine.test_engine import SOURCE, events, steps, views

HOUR = 3_600_000


def named(**features: Any) -> View:
    return View("card", SOURCE, "card", features)


@given(views)
def test_a_view_is_what_its_description_says(view: View) -> None:
    assert view_of(view.describe(), SOURCE).version == view.version
    for feature in view.features.values():
        assert feature_of(feature.describe()).describe() == feature.describe()


@st.composite
def pairs(draw: st.DrawFn) -> tuple[View, View]:
    """Two definitions of a view that often share features."""
    old, other = draw(views), draw(views)
    shared = {name: g for name, g in old.features.items() if draw(st.booleans())}
    new = {**shared, **{f"new_{name}": g for name, g in other.features.items()}}
    return old, View("card", SOURCE, "card", new)


log = st.lists(st.tuples(steps, events), min_size=1, max_size=30)


def folded(view: View, happened: list[tuple[int, dict[str, Any]]], skip: int = 0) -> bytes:
    engine, at = CompiledView(view), 10**12
    state = engine.new()
    for tie, (step, event) in enumerate(happened):
        at += step
        if tie >= skip:
            engine.update(state, at, tie, event)
    return engine.encode(state)


@settings(max_examples=examples(400))
@given(pairs(), log)
def test_a_converted_state_is_that_of_a_view_that_was_always_defined_so(
    definitions: tuple[View, View], happened: list[tuple[int, dict[str, Any]]]
) -> None:
    """Byte by byte; without anything built if every feature is kept."""
    old, new = definitions
    conversion, expected = Conversion(old, new), folded(new, happened)
    before = folded(old, happened)
    assert conversion.state(before, expected) == expected
    if all(conversion.keeps(feature) for feature in new.features.values()):
        assert conversion.state(before, None) == expected


@settings(max_examples=examples(200))
@given(pairs(), log, st.integers(0, 30))
def test_what_is_kept_does_not_need_the_part_of_the_topic_that_is_gone(
    definitions: tuple[View, View], happened: list[tuple[int, dict[str, Any]]], gone: int
) -> None:
    """A kept feature has the value it always had, whatever the topic still holds."""
    old, new = definitions
    conversion, engine = Conversion(old, new), CompiledView(new)
    built = folded(new, happened, skip=gone) if gone < len(happened) else None
    found = engine.decode(conversion.state(folded(old, happened), built))
    expected = engine.decode(folded(new, happened))
    moment = 10**12 + 40 * 86_400_000
    for at in (10**12, moment):
        values = zip(engine.names, engine.values(found, at), engine.values(expected, at), strict=True)
        for name, one, other in values:
            kept = conversion.keeps(new.features[name])
            # Sessions that the topic no longer knows whole are paired by overlap: their own columns are still the old ones.
            assert not kept or one == (pytest.approx(other) if isinstance(other, float) else other), name


def test_what_becomes_of_each_feature_is_said() -> None:
    old = named(n=f.count("1h"), mean=f.mean("a", "1h"), last=f.last("a"))
    new = named(n=f.count("1h"), total=f.sum("a", "1h"), n_1d=f.count("1d"), ever=f.count())
    found = change(old, new)
    assert found is not None
    assert (found.old, found.new) == (old.version, new.version)
    assert found.kept == ("n", "total"), "the mean kept the sum that the total needs"
    assert found.rebuilt == ("n_1d", "ever")
    assert found.removed == ("mean", "last")


def test_a_longer_window_of_the_same_tiles_is_rebuilt_and_a_shorter_one_kept() -> None:
    three, one = named(n=f.count(f.sliding("3h", "5m"))), named(n=f.count(f.sliding("1h", "5m")))
    longer, shorter = change(one, three), change(three, one)
    assert longer is not None and longer.rebuilt == ("n",)
    assert shorter is not None and shorter.kept == ("n",)


def test_a_view_with_another_key_or_source_is_another_view() -> None:
    n = {"n": f.count()}
    one = View("card", SOURCE, "card", n)
    for other in (View("card", SOURCE, "owner", n), View("card", SimpleNamespace(name="refunds"), "card", n)):
        found = change(one, other)
        assert found is not None and (found.old, found.rebuilt) == (None, ("n",))
    assert change(one, View("card", SOURCE, "card", n, ttl="90d")) is None, "a ttl is no part of the state"


def test_a_state_of_neither_definition_is_refused() -> None:
    old, new = named(n=f.count()), named(n=f.count(), a=f.sum("a"))
    with pytest.raises(StateMismatch, match="neither"):
        Conversion(old, new).state(folded(new, [(0, {})]), None)
    with pytest.raises(StateMismatch, match="unreadable"):
        Conversion(old, new).state(b"no state", None)
