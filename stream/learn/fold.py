"""The fold: predict at the sample, learn at the label. Folding the samples log again gives the same model.

Laws of this file:
- State is a function of the log alone: no clock, no client, no randomness. Event time comes from the records and ticks.
- Every expert answers a sample when it arrives; the live prediction is their weighted mean, and labels move the weights (`gate`).
- What else changes a model stands in the log: a label, or a `Command`. Only births and departures of experts are decided here, by
  rule (`births`, `health`), and a hold by a guard where the definition asks for it.
- Repeats (after a crash upstream) are recognised by origin, repeated commands by id.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from penstock.monitors.losses.drift import log_loss
from penstock.stream.learn import births, commands, health
from penstock.stream.learn.events import Request
from penstock.stream.learn.learner import vector
from penstock.stream.learn.records import Pending, Predicted, Replay
from penstock.stream.learn.state import REMEMBERED_COMMANDS, FoldState
from penstock.stream.messages import Command, Entry, LabelRecord, Origin, Recipe, Sample, Tick

BASE_RATE = 0.002
LEADS = 0.5
"""The leader is asked for only while it has at least so much of all weight."""


class Fold(FoldState):
    """One pipeline's experts and everything that watches them.

    `step(position, entry, prepared)` folds one log record. A command that needs a model made outside says so through
    `needs(command)`; its result is then `prepared`. With `actions` off there is the first model alone, as if nobody watched it.
    """

    # -- records -----------------------------------------------------------------------------------------------------------

    def step(self, position: int, entry: Entry, prepared: Any = None) -> None:
        """Fold the record at `position`; `prepared` is the model that `needs(entry)` asked for."""
        if isinstance(entry, Sample):
            self._sample(position, entry)
        elif isinstance(entry, LabelRecord):
            self._label(position, entry)
        elif isinstance(entry, Tick):
            self._tick(position, entry)
        elif isinstance(entry, Command):
            self._command(position, entry, prepared)
        else:
            self._recipe(position, entry)
        self.position = position + 1

    def _passes_over(self, origin: Origin, fits: bool = True) -> bool:
        """Whether a record is a repeat, says nothing here, or came late from a former recipe's worker: counted, no more."""
        if fits and self.seen.is_repeat(origin):
            self.counts.repeats += 1
            return True
        passes = self.recipes.names is None or not fits
        self.counts.unreadable += passes
        return passes

    def _sample(self, position: int, sample: Sample) -> None:
        counts, now = self.counts, self.recipes.now
        names = now.names
        if self._passes_over(sample.origin, now.reads(sample)) or names is None:
            return
        counts.samples += 1
        x = vector(names, sample.x)
        at = sample.at
        if at > self.at:
            self.at = at
        drift, experts = self.drift, self.experts
        outside: tuple[str, ...] = ()
        if self.acting:
            outside = drift.guards(at, position, sample.x)
            if drift.fired or drift.hold_over:
                self._guarded(position, at)
            if outside and experts.careful is None and self.pipeline.guard is True:
                births.fork(self, position, at, outside)
        answer = experts.ask(x, self.base, counts.samples, outside)
        counts.asked += len(answer.said) - 1 - answer.said.count(None)
        if experts.silent or drift.failing:
            health.at_sample(self, position, at, x, answer)
        else:
            self.answered = x
        p, live = answer.mixture.p, self.live
        weight = experts.leader_weight
        if self.alone or self.pinned:
            own = dict(zip(answer.asked, answer.said, strict=True)).get(live.number)
            p, weight = (p, 0.0) if own is None else (own, 1.0)
        self.chain = hashlib.blake2b(self.chain + struct.pack("<qd", position, p), digest_size=16).digest()
        self.outputs.predictions.append(
            Predicted(sample.id, sample.key, at, p, live.version, weight, position)
        )
        waits = Pending(x, at, position, counts.samples, p, self.base, answer, outside)
        if self.acting:
            drift.sample(at, position, sample.x, p)
        early = self.join.sample(sample.id, waits)
        if early is not None:
            self._join(position, max(at, early.at), waits, early.y)
        counts.unmatched, counts.duplicate_ids = self.join.unmatched, self.join.duplicate_ids
        counts.dropped = self.join.dropped

    def _guarded(self, position: int, at: int) -> None:
        """A guard fired at this record, or what it held learning for is over."""
        if self.drift.fired:
            self.drift.fired = False
            self.experts.outside_labels, self.experts.outside_gap = 0, 0.0
            births.freeze(self, position, at)
            births.leave(self)
        if self.drift.hold_over:
            self.release(position)

    def _label(self, position: int, label: LabelRecord) -> None:
        counts = self.counts
        if self._passes_over(label.origin):
            return
        counts.labels += 1
        if label.at > self.at:
            self.at = label.at
        waits = self.join.label(label.id, label.at, label.y)
        if waits is not None:
            self._join(position, label.at, waits, label.y)
        counts.unmatched, counts.dropped = self.join.unmatched, self.join.dropped

    def _join(self, position: int, at: int, waits: Pending, y: bool) -> None:
        """Charge every expert with what it said of this sample, then let those learn that do."""
        counts, drift, experts = self.counts, self.drift, self.experts
        counts.joined += 1
        live, base = log_loss(waits.p, y), log_loss(waits.base, y)
        counts.live_loss += live
        counts.base_loss += base
        if self.trace is not None:
            self.trace.append((waits.at, y, waits.p, waits.base, waits.position))
        if not self.acting:
            self._learn(position, at, waits, y)
            return
        if drift.hold is not None or self.is_quarantined(waits.position):
            counts.held_back += 1
            return
        answer = waits.answer
        experts.charge(answer, y, counts.samples - waits.number)
        own = dict(zip(answer.asked, answer.said, strict=True))
        # what was predicted while another model was put in place by hand says nothing about this one
        if waits.position >= self.replaced_at:
            said = own.get(experts.committed.number)
            rivals = None if said is None else (log_loss(said, y), log_loss(answer.mixture.p, y))
            best = own.get(experts.leader.number)
            drift.label(at, position, live, base, rivals, None if best is None else log_loss(best, y))
            if drift.lead is not None and not self.pinned:
                self._commits(at, position)
        if waits.outside and drift.guard is not None and drift.guard.firing:
            self._outside(position, at, own, y, live)
        said = own.get(experts.leader.number)
        rose = self.suspicion.rose(live if said is None else log_loss(said, y))
        self._learn(position, at, waits, y)
        births.at_label(self, position, at, rose)
        if counts.learned >= self.triggers.labels_due:
            self._asked(self.triggers.counted(position, at, drift.models))

    def _outside(self, position: int, at: int, own: dict[int, float | None], y: bool, live: float) -> None:
        """The label of a record with values outside their range, while a guard fires: was it right to leave them out?"""
        experts = self.experts
        said = own.get(experts.careful.number) if experts.careful is not None else None
        if said is not None:
            experts.outside_labels += 1
            experts.outside_gap += log_loss(said, y) - live
            self.drift.moved(at, position, experts.outside_labels, experts.outside_gap)

    def _commits(self, at: int, position: int) -> None:
        """The committed model is worse than all together: once the leader by itself is better, too, ask that it be committed."""
        leader, experts = self.experts.leader, self.experts
        if leader is experts.committed or experts.leader_weight < LEADS or not self.drift.deserves(leader):
            return
        if leader.learns:  # a frozen one is kept already
            why = f"as it was when it was asked to be committed in place of {experts.committed.version}"
            self.keep(leader, "copy", why)
        self.drift.ask(leader, experts.leader_weight, at, position)

    def _learn(self, position: int, at: int, waits: Pending, y: bool) -> None:
        taught = self.experts.teach(waits.x, y, waits.outside)
        self.counts.taught += taught
        if self.experts.dull:
            health.at_label(self, position, at, waits.x, y, taught)
        self.base += BASE_RATE * (y - self.base)
        self.counts.learned += 1

    def _tick(self, position: int, tick: Tick) -> None:
        """Move the clock to the least of the non-idle sources and let expire what waited too long."""
        default = self.pipeline.label.default
        for waits in self.join.tick(tick):
            if default is None:
                self.counts.expired += 1
            else:
                self._join(position, self.join.clock, waits, default)
        self.counts.unmatched = self.join.unmatched
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
            for one in self.experts.models:
                one.version = self.new_id()
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
        self.chain = hashlib.blake2b(self.chain + command.id.encode(), digest_size=16).digest()
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
            replaces = command.verb in commands.REPLACING
            self.publish(
                f"{command.verb}: {asked}" if replaces else self.why,
                f"{commands.done(self, command)}: {asked}",
            )
