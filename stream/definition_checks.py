"""What may stand in a definition beside what must: each check raises `DefinitionError`, naming the place.

Laws of this file:
- Pure functions of what was written; nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from penstock.stream.definition_error import DefinitionError
from penstock.stream.task_kind import Kind, kind_of

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")


def check_uncertainty(where: str, interval: float | None, calibrate: bool, kind: Kind) -> None:
    """Refuse an `interval` or a correction that cannot be promised for this task."""
    if interval is not None and not (isinstance(interval, float) and 0.5 <= interval <= 0.999):
        raise DefinitionError(
            f"{where}: interval must be the share of labels to hold, from 0.5 to 0.999, such as 0.9, not {interval!r}"
        )
    if interval is not None and kind == "unlabelled":
        raise DefinitionError(f"{where}: interval needs labels: without any, nothing says what was right")
    if calibrate and kind not in ("binary", "anomaly"):
        raise DefinitionError(
            f"{where}: calibrate corrects the probability of true; the task here is {kind!r}"
        )


MOST_SEGMENTS = 4


def check_segments(where: str, segments: Any, answers: Collection[str], unique: Collection[str]) -> None:
    """Refuse segments that are no list of few fields, that tell the answer, or of which every event has its own."""
    if not isinstance(segments, list | tuple) or not all(isinstance(one, str) and one for one in segments):
        raise DefinitionError(
            f"{where}: segments must be a list of names of fields of the predicted event, such as ['carrier'], not {segments!r}"
        )
    if len(segments) > MOST_SEGMENTS:
        raise DefinitionError(
            f"{where}: {len(segments)} segments share one budget of alarms; name at most {MOST_SEGMENTS}"
        )
    for name in segments:
        if segments.count(name) > 1:
            raise DefinitionError(f"{where}: segment {name!r} is listed twice")
        if name in unique:
            raise DefinitionError(
                f"{where}: segment {name!r} has another value in every event; name a field with few values"
            )
        if name in answers:
            raise DefinitionError(
                f"{where}: segment {name!r} is the label of the same event: whoever is late loses more than who is not, always"
            )


def check_challengers(
    where: str, challengers: Mapping[str, Any], race_cpu: float, kind: Kind, task: str | None
) -> None:
    """Refuse challengers that cannot race with a model of this task, and a share of CPU that is none."""
    if not isinstance(challengers, Mapping):
        raise DefinitionError(
            f"{where}: challengers must be models by name, such as {{'tree': tree.HoeffdingTreeClassifier()}}, "
            f"not {challengers!r}"
        )
    for name, model in challengers.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise DefinitionError(
                f"{where}: challenger {name!r}: a name starts with a letter and holds letters, digits, '_' and '-'"
            )
        try:
            found = kind_of(model, task=task, labelled=kind != "unlabelled")
        except ValueError as error:
            raise DefinitionError(f"{where}: challenger {name!r}: {error}") from None
        if found != kind:
            raise DefinitionError(
                f"{where}: challenger {name!r} is for the task {found!r}, and the definition's model for {kind!r}"
            )
    if challengers and kind == "unlabelled":
        raise DefinitionError(f"{where}: challengers need labels: without any, nothing says who is better")
    if isinstance(race_cpu, bool) or not 0 < race_cpu <= 1:
        raise DefinitionError(f"{where}: race_cpu must be above 0 and at most 1 core, not {race_cpu!r}")
