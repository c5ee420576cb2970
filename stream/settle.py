"""After a switch of definitions: documents become plain again, and what belongs to no live version goes.

Laws of this file:
- It needs no ownership: it touches only what no worker of the live definition writes, or replaces a document that is unchanged.
- Running it again, or on a pipeline where there is nothing to do, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from features.keys import build_task, public_key, state_key, states_prefix
from features.keyspace import Keyspace
from stream.definitions import Pipeline


class _Served(msgspec.Struct):
    recipe: str = ""
    next: msgspec.Raw = msgspec.Raw()


_served = msgspec.json.Decoder(_Served).decode


def settle(
    pipeline: Pipeline, tasks: Sequence[str], keyspace: Keyspace, progress: Callable[[str, int, int], None]
) -> tuple[int, int]:
    """(documents made plain, keys deleted)."""
    replaced = deleted = 0
    versions = {view.name: view.version for view in pipeline.views}
    prefix = public_key(pipeline.name, "", "").removesuffix(":")
    for batch in keyspace.scan(prefix):
        gone = [key for key in batch if _view_of(key, prefix) not in versions]
        kept = [key for key in batch if _view_of(key, prefix) in versions]
        plain: list[tuple[str, bytes, bytes]] = []
        for key, document in zip(kept, keyspace.read(kept), strict=True):
            live = versions[_view_of(key, prefix)]
            if document is None or b'"next"' not in document:
                continue
            served = _served(document)
            following = bytes(served.next)
            if following and served.recipe != live and _served(following).recipe == live:
                plain.append((key, document, following))
            elif following and served.recipe == live:  # the change was called off
                parts = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
                del parts["next"]
                plain.append((key, document, msgspec.json.encode(parts)))
        replaced += keyspace.replace(plain)
        deleted += keyspace.delete(gone)
        progress("settling documents", replaced, 0)
    for task in tasks:
        live_prefixes = tuple(
            state_key(pipeline.name, task, view.name, view.version, "") for view in pipeline.views
        )
        for batch in keyspace.scan(states_prefix(pipeline.name, task)):
            deleted += keyspace.delete([key for key in batch if not key.startswith(live_prefixes)])
        for batch in keyspace.scan(f"penstock:{pipeline.name}:{build_task(task, '')}"):
            deleted += keyspace.delete(batch)
        progress(f"deleting what is left of task {task}", deleted, 0)
    return replaced, deleted


def _view_of(key: str, prefix: str) -> str:
    """The view of a public key; an entity's own colons are percent-encoded."""
    return key.removeprefix(prefix).partition(":")[0]
