"""Which experts go: those for whom there is no room, those that won nothing, and the careful one when nothing is unusual.

Laws of this file:
- The base rate, the first model, the leader and the committed one never go; nor does the careful one while it is needed.
- Nothing here is needed for the promise: an expert that stays costs CPU, one that goes could at most have helped.
"""

from __future__ import annotations

from collections.abc import Collection

from penstock.stream.learn.expert import YOUNG_LABELS, Expert
from penstock.stream.learn.experts import Experts

MOST_FROZEN = 2
LEAST_LEARNING = 4
"""The leader and three more that learn: with fewer, a restart is better where the world changes. The rest is for frozen ones."""
HOPELESS_RATIO = 1.2
"""A fresh model goes when, since it was last looked at, it lost so many times what the live prediction lost."""
QUIET_SAMPLES = 2_000
"""So many samples after the last value far outside, the expert that leaves such values out goes; the next one makes it again."""


def surplus(experts: Experts, labels: int) -> list[Expert]:
    """Who has to go at this many labels, so that at most `most` models stay beside the first and the careful one."""
    kept = {id(one) for one in (experts.first, experts.leader, experts.committed)}
    gone: list[Expert] = []
    frozen = [one for one in experts.models if one.kind == "frozen"]
    most_frozen = min(MOST_FROZEN, experts.most - LEAST_LEARNING)
    while len(frozen) > most_frozen:
        crowded = _crowded(frozen, kept, labels)
        if crowded is None:
            break
        frozen.remove(crowded)
        gone.append(crowded)
    weights = dict(zip(experts.numbers, experts.gate.totals(), strict=True))
    spared = (experts.first, experts.leader, experts.careful)
    others = [one for one in experts.models if one.learns and one not in spared]
    surplus_learners = len(others) - (experts.most - max(most_frozen, len(frozen)) - 1)
    others = [one for one in others if one is not experts.committed]

    def worth(one: Expert) -> float:
        weight = weights[one.number]
        return weight if labels - one.born > YOUNG_LABELS else 1e9 * weight

    return gone + sorted(others, key=worth)[: max(surplus_learners, 0)]


def _crowded(frozen: list[Expert], kept: Collection[int], labels: int) -> Expert | None:
    """The frozen one that is closest to its neighbours for its age: without it the others' ages stay geometric."""
    inner = [i for i in range(1, len(frozen) - 1) if id(frozen[i]) not in kept]
    if not inner:
        return next((one for one in frozen if id(one) not in kept), None)
    gap = {i: (frozen[i + 1].born - frozen[i - 1].born) / (labels - frozen[i].born + 1) for i in inner}
    return frozen[min(gap, key=gap.__getitem__)]


def hopeless(experts: Experts, labels: int) -> list[Expert]:
    """Fresh models that have come of an age, each twice the one before, and were much worse than the live prediction since."""
    gone: list[Expert] = []
    for one, loss in zip(experts.all, experts.losses, strict=True):
        if one.kind != "new" or one.due > labels:
            continue
        lost, live = loss - one.loss_then, experts.live_loss - one.live_then
        if lost >= HOPELESS_RATIO * live and one not in (experts.leader, experts.committed):
            gone.append(one)
        one.due = labels + (labels - one.born)
        one.loss_then, one.live_then = loss, experts.live_loss
    return gone


def quiet(experts: Experts, sample: int) -> None:
    """No value lay far outside for long: the careful expert goes, or, where it has most of the weight, goes on like others.

    Nothing is lost by that: the next such value makes it again before anybody learns from it.
    """
    careful = experts.careful
    if careful is None or sample - experts.outside_at < QUIET_SAMPLES:
        return
    if careful in (experts.leader, experts.committed, experts.heaviest()):
        careful.kind = "resumed"
    else:
        experts.remove(careful)
