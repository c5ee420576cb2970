"""Session windows: runs of an entity's events that follow one another within a gap.

Two events belong to one session iff they are at most `gap` milliseconds apart, or joined by events that are. As
of `t` the window is the newest session, if its last event is at most `gap` before `t`; otherwise it is empty.

Laws that hold in this file:
- Sessions are a function of the set of events: one that comes late extends, joins or opens the session where it
  belongs, if it is at most `grace` behind the entity's newest event (its source refuses later ones anyway).
- A session that no event within the grace could still touch is dropped, so there are at most
  `grace / gap + 2` of them.
"""

from typing import Any

from penstock.features.windows.tiles import Merge, Tile


class SessionGroup:
    """What the sessions of one gap share: gap, grace, empty columns and their merge. Immutable."""

    __slots__ = ("gap_ms", "keep_ms", "grace_ms", "merge", "zero")

    def __init__(self, gap_ms: int, grace_ms: int, zero: Tile, merge: Merge) -> None:
        """Keep the arguments."""
        self.gap_ms = gap_ms
        self.grace_ms = grace_ms
        self.keep_ms = grace_ms + gap_ms
        self.zero = zero
        self.merge = merge


class Sessions:
    """The sessions of one entity: `[first event, last event, columns]`, ascending."""

    __slots__ = ("group", "items")

    def __init__(self, group: SessionGroup, items: list[list[Any]]) -> None:
        """Own `items`."""
        self.group = group
        self.items = items

    def place(self, at: int) -> Tile:
        """Give the columns that an event is added to; throwaway ones if it is too late."""
        items, group = self.items, self.group
        if items:
            newest = items[-1]
            if newest[0] <= at <= newest[1] + group.gap_ms:
                if at > newest[1]:
                    newest[1] = at
                    if items[0][1] < at - group.keep_ms:
                        self._drop(at)
                tile: Tile = newest[2]
                return tile
            if at < newest[1] - group.grace_ms:
                return group.zero.copy()
        return self.insert([at, at, group.zero.copy()])

    def insert(self, session: list[Any]) -> Tile:
        """Join a session with those it touches."""
        group, kept = self.group, []
        for other in self.items:
            if other[0] <= session[1] + group.gap_ms and session[0] <= other[1] + group.gap_ms:
                older, newer = (other, session) if other[0] <= session[0] else (session, other)
                session = [older[0], max(older[1], newer[1]), group.merge(older[2], newer[2])]
            else:
                kept.append(other)
        kept.append(session)
        kept.sort(key=lambda item: item[0])
        self.items = kept
        self._drop(kept[-1][1])
        tile: Tile = session[2]
        return tile

    def _drop(self, newest_ms: int) -> None:
        """Forget what no event within the grace can touch."""
        floor = newest_ms - self.group.keep_ms
        self.items = [item for item in self.items if item[1] >= floor]

    def current(self, at: int) -> Tile:
        """Give the columns of the session as of `at`, which is not before the newest event."""
        if self.items:
            newest = self.items[-1]
            if at <= newest[1] + self.group.gap_ms:
                tile: Tile = newest[2]
                return tile
        return self.group.zero

    def until_ms(self, at: int) -> int | None:
        """When the session ends if nothing comes; None if there is none as of `at`."""
        if not self.items or at > self.items[-1][1] + self.group.gap_ms:
            return None
        end: int = self.items[-1][1] + self.group.gap_ms + 1
        return end
