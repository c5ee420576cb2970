"""What happens inside a role that is harmed: a definition file calls `harm` where the role's environment says so.

Laws of this file:
- Only functions of the role's own process are replaced; nothing of the product asks for it.
- Whatever ends or stops the process does so once in a round: the first to make the mark's file. Who is started again lives.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any


def harm(text: str) -> None:
    """Do what the text says (JSON): `plant` names a bug, `points` where to end, `clock` when time jumps."""
    asked = json.loads(text)
    if "plant" in asked:
        from tests.faults.bugs import BUGS

        BUGS[asked["plant"]](asked.get("mark", ""))
    for point in asked.get("points", ()):
        plant_point(**point)
    if "clock" in asked:
        jump(asked["clock"])


def once(mark: str) -> bool:
    """Whether this is the first process to come here."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def wrapped(at: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace `module:Class.function`, or `module:function`, by what `make` makes of it."""
    module, _, path = at.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)
    setattr(owner, name, make(getattr(owner, name)))


def plant_point(at: str, when: str, number: int, mark: str, how: str = "SIGKILL") -> None:
    """At the `number`-th call of a function, before it, after it, or in the middle of it (`half`: half of its list is sent).

    After it: calls that give an empty list, as a poll does to which nothing came, do not count.
    """
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls >= number

    def end() -> None:
        if once(mark):
            os.kill(os.getpid(), getattr(signal, how))

    def make(real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def called(*args: Any, **more: Any) -> Any:
            if when == "after":
                found = real(*args, **more)
                if found != [] and due():
                    end()
                return found
            reached = due()
            if reached and when == "before":
                end()
            if reached and when == "half" and len(args[1]) > 1 and not os.path.exists(mark):
                real(args[0], args[1][: len(args[1]) // 2])
                end()
            return real(*args, **more)

        @functools.wraps(real)
        async def awaited(*args: Any, **more: Any) -> Any:
            reached = due()
            if reached and when == "before":
                end()
            found = await real(*args, **more)
            if reached and when == "after":
                end()
            return found

        return awaited if inspect.iscoroutinefunction(real) else called

    wrapped(at, make)


def jump(jumps: list[list[float]]) -> None:
    """Wall clocks jump: [seconds after the start, by how many seconds], again and again."""
    real, real_ns, began = time.time, time.time_ns, time.monotonic()

    def by() -> float:
        return sum(step for after, step in jumps if time.monotonic() - began >= after)

    time.time = lambda: real() + by()
    time.time_ns = lambda: real_ns() + round(by() * 1e9)
