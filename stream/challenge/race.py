"""The race: challengers fold the samples log beside the live model, and those that carry weight ask to take part in it.

Laws of this file:
- Every runner predicts when the sample arrives, and is judged by that when its label comes: never by what it would say later,
  after it has learned its neighbours' labels.
- Runners are weighed as the live experts are (`gate`), the definition's own model among them: nobody is judged by a total that
  never forgets, so who is best may change with the world.
- Nobody is out for good. Who carries little weight stops and waits its turn; when that comes it learns what it missed from the
  log, and runs again.
- A runner's model is what a fresh one becomes by the labels of samples from `start` on: whoever folds that stretch of the log
  gets the same one. Entering the live fold it is named by that stretch, so a replay finds it without any store.
- Which runners run depends on what they cost, so on a clock that is given. What the live fold makes of it stands in its log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.engine import Engine, engine_of, plain
from penstock.stream.learn.expert import Answer
from penstock.stream.learn.gate import Gate, shared, slowed
from penstock.stream.learn.join import Join, Settled
from penstock.stream.learn.joins import join_of
from penstock.stream.learn.learner import Seen, vector
from penstock.stream.learn.records import Pending
from penstock.stream.learn.tasks import task_of
from penstock.stream.messages import Entry, LabelRecord, Recipe, Sample, Tick
from penstock.stream.recipes import RecipeHistory

OWN = ""
"""The name of the definition's own model in the race."""
LOOK_EVERY_LABELS = 500
YOUNG_LABELS = 1_500
"""A runner is not stopped for its weight before it was judged by so many labels."""
SETTLED_LABELS = 8_000
"""After so many labels a runner that is not the heaviest challenger makes room, however much it carries."""
ENTERS_AT = 0.2
"""A challenger asks to take part in the live fold once it carries so much of the race's weight."""
ASKS_AGAIN_LABELS = 4_000
LIGHT = 0.25
"""A runner may be stopped for one that waits when it carries less than this part of an even share."""
TIMED_EVERY = 32
"""One call in so many is timed, so that the clock costs nothing."""
DELAY_RATE = 0.01


class Runner:
    """One model in the race. `start` is the record its learning begins at; `say_s` and `learn_s` are CPU seconds a call."""

    __slots__ = ("asked", "engine", "judged", "labels", "learn_s", "loss", "name", "number", "say_s", "start")

    def __init__(self, name: str, model: Any, start: int) -> None:
        self.name, self.model, self.start = name, model, start
        self.number = self.labels = self.judged = 0
        self.loss = self.say_s = self.learn_s = 0.0
        self.asked = -ASKS_AGAIN_LABELS

    @property
    def model(self) -> Any:
        """River's model, as it is now."""
        return self.engine.model

    @model.setter
    def model(self, model: Any) -> None:
        self.engine: Engine = engine_of(model)

    @property
    def cost_s(self) -> float:
        """CPU seconds that a sample and its label take, as measured."""
        return self.say_s + self.learn_s


class Standing(NamedTuple):
    """One challenger, for people. `loss` is the mean in nats over the labels it was judged by, None before the first."""

    name: str
    runs: bool
    weight: float
    judged: int
    loss: float | None
    cost_us: float


class Race:
    """The definition's own model and its challengers, side by side. `clock` gives CPU seconds."""

    def __init__(
        self, pipeline: Pipeline, challengers: Mapping[str, Any], clock: Callable[[], float]
    ) -> None:
        self.pipeline, self.challengers, self.clock = pipeline, dict(challengers), clock
        self.recipes = RecipeHistory(pipeline.digest, pipeline.vector_names)
        self.seen = Seen()
        self.join: Join[Pending] = join_of(pipeline.label_rule)
        self.task = task_of(pipeline)
        self.gate, self.born = Gate(), 0
        self.gate.add()  # the base rate
        self.runners: list[Runner] = []
        self.waiting = list(self.challengers)
        self.costs: dict[str, tuple[float, float]] = {}
        self.base, self.delay = self.task.first_base, 0.0
        self.samples = self.labels = self.position = 0
        self.loss = 0.0
        self.enter(Runner(OWN, self.task.fresh(pipeline.model), 0))

    # -- who runs ----------------------------------------------------------------------------------------------------------

    def enter(self, runner: Runner) -> None:
        """Let one run from here on, with an even share of the weight."""
        if runner.name in self.waiting:
            self.waiting.remove(runner.name)
        runner.say_s, runner.learn_s = self.costs.get(runner.name, (0.0, 0.0))
        runner.number, self.born = self.born + 1, self.born + 1
        self.runners.append(runner)
        self.gate.add(1.0 / (len(self.runners) + 1))

    def stop(self, runner: Runner) -> None:
        """Take one out; it waits behind the others for its next turn."""
        place = self.runners.index(runner)
        del self.runners[place]
        self.gate.remove(place + 1)
        self.costs[runner.name] = runner.say_s, runner.learn_s
        self.waiting.append(runner.name)

    def weight(self, runner: Runner) -> float:
        """How much of the race's weight it carries."""
        return self.gate.weight(self.runners.index(runner) + 1)

    def lightest(self, spared: frozenset[str] = frozenset()) -> Runner | None:
        """The challenger to stop for another, if one has run for long enough: it carries little, or is of long standing."""
        even = LIGHT / (len(self.runners) + 1)
        tried = [one for one in self.runners if one.name not in spared | {OWN}]
        heaviest = max(tried, key=self.weight, default=None)
        light = [
            one for one in tried
            if one.judged >= YOUNG_LABELS and self.weight(one) < even
            or one.judged >= SETTLED_LABELS and one is not heaviest
        ]  # fmt: skip
        return min(light, key=self.weight, default=None)

    def looks(self, looked: int) -> bool:
        """Whether it is time to see who runs and who asks, `looked` being the labels when that was last done."""
        return self.labels - looked >= LOOK_EVERY_LABELS

    def asks(self, inside: frozenset[str]) -> Runner | None:
        """The challenger that should take part in the live fold now; `inside` are those that do."""
        found = [
            one for one in self.runners
            if one.name != OWN and one.name not in inside and one.judged >= LOOK_EVERY_LABELS
            and self.labels - one.asked >= ASKS_AGAIN_LABELS and self.weight(one) >= ENTERS_AT
        ]  # fmt: skip
        return max(found, key=self.weight, default=None)

    def fresh(self, name: str) -> Any:
        """A challenger's model that knows nothing."""
        return self.task.fresh(self.challengers[name])

    def joins_from(self, runner: Runner) -> int:
        """The oldest record of its stretch that may still wait for its other half; where it stands if none does."""
        oldest = self.join.oldest()
        return self.position if oldest is None else max(oldest, runner.start)

    def standings(self) -> list[Standing]:
        """Every challenger and the definition's own model: who runs first, heaviest first."""
        running = [
            Standing(
                one.name,
                True,
                self.weight(one),
                one.judged,
                one.loss / one.judged if one.judged else None,
                1e6 * one.cost_s,
            )
            for one in sorted(self.runners, key=self.weight, reverse=True)
        ]
        return running + [
            Standing(name, False, 0.0, 0, None, 1e6 * sum(self.costs.get(name, (0.0, 0.0))))
            for name in self.waiting
        ]

    # -- the log -----------------------------------------------------------------------------------------------------------

    def step(self, position: int, entry: Entry) -> None:
        """Fold the record at `position`."""
        self.position = position + 1
        settled: Sequence[Settled] = ()
        if isinstance(entry, Sample):
            settled = self._sample(position, entry)
        elif isinstance(entry, LabelRecord):
            fits = self.recipes.names is not None and self.task.knows(entry.y)
            if fits and not self.seen.is_repeat(entry.origin):
                settled = self.join.label(position, entry)
        elif isinstance(entry, Tick):
            settled = self.join.tick(entry)
        elif isinstance(entry, Recipe):
            self.recipes.begin(position, entry, self.pipeline)
            self.join.recipe(entry)
        for waits, y, _, how in settled:
            if how != "expired":
                self._settle(waits, y, judges=how != "corrected")

    def _sample(self, position: int, sample: Sample) -> Sequence[Settled]:
        names = self.recipes.names
        if not self.recipes.now.reads(sample) or names is None or self.seen.is_repeat(sample.origin):
            return ()
        self.samples += 1
        x = vector(names, sample.x)
        said, timed = self.task.said, self.samples % TIMED_EVERY == 0
        answers: list[Any] = [self.base]
        for one in self.runners:
            began = self.clock() if timed else 0.0
            answers.append(said(plain(one.engine), x))
            if timed:
                one.say_s = _mean(one.say_s, self.clock() - began)
        mixture = self.task.mix(self.gate, answers, self.base, ())
        asked = (0, *(one.number for one in self.runners))
        answer = Answer(asked, tuple(answers), mixture)
        waits = Pending(x, sample.at, position, self.samples, mixture.p, self.base, answer)
        return self.join.sample(sample.id, waits, sample.label_key)

    def _settle(self, waits: Pending, label: Any, *, judges: bool) -> None:
        """Charge every runner with what it said, then let those learn whose stretch of the log the sample is in."""
        if judges:
            self._judge(waits, label)
        learn, timed = self.task.learn, self.labels % TIMED_EVERY == 0
        for one in self.runners:
            if waits.position < one.start:
                continue
            began = self.clock() if timed else 0.0
            learn(plain(one.engine), waits.x, label)
            if timed:
                one.learn_s = _mean(one.learn_s, self.clock() - began)
            one.labels += 1
        self.base = self.task.follow(self.base, label)

    def _judge(self, waits: Pending, label: Any) -> None:
        self.delay += DELAY_RATE * (self.samples - waits.number - self.delay)
        heard, y = self.task.heard(waits, label)
        own = dict(zip(heard.answer.asked, heard.answer.said, strict=True))
        answers = [own[0], *(own.get(one.number) for one in self.runners)]
        slow, share = slowed(self.delay), shared(self.delay)
        charged, live = self.gate.charge(answers, heard.answer.mixture, y, slow, share)
        self.labels += 1
        self.loss += live
        for one, loss in zip(self.runners, charged[1:], strict=True):
            if own.get(one.number) is not None:
                one.judged += 1
                one.loss += loss


def _mean(mean: float, value: float) -> float:
    """A mean that follows: the first value, then a twentieth of each."""
    return mean + (value - mean) * (0.05 if mean else 1.0)
