"""What a user writes of a topic: which fields of its events say what.

Laws of this file:
- A source holds no state and does no I/O. Every mistake is one `DefinitionError` that names the place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.features.define.durations import milliseconds
from penstock.stream.definition_error import DefinitionError, duration_ms

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")


@dataclass(frozen=True)
class Source:
    """A Kafka topic of JSON objects, owned by its producers.

    `id` names the field that identifies an event (a sample and its label share it), `time` the event time (milliseconds since
    the epoch or RFC 3339), `key` the entity: a field, or a tuple of fields for a compound key. The key of a topic's records is
    that field's text, or a compound key's parts, percent-encoded and joined by `|`. A record more than `grace` behind its own
    partition's newest event time is a dead letter, and so is one more than `ahead` after its own Kafka timestamp.
    """

    name: str
    id: str
    time: str
    key: str | tuple[str, ...]
    grace: str = "1d"
    ahead: str = "1h"

    def __post_init__(self) -> None:
        if not _TOPIC.match(self.name):
            raise DefinitionError(
                f"Source {self.name!r}: not a Kafka topic name (letters, digits, '.', '_' and '-')"
            )
        for part in ("id", "time"):
            if not isinstance(getattr(self, part), str) or not getattr(self, part):
                raise DefinitionError(f"Source {self.name!r}: {part} must name a field of its events")
        self._check_key()
        duration_ms(self.grace, f"Source {self.name!r}, grace")
        duration_ms(self.ahead, f"Source {self.name!r}, ahead")

    def _check_key(self) -> None:
        """Refuse a key that names no entity; a list, as JSON has it, becomes a tuple, and a tuple of one its field."""
        parts = (self.key,) if isinstance(self.key, str) else self.key
        named = isinstance(parts, tuple | list) and parts and all(isinstance(p, str) and p for p in parts)
        if not named or len(set(parts)) != len(parts):
            raise DefinitionError(
                f"Source {self.name!r}: key must name a field of its events, or be a tuple of different fields, not {self.key!r}"
            )
        object.__setattr__(self, "key", parts[0] if len(parts) == 1 else tuple(parts))

    @property
    def key_fields(self) -> tuple[str, ...]:
        """The fields that name the entity, in order."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def grace_ms(self) -> int:
        """How far behind its partition's newest event a record may be, in ms."""
        return milliseconds(self.grace)

    @property
    def ahead_ms(self) -> int:
        """How far an event time may lie after the record's own timestamp, in ms."""
        return milliseconds(self.ahead)
