"""Types of what featurize does in C; what it is stands in `stepping.pyx`."""

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.stream.featurize.decode import Item, SourceDecoder
from penstock.stream.featurize.step import Featurize
from penstock.stream.log.protocol import Out, Record

def items(decoder: SourceDecoder, records: Iterable[Record], newest_at: int, /) -> list[Item]: ...
def needed(plans_of: Mapping[int, tuple[Any, ...]], items: Iterable[Item], /) -> list[list[str | None]]: ...
def run(
    steppers: Mapping[int, Stepper],
    items: list[Item],
    entities: list[list[str | None]],
    start: int,
    before_at: int,
    outs: list[Out],
    touched: dict[int, None],
    /,
) -> int: ...

class Stepper:
    def __init__(self, featurize: Featurize, look_every: int) -> None: ...
