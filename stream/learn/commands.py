"""Commands, carried out on the fold: the one way anything outside it changes the model.

Laws of this file:
- Each verb gives None when it was carried out, or the reason why not; a refusal changes nothing.
- What a verb needs from outside (an old version, a stretch of the log trained again) `needs` names first, and the shell brings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.stream.learn.anchors import Anchor, Frozen
from penstock.stream.learn.records import Replay
from penstock.stream.messages import Command
from penstock.stream.models.version import dump, restore

if TYPE_CHECKING:
    from penstock.stream.learn.fold import Fold

FRESH = "v0"


def needs(fold: Fold, command: Command) -> Replay | None:
    """The model `command` needs from outside before it can be carried out, or None."""
    if command.verb == "adopt" and job_of(command) in fold.open_jobs:
        return Replay(command.version, None, command.from_position or 0, command.trained_to or 0)
    if command.verb != "rollback":
        return None
    anchor = target(fold, command)
    if anchor is None:
        return Replay(command.version, None, -1, -1)
    if fold.watch.hold is None:
        return None
    return Replay(anchor.version, anchor.payload, anchor.join_from, anchor.position)


def job_of(command: Command) -> str:
    """The retrain command whose product an `adopt` brings."""
    return command.id.removeprefix("adopt-")


def target(fold: Fold, command: Command) -> Anchor | None:
    """The version a rollback names, or without a name the newest one born before its onset. `v0` is a fresh model."""
    book = fold.watch.book
    if command.version == FRESH:
        payload = dump(fold.pipeline.model.clone())
        return Anchor(FRESH, 0, 0, 0, 0, payload, Frozen(FRESH, restore(payload)))
    if command.version is not None:
        return book.find(command.version)
    return book.before(fold.position if command.from_position is None else command.from_position)


def hold(fold: Fold, position: int, command: Command, prepared: Any) -> str | None:
    """Pause learning until a release, a rollback or a resume."""
    return fold.watch.hold_by_command(fold.at, position, command)


def resume(fold: Fold, position: int, command: Command, prepared: Any) -> str | None:
    """Go on learning; what was held back stays out."""
    if fold.watch.hold is None:
        return "nothing is held"
    fold.release(position, accept=True)
    return None


def rollback(fold: Fold, position: int, command: Command, prepared: Any) -> str | None:
    """Put an older version in place; what was born since the onset goes."""
    anchor = target(fold, command)
    if prepared is None and anchor is None:
        return (
            f"version {command.version!r} is not known"
            if command.version
            else "no version was born before the onset"
        )
    fold.champion = prepared if prepared is not None else restore(anchor.payload)  # type: ignore[union-attr]
    fold.version = anchor.version if anchor is not None else command.version or fold.version
    # A version restored as it was knows yesterday's level of the labels; the anchor's level followed them meanwhile. The champion
    # takes it along and lets it fade as it learns the level itself.
    follows = anchor is not None and anchor is fold.watch.book.current and prepared is None
    fold.level = anchor.frozen.level if follows and anchor is not None else 0.0
    fold.candidate = None
    fold.open_jobs.clear()
    fold.episode_jobs.clear()
    fold.release(position)
    fold.champion_since = position
    onset = command.from_position if command.from_position is not None else position
    fold.watch.replaced(fold.version, fold.at, position, f"rolled back to {fold.version}", onset)
    return None


def retrain(fold: Fold, position: int, command: Command, prepared: Any) -> str | None:
    """Open a job: the shell runs it beside the fold."""
    if fold.open_jobs:
        return f"a retrain is under way ({next(iter(fold.open_jobs))})"
    # The job knows this definition alone, so it begins where the definition's own samples do.
    start = max(command.from_position or 0, fold.lineage.began)
    fold.open_jobs[command.id] = (start, fold.quarantine(position))
    if command.episode is not None:
        fold.episode_jobs.append(command.id)
    return None


def adopt(fold: Fold, position: int, command: Command, prepared: Any) -> str | None:
    """Let a retrained model compete as candidate."""
    if fold.open_jobs.pop(job_of(command), None) is None:
        return "the retrain it comes from is over: another decision overtook it, or its episode ended"
    if prepared is None:
        return f"version {command.version!r} could not be fetched or its digest differs"
    version = fold.new_id()
    fold.candidate = Frozen(version, prepared)
    payload = dump(prepared)
    anchor = Anchor(
        version, position, position, fold.at, fold.counts.learned, payload, Frozen(version, restore(payload))
    )
    fold.keep("candidate", command.version, anchor)
    fold.watch.candidate_started(version)
    return None


def promote(fold: Fold, position: int, command: Command, prepared: Any) -> str | None:
    """Make the candidate the champion."""
    if fold.candidate is None:
        return "there is no candidate"
    if command.version not in (None, fold.candidate.version):
        return f"the candidate is {fold.candidate.version}, not {command.version}"
    fold.champion, fold.version = fold.candidate.model, fold.candidate.version
    fold.level = 0.0
    fold.candidate = None
    fold.champion_since = position
    fold.watch.replaced(fold.version, fold.at, position, f"promoted {fold.version}")
    return None


def accept(fold: Fold, position: int, command: Command, prepared: Any) -> str | None:
    """Take today's level of the loss as normal."""
    fold.watch.accept(fold.at, position)
    return None


VERBS: dict[str, Callable[[Fold, int, Command, Any], str | None]] = {
    "hold": hold,
    "resume": resume,
    "rollback": rollback,
    "retrain": retrain,
    "adopt": adopt,
    "promote": promote,
    "accept": accept,
}
