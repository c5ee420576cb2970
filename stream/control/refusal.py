"""A record that nobody could carry out → a refusal in the audit, so that whoever asked learns why.

Laws of this file:
- Every such record is refused once, under its own id where it has a usable one, otherwise under its place in the topic.
- One to a whole pipeline that learns in shards, or to none, is refused by its first shard alone.
- A record that names another pipeline is that pipeline's; one that names none is refused by every control role that reads it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.stream import topology
from penstock.stream.control.policy import OPERATORS, keep, send_again
from penstock.stream.control.state import PolicyState
from penstock.stream.messages import MAX_NAME_CHARACTERS, Decision
from penstock.stream.process.terminal import printable

MAX_WHY_CHARACTERS = 500


def refuse(state: PolicyState, topic: str, offset: int, value: bytes, why: str, wall_ms: int) -> bool:
    """Note the refusal of the record at `offset` of `topic`; whether it is this pipeline's, so that `state` changed."""
    fields = _fields(value)
    data = fields.get("data")
    named = data.get("pipeline") if isinstance(data, dict) else fields.get("pipeline")
    first = topology.shard_of(state.pipeline) == 0
    mine = (state.pipeline, topology.whole(state.pipeline)) if first else (state.pipeline,)
    if named not in mine if isinstance(named, str) else not first:
        return False
    request = _text(fields.get("id")) or f"{topic}@{offset}"
    known = state.decisions.get(request)
    if known is not None:
        send_again(state, known, wall_ms)
        return True
    verb = fields.get("verb")
    decision = Decision(
        id=f"decision-{request}",
        pipeline=state.pipeline,
        request=request,
        verb=verb if isinstance(verb, str) and verb in OPERATORS else "unknown",
        verdict="refused",
        why=printable(f"the record at {offset} of {topic} is not used: {why}")[:MAX_WHY_CHARACTERS],
        by=_text(fields.get("by")) or "unknown",
        command=None,
        wall_ms=wall_ms,
    )
    keep(state, decision)
    return True


def _text(value: Any) -> str:
    """The value if it is text of a length that is allowed, else nothing."""
    return value if isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS else ""


def _fields(value: bytes) -> dict[str, Any]:
    """What can be read of a record; nothing where it is no JSON object."""
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
