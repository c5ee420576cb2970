"""From one definition of a view to another: which columns of its states can be kept, and the states that result.

Laws:
- A column is kept if the old state holds the very same one for as far back as the new features look. Everything else
  comes from a state that was built from the topic, up to the same position.
- A converted state is what a view that had always been defined so would hold, as far as the old state and the topic reach.
- Nothing is decoded into an engine's own form: columns move between places of the documented MessagePack.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.features.define.kinds import Feature
from penstock.features.define.view import NamedSource, View
from penstock.features.engine.compute import StateMismatch
from penstock.features.engine.program import Columns, Program, columns_of, plan
from penstock.features.windows.aggregates import NEVER, OPS, Column

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(
    tuple[
        int, int, list[Any], list[tuple[list[int], list[list[Any]]]], list[list[tuple[int, int, list[Any]]]]
    ]
).decode

Parts = tuple[int, list[Any], dict[int, dict[int, list[Any]]], dict[int, list[tuple[int, int, list[Any]]]]]


def feature_of(said: Mapping[str, Any]) -> Feature:
    """Give the feature of a description (`Feature.describe`).

    >>> from penstock import mean
    >>> feature_of(mean("delay", "3h").describe()).describe() == mean("delay", "3h").describe()
    True
    """
    given = dict(said)
    window_ms, constant = given.pop("window_ms"), given.pop("constant", None)
    return Feature(
        given.pop("kind"),
        given.pop("field"),
        window_ms,
        None if window_ms is None else f"{window_ms}ms",
        constant=tuple(constant) if isinstance(constant, list) else constant,
        parts=tuple(feature_of(part) for part in given.pop("parts", ())),
        **given,
    )


def view_of(said: Mapping[str, Any], source: NamedSource) -> View:
    """Give the view of a description (`View.describe`), over its source."""
    named = {
        one["name"]: feature_of({k: v for k, v in one.items() if k != "name"}) for one in said["features"]
    }
    return View(said["name"], source, tuple(said["key"]), named, ttl=f"{said['ttl_ms']}ms")


@dataclass(frozen=True)
class ViewChange:
    """What becomes of one view: a view without `old` is new, one without `new` goes.

    Attributes:
        name: name of the view.
        old: its version until now; None if there was none that anything could be kept of.
        new: its version from now on; None if it goes.
        kept: features whose state is kept.
        rebuilt: features whose state has to come from the topic.
        removed: features that go.

    """

    name: str
    old: str | None
    new: str | None
    kept: tuple[str, ...] = ()
    rebuilt: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def change(old: View | None, new: View | None) -> ViewChange | None:
    """Say what becomes of a view; None if its states stay as they are."""
    if old is None or new is None:
        one = new or old
        assert one is not None
        names = tuple(one.features)
        if new is None:
            return ViewChange(one.name, one.version, None, removed=names)
        return ViewChange(one.name, None, one.version, rebuilt=names)
    if old.version == new.version:
        return None
    if old.source.name != new.source.name or old.key_fields != new.key_fields:
        return ViewChange(new.name, None, new.version, rebuilt=tuple(new.features))
    conversion = Conversion(old, new)
    kept = tuple(name for name, feature in new.features.items() if conversion.keeps(feature))
    return ViewChange(
        new.name,
        old.version,
        new.version,
        kept,
        tuple(name for name in new.features if name not in kept),
        tuple(name for name in old.features if name not in new.features),
    )


class Conversion:
    """Makes states of `new` of states of `old` and of states of `new` that were built from the topic.

    Both views have the same name, source and key.
    """

    def __init__(self, old: View, new: View) -> None:
        """Find every column's place in both."""
        self._old = plan(tuple(old.features.values()), old.grace_ms)
        self._new = plan(tuple(new.features.values()), new.grace_ms)
        self._marks = (int(old.version, 16), int(new.version, 16))
        self._name = new.name
        self._tiles_kept = [self._kept_in_tiles(g) for g in range(len(self._new.groups))]

    def _kept_in_tiles(self, g: int) -> Columns:
        """Give the old places of the columns of one new hop that reach back far enough."""
        group = self._new.groups[g]
        there = self._old_tiles(group.hop_ms)
        horizon = max((one.horizon for one in self._old.groups if one.hop_ms == group.hop_ms), default=-1)
        reach: dict[Column, int] = {}
        for f in self._new.leaves:
            if f.window_ms is not None and f.hop_ms == group.hop_ms:
                for column in columns_of(f):
                    reach[column] = max(reach.get(column, 0), f.span)
        return {c: there[c] for c in self._new.tiles[g] if c in there and reach[c] <= horizon}

    def _old_tiles(self, hop_ms: int) -> Columns:
        return next(
            (
                columns
                for group, columns in zip(self._old.groups, self._old.tiles, strict=True)
                if group.hop_ms == hop_ms
            ),
            {},
        )

    def _old_visits(self, gap_ms: int) -> Columns:
        groups = zip(self._old.session_groups, self._old.visits, strict=True)
        return next((columns for group, columns in groups if group.gap_ms == gap_ms), {})

    def keeps(self, feature: Feature) -> bool:
        """Whether everything that a feature of the new view needs is kept."""
        return all(self._keeps_leaf(leaf) for leaf in (feature.parts or (feature,)))

    def _keeps_leaf(self, f: Feature) -> bool:
        if f.window_ms is None:
            there = self._old.totals
        elif f.hop_ms is None:
            there = self._old_visits(f.window_ms)
        else:
            g = next(i for i, group in enumerate(self._new.groups) if group.hop_ms == f.hop_ms)
            there = self._tiles_kept[g]
        return all(column in there for column in columns_of(f))

    def state(self, old: bytes | None, built: bytes | None) -> bytes:
        """Give the new state: kept columns of `old`, all others of `built`; either may be missing.

        Raises:
            StateMismatch: if one of them is no state of its view.

        """
        before, after = self._parts(old, 0, self._old), self._parts(built, 1, self._new)
        newest = max(before[0], after[0])
        for parts, program in ((before, self._old), (after, self._new)):
            _decay(program.totals, parts[1], parts[0], newest)
        new = self._new
        totals = _columns(new.totals, self._old.totals, before[1], after[1])
        rings = []
        for g, group in enumerate(new.groups):
            kept = self._tiles_kept[g]
            mine, theirs = before[2].get(group.hop_ms, {}), after[2].get(group.hop_ms, {})
            # Tiles that no window of the new view can see are gone, as if the old view had never kept them.
            indexes = sorted({*(mine if kept else ()), *theirs})
            indexes = [index for index in indexes if index >= indexes[-1] - group.horizon]
            found = [_columns(new.tiles[g], kept, mine.get(i), theirs.get(i)) for i in indexes]
            rings.append((indexes, found))
        visits = []
        for g, sessions in enumerate(new.session_groups):
            kept = self._old_visits(sessions.gap_ms)
            visits.append(
                _sessions(
                    new.visits[g],
                    kept,
                    before[3].get(sessions.gap_ms, []),
                    after[3].get(sessions.gap_ms, []),
                )
            )
        return _encode((self._marks[1], newest, totals, rings, visits))

    def _parts(self, data: bytes | None, which: int, program: Program) -> Parts:
        if data is None:
            return NEVER, [_zero(c) for c in program.totals], {}, {}
        try:
            mark, newest, totals, rings, visits = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise StateMismatch(f"view {self._name!r}: a stored state is unreadable: {problem}") from None
        if mark != self._marks[which]:
            raise StateMismatch(f"view {self._name!r}: a stored state belongs to neither definition")
        return (
            newest,
            totals,
            {
                group.hop_ms: dict(zip(*ring, strict=True))
                for group, ring in zip(program.groups, rings, strict=True)
            },
            {group.gap_ms: items for group, items in zip(program.session_groups, visits, strict=True)},
        )


def _zero(column: Column) -> Any:
    op = OPS[column.op]
    return op.zero if op.pack is None else op.pack(op.zero)


def _columns(wanted: Columns, kept: Columns, old: list[Any] | None, built: list[Any] | None) -> list[Any]:
    """Give one list of columns, kept ones where there are any; what has no place in either is empty."""
    found = []
    for column, at in wanted.items():
        if column in kept and old is not None:
            found.append(old[kept[column]])
        else:
            found.append(_zero(column) if built is None else built[at])
    return found


def _sessions(
    wanted: Columns,
    kept: Columns,
    old: list[tuple[int, int, list[Any]]],
    built: list[tuple[int, int, list[Any]]],
) -> list[tuple[int, int, list[Any]]]:
    """Pair the sessions of both, which are of the same events except where the topic no longer holds them."""
    if not old or not kept:
        return built
    found = []
    for start, end, columns in old:
        same = next((theirs for s, e, theirs in built if s <= end and start <= e), None)
        found.append((start, end, _columns(wanted, kept, columns, same)))
    return found


def _decay(columns: Columns, totals: list[Any], newest: int, to: int) -> None:
    """Bring what decays to another newest event, as a merge of states does."""
    if newest in (NEVER, to):
        return
    for column, at in columns.items():
        if column.op in ("weight", "weighted"):
            totals[at] *= 2.0 ** ((newest - to) / column.constant)
