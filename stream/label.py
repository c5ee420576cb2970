"""What a user writes of the outcome: which events say it, what they say, and whose it is.

Laws of this file:
- A label holds no state and does no I/O. Every mistake is one `DefinitionError` that names the place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from penstock.features.define.durations import milliseconds
from penstock.stream.meaning import meaning
from penstock.stream.source import DefinitionError, Source, duration_ms


@dataclass(frozen=True)
class Label:
    """How an outcome becomes true or false: `outcome(event)` over the events of `source`, joined to the sample by event id.

    A sample without a label `wait` after its event time expires: it is counted, or takes `default` when one is declared.
    An outcome is True, False, 1, 0 or None (no label); anything else is a dead letter.
    `fields` are the event fields `outcome` reads; without them any field may be read and a missing one is a dead letter.
    """

    source: Source
    outcome: Callable[[Mapping[str, Any]], bool | None]
    wait: str = "1d"
    default: bool | None = None
    fields: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.source, Source):
            raise DefinitionError(f"Label: source must be a Source, not {type(self.source).__name__}")
        if isinstance(self.fields, str):
            raise DefinitionError(f"Label: fields must be a list of field names, such as ({self.fields!r},)")
        if not callable(self.outcome):
            raise DefinitionError(
                "Label: outcome must be a function of an event, such as lambda e: e['delay'] > 15"
            )
        if not (self.default is None or isinstance(self.default, bool)):
            raise DefinitionError(f"Label: default must be True, False or None, not {self.default!r}")
        duration_ms(self.wait, "Label, wait")

    @cached_property
    def meaning(self) -> str:
        """What `outcome` does, as text: its own, and that of the user's functions and constants it refers to, as first asked."""
        return meaning(self.outcome)

    @property
    def wait_ms(self) -> int:
        """How long a sample waits for its label, in event-time ms."""
        return milliseconds(self.wait)
