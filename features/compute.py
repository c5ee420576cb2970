"""A view, compiled: state in, event in, values out.

Laws that hold in this file:
- Values are a function of the events folded in and of the moment of reading alone. Counts, extremes, first and last
  values, distinct counts, quantiles and histograms do not depend on the order of the events at all; sums, means,
  moments and decayed values are bit-equal for the same order within each tile, and within rounding for any order;
  ``top_k`` likewise, up to its capacity.
- The moment of reading is never before the entity's newest event: ``values(state, at)`` evaluates at
  ``max(at, newest event)``. So a window always has its newest tile, and an event that comes late is not hidden.
- A late event goes into its own tile while some window can still see it, and into its own session within the
  source's grace; afterwards it only counts for features of all time.
- ``encode`` is canonical: the same logical state gives the same bytes, whatever was cached, read or restored.
- Null values are skipped by every aggregate of a field and counted by ``count``. A field that the event lacks is
  null. Numbers must be finite; the caller has checked that.
- State is bounded: by tiles (at most 801 a ring), sessions (``grace / gap + 2``) and the sizes of ``sketches``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from features.aggregates import NEVER
from features.codegen import functions
from features.definitions import View
from features.packing import Packed
from features.program import Program, merge_totals, plan, zero
from features.sessions import Sessions
from features.windows import Ring

Value = float | str | list[Any] | None
Values = list[Any]  # of Value
Event = Mapping[str, Any]


class StateMismatch(ValueError):
    """Stored bytes are not a state of this view as it is defined now: rebuild the state from its topic."""


class State:
    """What one entity remembers. Opaque outside ``features``; mutable, owned by one task."""

    __slots__ = ("newest", "rings", "sessions", "totals")

    def __init__(self, newest: int, totals: list[Any], rings: list[Ring], sessions: list[Sessions]) -> None:
        """Hold newest event time, all-time columns, tiles per hop, sessions per gap."""
        self.newest = newest
        self.totals = totals
        self.rings = rings
        self.sessions = sessions


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
        names: the names of the features, in the order of ``values``.
        numeric: the names of those that hold numbers, in the order of a vector; often all of them.
        update: ``(state, at_ms, tie, event) -> None``: fold one event in, in place. ``tie`` is a signed
            64-bit integer that orders events of equal time for ``first last last_n row``: for ``last`` the greatest
            ``(at_ms, tie)`` wins.
        values: ``(state, at_ms) -> list``: every value as of ``max(at_ms, newest event)``: a float, text, a list or
            None. Empty: the declared default, otherwise 0.0 for what counts or adds up, None for the others.
        vector: ``(state, at_ms) -> list of float or None``: the values of the numeric features.
        update_own: ``(state, at_ms, tie, event) -> list of float or None``: fold in and give the vector for the
            event itself: ``first last last_n since_last`` as they were before it, ``row`` of itself, everything else
            with it.

    """

    __slots__ = (
        "_decoder", "_encoder", "_json", "_mark", "_merge_totals", "_packed", "_program", "names", "numeric", "update",
        "update_own", "values", "vector", "view",
    )  # fmt: skip

    def __init__(self, view: View) -> None:
        """Compile the view."""
        self.view = view
        self.names = tuple(view.features)
        self.numeric = view.numeric
        program: Program = plan(tuple(view.features.values()), view.grace_ms)
        self._program = program
        compiled = functions(program)
        self.update: Callable[[State, int, int, Event], None] = compiled["update"]
        self.values: Callable[[State, int], Values] = compiled["values"]
        self.vector: Callable[[State, int], list[float | None]] = compiled["vector"]
        self.update_own: Callable[[State, int, int, Event], list[float | None]] = compiled["update_own"]
        self._merge_totals = merge_totals(program.totals)
        self._packed = [Packed(columns) for columns in (program.totals, *program.tiles, *program.visits)]
        self._mark = int(view.version, 16)
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._json = msgspec.json.Encoder()
        self._decoder = msgspec.msgpack.Decoder(
            tuple[
                int,
                int,
                list[Any],
                list[tuple[list[int], list[list[Any]]]],
                list[list[tuple[int, int, list[Any]]]],
            ]
        )

    def new(self) -> State:
        """Make the state of an entity without events."""
        program = self._program
        return State(
            NEVER,
            zero(program.totals),
            [Ring(group, {}) for group in program.groups],
            [Sessions(group, []) for group in program.session_groups],
        )

    def newest_ms(self, state: State) -> int | None:
        """Time of the entity's newest event; None before the first."""
        return None if state.newest == NEVER else state.newest

    def until(self, state: State, at_ms: int) -> int | None:
        """When a windowed value next changes if no event arrives, as of ``max(at_ms, newest event)``.

        At that moment the oldest tile leaves its window, or a session ends; before it, every windowed value stays as
        it is. None if all windows are empty or there are none. ``since_last`` and decayed counts and sums change all
        the time and are not meant here.
        """
        if at_ms < state.newest:
            at_ms = state.newest
        until: int | None = None
        for ring in state.rings:
            end = ring.until_ms(at_ms // ring.group.hop_ms)
            if end is not None and (until is None or end < until):
                until = end
        for sessions in state.sessions:
            end = sessions.until_ms(at_ms)
            if end is not None and (until is None or end < until):
                until = end
        return until

    def merge(self, a: State, b: State) -> State:
        """Give the state of the events of both, which share none; ``b`` may not be used afterwards.

        Equal to folding all of them into one, floats within rounding.
        """
        newest = max(a.newest, b.newest)
        for state in (a, b):
            for column, at in self._program.totals.items():
                if column.op in ("weight", "weighted"):
                    state.totals[at] *= 2.0 ** ((state.newest - newest) / column.constant)
        rings = []
        for one, other in zip(a.rings, b.rings, strict=True):
            tiles, group = dict(one.tiles), one.group
            for index, tile in other.tiles.items():
                tiles[index] = group.merge(tiles[index], tile) if index in tiles else tile
            floor = max(one.top, other.top) - group.horizon
            rings.append(Ring(group, {index: tiles[index] for index in sorted(tiles) if index >= floor}))
        sessions = []
        for mine, theirs in zip(a.sessions, b.sessions, strict=True):
            both = Sessions(mine.group, [list(item) for item in mine.items])
            for item in theirs.items:
                both.insert(list(item))
            sessions.append(both)
        return State(newest, self._merge_totals(a.totals, b.totals), rings, sessions)

    def encode(self, state: State) -> bytes:
        """Give the canonical MessagePack of the state."""
        packed = iter(self._packed)
        totals = next(packed)(state.totals)
        rings = []
        for ring in state.rings:
            pack = next(packed)
            tiles = ring.tiles
            rings.append((list(tiles), list(tiles.values()) if pack.scalar else self._tiles(ring, pack)))
        sessions = []
        for kept in state.sessions:
            pack = next(packed)
            sessions.append([(start, end, pack(tile)) for start, end, tile in kept.items])
        return self._encoder.encode((self._mark, state.newest, totals, rings, sessions))

    def _tiles(self, ring: Ring, pack: Packed) -> list[msgspec.Raw]:
        """Encode tiles that hold more than numbers, closed ones once."""
        known, top = ring.packed or {}, ring.top
        ring.packed = kept = {}
        for index, tile in ring.tiles.items():
            raw = known.get(index)
            if raw is None:
                raw = msgspec.Raw(self._encoder.encode(pack(tile)))
            kept[index] = raw
        listed = list(kept.values())
        kept.pop(top, None)  # the newest tile goes on changing
        return listed

    def decode(self, data: bytes) -> State:
        """Restore a state.

        Raises:
            StateMismatch: if the bytes are no state, or that of another definition of the view.

        """
        try:
            mark, newest, totals, tiles, sessions = self._decoder.decode(data)
        except msgspec.DecodeError as problem:
            raise StateMismatch(f"view {self.view.name!r}: stored state is unreadable: {problem}") from None
        if mark != self._mark:
            raise StateMismatch(
                f"view {self.view.name!r}: stored state belongs to another definition of this view"
            )
        packed = iter(self._packed)
        next(packed).restore(totals)
        rings = []
        for group, (indexes, kept) in zip(self._program.groups, tiles, strict=True):
            pack = next(packed)
            if pack.unpacks:
                for tile in kept:
                    pack.restore(tile)
            rings.append(Ring(group, dict(zip(indexes, kept, strict=True))))
        visits = []
        for gap, items in zip(self._program.session_groups, sessions, strict=True):
            pack = next(packed)
            for _, _, tile in items:
                pack.restore(tile)
            visits.append(Sessions(gap, [list(item) for item in items]))
        return State(newest, totals, rings, visits)

    def document(self, state: State, at_ms: int, written_ms: int) -> bytes:
        """Give the public JSON document: ``values`` by name, ``at``, ``until``, ``written``, ``recipe``.

        ``at`` is the moment the values hold for, ``max(at_ms, newest event)``; ``until`` as in ``until()``; ``recipe``
        is the view's version.
        """
        if at_ms < state.newest:
            at_ms = state.newest
        return self._json.encode(
            {
                "values": dict(zip(self.names, self.values(state, at_ms), strict=False)),
                "at": at_ms,
                "until": self.until(state, at_ms),
                "written": written_ms,
                "recipe": self.view.version,
            }
        )
