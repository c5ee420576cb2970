"""What somebody says of a new pipeline, checked, with a default for everything that is not said.

Laws of this file:
- Pure. An answer that cannot be used is one `BadAnswer` that names the option and says what to give.
- What is not said follows from what is: a name is enough.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from penstock.features.define.durations import milliseconds
from penstock.stream.task_kind import KINDS, Kind

#: What a view may compute, and which arguments it takes: a field, a window.
FEATURES: dict[str, tuple[str, ...]] = {
    "count": ("window",),
    "rate": ("window",),
    "sum": ("field", "window"),
    "mean": ("field", "window"),
    "std": ("field", "window"),
    "min": ("field", "window"),
    "max": ("field", "window"),
    "distinct": ("field", "window"),
    "last": ("field",),
    "since_last": (),
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_STRANGE = re.compile(r"[^A-Za-z0-9]+")


class BadAnswer(ValueError):
    """An answer that cannot be used; the message names the option, and says what to give."""


@dataclass(frozen=True)
class FeatureAsked:
    """One feature of the entities that the field `key` names."""

    key: str
    kind: str
    field: str = ""
    window: str = ""

    @property
    def name(self) -> str:
        """What it is called in its view.

        >>> feature("card:mean:amount paid:1d").name
        'mean_amount_paid_1d'
        """
        return _STRANGE.sub("_", "_".join(filter(None, (self.kind, self.field, self.window)))).strip("_")

    @property
    def call(self) -> str:
        """How a definition writes it."""
        given = ", ".join(quoted(one) for one in (self.field, self.window) if one)
        return f"{self.kind}({given})"


@dataclass(frozen=True)
class Answers:
    """A new pipeline. `label` "" has none; `label_topic` "" has it in the predicted event itself."""

    name: str
    topic: str = ""
    id: str = "id"
    time: str = "at"
    key: str = "entity"
    task: Kind = "binary"
    label: str = "outcome"
    label_topic: str = ""
    label_time: str = ""
    wait: str = "1d"
    inputs: tuple[str, ...] = ("amount",)
    features: tuple[FeatureAsked, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise BadAnswer(
                f"NAME {self.name!r}: a name starts with a letter and holds letters, digits, '_' and '-'"
            )
        if self.task not in KINDS:
            raise BadAnswer(f"--task {self.task!r}: it is one of {', '.join(KINDS)}")
        if self.labelled != bool(self.label):
            raise BadAnswer(
                "--task unlabelled has no --label"
                if self.label
                else f"--task {self.task} needs --label, the field that holds the answer; without answers it is unlabelled"
            )
        for option, value in {"--topic": self.topic, "--label-topic": self.label_topic}.items():
            if value and not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value):
                raise BadAnswer(
                    f"{option} {value!r}: a topic's name holds letters, digits, '.', '_' and '-', at most 249"
                )
        for option, value in {"--id": self.id, "--time": self.time, "--key": self.key}.items():
            if not value:
                raise BadAnswer(f"{option} may not be empty: it names a field of the events")
        self._check_label()
        if self.labelled:
            _duration(self.wait, "--wait")
        if not self.inputs and not self.features:
            raise BadAnswer("there is nothing to learn from: give --inputs or --view")

    def _check_label(self) -> None:
        if self.label_topic and self.label_topic == self.own_topic:
            raise BadAnswer("--label-topic is the topic of the events themselves: leave it out")
        own = self.labelled and not self.label_topic
        reads = {*self.inputs, *(one.field for one in self.features), *(one.key for one in self.features)}
        if own and self.label in reads:
            raise BadAnswer(
                f"--label {self.label} is in the event itself, and an input or a view reads it: the model would read the answer"
            )

    @property
    def labelled(self) -> bool:
        """Whether labels come."""
        return self.task != "unlabelled"

    @property
    def own_topic(self) -> str:
        """The topic of the predicted events."""
        return self.topic or f"{self.name}.events"

    @property
    def own_label_time(self) -> str:
        """The time field of the topic that brings the labels."""
        return self.label_time or self.time

    @property
    def file(self) -> str:
        """The name of the definition file, without its ending."""
        return self.name.replace("-", "_").lower()


def default_features(key: str, inputs: tuple[str, ...]) -> tuple[FeatureAsked, ...]:
    """A few features that say something of nearly every entity: how often, how long ago, and the mean of the first two inputs."""
    found = [FeatureAsked(key, "count", window="1h"), FeatureAsked(key, "count", window="1d")]
    found += [FeatureAsked(key, "mean", field, "7d") for field in inputs[:2]]
    return (*found, FeatureAsked(key, "since_last"))


def feature(text: str) -> FeatureAsked:
    """A feature as people write it: KEY:KIND, then its field and its window where it has them.

    >>> feature("card:count:10m")
    FeatureAsked(key='card', kind='count', field='', window='10m')
    """
    key, _, rest = text.partition(":")
    kind, *given = rest.split(":")
    if kind not in FEATURES or len(given) != len(FEATURES[kind]) or not all([key, *given]):
        ways = ", ".join(
            ":".join(["KEY", name, *(one.upper() for one in takes)]) for name, takes in FEATURES.items()
        )
        raise BadAnswer(f"--view {text!r}: write one of {ways}")
    said = dict(zip(FEATURES[kind], given, strict=True))
    if "window" in said:
        _duration(said["window"], f"--view {text!r}")
    return FeatureAsked(key, kind, said.get("field", ""), said.get("window", ""))


def _duration(text: str, where: str) -> None:
    try:
        milliseconds(text)
    except ValueError as error:
        raise BadAnswer(f"{where}: {error}") from None


def quoted(text: str) -> str:
    """A Python string with double quotes, as definitions are written."""
    return json.dumps(text, ensure_ascii=False)
