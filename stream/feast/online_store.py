"""An online store of Feast's: `store.get_online_features` reads what Penstock keeps in Redis.

Laws of this file:
- It reads, and never writes: Penstock's features come of events, by its featurize role alone.
- Of an entity one document, or one state, is read: its values are of one moment, which Feast gives as the event time.
- A value is what the document has, as the type that Feast's field declares. One that the document does not have is null.
- Only what any reader needs is imported of Penstock: msgspec and a Redis client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from feast import Entity, FeatureView, RepoConfig, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from feast.type_map import python_values_to_proto_values

from penstock.features.read.client import FeatureReader, Features

KEY_TAG = "penstock.key"
"""The tag of a feature view that names the parts of a compound key, in Penstock's order, with commas between them."""
VIEW_TAG = "penstock.view"
"""The tag that names Penstock's view, where Feast's has another name."""


class PenstockOnlineStoreConfig(FeastConfigBaseModel):
    """What `online_store:` of a feature_store.yaml says.

    `definition` is the pipeline's definition file: windows are then evaluated as of the moment of reading, and entities without
    events have the values that a sample would have. Without it the public documents are read; `stale` says what becomes of a
    value whose window may have moved on since: it is served, or null stands in its place.
    """

    type: Literal["penstock.stream.feast.online_store.PenstockOnlineStore"] = (
        "penstock.stream.feast.online_store.PenstockOnlineStore"
    )
    redis_url: str = "redis://127.0.0.1:6379/0"
    pipeline: str = ""
    prefix: str = ""
    definition: str | None = None
    stale: Literal["serve", "hide"] = "serve"


class PenstockOnlineStore(OnlineStore):
    """See the module; one reader for the process."""

    _reader: FeatureReader | None = None

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Read features of some entities, in their order, in one round trip."""
        names = requested_features or [field.name for field in table.features]
        types = {field.name: field.dtype.to_value_type() for field in table.features}
        view, key = table.tags.get(VIEW_TAG, table.name), key_of(table)
        wanted = [(view, entity_of(one, key)) for one in entity_keys]
        serve = config.online_store.stale == "serve"
        return [_row(found, names, types, serve=serve) for found in self.reader(config).read(wanted)]

    def reader(self, config: RepoConfig) -> FeatureReader:
        """The reader that the configuration asks for, made once."""
        if self._reader is None:
            given = config.online_store
            if given.definition is None:
                if not given.pipeline:
                    raise ValueError(
                        "online_store: name the pipeline whose features are read, or its definition file"
                    )
                self._reader = FeatureReader(given.redis_url, given.pipeline, prefix=given.prefix)
            else:
                self._reader = _with_definition(given)
        return self._reader

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Refuse: nothing but events makes features."""
        raise NotImplementedError(
            f"{table.name}: features of this store come of events alone. Publish the events to their topic; "
            "`penstock features history` makes training sets of them"
        )

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Change nothing: what is kept is what the pipeline defines."""

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Delete nothing: what is kept is the pipeline's."""


def _with_definition(given: PenstockOnlineStoreConfig) -> FeatureReader:
    """A reader that evaluates windows itself, which needs all that a definition file needs."""
    from penstock.features.redis.store import connect
    from penstock.stream.definition_file import load
    from penstock.stream.operate.stored_features import tasks_of

    pipeline = load(str(given.definition))
    client = connect(given.redis_url)
    tasks = tasks_of(pipeline, client, given.prefix) if pipeline.partitioned else ("all",)
    return FeatureReader(client, pipeline.name, pipeline.views, tasks=tasks, prefix=given.prefix)


def key_of(table: FeatureView) -> list[str]:
    """The join keys of a feature view in the order of Penstock's key."""
    tagged = table.tags.get(KEY_TAG)
    return tagged.split(",") if tagged else list(table.join_keys)


def entity_of(one: EntityKey, key: Sequence[str]) -> str | int | tuple[str | int, ...]:
    """An entity as `FeatureReader` takes it. Raises `ValueError` for a key that is neither text nor a whole number."""
    values = dict(zip(one.join_keys, one.entity_values, strict=True))
    parts: list[str | int] = []
    for name in key:
        value = values[name]
        kind = value.WhichOneof("val")
        if kind not in ("string_val", "int64_val", "int32_val"):
            raise ValueError(f"entity {name} is a {kind}: a key of Penstock's is text or a whole number")
        parts.append(getattr(value, kind))
    return parts[0] if len(parts) == 1 else tuple(parts)


def _row(
    found: Features, names: Sequence[str], types: Mapping[str, ValueType], *, serve: bool
) -> tuple[datetime | None, dict[str, Value] | None]:
    if not found.found and not found.values:
        return None, None
    at = None if found.at_ms is None else datetime.fromtimestamp(found.at_ms / 1000, UTC)
    row: dict[str, Value] = {}
    for name in names:
        value = found.values.get(name)
        if not serve and found.status.get(name) == "stale":
            value = None
        row[name] = _value(value, types[name])
    return at, row


def _value(value: Any, kind: ValueType) -> Value:
    """A value of a document as Feast's type. Raises `ValueError` for one that does not fit."""
    if value is None:
        return Value()
    if kind == ValueType.DOUBLE:
        return Value(double_val=value)
    if kind == ValueType.INT64:
        if value != int(value):
            raise ValueError(f"{value!r} is no whole number: declare the field as Float64")
        return Value(int64_val=int(value))
    if kind == ValueType.STRING and not isinstance(value, str):
        return Value(string_val=json.dumps(value))
    made: Value = python_values_to_proto_values([value], kind)[0]
    return made
