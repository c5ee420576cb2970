"""What a user writes of the outcome: which events say it, what they say, and which samples it is of.

Laws of this file:
- A label holds no state and does no I/O. Every mistake is one `DefinitionError` that names the place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from penstock.features.define.durations import milliseconds
from penstock.stream.definition_error import DefinitionError, duration_ms
from penstock.stream.label_rule import LabelRule, rule_of
from penstock.stream.meaning import meaning
from penstock.stream.source import Source
from penstock.stream.targets import Target

WAIT = "1d"


@dataclass(frozen=True)
class FieldValue:
    """The outcome that is a field of the event."""

    name: str

    def __call__(self, event: Mapping[str, Any]) -> Any:
        """The field's value; null is no label."""
        return event[self.name]


@dataclass(frozen=True)
class Happened:
    """The outcome that is true whenever there is an event."""

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """True."""
        return True


def no_label(event: Mapping[str, Any]) -> None:
    """The outcome of a pipeline without labels."""


def none_from(source: Source) -> Label:
    """What stands in a pipeline without labels: none ever comes of the predicted events."""
    return Label(source, no_label, fields=(source.id,))


@dataclass(frozen=True)
class Label:
    """What the outcome of a sample is: `outcome(event)` over the events of `source`, or the value of a field of theirs.

    By id: the event with the sample's id, at most `wait` after it (a day, unless you say). By `key`: the first event with the
    same values of these fields, later than the sample and at most `within` after it; with `after`, the first one from that long
    after the sample on, and at most `within` later. There the outcome is True unless it is given. What an outcome may be follows
    from the model: True, False, 1 or 0 for a classifier of true and false; None is no label, anything else a dead letter.

    A sample without a label is dropped and counted, or takes `absent`. A label that comes after that, `corrected_for` at the
    latest, is learned as well. `fields` are the event fields that a function `outcome` reads; without them any field may be read,
    and a missing one is a dead letter.
    """

    source: Source
    outcome: Callable[[Mapping[str, Any]], Any] | str | None = None
    wait: str | None = None
    absent: Target | None = None
    fields: Sequence[str] = ()
    key: str | tuple[str, ...] = ()
    within: str | None = None
    after: str | None = None
    corrected_for: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.source, Source):
            raise DefinitionError(f"Label: source must be a Source, not {type(self.source).__name__}")
        if isinstance(self.fields, str):
            raise DefinitionError(f"Label: fields must be a list of field names, such as ({self.fields!r},)")
        self._check_key()
        self._check_outcome()
        self._check_times()
        if not (self.absent is None or isinstance(self.absent, bool | int | float | str)):
            raise DefinitionError(
                f"Label: absent must be a label, such as False, or None to drop the sample, not {self.absent!r}"
            )

    def _check_key(self) -> None:
        """A field becomes a tuple of it, and so does a list, as JSON has it."""
        parts = (self.key,) if isinstance(self.key, str) else self.key
        named = isinstance(parts, tuple | list) and all(isinstance(part, str) and part for part in parts)
        if not named or len(set(parts)) != len(parts):
            raise DefinitionError(
                "Label: key must name a field that the predicted event and the label's event share, or be a tuple of "
                f"different fields, not {self.key!r}; leave it out to join by event id"
            )
        object.__setattr__(self, "key", tuple(parts))

    def _check_outcome(self) -> None:
        outcome = self.outcome
        if outcome is None and self.key:
            object.__setattr__(self, "outcome", Happened())
        elif isinstance(outcome, str) and outcome:
            object.__setattr__(self, "outcome", FieldValue(outcome))
            object.__setattr__(self, "fields", (outcome,))
        elif not callable(outcome):
            raise DefinitionError(
                "Label: outcome must be a function of an event, such as lambda e: e['delay'] > 15, or the name of a field"
            )

    def _check_times(self) -> None:
        for name in ("wait", "within", "after", "corrected_for"):
            if getattr(self, name) is not None:
                duration_ms(getattr(self, name), f"Label, {name}")
        if self.key and (self.within is None or self.wait is not None):
            raise DefinitionError(
                "Label: a label by key says within= in place of wait=: how long after the sample such an event counts, "
                "such as within='30m'"
            )
        if not self.key and (self.within or self.after):
            raise DefinitionError(
                "Label: within and after are of a label by key: name the fields of the entity, such as key='machine'; "
                "a label by event id has wait="
            )
        if self.corrected_for is not None and self.absent is None:
            raise DefinitionError(
                "Label: corrected_for corrects what absent taught: give absent=, or leave corrected_for out"
            )

    @cached_property
    def meaning(self) -> str:
        """What `outcome` does, as text: its own, and that of the user's functions and constants it refers to, as first asked."""
        outcome = self.outcome
        return repr(outcome) if isinstance(outcome, FieldValue | Happened) else meaning(outcome)

    @property
    def of(self) -> Callable[[Mapping[str, Any]], Any]:
        """The outcome as a function of an event."""
        assert callable(self.outcome), "a name became a function when the label was made"
        return self.outcome

    @property
    def key_fields(self) -> tuple[str, ...]:
        """The fields that the predicted event and the label's event share, in order; none where they share the id."""
        return tuple(self.key)

    @property
    def reads_any_field(self) -> bool:
        """Whether the outcome may read fields that nobody declared."""
        return not self.fields and not isinstance(self.outcome, Happened)

    def describe(self) -> dict[str, Any]:
        """The label as plain data, without what it does not use."""
        said: dict[str, Any] = {
            "source": self.source.name,
            "absent": self.absent,
            "outcome": self.meaning,
        }
        if self.key:
            said |= {"key": list(self.key), "within": self.within, "after": self.after}
        else:
            said["wait"] = self.wait or WAIT
        return said | ({"corrected_for": self.corrected_for} if self.corrected_for else {})

    @property
    def sentence(self) -> str:
        """The label in words: whose events say it, when they count, and what the label is without one."""
        said = f"what {self.source.name!r} says of it"
        if isinstance(self.outcome, FieldValue):
            said = f"{self.outcome.name!r} of {self.source.name!r}"
        elif isinstance(self.outcome, Happened):
            said = f"True where {self.source.name!r} has an event"
        if not self.key:
            found = f"{said}, joined by its id {self.source.id!r}, up to {self.wait or WAIT} after the event"
        elif self.after:
            span = f"from {self.after} after the event on, up to {self.within} later"
            found = f"{said}, the first of the same {self._entity} {span}"
        else:
            found = f"{said}, the first of the same {self._entity} up to {self.within} after the event"
        if self.absent is None:
            return f"{found}; without one there is no label"
        late = f", which a label up to {self.corrected_for} later corrects" if self.corrected_for else ""
        return f"{found}; without one it is {self.absent!r}{late}"

    @property
    def _entity(self) -> str:
        return " and ".join(self.key)

    @property
    def rule(self) -> LabelRule:
        """How samples and labels find each other."""
        return rule_of(self.describe())

    @property
    def wait_ms(self) -> int:
        """How long after a sample its label may lie, in event-time ms."""
        return milliseconds(self.wait or WAIT) if not self.key else self.rule.wait_ms
