"""Sliding windows over tiles: an exact head, a tail that moves tile by tile, and constant work per event.

Time is cut into tiles of ``hop`` milliseconds; an event at ``s`` lies in tile ``s // hop``. A window of
``w = n * hop`` milliseconds as of ``t`` holds the tiles from ``t // hop - n`` to ``t // hop``: every event of
the last ``w`` milliseconds, and whatever else lies in the oldest tile that they touch. So it is inside iff

    s // hop >= (t - w) // hop        (and s <= t)

and leaves at ``(s // hop + 1) * hop + w``, more than ``w`` and at most ``w + hop`` milliseconds after ``s``.
(Chronon calls this a sawtooth window: docs/source/Tiled_Architecture.md, ``Resolution.scala``.)

Laws that hold in this file:
- A window's value is a function of the tiles and of the position (the tile of the moment of reading) alone:
  caches, restarts and batch borders never change a bit of it. Nothing is ever subtracted.
- Work per event is O(1) amortised while positions grow, whatever the window's length: tiles are cut into
  blocks as long as the window, so that a window is a suffix of one block and a prefix of the next (van Herk
  1992; Gil and Werman 1993). A step back in time costs one pass over the tiles.
- A tile that no moment from the newest event onwards can see is dropped, so state is bounded and losing it is
  losing nothing.
"""

from collections.abc import Callable, Sequence

Tile = list[int | float]
Merge = Callable[[Tile, Tile], Tile]

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
MAX_TILES = 800

# A hop must divide its window; the longest that is at most a twelfth of it is taken.
_HOPS_MS = (
    1,
    5,
    10,
    50,
    100,
    500,
    SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    HOUR,
    DAY,
)
_UNSET = -(1 << 62)


def tile_hop_ms(window_ms: int) -> int:
    """Length of the tiles of a window: its error at the tail, in milliseconds.

    At most a twelfth of the window (or 1 ms), at most 5 minutes up to 12 hours, an hour up to 12 days, a day
    beyond.

    >>> tile_hop_ms(3 * 3_600_000), tile_hop_ms(60_000)
    (300000, 5000)

    Raises:
        ValueError: if the window cannot be cut into at most ``MAX_TILES`` such tiles.

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
    """What the rings of one hop share: hop, windows and the columns of a tile. Immutable.

    Args:
        hop_ms: length of a tile.
        spans: lengths of the windows in tiles.
        zero: the columns of an empty tile.
        merge: adds two tiles, column by column, into a new one.

    """

    __slots__ = ("horizon", "hop_ms", "merge", "spans", "zero")

    def __init__(self, hop_ms: int, spans: Sequence[int], zero: Tile, merge: Merge) -> None:
        """Keep the arguments; ``horizon`` is the longest span."""
        self.hop_ms = hop_ms
        self.spans = tuple(spans)
        self.horizon = max(spans)
        self.zero = zero
        self.merge = merge


class Ring:
    """The tiles of one entity at one hop, and for every window its merged closed tiles as of ``pos``.

    ``tiles`` is the whole state: tile index -> columns, in ascending order. Everything else is a cache of it:
    ``head`` is the tile at ``pos`` (None: no events there yet), ``closed[k]`` is window k without its head
    and ``oldest[k]`` the index of its oldest tile (None: no closed tile).
    """

    __slots__ = ("_blocks", "closed", "group", "head", "oldest", "pos", "tiles", "top")

    def __init__(self, group: TileGroup, tiles: dict[int, Tile]) -> None:
        """Own ``tiles``, which must be ascending by index."""
        self.group = group
        self.tiles = tiles
        self.top = next(reversed(tiles)) if tiles else _UNSET
        self.pos = _UNSET
        self.head: Tile | None = None
        self.closed: list[Tile] = [group.zero] * len(group.spans)
        self.oldest: list[int | None] = [None] * len(group.spans)
        self._blocks: list[_Block] = []

    def place(self, pos: int) -> Tile:
        """Give the tile that an event at ``pos`` is added to; a throwaway one if no window can see it."""
        tiles = self.tiles
        if pos > self.top:
            if pos < self.pos:
                self.pos = _UNSET  # somebody read ahead of this event
            else:
                self.seek(pos)
            floor, old_floor = pos - self.group.horizon, self.top - self.group.horizon
            self.top = pos
            if floor - old_floor > len(tiles):
                for index in [i for i in tiles if i < floor]:
                    del tiles[index]
            else:
                for index in range(old_floor, floor):
                    tiles.pop(index, None)
            tile = tiles[pos] = self.group.zero.copy()
            if pos == self.pos:
                self.head = tile
            return tile
        if pos < self.top - self.group.horizon:
            return self.group.zero.copy()
        late = tiles.get(pos)
        if late is None:
            late = tiles[pos] = self.group.zero.copy()
            self.tiles = dict(sorted(tiles.items()))
        if pos != self.pos:
            self.pos = _UNSET  # a closed tile changes
        return late

    def seek(self, pos: int) -> None:
        """Make the caches those of position ``pos``, which is not before the newest tile."""
        if pos == self.pos:
            return
        merge = self.group.merge
        just_closed = self.tiles.get(self.pos) if _UNSET < self.pos < pos else None
        for k, span in enumerate(self.group.spans):
            start = pos - pos % (span + 1)
            if _UNSET < self.pos < pos and self._blocks[k].start == start:
                block = self._blocks[k]
                if just_closed is not None:
                    block.add(self.pos, just_closed, merge)
            else:
                block = _Block(self.group, self.tiles, start, pos, span)
                if k < len(self._blocks):
                    self._blocks[k] = block
                else:
                    self._blocks.append(block)
            suffix = block.suffix
            while suffix and suffix[-1][0] < pos - span:
                suffix.pop()
            self.closed[k] = merge(suffix[-1][1], block.prefix) if suffix else block.prefix
            self.oldest[k] = suffix[-1][0] if suffix else block.first
        self.pos = pos
        self.head = self.tiles.get(pos)

    def until_ms(self) -> int | None:
        """When the first tile leaves a window as of ``pos``, in ms; None if all windows are empty."""
        end: int | None = None
        for k, span in enumerate(self.group.spans):
            first = self.oldest[k]
            if first is None:
                if self.head is None:
                    continue
                first = self.pos
            if end is None or first + span < end:
                end = first + span
        return None if end is None else (end + 1) * self.group.hop_ms


class _Block:
    """The closed tiles of one window: suffixes of the block before ``start``, prefix of the one from there.

    ``suffix`` is a stack of (tile index, merge of the tiles from there to ``start``), oldest on top.
    """

    __slots__ = ("first", "prefix", "start", "suffix")

    def __init__(self, group: TileGroup, tiles: dict[int, Tile], start: int, pos: int, span: int) -> None:
        merge = group.merge
        self.start = start
        self.prefix = group.zero
        self.first: int | None = None
        self.suffix: list[tuple[int, Tile]] = []
        before = []
        for index, tile in tiles.items():
            if pos - span <= index < start:
                before.append((index, tile))
            elif start <= index < pos:
                self.add(index, tile, merge)
        merged = group.zero
        for index, tile in reversed(before):
            merged = merge(tile, merged)
            self.suffix.append((index, merged))

    def add(self, index: int, tile: Tile, merge: Merge) -> None:
        """Close one more tile."""
        self.prefix = merge(self.prefix, tile)
        if self.first is None:
            self.first = index
