"""Why a record gives no event: it cannot be read, or it says nothing.

Laws of this file:
- What is wrong is said in words a producer understands, with the id of the schema where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from penstock.stream.log.protocol import LogUnavailable, Record


class Unreadable(ValueError):
    """Why a record cannot be read; it becomes a dead letter."""


class Ignored(Exception):
    """A record that says nothing by agreement, such as the tombstone behind a deleted row."""


class RegistryUnavailable(LogUnavailable):
    """The schema registry did not say what a schema is, nor that there is none: nobody's record is at fault, so wait.

    `retry_ms` is when to ask again.
    """

    def __init__(self, message: str, retry_ms: int = 500) -> None:
        super().__init__(message)
        self.retry_ms = retry_ms


class EventReader(Protocol):
    """Reads the records of one source that are not plain JSON."""

    def prepare(self, records: Iterable[Record]) -> None:
        """Learn every schema that these records were written under. Raises `RegistryUnavailable`."""

    def event(self, record: Record) -> Mapping[str, Any]:
        """A record's event in plain values; raises `Unreadable` or `Ignored`."""

    def only(self, names: Iterable[str] | None) -> None:
        """Read these fields and no others from now on; None is all of them."""

    def body(self, value: bytes) -> bytes | None:
        """The JSON object that stands in a value, where it is one, for whoever decodes that faster; raises `Unreadable`."""

    def whole(self, record: Record) -> Mapping[str, Any]:
        """A record's event with all its fields, whatever `only` says."""
