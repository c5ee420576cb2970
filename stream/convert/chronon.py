"""Chronon's group-bys as Penstock's views.

Laws of this file:
- An aggregation is one feature for each of its windows, under the name of Chronon's column.
- A field is a column that a query selects as it stands. What SQL computes is not converted, nor is a group-by that SQL filters:
  without its filter it would be another one.
- The left side of the first join is what is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from penstock.stream.convert.recorded import Recorded, definition_files, run
from penstock.stream.convert.written import Converted, MadeView, Topic, identifier, topic_name

SIMPLE = {
    "SUM": "sum", "AVERAGE": "mean", "MIN": "min", "MAX": "max", "FIRST": "first", "LAST": "last", "VARIANCE": "variance",
    "UNIQUE_COUNT": "distinct", "APPROX_UNIQUE_COUNT": "distinct", "APPROX_UNIQUE_COUNT_LGK": "distinct",
    "BOUNDED_UNIQUE_COUNT_K": "distinct",
}  # fmt: skip
UNITS = {"HOURS": "h", "DAYS": "d"}
ID = "event_id"


class Query(NamedTuple):
    """What a source gives: its topic, the field of its time, and the field behind each column (None: SQL computes it)."""

    topic: str
    time: str
    fields: dict[str, str | None]
    streams: bool

    def field(self, column: str) -> str | None:
        """The field of a column; without a selection every column is one."""
        return self.fields.get(column) if self.fields else column


class Unlike(Exception):
    """Why something has no counterpart."""


def from_chronon(place: Path) -> Converted:
    """What a Chronon repository, or a folder or file of it, says."""
    place = place.absolute()
    root = _root(place)
    ran = run(definition_files(place), root, ["ai"])
    found = Converted("Chronon")
    for (path, variable), one in ran.said.items():
        parts = [*path.removesuffix(".py").split("/"), variable]
        name = ".".join(parts[1:] if parts[0] in ("group_bys", "joins") else parts)
        if one.kind == "GroupBy":
            try:
                _group_by(found, one, name)
            except Unlike as error:
                found.left[f"group-by {name}"] = str(error)
        elif one.kind in ("Join", "Model", "StagingQuery"):
            _other(found, one, name)
    for path, why in ran.failed.items():
        found.left[f"file {path}"] = f"it does not run: {why}"
    if found.views:
        found.note(
            "Chronon's training sets leave out events of a row's own millisecond: features history --before"
        )
        found.note(f"Penstock's events have an id; Chronon's have none: their field is called {ID} here")
    return found


def _root(place: Path) -> Path:
    """The folder that holds group_bys and joins, which definitions are imported from."""
    for folder in (place, *place.parents):
        if folder.name in ("group_bys", "joins"):
            return folder.parent
    return place if place.is_dir() else place.parent


def _query(source: Any) -> Query:
    """What a source of events gives. Raises `Unlike`."""
    if isinstance(source, list | tuple):
        if len(source) != 1:
            raise Unlike("it reads several sources, and a view has one: publish them to one topic")
        source = source[0]
    if not isinstance(source, Recorded) or source.args is None:
        raise Unlike("its source is not known here")
    if source.kind == "Source":
        if source.given("entities") is not None:
            raise Unlike(
                "it reads a table of snapshots, not events: publish what changes in it to a topic, and take last(field)"
            )
        source = source.given("events", 0)
    if not isinstance(source, Recorded) or source.kind != "EventSource":
        raise Unlike("it reads no events (another join's output, say): make views of the events themselves")
    query = source.given("query")
    if not isinstance(query, Recorded):
        raise Unlike("its source has no query")
    if query.given("wheres"):
        raise Unlike(
            f"SQL filters its events ({'; '.join(map(str, query.given('wheres')))}): say that with where= at each feature"
        )
    time = query.given("time_column")
    if not isinstance(time, str) or not time.isidentifier():
        raise Unlike(f"its time is {time!r}, which is no field")
    selects, fields = query.given("selects"), dict[str, str | None]()
    if isinstance(selects, Recorded):
        fields = {str(name): str(name) for name in selects.args or ()}
        fields |= {name: said if str(said).isidentifier() else None for name, said in selects.kwargs.items()}
    topic, table = source.given("topic"), source.given("table", 0)
    if not isinstance(named := topic or table, str):
        raise Unlike("its table is the output of something else: make views of the events themselves")
    return Query(topic_name(named.partition("/")[0]), time, fields, bool(topic))


def _group_by(found: Converted, one: Recorded, name: str) -> None:
    query = _query(one.given("sources"))
    key = []
    for column in one.given("keys") or []:
        field = query.field(column)
        if field is None:
            raise Unlike(f"SQL computes its key {column}: publish it as a field")
        key.append(field)
    aggregations = one.given("aggregations")
    if not key or not aggregations:
        raise Unlike("it aggregates nothing: take last(field) of the events that change it")
    view = MadeView(identifier(name), query.topic, tuple(key))
    for aggregation in _flat(aggregations):
        column = str(aggregation.given("input_column", 0))
        try:
            calls = list(_calls(aggregation, query))
        except Unlike as error:
            operation = aggregation.given("operation", 1)
            found.left[f"group-by {name}, {getattr(operation, 'kind', operation)} of {column}"] = str(error)
            continue
        for feature, call in calls:
            found.add(view, feature, call, f"group-by {name}, {feature}")
        words = {call.partition("(")[0] for _, call in calls}
        if "count" in words:
            found.note("counts are of the events whose column is not null, as Chronon's: where= says so")
        if "variance" in words:
            found.note("a variance is divided by n - 1, and Chronon's by n")
    if one.given("derivations"):
        found.left[f"group-by {name}, derivations"] = (
            "SQL computes them of features: compute them where the features are read"
        )
    if not view.features:
        return
    found.topics.setdefault(query.topic, Topic(query.topic, ID, query.time, view.key))
    found.views[view.name] = view
    if not query.streams:
        found.note(f"{query.topic} was a table: publish its rows as events to a topic of that name")


def _flat(aggregations: Any) -> Iterator[Recorded]:
    if isinstance(aggregations, Recorded):
        aggregations = [
            Recorded(one.name, one.of, one.args, {"input_column": name, **one.kwargs})
            for name, one in aggregations.kwargs.items()
            if isinstance(one, Recorded)
        ]
    for one in aggregations:
        if isinstance(one, Recorded):
            yield one


def _calls(aggregation: Recorded, query: Query) -> Iterator[tuple[str, str]]:
    """The features of one aggregation, as they are written. Raises `Unlike`."""
    column = str(aggregation.given("input_column", 0))
    field = query.field(column)
    if field is None:
        raise Unlike(f"SQL computes {column}, or it is not selected: publish it as a field")
    if aggregation.given("buckets"):
        raise Unlike("it is one value for each bucket: make a view whose key has the bucket's field, too")
    if aggregation.given("element_wise"):
        raise Unlike("it is of the elements of a list, and a field is one value")
    operation = aggregation.given("operation", 1)
    kind = operation.kind if isinstance(operation, Recorded) else "LAST"
    args = operation.args if isinstance(operation, Recorded) and operation.args is not None else ()
    for window in aggregation.given("windows", 2) or [None]:
        text = "" if window is None else _window(window)
        end, more = (f"_{text}", f", {text!r}") if text else ("", "")
        if kind in SIMPLE:
            yield f"{column}_{kind.lower()}{end}", f"{SIMPLE[kind]}({field!r}{more})"
        elif kind == "COUNT":
            where = f"where={f'{field} == {field}'!r}"
            yield f"{column}_count{end}", f"count({f'{text!r}, ' if text else ''}{where})"
        elif kind == "LAST_K" and args:
            yield f"{column}_last{args[0]}{end}", f"last_n({field!r}, {args[0]}{more})"
        elif kind in ("HISTOGRAM_K", "APPROX_HISTOGRAM_K") and args and args[0]:
            yield f"{column}_{kind.lower()}{args[0]}{end}", f"top_k({field!r}, {args[0]}{more})"
        elif kind == "APPROX_PERCENTILE" and args:
            for q in args[0]:
                name = f"{column}_p{100 * float(q):g}{end}"
                yield name, f"quantile({field!r}, {q}{more})"
        else:
            raise Unlike(f"there is no {kind}")


def _window(window: Any) -> str:
    """A window as Penstock writes a duration. Raises `Unlike`."""
    if isinstance(window, str):
        return window
    length, unit = window.given("length", 0), window.given("timeUnit", 1)
    if not isinstance(unit, Recorded) or unit.kind not in UNITS:
        raise Unlike("its window is of an unknown unit")
    return f"{length}{UNITS[unit.kind]}"


def _other(found: Converted, one: Recorded, name: str) -> None:
    what = f"{one.kind.lower()} {name}"
    if one.kind != "Join":
        found.left[what] = "it is SQL or a model of its own"
        return
    if found.predict is not None:
        found.left[what] = (
            f"a pipeline predicts one source's events, here {found.predict.name}: make another pipeline of it"
        )
        return
    try:
        query = _query(one.given("left"))
    except Unlike as error:
        found.left[what] = str(error)
        return
    keys = {key for view in found.views.values() for key in view.key}
    key = tuple(field for field in query.fields.values() if field in keys)
    if not key:
        found.left[what] = "its left side selects no key of a view that was converted"
        return
    found.predict = Topic(query.topic, ID, query.time, key)
