"""Reading from a Redis that may hang: whoever asks does not wait for it a second time.

Laws of this file:
- Reads block every other request of the process. So the first one that fails, or the last of a few slow ones, opens the circuit;
  from then on everybody hears at once that Redis is away, and nothing is read until a probe beside the requests is answered.
- No clock: it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from penstock.features.engine.compute import StateMismatch
from penstock.features.units import StoreRefused, StoreUnavailable
from penstock.stream.serve.answers import Problem
from penstock.stream.serve.asking import Away, Refusal

SLOW_S = 0.1
"""A read that takes longer is a slow one."""
MOST_SLOW = 5
"""So many slow reads, one after the other, are as bad as none."""
T = TypeVar("T")


class Circuit:
    """Reads of one pipeline's features. `probe` reads something, beside the requests; `clock_s` is any that only goes forward.

    `why` says why it is open; it is empty while it is closed.
    """

    def __init__(self, probe: Callable[[], object], clock_s: Callable[[], float]) -> None:
        self.asked, self.clock_s = probe, clock_s
        self.why, self.slow = "", 0

    def read(self, read: Callable[[], T]) -> T:
        """What Redis gives. Raises `Away`, and another `Refusal` where it serves another definition."""
        if self.why:
            raise Away(self.why)
        began_s = self.clock_s()
        try:
            found = read()
        except (StoreRefused, StoreUnavailable) as error:
            self.why = f"features cannot be read: {error}"
            raise Away(self.why) from None
        except StateMismatch as error:
            raise Refusal(503, Problem(str(error)), 1.0) from None
        took_s = self.clock_s() - began_s
        if took_s <= SLOW_S:
            self.slow = 0
        else:
            self.slow += 1
            if self.slow >= MOST_SLOW:
                self.why = f"features cannot be read: Redis took {1000 * took_s:.0f} ms to answer, and so the times before"
        return found

    def probe(self) -> bool:
        """Ask whether Redis is back, if it was away; whether the circuit is closed now."""
        if self.why:
            began_s = self.clock_s()
            try:
                self.asked()
            except (StoreRefused, StoreUnavailable):
                return False
            except StateMismatch:
                pass  # it answers, and says so to whoever asks
            if self.clock_s() - began_s > SLOW_S:
                return False
            self.slow, self.why = 0, ""
        return True
