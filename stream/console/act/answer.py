"""What became of a request: asked, decided, carried out; as far as the topics were read.

Laws of this file:
- Pure. It is judged as `penstock hold` and the others judge their answer (`operate.asking.Answer`), and said in the same words.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from penstock.stream.console.state import PipelineState, Told
from penstock.stream.messages import Decision, OperatorRequest
from penstock.stream.operate.asking import Answer

How = Literal["asked", "unknown", "refused", "waits for approval", "decided", "carried out"]


class Course(NamedTuple):
    """How far a request is, what is said of that, and the messages it rests on."""

    how: How
    said: str
    request: OperatorRequest | None = None
    told: Told | None = None
    decision: Decision | None = None


def course(state: PipelineState, request_id: str) -> Course:
    """How far the request of this id is."""
    told = next((one for one in state.requests if getattr(one.message, "id", "") == request_id), None)
    decision = next((one for one in reversed(state.decisions) if one.request == request_id), None)
    request = told.message if told is not None and isinstance(told.message, OperatorRequest) else None
    if decision is None:
        if request is None:
            return Course("unknown", "It is not in the topic yet, as far as that was read.")
        return Course("asked", "The control role has not decided on it yet.", request, told)
    answer = Answer(request or _of(decision), decision, state.live)
    if decision.verdict == "refused":
        return Course("refused", f"The control role refused it: {decision.why}.", request, told, decision)
    if answer.refusal:
        return Course("refused", f"Learn refused it: {answer.refusal}.", request, told, decision)
    if decision.verdict == "waits for approval":
        return Course("waits for approval", f"{decision.why}.", request, told, decision)
    if answer.settled:
        return Course("carried out", f"Carried out: {answer.carried_out}.", request, told, decision)
    why = f"Accepted: {decision.why}. Learn has not shown it as carried out yet."
    return Course("decided", why, request, told, decision)


def _of(decision: Decision) -> OperatorRequest:
    """The request of a decision whose own record is gone."""
    verb = decision.command.verb if decision.command is not None else "hold"
    return OperatorRequest(
        id=decision.request, pipeline=decision.pipeline, verb=verb, reason="", by=decision.by
    )
