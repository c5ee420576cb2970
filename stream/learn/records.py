"""What the fold remembers of a sample, what it counts, and what it hands to its shell.

Laws of this file:
- Plain records without behaviour: the fold decides, the shell writes.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import river

from penstock.stream.definitions import Pipeline
from penstock.stream.history_record import HistoryRecord
from penstock.stream.learn.expert import Answer
from penstock.stream.learn.join import JoinCounts
from penstock.stream.learn.uncertainty import Issued
from penstock.stream.messages import LiveModel, Value
from penstock.stream.model_text import model_text
from penstock.stream.models.version import RULE, Version
from penstock.stream.quality import Quality


@dataclass
class Hold:
    """Learning is paused: since which sample, why, and whether a guard did it."""

    since_position: int
    since_at: int
    why: str
    by_guard: bool


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A sample that waits for its label: its vector, and what was predicted when it arrived.

    `p` is the live prediction, `base` the base predictor's, `answer` what every expert said (see `tasks`). `outside` names the
    inputs whose values lay far outside what was learned. `number` counts samples. `issued` says how sure the prediction is.
    `segments` are the values of the definition's segment fields.
    """

    x: dict[str, Any]
    at: int
    position: int
    number: int
    p: Any
    base: Any
    answer: Answer
    outside: tuple[str, ...] = ()
    issued: Issued | None = None
    segments: tuple[Value, ...] = ()

    def heard(self, p: float, base: float, answer: Answer) -> Pending:
        """The same sample with likelihoods of its label in the place of what was said."""
        return Pending(
            self.x, self.at, self.position, self.number, p, base, answer, self.outside, None, self.segments
        )

    @property
    def asked(self) -> tuple[int, ...]:
        """The numbers of the experts that were asked."""
        return self.answer.asked

    @property
    def said(self) -> tuple[Any, ...]:
        """Their answers, in the same order."""
        return self.answer.said


Traced = tuple[int, Any, Any, Any, int]
"""One joined label: the sample's time (ms), the label, what was predicted live and by the base predictor, its position."""


class Predicted(msgspec.Struct, frozen=True, gc=False):
    """One prediction to publish; `p` is the answer, as the task has it."""

    id: str
    key: str
    at: int
    p: Any
    version: str
    weight: float
    position: int
    issued: Issued | None = None


class Replay(NamedTuple):
    """What a command needs from outside before it can be stepped.

    `version`'s model from the store, trained on [learn_from, the command) with the join read from `join_from` and quarantined
    intervals left out; with `join_from` negative, as it was stored.
    """

    version: str | None
    join_from: int
    learn_from: int


class Job(NamedTuple):
    """A retrain under way: it trains on [start, stop), `stop` being where its command stands, without the intervals of `skip`.

    `by` is who asked for it. Samples older than `since_at` (event time, ms) teach nothing either.
    """

    start: int
    stop: int
    skip: list[tuple[int, int]]
    by: str = RULE
    since_at: int = 0


class Commit(NamedTuple):
    """The last commitment: of which version, who asked for it and why, and when (event time in ms, and offset)."""

    version: str
    by: str
    why: str
    at: int
    position: int


class Unusable(NamedTuple):
    """In the place of a prepared model: why it cannot be had. The command that needs it is refused with that."""

    why: str


@dataclass
class FoldCounts(JoinCounts):
    """Everything that became of samples and labels.

    `absent` counts samples that took the label of those without one, `corrected` those of them whose label came afterwards.
    """

    samples: int = 0
    labels: int = 0
    joined: int = 0
    learned: int = 0
    held_back: int = 0
    expired: int = 0
    absent: int = 0
    corrected: int = 0
    repeats: int = 0
    failed: int = 0
    unreadable: int = 0
    asked: int = 0
    taught: int = 0
    leads: int = 0
    live_loss: float = 0.0
    base_loss: float = 0.0


@dataclass
class Outputs:
    """What one or more steps produced, in order, for the shell to write."""

    predictions: list[Predicted] = field(default_factory=list)
    versions: list[tuple[Version, bytes]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    live: list[LiveModel] = field(default_factory=list)
    history: list[HistoryRecord] = field(default_factory=list)


LAYOUT = 11  # raise with every change to what a snapshot holds: older ones are then folded anew, not misread


def rules(pipeline: Pipeline, *, guard: bool) -> str:
    """What decides beside the recipe: a fold goes on only under the rules it began with."""
    how = {True: "on", False: "off", "hold": "hold"}[pipeline.guard if guard else False]
    race = "; ".join(f"{name}: {model_text(model)}" for name, model in pipeline.challengers.items())
    monitors = "; ".join(one.described() for one in pipeline.monitors)
    return (
        f"fold {LAYOUT}, guard {how}, {pipeline.experts} experts, {pipeline.alarms_per_year:g} alarms a year"
        f"{', approval' if pipeline.approval else ''}"
        f"{f', sets that hold {pipeline.interval:g}' if pipeline.interval else ''}"
        f"{', calibrated' if pipeline.calibrate else ''}"
        f"{f', alerts {pipeline.alert_share:g}' if pipeline.kind == 'unlabelled' else ''}"
        f"{'' if pipeline.asked_quality == Quality() else ', quality ' + pipeline.asked_quality.text}"
        f"{', challengers ' + hashlib.sha256(race.encode()).hexdigest()[:6] if race else ''}"
        f"{', monitors ' + hashlib.sha256(monitors.encode()).hexdigest()[:6] if monitors else ''}"
    )


def lineage(pipeline: Pipeline, *, guard: bool, topic_id: str, start: int) -> str:
    """Six hex digits that name one fold: which log it reads from where, under which recipe and rules, and on what.

    They end the ids of its versions (`v3.1f0c2a`). Whoever folds the same log in the same way gets the same ids and models; after
    a reset, under other rules or libraries, or where the log's start is gone, the third version is another model with another id.
    """
    said = (
        topic_id,
        start,
        pipeline.digest,
        rules(pipeline, guard=guard),
        platform.python_version(),
        river.__version__,
    )
    return hashlib.sha256("\x1f".join(map(str, said)).encode()).hexdigest()[:6]
