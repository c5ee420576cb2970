"""Whether models still answer with numbers, and what takes the place of a live model that no longer does.

Laws of this file:
- A model fails at a sample when it raises or answers what is no probability, and at a label when learning raises. It is unhealthy
  after `FAILURES` samples in a row, or as many labels: one odd vector is no run. It is healthy again after `RECOVERED` samples.
- An unhealthy live model gives way to the newest kept version that is better on this very record: first the one on probation and
  the anchors, then the candidate. Where all fail, nothing changes, and it is tried again after twice as many failures.
- The last resort is `v0`, a fresh model. It has an answer to anything, so it is taken only when the live model also fails at the
  newest vector that there was an answer to: then the model is broken, and not what producers send.
- A function of the log alone: the replacement is no command, so a replay finds it by itself. It also needs no approval.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.monitors.episodes import Transition
from penstock.stream.learn.anchors import Anchor, Frozen
from penstock.stream.learn.learner import learn, said
from penstock.stream.learn.state import FRESH, FoldState, Run
from penstock.stream.models.version import dump, restore

FAILURES = 5
RECOVERED = 100


def at_sample(state: FoldState, position: int, at: int, x: dict[str, Any], p: float | None) -> float:
    """The answer to a sample where the live model said `p`, here or shortly before None: its own, its replacement's, or 0.5."""
    run = state.failed_samples
    if p is not None:
        run.ends()
        state.sound += state.drift.failing
        if state.drift.failing and state.sound >= RECOVERED and not state.failed_labels.length:
            episode = state.drift.episodes.get("failures", "model")
            since = (at, position) if episode is None else (episode.since_ms, episode.since_position)
            _tell(state, "resolved", Run(0, since), at, position, "the model gives numbers again")
        return p
    state.counts.failed += 1
    state.sound = 0
    if state.acting and run.goes_on(at, position, FAILURES):
        return _replaced(state, run, position, at, x, None)
    return 0.5


def at_label(state: FoldState, position: int, at: int, x: dict[str, Any], y: bool, learned: bool) -> None:
    """Take notice of a label that the live model learned, or could not learn."""
    run = state.failed_labels
    if learned:
        run.ends()
        return
    state.counts.failed += 1
    if state.acting and run.goes_on(at, position, FAILURES):
        _replaced(state, run, position, at, x, y)


def drop_failing_candidate(state: FoldState, candidate: Frozen) -> None:
    """Drop a candidate that fails again and again at samples that the live model has an answer to."""
    state.candidate = None
    state.drift.drop_candidate()
    state.publish(
        state.why, f"candidate {candidate.version} dropped: it gave no number {FAILURES} times in a row"
    )


def drop_failing_anchor(state: FoldState, anchor: Anchor) -> None:
    """Drop an anchor that does so: nothing may be rolled back to it."""
    state.drift.discard(anchor.version)
    state.publish(state.why, f"version {anchor.version} dropped: it gave no number {FAILURES} times in a row")


def _rivals(state: FoldState, x: dict[str, Any], y: bool | None) -> Iterator[tuple[str, Any, float]]:
    """(version, model, level) of what may take the live model's place, in order; each model is the taker's own."""
    anchors = state.drift.anchors
    for anchor in [*([anchors.probation] if anchors.probation else []), *reversed(anchors.kept)]:
        if said(anchor.frozen.model, x) is not None:
            yield anchor.version, restore(anchor.payload), anchor.frozen.level
    # With a label, it learned that one beside the live model already.
    if state.candidate is not None and y is None:
        yield state.candidate.version, state.candidate.model, 0.0
    if _is_broken(state, y):
        yield FRESH, state.pipeline.model.clone(), 0.0


def _is_broken(state: FoldState, y: bool | None) -> bool:
    """Whether the live model fails at a vector that was no trouble before; with `y`, at learning from it."""
    if state.answered is None:
        return True
    if y is None:
        return said(state.champion, state.answered) is None
    return not learn(restore(dump(state.champion)), state.answered, y)


def _replaced(state: FoldState, run: Run, position: int, at: int, x: dict[str, Any], y: bool | None) -> float:
    """Put the newest version in place that does what the live model fails to do here; what it says of `x`, or 0.5."""
    before, since = state.version, run.since
    does = "gave no number" if y is None else "could not learn"
    what = f"{before} {does} {run.length} times in a row"
    answer = 0.5
    for version, model, level in _rivals(state, x, y):
        p = said(model, x)
        if p is None or (y is not None and not learn(model, x, y)):
            continue
        state.put_in_place(version, model, level, position)
        state.drift.replaced(version, at, position, f"{version} took the place of {before}", since[1])
        state.publish(f"in place of {before}, which {does} {run.length} times in a row")
        answer = p
        kept = "a fresh model" if version == FRESH else "as it was kept"
        what += f": {version}, {kept}, is live in its place"
        run.ends()
        break
    else:
        what += ", and no other version does better here"
    if not state.drift.failing:
        state.sound = 0
        _tell(state, "firing", Run(run.length, since), at, position, what)
    return answer


def _tell(state: FoldState, to: Any, run: Run, at: int, position: int, reason: str) -> None:
    state.drift.failures(
        Transition(
            "failures", "model", to, run.length, FAILURES, 0.0, *run.since, at, position, {"recovered": RECOVERED}
        ),
        reason,
    )  # fmt: skip
