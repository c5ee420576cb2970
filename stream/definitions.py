"""What a user writes: sources, a label and a pipeline. Frozen, and checked when the definition file loads.

Laws of this file:
- A definition holds no state and does no I/O; two equal definitions have equal digests.
- Every mistake is one `DefinitionError` that names the place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from penstock.features.define.durations import milliseconds
from penstock.features.define.view import View
from penstock.stream.definition_error import DefinitionError, duration_ms
from penstock.stream.meaning import meaning
from penstock.stream.triggers import DEFAULT, Trigger, checked

__all__ = ["DefinitionError", "Label", "Pipeline", "Source"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
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


@dataclass(frozen=True)
class Pipeline:
    """The whole of one problem: what is counted, what is predicted, which model learns from which outcome.

    `inputs` are fields of the predicted event; every view's features join them, read for the event's own entity keys. A field
    that `Label.fields` names may not be an input. `alarms_per_year` is the false-alarm budget all thresholds follow from;
    `guard` watches for values far outside what was learned: True alerts and lets a model take part that leaves them out, "hold"
    stops learning until they are over, False does nothing. `experts` bounds how many models predict together, beside the first
    one, which is never touched, and that one (4 to 16; frozen copies are kept from 5 on, two from 6). `cooldown` is
    the least event time between two retrain jobs that evidence set off. With `approval` only the model that a person committed
    predicts. `retrain` lists what starts a retrain beside a person (`stream.triggers`), and `retrain_window` what one learns from
    that does not say so itself: "all", "since-onset", or the last so long, such as "30d".
    """

    name: str
    views: Sequence[View]
    predict: Source
    label: Label
    model: Any
    inputs: Sequence[str] = ()
    alarms_per_year: float = 1.0
    guard: bool | Literal["hold"] = True
    experts: int = 6
    cooldown: str = "1d"
    approval: bool = False
    retrain: Sequence[Trigger] = DEFAULT
    retrain_window: str | None = None
    _digest: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = f"Pipeline {self.name!r}"
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise DefinitionError(
                f"{where}: a name starts with a letter and holds letters, digits, '_' and '-'"
            )
        self._check_types(where)
        names = [view.name for view in self.views]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DefinitionError(f"{where}: two views are named {twice!r}")
        if len(set(self.inputs)) != len(self.inputs):
            raise DefinitionError(f"{where}: an input is listed twice")
        if not self.inputs and not self.views:
            raise DefinitionError(f"{where}: nothing to learn from: give inputs or views")
        if not _is_classifier(self.model):
            raise DefinitionError(
                f"{where}: model must be a river classifier (learn_one and predict_proba_one), not {_kind(self.model)}"
            )
        self._check_leaks(where)
        object.__setattr__(self, "retrain", checked(self.retrain, self.retrain_window, where))
        duration_ms(self.cooldown, f"{where}, cooldown")
        if not (isinstance(self.guard, bool) or self.guard == "hold"):
            raise DefinitionError(f'{where}: guard must be True, "hold" or False, not {self.guard!r}')
        if isinstance(self.experts, bool) or not isinstance(self.experts, int) or not 4 <= self.experts <= 16:
            raise DefinitionError(
                f"{where}: experts must be a whole number from 4 to 16, not {self.experts!r}"
            )
        if not 0 < self.alarms_per_year <= 366:
            raise DefinitionError(
                f"{where}: alarms_per_year must be above 0 and at most 366, not {self.alarms_per_year}"
            )
        by_name: dict[str, Source] = {}
        for source in self._named_sources():
            if by_name.setdefault(source.name, source) != source:
                raise DefinitionError(f"{where}: topic {source.name!r} is declared twice, differently")

    def _check_types(self, where: str) -> None:
        """A wrong thing in a place is said here, not as an attribute that it lacks."""
        if not isinstance(self.predict, Source):
            raise DefinitionError(f"{where}: predict must be a Source, not {_kind(self.predict)}")
        if not isinstance(self.label, Label):
            raise DefinitionError(f"{where}: label must be a Label, not {_kind(self.label)}")
        for what, kind in (("views", View), ("inputs", str)):
            found = getattr(self, what)
            if not isinstance(found, list | tuple) or not all(isinstance(item, kind) for item in found):
                raise DefinitionError(
                    f"{where}: {what} must be a list of {'views' if kind is View else 'field names'}, not {found!r}"
                )
        for view in self.views:
            if not isinstance(view.source, Source):
                raise DefinitionError(
                    f"{where}: the source of view {view.name!r} must be a Source, not {_kind(view.source)}"
                )

    def _check_leaks(self, where: str) -> None:
        labelled = set(self.label.fields)
        same = self.label.source.name == self.predict.name
        for name in self.inputs:
            if same and name in labelled:
                raise DefinitionError(
                    f"{where}: input {name!r} is the label of the same event; the model would read the answer"
                )
        for view in self.views:
            if same and view.source.name == self.predict.name and labelled & set(view.fields):
                raise DefinitionError(f"{where}: view {view.name!r} reads the label of the event it serves")
            if same and labelled & set(view.key_fields):
                raise DefinitionError(
                    f"{where}: view {view.name!r} is keyed by the label of the event it serves"
                )

    @property
    def sources(self) -> list[Source]:
        """Every distinct source, the predicted one first: the inputs of a task, in merge order."""
        return list({source.name: source for source in self._named_sources()}.values())

    def _named_sources(self) -> list[Source]:
        """Every source wherever it is named, the predicted one first."""
        of_views = [view.source for view in self.views if isinstance(view.source, Source)]
        return [self.predict, self.label.source, *of_views]

    @property
    def vector_names(self) -> list[str]:
        """Names of the model's inputs in the order of a sample's vector: the event's own fields, then `view.feature`."""
        return [*self.inputs, *(f"{view.name}.{name}" for view in self.views for name in view.numeric)]

    @property
    def partitioned(self) -> bool:
        """True when every view has its own source's key, so that partition i of all sources is a task of its own."""
        keys = {source.name: source.key_fields for source in self.sources}
        same_key = len(set(keys.values())) == 1
        return same_key and all(view.key_fields == keys[view.source.name] for view in self.views)

    @property
    def cooldown_ms(self) -> int:
        """The least event time between two unattended retrains, in ms."""
        return milliseconds(self.cooldown)

    def describe(self) -> dict[str, Any]:
        """The definition as plain data: what the recipe digest covers."""

        def source(s: Source) -> dict[str, Any]:
            return {
                "name": s.name,
                "id": s.id,
                "time": s.time,
                "key": s.key if isinstance(s.key, str) else list(s.key),
                "grace": s.grace,
                "ahead": s.ahead,
            }

        return {
            "name": self.name,
            "sources": [source(s) for s in self.sources],
            "predict": self.predict.name,
            "inputs": list(self.inputs),
            "views": [view.describe() for view in self.views],
            "label": {
                "source": self.label.source.name,
                "wait": self.label.wait,
                "default": self.label.default,
                "outcome": self.label.meaning,
            },
            "model": repr(self.model),
        }

    @property
    def digest(self) -> str:
        """Twelve hex digits that stamp every sample, version, model and control event made under this definition."""
        if not self._digest:
            canonical = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
            object.__setattr__(self, "_digest", hashlib.sha256(canonical.encode()).hexdigest()[:12])
        return self._digest


def _kind(value: Any) -> str:
    """What a wrong value is, in a few words."""
    return f"the class {value.__name__}; call it" if isinstance(value, type) else type(value).__name__


def _is_classifier(model: Any) -> bool:
    """Whether it learns and gives probabilities; a river pipeline has both methods whatever its last step is."""
    final = model
    while hasattr(final, "steps") and final.steps:
        final = list(final.steps.values())[-1]
    return not isinstance(final, type) and hasattr(final, "learn_one") and hasattr(final, "predict_proba_one")
