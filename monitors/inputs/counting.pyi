"""Types of the compiled counting; what it does stands in `counting.pyx`."""

from collections.abc import Sequence

def inside(
    low: list[float | str], values: Sequence[float | str | None], high: list[float | str], /
) -> bool: ...
def count(
    rows: list[tuple[float | str | None, ...]], edges: list[list[float] | None], counted: list[bytes], /
) -> list[bytes | None] | None: ...
