"""A view, compiled: state in, event in, values out.

Laws that hold in this file:
- Values are a function of the events folded in and of the moment of reading alone. Counts, minima, maxima,
  ``last`` and ``since_last`` do not depend on the order of the events; sums and means are bit-equal for the
  same order within each tile, and within rounding for any order.
- The moment of reading is never before the entity's newest event: ``values(state, at)`` evaluates at
  ``max(at, newest event)``. So a window always has its newest tile, and an event that comes late is not
  hidden.
- A late event goes into its own tile while some window can still see it; afterwards it only counts for
  features of all time.
- ``encode`` is canonical: the same logical state gives the same bytes, whatever was cached, read or restored.
- Null values are skipped by every aggregate of a field and counted by ``count``. A field that the event lacks
  is null. Numbers must be finite; the caller has checked that.
"""

from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

import msgspec

from features.definitions import View
from features.program import NEVER, Program, functions, plan
from features.windows import Ring

Values = list[float | None]
Event = Mapping[str, Any]

_LAYOUT = 1  # raise when the encoding changes: older states are then refused, not misread


class StateMismatch(ValueError):
    """Stored bytes are not a state of this view as it is defined now: rebuild the state from its topic."""


class State:
    """What one entity remembers. Opaque outside ``features``; mutable, owned by one task."""

    __slots__ = ("lasts", "newest", "rings", "totals")

    def __init__(
        self, newest: int, totals: list[int | float], lasts: list[list[Any]], rings: list[Ring]
    ) -> None:
        """Hold newest event time, all-time columns, ``[at, tie, value]`` per ``last``, tiles per hop."""
        self.newest = newest
        self.totals = totals
        self.lasts = lasts
        self.rings = rings


class CompiledView:
    """The functions of one view, specialised to its features.

    >>> from types import SimpleNamespace
    >>> from features import View, count, last
    >>> source = SimpleNamespace(name="arrivals")
    >>> view = CompiledView(View("airport", source, "origin", dict(landed=count("1h"), delay=last("delay"))))
    >>> state = view.new()
    >>> view.update_own(state, 60_000, 0, {"delay": 5})
    [1.0, None]
    >>> view.values(state, 120_000)
    [1.0, 5.0]

    Attributes:
        view: the definition.
        names: the names of the features, in the order of every list of values.
        update: ``(state, at_ms, tie, event) -> None``: fold one event in, in place. ``tie`` is a signed
            64-bit integer that orders events of equal time for ``last``: the greatest ``(at_ms, tie)`` wins.
        values: ``(state, at_ms) -> list of float or None``: the values as of ``max(at_ms, newest event)``.
            An empty window gives 0.0 for count and sum, None for the others.
        update_own: ``(state, at_ms, tie, event) -> list``: fold in and give the vector for the event itself:
            ``last`` and ``since_last`` as they were before it, everything else with it.

    """

    __slots__ = (
        "_decoder",
        "_encoder",
        "_json",
        "_mark",
        "_program",
        "names",
        "update",
        "update_own",
        "values",
        "view",
    )

    def __init__(self, view: View) -> None:
        """Compile the view."""
        self.view = view
        self.names = tuple(view.features)
        program: Program = plan(tuple(view.features.values()))
        self._program = program
        compiled = functions(program)
        self.update: Callable[[State, int, int, Event], None] = compiled["update"]
        self.values: Callable[[State, int], Values] = compiled["values"]
        self.update_own: Callable[[State, int, int, Event], Values] = compiled["update_own"]
        meaning = {k: v for k, v in view.describe().items() if k != "ttl_ms"}
        self._mark = crc32(msgspec.msgpack.encode((_LAYOUT, meaning)))
        self._encoder = msgspec.msgpack.Encoder()
        self._json = msgspec.json.Encoder()
        self._decoder = msgspec.msgpack.Decoder(
            tuple[
                int,
                int,
                list[int | float],
                list[list[int | float | None]],
                list[dict[int, list[int | float]]],
            ]
        )

    def new(self) -> State:
        """Make the state of an entity without events."""
        program = self._program
        return State(
            NEVER,
            program.totals_zero.copy(),
            [[NEVER, NEVER, None] for _ in program.last_fields],
            [Ring(group, {}) for group in program.groups],
        )

    def newest_ms(self, state: State) -> int | None:
        """Time of the entity's newest event; None before the first."""
        return None if state.newest == NEVER else state.newest

    def until(self, state: State, at_ms: int) -> int | None:
        """When a windowed value next changes if no event arrives, as of ``max(at_ms, newest event)``.

        At that moment the oldest tile leaves its window; before it, every windowed value stays as it is. None
        if all windows are empty or there are none. ``since_last`` grows all the time and is not meant here.
        """
        at_ms = max(at_ms, state.newest)
        until: int | None = None
        for ring in state.rings:
            ring.seek(at_ms // ring.group.hop_ms)
            end = ring.until_ms()
            if end is not None and (until is None or end < until):
                until = end
        return until

    def encode(self, state: State) -> bytes:
        """Give the canonical MessagePack of the state."""
        return self._encoder.encode(
            (self._mark, state.newest, state.totals, state.lasts, [ring.tiles for ring in state.rings])
        )

    def decode(self, data: bytes) -> State:
        """Restore a state.

        Raises:
            StateMismatch: if the bytes are no state, or that of another definition of the view.

        """
        try:
            mark, newest, totals, lasts, tiles = self._decoder.decode(data)
        except msgspec.DecodeError as problem:
            raise StateMismatch(f"view {self.view.name!r}: stored state is unreadable: {problem}") from None
        if mark != self._mark:
            raise StateMismatch(
                f"view {self.view.name!r}: stored state belongs to another definition of this view"
            )
        rings = [Ring(group, kept) for group, kept in zip(self._program.groups, tiles, strict=True)]
        return State(newest, totals, lasts, rings)

    def document(self, state: State, at_ms: int, written_ms: int, recipe: str) -> bytes:
        """Give the public JSON document: ``values`` by name, ``at``, ``until``, ``written``, ``recipe``.

        ``at`` is the moment the values hold for, ``max(at_ms, newest event)``; ``until`` as in ``until()``.
        """
        at_ms = max(at_ms, state.newest)
        return self._json.encode(
            {
                "values": dict(zip(self.names, self.values(state, at_ms), strict=False)),
                "at": at_ms,
                "until": self.until(state, at_ms),
                "written": written_ms,
                "recipe": recipe,
            }
        )
