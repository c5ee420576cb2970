"""Stepping the ordinary records of a fold in C, where that was built: `PENSTOCK_MODEL_ENGINE=river` has Python do all of it.

Laws of this file:
- Nothing but speed depends on it: a run gives what as many calls of `Fold.step` would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from penstock.stream.learn.engine import compiled
from penstock.stream.learn.events import Request
from penstock.stream.learn.fold import JUDGED_LABELS, Fold
from penstock.stream.messages import Entry

ASKING = frozenset({"retrain", "rollback", "promote"})
SHORT_RUN = 2
MOST_LEFT = 3

Run = Callable[[list[Entry | None], list[int], int], int]


@cache
def _compiled() -> Any:
    try:
        from penstock.stream.learn import folding
    except ImportError:
        return None
    return folding if folding.agrees() else None


def asks(requests: Sequence[Request]) -> bool:
    """Whether one of these requests waits for a decision."""
    return any(request.event.data.suggested_action in ASKING for request in requests)


class Runs:
    """Steps of one fold. Where records are seldom ordinary, some are left to `Fold.step` before the next is looked at."""

    def __init__(self, fold: Fold) -> None:
        native = None if compiled() is None else _compiled()
        fits = native is not None and native.Runs.fits(fold)
        self._run: Run | None = native.Runs(fold, JUDGED_LABELS).run if native is not None and fits else None
        self._left = self._few = 0

    def run(self, entries: Sequence[Entry | None], positions: Sequence[int], start: int) -> int:
        """Step entries from `start` on; the place of the first that was not stepped, which may be `start`.

        It ends at what is not ordinary, and behind any record after which there may be something to publish at once.
        """
        if self._run is None:
            return start
        if self._left:
            self._left -= 1
            return start
        assert type(entries) is list and type(positions) is list
        place = self._run(entries, positions, start)
        self._few = min(2 * self._few + 1, MOST_LEFT) if place - start < SHORT_RUN else 0
        self._left = self._few
        return place
