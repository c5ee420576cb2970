"""Asks a broker again that is not ready to answer yet.

Laws of this file:
- Only `LogUnavailable` is asked again: a broker that just started says for some seconds that it does not coordinate a group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from penstock.stream.log.protocol import LogUnavailable

Answer = TypeVar("Answer")
PATIENCE_S = 60.0
PAUSE_S = 0.5


def answered(
    ask: Callable[[], Answer],
    now_s: Callable[[], float],
    sleep: Callable[[float], None],
    patience_s: float = PATIENCE_S,
) -> Answer:
    """What `ask` gives, asked again for so long while the broker is not available. Raises `LogUnavailable`."""
    until_s = now_s() + patience_s
    while True:
        try:
            return ask()
        except LogUnavailable:
            if now_s() >= until_s:
                raise
        sleep(PAUSE_S)
