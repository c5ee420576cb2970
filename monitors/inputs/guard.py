"""Data-quality guard: are the inputs still of the kind the model has learned from?

Laws of this file
- Judged against ranges and null shares of past samples that were neither held nor under a firing guard
  (`ranges`).
- A violation is evidence, not a verdict (`violations`): about five in thirty samples fire, a single outlier
  never.
- The budget is shared by all tests: threshold = samples per year * tests / false alarms allowed per year.
- A clean sample costs one comparison per input, and its place in the buffer of the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.ranges import EPOCH_SAMPLES, TEXT_MOST, ColumnRange, Value, is_null, summarise
from penstock.monitors.inputs.violations import Violations


def _inside(low: Sequence[float | str], values: Sequence[Value], high: Sequence[float | str]) -> bool:
    """Whether every value lies in its range."""
    for least, value, most in zip(low, values, high, strict=False):
        # Text bounds are text, so one comparison serves every column; null and a wrong type raise.
        if not least <= value <= most:  # type: ignore[operator]
            return False
    return True


try:
    from penstock.monitors.inputs.counting import inside
except ImportError:  # it was not built
    inside = _inside

Kind = Literal["range", "nulls"]

YEAR_MS = 365.25 * 86_400_000
USUAL_RATE_MOST = 0.3
"""A column that is null, or far out, more often than this somewhere in its past is not guarded for it."""
THRESHOLD_LEAST = 1e4


class RangeGuard:
    """Fire when an input leaves its usual range, or is null, far more often than it used to.

    Transitions carry monitor `range` or `nulls`, the input's name as subject, and as effect the share of
    violating samples since the onset. `since_*` is the first violating sample of the run; a `resolved` names
    in its detail the last violating sample (`last_ms`, `last_position`). `outside` names the inputs of the newest sample
    that lay outside their range, and `nulls` those that were null where that is judged, fired or not.

    Args:
        names: the inputs, in the order of `values`. Guard what producers send; a windowed feature repeats one
            odd event for as long as its window holds it, which looks like a run of violations.
        false_alarms_per_year: for all inputs together.
        samples_per_year: None estimates it from the stream.
        learn_samples: samples before anything is judged.
        widen: see `ranges.ColumnRange`.
    """

    __slots__ = (
        "_budget", "_first_ms", "_high", "_live", "_low", "_places", "_ranges", "_rows", "_tests",
        "_threshold", "learn_samples", "learned_samples", "names", "nulls", "outside", "samples", "samples_per_year",
    )  # fmt: skip

    def __init__(
        self,
        names: Sequence[str],
        false_alarms_per_year: float = 0.1,
        samples_per_year: float | None = None,
        learn_samples: int = 10_000,
        widen: float = 1.0,
    ) -> None:
        if false_alarms_per_year <= 0:
            raise ValueError(f"false_alarms_per_year must be positive, got {false_alarms_per_year}")
        self.names = tuple(names)
        self.samples_per_year = samples_per_year
        self.learn_samples = learn_samples
        self.samples = 0
        self.learned_samples = 0
        self.outside: tuple[str, ...] = ()
        self.nulls: tuple[str, ...] = ()
        self._budget = false_alarms_per_year
        self._threshold = THRESHOLD_LEAST
        self._first_ms: int | None = None
        self._ranges = [ColumnRange(widen) for _ in self.names]
        self._low: list[float | str] = [float("-inf")] * len(self.names)
        self._high: list[float | str] = [float("inf")] * len(self.names)
        self._tests: dict[tuple[Kind, int], Violations] = {}
        self._live: list[tuple[Kind, int]] = []
        self._places: dict[tuple[Kind, int], tuple[tuple[int, int], tuple[int, int]]] = {}
        self._rows: list[tuple[Value, ...]] = []

    @property
    def firing(self) -> list[tuple[str, str]]:
        """(monitor, subject) of every test that fires now."""
        return [(kind, self.names[index]) for kind, index in self._live]

    def accept(
        self, at_ms: int, position: int, kinds: Sequence[Kind] = ("range", "nulls")
    ) -> list[Transition]:
        """Take what fires now for the new normal: its columns are learned anew, and not judged until they are.

        Args:
            at_ms: event time of the record that decides it.
            position: its position in the log.
            kinds: which tests are meant.

        Returns:
            The transitions that end what fired.
        """
        accepted = [key for key in self._live if key[0] in kinds]
        ended = [
            self._transition(key, self._tests[key], "resolved", at_ms, position, None) for key in accepted
        ]
        for kind, index in accepted:
            del self._tests[(kind, index)]
            self._ranges[index] = ColumnRange(self._ranges[index].widen)
            if kind == "range":
                self._low[index], self._high[index] = float("-inf"), float("inf")
        self._live = [key for key in self._live if key not in accepted]
        self._rows.clear()
        return ended

    @property
    def judged(self) -> list[str]:
        """The inputs that are judged by their range now."""
        return [self.names[index] for kind, index in self._tests if kind == "range"]

    def bounds(self) -> dict[str, tuple[float | str, float | str]]:
        """The widened range each input is held against now."""
        return dict(zip(self.names, zip(self._low, self._high, strict=True), strict=True))

    def update(
        self, at_ms: int, position: int, values: Sequence[Value], learn: bool = True
    ) -> list[Transition]:
        """Take one sample's inputs, in the order of the log; return the transitions it caused.

        Args:
            at_ms: event time of the sample.
            position: its position in the log.
            values: numbers, text, or None; as many as there are names.
            learn: whether the sample may shape the ranges (false while learning is held for another reason).

        Raises:
            ValueError: `values` is not as long as `names`.
        """
        low, high = self._low, self._high
        if len(values) != len(low):
            raise ValueError(f"expected {len(low)} values ({', '.join(self.names)}), got {len(values)}")
        self.samples += 1
        if self._first_ms is None:
            self._first_ms = at_ms
        transitions: list[Transition] = []
        self.outside = self.nulls = ()
        try:
            clean = inside(low, values, high)
        except TypeError:
            clean = False
        if not clean:
            transitions = self._violations(at_ms, position, values)
        if self._live:
            transitions += self._settle(at_ms, position)
        if learn and not self._live:
            self._rows.append(tuple(values))
            if len(self._rows) >= EPOCH_SAMPLES:
                self._learn(at_ms)
        return transitions

    def _violations(self, at_ms: int, position: int, values: Sequence[Value]) -> list[Transition]:
        """Count every violation of a sample that has at least one (or a null that is nothing unusual)."""
        transitions = []
        for index, (value, low, high) in enumerate(zip(values, self._low, self._high, strict=True)):
            kind: Kind
            if is_null(value):
                kind = "nulls"
            elif isinstance(value, str) != isinstance(low, str):
                kind = "range"
            elif low <= value <= high:  # type: ignore[operator]
                continue
            else:
                kind = "range"
            test = self._tests.get((kind, index))
            if test is not None:
                if kind == "range":
                    self.outside += (self.names[index],)
                else:
                    self.nulls += (self.names[index],)
                transitions += self._hit((kind, index), test, at_ms, position, value)
        return transitions

    def _hit(
        self, key: tuple[Kind, int], test: Violations, at_ms: int, position: int, value: Value
    ) -> list[Transition]:
        fired = test.hit(self.samples, self._threshold)
        place = (at_ms, position)
        since = place if test.onset == self.samples else self._places[key][0]
        self._places[key] = (since, place)
        if not fired:
            return []
        self._live.append(key)
        return [self._transition(key, test, "firing", at_ms, position, value)]

    def _settle(self, at_ms: int, position: int) -> list[Transition]:
        """Let the firing tests hear a sample that did not violate; end those that have heard enough."""
        transitions = []
        for key in list(self._live):
            test = self._tests[key]
            if test.last_hit == self.samples:
                continue
            ended = self._transition(key, test, "resolved", at_ms, position, None)
            if test.clean(self._threshold):
                self._live.remove(key)
                transitions.append(ended)
        return transitions

    def _transition(
        self,
        key: tuple[Kind, int],
        test: Violations,
        state: Literal["firing", "resolved"],
        at_ms: int,
        position: int,
        value: Value,
    ) -> Transition:
        kind, index = key
        since, last = self._places[key]
        low, high = self._low[index], self._high[index]
        detail: dict[str, object] = {
            "violations": test.hits,
            "samples": self.samples - test.onset + 1,
            "usual_share": test.base_rate,
            "last_ms": last[0],
            "last_position": last[1],
        }
        if kind == "range":
            detail |= {"low": low, "high": high, "value": value}
        return Transition(
            kind, self.names[index], state, test.statistic, self._threshold,
            test.hits / (self.samples - test.onset + 1), *since, at_ms, position, detail,
        )  # fmt: skip

    def _learn(self, at_ms: int) -> None:
        """End an epoch: fold its samples into the ranges and judge the next by them."""
        for index, values in enumerate(zip(*self._rows, strict=True)):
            self._ranges[index].add(summarise(values, self._low[index], self._high[index]))
        self.learned_samples += len(self._rows)
        self._rows.clear()
        if self.learned_samples < self.learn_samples:
            return
        for index, column in enumerate(self._ranges):
            self._low[index], self._high[index] = ("", TEXT_MOST) if column.text else column.bounds()
            self._follow(("range", index), column.outside_rate())
            self._follow(("nulls", index), column.null_rate())
        per_year = self.samples_per_year
        if per_year is None:
            elapsed_ms = max(at_ms - (self._first_ms or 0), 1)
            per_year = self.samples * YEAR_MS / elapsed_ms
        self._threshold = max(THRESHOLD_LEAST, per_year * len(self._tests) / self._budget)

    def _follow(self, key: tuple[Kind, int], base_rate: float) -> None:
        """Judge by this usual rate from here on; not at all if violations are too common to be news."""
        if base_rate > USUAL_RATE_MOST:
            self._tests.pop(key, None)
        elif key in self._tests:
            self._tests[key].set_base_rate(base_rate)
        else:
            self._tests[key] = Violations(base_rate)
            self._tests[key].last_hit = self.samples
