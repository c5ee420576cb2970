"""The work that windows do: counted, not timed."""

from collections.abc import Iterable

import pytest

from penstock.features.windows.tiles import FEW_TILES, Ring, Tile, TileGroup


class Counting:
    """A merge that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, a: Tile, b: Tile) -> Tile:
        self.calls += 1
        return [a[0] + b[0]]

    def fold(self, tiles: Iterable[Tile]) -> Tile:
        listed = list(tiles)
        self.calls += len(listed)
        return [sum(tile[0] for tile in listed)]


def group(merge: Counting, *spans: int) -> TileGroup:
    return TileGroup(1, list(spans), [0], merge, [merge] * len(spans), [merge.fold] * len(spans))


@pytest.mark.parametrize("span", [12, 144, 800])
@pytest.mark.parametrize("step", [1, 3, 50])
def test_merges_per_tile_do_not_grow_with_the_window(span: int, step: int) -> None:
    """Three per new tile: one into a prefix, one into a suffix, one of both; a few tiles may be merged anew."""
    merge = Counting()
    ring = Ring(group(merge, span), {})
    tiles = 4000
    for i in range(tiles):
        ring.place(i * step)[0] += 1
        assert ring.head is not None and ring.head[0] == 1
    assert merge.calls <= (3 if span // step >= FEW_TILES else FEW_TILES) * tiles


def test_reading_again_at_one_moment_merges_nothing() -> None:
    merge = Counting()
    ring = Ring(group(merge, 5, 50), {})
    for i in range(200):
        ring.place(i)[0] += 1
    before = merge.calls
    for _ in range(100):
        ring.seek(199)
        ring.place(199)[0] += 1
    assert merge.calls == before


def test_a_tile_too_old_for_any_window_is_not_kept() -> None:
    ring = Ring(group(Counting(), 5), {})
    ring.place(100)[0] += 1
    ring.place(94)[0] += 1
    assert list(ring.tiles) == [100]
    ring.place(95)[0] += 1
    assert list(ring.tiles) == [95, 100]
    ring.place(101)
    assert list(ring.tiles) == [100, 101]
    ring.place(10_000)
    assert list(ring.tiles) == [10_000]
