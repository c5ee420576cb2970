"""The fold: predict at the sample, learn at the label. Folding the samples log again gives the same model.

Laws of this file:
- State is a function of the log alone: no clock, no client, no randomness. Event time comes from the records and ticks.
- Every expert answers a sample when it arrives; the live prediction is their weighted mean, and labels move the weights (`gate`).
- What else changes a model stands in the log: a label, or a `Command`. Only births and departures of experts are decided here, by
  rule (`births`, `health`), and a hold by a guard where the definition asks for it.
- Repeats (after a crash upstream) are recognised by origin, repeated commands by id.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from penstock.monitors.losses.drift import log_loss
from penstock.stream.learn import births, commands, health, recording
from penstock.stream.learn.events import Request
from penstock.stream.learn.join import Settled
from penstock.stream.learn.learner import vector
from penstock.stream.learn.records import Pending, Predicted, Replay
from penstock.stream.learn.state import REMEMBERED_COMMANDS, FoldState
from penstock.stream.messages import Command, Entry, LabelRecord, Recipe, Sample, Tick

JUDGED_LABELS = 25
"""Whether another model is to be committed is looked at once for so many labels, while the committed one is found worse."""
LEADS = 0.8
"""Another model is asked for only while it has at least so much of all weight. It need not have taken the lead: copies of one
another share what is theirs, and may take thousands of labels until one of them leads."""


class Fold(FoldState):
    """One pipeline's experts and everything that watches them.

    `step(position, entry, prepared)` folds one log record. A command that needs a model made outside says so through
    `needs(command)`; its result is then `prepared`. With `actions` off there is the first model alone, as if nobody watched it.
    """

    def step(self, position: int, entry: Entry, prepared: Any = None) -> None:
        """Fold the record at `position`; `prepared` is the model that `needs(entry)` asked for."""
        if type(entry) is Sample:  # what is no Sample takes `isinstance` a tenth of a microsecond
            self._sample(position, entry)
        elif type(entry) is LabelRecord:
            self._label(position, entry)
        elif isinstance(entry, Tick):
            self._tick(position, entry)
        elif isinstance(entry, Command):
            self._command(position, entry, prepared)
        else:
            assert isinstance(entry, Recipe), f"the record at {position} is none of the samples log"
            self._recipe(position, entry)
        self.position = position + 1

    def _sample(self, position: int, sample: Sample) -> None:
        counts, now = self.counts, self.recipes.now
        names = now.names
        if not now.reads(sample):  # it came late, from a former recipe's worker
            counts.unreadable += 1
            return
        if self.seen.is_repeat(sample.origin):
            counts.repeats += 1
            return
        if names is None:
            counts.unreadable += 1
            return
        at = sample.at
        if at > self.at:
            if at >= self.history.hour_over:
                recording.hour_over(self, position, at)
            self.at = at
        counts.samples += 1
        x = vector(names, sample.x)
        drift, experts, task, acting = self.drift, self.experts, self.task, self.acting
        outside: tuple[str, ...] = ()
        if acting:
            outside = drift.guards(at, position, sample)
            if drift.fired or drift.hold_over:
                self._guarded(position, at)
            if outside and experts.careful is None and self.pipeline.guard is True and not task.at_once:
                births.fork(self, position, at, outside)
        answer = experts.ask(x, self.base, counts.samples, outside)
        counts.asked += experts.asked
        if experts.silent or drift.failing:
            health.at_sample(self, position, at, x, answer)
        else:
            self.answered = x
        p, live, weight = answer.mixture.p, experts.leader, experts.leader_weight
        if (self.alone or self.pinned) and not task.at_once:
            live = experts.committed
            own = answer.of(live)
            p, weight = (p, 0.0) if own is None else (own, 1.0)
        self.chain = blake2b(self.chain + task.packed(position, p), digest_size=16).digest()
        issued = None if self.uncertainty is None else self.uncertainty.issue(p)
        self.outputs.predictions.append(
            Predicted(sample.id, sample.key, at, p, live.version, weight, position, issued)
        )
        waits = Pending(x, at, position, counts.samples, p, self.base, answer, outside, issued, drift.values)
        if acting:
            drift.sample(at, position, sample, task.watched(p))
        if task.at_once:
            self._learn_at_once(position, at, waits)
            return
        for settled in self.join.sample(sample.id, waits, sample.label_key):
            self._settle(position, settled)

    def _guarded(self, position: int, at: int) -> None:
        """A guard fired at this record, or what it held learning for is over."""
        if self.drift.fired:
            self.drift.fired = False
            self.experts.outside_labels, self.experts.outside_gap = 0, 0.0
            if not self.task.at_once:
                kept = births.freeze(self, position, at).version
                self.drift.did(f"{kept}, the leading model as it was, was kept", at, position)
                births.leave(self)
        if self.drift.hold_over:
            self.release(position)

    def _learn_at_once(self, position: int, at: int, waits: Pending) -> None:
        """Without labels the sample itself teaches, and the level of its score is watched."""
        if self.drift.hold is not None and self.acting:
            self.counts.held_back += 1
            return
        if self.acting:
            self.drift.scored(at, position, self.task.watched(waits.p))
        self._learn(position, at, waits, None)

    def _label(self, position: int, label: LabelRecord) -> None:
        counts, fits = self.counts, self.task.knows(label.y)
        if fits and self.seen.is_repeat(label.origin):
            counts.repeats += 1
            return
        if not fits or self.recipes.now.names is None:
            counts.unreadable += 1
            return
        if label.at > self.at:
            if label.at >= self.history.hour_over:
                recording.hour_over(self, position, label.at)
            self.at = label.at
        counts.labels += 1
        self.drift.arrived(position, label)
        for settled in self.join.label(position, label):
            self._settle(position, settled)

    def _settle(self, position: int, settled: Settled) -> None:
        """A sample has its label, or never will, or has another than the `absent` it took."""
        waits, y, at, how = settled
        counts = self.counts
        if y is None:
            counts.expired += 1
        elif how != "corrected":
            counts.absent += how == "absent"
            self._join(position, max(at, waits.at), waits, y)
            if counts.joined == self.history.block_over:
                recording.block_over(self, position)
        # The models were charged by what was known then, and are not again: the true label is learned, and no more.
        elif not (self.acting and (self.drift.hold is not None or self.is_quarantined(waits.position))):
            counts.corrected += 1
            self._learn(position, at, waits, y)

    def _join(self, position: int, at: int, waits: Pending, label: Any) -> None:
        """Charge every expert with what it said of this sample, then let those learn that do."""
        counts, drift, experts = self.counts, self.drift, self.experts
        counts.joined += 1
        if self.trace is not None:
            self.trace.append((waits.at, label, waits.p, waits.base, waits.position))
        if self.history.said is not None:
            self.history.said.append((waits.p, label))
        if self.uncertainty is not None and waits.issued is not None:
            self.uncertainty.label(waits.p, waits.issued, label)
        joined = waits
        waits, y = (waits, label) if experts.binary else self.task.heard(waits, label)
        live, base = log_loss(waits.p, y), log_loss(waits.base, y)
        counts.live_loss += live
        counts.base_loss += base
        if not self.acting:
            self._learn(position, at, waits, label)
            return
        if drift.hold is not None or (self.quarantined and self.is_quarantined(waits.position)):
            counts.held_back += 1
            return
        answer = waits.answer
        experts.charge(answer, y, counts.samples - waits.number)
        said = answer.of(experts.leader)
        leader = None if said is None else log_loss(said, y)
        # what was predicted while another model was put in place by hand says nothing about this one
        if waits.position >= self.replaced_at:
            drift.label(at, position, live, base, self._rivals(waits, y, live, leader))
            drift.judged(at, position, joined, label, live, base)
            if drift.lead is not None and drift.labels % JUDGED_LABELS == 0:
                self._commits(at, position)
        if waits.outside and drift.guard is not None and drift.guard.firing:
            if experts.outside(answer, y, live):
                drift.moved(at, position, experts.outside_labels, experts.outside_gap)
        rose = self.suspicion.rose(live if leader is None else leader)
        self._learn(position, at, waits, label)
        births.at_label(self, position, at, rose)
        if counts.learned >= self.triggers.labels_due:
            self._asked(self.triggers.counted(position, at, drift.models))

    def _rivals(
        self, waits: Pending, y: bool, live: float, leader: float | None
    ) -> tuple[float, float] | None:
        """What the committed model and all together lost by a label, None where the committed one said nothing."""
        experts, answer = self.experts, waits.answer
        committed = leader
        if experts.committed is not experts.leader:
            said = answer.of(experts.committed)
            committed = None if said is None else log_loss(said, y)
        if committed is None:
            return None
        together = answer.mixture.p
        return committed, live if together == waits.p else log_loss(together, y)

    def _commits(self, at: int, position: int) -> None:
        """The committed model is worse than all together: once another by itself is better, too, ask that it be committed.

        A pin only keeps it from being asked for: whether the other lasts is looked at all the while.
        """
        one, experts = self.experts.rival, self.experts
        lost = {each.number: loss for each, loss in zip(experts.all, experts.losses, strict=True)}
        deserved = self.drift.deserves(one, experts.committed, lost)
        weight = experts.weights()[one.version]
        if self.pinned or one is experts.committed or weight < LEADS or not deserved:
            return
        if one.learns:  # a frozen one is kept already
            why = f"as it was when it was asked to be committed in place of {experts.committed.version}"
            self.keep(one, "copy", why)
        self.drift.ask(one, weight, at, position)

    def _learn(self, position: int, at: int, waits: Pending, y: Any) -> None:
        counts, experts = self.counts, self.experts
        taught = experts.teach(waits.x, y, waits.outside)
        counts.taught += taught
        if experts.dull:
            health.at_label(self, position, at, waits.x, y, taught)
        self.base = self.task.follow(self.base, y)
        counts.learned += 1

    def _tick(self, position: int, tick: Tick) -> None:
        """Move the clock to the least of the non-idle sources: what is settled by that, and what waited too long."""
        for settled in self.join.tick(tick):
            self._settle(position, settled)
        if self.acting:  # another definition's samples are not heard: silence would be told of
            self.drift.tick(self.join.clock, position, tick.look)
        if self.actions:
            triggers, models = self.triggers, self.drift.models
            self._asked(triggers.tick(position, self.join.clock, self.at, models, acting=self.acting))

    def _asked(self, requests: list[Request]) -> None:
        """Triggers that count have fired: say so, and when they are due next."""
        self.drift.requests += requests
        for request in requests:
            self.publish(self.why, request.event.data.reason)

    def _recipe(self, position: int, recipe: Recipe) -> None:
        """Another lineage may begin. Under another definition's, this fold only predicts and learns what it can read."""
        returns = self.recipes.begin(position, recipe, self.pipeline)
        self.join.recipe(recipe)
        self.acting = self.actions and not self.recipes.foreign
        if returns:
            self.replaced_at = position
            renamed = {one: one.version for one in self.experts.models}
            for one in renamed:
                one.version = self.new_id()
            ids = {before: one.version for one, before in renamed.items()}
            self.experts.previous = ids.get(self.experts.previous, self.experts.previous)
            self.commit = self.commit._replace(version=self.experts.committed.version)
            self.name_models()
            self.publish(f"goes on under recipe {self.recipe}, taught by the samples before it")

    # -- commands ---------------------------------------------------------------------------------------------------------

    def needs(self, entry: Entry) -> Replay | None:
        """The model this command needs from outside before `step`; None for everything else, and for what will be refused."""
        known = isinstance(entry, Command) and (entry.id in self.applied or entry.id in self.refused)
        if not isinstance(entry, Command) or not self.acting or known or self.drift.answers(entry):
            return None
        return commands.needs(self, entry)

    def _command(self, position: int, command: Command, prepared: Any) -> None:
        if not self.acting or command.id in self.applied or command.id in self.refused:
            return
        self.chain = blake2b(self.chain + command.id.encode(), digest_size=16).digest()
        refusal = self.drift.answers(command) or commands.VERBS[command.verb](
            self, position, command, prepared
        )
        if refusal:
            self.refused[command.id] = refusal
            while len(self.refused) > REMEMBERED_COMMANDS:
                del self.refused[next(iter(self.refused))]
            self.publish(self.why, f"{command.verb} refused: {refusal}")
        else:
            self.applied.append(command.id)
            asked = f"{command.reason or 'no reason given'} ({command.by or 'unknown'})"
            replaces, done = command.verb in commands.REPLACING, commands.done(self, command)
            self.drift.carried_out(command, done, self.at, position)
            self.publish(f"{command.verb}: {asked}" if replaces else self.why, f"{done}: {asked}")
