"""One view of one task, brought from its former definition to the next: the writes, and nothing else.

Laws of this file:
- A served document keeps its values until the switch and gains the next version's under `next`; one that has expired stays away.
- An entity that only the build knows gets a plain document of the next version, which readers do not see before the switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from penstock.features.engine.change import Conversion, ViewChange
from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import public_key, state_key
from penstock.features.redis.keyspace import Keyspace
from penstock.features.redis.store import KEEP_TTL, UNIT_BYTES, UNIT_KEYS, Write
from penstock.stream.backfill.ownership import TaskState
from penstock.stream.definitions import Pipeline
from penstock.stream.recipes import views_of
from penstock.stream.topology import deployed


class ViewConversion:
    """The writes that bring one view of one task over; `build` is the task name of what was built, `now_at` its event time.

    `kept` and `rebuilt` count states whose former one was kept (in part or whole) and those that came from the topic alone.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        task: TaskState,
        change: ViewChange,
        build: str,
        now_at: int,
        keyspace: Keyspace,
        wall_ms: Callable[[], int],
        prefix: str = "",
    ) -> None:
        self.keyspace, self.wall_ms = keyspace, wall_ms
        self.kept = self.rebuilt = 0
        self.name, self.now_at = deployed(pipeline.name, prefix), now_at
        self.view = next(view for view in pipeline.views if view.name == change.name)
        self.compiled = CompiledView(self.view)
        old = views_of(task.said).get(change.name) if change.old is not None else None
        self.conversion = None if old is None else Conversion(old, self.view)
        self.former = state_key(self.name, task.name, change.name, change.old or "", "")
        self.next = state_key(self.name, task.name, change.name, self.view.version, "")
        self.built = state_key(self.name, build, change.name, self.view.version, "") if change.rebuilt else ""

    def writes(self) -> Iterator[list[Write]]:
        """Every entity's write, a unit's worth at a time."""
        unit: list[Write] = []
        size = 0
        for write in self._each():
            unit.append(write)
            size += len(write.state) + len(write.document)
            if len(unit) * 2 >= UNIT_KEYS or size >= UNIT_BYTES:
                yield unit
                unit, size = [], 0
        if unit:
            yield unit

    def _each(self) -> Iterator[Write]:
        if self.conversion is not None:
            for entities, old in self._stored(self.former):
                documents = self.keyspace.read([self._public(entity) for entity in entities])
                for entity, state, new, document in zip(
                    entities, old, self._read(self.built, entities), documents, strict=True
                ):
                    if state is not None:
                        self.kept += 1
                        converted = self.conversion.state(state, new)
                        if document is None:
                            yield Write(self.next + entity, converted, "", b"", 0)
                        else:
                            yield self._served(entity, converted, document)
        if self.built:
            for entities, built in self._stored(self.built):
                former = self._read(self.former if self.conversion is not None else "", entities)
                documents = self.keyspace.read([self._public(entity) for entity in entities])
                for entity, state, new, document in zip(entities, former, built, documents, strict=True):
                    if state is None and new is not None:
                        self.rebuilt += 1
                        yield self._served(entity, new, document)

    def _stored(self, prefix: str) -> Iterator[tuple[list[str], list[bytes | None]]]:
        """Entities and their states under a prefix, in batches."""
        for batch in self.keyspace.scan(prefix):
            yield [key.removeprefix(prefix) for key in batch], self.keyspace.read(batch)

    def _read(self, prefix: str, entities: Sequence[str]) -> list[bytes | None]:
        """The states of these entities under a prefix; without one, none."""
        if not prefix:
            return [None] * len(entities)
        return self.keyspace.read([prefix + entity for entity in entities])

    def _public(self, entity: str) -> str:
        return public_key(self.name, self.view.name, entity)

    def _document(self, state: bytes) -> bytes:
        return self.compiled.document(self.compiled.decode(state), self.now_at, self.wall_ms())

    def _served(self, entity: str, state: bytes, served: bytes | None) -> Write:
        """The state under its next key, and its document: inside the one that is served, or alone where none is."""
        document = self._document(state)
        parts = {} if served is None else msgspec.json.decode(served, type=dict[str, msgspec.Raw])
        if not parts or bytes(parts["recipe"]) == msgspec.json.encode(self.view.version):
            return Write(self.next + entity, state, self._public(entity), document, self.view.ttl_ms)
        parts["next"] = msgspec.Raw(document)
        return Write(self.next + entity, state, self._public(entity), msgspec.json.encode(parts), KEEP_TTL)
