"""What changes while somebody looks: each page as a stream of Server-Sent Events.

Laws of this file:
- An event's id says how far the topics were read that the page was made of. A browser that comes back with one is sent what is
  newer, also by another console or one that was started again: nothing is sent before its topics were read as far.
- What is sent is the newest state, at most `1 / EVERY_S` times a second: who reads slowly skips states, and never waits for them.
- A page is drawn once for all who look at it. Sending costs nothing while nothing changes but a comment each `HEARTBEAT_S`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from penstock.stream.console.charts import delta

EVERY_S = 0.5
HEARTBEAT_S = 15.0
RETRY_MS = 2_000
KEPT_PAGES = 64
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",
    "Cache-Control": "no-store",
}


class Drawn(NamedTuple):
    """A page's live parts (HTML by the id of their element) and its charts' data, at a position."""

    position: str
    parts: Mapping[str, str]
    data: Mapping[str, dict[str, Any]]


NOTHING = Drawn("", {}, {})


def position_text(reached: Mapping[str, int], looked_ms: int = 0) -> str:
    """How far topics were read, as the id of an event: `control.alerts:12,flights.history:800,looked:1700000000000`."""
    return ",".join(
        [*(f"{topic}:{offset}" for topic, offset in sorted(reached.items())), f"looked:{looked_ms}"]
    )


def position_of(text: str) -> dict[str, int]:
    """The offsets of an id; empty for one that is none.

    >>> position_of("control.alerts:12,looked:5"), position_of("what")
    ({'control.alerts': 12, 'looked': 5}, {})
    """
    found: dict[str, int] = {}
    for part in text[:100_000].split(","):
        topic, _, offset = part.rpartition(":")
        if not topic or not offset.isascii() or not offset.isdigit() or len(offset) > 19:
            return {}
        found[topic] = int(offset)
    return found


def changes(before: Drawn, after: Drawn) -> dict[str, Any]:
    """What makes one page of the other: parts that differ, and charts from where they differ; empty if nothing does."""
    parts = {name: html for name, html in after.parts.items() if before.parts.get(name) != html}
    data = {
        name: found
        for name, one in after.data.items()
        if (found := delta(before.data.get(name), one)) is not None
    }
    return {**({"parts": parts} if parts else {}), **({"charts": data} if data else {})}


def message(position: str, said: Mapping[str, Any]) -> bytes:
    """One event."""
    return f"id: {position}\ndata: {json.dumps(said, separators=(',', ':'), allow_nan=False)}\n\n".encode()


class Shared:
    """The newest drawing of each page that is looked at, made once a revision for all."""

    def __init__(self) -> None:
        self._drawn: OrderedDict[Any, tuple[Any, Drawn]] = OrderedDict()
        self._locks: dict[Any, asyncio.Lock] = {}

    async def drawn(self, page: Any, revision: Any, draw: Callable[[], Drawn]) -> Drawn:
        """The page as of a revision of the state; drawn in a thread if nobody did before."""
        lock = self._locks.setdefault(page, asyncio.Lock())
        async with lock:
            known = self._drawn.get(page)
            if known is None or known[0] != revision:
                known = revision, await asyncio.to_thread(draw)
                self._drawn[page] = known
            self._drawn.move_to_end(page)
            while len(self._drawn) > KEPT_PAGES:
                gone, _ = self._drawn.popitem(last=False)
                self._locks.pop(gone, None)
            return known[1]


async def stream(
    newest: Callable[[], Awaitable[Drawn]],
    after: str,
    ready: Callable[[dict[str, int]], bool],
    *,
    every_s: float = EVERY_S,
    stopping: Callable[[], bool] = lambda: False,
) -> AsyncIterator[bytes]:
    """The events of one browser, which has the page as of position `after`.

    `newest` awaits the newest drawing; `ready` says whether the topics were read as far as a position.
    """
    yield b"retry: %d\n\n" % RETRY_MS
    sent, wanted = NOTHING, position_of(after)
    beat_s = time.monotonic()
    while not stopping():
        if ready(wanted):
            drawn = await newest()
            if drawn.position == after:
                sent, after = drawn, ""
            elif drawn is not sent:
                said = changes(sent, drawn)
                sent = drawn
                if said:
                    yield message(drawn.position, said)
                    beat_s = time.monotonic()
        if time.monotonic() - beat_s >= HEARTBEAT_S:
            yield b": here\n\n"
            beat_s = time.monotonic()
        await asyncio.sleep(every_s)
