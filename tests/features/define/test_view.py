"""Definitions are validated where they stand, and the error names the place."""

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import penstock.features as f
from penstock import View, count, last, max, mean, min, since_last, sum
from penstock.features import decayed_count, histogram, last_n, quantile, top_k
from penstock.features.define.view import Feature
from penstock.features.engine.compute import CompiledView
from penstock.features.engine.program import literal
from penstock.features.windows.tiles import MAX_TILES, tile_hop_ms

SOURCE = SimpleNamespace(name="flights.arrivals")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NAN = float("nan")


def view(**changes: Any) -> View:
    good: dict[str, Any] = {
        "name": "airport",
        "source": SOURCE,
        "key": "origin",
        "features": {"n": count("1h")},
    }
    return View(**{**good, **changes})


def test_every_constructor_says_what_it_reads() -> None:
    assert mean("delay", "3h") == Feature("mean", "delay", 3 * HOUR, "3h")
    assert [f.kind for f in (count(), sum("a"), min("a"), max("a"), last("a"), since_last())] == [
        "count", "sum", "min", "max", "last", "since_last",
    ]  # fmt: skip
    assert count("1h") == Feature("count", None, HOUR, "1h")
    assert sum("a").window_ms is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: count("3"), r"count\('3'\): duration '3' has no unit"),
        (lambda: mean("delay", "3 weeks"), r"mean\('delay', '3 weeks'\): .*unknown unit 'weeks'"),
        (lambda: mean("", "3h"), r"mean\('', '3h'\): the first argument is the name of a field"),
        (lambda: max("delay", "900d"), r"longer than 800 days: leave it out"),
        (lambda: max("delay", "900001ms"), r"use a multiple of .* such as"),
        (lambda: Feature("median", "a"), "kind 'median' is unknown"),  # type: ignore[arg-type]
        (lambda: count("99999999999999999999d"), "longer than ten thousand years"),
        (lambda: count("9" * 5000 + "d"), "longer than ten thousand years"),
        (lambda: decayed_count("3652501d"), "longer than ten thousand years"),
        (lambda: Feature("decayed_count", constant=NAN), "half-life nan is not a whole number"),
        (lambda: Feature("decayed_sum", "a", constant=float("inf")), "half-life inf"),
        (lambda: Feature("decayed_sum", "a", constant=0), "half-life 0"),
        (lambda: Feature("decayed_mean", "a", constant=True), "half-life True"),
        (lambda: Feature("decayed_mean", "a", constant="__import__('os')"), "half-life .__import__"),
        (lambda: Feature("count", None, NAN, "1h"), "window_ms nan is not a whole number"),  # type: ignore[arg-type]
        (lambda: Feature("count", None, True, "1h"), "window_ms True is not a whole number"),
        (lambda: Feature("count", None, HOUR, "1h", "sliding", -5), "hop_ms -5 is not a whole number"),
        (lambda: Feature("sum", 7), "field 7 is not the name of a field"),  # type: ignore[arg-type]
        (lambda: quantile("a", NAN), "quantile nan"),
        (lambda: quantile("a", True), "quantile True"),
        (lambda: top_k("a", True), "True is not a number of values"),
        (lambda: last_n("a", 2.0), "2.0 is not a number of values"),  # type: ignore[arg-type]
        (lambda: histogram("a", [0, NAN]), "edges .* are not"),
        (lambda: histogram("a", [0, 10**400]), "edges .* are not"),
        (lambda: count(default=NAN), "default nan is not a finite number"),
        (lambda: count(default=1e200), "default 1e.200 is not a finite number up to 1e.75"),
        (lambda: count(default=10**400), "is not a finite number up to 1e.75"),
        (lambda: count(default=True), "default True is not a finite number"),
        (lambda: mean("3d"), "'3d' is a duration, and the field comes first"),
        (lambda: Feature("count", "a"), "count takes no field"),
        (lambda: Feature("since_last", None, HOUR, "1h"), "since_last takes no window"),
        (lambda: view(name="air port"), "view name 'air port'"),
        (lambda: view(name="a:b"), "view name 'a:b'"),
        (lambda: view(source="arrivals"), "view 'airport': its source 'arrivals' has no name"),
        (lambda: view(key=""), "view 'airport': key ''"),
        (lambda: view(key=()), r"view 'airport': key \(\)"),
        (lambda: view(key=["origin"]), "view 'airport': key .* tuple"),
        (lambda: view(key=("a", "a")), "names a field twice"),
        (lambda: view(features={}), "view 'airport' has no features"),
        (lambda: view(features={"n 1": count()}), "view 'airport', feature 'n 1'"),
        (lambda: view(features={"n": "count"}), "view 'airport', feature 'n' is 'count': use count"),
        (lambda: view(ttl="forever"), "view 'airport': ttl: duration 'forever'"),
        (
            lambda: view(features={"n": count("60d")}),
            "feature 'n': its window 60d outlives the view's ttl 30d",
        ),
    ],
)
def test_a_mistake_is_one_clear_error_that_names_the_place(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        build()
    assert "\n" not in str(raised.value)


def test_a_view_is_frozen_with_its_features() -> None:
    given = {"n": count()}
    frozen = view(features=given)
    given["m"] = count()
    assert list(frozen.features) == ["n"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        frozen.features["m"] = count()  # type: ignore[index]


class Topic(NamedTuple):
    name: str


def test_equal_views_are_equal_and_hash_alike() -> None:
    one, other = (view(source=Topic("arrivals"), features={"n": count()}) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert one != view(source=Topic("arrivals"), features={"n": count("1h")})


def test_a_view_tells_its_fields_keys_and_horizon() -> None:
    v = view(
        key=("origin", "carrier"),
        features=dict(a=mean("delay", "3h"), b=last("delay"), c=sum("distance", "1h"), d=count("1h")),
    )
    assert v.fields == ("delay", "distance")
    assert v.key_fields == ("origin", "carrier")
    assert v.horizon_ms is None
    assert view(features=dict(a=count("3h"), b=count("1d"))).horizon_ms == DAY + HOUR
    assert v.ttl_ms == 30 * DAY


def test_the_description_is_json_and_changes_with_every_value() -> None:
    base = view()
    assert json.loads(json.dumps(base.describe())) == base.describe()
    changed = [
        view(name="b"), view(source=SimpleNamespace(name="x")), view(key="dest"),
        view(features={"m": count("1h")}),
        view(features={"n": count("60m")}), view(features={"n": count("2h")}), view(ttl="31d"),
    ]  # fmt: skip
    same = [v.describe() == base.describe() for v in changed]
    assert same == [False, False, False, False, True, False, False]


def test_tiles_are_fine_enough_and_few_enough() -> None:
    expected = {
        "1ms": 1, "12ms": 1, "500ms": 10, "1m": 5_000, "30m": MINUTE, "1h": 5 * MINUTE, "12h": 5 * MINUTE,
        "13h": HOUR, "12d": HOUR, "13d": DAY, "800d": DAY,
    }  # fmt: skip
    for text, hop in expected.items():
        window_ms = count(text).window_ms if text != "800d" else 800 * DAY
        assert window_ms is not None
        assert tile_hop_ms(window_ms) == hop
        assert window_ms % hop == 0 and window_ms // hop <= MAX_TILES


class Odd(str):
    """Text whose `repr` is code."""

    def __repr__(self) -> str:
        return "__import__('os')._exit(3)"


class OddNumber(float):
    """A number whose `repr` is code."""

    def __repr__(self) -> str:
        return "__import__('os')._exit(3)"


def test_only_plain_numbers_and_text_reach_generated_code() -> None:
    """`np.float64` and `np.str_` write themselves as calls of a module that the generated code has not."""
    for number, text in ((np.float64, np.str_), (OddNumber, Odd)):
        features = {
            "q": quantile(text("a"), number(0.5), default=number(1.5)),
            "h": histogram("a", [number(0.5), number(2)]),
            "l": last(text("c"), holds="text", default=text("none")),
            "r": f.ratio(sum(text("a")), count(), default=number(2.5)),
        }
        engine = CompiledView(view(features=features), "python")
        assert engine.values(engine.new(), 0) == [1.5, None, "none", 2.5]
        assert engine.view.version == plain().version


def plain() -> View:
    return view(features={
        "q": quantile("a", 0.5, default=1.5), "h": histogram("a", [0.5, 2.0]),
        "l": last("c", holds="text", default="none"), "r": f.ratio(sum("a"), count(), default=2.5),
    })  # fmt: skip


@pytest.mark.parametrize(
    "value", [NAN, float("inf"), -float("inf"), Odd("x"), OddNumber(1), np.float64(1), [1], True]
)
def test_what_is_no_plain_literal_is_never_generated_code(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot stand in generated code"):
        literal(value)
