"""What a user writes: a pipeline, of sources and a label. Frozen, and checked when the definition file loads.

Laws of this file:
- A definition holds no state and does no I/O; two equal definitions have equal digests.
- Every mistake is one `DefinitionError` that names the place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from penstock.features.define.durations import milliseconds
from penstock.features.define.view import View
from penstock.stream import definition_checks as checks
from penstock.stream.definition_error import DefinitionError, duration_ms
from penstock.stream.detectors import checked as checked_monitors
from penstock.stream.label import Happened, Label, no_label, none_from
from penstock.stream.label_rule import LabelRule
from penstock.stream.model_text import model_text
from penstock.stream.quality import Quality, checked_quality
from penstock.stream.serving import Serving
from penstock.stream.source import Source
from penstock.stream.targets import TAKEN, target_of
from penstock.stream.targets import Kind as TargetKind
from penstock.stream.task_kind import TARGETS, Kind, kind_of
from penstock.stream.triggers import DEFAULT, Trigger, checked

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")

__all__ = ["DefinitionError", "Label", "Pipeline", "Source"]


@dataclass(frozen=True)
class Pipeline:
    """The whole of one problem: what is counted, what is predicted, which model learns from which outcome.

    `inputs` are fields of the predicted event; every view's features join them, read for the event's own entity keys. A field
    that `Label.fields` names may not be an input. `alarms_per_year` is the false-alarm budget all thresholds follow from;
    `guard` watches for values far outside what was learned: True alerts and lets a model take part that leaves them out, "hold"
    stops learning until they are over, False does nothing. `experts` bounds how many models predict together, beside the first
    one, which is never touched, and that one (4 to 16; frozen copies are kept from 5 on, two from 6). `cooldown` is
    the least event time between two retrain jobs that evidence set off. With `approval` only the model that a person committed
    predicts. `task` is told by the model; a classifier is for true and false unless it says "multiclass". Without labels
    (`label=None`) the model is an anomaly detector, and its highest `alert_share` of scores are alerts. With `interval` (say 0.9)
    every prediction has an interval, or a set of classes, that holds the label so often; with `calibrate` a corrected
    probability. `challengers` are other models, by name, that race beside this one in a process of their own (`penstock run FILE
    --role challenge`), which takes at most `race_cpu` of a core (above 0, up to 1); who carries weight there takes part in learn.
    `quality` says which findings about the data are told and what is done about each (True: the usual choice, see `Quality`).
    `retrain` lists what
    starts a retrain beside a person (`stream.triggers`), and `retrain_window` what one learns from that does not say so itself:
    "all", "since-onset", or the last so long, such as "30d". `segments` names up to four fields of the predicted event with few
    values each: what is found is told with the one value that carries it, and each value is watched by itself, for a fifth of
    the budget of alarms. `monitors` are drift detectors that tell people of a series of their own choice, such as
    `[Adwin("loss")]` (`stream.detectors`). `serving` says how the serve role answers beside its usual way (see `Serving`).
    With `shards` above 1 (at most 256) events are learned in so many shards, each a model of its own, by the value of the field
    `shard_by`; the false-alarm budget is for all of them together. With `output_format="avro"` predictions are written in Avro,
    their schema registered.
    """

    name: str
    views: Sequence[View]
    predict: Source
    label: Label | Any  # None becomes a label that never comes
    model: Any
    inputs: Sequence[str] = ()
    alarms_per_year: float = 1.0
    guard: bool | Literal["hold"] = True
    experts: int = 6
    cooldown: str = "1d"
    approval: bool = False
    retrain: Sequence[Trigger] = DEFAULT
    retrain_window: str | None = None
    task: Kind | None = None
    alert_share: float = 0.01
    interval: float | None = None
    calibrate: bool = False
    challengers: Mapping[str, Any] = field(default_factory=dict)
    race_cpu: float = 1.0
    segments: Sequence[str] = ()
    quality: bool | Quality = True
    monitors: Sequence[Any] = ()
    serving: Serving = Serving()
    shard_by: str | None = None
    shards: int = 1
    output_format: Literal["json", "avro"] = "json"
    _digest: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = f"Pipeline {self.name!r}"
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise DefinitionError(
                f"{where}: a name starts with a letter and holds letters, digits, '_' and '-'"
            )
        if self.label is None and isinstance(self.predict, Source):
            object.__setattr__(self, "label", none_from(self.predict))
        self._check_types(where)
        names = [view.name for view in self.views]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DefinitionError(f"{where}: two views are named {twice!r}")
        if len(set(self.inputs)) != len(self.inputs):
            raise DefinitionError(f"{where}: an input is listed twice")
        if not self.inputs and not self.views:
            raise DefinitionError(f"{where}: nothing to learn from: give inputs or views")
        try:
            _ = self.kind
        except ValueError as error:
            raise DefinitionError(f"{where}: {error}") from None
        self._check_label(where)
        self._check_leaks(where)
        retrain = checked(self.retrain, self.retrain_window, where, labelled=self.labelled)
        object.__setattr__(self, "retrain", retrain)
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
        checks.check_challengers(where, self.challengers, self.race_cpu, self.kind, self.task)
        _ = checked_quality(self.quality, where)
        checks.check_uncertainty(where, self.interval, self.calibrate, self.kind)
        label = self.label if self.labelled else None
        checks.check_shards(
            where, self.shard_by, self.shards, self.predict, label, self.views, self.challengers
        )
        answers = set(self.label.fields) if self._labels_itself else set()
        checks.check_segments(where, self.segments, answers, (self.predict.id, self.predict.time))
        found = checked_monitors(self.monitors, where, self.vector_names, self.kind)
        object.__setattr__(self, "monitors", found)
        if self.output_format not in ("json", "avro"):
            raise DefinitionError(
                f'{where}: output_format must be "json" or "avro", not {self.output_format!r}'
            )
        if isinstance(self.alert_share, bool) or not 0 < self.alert_share <= 0.5:
            raise DefinitionError(
                f"{where}: alert_share must be above 0 and at most 0.5, not {self.alert_share!r}"
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
        if not isinstance(self.serving, Serving):
            raise DefinitionError(f"{where}: serving must be a Serving, not {_kind(self.serving)}")
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

    def _check_label(self, where: str) -> None:
        """The label says what the model learns, absent or not."""
        if isinstance(self.label.outcome, Happened) and self.target_kind == "number":
            raise DefinitionError(
                f"{where}: the model learns numbers, and the label only says that something happened: name the field that "
                "has the number, such as Label(readings, 'temperature', key='sensor', ...)"
            )
        try:
            target_of(self.label.absent, self.target_kind)
        except ValueError:
            raise DefinitionError(
                f"{where}: the label's absent={self.label.absent!r} is nothing that the model learns; "
                f"it must be {TAKEN[self.target_kind]} (None drops a sample without a label)"
            ) from None

    def _check_leaks(self, where: str) -> None:
        if not self.labelled:
            return
        labelled, same = set(self.label.fields), self._labels_itself
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
    def _labels_itself(self) -> bool:
        """Whether an event has its own label. By key a label is a later event: a field of the event itself tells nothing."""
        same = self.label.source.name == self.predict.name and not self.label.key_fields
        return self.labelled and same

    @property
    def carried(self) -> list[str]:
        """The segment fields that are no inputs: samples carry their values beside the vector."""
        return [name for name in self.segments if name not in self.inputs]

    @cached_property
    def kind(self) -> Kind:
        """The task: as the model's kind tells it, or `task` where that leaves a choice."""
        return kind_of(self.model, task=self.task, labelled=self.labelled)

    @property
    def labelled(self) -> bool:
        """Whether labels come; False with `label=None`."""
        return self.label.outcome is not no_label

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
    def target_kind(self) -> TargetKind:
        """What a label of this pipeline is, as its task says."""
        return TARGETS[self.kind]

    @property
    def label_rule(self) -> LabelRule:
        """How samples and labels find each other; `absent` is what the model learns."""
        rule = self.label.rule
        return rule._replace(absent=target_of(rule.absent, self.target_kind))

    @property
    def asked_quality(self) -> Quality:
        """What `quality` says, with True and False written out."""
        return checked_quality(self.quality, f"Pipeline {self.name!r}")

    @property
    def cooldown_ms(self) -> int:
        """The least event time between two unattended retrains, in ms."""
        return milliseconds(self.cooldown)

    def describe(self) -> dict[str, Any]:
        """The definition as plain data: what the recipe digest covers."""
        return {
            "name": self.name,
            "sources": [source.describe() for source in self.sources],
            "predict": self.predict.name,
            "inputs": list(self.inputs),
            "views": [view.describe() for view in self.views],
            "label": {**self.label.describe(), "target": self.target_kind, "absent": self.label_rule.absent},
            "model": model_text(self.model),
            **({} if self.kind == "binary" else {"task": self.kind}),
            **({"segments": list(self.segments)} if self.segments else {}),
            **({"shards": [self.shard_by, self.shards]} if self.shards > 1 else {}),
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
