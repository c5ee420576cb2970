"""What is live of a pipeline as learn last stored it, and how learn runs: read from Redis without opening a model.

Laws of this file:
- Nothing is unpickled: the header says what a snapshot is, and its signature is the business of whoever opens it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.features.redis.keys import model_key, snapshot_key
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.records import rules
from penstock.stream.learn.snapshot import SnapshotHeader
from penstock.stream.models.version import Envelope


class CannotSay(Exception):
    """Why there is nothing to compare with, or no way to make it again."""


def snapshot_of(client: Any, pipeline: str) -> tuple[Any, SnapshotHeader | None]:
    """What is live of a pipeline (by its deployed name), and the header of its snapshot, which is read for what it says."""
    documents: Any = client.mget([model_key(pipeline), snapshot_key(pipeline)])
    if None in documents:
        return None, None
    try:
        envelope = msgspec.msgpack.decode(documents[1], type=Envelope)
        header = msgspec.msgpack.decode(envelope.header, type=SnapshotHeader)
        return msgspec.json.decode(documents[0]), header
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CannotSay(f"the snapshot of {pipeline!r} cannot be read: {error}") from None


def guarded(pipeline: Pipeline, header: SnapshotHeader | None) -> bool:
    """Whether learn runs with its guard on, as far as a snapshot says."""
    return header is None or header.rules != rules(pipeline, guard=False)
