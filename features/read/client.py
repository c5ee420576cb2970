"""Reading features from Redis: many entities of many views in one round trip, each value with a status.

The public document of an entity is JSON in a Redis string, so that any language reads it in a few lines
(`tests/features/read/read_features.js`): `{"values": {name: number, text, list or null}, "at": ms, "until": ms or null,
"written": ms, "recipe": text}` at the key `features:<prefix><pipeline>:<view>:<entity>` (the prefix is nearly always
empty). It is stale from `until` on.

Laws:
- A value is never given for a moment it does not hold for without saying so. Without the definitions, the public
  documents are read, and a value whose document has passed its `until` is `stale`. With the definitions, windows are
  evaluated as of the reader's moment from private state, and nothing is stale.
- What one `read` gives of a view is of one version of it: the live one, which `features:<pipeline>` names and which is
  read in the same moment. While a definition changes, a document holds both versions' values, the next ones under
  `"next"`, and the live key switches all of them at once.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import redis

from penstock.features.define.durations import milliseconds
from penstock.features.define.view import View
from penstock.features.engine.compute import CompiledView, State, StateMismatch
from penstock.features.read.served import Entity, Features, Served, Status, Value
from penstock.features.redis.keys import entity_key, live_key, public_key, state_key
from penstock.features.redis.refused import unusable
from penstock.features.redis.store import address, connect

__all__ = [
    "Entity", "FeatureReader", "Features", "MomentPassed", "MultiGet", "OtherDefinition", "Served", "Status", "Value",
]  # fmt: skip


class MomentPassed(ValueError):
    """The moment asked for is before what is stored: the past is not kept, ask for now or later."""


class OtherDefinition(StateMismatch):
    """The pipeline serves another version of a view than the reader's definitions: load the newest ones."""


class MultiGet(Protocol):
    """What the reader needs of a client."""

    def mget(self, keys: Sequence[str], /) -> Any:
        """Give the values of many keys, None where there is none."""


class _Document(msgspec.Struct, gc=False):
    values: dict[str, Value]
    at: int
    until: int | None
    recipe: str
    next: "_Document | None" = None


class _Live(msgspec.Struct):
    views: dict[str, str]


_live = msgspec.json.Decoder(_Live).decode


class FeatureReader:
    """Reads features of one pipeline.

    Args:
        source: a Redis URL, or a client with `mget` that gives bytes.
        pipeline: name of the pipeline.
        views: its definitions, to evaluate windows at the moment of reading; None reads public documents.
        tasks: the tasks that may own an entity's private state; only used with `views`. All are asked, in
        the
            same round trip.
        max_age: how old a value may be: a duration for all, or by `"view.feature"` or `"view"`. A value whose
            entity had its last event (without `views`: whose document was evaluated) longer ago is `stale`.
        prefix: the deployment's `PENSTOCK_PREFIX`; its keys are `features:<prefix><pipeline>:…`.
        timeout_s: longest wait for the server, if `source` is a URL.
        options: for a URL, passed to `redis.Redis.from_url`: user, password, TLS, pool size.

    Attributes:
        served: what it has given so far.
        tasks: those that are asked; may be replaced between two reads.

    """

    def __init__(
        self,
        source: str | MultiGet,
        pipeline: str,
        views: Sequence[View] | None = None,
        *,
        tasks: Sequence[str] = ("all",),
        max_age: str | Mapping[str, str] | None = None,
        prefix: str = "",
        timeout_s: float = 2.0,
        **options: Any,
    ) -> None:
        """Open the client; nothing is read yet."""
        self._client: Any = connect(source, timeout_s, **options) if isinstance(source, str) else source
        self._max_age = {"": max_age} if isinstance(max_age, str) else dict(max_age or {})
        self._max_age_ms = {name: milliseconds(age) for name, age in self._max_age.items()}
        self.served = Served()
        self._pipeline = prefix + pipeline
        self.tasks = tuple(tasks)
        self._views: Mapping[str, CompiledView] | None = None
        if views is not None:
            self._views = {view.name: CompiledView(view) for view in views}
        self._document = msgspec.json.Decoder(_Document)
        self._live_bytes: bytes | None = None
        self._live: dict[str, str] = {}

    def read(self, wanted: Sequence[tuple[str, Entity]], at_ms: int | None = None) -> list[Features]:
        """Read `(view, entity)` pairs, in their order, in one round trip.

        An entity is the value of the view's key field, or a tuple of values for a compound key, unencoded.
        With definitions, a missing entity has the values of one without events, which are what a sample of it carries:
        0.0 for what counts or adds up, a declared default, otherwise None.
        `at_ms` is the reader's moment, in milliseconds of event time; None is now by the wall clock, or the
        stored moment if that is later.

        Raises:
            MomentPassed: if `at_ms` is before the moment that is stored.
            KeyError: if the reader has definitions and a view is not among them.
            OtherDefinition: if the reader has definitions and the pipeline serves another version of a view.
            StoreRefused: if the server does not know this user, or the user may not read these keys.
            StoreUnavailable: if the server does not answer.

        """
        now_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
        named = [(view, entity, entity_key(_parts(entity))) for view, entity in wanted]
        if self._views is None:
            found, live = self._mget([public_key(self._pipeline, view, key) for view, _, key in named])
            return self._count(
                [
                    self._from_document(
                        view, entity, data, live.get(view, "") if live else None, now_ms, at_ms is not None
                    )
                    for (view, entity, _), data in zip(named, found, strict=True)
                ]
            )
        states = self.states([(view, key) for view, _, key in named])
        return self._count(
            [
                _from_state(self._views[view], entity, state, now_ms, at_ms is not None)
                for (view, entity, _), state in zip(named, states, strict=True)
            ]
        )

    def compiled(self, view: str) -> CompiledView:
        """What evaluates the states of a view that this reader gives; KeyError without its definition."""
        return (self._views or {})[view]

    def states(self, wanted: Sequence[tuple[str, str]]) -> list[State | None]:
        """Read the private state of `(view, entity)` pairs in one round trip; None for an entity never seen.

        For who evaluates views by itself: the reader has definitions. Entities are named as `keys.entity_of` does. Each state
        is the caller's own, so it may fold into it. Raises as `read` does.
        """
        assert self._views is not None, "states are read with the definitions"
        compiled = [self._views[view] for view, _ in wanted]
        tasks = self.tasks
        keys = [
            state_key(self._pipeline, task, view, one.view.version, entity)
            for one, (view, entity) in zip(compiled, wanted, strict=True)
            for task in tasks
        ]
        found, live = self._mget(keys)
        for one in compiled:
            _check_version(one.view, live)
        return [_newest(one, found[n * len(tasks) : (n + 1) * len(tasks)]) for n, one in enumerate(compiled)]

    def _count(self, read: list[Features]) -> list[Features]:
        """Mark what is too old, and count."""
        served = self.served
        served.entities += len(read)
        for one in read:
            if one.age_ms is None:
                served.missing += 1
                served.defaults += len(one.values)
                continue
            served.age_ms += one.age_ms
            if self._max_age_ms:
                self._mark_old(one, one.age_ms)
            if "stale" in one.status.values():
                served.stale += 1
        return read

    def _mark_old(self, one: Features, age_ms: int) -> None:
        limits = self._max_age_ms
        for_view = limits.get(one.view, limits.get(""))
        for name, status in one.status.items():
            limit = limits.get(f"{one.view}.{name}", for_view)
            if limit is not None and age_ms > limit and status == "present":
                one.status[name] = "stale"

    def _from_document(
        self, view: str, entity: Entity, data: bytes | None, live: str | None, now_ms: int, strict: bool
    ) -> Features:
        document = None if data is None else self._document.decode(data)
        if document is not None and live is not None and document.recipe != live:
            document = document.next if document.next and document.next.recipe == live else None
        if document is None:
            return Features(view, entity, {}, {})
        now_ms = _moment(now_ms, document.at, strict, view, entity)
        fresh: Status = "present" if document.until is None or now_ms < document.until else "stale"
        return Features(
            view,
            entity,
            document.values,
            _status(document.values, fresh),
            document.at,
            now_ms - document.at,
            document.until,
            document.recipe,
        )

    def _mget(self, keys: list[str]) -> tuple[list[bytes | None], dict[str, str]]:
        """Give the keys and the live versions, read in one moment.

        Asks once, and once more on a new connection, since the pooled one may be older than the server.
        """
        if not keys:
            return [], {}
        for last in (False, True):
            try:
                live, *found = self._client.mget([live_key(self._pipeline), *keys])
                if live != self._live_bytes:
                    self._live_bytes, self._live = live, {} if live is None else _live(live).views
                return found, self._live
            except (redis.ConnectionError, redis.TimeoutError) as problem:
                if last:
                    raise unusable(problem, address(self._client), "check that Redis runs there") from problem
            except redis.exceptions.NoPermissionError as problem:
                raise unusable(problem, address(self._client), "") from problem
        raise AssertionError("unreachable")


def _check_version(view: View, live: Mapping[str, str]) -> None:
    """Refuse to read with other definitions than the pipeline runs with; a pipeline that never ran says nothing."""
    if live and live.get(view.name) != view.version:
        raise OtherDefinition(
            f"view {view.name!r} is read as version {view.version} and the pipeline serves "
            f"{live.get(view.name, 'no such view')}: read with the definitions that it runs with"
        )


def _parts(entity: Entity) -> tuple[str | int, ...]:
    return entity if isinstance(entity, tuple) else (entity,)


def _status(values: dict[str, Value], fresh: Status) -> dict[str, Status]:
    if None in values.values():
        return {name: "null" if value is None else fresh for name, value in values.items()}
    return dict.fromkeys(values, fresh)


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _moment(now_ms: int, stored_ms: int, strict: bool, view: str, entity: Entity) -> int:
    """Give the reader's moment; one that was asked for may not be before what is stored."""
    if strict and now_ms < stored_ms:
        raise MomentPassed(
            f"{view} {entity!r} is stored as of {_utc(stored_ms)}, which is after the moment {_utc(now_ms)}: "
            f"the state of the past is not kept"
        )
    return max(now_ms, stored_ms)


def _newest(compiled: CompiledView, found: Sequence[bytes | None]) -> State | None:
    """Of the states that tasks keep of one entity the newest, which is the owner's."""
    states = [compiled.decode(data) for data in found if data is not None]
    return max(states, key=lambda state: state.newest, default=None)


def _from_state(
    compiled: CompiledView, entity: Entity, state: State | None, now_ms: int, strict: bool
) -> Features:
    view = compiled.view.name
    if state is None:
        # What a sample of this entity carries, so that serving and training agree.
        empty = dict(zip(compiled.names, compiled.values(compiled.new(), 0), strict=True))
        return Features(view, entity, empty, dict.fromkeys(empty, "missing"))
    now_ms = _moment(now_ms, state.newest, strict, view, entity)
    values = dict(zip(compiled.names, compiled.values(state, now_ms), strict=True))
    return Features(
        view,
        entity,
        values,
        _status(values, "present"),
        now_ms,
        now_ms - state.newest,
        compiled.until(state, now_ms),
    )
