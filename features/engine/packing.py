"""Columns to MessagePack and back.

Law: equal columns give equal bytes.
"""

from typing import Any

from penstock.features.engine.program import Columns
from penstock.features.windows.aggregates import OPS


class StateMismatch(ValueError):
    """Stored bytes are not a state of this view as it is defined now: rebuild the state from its topic."""


class Packed:
    """Makes the columns of one list canonical for MessagePack, and back.

    `plain`: they are so already; `scalar`: and they hold nothing but numbers.
    """

    def __init__(self, columns: Columns) -> None:
        """Find the columns that need it."""
        self.packs = [(at, OPS[c.op].pack) for c, at in columns.items() if OPS[c.op].pack is not None]
        self.unpacks = [(at, OPS[c.op].unpack) for c, at in columns.items() if OPS[c.op].unpack is not None]
        self.plain = not self.packs
        self.scalar = not self.unpacks and self.plain

    def __call__(self, columns: list[Any]) -> list[Any]:
        """Give columns that MessagePack with sorted sets writes canonically; the given ones stay."""
        if self.plain:
            return columns
        columns = columns.copy()
        for at, pack in self.packs:
            assert pack is not None
            columns[at] = pack(columns[at])
        return columns

    def restore(self, columns: list[Any]) -> None:
        """Make decoded columns, in place, what they were."""
        for at, unpack in self.unpacks:
            assert unpack is not None
            columns[at] = unpack(columns[at])
