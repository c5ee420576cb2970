"""One samples log, folded by several ways that must agree: straight on, from a snapshot in between, and as it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Entry, encode_entry

TOPIC = topology.samples("parcels")


@contextmanager
def births_often(frozen_every: int, is_due: Callable[[int], bool]) -> Iterator[None]:
    """Let fresh models, where `is_due` says so of a count of labels, and frozen copies come within a short log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", frozen_every)
        patch.setattr("penstock.stream.learn.births.is_due", is_due)
        yield


def stored(log: Iterable[Entry], topic: str = TOPIC) -> MemoryLog:
    """The log as it is stored."""
    made = MemoryLog()
    made.create(topic)
    made.append([Out(topic, None, encode_entry(entry), (), 0) for entry in log])
    return made


def go(fold: Fold, log: Sequence[Entry], stop: int | None = None) -> Fold:
    """Fold on to the end, or to before the position `stop`."""
    for position, entry in enumerate(log[fold.position : stop], fold.position):
        fold.step(position, entry)
    return fold


def interrupted(pipeline: Callable[[], Pipeline], log: Sequence[Entry], cut: int) -> tuple[Fold, Fold]:
    """The fold before the position `cut`, and the one that went on from its snapshot; `pipeline` makes the definition anew."""
    kept, first = stored(log), go(Fold(pipeline()), log, cut)
    restored = restore_fold(pipeline(), take(first, kept.topic_id(TOPIC)), kept, TOPIC)
    return first, go(restored, log)
