"""What a target of fuzzing is: a name, what is called with any bytes, bytes to begin with, and the law that must hold.

Laws of this file:
- A target raises nothing while its law holds; whatever it raises is a finding, with the bytes that provoked it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Target(NamedTuple):
    """`make` gives the function of bytes, once; what that needs is imported there, so that it can be instrumented."""

    name: str
    law: str
    make: Callable[[], Callable[[bytes], object]]
    seeds: Callable[[], list[bytes]]


def only(call: Callable[[], Any], *declared: type[BaseException]) -> Any:
    """What a call gives, None where it raises what it may raise."""
    try:
        return call()
    except declared:
        return None


def told(call: Callable[[], Any]) -> str:
    """What a call gives or raises, as text to compare."""
    try:
        return repr(call())
    except Exception as error:
        return f"raises {type(error).__name__}"


def deep(value: bytes) -> bool:
    """Whether it may be nested so deeply that it depends on who calls whether it is read."""
    return value.count(b"[") + value.count(b"{") > 200
