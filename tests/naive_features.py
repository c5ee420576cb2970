"""The oracle: keeps every event and computes each feature by its definition, every time, from scratch.

Slow and obviously right. It shares nothing with ``features`` but the definitions and the length of a tile.
"""

from collections.abc import Mapping
from math import fsum
from typing import Any, NamedTuple

from features.definitions import Feature, View
from features.windows import tile_hop_ms


class Event(NamedTuple):
    """One event of one entity."""

    at_ms: int
    tie: int
    fields: Mapping[str, Any]


class NaiveView:
    """Every event of one entity, and the values of a view over them."""

    def __init__(self, view: View) -> None:
        """Start without events."""
        self.view = view
        self.events: list[Event] = []

    def update(self, at_ms: int, tie: int, fields: Mapping[str, Any]) -> None:
        """Remember one event."""
        self.events.append(Event(at_ms, tie, fields))

    def values(self, at_ms: int) -> list[float | None]:
        """Compute every feature as of ``max(at_ms, newest event)``."""
        moment = max([at_ms, *(e.at_ms for e in self.events)])
        return [self._value(f, moment) for f in self.view.features.values()]

    def update_own(self, at_ms: int, tie: int, fields: Mapping[str, Any]) -> list[float | None]:
        """Give the vector of the event itself: ``last`` and ``since_last`` before it, the rest with it."""
        before = self.values(at_ms)
        self.update(at_ms, tie, fields)
        kinds = [f.kind for f in self.view.features.values()]
        after = self.values(at_ms)
        return [b if k in ("last", "since_last") else a for k, b, a in zip(kinds, before, after, strict=True)]

    def until(self, at_ms: int) -> int | None:
        """When the first event now inside a window leaves it."""
        moment = max([at_ms, *(e.at_ms for e in self.events)])
        ends = []
        for f in self.view.features.values():
            if f.window_ms is not None:
                hop = tile_hop_ms(f.window_ms)
                ends += [(e.at_ms // hop + 1) * hop + f.window_ms for e in self._inside(f, moment)]
        return min(ends, default=None)

    def _inside(self, feature: Feature, moment: int) -> list[Event]:
        if feature.window_ms is None:
            return self.events
        hop = tile_hop_ms(feature.window_ms)
        return [e for e in self.events if e.at_ms // hop >= (moment - feature.window_ms) // hop]

    def _value(self, feature: Feature, moment: int) -> float | None:
        events = self._inside(feature, moment)
        if feature.kind == "count":
            return float(len(events))
        if feature.kind == "since_last":
            return (moment - max(e.at_ms for e in events)) / 1000 if events else None
        assert feature.field is not None
        known = [e for e in events if e.fields.get(feature.field) is not None]
        if feature.kind == "last":
            newest = max(known, key=lambda e: (e.at_ms, e.tie), default=None)
            return float(newest.fields[feature.field]) if newest else None
        numbers = [float(e.fields[feature.field]) for e in known]
        if feature.kind == "sum":
            return fsum(numbers)
        if feature.kind == "mean":
            return fsum(numbers) / len(numbers) if numbers else None
        return (min if feature.kind == "min" else max)(numbers, default=None)
