"""The reference job written by hand, as a user of another engine writes it: one customer's state, one event, 14 values.

Laws of this file:
- Windows have the borders of Penstock's (an exact head, a tail that moves tile by tile), so that values can be compared.
- Work per event does not grow with the window: running totals from which tiles are taken as they leave, a falling list for the
  greatest amount, and for distinct merchants a count of those last seen in each tile.
- State is lists, dicts, numbers and None, so that an engine may keep it as JSON.
- Events of a customer come in order of time. Penstock also takes late ones; here they would be counted in the wrong tile.
- Only the standard library is imported: every engine's own environment can load it.
"""

from __future__ import annotations

from typing import Any

#: Name, tile in ms, tiles beside the newest: what Penstock cuts these windows into.
WINDOWS = (("10m", 30_000, 20), ("1h", 300_000, 12), ("1d", 3_600_000, 24))
DAY_TILE_MS, DAY_SPAN = WINDOWS[-1][1:]
HALF_LIFE_MS = 3_600_000.0


def new_state() -> dict[str, Any]:
    """Give the state of a customer without events."""
    return {
        "newest": None,  # ms
        "windows": [[[], 0, 0.0] for _ in WINDOWS],  # tiles of [index, count, sum]; count; sum
        "decayed": [0.0, 0.0],  # weight, weighted sum, as of the newest event
        "most": [],  # [tile, greatest amount], amounts falling
        "visits": [],  # [tile, merchants whose last visit was in it]
        "merchants": 0,
    }


def fold(
    state: dict[str, Any], event: dict[str, Any], last_visit: int | None
) -> tuple[dict[str, float | None], int]:
    """Fold in an event and give its 14 values, and the tile to remember as its merchant's last visit.

    `last_visit` is the tile remembered for this customer and merchant, None if there is none.
    """
    at: int = event["at"]
    amount: float = event["amount"]
    newest = state["newest"]
    state["newest"] = at
    values: dict[str, float | None] = {}
    for (name, tile_ms, span), window in zip(WINDOWS, state["windows"], strict=True):
        tiles = window[0]
        tile = at // tile_ms
        while tiles and tiles[0][0] < tile - span:
            left = tiles.pop(0)
            window[1] -= left[1]
            window[2] -= left[2]
        if not tiles:
            window[2] = 0.0  # what subtraction left over
        if tiles and tiles[-1][0] == tile:
            tiles[-1][1] += 1
            tiles[-1][2] += amount
        else:
            tiles.append([tile, 1, amount])
        window[1] += 1
        window[2] += amount
        values["n_" + name] = window[1]
        values["sum_" + name] = window[2]
        values["mean_" + name] = window[2] / window[1]
    values["idle"] = None if newest is None else (at - newest) / 1000
    decayed = state["decayed"]
    kept = 0.0 if newest is None else 2.0 ** ((newest - at) / HALF_LIFE_MS)
    decayed[0] = decayed[0] * kept + 1.0
    decayed[1] = decayed[1] * kept + amount
    values["decayed"] = decayed[1] / decayed[0]
    tile = at // DAY_TILE_MS
    values["most"] = _greatest(state["most"], tile, amount)
    values["merchants"] = _distinct(state, tile, last_visit)
    values["per_item"] = amount / event["items"] if event["items"] else None
    return values, tile


def _greatest(most: list[list[Any]], tile: int, amount: float) -> float:
    while most and most[0][0] < tile - DAY_SPAN:
        most.pop(0)
    while most and most[-1][1] <= amount:
        most.pop()
    most.append([tile, amount])
    return float(most[0][1])


def _distinct(state: dict[str, Any], tile: int, last_visit: int | None) -> int:
    visits = state["visits"]
    while visits and visits[0][0] < tile - DAY_SPAN:
        state["merchants"] -= visits.pop(0)[1]
    if not visits or visits[-1][0] != tile:
        visits.append([tile, 0])
    if last_visit is None or last_visit < tile - DAY_SPAN:
        state["merchants"] += 1
        visits[-1][1] += 1
    elif last_visit < tile:
        next(visit for visit in visits if visit[0] == last_visit)[1] -= 1
        visits[-1][1] += 1
    return int(state["merchants"])
