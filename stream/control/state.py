"""What the policy knows and remembers of one pipeline, and how it is stored.

Laws of this file:
- The state is plain data and survives its encoding; what grows in it is bounded by `stream.policy`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Decision, LiveModel


@dataclass(frozen=True)
class PolicyConfig:
    """The least event time between two unattended commands of one verb, and whether a person must approve each."""

    cooldown_ms: int = 86_400_000
    approval: bool = False

    @classmethod
    def of(cls, pipeline: Pipeline) -> PolicyConfig:
        """The policy a definition asks for."""
        return cls(pipeline.cooldown_ms, pipeline.approval)


class Sending(msgspec.Struct):
    """A command that `control.models` does not show yet: the request it answers, how often it was sent, and when next."""

    request: str
    sends: int
    next_ms: int


class PolicyState(msgspec.Struct):
    """Everything decided for one pipeline. `positions` are the next offsets of the topics read, kept with what was read.

    `unsent` holds the requests whose decision was stored and not yet published;
    `unattended` holds (verb, event time in ms) of accepted requests nobody asked for, oldest first; `waiting`
    the requests that wait for a person; `sending` the commands not known to be carried out; `versions` every
    version id seen live or kept.
    """

    pipeline: str
    decisions: dict[str, Decision] = {}
    unsent: list[str] = []
    unattended: list[tuple[str, int]] = []
    waiting: dict[str, str] = {}
    sending: dict[str, Sending] = {}
    versions: list[str] = []
    live: LiveModel | None = None
    positions: dict[str, int] = {}


encode_state = msgspec.json.Encoder().encode
decode_state = msgspec.json.Decoder(PolicyState).decode
