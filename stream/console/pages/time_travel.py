"""Time travel: a pipeline as it was at a position or a moment: models, losses, episodes, what was decided, an entity's vector.

Laws of this file:
- `shown` is pure, and says at which position what it shows was known. What no topic keeps is said to be not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from penstock.stream import topology
from penstock.stream.console.charts import Axis, losses, spans_of, weights
from penstock.stream.console.health import judged, open_findings
from penstock.stream.console.page import Asked, Page
from penstock.stream.console.past import DAY_MS
from penstock.stream.console.reading import then as reading
from penstock.stream.console.reading.republish import number
from penstock.stream.console.reading.servers import servers_of
from penstock.stream.console.state import Change, PipelineState
from penstock.stream.console.then import Then, around
from penstock.stream.definitions import Pipeline
from penstock.stream.log.protocol import LogError
from penstock.stream.messages import ControlEvent, Decision, OperatorRequest, rfc3339
from penstock.stream.operate.expert_lines import kind_in_words
from penstock.stream.operate.moments import span_of
from penstock.stream.process.terminal import printable

KEPT_S, NEWEST_KEPT_S = 120.0, 2.0
SPAN_DAYS = 30
NEWEST = 12
FIRST = "v0"
STEPS = 200
"""The keyboard goes through the whole past in so many steps."""
MOST_KEY_CHARACTERS = 1_000
NAMES = {"commit": "committed", "lead": "leads", "deploy": "definition", "hold": "hold"}


class NoTime(ValueError):
    """What was given as a moment is none."""


def place(asked: Asked) -> tuple[int | None, int | None]:
    """The position, or the moment, that is asked for; neither: the newest. Raises `NoTime`."""
    query = asked.query
    at = query.get("at", "").strip()[:64]
    if query.get("position", "").strip():
        found = number(query["position"])
        if found is None:
            raise NoTime("the position must be a whole number: an offset of the samples log")
        return min(found, asked.state.position), None
    if not at:
        return asked.state.position, None
    return None, span_of(at, None, NoTime).start


def reads(asked: Asked, sources: Any) -> dict[str, Any]:
    """The pipeline then; `failed` says why not."""
    servers, name = servers_of(sources), asked.state.name
    key = asked.query.get("key", "")[:MOST_KEY_CHARACTERS]
    found: dict[str, Any] = {"then": None, "entity": None, "failed": "", "wrong": ""}
    try:
        position, at_ms = place(asked)
        last = asked.state.last
        known = last.position if last else -1
        found["then"] = servers.kept(
            ("then", name, position, at_ms),
            lambda told: KEPT_S if told.position < known else NEWEST_KEPT_S,
            lambda: reading.look(servers, name, position, at_ms),
        )
        if key:
            here = found["then"].position
            found["entity"] = servers.kept(
                ("entity then", name, key, here),
                KEPT_S,
                lambda: reading.entity_then(servers, name, key, here),
            )
    except NoTime as error:
        found["wrong"] = str(error).replace("field 'start': ", "")
    except LogError as error:
        found["failed"] = str(error)
    return found


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything of the page."""
    read, now = asked.read, asked.state
    told: Then | None = read["then"]
    always = {
        "state": now,
        "wrong": read["wrong"],
        "failed_to_read": read["failed"],
        "given_at": asked.query.get("at", "").strip()[:64],
        "given_position": asked.query.get("position", "").strip()[:30],
        "key": asked.query.get("key", "")[:MOST_KEY_CHARACTERS],
        "then": told,
        "first": min([each[0].position for each in (now.past.points, now.past.hours) if each], default=0),
        "figures": {},
        "step": max(now.position // STEPS, 1),
    }
    return always if told is None else always | _then(asked, told, read["entity"])


def _then(asked: Asked, told: Then, entity: reading.EntityThen | None) -> dict[str, Any]:
    """What the pipeline was."""
    now, state = asked.state, told.state
    record = told.record
    at = record.at if record else 0
    began = min([each[0].since for each in (state.past.points, state.past.hours) if each], default=0)
    axis = Axis(max(at - SPAN_DAYS * DAY_MS, began), at)
    spans = [one for one in spans_of(state) if one.until is None or one.until * 1000 >= axis.since]
    before, after = around(now.changes, told.position)
    blocks = [one for one in state.blocks if one.kind == "labels"]
    return {
        "record": record,
        "models": told.models,
        "experts": sorted(told.models.experts, key=lambda one: -one.weight) if told.models else [],
        "kind": kind_in_words,
        "block": blocks[-1] if blocks else None,
        "judged": judged(state),
        "open": open_findings(state),
        "figures": {
            "losses": losses(state.past.since(axis.since), [], spans, axis),
            "weights": weights(state.past.since(axis.since), spans, axis),
        }
        if record
        else {},
        "changes": [(NAMES[one.what], one) for one in reversed(state.changes) if one.what in NAMES][:NEWEST],
        "asked_then": asked_of(state)[:NEWEST],
        "before": step(before, asked),
        "after": step(after, asked),
        "entity": entity,
        "vector": vector(entity, asked.definition),
        "commands": commands(now.name, told, asked.prefix),
    }


def step(change: Change | None, asked: Asked) -> dict[str, Any] | None:
    """A change to go to."""
    if change is None:
        return None
    key = asked.query.get("key", "")[:MOST_KEY_CHARACTERS]
    query = {"position": change.position, **({"key": key} if key else {})}
    return {"query": urlencode(query), "change": change, "name": NAMES.get(change.what, change.what)}


def asked_of(state: PipelineState) -> list[tuple[int, str, str]]:
    """What people asked and what was decided by then, the newest first: broker's time, what, in words."""
    found = []
    for told in reversed(state.told):
        message = told.message
        if isinstance(message, OperatorRequest):
            found.append((told.wall_ms, "asked", f"{message.by}: {message.verb}, “{message.reason}”"))
        elif isinstance(message, Decision):
            found.append((told.wall_ms, message.verdict, f"{message.verb} by {message.by}: {message.why}"))
        elif isinstance(message, ControlEvent):
            continue
    return found


def vector(entity: reading.EntityThen | None, pipeline: Pipeline | None) -> list[tuple[str, str]]:
    """The inputs of the entity's last sample."""
    sample = entity.sample if entity else None
    if sample is None:
        return []
    names = pipeline.vector_names if pipeline is not None else []
    if len(names) != len(sample.x) or (pipeline and sample.recipe not in ("", pipeline.digest)):
        names = [f"input {number}" for number in range(len(sample.x))]
    return [
        (name, "null" if value is None else printable(str(value)))
        for name, value in zip(names, sample.x, strict=True)
    ]


def commands(name: str, told: Then, prefix: str) -> list[tuple[str, str]]:
    """The command lines that say or work out the same: what each does, and the line."""
    record = told.record
    if record is None:
        return [("the whole past", f"penstock history {name}")]
    at, version = rfc3339(record.at), record.committed
    found = [("losses and weights up to here", f"penstock history {name} --to {rfc3339(record.at + 1)}")]
    if version != FIRST:  # which is stored by nobody: it is the definition's own
        topic = topology.samples(name, prefix)
        found += [
            (
                "make the committed version again from the log, and compare",
                f"penstock replay FILE --version {version}",
            ),
            (
                "what the version that was committed would have said since",
                f"penstock score FILE --topic {topic} --from {at} --models {version} --out since.parquet",
            ),
        ]
    return [
        *found,
        ("would another definition have done better since?", f"penstock what-if CHANGED.py --from {at}"),
    ]


PAGE = Page("time_travel", "Time travel", "/pipelines/{pipeline}/time-travel", shown, order=44, reads=reads)
