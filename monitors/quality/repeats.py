"""Events whose id was there already: a producer that sends twice.

Laws of this file
- Ids are remembered by 32 bits of a checksum, the last `MOST_IDS` / 2 to `MOST_IDS` of them: one in 40,000 new ids looks known.
- The usual share of repeats is learned (`rare`), so a producer that always repeats some is judged against that.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.rare import Rare

MOST_IDS = 100_000


class Repeats:
    """Tell when far more ids come again than usual: transitions of monitor `duplicates`.

    Args:
        subject: what the transitions name.
        alarms_per_year: the share of the budget.
    """

    __slots__ = ("_before", "_ids", "again", "rare")

    def __init__(self, subject: str, alarms_per_year: float) -> None:
        self.rare = Rare("duplicates", subject, alarms_per_year)
        self.again = False
        # dicts, not sets: these are stored in the order in which they were filled
        self._ids: dict[int, None] = {}
        self._before: dict[int, None] = {}

    def update(self, number: int, at_ms: int, position: int, event_id: str) -> Sequence[Transition]:
        """Take the id of sample `number` (from 1); `again` says afterwards whether it was there already."""
        short = crc32(event_id.encode())
        ids = self._ids
        self.again = short in ids or short in self._before
        if self.again:
            return self.rare.hit(number, at_ms, position)
        ids[short] = None
        if len(ids) >= MOST_IDS // 2:
            self._before, self._ids = ids, {}
        return self.rare.clean(number, at_ms, position) if self.rare.firing else ()

    def turn(self, number: int, at_ms: int, position: int) -> Sequence[Transition]:
        """Sample `number` was the last of an epoch."""
        return self.rare.turn(number, at_ms, position)
