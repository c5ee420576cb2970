"""What may stand in a definition beside what must: each check raises `DefinitionError`, naming the place.

Laws of this file:
- Pure functions of what was written; nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
