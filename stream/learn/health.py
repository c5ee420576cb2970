"""Whether models still answer with numbers, and what becomes of one that no longer does.

Laws of this file:
- A model fails at a sample when it raises or answers what is none, and at a label when learning raises. A model that fails
  sleeps: the others predict, and the base rate always can.
- After `FAILURES` failures in a row it is looked at, and again each time they have doubled. It is broken if another model can
  do what it cannot, or if it fails at a vector that there was an answer to before; else producers are to blame, and it stays.
- A broken model goes. If it was the first, or the last that learns, a fresh one begins in its place.
- People are told when it is the leader that fails, and when that is over.
- A function of the log alone: it is no command, so a replay finds it by itself. It also needs no approval.
"""

from __future__ import annotations

from typing import Any

from penstock.monitors.episodes import Transition
from penstock.stream.learn.expert import Answer, Expert
from penstock.stream.learn.state import FoldState
from penstock.stream.models.version import RULE, dump, restore

FAILURES = 5
RECOVERED = 100


def at_sample(state: FoldState, position: int, at: int, x: dict[str, Any], answer: Answer) -> None:
    """Look after models of which some gave no number for `x`, or whose leader failed shortly before."""
    live, others = state.live, sum(p is not None for p in answer.said[1:])
    if live.failures == 0:
        if state.drift.failing:
            state.sound += 1
            if state.sound >= RECOVERED:
                _over(state, position, at)
    else:
        state.counts.failed += 1
        state.sound = 0
        if live.failures == FAILURES and state.acting:
            _tell(state, position, at, live, "gave no number")
    if not state.acting:
        return
    for one in list(state.experts.models):
        if _looked_at(one.failures) and (others or _fails_again(state, one, None)):
            _goes(state, position, at, one, "gave no number")


def at_label(state: FoldState, position: int, at: int, x: dict[str, Any], y: Any, others: int) -> None:
    """Look after models of which some could not learn this label; `others` could."""
    live = state.live
    if live.unlearned:
        state.counts.failed += 1
        if live.unlearned == FAILURES and state.acting:
            _tell(state, position, at, live, "could not learn")
    if not state.acting:
        return
    for one in list(state.experts.models):
        if _looked_at(one.unlearned) and (others or _fails_again(state, one, y)):
            _goes(state, position, at, one, "could not learn")


def _looked_at(failures: int) -> bool:
    times, rest = divmod(failures, FAILURES)
    return rest == 0 and times > 0 and times & (times - 1) == 0


def _fails_again(state: FoldState, one: Expert, y: Any) -> bool:
    """Whether it fails at the newest vector that there was an answer to; with `y`, at learning from it."""
    if state.answered is None:
        return True
    if y is None:
        return state.task.said(one.model, state.answered) is None
    return not state.task.learn(restore(dump(one.model)), state.answered, y)


def _goes(state: FoldState, position: int, at: int, one: Expert, does: str) -> None:
    """A broken model leaves, and a fresh one begins where it was the first or the last that learns."""
    experts, before = state.experts, state.live
    learners = [other for other in experts.models if other.learns and other is not one]
    if one is experts.first or not learners:
        born = (state.counts.learned, at, position)
        fresh = experts.add("first", state.fresh(), state.new_id(), born)
        if one is experts.first:
            experts.first = fresh
        else:
            fresh.kind = "new"
    was_committed = one is experts.committed
    experts.remove(one)
    if was_committed:
        state.pinned = False
        state.note_commit(RULE, f"{one.version} {does}, and this one leads", at, position)
        state.drift.committed(at, position, f"{one.version} {does}")
    state.name_models()
    told = f"{one.version} {does} {FAILURES} times in a row and is gone: {state.version} leads"
    state.publish(state.why if state.live is before else told, told)


def _over(state: FoldState, position: int, at: int) -> None:
    episode = state.drift.episodes.get("failures", "model")
    since = (at, position) if episode is None else (episode.since_ms, episode.since_position)
    found = Transition("failures", "model", "resolved", 0, FAILURES, 0.0, *since, at, position, {})
    state.drift.failures(found, "the model gives numbers again")


def _tell(state: FoldState, position: int, at: int, one: Expert, does: str) -> None:
    if state.drift.failing:
        return
    state.sound = 0
    found = Transition(
        "failures", "model", "firing", FAILURES, FAILURES, 0.0, at, position, at, position, {"recovered": RECOVERED}
    )  # fmt: skip
    why = f"{one.version} {does} {FAILURES} times in a row; the other models, and the base rate, predict meanwhile"
    state.drift.failures(found, why)
