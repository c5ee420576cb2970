"""Feast's definitions as Penstock's.

Laws of this file:
- A feature view without aggregations keeps the newest row of an entity: each of its fields is a `last`, for as long as its ttl.
- An aggregation of a stream feature view is the feature of that name over a window that moves along, or hops where it says so.
- What runs code of its own (transformations, on-demand views) is not converted: only the author knows what it does.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from penstock.stream.convert.recorded import Ran, Recorded, definition_files, run
from penstock.stream.convert.written import Converted, MadeView, Topic, duration, identifier, topic_name

NUMBERS = {"Float32", "Float64", "Int32", "Int64", "Bool", "FLOAT", "DOUBLE", "INT32", "INT64", "BOOL"}
TEXTS = {"String", "STRING"}
VIEWS = {"FeatureView", "BatchFeatureView", "StreamFeatureView"}
DECORATED = {"stream_feature_view", "batch_feature_view", "feature_view"}
FUNCTIONS = {
    "sum": "sum", "mean": "mean", "avg": "mean", "min": "min", "max": "max", "std": "std", "stddev": "std",
    "var": "variance", "variance": "variance", "count": "count", "count_distinct": "distinct", "nunique": "distinct",
}  # fmt: skip
ID = "event_id"


def from_feast(place: Path) -> Converted:
    """What a Feast repository, or one file of it, says."""
    root = place if place.is_dir() else place.parent
    ran = run(definition_files(place), root, ["feast"])
    found = Converted("Feast")
    for (_, _), one in ran.said.items():
        _one(found, one)
    _tell(found, ran)
    if found.topics:
        found.note(f"Penstock's events have an id; Feast's have none: their field is called {ID} here")
    return found


def _tell(found: Converted, ran: Ran) -> None:
    for path, why in ran.failed.items():
        found.left[f"file {path}"] = f"it does not run: {why}"


def _one(found: Converted, one: Recorded) -> None:
    made = one if one.of is None or one.of.args is None else one.of
    name = str(made.given("name", 0, one.kind))
    if one.kind in VIEWS and made is one:
        _view(found, one, name)
    elif one.kind in DECORATED:
        function = next(
            (arg for arg in one.args or () if callable(arg) and not isinstance(arg, Recorded)), None
        )
        named = str(made.kwargs.get("name") or getattr(function, "__name__", name))
        found.left[f"view {named}"] = (
            "its values come of a Python function that Feast runs: publish what it computes, or say it with where= and row()"
        )
    elif one.kind == "on_demand_feature_view":
        function = next(
            (arg for arg in one.args or () if callable(arg) and not isinstance(arg, Recorded)), None
        )
        found.left[f"on-demand view {getattr(function, '__name__', name)}"] = (
            "its Python function runs when a request comes: compute it in the event that asks, as an input, or with row()"
        )
    elif one.kind == "OnDemandFeatureView":
        found.left[f"on-demand view {name}"] = (
            "it computes when a request comes: compute it in the event that asks, as an input"
        )
    elif one.kind == "LabelView":
        found.left[f"label view {name}"] = (
            "labels are a topic of their own: Label(source, outcome, wait=...), with corrected="
        )
    elif one.kind == "FeatureService":
        found.left[f"feature service {name}"] = (
            "a model reads all features of its pipeline's views: leave out those that it shall not"
        )


def _view(found: Converted, one: Recorded, name: str) -> None:
    what = f"view {name}"
    key = _key(one)
    if not key:
        found.left[what] = "it has no entity: a view of Penstock is keyed"
        return
    if one.given("udf") is not None or one.given("feature_transformation") is not None:
        found.left[what] = "its values come of a Python function that Feast runs: publish what it computes"
        return
    source = one.given("source", otherwise=one.given("stream_source", otherwise=one.given("batch_source")))
    if not isinstance(source, Recorded):
        found.left[what] = "it has no source of its own, or several"
        return
    time = _time(source) or one.given("timestamp_field")
    if not isinstance(time, str) or not time:
        found.left[what] = "its source names no timestamp_field"
        return
    topic = topic_name(_topic(source))
    view = MadeView(identifier(name), topic, key)
    aggregations = one.given("aggregations") or []
    for aggregation in aggregations:
        _aggregation(found, view, what, aggregation, one)
    if not aggregations:
        _newest(found, view, what, one)
    if view.features:
        found.topics.setdefault(topic, Topic(topic, ID, time, key))
        found.views[view.name] = view
        if not _streams(source):
            found.note(f"{topic} was a table of rows: publish its rows as events to a topic of that name")


def _key(one: Recorded) -> tuple[str, ...]:
    keys: list[str] = []
    for entity in one.given("entities") or []:
        if isinstance(entity, Recorded):
            keys += entity.given("join_keys") or [str(entity.given("name", 0, ""))]
        else:
            keys.append(str(entity))
    return tuple(keys)


def _time(source: Recorded) -> Any:
    batch = source.given("batch_source")
    return source.given("timestamp_field") or (
        batch.given("timestamp_field") if isinstance(batch, Recorded) else None
    )


def _streams(source: Recorded) -> bool:
    return source.kind in ("KafkaSource", "KinesisSource", "PushSource")


def _topic(source: Recorded) -> str:
    for name in ("topic", "name", "table"):
        if isinstance(found := source.given(name), str):
            return found
    path = source.given("path") or source.given("query") or source.kind
    return Path(str(path)).stem


def _newest(found: Converted, view: MadeView, what: str, one: Recorded) -> None:
    """Each field of the newest row, for as long as the view's ttl."""
    schema = one.given("schema") or one.given("features") or []
    if not schema:
        found.left[what] = "it has no schema: say which fields it has"
    ttl = one.given("ttl")
    for column in schema:
        if not isinstance(column, Recorded):
            continue
        name, kind = str(column.given("name", 0)), column.given("dtype", 1)
        of_type = kind.kind if isinstance(kind, Recorded) else str(kind)
        if name in view.key:
            continue
        if of_type not in NUMBERS | TEXTS:
            found.left[f"{what}, field {name}"] = (
                f"it is a {of_type}, and a feature is a number, or text in documents"
            )
            continue
        holds = ", holds='text'" if of_type in TEXTS else ""
        if isinstance(ttl, timedelta) and (ms := round(ttl.total_seconds() * 1000)):
            before = len(view.features)
            found.add(view, name, f"last({name!r}, {duration(ms)!r}{holds})", f"{what}, field {name}")
            if len(view.features) > before:
                found.note("a value lives for the ttl, and at most a twelfth longer: windows move in steps")
                continue
            refused = found.left.pop(f"{what}, field {name}")
            found.note(f"{view.name}.{name} lives for ever, as its ttl is no window: {refused}")
        found.add(view, name, f"last({name!r}{holds})", f"{what}, field {name}")


def _aggregation(found: Converted, view: MadeView, what: str, aggregation: Any, one: Recorded) -> None:
    if not isinstance(aggregation, Recorded):
        return
    column = str(aggregation.given("column", 0))
    function = str(aggregation.given("function", 1))
    name = aggregation.given("name", 4) or f"{function}_{column}"
    here = f"{what}, aggregation {name}"
    word = FUNCTIONS.get(function)
    if word is None:
        found.left[here] = f"there is no {function}"
        return
    window = _window(found, aggregation, one)
    if identifier(name) in view.features and window:
        name = f"{name}_{duration(round(aggregation.given('time_window', 2).total_seconds() * 1000))}"
    if word == "count":
        found.note(
            f"{view.name}.{identifier(name)} counts events, whether or not they have the field {column}"
        )
        found.add(view, name, f"count({window})", here)
    else:
        found.add(view, name, f"{word}({column!r}{', ' + window if window else ''})", here)


def _window(found: Converted, aggregation: Recorded, one: Recorded) -> str:
    """The window as it is written; empty for all time."""
    length, slide = aggregation.given("time_window", 2), aggregation.given("slide_interval", 3)
    if not isinstance(length, timedelta) or not length:
        return ""
    text = duration(round(length.total_seconds() * 1000))
    tile = one.given("tiling_hop_size")
    if isinstance(slide, timedelta) and slide:
        by = duration(round(slide.total_seconds() * 1000))
        return f"tumbling({text!r})" if slide == length else f"hopping({text!r}, {by!r})"
    found.note("windows without a slide_interval move along with time, event by event")
    if one.given("enable_tiling") and isinstance(tile, timedelta) and tile:
        return f"sliding({text!r}, {duration(round(tile.total_seconds() * 1000))!r})"
    return repr(text)
