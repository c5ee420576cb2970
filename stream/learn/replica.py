"""What the fold would answer to its next sample, for whoever must know before there is one.

Laws of this file:
- A replica never learns: whatever it is asked, and however often, its models and weights stay what they were when it was taken.
- Asked for the vector of the fold's next sample it answers with the same bits, by the same code (`experts`, `tasks`,
  `uncertainty`). One case is left out: where a guard fires at that very sample, the fold first freezes a copy of the leader,
  which then takes part with the share that everybody is given.
- It knows at which position of the samples log it was taken, and what it had learned by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from penstock.stream.learn import births, departures
from penstock.stream.learn.expert import Answer, Expert
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import vector
from penstock.stream.learn.published import prediction_of
from penstock.stream.learn.records import Predicted
from penstock.stream.learn.tasks.task import Task
from penstock.stream.learn.tasks.unlabelled import Unlabelled
from penstock.stream.learn.uncertainty import Uncertainty
from penstock.stream.messages import Value
from penstock.stream.models.digest import digest
from penstock.stream.prediction import ModelRef, Prediction


class Ranges(NamedTuple):
    """What the guard holds a sample's own inputs against: bounds, and which of the inputs are judged by them."""

    low: list[Any]
    high: list[Any]
    judged: list[bool]


class Standing(NamedTuple):
    """What a fold answers with, as it is between two records.

    `alone` says that the committed model predicts alone, `forks` that a value far outside its range makes a model that leaves it
    out. `made` counts the versions that the fold has named. The others are the fold's own.
    """

    experts: Experts
    task: Task
    base: Any
    samples: int
    learned: int
    alone: bool
    forks: bool
    held: bool
    uncertainty: Uncertainty | None
    ranges: Ranges | None
    recipe: str
    position: int
    at: int
    made: int


def standing_of(fold: Fold) -> Standing:
    """The parts of a fold that its next answer depends on; they are the fold's own, not copies."""
    guard, acting = fold.drift.guard, fold.acting
    ranges = None
    if guard is not None and acting and not fold.drift.holds:
        low, high = zip(*guard.bounds().values(), strict=True)
        judged = set(guard.judged)
        ranges = Ranges(list(low), list(high), [name in judged for name in guard.names])
    return Standing(
        fold.experts,
        fold.task,
        fold.base,
        fold.counts.samples,
        fold.counts.learned,
        (fold.alone or fold.pinned) and not fold.task.at_once,
        ranges is not None and fold.pipeline.guard is True and not fold.task.at_once,
        fold.drift.hold is not None,
        fold.uncertainty,
        ranges,
        fold.recipe,
        fold.position,
        fold.at,
        fold.version_count,
    )


class Answered(NamedTuple):
    """The answer to one vector: the prediction as the topic would have it, what each expert said, and who was asked.

    `alone` is the one that predicts alone, if one does; `x` the vector without the missing, `outside` what the careful one is
    not told.
    """

    prediction: Prediction
    answer: Answer
    experts: Experts
    alone: Expert | None
    x: dict[str, Any]
    outside: tuple[str, ...]


class Replica:
    """A fold's standing, taken apart from the fold; `again` gives another copy of its experts, to be changed."""

    def __init__(self, standing: Standing, names: Sequence[str], again: Callable[[], Experts]) -> None:
        self.standing, self.names, self.again = standing, tuple(names), again
        self.forked: Experts | None = None
        task = standing.task
        if isinstance(task, Unlabelled):
            task.still = True

    @property
    def position(self) -> int:
        """The samples-log offset of the next record to fold: all before it has been folded."""
        return self.standing.position

    @property
    def live(self) -> Expert:
        """Whose version answers carry."""
        experts = self.standing.experts
        return experts.committed if self.standing.alone else experts.leader

    @property
    def trained_to(self) -> int:
        """The samples-log offset before which the live model has learned everything; a frozen one learned until it was frozen."""
        live = self.live
        return self.standing.position if live.learns else live.born_position

    def holds(self, version: str) -> bool:
        """Whether the fold had made this version when it was taken: one of its models, or one that it named before."""
        if self.standing.experts.find(version) is not None:
            return True
        number, _, tag = version.removeprefix("v").partition(".")
        own = self.live.version.partition(".")[2]
        known = (
            number.isascii() and number.isdigit() and len(number) <= 18 and int(number) < self.standing.made
        )
        return known and (not own or tag == own)

    def outside(self, values: Sequence[Value]) -> tuple[str, ...]:
        """The inputs whose values lie far outside what was learned of them, as the guard would name them."""
        ranges = self.standing.ranges
        if ranges is None:
            return ()
        found = []
        for name, value, low, high, judged in zip(self.names, values, *ranges, strict=False):
            if not judged or value is None or value != value:
                continue
            if isinstance(value, str) != isinstance(low, str) or not low <= value <= high:
                found.append(name)
        return tuple(found)

    def ask(self, id_: str, at: int, values: Sequence[Value]) -> Answered:
        """The answer to an event with this vector, in the order of the definition's."""
        standing = self.standing
        outside = self.outside(values)
        experts = standing.experts
        if outside and standing.forks and experts.careful is None:
            experts = self._forked()
        x = vector(self.names, values)
        answer = experts.ask(x, standing.base, standing.samples + 1, outside)
        p, live, weight = answer.mixture.p, experts.leader, experts.leader_weight
        if standing.alone:
            live = experts.committed
            own = answer.of(live)
            p, weight = (p, 0.0) if own is None else (own, 1.0)
        issued = None if standing.uncertainty is None else standing.uncertainty.issue(p)
        made = Predicted(id_, "", at, p, live.version, weight, standing.position, issued)
        shown = prediction_of(made, standing.task, standing.uncertainty, standing.recipe)
        return Answered(shown, answer, experts, experts.committed if standing.alone else None, x, outside)

    def ask_model(self, model: Any, values: Sequence[Value]) -> Any:
        """What one model by itself says of a vector, as it would be published; None where it fails."""
        task = self.standing.task
        said = task.said(model, vector(self.names, values))
        return said if said is None or task.at_once else task.shown(said)[0]

    def nobody(self, answered: Answered) -> bool:
        """Whether every model failed at a vector, and only the base predictor answered. Before they learned, that is usual."""
        said, standing = answered.answer.said, self.standing
        knows = standing.samples if standing.task.at_once else standing.learned
        return said.count(None) >= len(said) - 1 and knows > 0

    def shown_by(self, version: str, model: Any, answered: Answered) -> Prediction | None:
        """The prediction as it would be if this model predicted alone; None where it fails."""
        task, live = self.standing.task, answered.prediction
        said = task.said(model, answered.x)
        if said is None:
            return None
        value, *more = (said,) if task.at_once else task.shown(said)
        by = ModelRef(version, 1.0)
        return Prediction(live.id, live.at, value, by, live.recipe, live.position, *more)

    def _forked(self) -> Experts:
        """The experts as they are once a value far outside its range was met: one of them leaves it out."""
        if self.forked is None:
            experts, standing = self.again(), self.standing
            born = (standing.learned, standing.at, standing.position)
            births.careful_copy(experts, f"v{standing.made}", born)
            for one in departures.surplus(experts, standing.learned):
                experts.remove(one)
            self.forked = experts
        return self.forked

    def digest(self) -> str:
        """Of every model and every weight: what answering must not change."""
        experts = self.standing.experts
        return digest(
            [*(one.model for one in experts.models), experts.gate.weights, experts.gate.rate_weights]
        )
