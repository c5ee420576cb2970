"""After a switch of definitions: documents become plain again, and what belongs to no live version goes.

Laws of this file:
- It needs no ownership: it touches only what no worker of the live definition writes, or replaces a document that is unchanged.
- It looks before it deletes: what it found was there before it saw that no other change is under way, so it is nobody's.
- Running it again, or on a pipeline where there is nothing to do, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from penstock.features.redis.keys import build_task, private_prefix, public_key, state_key, states_prefix
from penstock.features.redis.keyspace import Keyspace
from penstock.stream.backfill.ownership import Standing, standing


class _Served(msgspec.Struct):
    recipe: str = ""
    next: msgspec.Raw = msgspec.Raw()


_served = msgspec.json.Decoder(_Served).decode


def settle(
    pipeline: str,
    tasks: Sequence[str],
    keyspace: Keyspace,
    stands: Standing,
    progress: Callable[[str, int, int], None],
    keep: Collection[str] = (),
) -> tuple[int, int]:
    """(documents made plain, keys deleted), while the `pipeline` (its deployed name) stands as it did.

    `keep` names builds that are still wanted.
    """
    replaced = deleted = 0
    prefix = public_key(pipeline, "", "").removesuffix(":")
    for batch in keyspace.scan(prefix):
        gone = [key for key in batch if _view_of(key, prefix) not in stands.served]
        kept = [key for key in batch if _view_of(key, prefix) in stands.served]
        changed = [
            (key, document, plain)
            for key, document in zip(kept, keyspace.read(kept), strict=True)
            if document is not None
            and (plain := _plain(document, stands.served[_view_of(key, prefix)])) != document
        ]
        if standing(keyspace, pipeline, tasks) != stands:
            return replaced, deleted
        replaced += keyspace.replace(changed)
        deleted += keyspace.delete(gone)
        progress("settling documents", replaced, 0)
    for task in tasks:
        live = tuple(state_key(pipeline, task, view, version, "") for view, version in stands.served.items())
        kept_builds = tuple(private_prefix(pipeline, f"{name}:") for name in keep)
        for batch in _gone(pipeline, task, keyspace):
            if standing(keyspace, pipeline, tasks) != stands:
                return replaced, deleted
            deleted += keyspace.delete([key for key in batch if not key.startswith((*live, *kept_builds))])
        progress(f"deleting what is left of task {task}", deleted, 0)
    return replaced, deleted


def _gone(pipeline: str, task: str, keyspace: Keyspace) -> Iterator[list[str]]:
    """Keys of states and builds. A build's own bookkeeping comes before its states, so that no run goes on with half of them."""
    yield from keyspace.scan(states_prefix(pipeline, task))
    builds = [key for batch in keyspace.scan(private_prefix(pipeline, build_task(task, ""))) for key in batch]
    builds.sort(key=lambda key: ":state:" in key)
    yield builds


def _plain(document: bytes, live: str) -> bytes:
    """A document with the served version's values alone; empty if it has none of them."""
    served = _served(document)
    if served.recipe != live:
        following = bytes(served.next)
        return following if following and _served(following).recipe == live else b""
    if not served.next:
        return document
    parts = msgspec.json.decode(document, type=dict[str, msgspec.Raw])  # that change was called off
    del parts["next"]
    return msgspec.json.encode(parts)


def _view_of(key: str, prefix: str) -> str:
    """The view of a public key; an entity's own colons are percent-encoded."""
    return key.removeprefix(prefix).partition(":")[0]
