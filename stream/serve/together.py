"""Requests that come together are answered from one read of Redis: the busier the process, the less a request costs.

Laws of this file:
- Each request gets what it would get alone: where one read for all fails, each is read for by itself, and what one provokes is
  its own.
- Answers are computed without giving way. A batch is bounded, so that nobody waits for more than `MOST_ROWS` beside a list.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from penstock.features.engine.compute import State
from penstock.stream.serve.answers import Prediction
from penstock.stream.serve.asking import Asking, Refusal
from penstock.stream.serve.served import ServedPipeline
from penstock.stream.serve.vectors import Decoded

MOST_ROWS = 64
Answers = list[Prediction | Refusal]


class Waiting(NamedTuple):
    """A request that waits for its turn, until the loop comes round."""

    events: Sequence[bytes]
    asking: Asking
    answers: asyncio.Future[Answers]


class Together:
    """The requests to one pipeline."""

    def __init__(self, served: ServedPipeline, wall_ms: Callable[[], int]) -> None:
        self.served, self.wall_ms = served, wall_ms
        self.waiting: deque[Waiting] = deque()

    async def answers(self, events: Sequence[bytes], asking: Asking) -> Answers:
        """As `ServedPipeline.answers`, with whoever else asks in this turn of the loop."""
        loop = asyncio.get_running_loop()
        one = Waiting(events, asking, loop.create_future())
        self.waiting.append(one)
        if len(self.waiting) == 1:
            loop.call_soon(self._turn)
        return await one.answers

    def _turn(self) -> None:
        batch = [self.waiting.popleft()]
        rows = len(batch[0].events)
        while self.waiting and (rows := rows + len(self.waiting[0].events)) <= MOST_ROWS:
            batch.append(self.waiting.popleft())
        if self.waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        batch = [one for one in batch if not one.answers.done()]  # some may have gone away
        try:
            found = together(self.served, batch, self.wall_ms())
        except Exception as error:  # nobody waits for ever
            found = [error] * len(batch)
        for one, answers in zip(batch, found, strict=True):
            if isinstance(answers, Exception):
                one.answers.set_exception(answers)
            else:
                one.answers.set_result(answers)


def together(served: ServedPipeline, batch: Sequence[Waiting], wall_ms: int) -> list[Answers | Exception]:
    """The answers to each request, or what it raised."""
    decoded = [served.vectors.decoded(one.events, wall_ms) for one in batch]
    wanted = [key for one in decoded for key in one.wanted]
    read: list[State | None] | None = None
    if len(batch) > 1:
        try:
            read = served.states(wanted)
        except Exception:  # whose it was is found by reading for each alone
            read = None
    given = iter(read or ())
    return [
        _alone(served, one, found, None if read is None else [next(given) for _ in found.wanted])
        for one, found in zip(batch, decoded, strict=True)
    ]


def _alone(
    served: ServedPipeline, one: Waiting, found: Decoded, states: list[State | None] | None
) -> Answers | Exception:
    try:
        return served.answered(found, one.asking, served.states(found.wanted) if states is None else states)
    except Exception as error:  # it is raised again where it was asked
        return error
