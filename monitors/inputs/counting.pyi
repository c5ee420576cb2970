"""Types of the compiled counting; what it does stands in `counting.pyx`."""

from collections.abc import Sequence

def inside(
    low: list[float | str], values: Sequence[float | str | None], high: list[float | str], /
) -> bool: ...
def count(
    rows: list[tuple[float | str | None, ...]], edges: list[list[float] | None], counted: list[bytes], /
) -> list[bytes | None] | None: ...
def count_by_place(
    rows: list[tuple[tuple[int, ...], Sequence[float | str | None], float]],
    edges: list[list[float] | dict[str, int]],
    places: int,
    most: int,
    into: object,
    /,
) -> list[int] | None: ...
