"""Commands, carried out on the fold: the one way anything outside it changes the model.

Laws of this file:
- Each verb gives None when it was carried out, or the reason why not; a refusal changes nothing.
- What a verb needs from outside (an old version, a stretch of the log trained again) `needs` names first, and the shell brings.
- A command that answers an episode commits what leads anyhow: weights stay as labels made them. A person's gives the version all
  the weight: it may lose it again, by labels after that alone, or not at all while it is pinned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.stream.learn import births
from penstock.stream.learn.expert import Expert, Kind
from penstock.stream.learn.records import Job, Replay, Unusable
from penstock.stream.learn.state import FoldState
from penstock.stream.messages import Command
from penstock.stream.models.version import CHAMPION, PREVIOUS, RULE, challenger_of
from penstock.stream.triggers import ALL, SINCE_ONSET, WINDOWS, length_ms


def meant(state: FoldState, command: Command) -> Command:
    """The command, with the version in the place of an alias that it names."""
    ids = {CHAMPION: state.experts.committed.version, PREVIOUS: state.experts.previous or PREVIOUS}
    version = ids.get(command.version or "")
    return command if version is None else msgspec.structs.replace(command, version=version)


def needs(state: FoldState, command: Command) -> Replay | None:
    """The model `command` needs from outside before it can be carried out, or None."""
    command = meant(state, command)
    expected = command.challenger in state.pipeline.challengers or job_of(command) in state.open_jobs
    if command.verb == "adopt" and expected and not _why_not(state, command):
        join_from = command.from_position if command.join_from is None else command.join_from
        return Replay(command.version, join_from or 0, command.trained_to or 0)
    if command.verb not in REPLACING or target(state, command) is not None:
        return None
    # A digest says that whoever asked read the version in the store: by a name that keeps it there, or as an import.
    if command.version is None or (command.digest is None and state.retention.why_gone(command.version)):
        return None
    return Replay(command.version, -1, -1)


def _why_not(state: FoldState, command: Command) -> str:
    """Why a challenger may not take part; empty if it may, and for the product of a retrain."""
    name = command.challenger
    if not name:
        return ""
    if name not in state.pipeline.challengers:
        return f"the definition has no challenger {name!r}"
    parents = [one.parent or "" for one in state.experts.models if one.kind == "challenger"]
    if any(challenger_of(parent) == name for parent in parents):
        return f"{name} takes part already"
    start, stop = command.from_position or 0, command.trained_to or 0
    if any(start < end and begin < stop for begin, end in state.quarantine(state.position)):
        return f"{name} learned from samples that a hold left out"
    return ""


def job_of(command: Command) -> str:
    """The retrain command whose product an `adopt` brings."""
    return command.id.removeprefix("adopt-")


def target(state: FoldState, command: Command) -> Expert | None:
    """The expert a command names, or None if it is none of them.

    A command with a digest means the version as it is stored, and so no expert that has learned since. Without a name a rollback
    means the newest frozen copy born before its onset, or else the first model; a promotion the newest product of a retrain.
    """
    models = state.experts.models
    if command.version is not None:
        found = state.experts.find(command.version)
        return None if found is not None and found.learns and command.digest is not None else found
    if command.verb == "promote":
        made = [one for one in models if one.kind == "retrained"]
        return made[-1] if made else None
    onset = state.position if command.from_position is None else command.from_position
    before = [one for one in models if one.kind == "frozen" and one.born_position <= onset]
    return before[-1] if before else state.experts.first


def hold(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Pause learning until a resume, or until a person puts a version in place.

    With approval the latter commits a version and ends no hold: only a resume does.
    """
    return state.drift.hold_by_command(state.at, position, command)


def resume(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Go on learning, what was held back stays out; or let a pinned version go."""
    if state.drift.hold is None and not state.pinned:
        return "nothing is held, and no version is pinned"
    before, state.pinned = state.live, False
    if state.live is not before:
        state.why = f"{before.version} is no longer pinned, and {state.version} leads"
    if state.drift.hold is not None:
        state.release(position, accept=True)
    return None


def replace(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Put a version in place: a rollback or a promotion."""
    if isinstance(prepared, Unusable):
        return prepared.why
    if command.episode is not None and state.pinned:  # asked for before a person pinned another one
        return f"{state.version} is pinned; `penstock resume` ends it"
    if command.version == PREVIOUS and not state.experts.previous:
        return f"no version was committed before {state.experts.committed.version}"
    command = meant(state, command)
    expert = target(state, command)
    if expert is None and prepared is None:
        if command.version is None:
            return "no product of a retrain takes part: name a version, or ask for a retrain"
        return state.retention.why_gone(command.version) or f"version {command.version!r} is not known"
    experts = state.experts
    if expert is None:
        born = (state.counts.learned, state.at, position)
        expert = experts.add("resumed", prepared, state.new_id(), born)
        expert.parent = command.version
        expert.learned_from = None
    if command.episode is not None or state.alone:
        experts.commit(expert)
        state.drift.committed(state.at, position, f"committed {expert.version}")
    else:
        experts.give(expert)
        state.replaced_at = position
        if not expert.learns:
            births.resumed(state, position, state.at, expert)
        state.release(position)
        state.drift.replaced(state.at, position, f"{expert.version} was put in place")
    state.pinned = command.pin
    state.note_commit(
        _author(command), f"{command.verb}: {command.reason or 'no reason given'}", state.at, position
    )
    births.leave(state)
    state.name_models()
    return None


def _author(command: Command) -> str:
    """Who asked: a person by name, or a rule."""
    return RULE if command.episode is not None else command.by or "unknown"


def retrain(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Open a job: the shell runs it beside the state. While one is under way, a trigger's command joins that one."""
    job = stretch(state, position, command)
    if isinstance(job, str):
        return job
    if state.open_jobs:
        running, under_way = next(iter(state.open_jobs.items()))
        same = (job.start, job.since_at) == (under_way.start, under_way.since_at)
        joins = same or command.trigger not in ("", "demand")
        return None if joins else f"a retrain on another stretch is under way ({running})"
    state.open_jobs[command.id] = job
    state.triggers.started(command.id, command.trigger, state.at, position)
    return None


def open_since(state: FoldState) -> int | None:
    """The position at which what is open now began: lost skill, else a committed model that lost, else an input that moved."""
    kinds = ("harm", "lead", "segment", "psi")
    found = [one for one in state.drift.episodes.firing if one.monitor in kinds]
    return min(found, key=lambda one: kinds.index(one.monitor)).since_position if found else None


def stretch(state: FoldState, position: int, command: Command) -> Job | str:
    """What a retrain's model is to learn from, or why that cannot be said."""
    start, since_at = command.from_position or 0, 0
    length = length_ms(command.window)
    if command.from_position is not None or command.window in ("", ALL):
        pass
    elif length is not None:
        since_at = max(0, state.at - length)
        start = state.triggers.times.position_of(since_at)
    elif command.window == SINCE_ONSET:
        onset = open_since(state)
        if onset is None:
            return "nothing is open that has an onset: name --from-position, or another --window"
        start = onset
    else:
        return f"window {command.window!r} is none: it is {WINDOWS}"
    # The job knows this definition alone, so it begins where the definition's own samples do.
    start = max(start, state.recipes.began)
    return Job(start, max(start, position), state.quarantine(position), _author(command), since_at)


def adopt(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Let a retrained model, or a challenger, take part."""
    job = None if command.challenger else state.open_jobs.pop(job_of(command), None)
    if command.challenger:
        refusal = _why_not(state, command)
        if refusal:
            return refusal
    elif job is None:
        return "the retrain it comes from is over"
    if isinstance(prepared, Unusable):
        return prepared.why
    if prepared is None:
        return f"version {command.version!r} could not be fetched or its digest differs"
    if command.version is not None:
        state.retention.add(command.version, state.at)  # as the job stored it
    born = (state.counts.learned, state.at, position)
    kind: Kind = "challenger" if command.challenger else "retrained"
    made = state.experts.add(kind, prepared, state.new_id(), born)
    made.parent, made.learned_from = command.version, command.from_position if job is None else job.start
    why = f"{command.reason or 'retrained'}, and on what came until here"
    state.keep(made, "adopted", why, author=RULE if job is None else job.by)
    births.leave(state)
    return None


def accept(state: FoldState, position: int, command: Command, prepared: Any) -> str | None:
    """Take today's level of the loss, and values that a guard fires on, as normal."""
    state.drift.accept(state.at, position)
    state.drift.accept_ranges(state.at, position)
    return None


VERBS: dict[str, Callable[[FoldState, int, Command, Any], str | None]] = {
    "hold": hold,
    "resume": resume,
    "rollback": replace,
    "retrain": retrain,
    "adopt": adopt,
    "promote": replace,
    "accept": accept,
}
REPLACING = frozenset({"rollback", "promote"})
"""The verbs after which another version is live, or committed."""


def done(state: FoldState, command: Command) -> str:
    """What a command just did, in a few words."""
    committed, under_way = state.experts.committed.version, next(iter(state.open_jobs), "")
    weighs = command.episode is None and not state.alone
    placed = f"{committed} has all the weight" if weighs else f"committed {committed}"
    if state.pinned:
        placed += ", and is pinned"
    return {
        "hold": "learning held",
        "resume": "learning goes on, and no version is pinned",
        "rollback": f"rolled back: {placed}",
        "retrain": "retrain started"
        if command.id in state.open_jobs
        else f"it joins the retrain under way ({under_way})",
        "adopt": f"retrain finished, {state.experts.all[-1].version} takes part",
        "promote": f"promoted: {placed}",
        "accept": "what is seen today is accepted as normal",
    }[command.verb]
