"""The fold: predict at the sample, learn at the label. Folding the samples log again gives the same model.

Laws of this file:
- State is a function of the log alone: no clock, no client, no randomness. Event time comes from the records and ticks.
- What changes the model stands in the log: a label, or a `Command`. Only a hold is taken at once, by rule, and reported.
- Every sample is predicted by champion, anchor, probationer, candidate and base rate when it arrives, and judged at its label.
- Repeats (after a crash upstream) are recognised by origin, repeated commands by id.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from penstock.monitors.losses.drift import log_loss
from penstock.stream.learn import commands
from penstock.stream.learn.anchors import Anchor, Frozen, at_level
from penstock.stream.learn.learner import learn, probability, vector
from penstock.stream.learn.records import Pending, Predicted, Replay
from penstock.stream.learn.state import REMEMBERED_COMMANDS, FoldState
from penstock.stream.messages import Command, Entry, LabelRecord, Origin, Recipe, Sample, Tick
from penstock.stream.models.version import dump, restore

BASE_RATE = 0.002
FIRST_PROBATION_LABELS = 2_000
LEAST_LEVEL = 1e-3
LEVEL_FADES = 0.002


class Fold(FoldState):
    """One pipeline's model and everything that watches it.

    `step(position, entry, prepared)` folds one log record. A command that needs a model made outside says so through
    `needs(command)`; its result is then `prepared`. With `actions` off, commands and holds are ignored: what would have happened.
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
        counts, names = self.counts, self.recipes.names
        if self._passes_over(sample.origin, names is None or len(names) == len(sample.x)) or names is None:
            return
        counts.samples += 1
        x = vector(names, sample.x)
        p = probability(self.champion, x)
        if self.level:
            p = at_level(p, self.level)
        at = sample.at
        if at > self.at:
            self.at = at
        self.chain = hashlib.blake2b(self.chain + struct.pack("<qd", position, p), digest_size=16).digest()
        self.outputs.predictions.append(Predicted(sample.id, sample.key, at, p, self.version, position))
        waits = Pending(x, at, position, p, self.base)
        drift = self.drift
        if self.acting:
            anchor, probation, candidate = drift.anchors.current, drift.anchors.probation, self.candidate
            if anchor is not None:
                waits.anchor = (anchor.version, anchor.frozen.predict(x))
            if probation is not None:
                waits.probation = (probation.version, probation.frozen.predict(x))
            if candidate is not None:
                waits.candidate = (candidate.version, candidate.predict(x))
            drift.sample(at, position, sample.x, p)
        early = self.join.sample(sample.id, waits)
        if early is not None:
            self._join(position, max(at, early.at), waits, early.y)
        counts.unmatched, counts.duplicate_ids = self.join.unmatched, self.join.duplicate_ids
        counts.dropped = self.join.dropped

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
        """Judge every prediction of this sample, then learn from it."""
        counts = self.counts
        counts.joined += 1
        champion, base = log_loss(waits.champion, y), log_loss(waits.base, y)
        counts.champion_loss += champion
        counts.base_loss += base
        if self.trace is not None:
            self.trace.append((waits.at, y, waits.champion, waits.base, waits.position))
        if not self.acting:
            self._learn(waits, y)
            return
        drift = self.drift
        if drift.hold is not None or self.is_quarantined(waits.position):
            counts.held_back += 1
            return
        self._judge(position, at, waits, y, champion, base)
        self._learn(waits, y)
        anchors = drift.anchors
        if anchors.probation is None and not drift.is_open and counts.learned >= FIRST_PROBATION_LABELS:
            self._enter_probation(position, at)

    def _learn(self, waits: Pending, y: bool) -> None:
        if not learn(self.champion, waits.x, y):
            self.counts.failed += 1
        self.base += BASE_RATE * (y - self.base)
        self.counts.learned += 1
        if self.level:
            self.level = 0.0 if abs(self.level) < LEAST_LEVEL else self.level * (1.0 - LEVEL_FADES)

    def _judge(self, position: int, at: int, waits: Pending, y: bool, champion: float, base: float) -> None:
        """Hand the paired losses to the drift rules, and let levels and the candidate follow the label."""
        drift, anchors = self.drift, self.drift.anchors
        anchor = probation = None
        current, trying = anchors.current, anchors.probation
        if current is not None and waits.anchor is not None and waits.anchor[0] == current.version:
            anchor = log_loss(waits.anchor[1], y)
            current.frozen.follow(waits.anchor[1], y)
        if trying is not None and waits.probation is not None and waits.probation[0] == trying.version:
            probation = log_loss(waits.probation[1], y)
            trying.frozen.follow(waits.probation[1], y)
        rival = None
        if self.candidate is not None:
            if waits.candidate is not None and waits.candidate[0] == self.candidate.version:
                rival = log_loss(waits.candidate[1], y)
            learn(self.candidate.model, waits.x, y)
        # what another champion predicted says nothing about this one
        if waits.position >= self.champion_since:
            drift.label(at, position, champion, base, anchor, probation, rival)
        if self.candidate is not None and drift.candidate is None:
            self.candidate = None
            self.publish(self.why)
        if self.episode_jobs and not drift.wants_candidate:
            for job in self.episode_jobs:
                self.open_jobs.pop(job, None)
            self.episode_jobs.clear()

    def _tick(self, position: int, tick: Tick) -> None:
        """Move the clock to the least of the non-idle sources and let expire what waited too long."""
        default = self.pipeline.label.default
        for waits in self.join.tick(tick):
            if default is None:
                self.counts.expired += 1
            else:
                self._join(position, self.join.clock, waits, default)
        self.counts.unmatched = self.join.unmatched

    def _recipe(self, position: int, recipe: Recipe) -> None:
        """Another lineage may begin. Under another definition's, this fold only predicts and learns what it can read."""
        returns = self.recipes.begin(position, recipe, self.pipeline)
        self.join.recipe(recipe)
        self.acting = self.actions and not self.recipes.foreign
        if returns:
            self.champion_since, self.version = position, self.new_id()
            self.drift.models = self.drift.models._replace(champion=self.version)
            self.publish(f"goes on under recipe {self.recipe}, taught by the samples before it")

    # -- versions and commands ---------------------------------------------------------------------------------------------

    def _enter_probation(self, position: int, at: int) -> None:
        parent, self.version = self.version, self.new_id()
        payload = dump(self.champion)
        join_from = min((waits.position for waits in self.pending.values()), default=position)
        frozen = Frozen(self.version, restore(payload))
        self.drift.models = self.drift.models._replace(champion=self.version)
        anchor = Anchor(self.version, position + 1, join_from, at, self.counts.learned, payload, frozen)
        self.drift.anchors.enter(anchor)
        self.keep(
            "copy",
            parent,
            anchor,
            f"a copy of the live model, to compare it with after {anchor.labels:,} labels",
        )
        self.publish(self.why)

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
            self.publish(self.why)
        else:
            self.applied.append(command.id)
            self.publish(f"{command.verb}: {command.reason or 'no reason given'} ({command.by or 'unknown'})")
