"""What may stand in a definition beside what must: each check raises `DefinitionError`, naming the place.

Laws of this file:
- Pure functions of what was written; nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from penstock.features.define.view import View
from penstock.stream.definition_error import DefinitionError
from penstock.stream.label import Label
from penstock.stream.source import Source
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


MOST_SHARDS = 256


def check_shards(
    where: str,
    shard_by: Any,
    shards: Any,
    predict: Source,
    label: Label | None,
    views: Sequence[View],
    challengers: Collection[str],
) -> None:
    """Refuse shards that are no number, that no field tells apart, or whose labels cannot be sent where their samples are."""
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= MOST_SHARDS:
        raise DefinitionError(
            f"{where}: shards must be a whole number from 1 to {MOST_SHARDS}, not {shards!r}"
        )
    if not (shard_by is None or (isinstance(shard_by, str) and shard_by)):
        raise DefinitionError(
            f"{where}: shard_by must name a field of the predicted event, such as 'carrier', not {shard_by!r}"
        )
    if shards == 1:
        return
    if shard_by is None:
        raise DefinitionError(
            f"{where}: shards={shards} needs shard_by: the field of the predicted event whose value says to which shard an event "
            "belongs, such as shard_by='carrier'"
        )
    if challengers:
        raise DefinitionError(
            f"{where}: challengers race beside one model, and with shards={shards} there is one in every shard: leave one of "
            "the two out"
        )
    if label is None or shard_field_of_labels(shard_by, predict, label, views) is not None:
        return
    if label.key_fields:
        raise DefinitionError(
            f"{where}: shard_by={shard_by!r} is not in the label's key {label.key_fields}: the label of a sample could be in "
            f"another shard; shard by {' or '.join(map(repr, label.key_fields))}, or add {shard_by!r} to the label's key"
        )
    raise DefinitionError(
        f"{where}: nothing here says that events of {label.source.name!r}, which bring the labels, have the field {shard_by!r} "
        f"as well, so a label could not be sent to the shard of its sample: name it among the fields that the label's function "
        f"reads, as Label(..., lambda e: ..., fields=(..., {shard_by!r})), or shard by the id: shard_by={predict.id!r}"
    )


def shard_field_of_labels(shard_by: str, predict: Source, label: Label, views: Sequence[View]) -> str | None:
    """The field of a label's event that has the value which `shard_by` has in its sample's; None where nothing says so.

    By id it is a field that the definition demands of the label's events, or the id itself; by key a part of the key.
    """
    if label.key_fields:
        return shard_by if shard_by in label.key_fields else None
    if label.source.name == predict.name:
        return shard_by
    if shard_by == predict.id:
        return label.source.id
    known = {*label.source.key_fields, *label.fields}
    for view in views:
        if view.source.name == label.source.name:
            known.update(view.fields, view.key_fields)
    return shard_by if shard_by in known else None
