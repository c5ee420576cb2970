"""The engine of a view in Python: functions generated for its features, over lists.

Laws: `engine/c/*.pxi` are its twin in C, equal in every bit; whatever is changed here is changed there. It is what
runs where no extension was built, and the second oracle of the tests.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from penstock.features.engine.codegen import functions
from penstock.features.engine.packing import Packed, StateMismatch
from penstock.features.engine.program import Program, merge_totals, zero
from penstock.features.units import Write
from penstock.features.windows.aggregates import NEVER
from penstock.features.windows.sessions import Sessions
from penstock.features.windows.tiles import Ring

Event = Mapping[str, Any]


class PythonState:
    """What one entity remembers. Opaque outside `features`; mutable, owned by one task."""

    __slots__ = ("newest", "rings", "sessions", "totals")

    def __init__(self, newest: int, totals: list[Any], rings: list[Ring], sessions: list[Sessions]) -> None:
        """Hold newest event time, all-time columns, tiles per hop, sessions per gap."""
        self.newest = newest
        self.totals = totals
        self.rings = rings
        self.sessions = sessions


class PythonEngine:
    """The functions of one view; `compute.CompiledView` says what each does."""

    __slots__ = (
        "_decoder", "_encoder", "_json", "_mark", "_merge_totals", "_names", "_packed", "_program", "_version", "update",
        "update_own", "values", "vector",
    )  # fmt: skip

    def __init__(self, program: Program, names: tuple[str, ...], version: str) -> None:
        """Compile a program; its features' names and its version stand in documents."""
        self._program = program
        self._names = names
        self._version = version
        self._mark = int(version, 16)
        compiled = functions(program)
        self.update: Callable[[PythonState, int, int, Event], None] = compiled["update"]
        self.values: Callable[[PythonState, int], list[Any]] = compiled["values"]
        self.vector: Callable[[PythonState, int], list[float | None]] = compiled["vector"]
        self.update_own: Callable[[PythonState, int, int, Event], list[float | None]] = compiled["update_own"]
        self._merge_totals = merge_totals(program.totals)
        self._packed = [Packed(columns) for columns in (program.totals, *program.tiles, *program.visits)]
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

    def new(self) -> PythonState:
        """Make the state of an entity without events."""
        program = self._program
        return PythonState(
            NEVER,
            zero(program.totals),
            [Ring(group, {}) for group in program.groups],
            [Sessions(group, []) for group in program.session_groups],
        )

    def until(self, state: PythonState, at_ms: int) -> int | None:
        """See `CompiledView.until`."""
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

    def merge(self, a: PythonState, b: PythonState) -> PythonState:
        """See `CompiledView.merge`."""
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
        return PythonState(newest, self._merge_totals(a.totals, b.totals), rings, sessions)

    def encode(self, state: PythonState) -> bytes:
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

    def decode(self, data: bytes) -> PythonState:
        """Restore a state; raises `StateMismatch`."""
        try:
            mark, newest, totals, tiles, sessions = self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise StateMismatch(f"stored state is unreadable: {problem}") from None
        if mark != self._mark:
            raise StateMismatch("stored state belongs to another definition of this view")
        try:
            return self._restored(newest, totals, tiles, sessions)
        except (ValueError, TypeError, IndexError, OverflowError) as problem:
            raise StateMismatch(f"stored state is unreadable: {problem}") from None

    def _restored(self, newest: int, totals: list[Any], tiles: list[Any], sessions: list[Any]) -> PythonState:
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
        return PythonState(newest, totals, rings, visits)

    def document(self, state: PythonState, at: int, written: int) -> bytes:
        """See `CompiledView.document`."""
        at = max(at, state.newest)
        return self._json.encode(
            {
                "values": dict(zip(self._names, self.values(state, at), strict=False)),
                "at": at,
                "until": self.until(state, at),
                "written": written,
                "recipe": self._version,
            }
        )

    def writes(
        self,
        states: dict[str, Any],
        entities: Iterable[str],
        stored: str,
        public: str,
        at: int,
        written: int,
        ttl: int,
    ) -> list[Write]:
        """See `CompiledView.writes`."""
        if not public:
            return [Write(stored + one, self.encode(states[one]), "", b"", 0) for one in entities]
        return [
            Write(
                stored + one,
                self.encode(states[one]),
                public + one,
                self.document(states[one], at, written),
                ttl,
            )
            for one in entities
        ]
