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

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.gate import Gate, Mixture, shared, slowed
from penstock.stream.learn.join import Join
from penstock.stream.learn.learner import Seen, learn, said, vector
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
BASE_RATE = 0.002


class Runner:
    """One model in the race. `start` is the record its learning begins at, `cost_s` CPU seconds for a sample and its label."""

    __slots__ = ("asked", "judged", "labels", "learn_s", "loss", "model", "name", "say_s", "start")

    def __init__(self, name: str, model: Any, start: int) -> None:
        self.name, self.model, self.start = name, model, start
        self.labels = self.judged = 0
        self.loss = self.say_s = self.learn_s = 0.0
        self.asked = -ASKS_AGAIN_LABELS

    @property
    def cost_s(self) -> float:
        """CPU seconds that a sample and its label take, as measured."""
        return self.say_s + self.learn_s


class Waits(NamedTuple):
    """A sample that waits for its label: its vector, and what each runner said of it, by name."""

    at: int
    x: dict[str, Any]
    position: int
    number: int
    said: dict[str, float | None]
    base: float
    mixture: Mixture


class Standing(NamedTuple):
    """One challenger, for people. `loss` is the mean over the labels it was judged by, None before the first."""

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
        self.seen, self.join = Seen(), Join[Waits](pipeline.label.wait_ms)
        self.gate = Gate()
        self.gate.add()  # the base rate
        self.runners: list[Runner] = []
        self.waiting = list(self.challengers)
        self.costs: dict[str, tuple[float, float]] = {}
        self.base, self.delay = 0.5, 0.0
        self.samples = self.labels = self.position = 0
        self.early: dict[str, int] = {}
        self.loss = 0.0
        self.enter(Runner(OWN, pipeline.model.clone(), 0))

    # -- who runs ----------------------------------------------------------------------------------------------------------

    def enter(self, runner: Runner) -> None:
        """Let one run from here on, with an even share of the weight."""
        if runner.name in self.waiting:
            self.waiting.remove(runner.name)
        runner.say_s, runner.learn_s = self.costs.get(runner.name, (0.0, 0.0))
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

    def joins_from(self, runner: Runner) -> int:
        """The oldest record of its stretch that still waits for its other half; where it stands now if none does."""
        waiting = [waits.position for waits in self.join.pending.values()]
        waiting += [at for name, at in self.early.items() if name in self.join.early]
        return min((at for at in waiting if at >= runner.start), default=self.position)

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
        if isinstance(entry, Sample):
            self._sample(position, entry)
        elif isinstance(entry, LabelRecord):
            if self.recipes.names is not None and not self.seen.is_repeat(entry.origin):
                waits = self.join.label(entry.id, entry.at, entry.y)
                if waits is not None:
                    self._judge(waits, entry.y)
                elif entry.id in self.join.early:
                    self.early.setdefault(entry.id, position)
        elif isinstance(entry, Tick):
            self.early = {name: at for name, at in self.early.items() if name in self.join.early}
            expired, default = self.join.tick(entry), self.pipeline.label.default
            if default is not None:
                for waits in expired:
                    self._judge(waits, default)
        elif isinstance(entry, Recipe):
            self.recipes.begin(position, entry, self.pipeline)
            self.join.recipe(entry)

    def _sample(self, position: int, sample: Sample) -> None:
        names = self.recipes.names
        if not self.recipes.now.reads(sample) or names is None or self.seen.is_repeat(sample.origin):
            return
        self.samples += 1
        x = vector(names, sample.x)
        timed = self.samples % TIMED_EVERY == 0
        answers: dict[str, float | None] = {}
        for one in self.runners:
            if timed:
                began = self.clock()
                answers[one.name] = said(one.model, x)
                one.say_s = _mean(one.say_s, self.clock() - began)
            else:
                answers[one.name] = said(one.model, x)
        mixture = self.gate.mix([self.base, *answers.values()], self.base)
        waits = Waits(sample.at, x, position, self.samples, answers, self.base, mixture)
        early = self.join.sample(sample.id, waits)
        if early is not None:
            self._judge(waits, early.y)

    def _judge(self, waits: Waits, y: bool) -> None:
        """Charge every runner with what it said, then let those learn whose stretch of the log the sample is in."""
        self.delay += DELAY_RATE * (self.samples - waits.number - self.delay)
        answers = [waits.base, *(waits.said.get(one.name) for one in self.runners)]
        charged, live = self.gate.charge(answers, waits.mixture, y, slowed(self.delay), shared(self.delay))
        self.labels += 1
        self.loss += live
        timed = self.labels % TIMED_EVERY == 0
        for one, loss in zip(self.runners, charged[1:], strict=True):
            if one.name in waits.said:
                one.judged += 1
                one.loss += loss
            if waits.position < one.start:
                continue
            if timed:
                began = self.clock()
                learn(one.model, waits.x, y)
                one.learn_s = _mean(one.learn_s, self.clock() - began)
            else:
                learn(one.model, waits.x, y)
            one.labels += 1
        self.base += BASE_RATE * (y - self.base)


def _mean(mean: float, value: float) -> float:
    """A mean that follows: the first value, then a twentieth of each."""
    return mean + (value - mean) * (0.05 if mean else 1.0)
