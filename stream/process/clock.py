"""The clock of this process. Only shells read it; steps are told the time.

Laws of this file: time neither goes back nor stands still, whatever is done to the system's clock: what is due after a second is
due after a second. A clock that is set forward is followed at once, one that is set back by the next process.
"""

from __future__ import annotations

import time


class Clock:
    """Time since the epoch that passes as time does. The process has one, behind `wall_ms`."""

    def __init__(self) -> None:
        self._ahead_ns: int | None = None

    def wall_ms(self) -> int:
        """Milliseconds since the epoch."""
        now_ns = time.time_ns()
        passed_ns = time.monotonic_ns()  # after it: then the difference is never too large
        ahead_ns = now_ns - passed_ns
        if self._ahead_ns is None or ahead_ns > self._ahead_ns:
            self._ahead_ns = ahead_ns
        return (passed_ns + self._ahead_ns) // 1_000_000


_clock = Clock()


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return _clock.wall_ms()
