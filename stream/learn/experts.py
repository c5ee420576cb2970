"""The experts of a fold: everything that could be live, what each says of a sample, and who leads.

Laws of this file:
- The base rate and the first model are never left out: the promise "never worse than doing nothing" is made against the first.
- A sample is answered by every expert when it arrives; its label charges each with that answer and no other.
- The careful expert is a copy that leaves out values far outside what was learned. It begins with half of the weight of the one
  it is a copy of: on all other records the two say the same, so that costs nothing, and it is there before the first label.
- What an expert of little weight would say is asked for at one sample in four, chosen by the sample's number.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from penstock.monitors.losses.drift import log_loss
from penstock.stream.learn import pool, weighing
from penstock.stream.learn.expert import Answer, Expert, Kind
from penstock.stream.learn.gate import SHARE, Gate, shared, slowed
from penstock.stream.learn.tasks.binary import Binary
from penstock.stream.learn.tasks.task import Task

LEADS_AT = 0.95
THIN_WEIGHT = 0.003
"""Below this weight an expert is asked at one sample in four, unless it is the first, the leader or the committed one."""
THIN_AFTER_LABELS = 300
"""Nobody is asked less often so soon after its birth, or after a suspicion."""
BASE_WEIGHT = 0.01
"""What the base rate begins with: where labels come so late that all models are out of date, it is what saves the prediction."""
_NONE: tuple[bool, ...] = ()
DELAY_RATE = 0.01


class Experts:
    """All experts of one fold, the base rate first. `most` bounds the models beside the first and the careful one.

    `previous` is the version that was committed before `committed` is; empty where none was.
    """

    def __init__(self, model: Any, version: str, most: int, task: Task | None = None) -> None:
        self.most = most
        self.task: Task = Binary() if task is None else task
        self.binary = self.task.kind == "binary"
        self.all: list[Expert] = []
        self.gate = Gate()
        self.numbers: tuple[int, ...] = ()
        self.born = 0
        self.delay: float | None = None
        self.outside_labels, self.outside_gap = 0, 0.0
        self.silent = self.dull = False
        self.asked = 0
        self.judged, self.live_loss = 0, 0.0
        self.losses: list[float] = []
        self.thin: tuple[bool, ...] = ()
        self.outside_at = self.suspected = 0
        self.leader_weight = 1.0
        self.add("base", None, "base", (0, 0, 0))
        self.first = self.add("first", model, version, (0, 0, 0))
        self.leader = self.committed = self.rival = self.first
        self.previous = ""
        self.gate.give(1, 1.0 - BASE_WEIGHT)

    # -- who there is ------------------------------------------------------------------------------------------------------

    @property
    def models(self) -> list[Expert]:
        """All but the base rate."""
        return self.all[1:]

    @property
    def careful(self) -> Expert | None:
        """The one that leaves out values far outside what was learned, if there is one now."""
        return next((one for one in self.all if one.kind == "careful"), None)

    def find(self, version: str) -> Expert | None:
        """A model by its version."""
        return next((one for one in self.models if one.version == version), None)

    def best_learner(self) -> Expert:
        """The learning model with most of the weight."""
        weights = self.gate.totals()
        place = max((i for i, one in enumerate(self.all) if one.learns), key=weights.__getitem__)
        return self.all[place]

    def weights(self) -> dict[str, float]:
        """The weight of every expert, by version."""
        return {one.version: weight for one, weight in zip(self.all, self.gate.totals(), strict=True)}

    def add(
        self,
        kind: Kind,
        model: Any,
        version: str,
        born: tuple[int, int, int],
        *,
        of: Expert | None = None,
        halved: bool = False,
    ) -> Expert:
        """One more expert, with the share's weight, or with half of the weight of the one it is a copy `of`."""
        expert = Expert(self.born, version, kind, model, born, of.version if of is not None else None)
        expert.judged_before, expert.live_before = self.judged, self.live_loss
        expert.live_then = self.live_loss
        expert.base_before = self.losses[0] if self.losses else 0.0
        if of is not None:
            expert.learned_from = of.learned_from
        self.born += 1
        if halved and of is not None:
            self.gate.split(self.all.index(of))
        else:
            self.gate.add()
        self.all.append(expert)
        self.losses.append(0.0)
        self._renumber()
        return expert

    def remove(self, expert: Expert) -> None:
        """It is gone; who leads is chosen again if it did."""
        place = self.all.index(expert)
        del self.all[place], self.losses[place]
        self.gate.remove(place)
        self._renumber()
        if self.leader is expert:
            self.leader = self.heaviest()
        if self.committed is expert:
            self.commit(self.leader)
        if self.rival is expert:
            self.rival = self.leader

    def commit(self, expert: Expert) -> None:
        """It is the committed one from here on, and the one that was is remembered."""
        if expert is not self.committed:
            self.previous = self.committed.version
        self.committed = expert

    def give(self, expert: Expert) -> None:
        """A person says so: all weight is this one's, until labels take it away."""
        place = self.all.index(expert)
        self.gate.give(place, 1.0 - SHARE)
        self.leader = expert
        self.commit(expert)
        self.leader_weight = 1.0

    def _renumber(self) -> None:
        self.numbers = tuple(one.number for one in self.all)
        self.thin = ()

    def heaviest(self) -> Expert:
        """The model with most of the weight."""
        weights = self.gate.totals()
        return self.all[max(range(1, len(self.all)), key=weights.__getitem__)]

    # -- samples and labels ------------------------------------------------------------------------------------------------

    def ask(self, x: dict[str, Any], base: Any, sample: int, outside: Sequence[str] = ()) -> Answer:
        """What they say of the vector `x`, the `sample`-th, whose values named `outside` lie far outside what was learned."""
        inside = {name: value for name, value in x.items() if name not in outside} if outside else x
        thin = _NONE if outside else self.thin
        asleep = thin if thin and sample * 2_654_435_761 >> 7 & 3 else _NONE
        answers: list[Any] = [base]
        if self.binary:
            self.asked, self.silent = pool.ask(self.all, x, inside, asleep, answers)
        else:
            ask = pool.asking(self.task.said)
            self.asked, self.silent = pool.ask_by(ask, self.all, x, inside, asleep, answers)
        if outside:
            self.outside_at = sample
        mix = self.gate.mix if self.binary else partial(self.task.mix, self.gate)
        return Answer(self.numbers, tuple(answers), mix(answers, base, thin if asleep is _NONE else _NONE))

    def charge(self, answer: Answer, y: bool, delay: int) -> None:
        """Move the weights by one label, which came `delay` samples after its own."""
        late = float(delay) if self.delay is None else self.delay
        self.delay = late = late + DELAY_RATE * (delay - late)
        answers: Sequence[float | None] = answer.said
        if answer.asked != self.numbers:
            own = dict(zip(answer.asked, answer.said, strict=True))
            answers = [own.get(number) for number in self.numbers]
            if answer.mixture.boosted:
                more = dict(zip(answer.asked, answer.mixture.boosted, strict=True))
                answer.mixture.boosted = tuple(more.get(number, False) for number in self.numbers)
        charged, live = self.gate.charge(answers, answer.mixture, y, slowed(late), shared(late))
        weighing.add(self.losses, charged)
        self.judged += 1
        self.live_loss += live

    def outside(self, answer: Answer, y: bool, live: float) -> bool:
        """Charge the careful one with a record that has values outside their range, beside `live`; whether it said something."""
        careful = self.careful
        said = answer.of(careful) if careful is not None else None
        if said is None:
            return False
        self.outside_labels += 1
        self.outside_gap += log_loss(said, y) - live
        return True

    def teach(self, x: dict[str, Any], y: Any, outside: Collection[str] = ()) -> int:
        """One label for every model that learns; how many learned it."""
        inside = {name: value for name, value in x.items() if name not in outside} if outside else x
        if self.binary:
            taught, self.dull = pool.teach(self.all, x, inside, y)
        else:
            taught, self.dull = pool.teach_by(pool.teaching(self.task.learn), self.all, x, inside, y)
        return taught

    def suspect(self, labels: int) -> None:
        """The leader's loss is suspected to rise: everybody is asked for a while."""
        self.suspected, self.thin = labels, _NONE

    def lead(self, labels: int) -> Expert | None:
        """The expert that takes the lead with this label, if one does.

        Also finds who is asked at few samples from here on, and the rival: the model with most of the weight beside the
        committed one.
        """
        weights = self.gate.totals()
        committed = self.all.index(self.committed)
        rival = place = 0
        most = second = -1.0
        thinner = False
        for here in range(1, len(weights)):
            weight = weights[here]
            if weight > most:
                most, place = weight, here
            if weight > second and here != committed:
                second, rival = weight, here
            thinner = thinner or weight < THIN_WEIGHT
        if rival:
            self.rival = self.all[rival]
        self.thin = _NONE
        if thinner and labels - self.suspected >= THIN_AFTER_LABELS:
            self._thin_out(weights, labels - THIN_AFTER_LABELS)
        top = self.all[place]
        if top is self.leader:
            self.leader_weight = weights[place]
            return None
        if weights[place] <= LEADS_AT:
            self.leader_weight = weights[self.all.index(self.leader)]
            return None
        self.leader, self.leader_weight = top, weights[place]
        return top

    def _thin_out(self, weights: Sequence[float], young: int) -> None:
        """Those of little weight are asked at few samples, but for the first, the leader, the committed one and the young."""
        kept = (self.first, self.leader, self.committed)
        thin = [False] * len(weights)
        for place in range(1, len(weights)):
            if weights[place] < THIN_WEIGHT:
                one = self.all[place]
                thin[place] = one.born <= young and one not in kept
        if True in thin:
            self.thin = tuple(thin)
