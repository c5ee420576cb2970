"""What may stand in `Pipeline(monitors=[...])`: each check raises `DefinitionError`, naming the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from river.base import BinaryDriftDetector

from penstock.monitors.series.detector import DriftDetector
from penstock.stream.definition_error import DefinitionError
from penstock.stream.detectors.monitor import ERROR, LOSS, OF_LABELS, SERIES, Monitor
from penstock.stream.detectors.named import RateRise
from penstock.stream.detectors.own import Detector
from penstock.stream.quality import SHARES
from penstock.stream.task_kind import Kind

RESERVED = frozenset(
    {
        "adwin", "dead-letters", "estimate", "failures", "harm", "labels", "lead", "nulls", "psi", "range", "schedule", "segment",
        "skill", "story", "summary", *SHARES,
    }
)  # fmt: skip
"""Kinds of event that are Penstock's own."""


def checked(given: Any, where: str, names: Sequence[str], kind: Kind) -> tuple[Monitor, ...]:
    """The monitors of a pipeline whose vectors hold `names`, or a `DefinitionError`."""
    if not isinstance(given, list | tuple):
        raise DefinitionError(
            f'{where}: monitors must be a list of detectors, such as [Adwin("loss")], not {given!r}'
        )
    found = tuple(_entry(one, where, kind) for one in given)
    for one in found:
        if one.on not in (*SERIES, *names):
            raise DefinitionError(
                f"{where}: {one.kind}({one.on!r}): there is no such series; there are {', '.join((*SERIES, *names))}"
            )
        if one.on in SERIES and one.on in names:
            raise DefinitionError(f"{where}: {one.kind}({one.on!r}): an input has this name, too")
        if kind == "unlabelled" and one.on in OF_LABELS:
            raise DefinitionError(
                f"{where}: {one.kind}({one.on!r}) needs labels, and there are none (label=None)"
            )
        if isinstance(one, RateRise) and kind in ("regression", "unlabelled") and one.on in SERIES:
            raise DefinitionError(
                f"{where}: RateRise({one.on!r}): the values of this series are not between 0 and 1; use Adwin"
            )
        if one.shown in RESERVED:
            raise DefinitionError(
                f"{where}: {one.kind}({one.on!r}): the name {one.shown!r} is Penstock's own"
            )
    places = [(one.shown, one.on) for one in found]
    if twice := next((one for one in places if places.count(one) > 1), None):
        raise DefinitionError(
            f"{where}: two monitors are {twice[0]} on {twice[1]!r}: give one of them a name"
        )
    return found


def _entry(one: Any, where: str, kind: Kind) -> Monitor:
    """An entry; a detector by itself is one on the series that it names, or on the loss."""
    if isinstance(one, Monitor):
        return one
    if isinstance(one, type) or not isinstance(one, DriftDetector):
        called = f"the class {one.__name__}; call it" if isinstance(one, type) else repr(one)
        raise DefinitionError(
            f"{where}: monitors must hold Adwin, PageHinkley, Kswin, RateRise, or a detector with update(x) and "
            f"drift_detected, not {called}"
        )
    if isinstance(one, BinaryDriftDetector):
        return Detector(ERROR, one, block=None)
    return Detector(getattr(one, "on", LOSS), one)
