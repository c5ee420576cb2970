"""Debezium's envelope: what changed in a row → the row as an event.

| `op`                | The event                                                                                     |
|---------------------|-----------------------------------------------------------------------------------------------|
| c, u, r             | the row after: created, updated, or read for a snapshot                                       |
| d                   | none, or with `deletes="event"` the row before, as far as the database keeps it               |
| t, m                | none: a truncated table and a message are about no row                                        |

Beside the row's columns an event has `__op`, `__deleted`, `__ts_ms` (when the connector saw the change) and `__source_ts_ms`
(when the database made it).

Laws of this file:
- Pure. An envelope that says nothing raises `Ignored`, one that is none `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stream.formats.unread import Ignored, Unreadable

_ROW_AFTER = ("c", "u", "r")
_ABOUT_NO_ROW = ("t", "m")


def unwrapped(envelope: Mapping[str, Any], *, deletes: bool) -> dict[str, Any]:
    """The event that an envelope holds; with `deletes` a deleted row is one.

    >>> unwrapped({"op": "c", "before": None, "after": {"id": 7}, "ts_ms": 5}, deletes=False)["id"]
    7
    """
    # as Connect's JSON converter wraps it
    if "op" not in envelope and "schema" in envelope and "payload" in envelope:
        if envelope["payload"] is None:
            raise Ignored
        envelope = envelope["payload"]
    op = envelope.get("op") if isinstance(envelope, Mapping) else None
    if not isinstance(op, str):
        raise Unreadable("no envelope of Debezium's: it has no field 'op'")
    if op in _ABOUT_NO_ROW or (op == "d" and not deletes):
        raise Ignored
    if op not in (*_ROW_AFTER, "d"):
        raise Unreadable(f"an envelope with op {op[:20]!r}, which is none of Debezium's")
    side = "before" if op == "d" else "after"
    row = envelope.get(side)
    if not isinstance(row, Mapping):
        why = " (the table keeps no row before a change: see REPLICA IDENTITY)" if op == "d" else ""
        raise Unreadable(f"an envelope with op {op!r} and no row in {side!r}{why}")
    source = envelope.get("source")
    return {
        **row,
        "__op": op,
        "__deleted": op == "d",
        "__ts_ms": envelope.get("ts_ms"),
        "__source_ts_ms": source.get("ts_ms") if isinstance(source, Mapping) else None,
    }
