"""Commands, carried out on the fold: the one way anything outside it changes the model.

Laws of this file:
- Each verb gives None when it was carried out, or the reason why not; a refusal changes nothing.
- What a verb needs from outside (an old version, a stretch of the log trained again) `needs` names first, and the shell brings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.stream.learn.anchors import Anchor, Frozen
from penstock.stream.learn.records import Replay, Unusable
from penstock.stream.learn.state import FoldState
from penstock.stream.messages import Command
from penstock.stream.models.version import dump, restore

FRESH = "v0"


def needs(state: FoldState, command: Command) -> Replay | None:
    """The model `command` needs from outside before it can be carried out, or None."""
    if command.verb == "adopt" and job_of(command) in state.open_jobs:
        return Replay(command.version, None, command.from_position or 0, command.trained_to or 0)
    if command.verb != "rollback":
        return None
    anchor = target(state, command)
    if anchor is None and command.version is not None and state.retention.why_gone(command.version):
        return None
    if anchor is None:
        return Replay(command.version, None, -1, -1)
    if state.drift.hold is None:
        return None
    return Replay(anchor.version, anchor.payload, anchor.join_from, anchor.position)


def job_of(command: Command) -> str:
    """The retrain command whose product an `adopt` brings."""
    return command.id.removeprefix("adopt-")


def target(state: FoldState, command: Command) -> Anchor | None:
    """The version a rollback names, or without a name the newest one born before its onset. `v0` is a fresh model."""
    anchors = state.drift.anchors
    if command.version == FRESH:
        payload = dump(state.pipeline.model.clone())
        return Anchor(FRESH, 0, 0, 0, 0, payload, Frozen(FRESH, restore(payload)))
    if command.version is not None:
        return anchors.find(command.version)
    return anchors.before(state.position if command.from_position is None else command.from_position)


def hold(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Pause learning until a release, a rollback or a resume."""
    return state.drift.hold_by_command(state.at, position, command)


def resume(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Go on learning; what was held back stays out."""
    if state.drift.hold is None:
        return "nothing is held"
    state.release(position, accept=True)
    return None


def rollback(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Put an older version in place; what was born since the onset goes."""
    anchor = target(state, command)
    if isinstance(prepared, Unusable):
        return prepared.why
    if prepared is None and anchor is None:
        if command.version is None:
            return "no version was born before the onset"
        return state.retention.why_gone(command.version) or f"version {command.version!r} is not known"
    state.champion = prepared if prepared is not None else restore(anchor.payload)  # type: ignore[union-attr]
    state.version = anchor.version if anchor is not None else command.version or state.version
    # A version restored as it was knows yesterday's level of the labels; the anchor's level followed them meanwhile. The champion
    # takes it along and lets it fade as it learns the level itself.
    follows = anchor is not None and anchor is state.drift.anchors.current and prepared is None
    state.level = anchor.frozen.level if follows and anchor is not None else 0.0
    state.candidate = None
    state.open_jobs.clear()
    state.episode_jobs.clear()
    state.release(position)
    state.champion_since = position
    onset = command.from_position if command.from_position is not None else position
    state.drift.replaced(state.version, state.at, position, f"rolled back to {state.version}", onset)
    return None


def retrain(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Open a job: the shell runs it beside the state."""
    if state.open_jobs:
        return f"a retrain is under way ({next(iter(state.open_jobs))})"
    # The job knows this definition alone, so it begins where the definition's own samples do.
    start = max(command.from_position or 0, state.recipes.began)
    state.open_jobs[command.id] = (start, state.quarantine(position))
    if command.episode is not None:
        state.episode_jobs.append(command.id)
    return None


def adopt(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Let a retrained model compete as candidate."""
    if state.open_jobs.pop(job_of(command), None) is None:
        return "the retrain it comes from is over: another decision overtook it, or its episode ended"
    if isinstance(prepared, Unusable):
        return prepared.why
    if prepared is None:
        return f"version {command.version!r} could not be fetched or its digest differs"
    if command.version is not None:
        state.retention.add(command.version, state.at)  # as the job stored it
    version = state.new_id()
    state.candidate = Frozen(version, prepared)
    payload = dump(prepared)
    anchor = Anchor(
        version,
        position,
        position,
        state.at,
        0,
        payload,
        Frozen(version, restore(payload)),
    )
    state.keep(
        "candidate", command.version, anchor, f"{command.reason or 'retrained'}, and on what came until here"
    )
    state.drift.candidate_started(version)
    return None


def promote(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Make the candidate the champion."""
    if state.candidate is None:
        return "there is no candidate"
    if command.version not in (None, state.candidate.version):
        return f"the candidate is {state.candidate.version}, not {command.version}"
    state.champion, state.version = state.candidate.model, state.candidate.version
    state.level = 0.0
    state.candidate = None
    state.champion_since = position
    state.drift.replaced(state.version, state.at, position, f"promoted {state.version}")
    return None


def accept(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Take today's level of the loss as normal."""
    state.drift.accept(state.at, position)
    return None


VERBS: dict[str, Callable[[FoldState, int, Command, Any], str | None]] = {
    "hold": hold,
    "resume": resume,
    "rollback": rollback,
    "retrain": retrain,
    "adopt": adopt,
    "promote": promote,
    "accept": accept,
}
