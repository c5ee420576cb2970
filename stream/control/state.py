"""What the policy knows and remembers of one pipeline, and how it is stored.

Laws of this file:
- The state is plain data and survives its encoding; what grows in it is bounded by `stream.policy`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.messages import Decision, LiveModel
from penstock.stream.triggers import ALL, PACED, SINCE_ONSET, OnInputs


@dataclass(frozen=True)
class PolicyConfig:
    """The least event time between two retrains that evidence set off, and whether a person must approve what nobody asked for.

    `inputs_act` says that moved inputs are enough for a retrain, `window` what a person's retrain learns from unless it says so.
    `paced` are the kinds of triggers that need no finding, and so no leave: an event that names another is judged as a finding.
    """

    cooldown_ms: int = 86_400_000
    approval: bool = False
    inputs_act: bool = False
    window: str = ALL
    paced: frozenset[str] = PACED

    @classmethod
    def of(cls, pipeline: Pipeline) -> PolicyConfig:
        """The policy a definition asks for."""
        inputs_act = any(isinstance(rule, OnInputs) and rule.acts for rule in pipeline.retrain)
        window = pipeline.retrain_window
        return cls(
            pipeline.cooldown_ms,
            pipeline.approval,
            inputs_act,
            ALL if window is None or window == SINCE_ONSET else window,
            PACED & {rule.kind for rule in pipeline.retrain},
        )


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
_decode = msgspec.json.Decoder(PolicyState).decode


def decode_state(stored: bytes) -> PolicyState:
    """The state of what `encode_state` gave. Raises `DefinitionError` for what another release wrote and this cannot read."""
    try:
        return _decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(
            "what the control role remembers (the newest record of its topic that ends in `-policy-changelog`) was written by "
            f"another release of Penstock, and this one cannot read it ({error}): run the release that wrote it"
        ) from error
