"""Features: an entity's values with their ages, until when each stays as it is, and what is defined, fresh, missing.

Laws of this file:
- `shown` is pure. Values are those of `penstock features get` for the same words.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from penstock.features.define.view import View
from penstock.stream.console.feature_words import defined, moves
from penstock.stream.console.page import Asked, NotFound, Page
from penstock.stream.console.reading import entity
from penstock.stream.console.reading.servers import servers_of
from penstock.stream.definitions import Pipeline
from penstock.stream.log.protocol import LogError
from penstock.stream.messages import rfc3339
from penstock.stream.operate.moments import span_of
from penstock.stream.process.terminal import printable

KEPT_S = 2.0
SHARES_KEPT_S = 15.0
MOST_KEY_CHARACTERS = 1_000
STATUSES = {"present": "", "null": "no value", "missing": "no event yet", "stale": "may have changed since"}


class NoTime(ValueError):
    """What was given as a moment is none."""


def definition_of(asked: Asked) -> Pipeline:
    """The definition of the pipeline. Raises `NotFound`."""
    state = asked.state
    if asked.definition is None:
        raise NotFound(f"this console was not given the definition of {state.name}: start it with its file")
    return asked.definition


def chosen(asked: Asked) -> tuple[View | None, tuple[str, ...], int | None]:
    """The view that is meant, the parts of a key (empty: none asked for), and the moment. Raises `NoTime`."""
    views = {view.name: view for view in definition_of(asked).views}
    view = views.get(asked.query.get("view", "")) or next(iter(views.values()), None)
    at = asked.query.get("at", "").strip()[:64]
    moment = span_of(at, None, NoTime).start if at else None
    if view is None:
        return None, (), moment
    parts = tuple(
        asked.query.get(f"k{number}", "")[:MOST_KEY_CHARACTERS] for number in range(len(view.key_fields))
    )
    return view, parts if all(parts) else (), moment


def defaults_of(pipeline: Pipeline) -> dict[str, Any]:
    """Values of entities without events, by the name of the input."""
    return {f"{view.name}.{one.name}": one.default for view in pipeline.views for one in defined(view)}


def reads(asked: Asked, sources: Any) -> dict[str, Any]:
    """The entity, if one is asked for, and what the newest samples say."""
    pipeline = definition_of(asked)
    servers = servers_of(sources)
    found: dict[str, Any] = {"entity": None, "newest": None, "failed": "", "wrong": ""}
    try:
        view, parts, at = chosen(asked)
        if view is not None and parts:
            key = ("entity", pipeline.name, view.name, parts, at)
            found["entity"] = servers.kept(
                key, KEPT_S, lambda: entity.look_up(servers, pipeline, view.name, parts, at)
            )
    except NoTime as error:
        found["wrong"] = str(error).replace("field 'start': ", "")
    try:
        found["newest"] = servers.kept(
            ("newest", pipeline.name),
            SHARES_KEPT_S,
            lambda: entity.newest(servers, pipeline, defaults_of(pipeline)),
        )
    except LogError as error:
        found["failed"] = str(error)
    return found


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything of the page."""
    pipeline, read = definition_of(asked), asked.read
    try:
        view, parts, at = chosen(asked)
    except NoTime:
        view, parts, at = next(iter(pipeline.views), None), (), None
    wanted = asked.query.get("view", "")
    newest = read["newest"]
    return {
        "state": asked.state,
        "views": [
            {
                "name": one.name,
                "key": ", ".join(one.key_fields),
                "source": one.source.name,
                "ttl": one.ttl,
                "reached": newest.reached.get(one.source.name) if newest else None,
                "features": [(each, share(newest, f"{one.name}.{each.name}")) for each in defined(one)],
            }
            for one in pipeline.views
        ],
        "inputs": [(name, share(newest, name)) for name in pipeline.inputs],
        "newest": newest,
        "failed_to_read": read["failed"],
        "view": view,
        "no_view": wanted if wanted and (view is None or view.name != wanted) else "",
        "fields": [
            (f"k{number}", field, asked.query.get(f"k{number}", ""))
            for number, field in enumerate(view.key_fields if view else ())
        ],
        "at": asked.query.get("at", "").strip()[:64],
        "wrong": read["wrong"],
        "parts_given": parts,
        "entity": read["entity"],
        "values": values_of(view, read["entity"]) if view else [],
        "command": command(view, parts, at) if view else "",
        "moments": moments(asked, view, parts, read["entity"]) if view else [],
    }


def share(newest: entity.Newest | None, name: str) -> tuple[float, float] | None:
    """The shares of nulls and of defaults; None where nothing is known."""
    if newest is None or not newest.samples or name not in newest.shares:
        return None
    found = newest.shares[name]
    return found.nulls / newest.samples, found.defaults / newest.samples


def values_of(view: View, found: entity.Found | None) -> list[dict[str, Any]]:
    """The values as they are shown: as the command prints them, with until when each stays as it is."""
    if found is None or found.features is None:
        return []
    features, rows = found.features, []
    for name, value in features.values.items():
        feature = view.features.get(name)
        until = found.changes.get(name, 0)
        if features.status[name] == "missing":
            stays = "until an event comes"
        elif feature is not None and moves(feature):
            stays = "changes all the time"
        elif name not in found.changes:
            stays = "not known"
        else:
            stays = "until an event comes" if until is None else ""
        rows.append(
            {
                "name": name,
                "value": printable(str(value)),
                "status": features.status[name],
                "said": STATUSES[features.status[name]],
                "stays": stays,
                "until": until,
            }
        )
    return rows


def command(view: View, parts: tuple[str, ...], at: int | None) -> str:
    """The command line that says the same; with a place for the entity where none is given."""
    entity_said = shlex.quote("|".join(parts)) if parts else "ENTITY"
    return f"penstock features get {view.name} {entity_said} --file FILE" + (
        f" --at {rfc3339(at)}" if at is not None else ""
    )


def moments(
    asked: Asked, view: View, parts: tuple[str, ...], found: entity.Found | None
) -> list[tuple[str, int, str]]:
    """Moments worth asking for: what they are, when (ms), and the query that asks for them."""
    if not parts:
        return []
    given = {"view": view.name, **{f"k{number}": part for number, part in enumerate(parts)}}
    features = found.features if found else None
    worth = []
    if features is not None and features.at_ms is not None and features.age_ms is not None:
        worth.append(("its newest event", features.at_ms - features.age_ms))
    # Before its newest event an entity is not kept.
    if asked.state.event_at >= max([at for _, at in worth], default=1):
        worth.append(("the newest event time of the pipeline", asked.state.event_at))
    return [(what, at, urlencode({**given, "at": rfc3339(at)})) for what, at in worth]


PAGE = Page("features", "Features", "/pipelines/{pipeline}/features", shown, order=41, reads=reads)
