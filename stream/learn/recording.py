"""How the fold did, as records of the history topic: one for each block of labels, and one for each hour of event time.

Laws of this file:
- Called once a block and once an hour, never for a record by itself. It reads the fold, and changes nothing but its marks.
- A record of an hour is made before the first sample or label behind it is counted: an hour holds what came in it. What comes
  behind a newer event belongs to the newer one's hour.
- An id names the record of the log at which it was made, and the fold that made it.
"""

from __future__ import annotations

from math import isfinite
from operator import attrgetter, sub
from typing import Literal

from penstock.stream.history_record import HISTORY_DIGITS, Counted, EpisodeThen, ExpertThen, HistoryRecord
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.history import BLOCK_LABELS, COUNTED, HOUR_MS, LEAST_BLOCK_MS, Mark
from penstock.stream.learn.state import FoldState
from penstock.stream.learn.tasks.measures import auc

Means = dict[str, float | None]
_counts = attrgetter(*COUNTED)


def block_over(fold: FoldState, position: int) -> None:
    """So many labels as make a block were joined with the record at this position: tell how it went, if it was long enough."""
    history = fold.history
    if fold.at - history.block.at < LEAST_BLOCK_MS:
        history.block_over += BLOCK_LABELS
        return
    means: Means = {} if history.said is None else {"auc": auc(history.said)}
    fold.outputs.history.append(_record(fold, "labels", history.block, position, fold.at, means))
    history.block = _mark(fold, position, fold.at)
    history.block_over = fold.counts.joined + BLOCK_LABELS
    if history.said is not None:
        history.said.clear()


def hour_over(fold: FoldState, position: int, at: int) -> None:
    """The record at this position is the first of another hour: tell how the last one went. The first of all only begins one."""
    history = fold.history
    began = at - at % HOUR_MS
    if history.hour_over:
        told = _record(fold, "hour", history.hour, position, history.hour_over, {})
        fold.outputs.history.append(told)
    else:
        history.block.at, history.block.position = at, position
    history.hour = _mark(fold, position, began)
    history.hour_over = began + HOUR_MS


def _mark(fold: FoldState, position: int, at: int) -> Mark:
    counts, experts = fold.counts, fold.experts
    return Mark(
        position=position,
        at=at,
        counts=_counts(counts),
        live_loss=counts.live_loss,
        base_loss=counts.base_loss,
        judged=experts.judged,
        mixture_loss=experts.live_loss,
        lost=dict(zip(experts.numbers, experts.losses, strict=True)),
        sums=fold.task.sums(),
    )


def _record(
    fold: FoldState, kind: Literal["labels", "hour"], mark: Mark, position: int, at: int, means: Means
) -> HistoryRecord:
    """What happened since the mark."""
    counts, experts, task = fold.counts, fold.experts, fold.task
    grown = Counted(**dict(zip(COUNTED, map(sub, _counts(counts), mark.counts), strict=True)))
    joined, judged = grown.joined, experts.judged - mark.judged
    of = grown.samples if task.at_once else joined
    means |= {name: _mean(value - mark.sums.get(name, 0.0), of) for name, value in task.sums().items()}
    lineage = f".{fold.lineage}" if fold.lineage else ""
    return HistoryRecord(
        id=f"{kind}-{position}-{counts.joined}{lineage}",
        pipeline=fold.pipeline.name,
        kind=kind,
        task=task.kind,
        position=position,
        at=at,
        since_position=mark.position,
        since=mark.at,
        recipe=fold.recipe,
        live=fold.version,
        leader=experts.leader.version,
        committed=experts.committed.version,
        counts=grown,
        pending=len(fold.pending),
        judged=judged,
        loss=_mean(counts.live_loss - mark.live_loss, joined),
        base_loss=_mean(counts.base_loss - mark.base_loss, joined),
        mixture_loss=_mean(experts.live_loss - mark.mixture_loss, judged),
        means={name: value for name, value in means.items() if value is not None},
        experts=_experts(experts, mark),
        episodes=_episodes(fold),
        held=fold.drift.hold is not None,
    )


def _mean(total: float, of: int) -> float | None:
    """A mean as it is told; None of nothing, and of what is no number."""
    return round(total / of, HISTORY_DIGITS) if of and isfinite(total) else None


def _experts(experts: Experts, mark: Mark) -> list[ExpertThen]:
    found, since, lost = [], mark.judged, mark.lost
    for one, loss, weight in zip(experts.all, experts.losses, experts.gate.totals(), strict=True):
        judged = experts.judged - (one.judged_before if one.judged_before > since else since)
        found.append(
            ExpertThen(
                version=one.version,
                kind=one.kind,
                weight=round(weight, HISTORY_DIGITS),
                judged=judged,
                loss=_mean(loss - lost.get(one.number, 0.0), judged),
            )
        )
    return found


def _episodes(fold: FoldState) -> list[EpisodeThen]:
    found = []
    for story in fold.drift.stories.open_now():
        kind, subject = story.about()
        at, position = story.since
        found.append(EpisodeThen(id=story.id, kind=kind, subject=subject, since=at, since_position=position))
    return found
