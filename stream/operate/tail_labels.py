"""The labels of the newest records of a samples log: which sample has which, and which labels said something again.

Laws of this file:
- Pure. It sees the tail alone: a label whose sample lies before it is nobody's, and said again only what the tail has twice.
- By key the labels are those that the learner's own join gives for the tail; by id they are taken as they stand, and that join
  says which samples took the label of those that waited in vain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.join import Join, Settled
from penstock.stream.learn.joins import join_of
from penstock.stream.learn.learner import Seen
from penstock.stream.messages import Entry, LabelRecord, Sample, Tick
from penstock.stream.targets import Target


@dataclass
class TailLabels:
    """`of` are the labels by the id of their sample. `records` are label records, without repeats of a crash.

    Of labels for an id that has one already, `duplicates` said the same and `contradictions` something else.
    """

    of: dict[str, Target] = field(default_factory=dict)
    samples: set[str] = field(default_factory=set)
    records: int = 0
    pending: int = 0
    duplicates: int = 0
    contradictions: int = 0


class _Waits(NamedTuple):
    at: int
    position: int
    id: str


def tail_labels(entries: Iterable[Entry], rule: LabelRule | None) -> TailLabels:
    """The labels of these records, in the order of the log."""
    found, seen = TailLabels(), Seen()
    keyed = rule is not None and rule.keyed
    join: Join[_Waits] | None = (
        join_of(rule) if rule is not None and (keyed or rule.absent is not None) else None
    )
    in_vain: dict[str, Target] = {}
    for position, entry in enumerate(entries):
        settled: Iterable[Settled] = ()
        if isinstance(entry, Sample):
            found.samples.add(entry.id)
            if join is not None and not seen.is_repeat(entry.origin):
                settled = join.sample(entry.id, _Waits(entry.at, position, entry.id), entry.label_key)
        elif isinstance(entry, LabelRecord):
            if not seen.is_repeat(entry.origin):
                found.records += 1
                if not keyed:
                    _by_id(found, entry)
                if join is not None:
                    settled = join.label(position, entry)
        elif isinstance(entry, Tick) and join is not None:
            settled = join.tick(entry)
        of = found.of if keyed else in_vain
        of.update(
            (one.waits.id, one.y) for one in settled if one.y is not None and (keyed or one.how == "absent")
        )
    # A label that came too late to be learned is still the newest that is known.
    found.of = {**in_vain, **found.of}
    found.pending = len(join.pending) if join is not None and keyed else len(found.samples - found.of.keys())
    return found


def _by_id(found: TailLabels, label: LabelRecord) -> None:
    if label.id not in found.of:
        found.of[label.id] = label.y
    elif found.of[label.id] == label.y:
        found.duplicates += 1
    else:
        found.contradictions += 1
