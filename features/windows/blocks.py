"""Suffixes and prefixes of blocks of tiles: how a window of many tiles moves in constant time.

Laws: nothing is ever subtracted; every tile is merged into one suffix and one prefix, once each (van Herk 1992; Gil
and Werman 1993). A block is a cache: it can be filled anew from the tiles at any time, with the same result.
"""

from collections.abc import Callable
from typing import Any

Tile = list[Any]
Merge = Callable[[Tile, Tile], Tile]


class Block:
    """The closed tiles of one window: suffixes of the block before `start`, prefix of the one from there.

    `suffix` is a stack of (tile index, merge of the tiles from there to `start`), oldest on top. `top` is the
    newest tile, which is in neither; `floor` the oldest that was wanted last.
    """

    __slots__ = ("first", "floor", "prefix", "start", "suffix", "top")

    def __init__(self, start: int, top: int, floor: int) -> None:
        """Start empty; `fill` or `close` follow."""
        self.start = start
        self.top = top
        self.floor = floor
        self.prefix: Tile = []
        self.first: int | None = None
        self.suffix: list[tuple[int, Tile]] = []

    def fill(self, tiles: dict[int, Tile], zero: Tile, merge: Merge) -> None:
        """Merge everything anew."""
        merged = self.prefix = zero
        before = []
        for index, tile in tiles.items():
            if self.floor <= index < self.start:
                before.append((index, tile))
            elif self.start <= index < self.top:
                self.close(index, tile, self.top, merge)
        for index, tile in reversed(before):
            merged = merge(tile, merged)
            self.suffix.append((index, merged))

    def close(self, index: int, tile: Tile, top: int, merge: Merge) -> None:
        """Take one more tile into the prefix."""
        self.prefix = merge(self.prefix, tile)
        self.top = top
        if self.first is None:
            self.first = index
