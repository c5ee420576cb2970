"""Windows over tiles: an exact head, a tail that moves tile by tile, and constant work per event.

Time is cut into tiles of `hop` milliseconds; an event at `s` lies in tile `s // hop`. A window of span `n`
as of `t` holds the tiles from `t // hop - n` to `t // hop`; its event leaves at `(s // hop + n + 1) * hop`.
- Sliding, of length `w = n * hop`: every event of the last `w` milliseconds, and whatever else lies in the
  oldest tile that they touch: more than `w` and at most `w + hop`. (Chronon's sawtooth window:
  docs/source/Tiled_Architecture.md, `Resolution.scala`.)
- Hopping, of length `w = (n + 1) * hop`: the newest of the windows `[k * hop, k * hop + w)` that hold `t`. A
  border belongs to the window that it opens.
- Tumbling is hopping by its own length: `n = 0`.

Laws that hold in this file:
- A window's value is a function of the tiles and of the moment of reading alone: caches, restarts and batch borders
  never change a bit of it. Nothing is ever subtracted.
- Work per event is O(1) amortised while time grows, whatever the window's length. Up to `FEW_TILES` tiles are
  merged in order, one more at a time until one leaves. More are cut into blocks as long as the window, so that it
  is a suffix of one block and a prefix of the next (van Herk 1992; Gil and Werman 1993). A step back in time costs
  one pass over the tiles.
- A tile that no moment from the newest event onwards can see is dropped, so state is bounded and losing it is
  losing nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from penstock.features.windows.blocks import Block, Merge, Tile

__all__ = ["FEW_TILES", "MAX_TILES", "Fold", "Merge", "Ring", "Tile", "TileGroup", "tile_hop_ms"]

Fold = Callable[[Iterable[Tile]], Tile]

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
MAX_TILES = 800
FEW_TILES = 16

# A hop must divide its window; the longest that is at most a twelfth of it is taken.
_HOPS_MS = (
    1, 5, 10, 50, 100, 500, SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, HOUR, DAY,
)  # fmt: skip
NOWHERE = -(1 << 62)
ALWAYS = 1 << 62


def tile_hop_ms(window_ms: int) -> int:
    """Length of the tiles of a sliding window: its error at the tail, in milliseconds.

    At most a twelfth of the window (or 1 ms), at most 5 minutes up to 12 hours, an hour up to 12 days, a day
    beyond.

    >>> tile_hop_ms(3 * 3_600_000), tile_hop_ms(60_000)
    (300000, 5000)

    Raises:
        ValueError: if the window cannot be cut into at most `MAX_TILES` such tiles.

    """
    for hop in reversed(_HOPS_MS):
        if (_fits(hop, window_ms) or hop == 1) and window_ms % hop == 0:
            if window_ms // hop > MAX_TILES:
                break
            return hop
    coarsest = next((hop for hop in reversed(_HOPS_MS) if _fits(hop, window_ms)), 1)
    if window_ms // coarsest > MAX_TILES:
        raise ValueError(
            f"a window of {window_ms} ms is longer than {MAX_TILES} days: leave it out for all time"
        )
    raise ValueError(
        f"a window of {window_ms} ms cannot be cut into equal tiles: "
        f"use a multiple of {coarsest} ms, such as {window_ms - window_ms % coarsest}ms"
    )


def _fits(hop_ms: int, window_ms: int) -> bool:
    """Say if a hop is fine enough; hours and days only start beyond 12 hours and 12 days, as Chronon's do."""
    return hop_ms * 12 < window_ms or (hop_ms < HOUR and hop_ms * 12 == window_ms)


class TileGroup:
    """What the rings of one hop share. Immutable.

    Attributes:
        hop_ms: length of a tile.
        spans: the windows' spans, in tiles beside the newest; `horizon` is the longest, `nearest` the shortest.
        zero: the columns of an empty tile.
        merge: adds two tiles, column by column, into a new one.
        merges: for every window the same, but only of the columns that it needs; the others may be anything.
        folds: for every window, adds up any number of tiles, from the oldest: `merge(merge(zero, a), b)` etc.

    """

    __slots__ = ("empty", "folds", "hop_ms", "horizon", "merge", "merges", "nearest", "spans", "zero")

    def __init__(
        self,
        hop_ms: int,
        spans: Sequence[int],
        zero: Tile,
        merge: Merge,
        merges: Sequence[Merge],
        folds: Sequence[Fold],
    ) -> None:
        """Keep the arguments."""
        self.hop_ms = hop_ms
        self.spans = tuple(spans)
        self.horizon = max(spans)
        self.nearest = min(spans)
        self.zero = zero
        self.empty = [zero] * len(spans)
        self.merge = merge
        self.merges = tuple(merges)
        self.folds = tuple(folds)


class Ring:
    """The tiles of one entity at one hop, and for every window its merged closed tiles.

    `tiles` is the whole state: tile index -> columns, ascending. Everything else is a cache of it: `top` is the
    newest tile's index and `head` its columns; window k is `closed[k]` merged with `heads[k]` (`head`, or
    zero if it has left) at every moment whose tile is from `since` up to, and not including, `limit`, when the
    next tile leaves a window. `packed` holds encoded tiles for the owner; one that changes is taken out.
    """

    __slots__ = ("_blocks", "closed", "group", "head", "heads", "limit", "packed", "since", "tiles", "top")

    def __init__(self, group: TileGroup, tiles: dict[int, Tile]) -> None:
        """Own `tiles`, which must be ascending by index."""
        self.group = group
        self.tiles = tiles
        self._blocks: list[Block] | None = None
        self.closed = group.empty.copy()
        self.heads = self.closed.copy()
        self.head: Tile = group.zero
        self.packed: dict[int, Any] | None = None
        if tiles:
            self.top, self.head = next(reversed(tiles.items()))
            self.since, self.limit = ALWAYS, NOWHERE
        else:
            self.top, self.since, self.limit = NOWHERE, NOWHERE, ALWAYS

    def place(self, pos: int) -> Tile:
        """Give the tile that an event at `pos` is added to; a throwaway one if no window can see it."""
        if pos <= self.top:
            return self.head if pos == self.top else self._late(pos)
        tiles, group = self.tiles, self.group
        floor = pos - group.horizon
        tile = group.zero.copy()
        if self.top < floor:  # all that was has left
            self.tiles = {pos: tile}
            self.top, self.head, self._blocks = pos, tile, None
            self.closed, self.heads = group.empty.copy(), [tile] * len(group.spans)
            self.since, self.limit = pos, pos + group.nearest + 1
            return tile
        while (oldest := next(iter(tiles))) < floor:
            del tiles[oldest]
        tiles[pos] = tile
        if len(tiles) <= FEW_TILES and self._blocks is None and self.since <= pos < self.limit:
            closed, heads, k = self.closed, self.heads, 0
            for merge in group.merges:
                closed[k] = merge(closed[k], heads[k])
                heads[k] = tile
                k += 1
            if pos + group.nearest < self.limit:
                self.limit = pos + group.nearest + 1
            self.top, self.head = pos, tile
        else:
            before, self.top, self.head = self.top, pos, tile
            self._renew(pos, before)
        return tile

    def _late(self, pos: int) -> Tile:
        """Give an older tile, and forget the caches that it is part of."""
        if pos < self.top - self.group.horizon:
            return self.group.zero.copy()
        tile = self.tiles.get(pos)
        if tile is None:
            tile = self.tiles[pos] = self.group.zero.copy()
            self.tiles = dict(sorted(self.tiles.items()))
        if self.packed:
            self.packed.pop(pos, None)
        self._blocks = None
        self.since, self.limit = ALWAYS, NOWHERE
        return tile

    def seek(self, pos: int) -> None:
        """Make the caches those of a moment in tile `pos`, which is not before the newest tile."""
        if not self.since <= pos < self.limit:
            self._renew(pos, self.top)

    def _renew(self, pos: int, before: int) -> None:
        """Fill the caches as of `pos`; `before` is the newest tile that a block of theirs may end with."""
        group, tiles, top, head = self.group, self.tiles, self.top, self.head
        few = len(tiles) <= FEW_TILES
        if few:
            self._blocks = None
        elif self._blocks is None:
            self._blocks = [Block(NOWHERE, NOWHERE, NOWHERE) for _ in group.spans]
        leaves = ALWAYS
        for k, span in enumerate(group.spans):
            floor = pos - span
            if top < floor:
                self.closed[k] = self.heads[k] = group.zero
                continue
            self.heads[k] = head
            if few:
                oldest, inside = top, []
                for index, tile in tiles.items():
                    if index >= floor and tile is not head:
                        inside.append(tile)
                        if index < oldest:
                            oldest = index
                self.closed[k] = group.folds[k](inside)
            else:
                oldest, self.closed[k] = self._closed_by_blocks(k, floor, before)
            if oldest + span < leaves:
                leaves = oldest + span
        self.since, self.limit = pos, leaves + 1 if leaves < ALWAYS else ALWAYS

    def _closed_by_blocks(self, k: int, floor: int, before: int) -> tuple[int, Tile]:
        """Give the oldest tile of window k, and the merge of all its tiles but the newest."""
        group, top, span = self.group, self.top, self.group.spans[k]
        blocks = self._blocks
        assert blocks is not None
        block = blocks[k]
        known = block.top == before and block.floor <= floor
        start = top - top % (span + 1)
        if floor > start:  # nothing came for long; once the newest block loses a tile, it is a suffix itself
            if known and block.start == start:
                lost = block.first is not None and block.first < floor
            else:
                lost = (known and block.start == top) or any(start <= index < floor for index in self.tiles)
            if lost:
                start = top
        if known and block.start == start:
            if before < top:
                block.close(before, self.tiles[before], top, group.merges[k])
        else:
            block = blocks[k] = Block(start, top, floor)
            block.fill(self.tiles, group.zero, group.merges[k])
        block.floor = floor
        suffix = block.suffix
        while suffix and suffix[-1][0] < floor:
            suffix.pop()
        if not suffix:
            return (top if block.first is None else block.first), block.prefix
        return suffix[-1][0], group.merges[k](suffix[-1][1], block.prefix)

    def until_ms(self, pos: int) -> int | None:
        """When the next tile leaves a window as of `pos`, in ms; None if all windows are empty."""
        self.seek(pos)
        return None if self.limit == ALWAYS else self.limit * self.group.hop_ms
