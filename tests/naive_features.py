"""The oracle: keeps every event and computes each feature by its definition, every time, from scratch.

Slow and obviously right. It shares nothing with `features` but the definitions.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from math import floor, fsum, inf
from operator import attrgetter
from types import CodeType
from typing import Any, NamedTuple

from penstock.features.define.view import Feature, View

BEFORE = ("first", "last", "last_n", "since_last")


class Event(NamedTuple):
    """One event of one entity; `in_time` if it came within the grace."""

    at_ms: int
    tie: int
    fields: Mapping[str, Any]
    in_time: bool = True


def evaluated(text: str, fields: Mapping[str, Any]) -> Any:
    """Evaluate an expression by Python itself; null if a field that it names is null."""
    code = _compiled(text)
    known = {name: fields.get(name) for name in code.co_names}
    known |= {word: word == "true" for word in ("true", "false") if word in known}
    if any(value is None for value in known.values()):
        return None
    try:
        return float(eval(code, {"__builtins__": {}}, known))
    except ArithmeticError:
        return None


@cache
def _compiled(text: str) -> CodeType:
    return compile(text, "expression", "eval")


def usable(value: Any) -> Any:
    """The value; null if it is a number that no model can use."""
    return None if isinstance(value, float) and not abs(value) <= 1e150 else value


class NaiveView:
    """Every event of one entity, and the values of a view over them."""

    def __init__(self, view: View) -> None:
        """Start without events."""
        self.view = view
        self.events: list[Event] = []
        self.newest_ms = -inf

    def update(self, at_ms: int, tie: int, fields: Mapping[str, Any]) -> None:
        """Remember one event."""
        newest = self.newest_ms if self.events else at_ms
        self.events.append(Event(at_ms, tie, fields, at_ms >= newest - self.view.grace_ms))
        self.newest_ms = max(newest, at_ms)

    def first(self, number: int) -> "NaiveView":
        """The view as it was after so many events."""
        part = NaiveView(self.view)
        part.events = self.events[:number]
        part.newest_ms = max((e.at_ms for e in part.events), default=-inf)
        return part

    def values(self, at_ms: int) -> list[Any]:
        """Compute every feature as of `max(at_ms, newest event)`."""
        moment = self._moment(at_ms)
        return [self._value(f, moment) for f in self.view.features.values()]

    def update_own(self, at_ms: int, tie: int, fields: Mapping[str, Any]) -> list[Any]:
        """Give the vector of the event itself: some kinds before it, `row` of itself, the rest with it."""
        features = [f for f in self.view.features.values() if f.numeric]
        moment = self._moment(at_ms)
        before = {
            id(p): self._value(p, moment) for f in features for p in (f.parts or (f,)) if p.kind in BEFORE
        }
        self.update(at_ms, tie, fields)
        event = Event(at_ms, tie, fields)
        moment = self._moment(at_ms)

        def leaf(f: Feature) -> Any:
            if f.kind == "row":
                return self._row(f, event)
            return before[id(f)] if id(f) in before else self._value(f, moment)

        return [self._ratio(f, *map(leaf, f.parts)) if f.parts else leaf(f) for f in features]

    def until(self, at_ms: int) -> int | None:
        """When the first event now inside a window leaves it."""
        moment = self._moment(at_ms)
        ends = []
        for f in self.view.features.values():
            for part in f.parts or (f,):
                inside = self._inside(part, moment) if part.window_ms is not None else []
                if not inside or part.window_ms is None:
                    continue
                if part.hop_ms is None:
                    ends.append(max(e.at_ms for e in inside) + part.window_ms + 1)
                elif part.shape == "sliding":
                    ends += [(e.at_ms // part.hop_ms + 1) * part.hop_ms + part.window_ms for e in inside]
                else:
                    ends += [e.at_ms // part.hop_ms * part.hop_ms + part.window_ms for e in inside]
        return min(ends, default=None)

    def _moment(self, at_ms: int) -> int:
        return at_ms if at_ms >= self.newest_ms else int(self.newest_ms)

    def _inside(self, f: Feature, moment: int) -> list[Event]:
        if f.window_ms is None:
            return self.events
        if f.hop_ms is None:
            return self._session(f.window_ms, moment)
        if f.shape == "sliding":
            first = (moment - f.window_ms) // f.hop_ms
            return [e for e in self.events if e.at_ms // f.hop_ms >= first]
        begin = (moment // f.hop_ms + 1) * f.hop_ms - f.window_ms
        return [e for e in self.events if e.at_ms >= begin]

    def _session(self, gap_ms: int, moment: int) -> list[Event]:
        found: list[Event] = []
        end = moment
        for e in sorted((e for e in self.events if e.in_time), key=lambda e: e.at_ms, reverse=True):
            if end - e.at_ms > gap_ms:
                break
            found.append(e)
            end = e.at_ms
        return found

    def _row(self, f: Feature, event: Event) -> Any:
        met = f.where is None or evaluated(f.where, event.fields)
        value = evaluated(f.constant, event.fields) if met else None
        return f.default if value is None else usable(value)

    def _ratio(self, f: Feature, over: Any, under: Any) -> Any:
        return usable(over / under) if over is not None and under else f.default

    def _value(self, f: Feature, moment: int) -> Any:
        if f.parts:
            return self._ratio(f, *(self._value(part, moment) for part in f.parts))
        events = [e for e in self._inside(f, moment) if f.where is None or evaluated(f.where, e.fields)]
        if f.field is not None:
            events = [e for e in events if e.fields.get(f.field) is not None]
        if not events:
            zero = f.kind in ("count", "sum", "rate", "distinct", "decayed_count", "decayed_sum")
            return 0.0 if zero and f.default is None else f.default
        try:
            value = self._of_events(f, events, moment)
        except OverflowError:  # `fsum` and `statistics` say so of what other arithmetic makes infinite
            return None
        return f.default if value is None else usable(value)

    def _of_events(self, f: Feature, events: list[Event], moment: int) -> Any:  # noqa: PLR0911
        if f.kind in ("count", "rate"):
            return float(len(events)) / ((f.window_ms or 0) / 1000 if f.kind == "rate" else 1)
        ordered = sorted(events, key=attrgetter("at_ms", "tie"))
        raw = [e.fields[f.field] for e in ordered] if f.field else []
        if f.kind == "since_last":
            return (moment - ordered[-1].at_ms) / 1000
        if f.kind == "row":
            return self._row(f, ordered[-1])
        if f.kind == "distinct":
            return float(len({float(v) if not isinstance(v, str) else v for v in raw}))
        if f.kind == "top_k":
            counts = Counter(float(v) if not isinstance(v, str) else v for v in raw)
            ranked = sorted(counts.items(), key=lambda i: (-i[1], isinstance(i[0], str), i[0]))
            return [list(i) for i in ranked[: f.constant]]
        values = [v if isinstance(v, str) else float(v) for v in raw]
        if f.kind in ("first", "last"):
            return values[0 if f.kind == "first" else -1]
        if f.kind == "last_n":
            return values[::-1][: f.constant]
        if f.kind in ("decayed_count", "decayed_sum", "decayed_mean"):
            weights = [2.0 ** ((e.at_ms - moment) / f.constant) for e in ordered]
            if f.kind == "decayed_count":
                return fsum(weights)
            total = fsum(w * v for w, v in zip(weights, values, strict=True))
            if f.kind == "decayed_sum":
                return total
            newest = self._moment(ordered[-1].at_ms)
            weights = [2.0 ** ((e.at_ms - newest) / f.constant) for e in ordered]
            total = fsum(w * v for w, v in zip(weights, values, strict=True))
            return total / fsum(weights) if fsum(weights) > 0 else None
        return self._of_numbers(f, values)

    def _of_numbers(self, f: Feature, values: list[float]) -> Any:
        n = len(values)
        if f.kind == "sum":
            return fsum(values)
        if f.kind == "mean":
            return fsum(values) / n
        if f.kind in ("variance", "std"):
            measure: Callable[[list[float]], float] = (
                statistics.variance if f.kind == "variance" else statistics.stdev
            )
            return measure(values) if n > 1 else None
        if f.kind == "quantile":
            return sorted(values)[floor(f.constant * (n - 1))]
        if f.kind == "histogram":
            edges = [float("-inf"), *f.constant, float("inf")]
            return [
                float(sum(lo <= v < hi for v in values)) for lo, hi in zip(edges, edges[1:], strict=False)
            ]
        return (min if f.kind == "min" else max)(values)
