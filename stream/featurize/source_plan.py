"""What an event of a source does, worked out once from the definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from penstock.features.engine.compute import CompiledView


class SourcePlan(NamedTuple):
    """What one event of a source does: the views it updates and those its sample reads, in the vector's order.

    `keys` are the distinct entity keys of those views; each view names its key by place in `keys`.
    """

    key_fields: tuple[str, ...]
    keys: list[tuple[str, ...]]
    views: list[tuple[int, CompiledView, int, bool]]
    predicts: bool
    outcome: Callable[[Mapping[str, Any]], Any] | None
