"""A view, compiled: state in, event in, values out.

Laws that hold in this file:
- Values are a function of the events folded in and of the moment of reading alone. Counts, extremes, first and last
  values, distinct counts, quantiles and histograms do not depend on the order of the events at all; sums, means,
  moments and decayed values are bit-equal for the same order within each tile, and within rounding for any order;
  `top_k` likewise, up to its capacity.
- The moment of reading is never before the entity's newest event: `values(state, at)` evaluates at
  `max(at, newest event)`. So a window always has its newest tile, and an event that comes late is not hidden.
- A late event goes into its own tile while some window can still see it, and into its own session within the
  source's grace; afterwards it only counts for features of all time.
- `encode` is canonical: the same logical state gives the same bytes, whatever was cached, read or restored.
- Null values are skipped by every aggregate of a field and counted by `count`. A field that the event lacks is
  null. Numbers must be finite; the caller has checked that.
- State is bounded: by tiles (at most 801 a ring), sessions (`grace / gap + 2`) and the sizes of `sketches`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from penstock.features.define.view import View
from penstock.features.engine.choose import EngineName, State, engine_name, make_engine
from penstock.features.engine.packing import StateMismatch
from penstock.features.engine.program import plan
from penstock.features.units import Write
from penstock.features.windows.aggregates import NEVER

__all__ = ["CompiledView", "State", "StateMismatch"]

ANEW = "`penstock reset FILE` makes the state anew from the topics"

Value = float | str | list[Any] | None
Values = list[Any]  # of Value
Event = Mapping[str, Any]


class CompiledView:
    """The functions of one view, specialised to its features.

    >>> from types import SimpleNamespace
    >>> from penstock import View, count, last
    >>> source = SimpleNamespace(name="arrivals")
    >>> view = CompiledView(View("airport", source, "origin", dict(landed=count("1h"), delay=last("delay"))))
    >>> state = view.new()
    >>> view.update_own(state, 60_000, 0, {"delay": 5})
    [1.0, None]
    >>> view.values(state, 120_000)
    [1.0, 5.0]

    Attributes:
        view: the definition.
        names: the names of the features, in the order of `values`.
        numeric: the names of those that hold numbers, in the order of a vector; often all of them.
        engine: which engine runs, `native` or `python`; they agree in every bit.
        new: `() -> state`: the state of an entity without events.
        encode: `(state) -> bytes`: the canonical MessagePack of the state.
        update: `(state, at_ms, tie, event) -> None`: fold one event in, in place. `tie` is a signed
            64-bit integer that orders events of equal time for `first last last_n row`: for `last` the greatest
            `(at_ms, tie)` wins.
        values: `(state, at_ms) -> list`: every value as of `max(at_ms, newest event)`: a float, text, a list or
            None. Empty: the declared default, otherwise 0.0 for what counts or adds up, None for the others.
        vector: `(state, at_ms) -> list of float or None`: the values of the numeric features.
        update_own: `(state, at_ms, tie, event) -> list of float or None`: fold in and give the vector for the
            event itself: `first last last_n since_last` as they were before it, `row` of itself, everything else
            with it.

    """

    __slots__ = (
        "_engine", "encode", "engine", "names", "new", "numeric", "update", "update_own", "values", "vector",
        "view",
    )  # fmt: skip

    def __init__(self, view: View, engine: EngineName | None = None) -> None:
        """Compile the view, for the engine that `engines.engine_name` gives unless one is named."""
        self.view = view
        self.names = tuple(view.features)
        self.numeric = view.numeric
        self.engine: EngineName = engine or engine_name()
        program = plan(tuple(view.features.values()), view.grace_ms)
        made = make_engine(self.engine, program, self.names, view.version)
        self._engine = made
        self.new: Callable[[], State] = made.new
        self.update: Callable[[State, int, int, Event], None] = made.update
        self.values: Callable[[State, int], Values] = made.values
        self.vector: Callable[[State, int], list[float | None]] = made.vector
        self.update_own: Callable[[State, int, int, Event], list[float | None]] = made.update_own
        self.encode: Callable[[State], bytes] = made.encode

    def newest_ms(self, state: State) -> int | None:
        """Time of the entity's newest event; None before the first."""
        return None if state.newest == NEVER else state.newest

    def until(self, state: State, at_ms: int) -> int | None:
        """When a windowed value next changes if no event arrives, as of `max(at_ms, newest event)`.

        At that moment the oldest tile leaves its window, or a session ends; before it, every windowed value stays as
        it is. None if all windows are empty or there are none. `since_last` and decayed counts and sums change all
        the time and are not meant here.
        """
        return self._engine.until(state, at_ms)

    def merge(self, a: State, b: State) -> State:
        """Give the state of the events of both, which share none; `b` may not be used afterwards.

        Equal to folding all of them into one, floats within rounding.
        """
        merged: State = self._engine.merge(a, b)
        return merged

    def decode(self, data: bytes) -> State:
        """Restore a state.

        Raises:
            StateMismatch: if the bytes are no state, or that of another definition of the view.

        """
        try:
            state: State = self._engine.decode(data)
        except StateMismatch as problem:
            raise StateMismatch(f"view {self.view.name!r}: {problem}: {ANEW}") from None
        return state

    def document(self, state: State, at_ms: int, written_ms: int) -> bytes:
        """Give the public JSON document: `values` by name, `at`, `until`, `written`, `recipe`.

        `at` is the moment the values hold for, `max(at_ms, newest event)`; `until` as in `until()`; `recipe`
        is the view's version.
        """
        return self._engine.document(state, at_ms, written_ms)

    def writes(
        self,
        states: dict[str, State],
        entities: Iterable[str],
        state_prefix: str,
        public_prefix: str,
        at_ms: int,
        written_ms: int,
        ttl_ms: int,
    ) -> list[Write]:
        """Give what a unit of work writes of these entities: states, and documents as of `at_ms`.

        A key is its prefix and the entity. With an empty `public_prefix` the public side is left alone.
        """
        return self._engine.writes(states, entities, state_prefix, public_prefix, at_ms, written_ms, ttl_ms)
