"""Stepping a batch in which `step` raised once more, so that only the record that provoked it is lost to the flow.

Laws of this file:
- Whatever one record provokes, it becomes a dead letter with the reason, and everything else is as if it had been one from the
  start: states, counts, outputs, the unit that is open.
- It costs an encoding of every state that an item touches, so it is only for such a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

from penstock.stream.featurize.counts import Counts
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.position import HeadPosition
from penstock.stream.featurize.step import Featurize


class Snapshot(NamedTuple):
    """Everything of a `Featurize` that a step changes but the states."""

    positions: dict[Head, HeadPosition]
    counts: Counts
    dirty: list[set[str]]
    unseen: list[set[str]]
    dead_share: dict[str, list[Any]]
    outs: int
    numbers: dict[str, Any]


_NUMBERS = ("base", "now_at", "dirty_count", "dirty_bytes", "out_bytes")


def snapshot(featurize: Featurize) -> Snapshot:
    """What to return to."""
    counts = featurize.counts
    return Snapshot(
        {head: HeadPosition(place.offset, place.newest_at) for head, place in featurize.positions.items()},
        replace(
            counts,
            dead_letters=dict(counts.dead_letters),
            late=Counter(counts.late),
            defaults=Counter(counts.defaults),
            entities=Counter(counts.entities),
        ),
        [set(dirty) for dirty in featurize.dirty],
        [set(unseen) for unseen in featurize.unseen],
        deepcopy(featurize.dead_share.stored()),
        len(featurize.outs),
        {name: getattr(featurize, name) for name in _NUMBERS},
    )


def return_to(featurize: Featurize, was: Snapshot) -> None:
    """Be as at the snapshot, but for the states. It is used up: take another for another return."""
    featurize.positions, featurize.counts = was.positions, was.counts
    featurize.dirty, featurize.unseen = was.dirty, was.unseen
    featurize.dead_share.start(was.dead_share)
    del featurize.outs[was.outs :]
    for name, number in was.numbers.items():
        setattr(featurize, name, number)


def start_over(featurize: Featurize, was: Snapshot) -> None:
    """Return to a snapshot between units, when everything is stored: states are to be loaded anew."""
    featurize.outs = []
    return_to(featurize, was._replace(unseen=[set() for _ in featurize.unseen]))
    for states in featurize.states:
        states.clear()


def step_or_bury(featurize: Featurize, item: Item, entities: Sequence[str | None]) -> None:
    """`Featurize.step`, or the item's dead letter when that raises."""
    kept: list[tuple[int, str, bytes]] = []
    for number, compiled, place, own in featurize.plans[item.source].views if entities else ():
        entity = entities[place]
        if own and entity is not None:
            kept.append((number, entity, compiled.encode(featurize.states[number][entity])))
    was = snapshot(featurize)
    try:
        featurize.step(item, entities)
    except Exception as error:
        return_to(featurize, was)
        for number, entity, state in kept:
            featurize.states[number][entity] = featurize.compiled[number].decode(state)
        reason = f"{type(error).__name__}: {error}"
        featurize.step(item._replace(event=None, reject=reason), ())
